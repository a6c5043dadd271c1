// Package host is the only place that touches this Linux host: processes, sockets, netlink, files and
// clocks of a director. What to do is decided by the machines of package node; this
// package carries it out and tells them what happened.
//
// Read in this order.
//
//  1. watchdog.go, crash.go, upgrade.go, oneshot.go (startup_script and shutdown_script): Watch is the parent process. It starts the workers, starts a dead one again, and
//     owns the socket pairs between them, so that one worker's death is no event for the others. standin.go runs while a worker that crashes at every start waits for its next one.
//
//  2. ipc.go, conn.go, parts.go: what workers say to each other, and how. One JSON message per
//     SOCK_SEQPACKET packet; Send never waits, and everything that matters is said again.
//
//  3. load.go and generations.go, stage.go: the configuration comes from a file, or is one this director was given. It boots from those without
//     a quorum. A crash at any instant leaves the old file or the new one. What was read from a file is noted for the worker that takes this one's place.
//
//  4. worker.go, loader.go, scheduling.go, clock.go, lateness.go: the event loop both workers share. One goroutine owns the machine:
//
//     sockets, netlink, scripts, probes ──> inbox ──> Step ──> Ready ──> actions, in order
//     deadline of the machine ────────────> Tick ──┘
//
//  5. vrrp.go: RunVRRP drives node.Elector with sockets.go (IP protocols 112 and 51), tap.go (the same with virtual Ethernet addresses), arrivals.go (when
//     they are read), netlink.go (links), monitor.go
//     (who else is on the wire), others.go (who else is on this host), scripts.go and spawn.go (track and notify scripts), trackfiles.go and trackprocs.go
//     (what else is tracked), fifo.go and mail.go. What may take
//     long goes through installer.go, a queue beside the loop: addresses.go, routes.go with encap.go, rules.go with the names of iproute.go and words.go
//     (netlink), firewall.go (no_accept), vmac.go (use_vmac and use_ipvlan), announcer.go with arp.go and announce.go (gratuitous ARP, neighbour advertisements), memory.go. wishes.go tries again what
//     failed and, when pathwatch.go or a link says so, whether all routes and rules are still there. dump.go and dumproutes.go write keepalived's files.
//
//  6. checker.go: RunChecker drives node.Services with package checker/probe and package ipvs/kernel.
//
//  7. report.go, refusals.go, asynclog.go: journal entries become log lines in keepalived's words.
//
//  8. files.go: configuration files of this host as a config.Source. judge.go, interfaces.go: what this host lacks for one. namespace.go: net_namespace.
//
// Rules every line here obeys:
//
//   - The event loop never waits: not for a disk, a script, a kernel table, a peer or a log. A
//     missed advert interval moves VIPs.
//   - No error of this host ends a worker once it runs. It is reported when it appears and when
//     it is over (events host.error and host.recovered), and tried again.
//   - A Tick that would end a wait for adverts looks first into the sockets, so that a process that was not
//     scheduled does not take its own sleep for the silence of others.
//   - Notifications of the kernel are hints; the state itself is read anew.
package host
