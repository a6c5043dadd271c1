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
//  1. frame.go takes off Ethernet with VLAN tags, Linux "cooked" headers (both), loopback, or nothing, and reads
//     the IP header. packet.go applies the checks that need no memory: TTL, then package vrrp's Decode.
//  2. router.go compares an advert with the reference of its VRID: what the first speaker, or the owner since, sends.
//     Version, authentication, v2 interval, address list, multicast or unicast, kind of checksum must agree; a source
//     address belongs to one MAC; the sequence numbers of AH only grow. An ARP or neighbour advertisement for a
//     virtual address must come from one that advertises it. The reference follows the owner when the
//     owner itself changes (a reload), and anybody once it has been silent for two master-down intervals.
//  3. owners.go takes an advert for what it says: the sender is MASTER. A claim ends with priority 0, with silence, or
//     when a better one is heard and the next advert does not come. Changes of owner are elections; two claims
//     of which neither yields are an interval of two owners.
//
// Each (capture interface, VLAN, address family, VRID) is judged apart. In a file that was captured on several ports of
// one switch the same story is told once per port.
//
// # Words
//
// Reasons of refusal are those of vrrp.RejectReason (ttl, version, type, checksum, vrid, length, auth_type, auth, interval,
// addr_list, own_source, sequence, destination) and:
//
//	foreign_owner   a virtual address is claimed or announced by a host that does not own it
//	truncated       the capture cut the frame; nothing is wrong with the packet
//	ip_header, ip_checksum, fragment, malformed   no host would take it
//
// Verdicts are those of RFC 9568 with keepalived's additions (captures of keepalived 2.2.7 and FRR 8.4.4, with what they
// logged, are the golden tests). Differences: version 3 over IPv4 is accepted with whichever checksum the others use,
// though keepalived 2.2.7 and FRR 8.4 accept one only; interval 0 and VRID 0 are refused.
package replay
