package real

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/sim"
	"quorate/sim/wire"
	"quorate/vrrp"
)

// watcher keeps what the kernels told and what crossed the wire.
type watcher struct {
	sync.Mutex
	has     map[*card][]netip.Addr // addresses, as the kernels report them
	where   map[wire.MAC]string    // the host that last sent from an address that is no card's own
	history []holding
	adverts map[string]*advertGap // by host
	frames  []sim.Moment
	dropped int
	pairs   map[string]time.Duration // since when two hosts that hear each other hold a VIP
	broken  []string                 // violations of S1
	flaps   int
	loads   []*load
	done    chan struct{}
}

// holding is who held a VIP from an instant on.
type holding struct {
	vip  netip.Addr
	at   time.Duration
	held []string
}

// advertGap is the longest pause between a host's adverts since the last fault, within one mastership.
type advertGap struct {
	last, longest time.Duration
	active        bool // last belongs to the present mastership
}

// begin listens to the addresses of every host.
func (w *watcher) begin(s *stage) error {
	w.has, w.where = map[*card][]netip.Addr{}, map[wire.MAC]string{}
	w.adverts, w.pairs, w.done = map[string]*advertGap{}, map[string]time.Duration{}, make(chan struct{})
	go func() { <-s.ctx.Done(); close(w.done) }()
	for _, h := range s.hosts {
		if err := h.Watch(w.done, func(u Change) { w.changed(h, u) }); err != nil {
			return err
		}
	}
	return nil
}

// changed takes what a kernel told.
func (w *watcher) changed(h *host, u Change) {
	w.Lock()
	defer w.Unlock()
	if !u.Addr.IsValid() {
		if h.program == sim.FRR && strings.HasPrefix(u.Name, macvlanPrefix) {
			w.virtual(h, u.MAC, u.Up)
			w.look(h.s)
		}
		return
	}
	i := slices.IndexFunc(h.cards, func(c *card) bool { return c.link == u.Index })
	if i < 0 {
		return
	}
	c := h.cards[i]
	list := w.has[c]
	if u.New && !slices.Contains(list, u.Addr) {
		list = append(list, u.Addr)
	} else if !u.New {
		list = slices.DeleteFunc(slices.Clone(list), func(a netip.Addr) bool { return a == u.Addr })
	}
	w.has[c] = list
	w.look(h.s)
}

// reset starts a new count; the lock is held.
func (w *watcher) reset() {
	for _, a := range w.adverts {
		a.longest = 0
	}
	for _, l := range w.loads {
		l.longest, l.lost, l.reasons, l.marked = 0, 0, nil, l.s.fabric.now()
	}
}

// holders are the hosts that answer for a VIP: powered, with a cable.
func (w *watcher) holders(s *stage, vip netip.Addr) (names []string) {
	for _, h := range s.hosts {
		if slices.ContainsFunc(h.cards, func(c *card) bool { return w.holds(h, c, vip) }) {
			names = append(names, h.name)
		}
	}
	return names
}

// holds reports whether a host answers for a VIP on a card.
func (w *watcher) holds(h *host, c *card, vip netip.Addr) bool {
	return h.on && c.up && slices.Contains(w.has[c], vip)
}

// look writes down who holds what now; the lock is held.
func (w *watcher) look(s *stage) {
	now := s.fabric.now()
	for _, vip := range s.vips {
		held := w.holders(s, vip)
		if i := w.newest(vip); i >= 0 && slices.Equal(w.history[i].held, held) {
			continue
		}
		w.history = append(w.history, holding{vip, now, held})
	}
	for name, g := range w.adverts {
		if !slices.ContainsFunc(s.vips, func(vip netip.Addr) bool { return slices.Contains(w.holders(s, vip), name) }) {
			g.active = false
		}
	}
}

func (w *watcher) newest(vip netip.Addr) int {
	for i := len(w.history) - 1; i >= 0; i-- {
		if w.history[i].vip == vip {
			return i
		}
	}
	return -1
}

// since returns who holds a VIP and since when holds was true without a break.
func (w *watcher) since(vip netip.Addr, holds func([]string) bool) (at time.Duration, now []string) {
	for i := len(w.history) - 1; i >= 0; i-- {
		h := w.history[i]
		if h.vip != vip {
			continue
		}
		if at == 0 && now == nil {
			now = h.held
		}
		if !holds(h.held) {
			break
		}
		at = h.at
	}
	return at, now
}

// saw is told of every frame, under the fabric's lock.
func (s *stage) saw(now time.Duration, _, at int, sent bool, data []byte) {
	f, err := wire.Parse(data)
	if err != nil {
		return
	}
	host := s.hosts[at]
	s.watch.Lock()
	defer s.watch.Unlock()
	if sent && !slices.ContainsFunc(host.cards, func(c *card) bool { return c.mac == f.Src }) {
		s.watch.where[f.Src] = host.name
	}
	switch {
	case sent && f.IP.Src.IsValid() && f.IP.Protocol == wire.ProtoVRRP:
		var a vrrp.Advert
		text := "undecodable"
		if err := a.Decode(f.Payload, f.IP.Src, f.IP.Dst); err == nil {
			text = fmt.Sprintf("v%d vrid %d prio %d %v %v", a.Version, a.VRID, a.Priority, a.Interval, a.Addrs)
		}
		g := s.watch.adverts[host.name]
		if g == nil {
			g = &advertGap{}
			s.watch.adverts[host.name] = g
		}
		if g.active {
			g.longest = max(g.longest, now-g.last)
		}
		g.last, g.active = now, true
		s.watch.frame(now, host.name, "advert", text)
	case sent && f.EtherType == wire.EtherARP && f.ARP.SenderIP == f.ARP.TargetIP:
		s.watch.frame(now, host.name, "garp", fmt.Sprintf("%v is at %v", f.ARP.SenderIP, f.ARP.SenderMAC))
	case sent && wire.ClassOf(data) == wire.ClassGARP:
		if nd, ok := wire.ParseND(f.IP, f.Payload); ok {
			s.watch.frame(now, host.name, "garp", fmt.Sprintf("%v is at %v", nd.Target, nd.MAC))
		}
	case !sent && f.IP.Src.IsValid():
		seq, ok := echoReply(f)
		if !ok {
			return
		}
		for _, l := range host.loads {
			if l.vip == f.IP.Src && f.IP.Dst == l.src {
				l.answered(now, seq, s.byMAC(f.Src))
			}
		}
	}
}

// echoReply returns the number of the ping that a packet answers.
func echoReply(f wire.Frame) (uint64, bool) {
	parse := wire.ParseEcho
	switch {
	case f.EtherType == wire.EtherIPv4 && f.IP.Protocol == wire.ProtoICMP:
	case f.EtherType == wire.EtherIPv6 && f.IP.Protocol == wire.ProtoICMP6:
		parse = wire.ParseEcho6
	default:
		return 0, false
	}
	e, err := parse(f.Payload)
	return uint64(e.Seq), err == nil && e.Type == wire.EchoReply
}

const maxFrames = 4000

func (w *watcher) frame(now time.Duration, host, kind, text string) {
	if n := len(w.frames); n > 0 && kind == "garp" && w.frames[n-1].Text == text && now-w.frames[n-1].At < time.Millisecond {
		return // one of a burst
	}
	if len(w.frames) >= maxFrames {
		w.dropped++
		return
	}
	w.frames = append(w.frames, sim.Moment{At: now, Host: host, Kind: kind, Text: text})
}

// byMAC names the host behind an Ethernet address; the watcher's lock is held.
func (s *stage) byMAC(m wire.MAC) string {
	for _, h := range s.hosts {
		if slices.ContainsFunc(h.cards, func(c *card) bool { return c.mac == m }) {
			return h.name
		}
	}
	return cmp.Or(s.watch.where[m], "?")
}

// hear reports whether two hosts exchange frames of a class on a segment both ways and reliably.
func (s *stage) hear(a, b *host, lan int, c wire.Class) bool {
	l := s.fabric.lans[lan]
	return a.on && b.on && l.Reaches(a.index, b.index, c) && l.Reaches(b.index, a.index, c) && !l.Lossy(a.index, b.index, c) && !l.Lossy(b.index, a.index, c)
}

// rivals reports whether two hosts hold a VIP on a segment on which they hear each other.
func (s *stage) rivals(vip netip.Addr, a, b *host) bool {
	for lan := range s.fabric.lans {
		if s.watch.holds(a, a.cards[lan], vip) && s.watch.holds(b, b.cards[lan], vip) && s.hear(a, b, lan, wire.ClassVRRP) {
			return true
		}
	}
	return false
}

// judge looks at S1: nobody who hears the other holds a VIP with it for longer than VRRP needs.
func (s *stage) judge() {
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	s.watch.Lock()
	defer s.watch.Unlock()
	s.watch.look(s)
	now := s.fabric.now()
	for _, vip := range s.vips {
		for i, a := range s.hosts {
			for _, b := range s.hosts[i+1:] {
				key := strings.Join([]string{vip.String(), a.name, b.name}, " ")
				if !s.rivals(vip, a, b) {
					delete(s.watch.pairs, key)
					continue
				}
				since, known := s.watch.pairs[key]
				if !known {
					s.watch.pairs[key] = now
					continue
				}
				if bound := s.slack(s.bound(a, b)); since >= 0 && now-since > bound {
					s.watch.broken = append(s.watch.broken, fmt.Sprintf("%v is held by both %s and %s for longer than %v", vip, a.name, b.name, bound))
					s.watch.pairs[key] = -1 // said once
				}
			}
		}
	}
}

// bound is how long two directors may both hold a VIP.
func (s *stage) bound(hosts ...*host) (longest time.Duration) {
	for _, h := range hosts {
		if h.conf == nil {
			continue
		}
		for _, i := range h.conf.Instances {
			longest = max(longest, sim.MasterDown(i))
		}
	}
	return longest
}

// neighbour is the Ethernet address that a client's kernel would send to, with its state being of use.
func (h *host) neighbour(addr netip.Addr) (wire.MAC, bool) {
	var mac wire.MAC
	found := false
	_ = h.ns.Do(func() error { // no answer means no entry
		for _, c := range h.cards {
			family := unix.AF_INET
			if addr.Is6() {
				family = unix.AF_INET6
			}
			list, err := netlink.NeighList(c.link, family)
			if err != nil {
				return err
			}
			for _, n := range list {
				if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr && len(n.HardwareAddr) == 6 && n.State&(netlink.NUD_FAILED|netlink.NUD_INCOMPLETE) == 0 {
					mac, found = wire.MAC(n.HardwareAddr), true
				}
			}
		}
		return nil
	})
	return mac, found
}
