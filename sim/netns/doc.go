// Package netns is a private lab: hosts with real Linux network stacks, joined by one
// Ethernet switch, in network namespaces of this process alone.
//
// # Enter first
//
// A program that wants a lab calls [Enter] as the first thing it does. Enter starts the same
// program again, with the same arguments, inside new namespaces:
//
//	program                          the caller's own network; forwards signals and the exit status
//	 └─ stage "init"                 pid 1 of a new PID namespace: mounts /proc, an empty /run, reaps orphans
//	     └─ stage "inside"           the program again; here Enter returns and the lab may be opened
//
// An ordinary user gets a user namespace as well, in which he is root. Nothing that happens
// inside can reach the caller's network, and when pid 1 goes, for whatever reason, the kernel
// kills every process and drops every namespace and mount: nothing is left to clean up. Whether
// this host allows all that is found out by doing it, never by comparing versions, because on
// some systems the clone succeeds and the next step is refused; [BlockedError] then names the
// step and the exact remedy. Root may also open a lab without Enter.
//
// # Then the lab
//
//	lab, err := netns.New(netns.Options{})
//	defer lab.Close()
//	d1, err := lab.AddHost("d1", "192.168.2.210/24")     // its only cable is eth0
//	cmd := d1.Command(ctx, "keepalived", "-n", "-l")      // runs in d1: d1's network, d1's own /run
//	ln, err := d1.Listen("tcp", ":80")                    // a listener of this process, in d1
//	stop, err := lab.CaptureFile("lan.pcapng")            // everything that crosses the switch
//	d1.Link(false)                                        // pull the cable: d1 sees its carrier go
//	c, err := d1.Cable("eth1")                            // a card whose frames this process reads and writes
//	carrier, err := d1.Wire("eth2", "vec0")               // a card whose cable leads to a device of this machine
//	d1.Kill(unix.SIGKILL)                                 // every process of d1, however it forked
//
// Directories of a lab that should leave no trace go below [Scratch].
//
// The namespaces have no name anywhere in the file system; threads and file descriptors of this
// process hold them. MAC addresses derive from the IPv4 address (192.168.2.210 has
// 02:00:c0:a8:02:d2), so that a capture reads itself.
//
// # Threads
//
// A Linux network namespace belongs to a thread. Every host has one thread of its own that
// starts the host's processes and never does anything else: a process with a parent death signal
// dies with the thread that forked it, so this thread must live exactly as long as the host.
// [Host.Do] runs a function on some other thread that visits the host and comes back.
//
// Everything here does I/O by nature; nothing in this package decides anything about VRRP or IPVS.
package netns
