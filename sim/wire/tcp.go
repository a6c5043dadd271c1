package wire

import (
	"encoding/binary"
	"net/netip"
)

// ProtoTCP is TCP's IP protocol number.
const ProtoTCP = 6

// TCP flags.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// TCP holds the header fields that anybody here looks at (RFC 9293 3.1).
type TCP struct {
	Src, Dst uint16 // ports
	Seq, Ack uint32
	Flags    uint8
}

const tcpMin = 20

// Segment is a TCP segment with its checksum, to be carried from src to dst. The window is constant: nothing here sends more
// than one segment of data.
func Segment(src, dst netip.Addr, t TCP, data []byte) []byte {
	b := make([]byte, tcpMin+len(data))
	copy(b[tcpMin:], data)
	FillSegment(b, src, dst, t)
	return b
}

// SegmentHeader is how many octets FillSegment writes in front of the data.
const SegmentHeader = tcpMin

// FillSegment is Segment for data that is in its place already, SegmentHeader octets into b, which must be zero before it.
func FillSegment(b []byte, src, dst netip.Addr, t TCP) {
	binary.BigEndian.PutUint16(b[0:], t.Src)
	binary.BigEndian.PutUint16(b[2:], t.Dst)
	binary.BigEndian.PutUint32(b[4:], t.Seq)
	binary.BigEndian.PutUint32(b[8:], t.Ack)
	b[12], b[13] = tcpMin/4<<4, t.Flags
	binary.BigEndian.PutUint16(b[14:], 0xffff)
	binary.BigEndian.PutUint16(b[16:], checksumOver(pseudo(src, dst, len(b)), b))
}

// ParseTCP reads a segment that was carried from src to dst. Options are skipped; data is part of b.
func ParseTCP(src, dst netip.Addr, b []byte) (t TCP, data []byte, err error) {
	if len(b) < tcpMin {
		return t, nil, ErrShort
	}
	n := int(b[12]>>4) * 4
	switch {
	case n < tcpMin:
		return t, nil, ErrHeader
	case n > len(b):
		return t, nil, ErrShort
	case checksumOver(pseudo(src, dst, len(b)), b) != 0:
		return t, nil, ErrChecksum
	}
	return tcpHeader(b), b[n:], nil
}

func tcpHeader(b []byte) TCP {
	return TCP{Src: binary.BigEndian.Uint16(b[0:]), Dst: binary.BigEndian.Uint16(b[2:]),
		Seq: binary.BigEndian.Uint32(b[4:]), Ack: binary.BigEndian.Uint32(b[8:]), Flags: b[13]}
}

// pseudo is the sum of the pseudo header that the checksum covers too (RFC 9293 3.1).
func pseudo(src, dst netip.Addr, length int) uint32 {
	from, to := src.As4(), dst.As4()
	word := binary.BigEndian.Uint16
	return uint32(word(from[:2])) + uint32(word(from[2:])) + uint32(word(to[:2])) + uint32(word(to[2:])) + ProtoTCP + uint32(length)
}

const (
	icmpUnreachable = 3
	codePort        = 3
	icmpHeader      = 8
)

// Refused is the ICMP message "port unreachable" that answers a TCP packet (RFC 792): its header and the first eight octets
// behind it are given back.
func Refused(h IP, segment []byte) []byte {
	b := make([]byte, icmpHeader+ipv4Min+8)
	b[0], b[1] = icmpUnreachable, codePort
	ip := b[icmpHeader:]
	ip[0], ip[1], ip[8], ip[9] = 0x45, h.TOS, h.TTL, ProtoTCP
	binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Min+len(segment)))
	binary.BigEndian.PutUint16(ip[4:], h.ID)
	from, to := h.Src.As4(), h.Dst.As4()
	copy(ip[12:], from[:])
	copy(ip[16:], to[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:ipv4Min]))
	copy(ip[ipv4Min:], segment[:8])
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// ParseRefused returns source and destination of the TCP packet that an ICMP message "port unreachable" gives back; false for
// any other message.
func ParseRefused(b []byte) (src, dst netip.AddrPort, ok bool) {
	if len(b) < icmpHeader+ipv4Min+8 || b[0] != icmpUnreachable || b[1] != codePort || checksum(b) != 0 {
		return src, dst, false
	}
	ip := b[icmpHeader:]
	ihl := int(ip[0]&0x0f) * 4
	if ip[0]>>4 != 4 || ihl < ipv4Min || len(ip) < ihl+8 || ip[9] != ProtoTCP {
		return src, dst, false
	}
	port := ip[ihl:]
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:16])), binary.BigEndian.Uint16(port)),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:20])), binary.BigEndian.Uint16(port[2:])), true
}
