// Package vrrp elects which host owns a set of virtual addresses, as RFC 9568 (VRRP version 3)
// and RFC 3768/2338 (version 2) say, on the wire octet for octet what keepalived and FRR accept.
//
// It decides and does nothing: no socket, clock, goroutine or lock. An [Instance] is one virtual
// router on one host. Feed it events, carry out its actions, wake it at its deadline:
//
//	i := vrrp.New(cfg)                                       // after vrrp.Validate(cfg)
//	i.Step(now, vrrp.SetSource{Addr: primary})               // the address adverts come from
//	i.Step(now, vrrp.Startup{})
//	for {
//		for _, a := range i.Ready() { carryOut(a) }      // in order
//		now, packet := waitUntil(i.Deadline())           // a packet, a change of the host, or the instant itself
//		i.Step(now, packet or vrrp.Tick{})
//	}
//
// now is a duration since any fixed, monotonic origin. Same events at the same instants give the same
// actions. In steady state (BACKUP hears an advert, MASTER sends one) nothing is allocated.
//
// # States
//
//	                 Startup, priority 255
//	   +----------------------------------------------------+
//	   |                                                    v
//	+------+  Startup   +--------+  master-down timer   +--------+
//	| INIT |----------->| BACKUP |--------------------->| MASTER |
//	+------+            +--------+                      +--------+
//	   ^                 ^  |   ^  higher priority,      |     |
//	   |        no fault |  |   |  equal and higher      |     |
//	   |                 |  |   |  address, stall        |     |
//	   |                 |  |   +------------------------+     |
//	   |                 |  | fault                            |
//	   |                 |  v                 fault            |
//	   |              +-------+  (priority 0 first)            |
//	   |              | FAULT |<-------------------------------+
//	   |              +-------+  without fault and priority 255: to MASTER
//	   |                                                       |
//	   +----- Shutdown, from any state (MASTER: priority 0) ---+
//
// On entering MASTER: [Send] an advert, [Acquire] the addresses, [Announce] them, [Transition]; the second
// block of announcements follows GARP.MasterDelay later. On leaving: Send priority 0 unless another one has
// won or the process was stalled, [Release], Transition. Every Transition has a [Reason] and a sentence.
//
// # Where this differs from others, and why
//
//   - A rejected packet changes nothing but a counter. keepalived 2.2.7 restarts the owner's advert timer
//     (measured), so that two clusters with one VRID starve each other.
//   - A lower priority heard by the MASTER is answered at once (RFC 9568 6.4.3); RFC 5798 kept silent.
//   - The address list must match in version 3 as well, in any order, as in keepalived; RFC 9568 leaves it open.
//     Config.AltAddrs and [SetAlternates] name further lists for as long as a change is under way.
//   - A learned interval (v3) is bounded, see learnFloor, and forgotten on becoming MASTER and in FAULT.
//   - Priority 0 counts from the owner only, and never lengthens a wait.
//   - v3 over IPv4 is accepted with either checksum; Config.ChecksumMessageOnly says which one is sent.
//   - Of two hosts with priority 255 one gives way, as 254, until nobody is owner (rival.go); RFC 9568 has no rule for that.
//   - A MASTER that slept longer than the others wait says nothing, becomes BACKUP and listens first.
//
// # Obligations of the caller
//
//  1. Call Step with Tick no earlier than Deadline and soon after; a missed one is made up for by the next Step.
//  2. Before a Tick, hand in the packets that wait in the socket: they may say that the owner lives.
//  3. Carry out the actions in order, each even if the one before failed. Payload of a Send is only read.
//  4. Hand in packets of this VRID only (see [Packet.VRID]), of the right interface, with the TTL that the IP header
//     has, and the payload cut to the IP total length: short Ethernet frames are padded. For AH (protocol 51) also Header.
//  5. Send with the packet's TTL and TOS 0xc0, without multicast loopback. A packet with a Header goes out with it (IP_HDRINCL).
//  6. Tell the faults (link, address, scripts) with SetFaults before Startup; an instance without a source
//     address is in FAULT by itself. Tell sums of weights with SetPriority, also after a Reconfigure.
//  7. Acquire and Release may repeat; both must succeed when there is nothing to do.
//  8. Limit what is logged of Notes: anyone on the segment can cause them. They are counted in [Counters] anyhow.
//
// # Sync groups and trackers
//
// A [SyncGroup] steps its members for you, so that they are MASTER together or not at all. A [Tracker] counts results of a script,
// interface, process or file, and [Evaluate] turns what an instance tracks into its priority and faults.
//
// A Note about a rejected packet names its source; [Explain] says what it means and what to do.
//
// # Unicast, AH, IPv6
//
// With Config.Peers an advert is one Send per peer; TTLs are looked at with CheckUnicastSrc only, and what comes by multicast is
// refused, as unicast is by a multicast instance. With AuthAH a packet's Payload starts at the authentication header and
// Header is the IP header its check value covers: both directions need it (see [Packet]). The sequence numbers of a
// router are one series, continued by whoever owns it. IPv6 instances send from the link-local address of the interface to
// ff02::12, with the pseudo-header of RFC 8200; a global source is accepted, as by keepalived 2.2.7. A virtual MAC address
// is the driver's business: nothing here knows of Ethernet.
//
// # Words
//
//	here, keepalived                RFC 9568                       RFC 3768, 5798
//	MASTER                          Active                         Master
//	BACKUP                          Backup                         Backup
//	INIT                            Initialize                     Initialize
//	FAULT                           - (Initialize)                 - (Initialize)
//	advert                          Advertisement                  Advertisement
//	advert_int, AdvertInt           Advertisement_Interval         Advertisement_Interval
//	learned interval                Active_Adver_Interval          Master_Adver_Interval
//	master-down interval            Active_Down_Interval           Master_Down_Interval
//	skew time                       Skew_Time                      Skew_Time
//	nopreempt                       Preempt_Mode false             Preempt_Mode false
//	owner of the addresses, 255     IPvX Address Owner             IP Address Owner
//	priority 0                      "stop participating"           "stop participating"
//	announcement, GARP              gratuitous ARP, unsolicited ND gratuitous ARP
package vrrp
