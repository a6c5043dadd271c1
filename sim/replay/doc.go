// Package replay explains captures of VRRP: it judges every packet, and says who owned what when, and why.
//
//	r, err := replay.NewReader(file)                       // pcap, pcapng, gzip
//	summary, err := replay.Decode(r.Frames(), replay.Options{}, func(l replay.Line) error { ... })
//
// It opens nothing and asks no clock; a live capture is another iterator of frames. Memory is bounded whatever
// the frames hold, and no frame makes it panic (fuzzed).
//
// # How a packet is judged
//
//  1. file.go finds the frames of pcap and pcapng; clock.go makes one time of their stamps. frame.go takes off Ethernet with
//     VLAN tags and MPLS labels, Linux "cooked" headers (both), loopback, or nothing; ip.go reads the IP header and puts
//     fragments together; tunnel.go looks into VXLAN, GRE and their like. packet.go applies the checks that need no memory: TTL, then package vrrp's Decode.
//  2. router.go compares an advert with the reference of its VRID: what the first speaker, or the owner since, sends.
//     Version, authentication, v2 interval, address list, multicast or unicast, kind of checksum must agree; a source
//     address belongs to one MAC; the sequence numbers of AH only grow. An ARP or neighbour advertisement for a
//     virtual address must come from one that advertises it. The reference follows the owner when the
//     owner itself changes (a reload), and anybody once it has been silent for two master-down intervals.
//  3. owners.go takes an advert for what it says: the sender is MASTER. A claim ends with priority 0, with silence, or
//     when a better one is heard and the next advert does not come. Changes of owner are elections; two claims
//     of which neither yields are an interval of two owners.
//
// Each (capture interface, VLAN, address family, VRID) is judged apart. Where several ports show the same datagrams, ports.go
// makes one story of theirs: an owner is listed once, and two owners on two sides of a broken network are seen to be
// two. notes.go says what a summary does not know, write.go prints it.
//
// # Words
//
// Reasons of refusal are those of vrrp.RejectReason (ttl, version, type, checksum, vrid, length, auth_type, auth, interval,
// addr_list, own_source, sequence, destination) and:
//
//	foreign_owner   a virtual address is claimed or announced by a host that does not own it
//	truncated       the capture cut the frame before the end of what is needed; nothing is wrong with the packet
//	fragment        a part, which counts once the rest is there: the packet that completes it has the verdict of the whole
//	ip_header, ip_checksum, malformed   no host would take it
//	loop            (in conflicts only) the same datagrams come several times
//
// Verdicts are those of RFC 9568 with keepalived's additions (captures of keepalived 2.2.7 and FRR 8.4.4, with what they
// logged, are the golden tests). Differences: version 3 over IPv4 is accepted with whichever checksum the others use,
// though keepalived 2.2.7 and FRR 8.4 accept one only; interval 0 and VRID 0 are refused.
package replay
