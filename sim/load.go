package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"quorate/sim/wire"
)

// load is a client that asks a VIP for an answer at a steady rate and keeps account of what
// it got: its own idea of an outage, which is the only one that counts. Requests are ICMP
// echoes; like the packets of a connection through LVS they are answered by the kernel
// that holds the VIP, whether or not a daemon lives there. With a port each is a connection of its own, with a question that a
// real server answers.
type load struct {
	h     *Host
	vip   netip.Addr
	port  uint16
	every time.Duration
	id    uint16
	seq   uint16
	open  map[uint16]bool // sent, not answered

	sent, good uint64
	lost       uint64        // of sent, counted when the answer that ends an outage arrives
	begun      time.Duration // of the load
	last       time.Duration // answer
	server     string        // that gave it
	longest    time.Duration // outage since the last fault verb
	total      time.Duration // of all outages
	// of connections: how many begun since the last fault verb came to nothing, and why
	lostSince int
	marked    time.Duration // that verb
	reasons   map[string]int
	gaps      []Span
}

// startLoad begins sending now.
func (h *Host) startLoad(vip netip.Addr, port uint16, every time.Duration) *load {
	l := &load{h: h, vip: vip, port: port, every: every, id: uint16(len(h.loads) + 1), open: map[uint16]bool{}, begun: h.w.now, last: h.w.now}
	h.loads = append(h.loads, l)
	l.tick()
	return l
}

func (l *load) tick() {
	if l.h.on && l.port > 0 {
		l.sent++
		l.connect()
	} else if l.h.on {
		l.seq++
		if l.open[l.seq] {
			l.lost++ // 65,536 requests ago and never answered
		}
		l.open[l.seq] = true
		l.sent++
		l.h.sendEcho(netip.Addr{}, l.vip, wire.Echo{Type: wire.EchoRequest, ID: l.id, Seq: l.seq})
	}
	l.h.w.after(l.every, l.tick)
}

// gapIsOutage: a pause of fewer than three requests is the network's own jitter.
func (l *load) gapIsOutage(gap time.Duration) bool { return gap >= 3*l.every }

func (l *load) answered(seq uint16, from wire.MAC) {
	if !l.open[seq] {
		return // a duplicate
	}
	delete(l.open, seq)
	l.served(l.h.w.byMAC(from))
}

// patience is how long a client waits for the answer to one question.
const patience = time.Second

// connect asks one question.
func (l *load) connect() {
	begun := l.h.w.now
	l.h.dial(netip.AddrPortFrom(l.vip, l.port), netip.Addr{}, patience, dial{question: true, done: func(a answer) {
		if a.ok {
			l.served(a.server)
			return
		}
		l.lost++
		if begun < l.marked {
			return // of the time before the last fault
		}
		if l.reasons == nil {
			l.reasons = map[string]int{}
		}
		if l.lostSince++; l.reasons[a.detail] == 0 {
			l.note("%v: %s", netip.AddrPortFrom(l.vip, l.port), a.detail)
		}
		l.reasons[a.detail]++
	}})
}

// why lists what the lost connections came to.
func (l *load) why() string {
	text := ""
	for _, r := range slices.Sorted(maps.Keys(l.reasons)) {
		text += fmt.Sprintf(", %d× %s", l.reasons[r], r)
	}
	return text
}

// served is an answer.
func (l *load) served(server string) {
	now := l.h.w.now
	gap := now - l.last
	outage := l.gapIsOutage(gap)
	l.good++
	if outage {
		l.longest = max(l.longest, gap)
		l.total += gap
		l.gaps = append(l.gaps, Span{From: l.last, To: now, What: "no answer"})
	}
	l.last = now
	switch {
	case l.server == "" && !outage:
		l.note("%v is served by %s", l.vip, server)
	case outage:
		l.note("%v is served by %s after %s without an answer", l.vip, server, seconds(gap))
	case server != l.server && l.port > 0: // a balancer at work
	case server != l.server:
		l.note("%v is served by %s now, without a gap", l.vip, server)
	}
	l.server = server
}

func (l *load) note(format string, args ...any) {
	l.h.w.note(l.h.Name, EventClient, fmt.Sprintf(format, args...))
}

// outage is the longest time without an answer since the last fault verb, one that still
// lasts included.
func (l *load) outage() time.Duration {
	if gap := l.h.w.now - l.last; l.gapIsOutage(gap) {
		return max(l.longest, gap)
	}
	return l.longest
}

// seconds prints a duration to the millisecond, cut off.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d.%03ds", d.Milliseconds()/1000, d.Milliseconds()%1000)
}
