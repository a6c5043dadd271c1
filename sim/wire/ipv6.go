package wire

import (
	"encoding/binary"
	"net/netip"
)

// Numbers of IPv6 and its neighbour discovery (RFC 8200, RFC 4443, RFC 4861).
const (
	EtherIPv6  = 0x86dd
	ProtoICMP6 = 58

	ipv6Header = 40

	echoRequest6  = 128
	echoReply6    = 129
	ndSolicit     = 135
	ndAdvertise   = 136
	ndMessage     = 24 // octets before the options
	ndSourceMAC   = 1  // options: the Ethernet address of the sender,
	ndTargetMAC   = 2  // and of the target
	ndRouter      = 0x80
	ndSolicited   = 0x40
	ndOverride    = 0x20
	ndHopLimit    = 255
	groupScopeMAC = 0x33
)

// ND is a neighbour solicitation or advertisement (RFC 4861 4.3, 4.4).
type ND struct {
	Advertise                   bool // else it asks
	Router, Solicited, Override bool // of an advertisement
	Target                      netip.Addr
	MAC                         MAC // of who sends it; zero when it does not say
}

// AllNodes is the group of every host on a link.
func AllNodes() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 15: 1}) }

// SolicitedNode is the group in which the holder of an address is asked for (RFC 4291 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// LinkLocal is the address that a host makes from an Ethernet address (RFC 4291 appendix A).
func (m MAC) LinkLocal() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// sum6 is the checksum of a message in an IPv6 packet, with its pseudo-header (RFC 8200 8.1); zero over one that holds a right one.
func sum6(src, dst netip.Addr, proto uint8, message []byte) uint16 {
	from, to := src.As16(), dst.As16()
	sum := uint32(len(message)) + uint32(proto)
	for _, part := range [...]uint16{checksum(from[:]), checksum(to[:]), checksum(message)} {
		sum += uint32(^part) // sums of parts of even length add up
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// packet6 builds an IPv6 packet; a message of ICMPv6 is summed.
func packet6(dst, src MAC, h IP, payload []byte) []byte {
	f := make([]byte, EthernetHeader+ipv6Header+len(payload))
	copy(f, dst[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], EtherIPv6)
	ip := f[EthernetHeader:]
	ip[0], ip[1] = 0x60|h.TOS>>4, h.TOS<<4
	binary.BigEndian.PutUint16(ip[4:], uint16(len(payload)))
	ip[6], ip[7] = h.Protocol, h.TTL
	from, to := h.Src.As16(), h.Dst.As16()
	copy(ip[8:], from[:])
	copy(ip[24:], to[:])
	copy(ip[ipv6Header:], payload)
	if h.Protocol == ProtoICMP6 && len(payload) >= 4 {
		m := ip[ipv6Header:]
		m[2], m[3] = 0, 0
		binary.BigEndian.PutUint16(m[2:], sum6(h.Src, h.Dst, ProtoICMP6, m))
	}
	return f
}

// ND builds a neighbour solicitation or advertisement.
func (b *Builder) ND(dst, src MAC, from, to netip.Addr, n ND) []byte {
	m := make([]byte, ndMessage, ndMessage+8)
	m[0] = ndSolicit
	option := byte(ndSourceMAC)
	if n.Advertise {
		m[0], option = ndAdvertise, ndTargetMAC
		for flag, on := range [...]bool{n.Router, n.Solicited, n.Override} {
			if on {
				m[4] |= ndRouter >> flag
			}
		}
	}
	target := n.Target.As16()
	copy(m[8:], target[:])
	if n.MAC != (MAC{}) {
		m = append(append(m, option, 1), n.MAC[:]...)
	}
	return packet6(dst, src, IP{TTL: ndHopLimit, Protocol: ProtoICMP6, Src: from, Dst: to}, m)
}

// Announcement builds what tells everybody at which Ethernet address a VIP is: a gratuitous ARP, or an unsolicited neighbour
// advertisement as keepalived sends it, from the VIP to all nodes.
func (b *Builder) Announcement(src MAC, vip netip.Addr) []byte {
	if vip.Is4() {
		return b.GratuitousARP(src, vip)
	}
	return b.ND(MulticastMAC(AllNodes()), src, vip, AllNodes(), ND{Advertise: true, Override: true, Target: vip, MAC: src})
}

func parseIPv6(b []byte) (IP, []byte, error) {
	if len(b) < ipv6Header {
		return IP{}, nil, ErrShort
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	switch {
	case b[0]>>4 != 6:
		return IP{}, nil, ErrHeader
	case size > len(b)-ipv6Header:
		return IP{}, nil, ErrShort
	}
	h := IP{TOS: b[0]<<4 | b[1]>>4, Protocol: b[6], TTL: b[7],
		Src: netip.AddrFrom16([16]byte(b[8:24])), Dst: netip.AddrFrom16([16]byte(b[24:40]))}
	payload := b[ipv6Header : ipv6Header+size]
	// The kernel sums ICMPv6 (RFC 4443 2.3); an advert is summed by who gets it, as over IPv4.
	if h.Protocol == ProtoICMP6 && sum6(h.Src, h.Dst, h.Protocol, payload) != 0 {
		return IP{}, nil, ErrChecksum
	}
	return h, payload, nil
}

// ParseND reads the neighbour discovery of a packet that Parse has read; ok is false for anything else, and for what has
// crossed a router (RFC 4861 7.1).
func ParseND(ip IP, m []byte) (n ND, ok bool) {
	if ip.Protocol != ProtoICMP6 || len(m) < ndMessage || m[1] != 0 || ip.TTL != ndHopLimit || m[0] != ndSolicit && m[0] != ndAdvertise {
		return ND{}, false
	}
	n = ND{Advertise: m[0] == ndAdvertise, Target: netip.AddrFrom16([16]byte(m[8:24]))}
	want := byte(ndSourceMAC)
	if n.Advertise {
		want = ndTargetMAC
		n.Router, n.Solicited, n.Override = m[4]&ndRouter != 0, m[4]&ndSolicited != 0, m[4]&ndOverride != 0
	}
	for o := m[ndMessage:]; len(o) >= 8; {
		size := int(o[1]) * 8
		if size == 0 || size > len(o) {
			return ND{}, false
		}
		if o[0] == want {
			n.MAC = MAC(o[2:8])
		}
		o = o[size:]
	}
	return n, !n.Target.IsMulticast()
}

// echo6 is the ICMPv6 message of an echo, not summed.
func echo6(e Echo) []byte {
	m := make([]byte, 8)
	m[0] = echoRequest6
	if e.Type == EchoReply {
		m[0] = echoReply6
	}
	binary.BigEndian.PutUint16(m[4:], e.ID)
	binary.BigEndian.PutUint16(m[6:], e.Seq)
	return m
}

// ParseEcho6 is ParseEcho for ICMPv6, which Parse has summed.
func ParseEcho6(b []byte) (Echo, error) {
	if len(b) < 8 {
		return Echo{}, ErrShort
	}
	e := Echo{Type: EchoRequest, ID: binary.BigEndian.Uint16(b[4:6]), Seq: binary.BigEndian.Uint16(b[6:8])}
	switch {
	case b[0] == echoReply6 && b[1] == 0:
		e.Type = EchoReply
	case b[0] != echoRequest6 || b[1] != 0:
		return Echo{}, ErrHeader
	}
	return e, nil
}

// classOf6 sorts an IPv6 packet.
func classOf6(b []byte) Class {
	switch {
	case len(b) <= ipv6Header:
	case b[6] == ProtoVRRP:
		return ClassVRRP
	case b[6] != ProtoICMP6:
	case b[ipv6Header] == ndAdvertise && len(b) >= ipv6Header+ndMessage && b[ipv6Header+4]&ndSolicited == 0:
		return ClassGARP
	case b[ipv6Header] == ndAdvertise || b[ipv6Header] == ndSolicit:
		return ClassARP
	case b[ipv6Header] == echoRequest6 || b[ipv6Header] == echoReply6:
		return ClassICMP
	}
	return ClassOther
}
