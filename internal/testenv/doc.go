// Package testenv says what a test needs from the machine it runs on.
//
// Many tests of this project run against real things: another VRRP router, a packet decoder that is not ours, a kernel
// with IPVS. A machine that lacks one of them must not report success silently. So a test begins by naming its needs:
//
//	testenv.Need(t, "ipvsadm", "tshark")
//	testenv.NeedRoot(t)
//	testenv.NeedUML(t)
//
// A test that needs a kernel with IPVS can ask to be run in a guest that has one; see [InUML].
//
// Where a need is not met the test is skipped, with a message that names the missing thing and the Debian package that
// has it. With CI=true in the environment the same message is a failure: there everything is installed, so a skip
// would only hide that something is no longer tested.
package testenv
