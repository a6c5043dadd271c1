// Package wire is the network of the simulator: real Ethernet frames, switched
// between ports by rules that a test decides.
//
// A reader works in this order.
//
//   - A [LAN] is one learning switch. [LAN.AddPort] plugs in a network card by name
//     and MAC address. Names ("d1", "c1") are what faults refer to.
//   - [LAN.Send] takes a frame that left a card and answers with the deliveries:
//     which port gets it, and how much later. The LAN owns no clock and no queue;
//     whoever drives it (virtual time, or a loop over TAP devices) delivers each
//     frame when its time has come. Frames are shared between receivers and must
//     not be changed after Send.
//   - Every ordered pair of hosts has a [Path] with its own delay, loss,
//     duplication, reordering and cut. "d1 cannot reach d2" says nothing about d2 reaching d1. [LAN.Split]
//     makes sides that do not reach each other at all, each with an address table of
//     its own, as switches do whose trunk is broken. A path may be slow or carry small packets only (shape.go).
//   - With [LAN.Snoop] the switch looks at IGMP and sends a group only to who has asked for it; [LAN.Query] is a
//     querier's question, [Builder.Report] a host's answer.
//   - Frames are built by [Builder] with gopacket's layers and read by [Parse], which
//     is written for this package: every length is checked, nothing is allocated, and
//     a fuzz test compares it with gopacket. IPv6 and its neighbour discovery are in ipv6.go.
//   - [Pcap] writes what left and what arrived at each card, one pcapng interface per
//     card, to any io.Writer.
//   - [Stream] is the source of chance: integers only, seeded by (seed, name), so that
//     removing one fault does not shift the dice of another.
//
// The package has no goroutine, no lock, no clock and no socket.
package wire
