package wire

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// IGMP, as far as a switch that looks at it needs it.
const (
	ProtoIGMP = 2

	igmpQuery    = 0x11
	igmpReportV1 = 0x12
	igmpReportV2 = 0x16
	igmpLeaveV2  = 0x17
	igmpReportV3 = 0x22

	// record types of a version 3 report that leave a group when they name no sources (RFC 3376 4.2.12)
	igmpIsInclude = 1
	igmpToInclude = 3
	igmpJoin      = 4 // CHANGE_TO_EXCLUDE_MODE with no sources: everything, please

	routerAlert = 0x94040000 // RFC 2113
)

// Times of IGMP. GroupAge is robustness x query interval + query response interval (RFC 3376 8.4).
const (
	QueryInterval = 125 * time.Second
	QueryResponse = 10 * time.Second
	GroupAge      = 2*QueryInterval + QueryResponse
)

// vrrpMAC is the Ethernet group of adverts.
var vrrpMAC = MulticastMAC(netip.AddrFrom4([4]byte{224, 0, 0, 18}))

// snooping is what a switch that looks at IGMP knows: which port asked for which group, and until when that counts.
type snooping struct {
	age    time.Duration
	groups map[groupPort]time.Duration
	now    time.Duration // newest instant the switch has seen
}

type groupPort struct {
	group MAC
	port  int
}

// Snoop lets the switch look at IGMP: IPv4 multicast goes only to ports that have asked for the group within age. It knows
// of nobody at first. RFC 4541 2.1.2 wants 224.0.0.0/24 flooded regardless; the switches that matter here do not do that.
// An age of zero ends it.
func (l *LAN) Snoop(age time.Duration) {
	l.snoop = nil
	if age > 0 {
		l.snoop = &snooping{age: age, groups: map[groupPort]time.Duration{}}
	}
}

// Snooping reports whether the switch looks at IGMP.
func (l *LAN) Snooping() bool { return l.snoop != nil }

// Wants reports whether a port gets adverts, at the newest instant that the switch has seen.
func (l *LAN) Wants(port int) bool { return l.wants(port, vrrpMAC) }

// Members counts the ports that are taken to want adverts, at the newest instant that the switch has seen.
func (l *LAN) Members() (n int) {
	for port := range l.ports {
		if l.Wants(port) {
			n++
		}
	}
	return n
}

// wants reports whether a port gets frames to a group. All hosts (224.0.0.1) are everybody's; other protocols' groups are flooded.
func (l *LAN) wants(port int, group MAC) bool {
	if l.snoop == nil || group[0] != 0x01 || group[1] != 0 || group[2] != 0x5e || group == (MAC{0x01, 0, 0x5e, 0, 0, 1}) {
		return true
	}
	until, ok := l.snoop.groups[groupPort{group, port}]
	return ok && l.snoop.now < until
}

// learn takes note of a report. A leave counts at once, as on a port with one host ("immediate leave").
func (s *snooping) learn(now time.Duration, port int, frame []byte) {
	s.now = max(s.now, now)
	ip := frame[EthernetHeader:]
	if binary.BigEndian.Uint16(frame[12:14]) != EtherIPv4 || len(ip) < ipv4Min || ip[9] != ProtoIGMP {
		return
	}
	_, m, err := parseIPv4(ip)
	if err != nil || len(m) < 8 || checksum(m) != 0 {
		return
	}
	set := func(group []byte, in bool) {
		key := groupPort{MulticastMAC(netip.AddrFrom4([4]byte(group))), port}
		if in {
			s.groups[key] = now + s.age
		} else {
			delete(s.groups, key)
		}
	}
	switch m[0] {
	case igmpReportV1, igmpReportV2:
		set(m[4:8], true)
	case igmpLeaveV2:
		set(m[4:8], false)
	case igmpReportV3:
		records := int(binary.BigEndian.Uint16(m[6:8]))
		for b := m[8:]; records > 0 && len(b) >= 8; records-- {
			sources := int(binary.BigEndian.Uint16(b[2:4]))
			set(b[4:8], sources > 0 || b[0] != igmpIsInclude && b[0] != igmpToInclude)
			b = b[min(len(b), 8+4*sources+4*int(b[1])):]
		}
	}
}

// forgetPort drops what a port has asked for, as switches do when its link goes down.
func (s *snooping) forgetPort(port int) {
	for k := range s.groups { // order is of no consequence
		if k.port == port {
			delete(s.groups, k)
		}
	}
}

// Query is what a querier asks every so often, by default every QueryInterval: which groups does anybody want? It goes to every
// port; sender is the querier's address, which need not exist.
func (l *LAN) Query(b *Builder, sender netip.Addr, every time.Duration) (frame []byte, out []Delivery) {
	m := make([]byte, 12)
	m[0], m[1] = igmpQuery, byte(min(QueryResponse, every/2)/(100*time.Millisecond))
	m[8], m[9] = 2, byte(min(every, 127*time.Second)/time.Second) // robustness, interval; above 127 it is a floating point number
	frame = b.igmp(MAC{2, 0, 0, 0, 0xff, 0xfe}, sender, netip.AddrFrom4([4]byte{224, 0, 0, 1}), m)
	l.out = l.out[:0]
	for to, p := range l.ports {
		if p.Up && !p.Blocked && !p.Deaf {
			l.out = append(l.out, Delivery{Port: to, After: max(l.Delay.Min, l.Delay.Max)})
		}
	}
	return frame, l.out
}

// QueryOf reports whether an IGMP message is a general query, and within what time it wants its answers.
func QueryOf(message []byte) (within time.Duration, ok bool) {
	if len(message) < 8 || message[0] != igmpQuery || checksum(message) != 0 || [4]byte(message[4:8]) != [4]byte{} {
		return 0, false
	}
	return time.Duration(message[1]) * 100 * time.Millisecond, true
}

// Report builds the version 3 report by which a host joins or leaves a group (RFC 3376 4.2).
func (b *Builder) Report(src MAC, from, group netip.Addr, join bool) []byte {
	m := make([]byte, 16)
	m[0], m[7] = igmpReportV3, 1
	m[8] = igmpToInclude
	if join {
		m[8] = igmpJoin
	}
	g := group.As4()
	copy(m[12:], g[:])
	return b.igmp(src, from, netip.AddrFrom4([4]byte{224, 0, 0, 22}), m)
}

// igmp wraps a message, whose check sum it sets: TTL 1, router alert, precedence of network control (RFC 3376 4).
func (b *Builder) igmp(src MAC, from, to netip.Addr, m []byte) []byte {
	const head = ipv4Min + 4
	binary.BigEndian.PutUint16(m[2:], checksum(m))
	dst := MulticastMAC(to)
	f := make([]byte, EthernetHeader+head+len(m))
	copy(f, dst[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], EtherIPv4)
	ip := f[EthernetHeader:]
	ip[0], ip[1] = 0x46, 0xc0
	binary.BigEndian.PutUint16(ip[2:], uint16(head+len(m)))
	ip[8], ip[9] = 1, ProtoIGMP
	s, d := from.As4(), to.As4()
	copy(ip[12:], s[:])
	copy(ip[16:], d[:])
	binary.BigEndian.PutUint32(ip[20:], routerAlert)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:head]))
	copy(ip[head:], m)
	return f
}

// Raw builds a frame around an IPv4 header that somebody else has made; length and check sum are set, as Linux does for a
// raw socket with IP_HDRINCL.
func (b *Builder) Raw(dst, src MAC, header, payload []byte) []byte {
	f := make([]byte, EthernetHeader+len(header)+len(payload))
	copy(f, dst[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], EtherIPv4)
	ip := f[EthernetHeader:]
	copy(ip, header)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(header)+len(payload)))
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:len(header)]))
	copy(ip[len(header):], payload)
	return f
}
