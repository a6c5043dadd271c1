// Package node is one director without its host: committed configuration and events go in,
// machines decide, actions come out.
//
// Read in this order.
//
//  1. node.go: the events a driver hands in and the actions it carries out. That list is the
//     whole surface between a director and its host; package host implements it on Linux,
//     package sim in virtual time.
//  2. elector.go: the machine of the vrrp worker. It owns one vrrp.Instance per vrrp_instance
//     block (instance.go), ties them together where a vrrp_sync_group says so (group.go), follows the scripts, files and
//     processes they track (tracker.go), knows the interfaces (link.go), and turns "acquire" into addresses and "announce" into
//     gratuitous ARP. What comes and goes with the addresses is in routes.go, accept.go, vmac.go and extra.go; held.go has what is
//     remembered for the worker after a crash. census.go knows who else is on the segment and says what is wrong about that, told.go how often.
//     cause.go numbers events, so that a transition can be followed back to what led to it.
//  3. services.go: the machine of the checker worker. It owns one checker.Check per check block
//     and a model of the kernel's IPVS table; what is planned is desired minus model.
//
// A driver has these obligations:
//
//   - carry out the actions of Ready in their order, before the next Step;
//   - call Step(now, Tick{}) at Deadline, or soon after, and never let now go backwards;
//   - answer Watch with a Link, and WatchTrackers with numbers, at once and again on every change; answer every RunScript,
//     RunProbe and ReadTable exactly once;
//   - never block on a script, a probe or a slow kernel while it holds the machine: an advert
//     may be due;
//   - read Status, stamp wall time on it, and show it.
//
// What a machine believes is not what the kernel does: tests judge addresses and tables.
package node
