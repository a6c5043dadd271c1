package real

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"quorate/sim"
	"quorate/sim/wire"
)

// load is a client that asks a VIP at a steady rate; what it gets is read off the wire.
type load struct {
	vip     netip.Addr
	port    uint16 // of connections; 0: echoes
	host    *host
	lost    int            // connections that came to nothing since the last fault
	reasons map[string]int // and why
	marked  time.Duration  // that fault
	src     netip.Addr
	every   time.Duration
	s       *stage
	begun   time.Duration
	last    time.Duration // answer
	open    []question    // asked and not answered, oldest first; those before an answered one are given up
	server  string
	longest time.Duration // since the last fault
	gaps    []sim.Span
	conn    net.PacketConn
	done    chan struct{}
	once    sync.Once
}

// question is one that was asked.
type question struct {
	n  uint64
	at time.Duration
}

func (s *stage) load(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	vip, err := netip.ParseAddr(args[1].Key)
	at, err2 := netip.ParseAddrPort(args[1].Key)
	withPort := err2 == nil
	if withPort {
		vip, err = at.Addr(), nil
	}
	if err != nil {
		return err
	}
	l := &load{vip: vip, host: h, every: 20 * time.Millisecond, s: s, done: make(chan struct{})}
	for _, a := range args[2:] {
		if l.every, err = time.ParseDuration(a.Value); err != nil {
			return err
		}
	}
	network := "ip4:icmp"
	l.src = h.cards[0].base.Addr()
	if vip.Is6() {
		network, l.src = "ip6:ipv6-icmp", h.cards[0].six.Addr()
	}
	for _, c := range h.cards {
		for _, own := range []netip.Prefix{c.base, c.six} {
			if own.Contains(vip) {
				l.src = own.Addr()
			}
		}
	}
	if withPort {
		l.port = at.Port()
	} else if err := h.ns.Do(func() error { l.conn, err = net.ListenPacket(network, l.src.String()); return err }); err != nil {
		return fmt.Errorf("client %s: %w", h.name, err)
	}
	l.begun = s.fabric.now()
	l.last = l.begun
	s.watch.Lock()
	h.loads = append(h.loads, l)
	s.watch.loads = append(s.watch.loads, l)
	s.watch.Unlock()
	if withPort {
		go l.connect()
		return nil
	}
	go l.run()
	return nil
}

func (l *load) run() {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	drain := make([]byte, 2048)
	for seq := uint16(1); ; seq++ {
		l.s.watch.Lock()
		l.asked(l.s.fabric.now(), uint64(seq))
		l.s.watch.Unlock()
		_, err := l.conn.WriteTo(wire.EchoMessage(wire.Echo{Type: wire.EchoRequest, ID: 7, Seq: seq}, l.vip.Is6()), &net.IPAddr{IP: l.vip.AsSlice()})
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Answers are counted on the wire; here they only must not pile up.
		_ = l.conn.SetReadDeadline(time.Now().Add(time.Microsecond))
		for {
			if _, _, err := l.conn.ReadFrom(drain); err != nil {
				break
			}
		}
		select {
		case <-l.done:
			return
		case <-tick.C:
		}
	}
}

// connect opens a connection at every tick and asks one question.
func (l *load) connect() {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		begun := l.s.fabric.now()
		l.s.watch.Lock()
		l.asked(begun, n)
		l.s.watch.Unlock()
		go func() {
			server, err := l.host.ask(l.s.ctx, netip.AddrPortFrom(l.vip, l.port))
			l.s.watch.Lock()
			defer l.s.watch.Unlock()
			if err == nil {
				l.answered(l.s.fabric.now(), n, server)
			} else if begun >= l.marked && l.s.ctx.Err() == nil {
				if l.reasons == nil {
					l.reasons = map[string]int{}
				}
				l.lost++
				l.reasons[err.Error()]++
			}
		}()
		select {
		case <-l.done:
			return
		case <-tick.C:
		}
	}
}

func (l *load) stop() {
	l.once.Do(func() {
		close(l.done)
		if l.conn != nil {
			_ = l.conn.Close()
		}
	})
}

// connects reports whether a client opens connections: without IPVS they lead nowhere.
func (s *stage) connects(name string) bool {
	h, err := s.host(name)
	return err == nil && slices.ContainsFunc(h.loads, func(l *load) bool { return l.port > 0 })
}

// asked and answered measure what a client misses: the time from a question that got no answer to the next answer. A question that was
// never asked misses none: on a busy machine this process waits for the processor like any other, and that is no fault of a director.
func (l *load) asked(now time.Duration, n uint64) { l.open = append(l.open, question{n, now}) }

func (l *load) answered(now time.Duration, n uint64, server string) {
	at := slices.IndexFunc(l.open, func(q question) bool { return q.n == n })
	if at < 0 {
		return // a second answer, or one to a question that was given up
	}
	if gap := l.gap(now); gap > 0 {
		l.longest = max(l.longest, gap)
		l.gaps = append(l.gaps, sim.Span{From: now - gap, To: now, What: "no answer"})
	}
	l.open = slices.Delete(l.open, 0, at+1)
	l.last, l.server = now, server
}

// gap is how long the oldest open question has waited; 0 while that is nothing to speak of.
func (l *load) gap(now time.Duration) time.Duration {
	if len(l.open) == 0 || now-l.open[0].at < 3*l.every {
		return 0
	}
	return now - l.open[0].at
}

// outage is the longest pause since the last fault, a present one included.
func (l *load) outage(now time.Duration) time.Duration { return max(l.longest, l.gap(now)) }

func (s *stage) outages() map[string]time.Duration {
	s.watch.Lock()
	defer s.watch.Unlock()
	out := map[string]time.Duration{}
	for _, h := range s.hosts {
		for _, l := range h.loads {
			out[h.name] = max(out[h.name], 0)
			for _, g := range l.gaps {
				out[h.name] = max(out[h.name], g.To-g.From)
			}
			out[h.name] = max(out[h.name], l.gap(s.fabric.now()))
		}
	}
	return out
}
