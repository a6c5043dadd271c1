package sim

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Timeline is a run as a picture needs it: who was in which state, who held what, what clients saw. Session.Timeline makes
// one from virtual time; runners on real kernels make their own.
type Timeline struct {
	Scenario string
	Comment  string // what the scenario proves
	Backend  string // sim, netns, uml
	Seed     uint64
	Trace    string // fingerprint, sim only
	End      time.Duration
	Hosts    []Lane
	VIPs     []Bar
	Servers  []ServerLane
	Store    *StoreLanes // nil where there is none
	Clients  []Strip
	Faults   []Fault
	Expects  []Verdict
	Events   []Moment
	Frames   []Moment // adverts and announcements as they left a card
	Dropped  int      // frames that did not fit into Frames
}

// Span is a stretch of time. What is a state, a host's name or a word such as crashed.
type Span struct {
	From, To time.Duration
	What     string
	Why      string
}

// Lane is a director: its instances' states, and what was done to it (crashed, paused, killed, stopped, down).
type Lane struct {
	Name      string
	Instances []Track
	Condition []Span
}

// Track is the states of one instance.
type Track struct {
	Name  string
	Spans []Span
}

// Bar is who held a VIP: Spans with What a host's name, Shared where there was more than one.
type Bar struct {
	VIP    string
	Spans  []Span
	Shared []Span
	None   []Span
}

// Strip is what a client got from a VIP: the outages.
type Strip struct {
	Client, VIP string
	From        time.Duration
	Outages     []Span
	Longest     time.Duration
}

// Moment is something at an instant.
type Moment struct {
	At    time.Duration
	Host  string
	Kind  string // report, kernel, client, owners, violation, notify, advert, garp
	Text  string
	Frame uint64 // number in the capture, 0 for none
}

// Verdict is an expect or check.
type Verdict struct {
	At   time.Duration
	Text string
	OK   bool
	Said string
}

// life is a change of a host's condition.
type life struct {
	at   time.Duration
	host string
	what string // "" for running
}

func (w *World) lives(h *Host, what string) {
	w.life = append(w.life, life{w.now, h.Name, what})
}

// Outages are the client's stretches without an answer, the present one included.
func (l *load) outages() []Span {
	out := slices.Clone(l.gaps)
	if l.gapIsOutage(l.h.w.now - l.last) {
		out = append(out, Span{From: l.last, To: l.h.w.now, What: "no answer"})
	}
	return out
}

// ClientOutages is the longest time without an answer in the whole run, per client.
func (s *Session) ClientOutages() map[string]time.Duration {
	all := map[string]time.Duration{}
	for _, h := range s.w.hosts {
		for _, l := range h.loads {
			all[h.Name] = max(all[h.Name], 0)
			for _, o := range l.outages() {
				all[h.Name] = max(all[h.Name], o.To-o.From)
			}
		}
	}
	return all
}

// Timeline is the picture of the run so far.
func (s *Session) Timeline() Timeline {
	w := s.w
	t := Timeline{Backend: "sim", Seed: w.opt.Seed, End: w.now, Faults: s.faults, Expects: s.verdicts}
	for _, h := range w.hosts {
		if h.director {
			t.Hosts = append(t.Hosts, w.lane(h))
		}
		for _, l := range h.loads {
			strip := Strip{Client: h.Name, VIP: l.vip.String(), From: l.begun, Outages: l.outages()}
			for _, o := range strip.Outages {
				strip.Longest = max(strip.Longest, o.To-o.From)
			}
			t.Clients = append(t.Clients, strip)
		}
	}
	for _, vip := range w.judge.vips {
		t.VIPs = append(t.VIPs, w.bar(vip))
	}
	for _, e := range w.journal {
		if e.Shown() {
			t.Events = append(t.Events, Moment{At: e.At, Host: e.Host, Kind: e.Kind.String(), Text: e.Text})
		}
	}
	for _, h := range w.hosts {
		if h.server {
			t.Servers = append(t.Servers, w.serverLane(h))
		}
	}
	t.Store = w.storeLanes()
	t.Frames, t.Dropped = s.frames, s.framesLeft
	return t
}

// lane reads a director's states out of the journal.
func (w *World) lane(h *Host) Lane {
	lane := Lane{Name: h.Name}
	track := func(name string) *Track {
		i := slices.IndexFunc(lane.Instances, func(t Track) bool { return t.Name == name })
		if i < 0 {
			lane.Instances = append(lane.Instances, Track{Name: name})
			i = len(lane.Instances) - 1
		}
		return &lane.Instances[i]
	}
	end := func(at time.Duration) {
		for i := range lane.Instances {
			closeSpan(lane.Instances[i].Spans, at)
		}
	}
	type step struct {
		at time.Duration
		do func()
	}
	var steps []step
	for _, e := range w.journal {
		if e.Host == h.Name && e.Kind == EventReport && e.Entry.To != "" && e.Entry.From != "" {
			steps = append(steps, step{e.At, func() {
				t := track(e.Entry.Instance)
				closeSpan(t.Spans, e.At)
				t.Spans = append(t.Spans, Span{From: e.At, To: -1, What: e.Entry.To, Why: e.Text})
			}})
		}
	}
	for _, l := range w.life {
		if l.host != h.Name {
			continue
		}
		steps = append(steps, step{l.at, func() {
			closeSpan(lane.Condition, l.at)
			if l.what != "" {
				lane.Condition = append(lane.Condition, Span{From: l.at, To: -1, What: l.what})
			}
			if l.what == "crashed" || l.what == "killed" || l.what == "stopped" {
				end(l.at)
			}
		}})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	for _, s := range steps {
		s.do()
	}
	end(w.now)
	closeSpan(lane.Condition, w.now)
	return lane
}

func closeSpan(list []Span, at time.Duration) {
	if n := len(list); n > 0 && list[n-1].To < 0 {
		list[n-1].To = at
	}
}

// bar reads who held a VIP out of the judge's history.
func (w *World) bar(vip netip.Addr) Bar {
	return MakeBar(vip.String(), w.now, func(yield func(time.Duration, []string)) {
		for _, h := range w.judge.history {
			if h.vip == vip {
				yield(h.at, h.held)
			}
		}
	})
}

// MakeBar builds the bar of a VIP from who held it from when on.
func MakeBar(vip string, end time.Duration, each func(func(at time.Duration, held []string))) Bar {
	b := Bar{VIP: vip}
	each(func(at time.Duration, held []string) {
		for i := range b.Spans {
			if b.Spans[i].To < 0 && !slices.Contains(held, b.Spans[i].What) {
				b.Spans[i].To = at
			}
		}
		for _, name := range held {
			if !slices.ContainsFunc(b.Spans, func(s Span) bool { return s.What == name && s.To < 0 }) {
				b.Spans = append(b.Spans, Span{From: at, To: -1, What: name})
			}
		}
		closeSpan(b.Shared, at)
		closeSpan(b.None, at)
		switch {
		case len(held) == 0:
			b.None = append(b.None, Span{From: at, To: -1})
		case len(held) > 1:
			b.Shared = append(b.Shared, Span{From: at, To: -1})
		}
	})
	for _, list := range [][]Span{b.Spans, b.Shared, b.None} {
		for i := range list {
			if list[i].To < 0 {
				list[i].To = end
			}
		}
	}
	return b
}
