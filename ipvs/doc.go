// Package ipvs says what the kernel's load balancer should do, and what must change for it to do so.
//
// IPVS is a table in the kernel: virtual services, each with destinations (real servers). A director wants one table
// and finds another, because it has just started, because a check failed, or because somebody typed ipvsadm. So the
// package has no notion of a change that was made; it has two tables and the difference between them:
//
//	actual, err := backend.Table()
//	ops := ipvs.Plan(desired, actual, managed)
//	err = backend.Apply(ops)
//
// Do that whenever the wanted table changes and now and then without a reason, and drift repairs itself. When Apply
// stops half way, the next round plans the rest.
//
// # Tables
//
// A [Table] is a list of [Entry]: a [Service] and its [Destination]s. [Key] identifies a service and [Destination.AddrPort]
// a destination within it. [Table.Validate] refuses what a kernel interface would store wrongly or not at all; call it on
// every table that comes from a person. [Table.String] and [Parse] speak the language of "ipvsadm -S -n":
//
//	-A -t 192.168.2.240:80 -s wlc -p 60
//	-a -t 192.168.2.240:80 -r 192.168.2.11:80 -g -w 3
//
// # Plan
//
// [Plan] touches a service only when it is wanted or when the caller says it manages it; whatever another program has put
// into the same kernel stays. Its operations are ordered so that no service has fewer usable destinations in between
// than both before and after; [Op.String] is the ipvsadm command that would do the same.
//
// # Backends
//
// A [Backend] reads and changes one kernel's table. Package ipvs/kernel has the real ones, package ipvs/ipvstest one in
// memory for tests and for the simulator. All of them treat an operation whose effect is already there as done, so two
// planners, or a planner after a crash, do no harm.
package ipvs
