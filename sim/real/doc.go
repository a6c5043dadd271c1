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
// # Machines
//
// What a host is made of, a kernel and programs, is behind the interface machine (machine.go): a namespace of this kernel, or, for each
// director where Player.Agent is set, a User Mode Linux guest (package sim/uml) with a kernel, clocks and IPVS tables of its own:
//
//	this process: player, switch, clients, servers          guest d1
//	  guest (guest.go)  ── net/rpc over a terminal (line.go) ──  Agent (agent.go) on a namespace of the guest
//	  switch (switch.go) ──── a socket for each card ─────────  vec0 ── eth0, whose cable can be pulled
//
// The same code acts in both: the agent is a namespace's machine that is called from outside. The clocks of a guest jump and drift
// (clock.go), so what it logs is put where it belongs by when it came (log.go).
package real
