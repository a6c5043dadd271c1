package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"quorate/vrrp"
)

// MAC is an Ethernet address, zero when the link layer does not tell.
type MAC [6]byte

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// text is empty for an address that is not known.
func (m MAC) text() string {
	if m == (MAC{}) {
		return ""
	}
	return m.String()
}

// virtual reports whether m is the virtual router MAC of a VRID (RFC 9568 7.3).
func (m MAC) virtual(vrid uint8) bool {
	return m == MAC{0, 0, 0x5e, 0, 1, vrid} || m == MAC{0, 0, 0x5e, 0, 2, vrid}
}

// Proto is the kind of packet a line is about.
type Proto uint8

// The zero Proto is invalid.
const (
	_         Proto = iota
	ProtoVRRP       // an advert, IP protocol 112
	ProtoAH         // an advert behind an authentication header, IP protocol 51
	ProtoARP        // any ARP packet
	ProtoND         // a neighbour advertisement
)

// String returns vrrp, ah, arp or nd.
func (p Proto) String() string {
	switch p {
	case ProtoVRRP:
		return "vrrp"
	case ProtoAH:
		return "ah"
	case ProtoARP:
		return "arp"
	case ProtoND:
		return "nd"
	}
	return fmt.Sprintf("Proto(%d)", uint8(p))
}

// packet is a packet of interest after the checks that need no memory of others.
type packet struct {
	frame Frame
	link  netPacket
	proto Proto
	ip    ipPacket
	fault *fault
	whole []int // the packets whose fragments it was put together from
	told  bool  // its refusal is part of a conflict

	advert vrrp.Advert  // vrrp, ah
	part   bool         // the capture has not all of it
	count  int          // of a part: how many addresses the whole has
	set    []netip.Addr // its addresses, sorted, once somebody asked
	ah     vrrp.AH
	vrid   uint8 // as far as readable, also of refused packets
	ver    uint8

	arp  arpPacket // arp
	addr netip.Addr
	mac  MAC    // arp, nd: who has addr, in the words of the packet
	what string // arp, nd: in words
}

type arpPacket struct {
	op         uint16
	sha        MAC
	spa, tpa   netip.Addr
	gratuitous bool // or a probe: said to all, about one address
}

// read finds out what a frame is. It is not ok for frames that are of no interest.
func read(f Frame) (p packet, ok bool) {
	p.frame = f
	if p.link, ok = f.link(); !ok {
		return p, false
	}
	cut := f.Length > len(f.Data)
	for range maxTunnels + 1 {
		if p.link.ether == etherARP {
			p.proto, p.ip = ProtoARP, ipPacket{}
			return p, p.readARP(cut)
		}
		if p.ip, ok = p.link.ip(cut); !ok {
			return p, false
		}
		in, tunnel := p.link.inside(p.ip)
		if !tunnel {
			break
		}
		p.link = in
	}
	p.fault = p.ip.fault
	switch p.ip.proto {
	case vrrp.ProtocolNumber:
		p.proto = ProtoVRRP
		if f := p.ip.frag; f != nil && f.offset == 0 {
			p.vrid, p.ver, _ = vrrp.VRIDOf(p.ip.payload)
		}
	case vrrp.ProtocolAH:
		// Other users of AH put something else behind it, or send it where no router listens.
		first := p.ip.frag == nil || p.ip.frag.offset == 0
		if first && (len(p.ip.payload) == 0 || p.ip.payload[0] != vrrp.ProtocolNumber) && p.ip.dst != vrrp.Group(false) {
			return p, false
		}
		p.proto = ProtoAH
	case protoICMPv6:
		// A fragment of a neighbour advertisement is ignored by all hosts (RFC 6980 5).
		if p.ip.frag != nil || len(p.ip.payload) == 0 || p.ip.payload[0] != 136 {
			return p, false
		}
		p.proto = ProtoND
	default:
		return p, false
	}
	if p.ip.frag == nil {
		p.transport()
	}
	return p, true
}

// transport reads what the IP packet carries.
func (p *packet) transport() {
	switch p.proto {
	case ProtoVRRP:
		p.readAdvert(p.ip.payload)
	case ProtoAH:
		p.readAH()
	case ProtoND:
		p.readNA()
	}
}

func (p *packet) refuse(word, format string, args ...any) {
	if p.fault == nil {
		p.fault = &fault{word, fmt.Sprintf(format, args...)}
	}
}

// readAdvert applies RFC 9568 7.1 in its order: TTL, then the message. What can be read of a
// refused one is read all the same: it says who is to blame.
func (p *packet) readAdvert(message []byte) {
	if vrid, version, ok := vrrp.VRIDOf(message); ok {
		p.vrid, p.ver = vrid, version
	} else if len(message) > 1 {
		p.vrid, p.ver = message[1], message[0]>>4
	}
	if p.cut() {
		var err error
		if p.count, err = p.advert.DecodePart(message, p.ip.src); err != nil {
			return
		}
		p.part, p.fault = true, nil // what routers made of the whole is seen by what they did
	}
	if p.fault != nil {
		return
	}
	if p.ip.dst.IsMulticast() && p.ip.ttl != vrrp.TTL { // unicast may be routed; keepalived 2.2.7 does not look
		p.refuse(vrrp.RejectTTL.String(), "TTL %d, expected %d: it came through a router, or was made up", p.ip.ttl, vrrp.TTL)
	}
	if p.part {
		return
	}
	if err := p.advert.Decode(message, p.ip.src, p.ip.dst); err != nil {
		p.fail(err)
		if p.fault.word == vrrp.RejectShort.String() {
			p.fault.text += p.explainLength(message)
		}
	}
}

// cut says that the capture does not have all of the packet, and that nothing else is wrong so far.
func (p *packet) cut() bool { return p.fault != nil && p.fault.word == "truncated" }

// explainLength names what has another length than an advert for a reason.
func (p *packet) explainLength(message []byte) string {
	if len(message) < 8 {
		return ""
	}
	if len(message) == 36 && message[0] == 0x21 && message[3] == 7 {
		return "; it looks like CARP (OpenBSD, FreeBSD, pfSense), which uses the same protocol number and group: give it another VHID than any VRID here"
	}
	size := 4
	if p.ip.src.Is6() {
		size = 16
	}
	want := 8 + size*int(message[3])
	if p.ver == 2 {
		want += 8
	}
	if len(message) == want+hmacTrailer && message[want] == 1 {
		return "; it ends with the trailer of auth_hmac (keepalived 2.4), which keepalived 2.2 refuses as too long"
	}
	return ""
}

// hmacTrailer is the size of draft-cassen-vrrp-auth-hmac's trailer: type 1, key id, reserved, time and counter, 16 octets of HMAC.
const hmacTrailer = 28

func (p *packet) fail(err error) {
	var r *vrrp.RejectError
	if errors.As(err, &r) { // Decode returns nothing else
		p.refuse(r.Reason.String(), "%s", r.Detail)
		return
	}
	p.refuse("malformed", "%v", err)
}

func (p *packet) readAH() {
	if p.fault != nil && !p.cut() {
		if len(p.ip.payload) > vrrp.AHLen {
			p.readAdvert(p.ip.payload[vrrp.AHLen:])
		}
		return
	}
	message, err := p.ah.Decode(p.ip.payload)
	if err != nil {
		p.fail(err)
		return
	}
	p.readAdvert(message)
	switch {
	case p.fault != nil:
	case p.ip.src.Is6():
		p.refuse(vrrp.RejectAuthType.String(), "an authentication header over IPv6, where VRRP has none; a host with IPsec may take it, keepalived and FRR do not send it")
	case p.advert.AuthType != vrrp.AuthAH:
		p.refuse(vrrp.RejectAuthType.String(), "an authentication header, but the message says auth type %v", p.advert.AuthType)
	default:
		if src := p.ip.src.As4(); p.ah.SPI != binary.BigEndian.Uint32(src[:]) {
			p.refuse(vrrp.RejectAuth.String(), "parameter index %08x, expected the source address", p.ah.SPI)
		}
	}
}

// readARP is not ok for ARP that no virtual address can be in: of other kinds of addresses, and other operations than request and reply.
func (p *packet) readARP(cut bool) bool {
	b := p.link.body
	if len(b) < 28 {
		p.fault = short(28, len(b), cut)
		p.what = "ARP"
		return cut
	}
	// Ethernet, IPv4, their address lengths (RFC 826)
	if binary.BigEndian.Uint32(b) != 0x00010800 || b[4] != 6 || b[5] != 4 {
		return false
	}
	a := arpPacket{
		op: binary.BigEndian.Uint16(b[6:]), sha: MAC(b[8:14]),
		spa: netip.AddrFrom4([4]byte(b[14:18])), tpa: netip.AddrFrom4([4]byte(b[24:28])),
	}
	if a.op != 1 && a.op != 2 {
		return false
	}
	form := "request"
	if a.op == 2 {
		form = "reply"
	}
	p.addr, p.mac = a.spa, a.sha
	switch {
	case a.spa == netip.IPv4Unspecified() && a.op == 1:
		a.gratuitous = a.tpa != a.spa
		p.what = fmt.Sprintf("probe: is %v in use?", a.tpa)
		p.addr = netip.Addr{}
	case a.spa == a.tpa:
		a.gratuitous = true
		p.what = fmt.Sprintf("gratuitous %s: %v is at %v", form, a.spa, a.sha)
	case a.op == 1:
		p.what = fmt.Sprintf("request: who has %v? tell %v", a.tpa, a.spa)
	default:
		p.what = fmt.Sprintf("reply: %v is at %v", a.spa, a.sha)
	}
	if p.link.mac != (MAC{}) && a.sha != p.link.mac {
		p.what += fmt.Sprintf(", sent by %v", p.link.mac)
	}
	p.arp = a
	return true
}

// readNA checks a neighbour advertisement as RFC 4861 7.1.2 says.
func (p *packet) readNA() {
	p.what = "neighbour advertisement"
	if p.fault != nil {
		return
	}
	b := p.ip.payload
	if p.ip.ttl != 255 {
		p.refuse("ttl", "hop limit %d, expected 255", p.ip.ttl)
	}
	if len(b) < 24 {
		p.refuse("length", "%d octets, a neighbour advertisement has at least 24", len(b))
		return
	}
	target, flags := netip.AddrFrom16([16]byte(b[8:24])), b[4]
	p.addr, p.mac = target, p.link.mac
	if icmp6Sum(p.ip.src, p.ip.dst, b) != 0 {
		p.refuse("checksum", "checksum %#04x is wrong", binary.BigEndian.Uint16(b[2:]))
	}
	switch {
	case b[1] != 0:
		p.refuse("malformed", "code %d, expected 0", b[1])
	case target.IsMulticast():
		p.refuse("malformed", "target %v is multicast", target)
	case p.ip.dst.IsMulticast() && flags&0x40 != 0:
		p.refuse("malformed", "solicited flag in a multicast")
	}
	for o := b[24:]; len(o) > 0; {
		if len(o) < 8 || o[1] == 0 || int(o[1])*8 > len(o) {
			p.refuse("malformed", "option of length %d", int(o[min(1, len(o)-1)])*8)
			break
		}
		if o[0] == 2 && o[1] == 1 {
			p.mac = MAC(o[2:8])
		}
		o = o[int(o[1])*8:]
	}
	kind := "unsolicited"
	if flags&0x40 != 0 {
		kind = "solicited"
	}
	p.what = fmt.Sprintf("%s: %v is at %v", kind, target, p.mac)
}

// checksum is the Internet checksum (RFC 1071), zero over data that holds a right one.
func checksum(b []byte) uint16 { return ^fold(sum16(0, b)) }

func icmp6Sum(src, dst netip.Addr, b []byte) uint16 {
	s, d := src.As16(), dst.As16()
	return ^fold(sum16(sum16(sum16(uint32(len(b))+protoICMPv6, s[:]), d[:]), b))
}

func sum16(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
