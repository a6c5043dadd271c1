// Package uml runs a program on a Linux kernel of its own: User Mode Linux, an ordinary process.
//
// It exists for what the host's kernel may not have and must not lend to a test: IPVS, its connection table, its sync
// daemons, a fresh set of interfaces. Neither root nor KVM is needed. Inside, the program is uid 0 of a real kernel.
//
// # Use
//
// Build a program, make a directory for its results, and Run a Job. The host's whole file tree is the guest's root (hostfs), so every absolute path means the same on both
// sides; the program writes its results to the directory, with the rights that the host user has, no more.
//
//	code, err := uml.Run(ctx, uml.Job{
//		Argv:    []string{"/tmp/build/kernel.test", "-test.v"},
//		Env:     []string{"IN_UML=1", "OUT=" + t.TempDir()},
//		Timeout: time.Minute,
//		Stdout:  os.Stdout,
//	})
//
// A boot with halt takes 2 to 3 seconds, so boot once per test package, not once per test. One guest has one CPU, and
// its system calls cost about a hundred times the host's: no assertion on time finer than 50 ms belongs there.
//
// # What is the guest's own
//
// Memory, processes, network, clock, kernel modules, /proc, /sys, /dev with /dev/shm, /run, and a directory for temporary
// files, named by TMPDIR. Everything else is the host's, /tmp included: results must go somewhere. Modules are loaded as
// on any Linux, by name, by modprobe, or by the kernel when something needs them. That kernel has no nftables for IPv4 or
// IPv6 (use iptables-legacy), and the race detector cannot start there.
//
// # How it ends
//
// When the job has ended, when its time is up, when the context is cancelled, or when the calling process dies, even by
// SIGKILL: in each case the guest, all its processes and its temporary files go. Where nothing could remove the files, because a whole PID
// namespace was killed, the next run does.
package uml
