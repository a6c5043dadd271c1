// Package ipvstest has an ipvs.Backend in memory, for tests and for the simulator.
//
// [Memory] is a kernel's table without a kernel. It refuses what a kernel refuses, with the same errno, and keeps
// connection counters that a test may set. Two things make it more useful than a map:
//
//   - Strict makes it refuse an operation whose effect is already there, which a Backend otherwise accepts. A planner
//     that sends needless operations is found that way.
//   - Fail is asked before each operation and may return an error, so a test can fail the third one, or all of a kind.
//
// Log lists the operations that were carried out.
package ipvstest
