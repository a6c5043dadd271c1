// Package real plays the scenarios of package sim on real kernels: every host is a network namespace of a private lab
// (package sim/netns), which an ordinary user may open too, every director runs clusterd, or Debian's keepalived where the caller says so, and the wire between them
// is the very switch of the simulator, package sim/wire, in this process: each host's card on a segment is a TAP device, or where this user may make none a veth pair, whose frames
// it switches, so that cuts, losses, filters, rates, IGMP snooping and spanning tree are the same code on every backend.
//
//	p := real.Player{Dir: dir, BinDir: bin}
//	out := p.Play(ctx, scenario)          // inside netns.Enter
//
// What is judged: expect lines, with every bound widened by a fifth and 50 ms, and check. The lines that a file has below
// its verbs belong to virtual time and are not compared. A verb that a namespace cannot do, or that speaks of what
// only the simulator knows, makes the scenario end as skipped, with the reason.
//
// Real servers are TCP servers in this process (server.go). Where the kernel has IPVS its tables are judged (ipvs.go), else what is
// said of them and of connections through them is left out, and the scenario ends as skipped, saying so.
//
// The directors of a scenario that pushes are a cluster (cluster.go, disk.go), made and pushed to with clusterctl; those of any other run from files.
//
// In a User Mode Linux guest (package sim/uml) the same player runs on a kernel of its own, whose wall clock may jump (clock.go).
package real
