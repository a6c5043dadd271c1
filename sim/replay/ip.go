package replay

import (
	"encoding/binary"
	"net/netip"
)

// IP protocols and extension headers of interest (besides those of package vrrp).
const (
	protoHopByHop = 0
	protoRouting  = 43
	protoFragment = 44
	protoICMPv6   = 58
	protoDestOpts = 60
)

// ipPacket is an IP packet whose header could be read.
type ipPacket struct {
	src, dst netip.Addr
	ttl      uint8
	proto    uint8
	id       uint16
	header   []byte // IPv4 only
	payload  []byte // as much as there is; of a fragment, its share
	frag     *fragment
	fault    *fault // of the IP header itself
}

// fragment is what a fragment says about its place in the packet.
type fragment struct {
	id     uint32
	offset int
	more   bool
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
	case head < 20 || total < head:
		ip.fault = &fault{"ip_header", "IPv4 header length " + decimal(uint(head)) + " in a packet of " + decimal(uint(total))}
		return ip, true
	case len(b) < head:
		ip.fault = short(total, len(b), cut)
		return ip, true
	}
	ip.header, ip.payload = b[:head], b[head:min(total, len(b))] // what follows is padding
	if part := binary.BigEndian.Uint16(b[6:]); part&0x3fff != 0 {
		ip.frag = &fragment{id: uint32(ip.id), offset: int(part&0x1fff) * 8, more: part&0x2000 != 0}
	}
	switch {
	case checksum(b[:head]) != 0:
		ip.fault = &fault{"ip_checksum", "checksum of the IPv4 header is wrong"}
	case total > len(b):
		ip.fault = short(total, len(b), cut)
	}
	return ip, true
}

func short(want, have int, cut bool) *fault {
	if cut {
		return &fault{"truncated", "the capture holds " + decimal(uint(have)) + " of " + decimal(uint(want)) + " octets; capture with a larger snap length (tcpdump -s 0)"}
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
		case len(body) < 8 || ip.frag != nil: // behind a fragment header there may be the middle of anything
		case ip.proto == protoHopByHop || ip.proto == protoRouting || ip.proto == protoDestOpts:
			size = int(body[1])*8 + 8
		case ip.proto == protoFragment:
			if part := binary.BigEndian.Uint16(body[2:]); part&0xfff9 != 0 {
				ip.frag = &fragment{id: binary.BigEndian.Uint32(body[4:]), offset: int(part &^ 7), more: part&1 != 0}
			}
			size = 8
		}
		if size == 0 || size > len(body) {
			break
		}
		ip.proto, body = body[0], body[size:]
	}
	ip.payload = body
	return ip, true
}

// Limits of putting fragments together. The largest advert, 255 IPv6 addresses, has 4088 octets.
const (
	maxParts    = 32
	maxPackets  = 64 // incomplete ones
	maxOffset   = 8192
	partsExpire = 30e9 // nanoseconds; Linux waits as long for the rest (net.ipv4.ipfrag_time)
)

type partKey struct {
	port     string
	src, dst netip.Addr
	id       uint32
	proto    uint8
}

// parts are the fragments of one packet that were seen so far.
type parts struct {
	key    partKey
	born   int64
	data   []byte
	have   []span // sorted
	size   int    // 0 until the last fragment tells
	head   []byte // IPv4 header of the first
	ttl    uint8
	frames []int
}

type span struct{ from, to int }

// join takes a fragment of an advert, which only IPv6 needs in earnest: more than 89 addresses exceed an Ethernet frame. It
// returns the frames of the packet once it is whole, with p made the whole packet.
func (d *Decoder) join(p *packet) (frames []int, whole bool) {
	f := p.ip.frag
	key := partKey{p.link.port, p.ip.src, p.ip.dst, f.id, p.ip.proto}
	at := -1
	for i := 0; i < len(d.parts); i++ {
		switch q := d.parts[i]; {
		case int64(d.now)-q.born > partsExpire:
			d.lost += len(q.frames)
			d.parts = append(d.parts[:i], d.parts[i+1:]...)
			i--
		case q.key == key:
			at = i
		}
	}
	if at < 0 {
		if len(d.parts) >= maxPackets {
			d.lost += len(d.parts[0].frames)
			d.parts = append(d.parts[:0], d.parts[1:]...)
		}
		at = len(d.parts)
		d.parts = append(d.parts, &parts{key: key, born: int64(d.now)})
	}
	q := d.parts[at]
	s := span{f.offset, f.offset + len(p.ip.payload)}
	switch {
	case f.more && len(p.ip.payload)%8 != 0:
		p.refuse("fragment", "a fragment of %d octets that is not the last one; those have a multiple of 8", len(p.ip.payload))
		return nil, false
	case s.to > maxOffset || len(q.have) >= maxParts:
		p.refuse("fragment", "a fragment of more than any advert has: octets %d to %d", s.from, s.to)
		return nil, false
	case !q.add(s, f.more):
		p.refuse("fragment", "octets %d to %d overlap a fragment seen before (packet %d)", s.from, s.to, q.frames[0])
		return nil, false
	}
	if s.to > len(q.data) {
		q.data = append(q.data, make([]byte, s.to-len(q.data))...)
	}
	copy(q.data[s.from:], p.ip.payload)
	q.frames = append(q.frames, p.frame.N)
	if s.from == 0 {
		q.head, q.ttl = append([]byte(nil), p.ip.header...), p.ip.ttl
	}
	if q.size == 0 || len(q.have) != 1 || q.have[0] != (span{0, q.size}) {
		p.refuse("fragment", "octets %d to %d of a packet, which counts once the rest is there", s.from, s.to)
		return nil, false
	}
	d.parts = append(d.parts[:at], d.parts[at+1:]...)
	p.ip.payload, p.ip.header, p.ip.ttl, p.ip.frag = q.data[:q.size], q.head, q.ttl, nil
	if h := p.ip.header; len(h) > 0 { // as the host hands it to the router
		binary.BigEndian.PutUint16(h[2:], uint16(len(h)+q.size))
		h[6], h[7], h[10], h[11] = 0, 0, 0, 0
		binary.BigEndian.PutUint16(h[10:], checksum(h))
	}
	return q.frames, true
}

// add notes octets as present; it is not ok when some are already, which no honest sender does (RFC 5722).
func (q *parts) add(s span, more bool) bool {
	if !more {
		if q.size != 0 && q.size != s.to {
			return false
		}
	}
	at := 0
	for _, h := range q.have {
		if s.from < h.to && h.from < s.to || h == s {
			return false
		}
		if h.to <= s.from {
			at++
		}
	}
	if !more {
		q.size = s.to
	}
	q.have = append(q.have[:at], append([]span{s}, q.have[at:]...)...)
	for i := 1; i < len(q.have); {
		if q.have[i-1].to == q.have[i].from {
			q.have[i-1].to = q.have[i].to
			q.have = append(q.have[:i], q.have[i+1:]...)
			continue
		}
		i++
	}
	return true
}
