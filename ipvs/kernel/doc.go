// Package kernel programs the IPVS of the running Linux kernel.
//
//	backend, err := kernel.Open(log)
//	switch {
//	case errors.Is(err, kernel.ErrMissing):   // no ip_vs in this kernel: go on without a data plane, say so
//	case errors.Is(err, kernel.ErrPermission): // not privileged
//	}
//	defer backend.Close()
//
// A backend belongs to the network namespace of the thread that called Open, for good. It may be used from several
// goroutines; requests wait for each other.
//
// # Two interfaces
//
// Linux offers the table twice, and Open finds out by trying which of the two works here:
//
//   - Generic netlink, which has everything, and which only root of the initial user namespace may use.
//   - Socket options of an IPv4 socket (IP_VS_SO_*), from the time before netlink. They know IPv4 only, but they ask
//     for CAP_NET_ADMIN in the namespace's own user namespace, so they work for an ordinary user in a lab made of
//     namespaces.
//
// Module ip_vs need not be loaded before: asking generic netlink for the family "IPVS" makes the kernel load it, even
// when an unprivileged process asks. Schedulers are loaded by the kernel when a service names them.
//
// # What Apply adds
//
// An operation whose effect is already there succeeds: an addition of what exists becomes an edit, a deletion of what is
// gone does nothing. So a plan that is old by a moment does no harm. Operations that a kernel would accept and store as
// something else are refused before they are sent (ipvs.Op.Validate). Every request has a deadline.
package kernel
