package real

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/sim"
)

// timeline is the picture of the run: states from the daemons' logs, the rest from kernels and the wire.
func (s *stage) timeline(sc *sim.Scenario) sim.Timeline {
	s.watch.Lock()
	defer s.watch.Unlock()
	end := s.fabric.now()
	t := sim.Timeline{Scenario: sc.Name, Comment: sc.Comment, Backend: cmp.Or(s.p.Backend, "netns"), Seed: s.seed, End: end,
		Faults: s.faults, Expects: s.claims, Frames: s.watch.frames, Dropped: s.watch.dropped}
	for _, h := range s.hosts {
		if h.director {
			lane, events := h.lane(end)
			t.Hosts, t.Events = append(t.Hosts, lane), append(t.Events, events...)
		}
		if h.server {
			t.Servers = append(t.Servers, s.serverLane(h, end))
		}
		for _, l := range h.loads {
			strip := sim.Strip{Client: h.name, VIP: l.vip.String(), From: l.begun, Outages: slices.Clone(l.gaps)}
			if gap := l.gap(end); gap > 0 {
				strip.Outages = append(strip.Outages, sim.Span{From: end - gap, To: end, What: "no answer"})
			}
			for _, o := range strip.Outages {
				strip.Longest = max(strip.Longest, o.To-o.From)
			}
			t.Clients = append(t.Clients, strip)
		}
	}
	for _, vip := range s.vips {
		t.VIPs = append(t.VIPs, sim.MakeBar(vip.String(), end, func(yield func(time.Duration, []string)) {
			for _, h := range s.watch.history {
				if h.vip == vip {
					yield(h.at, h.held)
				}
			}
		}))
	}
	t.Events = append(t.Events, s.news...)
	t.Store = s.storeLanes(end)
	for _, h := range s.watch.history {
		t.Events = append(t.Events, sim.Moment{At: h.at, Kind: "kernel", Text: fmt.Sprintf("%v held by %v", h.vip, h.held)})
	}
	slices.SortStableFunc(t.Events, func(a, b sim.Moment) int { return cmp.Compare(a.At, b.At) })
	return t
}

func (h *host) lane(end time.Duration) (sim.Lane, []sim.Moment) {
	lane := sim.Lane{Name: h.name, Condition: slices.Clone(h.life)}
	for i := range lane.Condition {
		if lane.Condition[i].To < 0 {
			lane.Condition[i].To = end
		}
	}
	list, err := h.events()
	if err != nil {
		return lane, []sim.Moment{{Host: h.name, Kind: "violation", Text: err.Error()}}
	}
	var moments []sim.Moment
	for _, e := range list {
		at := e.at
		if e.Event == "" {
			if e.Self {
				moments = append(moments, sim.Moment{At: at, Host: h.name, Kind: "store", Text: fmt.Sprintf("leads the store in term %d", e.Term)})
			}
			continue
		}
		text := e.Inst + " " + e.Event
		if e.From != "" {
			text = fmt.Sprintf("%s %s→%s", e.Inst, e.From, e.To)
		}
		if e.Reason != "" {
			text += " reason=" + e.Reason
		}
		if e.Detail != "" {
			text += ": " + e.Detail
		}
		moments = append(moments, sim.Moment{At: at, Host: h.name, Kind: "report", Text: text})
		if e.To == "" || e.From == "" && h.program != sim.Keepalived {
			continue
		}
		i := slices.IndexFunc(lane.Instances, func(t sim.Track) bool { return t.Name == e.Inst })
		if i < 0 {
			lane.Instances = append(lane.Instances, sim.Track{Name: e.Inst})
			i = len(lane.Instances) - 1
		}
		spans := lane.Instances[i].Spans
		if n := len(spans); n > 0 {
			spans[n-1].To = at
		}
		lane.Instances[i].Spans = append(spans, sim.Span{From: at, To: end, What: e.To, Why: text})
	}
	// A daemon that died said nothing of it.
	for _, c := range h.life {
		if c.What != "crashed" && c.What != "killed" {
			continue
		}
		for i := range lane.Instances {
			for k := range lane.Instances[i].Spans {
				if sp := &lane.Instances[i].Spans[k]; sp.From <= c.From && sp.To > c.From {
					sp.To = c.From
				}
			}
		}
	}
	return lane, moments
}

// serverLane is the picture of a real server. Tables are looked at from time to time, so that instants are later than they were
// by that much.
func (s *stage) serverLane(h *host, end time.Duration) sim.ServerLane {
	addr := h.cards[0].base.Addr()
	lane := sim.ServerLane{Name: h.name, Addr: addr.String(), Condition: slices.Clone(h.life)}
	var vips []netip.Addr
	for _, d := range s.hosts {
		for _, t := range d.tables {
			for _, w := range t.list {
				if w.server == addr && !slices.Contains(vips, w.vip) {
					vips = append(vips, w.vip)
				}
			}
		}
	}
	for _, d := range s.hosts {
		for _, vip := range vips {
			name := d.name
			if len(vips) > 1 {
				name += " " + vip.String()
			}
			tr := lane.Track(name)
			for _, t := range d.tables {
				weight := -1
				for _, w := range t.list {
					if w.server == addr && w.vip == vip {
						weight = w.weight
					}
				}
				tr.Weight(t.at, weight)
			}
		}
	}
	lane.Close(end)
	return lane
}

// storeLanes reads who led the store, and what each member ran, out of the members' logs; nil without a cluster.
func (s *stage) storeLanes(end time.Duration) *sim.StoreLanes {
	if len(s.members) == 0 {
		return nil
	}
	lanes := &sim.StoreLanes{}
	for _, h := range s.members {
		list, err := h.events()
		if err != nil {
			continue // told with the director's lane
		}
		var leads, runs []sim.Span
		shut := func(spans []sim.Span, at time.Duration) {
			if n := len(spans); n > 0 && spans[n-1].To == end {
				spans[n-1].To = at
			}
		}
		var deaths []time.Duration
		for _, c := range h.life {
			if c.What == "crashed" || c.What == "killed" || c.What == "stopped" {
				deaths = append(deaths, c.From)
			}
		}
		for _, e := range list {
			at := e.at
			for len(deaths) > 0 && deaths[0] <= at {
				shut(leads, deaths[0])
				shut(runs, deaths[0])
				deaths = deaths[1:]
			}
			switch m := appliedGeneration.FindStringSubmatch(e.Detail); {
			case e.Part == "store":
				if shut(leads, at); e.Self {
					leads = append(leads, sim.Span{From: at, To: end, What: h.name, Why: fmt.Sprintf("term %d", e.Term)})
				}
			case e.Event == "config.applied" && m != nil:
				shut(runs, at)
				runs = append(runs, sim.Span{From: at, To: end, What: "generation " + m[1]})
			}
		}
		for _, at := range deaths {
			shut(leads, at)
			shut(runs, at)
		}
		lanes.Leaders = append(lanes.Leaders, leads...)
		lanes.Members = append(lanes.Members, sim.Lane{Name: h.name, Instances: []sim.Track{{Spans: runs}}})
	}
	slices.SortStableFunc(lanes.Leaders, func(a, b sim.Span) int { return cmp.Compare(a.From, b.From) })
	if len(lanes.Leaders) > 0 {
		lanes.None = sim.Gaps(lanes.Leaders, lanes.Leaders[0].From, end)
	}
	return lanes
}
