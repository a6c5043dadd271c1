package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the address of everybody.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Multicast reports whether the group bit is set; Broadcast has it too.
func (m MAC) Multicast() bool { return m[0]&1 != 0 }

// MulticastMAC maps a group to its Ethernet group (RFC 1112 6.4, RFC 2464 7).
func MulticastMAC(group netip.Addr) MAC {
	if group.Is6() {
		b := group.As16()
		return MAC{groupScopeMAC, groupScopeMAC, b[12], b[13], b[14], b[15]}
	}
	a := group.As4()
	return MAC{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}
}

// Sizes and numbers of the headers read here.
const (
	EthernetHeader = 14
	arpLen         = 28
	ipv4Min        = 20

	EtherIPv4 = 0x0800
	EtherARP  = 0x0806

	ProtoICMP = 1
	ProtoVRRP = 112
)

// ARP operations.
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ICMP message types.
const (
	EchoReply   = 0
	EchoRequest = 8
)

// Frame is what Parse found. Payload is part of the buffer given to Parse.
type Frame struct {
	Dst, Src  MAC
	EtherType uint16
	ARP       ARP    // if EtherType is EtherARP
	IP        IP     // if EtherType is EtherIPv4 or EtherIPv6
	Header    []byte // of the IPv4 packet, part of the buffer too
	Payload   []byte // of the packet, without Ethernet padding
}

// ARP is an ARP packet for IPv4 over Ethernet (RFC 826).
type ARP struct {
	Op                   uint16
	SenderMAC, TargetMAC MAC
	SenderIP, TargetIP   netip.Addr
}

// IP holds the header fields that anybody here looks at. TOS and TTL are IPv6's traffic class and hop limit; it has no ID.
type IP struct {
	TOS, TTL, Protocol uint8
	ID                 uint16
	Src, Dst           netip.Addr
}

// Echo is an ICMP echo request or reply (RFC 792).
type Echo struct {
	Type    uint8
	ID, Seq uint16
}

// What Parse and ParseEcho refuse.
var (
	ErrShort    = errors.New("frame is shorter than its headers say")
	ErrHeader   = errors.New("malformed header")
	ErrChecksum = errors.New("wrong checksum")
	ErrFragment = errors.New("fragment")
)

// Parse reads a frame. Ether types other than IPv4, IPv6 and ARP are returned without error and
// without content; IPv4 options are skipped, IPv6 extension headers are a protocol.
func Parse(b []byte) (Frame, error) {
	if len(b) < EthernetHeader {
		return Frame{}, ErrShort
	}
	f := Frame{Dst: MAC(b[0:6]), Src: MAC(b[6:12]), EtherType: binary.BigEndian.Uint16(b[12:14])}
	var err error
	switch body := b[EthernetHeader:]; f.EtherType {
	case EtherARP:
		f.ARP, err = parseARP(body)
	case EtherIPv4:
		if f.IP, f.Payload, err = parseIPv4(body); err == nil {
			f.Header = body[:int(body[0]&0x0f)*4]
		}
	case EtherIPv6:
		f.IP, f.Payload, err = parseIPv6(body)
	}
	return f, err
}

func parseARP(b []byte) (ARP, error) {
	if len(b) < arpLen {
		return ARP{}, ErrShort
	}
	// hardware Ethernet, protocol IPv4, lengths 6 and 4
	if binary.BigEndian.Uint32(b[0:4]) != 0x00010800 || b[4] != 6 || b[5] != 4 {
		return ARP{}, ErrHeader
	}
	return ARP{
		Op:        binary.BigEndian.Uint16(b[6:8]),
		SenderMAC: MAC(b[8:14]), SenderIP: netip.AddrFrom4([4]byte(b[14:18])),
		TargetMAC: MAC(b[18:24]), TargetIP: netip.AddrFrom4([4]byte(b[24:28])),
	}, nil
}

func parseIPv4(b []byte) (IP, []byte, error) {
	if len(b) < ipv4Min {
		return IP{}, nil, ErrShort
	}
	ihl := int(b[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(b[2:4]))
	switch {
	case b[0]>>4 != 4 || ihl < ipv4Min || total < ihl:
		return IP{}, nil, ErrHeader
	case total > len(b):
		return IP{}, nil, ErrShort
	case checksum(b[:ihl]) != 0:
		return IP{}, nil, ErrChecksum
	case binary.BigEndian.Uint16(b[6:8])&0x3fff != 0: // more fragments, or offset
		return IP{}, nil, ErrFragment
	}
	return IP{
		TOS: b[1], TTL: b[8], Protocol: b[9], ID: binary.BigEndian.Uint16(b[4:6]),
		Src: netip.AddrFrom4([4]byte(b[12:16])), Dst: netip.AddrFrom4([4]byte(b[16:20])),
	}, b[ihl:total], nil
}

// ParseEcho reads an ICMP echo request or reply; other ICMP messages are ErrHeader.
func ParseEcho(b []byte) (Echo, error) {
	if len(b) < 8 {
		return Echo{}, ErrShort
	}
	if b[0] != EchoRequest && b[0] != EchoReply || b[1] != 0 {
		return Echo{}, ErrHeader
	}
	if checksum(b) != 0 {
		return Echo{}, ErrChecksum
	}
	return Echo{Type: b[0], ID: binary.BigEndian.Uint16(b[4:6]), Seq: binary.BigEndian.Uint16(b[6:8])}, nil
}

// checksum is the Internet checksum (RFC 1071); zero over data that holds a right one.
func checksum(b []byte) uint16 { return checksumOver(0, b) }

// checksumOver continues the sum of what precedes b.
func checksumOver(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
