package vrrp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// watcher checks what must hold whatever happens to one instance.
type watcher struct {
	i     *Instance
	state State
	holds bool // Acquire came after the last Release
}

// step performs one event and fails on a broken invariant.
func (w *watcher) step(t interface{ Fatalf(string, ...any) }, now time.Duration, ev Event) (sent []Packet) {
	twin := *w.i
	twin.actions, twin.idle, twin.rx = nil, nil, Advert{}
	twin.Step(now, Tick{})
	w.i.Step(now, ev)
	left := w.state == Master // priority 0 is allowed while leaving
	rejected := false
	for _, a := range w.i.Ready() {
		switch a := a.(type) {
		case Send:
			var adv Advert
			if err := adv.Decode(a.Packet.Payload, a.Packet.Src, a.Packet.Dst); err != nil {
				t.Fatalf("we send what we would reject: %v", err)
			}
			if adv.Priority == PriorityStop && !left {
				t.Fatalf("priority 0 from %v", w.state)
			}
			sent = append(sent, a.Packet)
		case Acquire:
			w.holds = true
		case Release:
			w.holds = false
		case Announce:
			if !w.holds || a.Repeat <= 0 {
				t.Fatalf("announce %d while holding=%v", a.Repeat, w.holds)
			}
		case Transition:
			if a.From != w.state || a.To == a.From || a.Reason == 0 {
				t.Fatalf("in %v came %v", w.state, a)
			}
			if w.holds != (a.To == Master) {
				t.Fatalf("holding=%v after %v", w.holds, a)
			}
			w.state = a.To
		case Note:
			rejected = rejected || a.Kind == NoteRejected
		}
	}
	if w.state != w.i.State() {
		t.Fatalf("transitions lead to %v, the state is %v", w.state, w.i.State())
	}
	if w.holds != (w.state == Master) {
		t.Fatalf("holding=%v in %v", w.holds, w.state)
	}
	if len(sent) > 0 && !left && w.state != Master {
		t.Fatalf("%d adverts sent in %v", len(sent), w.state)
	}
	at, ok := w.i.Deadline()
	if ok != (w.state == Backup || w.state == Master) {
		t.Fatalf("deadline %v, %v in %v", at, ok, w.state)
	}
	if ok && at <= now {
		t.Fatalf("deadline %v is not after %v", at, now)
	}
	if rejected && w.i.String() != twin.String() {
		t.Fatalf("a rejected packet was more than a tick:\n%v\n%v", w.i, &twin)
	}
	return sent
}

func anyConfig(t *rapid.T) Config {
	cfg := testConfig()
	if rapid.Bool().Draw(t, "v3") {
		cfg.Version, cfg.AuthType = 3, AuthNone
		cfg.AdvertInt = time.Duration(rapid.IntRange(1, 300).Draw(t, "cs")) * 10 * time.Millisecond
	} else {
		cfg.AdvertInt = time.Duration(rapid.IntRange(1, 3).Draw(t, "s")) * time.Second
	}
	cfg.Priority = rapid.SampledFrom([]uint8{1, 100, 101, 254, 255}).Draw(t, "prio")
	cfg.NoPreempt = cfg.Priority != 255 && rapid.Bool().Draw(t, "nopreempt")
	cfg.PreemptDelay = time.Duration(rapid.IntRange(0, 5).Draw(t, "preempt_delay")) * time.Second
	cfg.HigherPrioSendAdvert = rapid.Bool().Draw(t, "higher_prio_send_advert")
	cfg.LowerPrioNoAdvert = rapid.Bool().Draw(t, "lower_prio_no_advert")
	cfg.GARP.MasterRefresh = time.Duration(rapid.IntRange(0, 3).Draw(t, "refresh")) * time.Second
	cfg.Addrs = cfg.Addrs[:rapid.IntRange(1, 2).Draw(t, "addrs")]
	if err := Validate(cfg); err != nil {
		t.Fatalf("%v", err)
	}
	return cfg
}

func anyEvent(t *rapid.T, i *Instance) Event {
	switch rapid.IntRange(0, 11).Draw(t, "event") {
	case 0:
		return Startup{Adopt: rapid.Bool().Draw(t, "adopt")}
	case 1:
		return Shutdown{}
	case 2:
		var ev SetFaults
		for range rapid.IntRange(0, 2).Draw(t, "faults") {
			ev.Faults = append(ev.Faults, FaultCause{
				rapid.SampledFrom([]Reason{ReasonInterfaceDown, ReasonNoAddress, ReasonTrackFailed}).Draw(t, "cause"), "why"})
		}
		return ev
	case 3:
		return SetPriority{Priority: rapid.Uint8().Draw(t, "priority")}
	case 4:
		return SetSource{rapid.SampledFrom([]netip.Addr{own, own, netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fe80::1"), {}}).Draw(t, "source")}
	case 5:
		return Reconfigure{anyConfig(t)}
	case 6, 7:
		return Tick{}
	}
	cfg := i.Config()
	prio := rapid.SampledFrom([]uint8{0, 1, 100, 101, 254, 255}).Draw(t, "their priority")
	src := rapid.SampledFrom([]netip.Addr{own, peer, netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.0.66")}).Draw(t, "from")
	a := Advert{Version: cfg.Version, VRID: cfg.VRID, Priority: prio, AuthType: cfg.AuthType, AuthData: Password(cfg.AuthPass), Interval: cfg.AdvertInt, Addrs: cfg.Addrs}
	if cfg.Version == 3 && rapid.Bool().Draw(t, "other interval") {
		a.Interval = time.Duration(rapid.IntRange(1, 4095).Draw(t, "their cs")) * 10 * time.Millisecond
	}
	b, err := a.Append(nil, src, Group(false), rapid.Bool().Draw(t, "message only"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	if rapid.IntRange(0, 3).Draw(t, "damage") == 0 {
		b[rapid.IntRange(0, len(b)-1).Draw(t, "octet")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
	}
	return Receive{Packet{Src: src, Dst: Group(false), TTL: rapid.SampledFrom([]uint8{255, 255, 255, 254}).Draw(t, "ttl"), Payload: b}}
}

// Random events in random order, early, on time and much too late: the addresses are held exactly in MASTER, nothing is
// sent elsewhere but the last priority 0, every deadline lies ahead, and a rejected packet changes nothing.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &watcher{i: New(anyConfig(t)), state: Init}
		var now time.Duration
		w.step(t, now, SetSource{own})
		w.step(t, now, Startup{})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at, ok := w.i.Deadline()
			switch rapid.IntRange(0, 3).Draw(t, "when") {
			case 0:
				now += time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "later"))
			case 1, 2:
				if ok {
					now = at
				}
			}
			w.step(t, now, anyEvent(t, w.i))
		}
	})
}

// The same events give the same actions: no clock, no chance, no map order.
func TestDeterminism(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := anyConfig(t)
		one, two := New(cfg), New(cfg)
		var now time.Duration
		for n := range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "later"))
			ev := Event(Startup{})
			if n > 0 {
				ev = anyEvent(t, one)
			}
			one.Step(now, ev)
			two.Step(now, ev)
			if a, b := Format(one.Ready()), Format(two.Ready()); a != b || one.String() != two.String() {
				t.Fatalf("%v:\n%s%v\nand\n%s%v", ev, a, one, b, two)
			}
		}
	})
}

// group is a segment without loss on which every advert arrives at once.
type group struct {
	t     *rapid.T
	now   time.Duration
	nodes []*watcher
	deaf  []bool // this one neither hears nor is heard
}

func (g *group) step(n int, ev Event) {
	for _, p := range g.nodes[n].step(g.t, g.now, ev) {
		p.Payload = slices.Clone(p.Payload)
		for m := range g.nodes {
			if m != n && !g.deaf[n] && !g.deaf[m] {
				g.step(m, Receive{p})
			}
		}
	}
}

func (g *group) run(until time.Duration) {
	for {
		next, first := -1, until
		for n, w := range g.nodes {
			if at, ok := w.i.Deadline(); ok && at <= first && (next < 0 || at < first) {
				next, first = n, at
			}
		}
		if next < 0 {
			g.now = until
			return
		}
		g.now = first
		g.step(next, Tick{})
	}
}

// After any mixture of failures, once the segment is whole there is one MASTER: with preemption the one with
// the highest priority (255 included), and a group of equals has one as well.
func TestGroupAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := anyConfig(t)
		base.NoPreempt = false
		g := &group{t: t, deaf: make([]bool, 3)}
		for n := range g.deaf {
			cfg := base
			cfg.Priority = rapid.SampledFrom([]uint8{1, 100, 101, 254}).Draw(t, "priority")
			w := &watcher{i: New(cfg), state: Init}
			g.nodes = append(g.nodes, w)
			w.step(t, 0, SetSource{netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 1)})})
			w.step(t, 0, Startup{})
		}
		for range rapid.IntRange(0, 8).Draw(t, "accidents") {
			n := rapid.IntRange(0, 2).Draw(t, "node")
			switch rapid.IntRange(0, 3).Draw(t, "accident") {
			case 0:
				g.deaf[n] = !g.deaf[n]
			case 1:
				g.step(n, SetFaults{[]FaultCause{{ReasonTrackFailed, "check"}}})
			case 2:
				g.step(n, SetFaults{})
			case 3:
				g.step(n, Shutdown{})
				g.step(n, Startup{})
			}
			g.run(g.now + time.Duration(rapid.Int64Range(0, int64(5*base.AdvertInt)).Draw(t, "time")))
		}
		for n := range g.nodes {
			g.deaf[n] = false
			g.step(n, SetFaults{})
		}
		g.run(g.now + 20*base.AdvertInt + base.PreemptDelay)
		best := slices.MaxFunc(g.nodes, func(a, b *watcher) int { return cmp.Compare(a.i.Priority(), b.i.Priority()) })
		var masters []*watcher
		var text string
		for _, w := range g.nodes {
			text += fmt.Sprintf("%v\n", w.i)
			if w.i.State() == Master {
				masters = append(masters, w)
			}
		}
		if len(masters) != 1 || masters[0].i.Priority() != best.i.Priority() {
			t.Fatalf("not one owner, the best:\n%s", text)
		}
	})
}
