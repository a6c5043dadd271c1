package replay

import (
	"encoding/binary"
	"time"
)

// LinkType is the kind of link-layer header, as capture files number it (https://www.tcpdump.org/linktypes.html).
type LinkType uint16

// The link types that are read. Frames of another one are skipped.
const (
	LinkNull     LinkType = 0   // BSD loopback: address family in the byte order of the host
	LinkEthernet LinkType = 1   //
	linkRawBSD   LinkType = 12  // an IP packet, as some BSDs number it
	linkRawOBSD  LinkType = 14  // the same of OpenBSD
	LinkRaw      LinkType = 101 // an IP packet
	LinkLoop     LinkType = 108 // OpenBSD loopback: address family in network order
	LinkSLL      LinkType = 113 // Linux "cooked", tcpdump -i any
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276 // the newer one, with the interface index
)

// Frame is one captured frame.
type Frame struct {
	N         int       // number in the capture, from 1, the one Wireshark shows
	Time      time.Time // when it was captured; zero if the format does not tell
	Interface string    // name or number of the capture interface, empty if the format has none
	Link      LinkType
	Data      []byte // what was captured; not kept
	Length    int    // octets on the wire; more than len(Data) when the capture cut the frame
}

// known says whether frames of this link type are read.
func (t LinkType) known() bool {
	switch t {
	case LinkNull, LinkEthernet, linkRawBSD, linkRawOBSD, LinkRaw, LinkLoop, LinkSLL, LinkIPv4, LinkIPv6, LinkSLL2:
		return true
	}
	return false
}

// EtherTypes of interest.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100 // IEEE 802.1Q
	etherQinQ = 0x88a8 // IEEE 802.1ad
	etherQOld = 0x9100
	etherMPLS = 0x8847 // RFC 3032
)

// maxTags bounds the VLAN tags, MPLS labels and IPv6 extension headers walked through.
const maxTags = 8

// netPacket is what the link layer carried.
type netPacket struct {
	mac   MAC    // sender's, if the link layer tells
	port  string // interface, VLANs and tunnels: what tells one segment from another
	vlan  string // the VLANs and tunnels alone
	ether uint16
	body  []byte
}

// link takes the link-layer header off. It is not ok when there is nothing of interest or the frame ends too early
// to say.
func (f Frame) link() (p netPacket, ok bool) {
	b := f.Data
	p.port = f.Interface
	raw := false // only the first octet says what it is
	switch f.Link {
	case LinkEthernet:
		if p.body = b; !p.ethernet() {
			return p, false
		}
	case LinkSLL: // type 2, ARPHRD 2, address length 2, address 8, protocol 2
		if len(b) < 16 {
			return p, false
		}
		if binary.BigEndian.Uint16(b[4:]) == 6 {
			p.mac = MAC(b[6:12])
		}
		p.ether, p.body = binary.BigEndian.Uint16(b[14:]), b[16:]
	case LinkSLL2: // protocol 2, zero 2, interface 4, ARPHRD 2, type 1, address length 1, address 8
		if len(b) < 20 {
			return p, false
		}
		if b[11] == 6 {
			p.mac = MAC(b[12:18])
		}
		p.port = path(p.port, "if"+decimal(uint(binary.BigEndian.Uint32(b[4:]))))
		p.ether, p.body = binary.BigEndian.Uint16(b), b[20:]
	case LinkRaw, LinkIPv4, LinkIPv6, linkRawBSD, linkRawOBSD:
		p.body, raw = b, true
	case LinkNull, LinkLoop:
		if len(b) < 4 {
			return p, false
		}
		p.body, raw = b[4:], true
	default:
		return p, false
	}
	p.tags()
	if raw && len(p.body) > 0 {
		p.guess()
	}
	return p, p.known()
}

func (p *netPacket) known() bool {
	return p.ether == etherIPv4 || p.ether == etherIPv6 || p.ether == etherARP
}

// ethernet takes off an Ethernet header.
func (p *netPacket) ethernet() bool {
	b := p.body
	if len(b) < 14 {
		return false
	}
	p.mac, p.ether, p.body = MAC(b[6:12]), binary.BigEndian.Uint16(b[12:]), b[14:]
	return true
}

// guess tells IPv4 and IPv6 apart by their first octet.
func (p *netPacket) guess() {
	switch p.body[0] >> 4 {
	case 4:
		p.ether = etherIPv4
	case 6:
		p.ether = etherIPv6
	}
}

// tags takes off VLAN tags and MPLS labels and adds them to the name of the port.
func (p *netPacket) tags() {
	name := ""
	for range maxTags {
		if len(p.body) < 4 {
			break
		}
		switch p.ether {
		case etherVLAN, etherQinQ, etherQOld:
			if id := binary.BigEndian.Uint16(p.body) & 0xfff; id != 0 { // 0 is a priority tag, no VLAN
				name = path(name, "vlan"+decimal(uint(id)))
			}
			p.ether, p.body = binary.BigEndian.Uint16(p.body[2:]), p.body[4:]
		case etherMPLS:
			label := binary.BigEndian.Uint32(p.body)
			name = path(name, "mpls"+decimal(uint(label>>12)))
			if p.body = p.body[4:]; label&0x100 != 0 { // the bottom of the stack
				p.unlabelled()
			}
		}
	}
	p.vlan, p.port = path(p.vlan, name), path(p.port, name)
}

// unlabelled guesses what is behind the last MPLS label, which does not say: IP (RFC 4928 3), or Ethernet, with a control word if it
// begins with 0 (RFC 4385 3) and that makes sense. Whoever sent the frame is not who sent what is in it.
func (p *netPacket) unlabelled() {
	p.ether, p.mac = 0, MAC{}
	if len(p.body) < 4 {
		return
	}
	if p.guess(); p.ether != 0 {
		return
	}
	if p.body[0]>>4 == 0 {
		with := *p
		with.body = p.body[4:]
		if with.ethernet() && (with.known() || with.ether == etherVLAN) {
			*p = with
			return
		}
	}
	p.ethernet()
}

func path(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "/" + b
}

func decimal(n uint) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}
