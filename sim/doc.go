// Package sim is a world in virtual time in which the production machines of a director,
// node.Elector and replica.Replica, run through fail-overs, split brains and VRID conflicts. Nothing in it is
// a copy of what a director does: the machine, the advert bytes and the configuration
// reader are the ones clusterd uses.
//
// A reader works in this order.
//
// # Scenarios
//
// A scenario is a text file an operator can read: verbs, an optional input, a line "----"
// and the output that is expected (the form of github.com/cockroachdb/datadriven).
//
//	world nodes=(d1,d2) client=c1 seed=1
//	----
//	ok
//
//	conf d1 d2
//	vrrp_instance VI_1 { … }
//	----
//	+0.000    d1  VI_1 INIT→BACKUP reason=startup
//
//	crash d1
//	----
//	ok
//
//	run 5s
//	----
//	+7.023    d2  ip addr add 10.0.0.100/32 dev eth0
//	+7.023    d2  VI_1 BACKUP→MASTER reason=master-down: no advert from 10.0.0.1 for 3.609s
//
//	expect owner=d2 within=3.61s
//	----
//	ok: …
//
// Times are seconds since the world began. What a kernel was told is printed as the shell
// command that would do it; what happens to the world as a whole carries "-" for a host.
// [Help] prints all verbs. [ParseScenario] reads a file, [Scenario.Play] runs it, [Session]
// carries out single verbs. The built-in ones under netns-tests/scenarios open with what they prove and the
// class of incident they stand for.
//
// # The world
//
// [World] is a queue of tasks ordered by (time, tie, sequence), hosts, and the segments of
// package wire between them. tie is 0, so that tasks of one instant run in the order they were
// made, or with shuffle a number drawn from the seed, which explores other orders.
// Every source of chance is a named stream of the seed. A run is a pure function of
// its scenario: the fingerprint that the verb trace prints is the same on every machine.
//
// # Hosts
//
// A [Host] is a kernel and, on a director, a process that runs a [Machine]. After each
// event the actions of the machine are carried out until none is left, then one wake-up is
// scheduled at its deadline. Kernel and process die separately:
//
//	kill     the process is gone; the kernel keeps its addresses and answers ARP and echo
//	stop     the machine gets Shutdown first
//	pause    the process does not run, adverts wait in its socket, its clock goes on
//	crash    kernel and process are gone
//
// Each host has a monotonic clock with an origin of its own. The kernel model has addresses in
// Linux's order, link state and notifications, ARP answering with arp_ignore 0, neighbour discovery (neigh6.go), the martian
// source rule and neighbour tables with Linux's states and timers. Clients ask a VIP for an
// answer at a steady rate and measure their own outage, by an echo or a TCP connection (tcp.go). Real servers answer those (server.go): the owner's
// kernel forwards them by IPVS (lvs.go), whose table the checker worker of clusterd, node.Services, programs (checker.go). A director may behave as keepalived or FRR does (foreign.go, frr.go).
//
// # Store
//
// The verbs push, put and disk make the directors a cluster: each runs the production's raft member beside its elector,
// with a disk that takes time, fills up, and tears or loses what is being written when the power fails. Its messages are frames
// on the wire, class raft: they can be cut apart from adverts. A push takes the way that package api takes, with the same transactions. Files
// that come by conf need no store, and a world without those verbs has none.
//
// # Judgement
//
// Invariants look at kernels, never at what a machine believes of itself (see judge.go):
// S1, at most one kernel among those that hear each other holds a VIP, with the time
// the protocol needs as bound; S3, the store has one leader per term and one log, executes every entry once, applies only what is on a majority of disks and forgets nothing that was
// acknowledged (judge_store.go; this is also all there is of an invariant about majorities, S2: VRRP asks none); S4, adverts that leave are lawful; S5, IPVS tables are what checks say (judge_services.go); S6, members of a sync group change
// together, and what is told of transitions is in order; L1, every VIP that can have
// an owner has one, and the clients' neighbour entries point at it. Plain VRRP breaks S1 and
// L1 in situations that the scenarios name; there they say "check violated".
//
// # Search
//
// [Random] writes the scenario of a seed: a random cluster, random faults, recover, and the
// claims that must hold then. [Shrink] cuts a failing one down to what is needed, [Session.Coverage] counts what a search
// must see sometimes. clusterctl sim swarm does so in many processes; package corpus has what was found, package planted
// the proof that it bites.
//
// # Elsewhere
//
// [ForConfig] writes scenarios for an operator's own configuration, [Explain] tells one in sentences, [Session.Timeline] is what package
// report draws. Package real plays the same files on real kernels.
//
// # Limits
//
// A world has IPv6 if its directive has nets6; addresses need no router and are never tentative, multicast over IPv6 is flooded (no MLD), services are IPv4. Scripts take 1 ms, the machine itself takes no time. Kernels send IGMP reports only while a switch
// looks at them (see socket.go, switch.go). A message of the store is one segment of TCP and is
// not sent again by TCP but by raft (see store.go). Asking the directors about a configuration and writing it to their files takes a time drawn by chance (see push.go). An action that
// this kernel does not know is noted once as not simulated.
//
// The package has no goroutine, no lock, no clock and no file; captures go to writers that
// the caller opens.
package sim
