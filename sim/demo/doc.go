// Package demo is the main job of the project, run by "make demo" and "clusterctl demo": it opens
// a private lab, makes three directors a cluster, pushes one keepalived.conf to them, kills the
// owner of the virtual IP and shows what a client saw.
//
// # Levels
//
// What the lab is made of depends on the machine; [Run] takes the best that works and says why
// not a better one:
//
//	netns   network namespaces; this kernel's IPVS
//	uml     the same lab on a User Mode Linux kernel of its own, for its IPVS
//	vip     network namespaces without IPVS: only the virtual IP is shown, each director has a web server
//
// The program is started again inside the namespaces (netns.Enter) and, for uml, inside the guest,
// each time with the arguments it was started with: whoever calls Run must come to the same call again.
//
// # What is real
//
// The directors run clusterd and are told what to do through clusterctl, as an operator would. They
// elect over VRRP on a switch, agree by raft, and their kernels balance. Real servers and the client
// are sockets of this process, opened in their hosts. Who owns the address is read from the kernels.
//
// # Reading order
//
// demo.go chooses where to run, show.go is the sequence of events, cluster.go drives the programs,
// client.go loads and measures, report.go says what came of it.
package demo
