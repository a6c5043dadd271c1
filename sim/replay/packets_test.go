package replay

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/vrrp"
)

// Pieces of frames.

var (
	addr4 = netip.MustParseAddr("10.0.0.1")
	addr6 = netip.MustParseAddr("fe80::1")
	vip4  = netip.MustParseAddr("10.0.0.100")
	vip6  = netip.MustParseAddr("fd00::100")
)

func ether(mac byte, kind uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, mac}, kind)[:14:14]
}

func eth4(mac byte, packet []byte) []byte { return append(ether(mac, etherIPv4), packet...) }
func eth6(mac byte, packet []byte) []byte { return append(ether(mac, etherIPv6), packet...) }

// ip4 makes a packet; edit changes the header before its checksum.
func ip4(src, dst netip.Addr, ttl, proto uint8, payload []byte, edit func(h []byte) []byte) []byte {
	s, d := src.As4(), dst.As4()
	h := slices.Concat([]byte{0x45, 0xc0, 0, 0, 0, 7, 0, 0, ttl, proto, 0, 0}, s[:], d[:])
	if edit != nil {
		h = edit(h)
	}
	h[0] = 0x40 | byte(len(h)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(payload)))
	sum := checksum(h)
	h[10], h[11] = byte(sum>>8), byte(sum)
	return append(h, payload...)
}

func ip6(src, dst netip.Addr, hops, next uint8, payload []byte) []byte {
	s, d := src.As16(), dst.As16()
	h := []byte{0x6c, 0, 0, 0, 0, 0, next, hops}
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	return slices.Concat(h, s[:], d[:], payload)
}

// message is an advert of version 2 or 3, to the group.
func message(version uint8, prio uint8, vips ...netip.Addr) []byte {
	src := addr4
	if vips[0].Is6() {
		src = addr6
	}
	a := vrrp.Advert{Version: version, VRID: 51, Priority: prio, Interval: time.Second, Addrs: vips}
	b, err := a.Append(nil, src, vrrp.Group(src.Is6()), false)
	if err != nil {
		panic(err)
	}
	return b
}

func edited(b []byte, edit func([]byte)) []byte {
	b = slices.Clone(b)
	edit(b)
	return b
}

func arpOf(op uint16, sha MAC, spa netip.Addr, tpa netip.Addr) []byte {
	s, t := spa.As4(), tpa.As4()
	b := slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, byte(op)}, sha[:], s[:], make([]byte, 6), t[:])
	f := append(ether(sha[5], etherARP), b...)
	copy(f[6:], sha[:])
	return f
}

func naOf(src, dst, target netip.Addr, flags byte, mac MAC) []byte {
	t := target.As16()
	b := slices.Concat([]byte{136, 0, 0, 0, flags, 0, 0, 0}, t[:], []byte{2, 1}, mac[:])
	sum := icmp6Sum(src, dst, b)
	b[2], b[3] = byte(sum>>8), byte(sum)
	f := eth6(mac[5], ip6(src, dst, 255, protoICMPv6, b))
	copy(f[6:], mac[:])
	return f
}

// ahOf is an authentication header as keepalived builds it, in front of a version 2 message.
func ahOf(seq uint32, pass string, edit func(ah *vrrp.AH)) []byte {
	a := vrrp.Advert{Version: 2, VRID: 51, Priority: 100, Interval: time.Second, Addrs: []netip.Addr{vip4}, AuthType: vrrp.AuthAH}
	m, err := a.Append(nil, addr4, vrrp.Group(false), false)
	if err != nil {
		panic(err)
	}
	ah := vrrp.AH{SPI: 0x0a000001, Sequence: seq}
	packet := ip4(addr4, vrrp.Group(false), 255, vrrp.ProtocolAH, append(ah.Append(nil), m...), nil)
	ah.ICV = vrrp.NewAHKey(pass).ICV(packet[:20], packet[20:])
	if edit != nil {
		edit(&ah)
	}
	return eth4(1, ip4(addr4, vrrp.Group(false), 255, vrrp.ProtocolAH, append(ah.Append(nil), m...), nil))
}

// ext6 is an IPv6 extension header of 8 octets.
func ext6(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }

var (
	m2 = message(2, 100, vip4)
	m3 = message(3, 100, vip4)
	m6 = message(3, 100, vip6)
	to = vrrp.Group(false)
	t6 = vrrp.Group(true)
)

// packetCases are single packets that were met or made up, with the line about each. Those that wait for a virtual
// address to be known come behind an advert of its owner (after).
var packetCases = []struct {
	name   string
	after  []byte
	frames [][]byte
	want   string // of the last frame: proto, VRID, version, verdict and begin of the reason
}{
	{"version 2", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, m2, nil))}, "vrrp 51 v2 ok priority 100, interval 1s, 10.0.0.100; first advert of VRID 51"},
	{"version 3, pseudo-header", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, m3, nil))}, "vrrp 51 v3 ok priority 100, interval 1s, 10.0.0.100; first advert of VRID 51"},
	{"version 3, message only", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, messageOnly(m3), nil))},
		"vrrp 51 v3 ok priority 100, interval 1s, 10.0.0.100; first advert of VRID 51; checksum over the message only (RFC 9568), which keepalived 2.2.7 and FRR 8.4 refuse"},
	{"version 3 over IPv6", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 112, m6))}, "vrrp 51 v3 ok priority 100, interval 1s, fd00::100; first advert of VRID 51"},
	{"priority 0", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, message(2, 0, vip4), nil))}, "vrrp 51 v2 ok priority 0: leaves, 10.0.0.100; first"},
	{"Ethernet padding", nil, [][]byte{append(eth4(1, ip4(addr4, to, 255, 112, m2, nil)), make([]byte, 6)...)}, "vrrp 51 v2 ok priority 100"},
	{"IP options", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, m2, func(h []byte) []byte { return append(h, 0x94, 4, 0, 0) }))}, "vrrp 51 v2 ok priority 100"},
	{"hop-by-hop options", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 0, append(ext6(112), m6...)))}, "vrrp 51 v3 ok priority 100"},
	{"hop-by-hop and destination options", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 0, slices.Concat(ext6(60), ext6(112), m6)))}, "vrrp 51 v3 ok priority 100"},
	{"AH over IPv6", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 51, slices.Concat([]byte{112, 4}, make([]byte, 22), m6)))},
		"ah 51 v3 reject auth_type: an authentication header over IPv6"},
	{"hop-by-hop before AH over IPv6", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 0, slices.Concat(ext6(51), []byte{112, 4}, make([]byte, 22), m6)))},
		"ah 51 v3 reject auth_type: an authentication header over IPv6"},
	{"AH", nil, [][]byte{ahOf(5, "s3cr3tpw", nil)}, "ah 51 v2 ok priority 100, interval 1s, 10.0.0.100, auth ah, sequence 5, check value right"},
	{"AH, wrong password", nil, [][]byte{ahOf(5, "another", nil)}, "ah 51 v2 reject auth: check value"},
	{"AH, wrong parameter index", nil, [][]byte{ahOf(5, "s3cr3tpw", func(a *vrrp.AH) { a.SPI++ })}, "ah 51 v2 reject auth: parameter index 0a000002"},
	{"AH, replayed", ahOf(5, "s3cr3tpw", nil), [][]byte{ahOf(5, "s3cr3tpw", nil)}, "ah 51 v2 reject sequence: sequence number 5 after 5"},
	{"AH around a message that says none", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 51, slices.Concat([]byte{112, 4, 0, 0, 10, 0, 0, 1}, make([]byte, 16), m2), nil))},
		"ah 51 v2 reject auth_type: an authentication header, but the message says auth type none"},
	{"version 1", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, edited(m2, func(b []byte) { b[0] = 0x11 }), nil))}, "vrrp 51 v1 reject version: version 1 is neither 2 nor 3"},
	{"version 4", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, edited(m2, func(b []byte) { b[0] = 0x41 }), nil))}, "vrrp 51 v4 reject version: version 4"},
	{"version 2 over IPv6", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 112, edited(m6, func(b []byte) { b[0] = 0x21 })))}, "vrrp 51 v2 reject version: version 2 is not defined for IPv6"},
	{"another type", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, edited(m2, func(b []byte) { b[0], b[6] = 0x22, b[6]-1 }), nil))}, "vrrp 51 v2 reject type: message type 2"},
	{"wrong TTL", nil, [][]byte{eth4(1, ip4(addr4, to, 254, 112, m2, nil))}, "vrrp 51 v2 reject ttl: TTL 254, expected 255"},
	{"wrong hop limit", nil, [][]byte{eth6(1, ip6(addr6, t6, 64, 112, m6))}, "vrrp 51 v3 reject ttl: TTL 64, expected 255"},
	{"wrong checksum", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, edited(m2, func(b []byte) { b[6]++ }), nil))}, "vrrp 51 v2 reject checksum: checksum 0x"},
	{"wrong checksum over IPv6", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 112, edited(m6, func(b []byte) { b[7]++ })))}, "vrrp 51 v3 reject checksum: checksum 0x"},
	{"wrong checksum of the IP header", nil, [][]byte{eth4(1, edited(ip4(addr4, to, 255, 112, m2, nil), func(b []byte) { b[10]++ }))}, "vrrp 51 v2 reject ip_checksum: checksum of the IPv4 header is wrong"},
	{"no address", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, []byte{0x21, 51, 100, 0, 0, 1, 0x7a, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0}, nil))}, "vrrp 51 v2 reject addr_list: no address in the advert"},
	{"fewer octets than addresses", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, edited(m2, func(b []byte) { b[3] = 9 }), nil))}, "vrrp 51 v2 reject length: 20 octets, version 2 with 9 addresses has 52"},
	{"interval 0", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, edited(m2, func(b []byte) { b[5], b[7] = 0, b[7]+1 }), nil))}, "vrrp 51 v2 reject interval: interval 0"},
	{"an IP packet cut on the way", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, m2, nil)[:36])}, "vrrp 51 v2 reject length: the IP header says 40 octets, there are 36"},
	{"a lone fragment", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, m2[:16], moreAt(1, 0, true)))}, "vrrp 51 v2 reject fragment: octets 0 to 16 of a packet, which counts once the rest is there"},
	{"fragments in order", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, m2[:8], moreAt(2, 0, true))), eth4(1, ip4(addr4, to, 255, 112, m2[8:], moreAt(2, 8, false)))},
		"vrrp 51 v2 ok priority 100, interval 1s, 10.0.0.100; first advert of VRID 51; put together from fragments, packets [1 2]"},
	{"fragments in the wrong order", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, m2[16:], moreAt(3, 16, false))), eth4(1, ip4(addr4, to, 255, 112, m2[8:16], moreAt(3, 8, true))),
		eth4(1, ip4(addr4, to, 255, 112, m2[:8], moreAt(3, 0, true)))}, "vrrp 51 v2 ok priority 100"},
	{"overlapping fragments", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 112, m2[:16], moreAt(4, 0, true))), eth4(1, ip4(addr4, to, 255, 112, m2[8:], moreAt(4, 8, false)))},
		"vrrp reject fragment: octets 8 to 20 overlap a fragment seen before (packet 1)"},
	{"IPv6 fragments", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 44, slices.Concat([]byte{112, 0, 0, 1, 0, 0, 0, 9}, m6[:16]))),
		eth6(1, ip6(addr6, t6, 255, 44, slices.Concat([]byte{112, 0, 0, 16, 0, 0, 0, 9}, m6[16:])))}, "vrrp 51 v3 ok priority 100"},
	{"atomic IPv6 fragment", nil, [][]byte{eth6(1, ip6(addr6, t6, 255, 44, slices.Concat([]byte{112, 0, 0, 0, 0, 0, 0, 9}, m6)))}, "vrrp 51 v3 ok priority 100"},
	{"gratuitous request", adv4, [][]byte{arpOf(1, mac1, vip4, vip4)}, "arp 51 ok gratuitous request: 10.0.0.100 is at 02:00:00:00:00:01"},
	{"gratuitous reply", adv4, [][]byte{arpOf(2, mac1, vip4, vip4)}, "arp 51 ok gratuitous reply: 10.0.0.100 is at 02:00:00:00:00:01"},
	{"gratuitous, from the virtual MAC", adv4, [][]byte{arpOf(1, MAC{0, 0, 0x5e, 0, 1, 51}, vip4, vip4)}, "arp 51 ok gratuitous request: 10.0.0.100 is at 00:00:5e:00:01:33"},
	{"gratuitous, of a stranger", adv4, [][]byte{arpOf(1, mac2, vip4, vip4)}, "arp 51 reject foreign_owner: 10.0.0.100 belongs to VRID 51 of 10.0.0.1 (02:00:00:00:00:01), but 02:00:00:00:00:02 says to have it"},
	{"reply of a stranger", adv4, [][]byte{arpOf(2, mac2, vip4, addr4)}, "arp 51 reject foreign_owner: 10.0.0.100 belongs to VRID 51"},
	{"reply of the owner", adv4, [][]byte{arpOf(2, mac1, vip4, addr4)}, "arp 51 ok reply: 10.0.0.100 is at 02:00:00:00:00:01"},
	{"probe", adv4, [][]byte{arpOf(1, mac2, netip.IPv4Unspecified(), vip4)}, "arp 51 ok probe: is 10.0.0.100 in use? It is a virtual address of VRID 51"},
	{"probe of another address", adv4, [][]byte{arpOf(1, mac2, netip.IPv4Unspecified(), addr4)}, "arp ok probe: is 10.0.0.1 in use?"},
	{"request among others", adv4, [][]byte{arpOf(1, mac2, addr4.Next(), addr4)}, ""},
	{"unsolicited advertisement", adv6, [][]byte{naOf(vip6, netip.MustParseAddr("ff02::1"), vip6, 0x20, mac1)}, "nd 51 ok unsolicited: fd00::100 is at 02:00:00:00:00:01"},
	{"solicited advertisement", adv6, [][]byte{naOf(vip6, addr6, vip6, 0x60, mac1)}, "nd 51 ok solicited: fd00::100 is at 02:00:00:00:00:01"},
	{"advertisement of a stranger", adv6, [][]byte{naOf(vip6, netip.MustParseAddr("ff02::1"), vip6, 0x20, mac2)}, "nd 51 reject foreign_owner: fd00::100 belongs to VRID 51"},
	{"advertisement with a wrong checksum", adv6, [][]byte{edited(naOf(vip6, addr6, vip6, 0x20, mac1), func(b []byte) { b[56]++ })}, "nd reject checksum: checksum 0x"},
	{"802.3 with length 0", nil, [][]byte{append(ether(1, 0), ip4(addr4, to, 255, 112, m2, nil)...)}, ""},
	{"UDP", nil, [][]byte{eth4(1, ip4(addr4, to, 255, 17, make([]byte, 40), nil))}, ""},
	{"AH of somebody else", nil, [][]byte{eth4(1, ip4(addr4, addr4.Next(), 64, 51, append([]byte{17, 4}, make([]byte, 60)...), nil))}, ""},
}

var (
	mac1 = MAC{2, 0, 0, 0, 0, 1}
	mac2 = MAC{2, 0, 0, 0, 0, 2}
	adv4 = eth4(1, ip4(addr4, to, 255, 112, m2, nil))
	adv6 = eth6(1, ip6(addr6, t6, 255, 112, m6))
)

func messageOnly(m []byte) []byte {
	return edited(m, func(b []byte) {
		b[6], b[7] = 0, 0
		sum := checksum(b)
		b[6], b[7] = byte(sum>>8), byte(sum)
	})
}

// moreAt makes it a fragment of the packet with that identification.
func moreAt(packet byte, offset int, more bool) func([]byte) []byte {
	return func(h []byte) []byte {
		h[4] = packet
		v := uint16(offset / 8)
		if more {
			v |= 0x2000
		}
		binary.BigEndian.PutUint16(h[6:], v)
		return h
	}
}

// TestPackets: one packet of each kind gets the right line.
// TestTshark.
func TestPackets(t *testing.T) {
	for _, tc := range packetCases {
		d := New(Options{AuthPass: "s3cr3tpw", CheckAH: true})
		n, got := 0, ""
		frames := tc.frames
		if tc.after != nil {
			frames = append([][]byte{tc.after}, frames...)
		}
		for _, b := range frames {
			n++
			l, ok := d.Frame(Frame{N: n, Time: time.Unix(int64(n), 0), Link: LinkEthernet, Data: b, Length: len(b)})
			got = ""
			if ok {
				got = l.Proto.String()
				if l.VRID != 0 {
					got += fmt.Sprintf(" %d", l.VRID)
				}
				if l.Version != 0 {
					got += fmt.Sprintf(" v%d", l.Version)
				}
				got += " " + l.Verdict() + " " + l.Reason()
			}
		}
		if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
		d.Summary()
	}
}
