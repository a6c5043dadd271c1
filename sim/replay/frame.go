package replay

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// LinkType is the kind of link-layer header, as capture files number it (https://www.tcpdump.org/linktypes.html).
type LinkType uint16

// The link types that are read. Frames of another one are skipped.
const (
	LinkNull     LinkType = 0   // BSD loopback: address family in the byte order of the host
	LinkEthernet LinkType = 1   //
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
	Time      time.Time // when it was captured
	Interface string    // name or number of the capture interface, empty if the format has none
	Link      LinkType
	Data      []byte // what was captured; not kept
	Length    int    // octets on the wire; more than len(Data) when the capture cut the frame
}

// EtherTypes and IP protocols of interest.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100 // IEEE 802.1Q
	etherQinQ = 0x88a8 // IEEE 802.1ad
	etherQOld = 0x9100

	protoICMPv6 = 58
)

// maxTags bounds the VLAN tags and IPv6 extension headers walked through.
const maxTags = 8

// netPacket is what the link layer carried.
type netPacket struct {
	mac   MAC    // sender's, if the link layer tells
	port  string // interface and VLANs: what tells one segment from another
	ether uint16
	body  []byte
}

// link takes the link-layer header off. It is not ok when there is nothing of interest or the frame ends too early
// to say.
func (f Frame) link() (p netPacket, ok bool) {
	b := f.Data
	p.port = f.Interface
	switch f.Link {
	case LinkEthernet:
		if len(b) < 14 {
			return p, false
		}
		p.mac = MAC(b[6:12])
		p.ether, p.body = binary.BigEndian.Uint16(b[12:]), b[14:]
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
		if p.port != "" {
			p.port += "/"
		}
		p.port += "if" + decimal(uint(binary.BigEndian.Uint32(b[4:])))
		p.ether, p.body = binary.BigEndian.Uint16(b), b[20:]
	case LinkRaw, LinkIPv4, LinkIPv6:
		p.body = b
	case LinkNull, LinkLoop:
		if len(b) < 4 {
			return p, false
		}
		p.body = b[4:]
	default:
		return p, false
	}
	for range maxTags {
		if p.ether != etherVLAN && p.ether != etherQinQ && p.ether != etherQOld || len(p.body) < 4 {
			break
		}
		if id := binary.BigEndian.Uint16(p.body) & 0xfff; id != 0 { // 0 is a priority tag, no VLAN
			if p.port != "" {
				p.port += "/"
			}
			p.port += "vlan" + decimal(uint(id))
		}
		p.ether, p.body = binary.BigEndian.Uint16(p.body[2:]), p.body[4:]
	}
	if p.ether == 0 && len(p.body) > 0 { // no link layer to say
		switch p.body[0] >> 4 {
		case 4:
			p.ether = etherIPv4
		case 6:
			p.ether = etherIPv6
		}
	}
	return p, p.ether == etherIPv4 || p.ether == etherIPv6 || p.ether == etherARP
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

// ipPacket is an IP packet whose header could be read.
type ipPacket struct {
	src, dst netip.Addr
	ttl      uint8
	proto    uint8
	id       uint16
	header   []byte // IPv4 only
	payload  []byte
	fault    *fault // of the IP header itself
}

// fault is why a packet is refused: a word and a sentence.
type fault struct{ word, text string }

// ip reads an IPv4 or IPv6 packet; cut says that the capture does not hold all of the frame. It is
// not ok when not even the protocol can be told.
func (p netPacket) ip(cut bool) (ipPacket, bool) {
	if p.ether == etherIPv4 {
		return readIPv4(p.body, cut)
	}
	return readIPv6(p.body, cut)
}

func readIPv4(b []byte, cut bool) (ip ipPacket, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return ip, false
	}
	ip = ipPacket{
		src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
		ttl: b[8], proto: b[9], id: binary.BigEndian.Uint16(b[4:]),
	}
	head, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case head < 20 || total < head || len(b) < head:
		ip.fault = &fault{"ip_header", "IPv4 header length " + decimal(uint(head)) + " in a packet of " + decimal(uint(total))}
	case checksum(b[:head]) != 0:
		ip.fault = &fault{"ip_checksum", "checksum of the IPv4 header is wrong"}
	case binary.BigEndian.Uint16(b[6:])&0x3fff != 0: // more fragments, or an offset
		ip.fault = &fault{"fragment", "a fragment; adverts are never fragmented"}
	case total > len(b):
		ip.fault = short(total, len(b), cut)
	default:
		ip.header, ip.payload = b[:head], b[head:total]
	}
	return ip, true
}

func short(want, have int, cut bool) *fault {
	if cut {
		return &fault{"truncated", "the capture holds " + decimal(uint(have)) + " of " + decimal(uint(want)) + " octets; capture with a larger snap length"}
	}
	return &fault{"length", "the IP header says " + decimal(uint(want)) + " octets, there are " + decimal(uint(have))}
}

func readIPv6(b []byte, cut bool) (ip ipPacket, ok bool) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return ip, false
	}
	ip = ipPacket{
		src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
		ttl: b[7], proto: b[6],
	}
	total := int(binary.BigEndian.Uint16(b[4:])) // a jumbogram (0) carries nothing for us
	body := b[40:]
	if total > len(body) {
		ip.fault = short(total+40, len(b), cut)
	} else {
		body = body[:total]
	}
	for range maxTags { // extension headers (RFC 8200 4)
		var size int
		switch {
		case len(body) < 8:
		case ip.proto == 0 || ip.proto == 43 || ip.proto == 60: // hop by hop, routing, destination options
			size = int(body[1])*8 + 8
		case ip.proto == 44 && ip.fault == nil:
			if binary.BigEndian.Uint16(body[2:])&0xfff9 != 0 {
				ip.fault = &fault{"fragment", "a fragment; adverts are never fragmented"}
			}
			size = 8
		case ip.proto == 44:
			size = 8
		}
		if size == 0 || size > len(body) {
			break
		}
		ip.proto, body = body[0], body[size:]
	}
	if ip.fault == nil {
		ip.payload = body
	}
	return ip, true
}
