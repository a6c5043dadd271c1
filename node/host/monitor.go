package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/node"
	"quorate/vrrp"
)

// monitor listens to everything about virtual addresses that comes in on an interface, with the Ethernet addresses that the
// VRRP socket does not tell: adverts of every virtual router (protocols 112 and 51), ARP and neighbour advertisements
// that claim an address of ours, frames of our own that come back. It decides nothing.
type monitor struct {
	name  string
	index int
	mac   [6]byte
	vips  *atomic.Pointer[map[netip.Addr]bool]
	out   func(any)
	f     *os.File
	rc    syscall.RawConn
	ended atomic.Bool

	heard  map[heardKey]*heardSender
	claims map[claimKey]time.Duration
	looped time.Duration
	now    time.Duration // when the frames being looked at were taken
	count  int           // adverts since counted
	since  time.Duration // of count
	sample atomic.Bool   // the kernel hands over one advert in sampleOne only
}

type heardKey struct {
	src  netip.Addr
	vrid uint8
}

type heardSender struct {
	node.Heard
	told time.Duration
	owed bool
}

type claimKey struct {
	addr netip.Addr
	mac  [6]byte
}

const (
	monitorPause = 20 * time.Millisecond  // between two looks: many packets cost one wake-up
	samplePause  = 80 * time.Millisecond  // the same where a sample is all that comes; a claim is answered after 200 ms anyway
	claimPause   = 200 * time.Millisecond // between two claims of the same by the same
	monitorRows  = 1024                   // of each table; forged senders must not grow it
	sampleAbove  = 100                    // adverts a second; beyond, a sample tells who is there just as well
	sampleMask   = 15                     // one in sixteen
	filterVIPs   = 64                     // addresses the kernel compares; with more it hands over all ARP
)

// virtualAddresses are those whose claims are of interest.
func virtualAddresses(c *config.Config) *map[netip.Addr]bool {
	set := map[netip.Addr]bool{}
	for _, i := range c.Instances {
		for _, a := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
			set[a.Prefix.Addr()] = true
		}
	}
	return &set
}

// openMonitor starts to listen on an Ethernet interface.
func openMonitor(name string, index int, mac [6]byte, vips *atomic.Pointer[map[netip.Addr]bool], out func(any)) (*monitor, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // 0: nothing until bound
	if err != nil {
		return nil, fmt.Errorf("monitor on %s: %w", name, err)
	}
	err = errors.Join(
		attachFilter(fd, *vips.Load(), false),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("monitor on %s: %w", name, err)
	}
	m := &monitor{name: name, index: index, mac: mac, vips: vips, out: out, f: os.NewFile(uintptr(fd), "monitor-"+name),
		heard: map[heardKey]*heardSender{}, claims: map[claimKey]time.Duration{}}
	if m.rc, err = m.f.SyscallConn(); err != nil {
		_ = m.f.Close()
		return nil, fmt.Errorf("monitor on %s: %w", name, err)
	}
	go m.run()
	return m, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// Refilter takes the present virtual addresses into the kernel's filter.
func (m *monitor) Refilter() error {
	var ferr error
	err := m.rc.Control(func(fd uintptr) { ferr = attachFilter(int(fd), *m.vips.Load(), m.sample.Load()) })
	return errors.Join(err, ferr)
}

func (m *monitor) Close() error {
	m.ended.Store(true)
	return m.f.Close()
}

// attachFilter lets only what matters wake this process.
func attachFilter(fd int, vips map[netip.Addr]bool, sample bool) error {
	return attach(fd, monitorFilter(vips, sample))
}

// monitorFilter passes VRRP over IPv4 and IPv6, neighbour advertisements, and ARP from a virtual address. A tagged frame
// belongs to a VLAN interface, although the tap of the one below sees it too.
func monitorFilter(vips map[netip.Addr]bool, sample bool) []bpf.Instruction {
	const (
		arp, ip4, ip6 = unix.ETH_P_ARP, unix.ETH_P_IP, unix.ETH_P_IPV6
		all           = 1 << 16
	)
	mask := uint32(0)
	if sample {
		mask = sampleMask
	}
	prog := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ip4, SkipTrue: 7},
		bpf.LoadAbsolute{Off: 23, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: vrrp.ProtocolNumber, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolAH, SkipTrue: 3},
		bpf.LoadExtension{Num: bpf.ExtRand},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: mask, SkipTrue: 1},
		bpf.RetConstant{Val: all},
		bpf.RetConstant{Val: 0},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ip6, SkipTrue: 7},
		bpf.LoadAbsolute{Off: 20, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: vrrp.ProtocolNumber, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolICMPv6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 54, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: neighbourAdvertisement, SkipTrue: 1},
		bpf.RetConstant{Val: all},
		bpf.RetConstant{Val: 0},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arp, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	var list []netip.Addr
	for a := range vips {
		if a.Is4() {
			list = append(list, a)
		}
	}
	if len(list) > filterVIPs {
		return append(prog, bpf.RetConstant{Val: all})
	}
	prog = append(prog, bpf.LoadAbsolute{Off: 28, Size: 4})
	for k, a := range list {
		b := a.As4()
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(b[:]), SkipTrue: uint8(len(list) - k)})
	}
	return append(prog, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: all})
}

const (
	protocolAH             = 51
	protocolICMPv6         = 58
	neighbourAdvertisement = 136
)

func (m *monitor) run() {
	buf := make([]byte, 9<<10)
	for !m.ended.Load() {
		var n int
		var rerr error
		read := func(fd uintptr) bool {
			n, rerr = unix.Read(int(fd), buf)
			return !errors.Is(rerr, unix.EAGAIN) && !errors.Is(rerr, unix.EINTR)
		}
		err := m.rc.Read(read)
		m.now = instant()
		for err == nil && rerr == nil { // then all that is there
			m.frame(buf[:n])
			err = m.rc.Control(func(fd uintptr) { n, rerr = unix.Read(int(fd), buf) })
		}
		if m.ended.Load() || err != nil {
			return
		}
		if rerr != nil && !errors.Is(rerr, unix.EAGAIN) && !errors.Is(rerr, unix.EINTR) && !errors.Is(rerr, unix.ENETDOWN) {
			time.Sleep(time.Second) // an interface that goes away is closed by the event loop
		}
		m.tell()
		if m.sample.Load() {
			time.Sleep(samplePause)
		} else {
			time.Sleep(monitorPause)
		}
	}
}

// tell hands over what is new.
func (m *monitor) tell() {
	now := instant()
	if d := now - m.since; d >= time.Second {
		rate := float64(m.count) / d.Seconds()
		if m.sample.Load() {
			rate *= sampleMask + 1
		}
		m.count, m.since = 0, now
		if many := rate > sampleAbove; many != m.sample.Load() && (many || rate < sampleAbove/2) && m.rc != nil {
			m.sample.Store(many)
			_ = m.Refilter() // as it was: it only costs more
		}
	}
	for _, s := range m.heard {
		if s.owed {
			s.owed, s.told = false, now
			m.out(s.Heard)
			s.Packets = 0
		}
	}
	if len(m.heard) > monitorRows {
		m.heard = map[heardKey]*heardSender{}
	}
	if len(m.claims) > monitorRows {
		m.claims = map[claimKey]time.Duration{}
	}
}

// frame takes one frame with its Ethernet header. Whatever it contains, nothing worse than a row comes of it.
func (m *monitor) frame(f []byte) {
	if len(f) < 14 {
		return
	}
	src := [6]byte(f[6:12])
	if src == m.mac {
		if now := instant(); now-m.looped > time.Second {
			m.looped = now
			m.out(node.Looped{Interface: m.name, MAC: src})
		}
		return
	}
	body := f[14:]
	switch binary.BigEndian.Uint16(f[12:]) {
	case unix.ETH_P_ARP:
		m.arp(body)
	case unix.ETH_P_IP:
		m.ipv4(src, body)
	case unix.ETH_P_IPV6:
		m.ipv6(src, body)
	}
}

func (m *monitor) arp(b []byte) {
	if len(b) < 28 || binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != unix.ETH_P_IP || b[4] != 6 || b[5] != 4 {
		return
	}
	what := "ARP request"
	if binary.BigEndian.Uint16(b[6:]) == 2 {
		what = "ARP reply"
	}
	m.claim(netip.AddrFrom4([4]byte(b[14:18])), [6]byte(b[8:14]), what)
}

func (m *monitor) claim(addr netip.Addr, mac [6]byte, what string) {
	if !(*m.vips.Load())[addr] || mac == m.mac {
		return
	}
	now, key := instant(), claimKey{addr, mac}
	if last, known := m.claims[key]; known && now-last < claimPause {
		return
	}
	m.claims[key] = now
	m.out(node.Claimed{Interface: m.name, Addr: addr, MAC: mac, What: what})
}

func (m *monitor) ipv4(mac [6]byte, b []byte) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || total < head || total > len(b) {
		return
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	m.protocol(mac, src, dst, b[9], b[head:total])
}

func (m *monitor) ipv6(mac [6]byte, b []byte) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size > len(b)-40 {
		return
	}
	src, dst, payload := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[40:40+size]
	if b[6] == protocolICMPv6 && len(payload) >= 24 && payload[0] == neighbourAdvertisement && b[7] == 255 {
		m.claim(netip.AddrFrom16([16]byte(payload[8:24])), mac, "neighbour advertisement")
		return
	}
	m.protocol(mac, src, dst, b[6], payload)
}

// protocol takes an IP payload.
func (m *monitor) protocol(mac [6]byte, src, dst netip.Addr, proto byte, payload []byte) {
	auth := vrrp.AuthNone
	if proto == protocolAH {
		var h vrrp.AH
		var err error
		if payload, err = h.Decode(payload); err != nil {
			return
		}
		auth = vrrp.AuthAH
	} else if proto != vrrp.ProtocolNumber {
		return
	}
	var a vrrp.Advert
	if a.Decode(payload, src, dst) != nil {
		return // the instance it is for counts it
	}
	if auth == vrrp.AuthNone {
		auth = a.AuthType
	}
	m.count++
	h := node.Heard{Interface: m.name, MAC: mac, Src: src, Dst: dst, VRID: a.VRID, Version: a.Version, Priority: a.Priority,
		Interval: a.Interval, Auth: auth, VIPs: a.Addrs}
	key := heardKey{src, a.VRID}
	s := m.heard[key]
	if s == nil {
		s = &heardSender{owed: true}
		m.heard[key] = s
	}
	same := s.MAC == h.MAC && s.Dst == h.Dst && s.Version == h.Version && s.Priority == h.Priority && s.Interval == h.Interval &&
		s.Auth == h.Auth && slices.Equal(s.VIPs, h.VIPs)
	s.owed = s.owed || !same || m.now-s.told >= node.HeardEvery
	h.Packets = s.Packets + 1
	s.Heard = h
}
