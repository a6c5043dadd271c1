package sim

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"quorate/ipvs"
)

// ServerLane is a real server: what it did with connections (Condition, empty while it served), and what directors' IPVS tables
// said of it. A track is named after the director, with the service where a server is in several; What is a weight or Out.
type ServerLane struct {
	Name, Addr string
	Condition  []Span
	Tables     []Track
}

// Out is what a track of a ServerLane says while the server is not in the table: the director's check has taken it out, or there
// is no table yet.
const Out = "out"

// StoreLanes is the replicated store: who led it in which term, when nobody did, and which generation each director ran.
type StoreLanes struct {
	Leaders []Span // What is a director, Why its term
	None    []Span
	Members []Lane // one track of generations each
}

// TableSpans writes down what one director's tables said of one server.
type TableSpans struct {
	lane  *ServerLane
	track string
}

// Track begins or finds the track of a director.
func (l *ServerLane) Track(name string) TableSpans { return TableSpans{l, name} }

// Weight notes what holds from an instant on: a weight, -1 for out.
func (t TableSpans) Weight(at time.Duration, weight int) {
	i := slices.IndexFunc(t.lane.Tables, func(tr Track) bool { return tr.Name == t.track })
	if i < 0 {
		t.lane.Tables = append(t.lane.Tables, Track{Name: t.track})
		i = len(t.lane.Tables) - 1
	}
	what := Out
	if weight >= 0 {
		what = fmt.Sprintf("weight %d", weight)
	}
	spans := &t.lane.Tables[i].Spans
	if n := len(*spans); n > 0 && (*spans)[n-1].To < 0 && (*spans)[n-1].What == what {
		return
	}
	closeSpan(*spans, at)
	*spans = append(*spans, Span{From: at, To: -1, What: what})
}

// Gone notes that there is no such director any more.
func (t TableSpans) Gone(at time.Duration) {
	for i := range t.lane.Tables {
		if t.lane.Tables[i].Name == t.track {
			closeSpan(t.lane.Tables[i].Spans, at)
		}
	}
}

// Close ends what is open, tracks in order of their names.
func (l *ServerLane) Close(end time.Duration) {
	closeSpan(l.Condition, end)
	for i := range l.Tables {
		closeSpan(l.Tables[i].Spans, end)
	}
	slices.SortStableFunc(l.Tables, func(a, b Track) int { return cmp.Compare(a.Name, b.Name) })
}

// doing is what a real server does that is not serving.
func (h *Host) doing() string {
	switch {
	case !h.on:
		return "crashed"
	case !h.nics[0].up:
		return "link down"
	}
	text := ""
	for _, port := range slices.Sorted(maps.Keys(h.ports)) {
		sv := h.ports[port]
		if sv.state == serverUp {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += map[serverState]string{serverDown: "no answer", serverHang: "hangs", serverRefuse: "refuses"}[sv.state]
		if port != 0 {
			text += fmt.Sprintf(" :%d", port)
		}
		if sv.flap > 0 {
			text += fmt.Sprintf(" every other %v", sv.flap)
		}
	}
	return text
}

// serverLife notes a change of what a real server does.
func (h *Host) serverLife() {
	if now := h.doing(); h.server && now != h.did {
		h.did = now
		h.w.lives(h, now)
	}
}

// picture notes what a director's table is from now on, nil when its power is gone.
func (h *Host) picture(t ipvs.Table) {
	if t != nil || len(h.pictured) > 0 {
		h.pictured = append(h.pictured, tableAt{h.w.now, t})
	}
}

// serverLane is the picture of a real server.
func (w *World) serverLane(h *Host) ServerLane {
	addr := h.nics[0].base.Addr()
	lane := ServerLane{Name: h.Name, Addr: addr.String()}
	for _, l := range w.life {
		if l.host != h.Name {
			continue
		}
		closeSpan(lane.Condition, l.at)
		if l.what != "" {
			lane.Condition = append(lane.Condition, Span{From: l.at, To: -1, What: l.what})
		}
	}
	// The services that it was ever in tell whether a director needs more than one track.
	var services []ipvs.Key
	for _, d := range w.hosts {
		for _, t := range d.pictured {
			for _, e := range t.table {
				if weightOf(e, addr) >= 0 && !slices.Contains(services, e.Service.Key) {
					services = append(services, e.Service.Key)
				}
			}
		}
	}
	for _, d := range w.hosts {
		for _, key := range services {
			name := d.Name
			if len(services) > 1 {
				name += " " + serviceName(key)
			}
			tr := lane.Track(name)
			for _, t := range d.pictured {
				if t.table == nil {
					tr.Gone(t.at)
					continue
				}
				weight := -1
				if e, ok := t.table.Get(key); ok {
					weight = weightOf(e, addr)
				}
				tr.Weight(t.at, weight)
			}
		}
	}
	lane.Close(w.now)
	return lane
}

func serviceName(k ipvs.Key) string {
	if k.FWMark != 0 {
		return fmt.Sprintf("mark %d", k.FWMark)
	}
	return netip.AddrPortFrom(k.Addr, k.Port).String()
}

// weightOf is the weight of a server in a service, -1 if it is not there.
func weightOf(e ipvs.Entry, server netip.Addr) int {
	for _, d := range e.Destinations {
		if d.Addr == server {
			return d.Weight
		}
	}
	return -1
}

// storeLog is what the picture of the store is made of.
type storeLog struct {
	formed      time.Duration
	terms       []termAt
	generations []generationAt
	broken      []life
}

// termAt is a director that begins to lead, or with term 0 ceases to.
type termAt struct {
	at   time.Duration
	host string
	term uint64
}

// generationAt is a director that begins to run a generation, or with 0 ceases to.
type generationAt struct {
	at         time.Duration
	host       string
	generation int64
}

// led notes who leads the store.
func (w *World) led(h *Host, term uint64) {
	w.lanes.terms = append(w.lanes.terms, termAt{w.now, h.Name, term})
}

// ran notes the generation that a director runs.
func (w *World) ran(h *Host) {
	if w.members == nil {
		return
	}
	n := h.generation
	if h.proc == nil {
		n = 0
	}
	w.lanes.generations = append(w.lanes.generations, generationAt{w.now, h.Name, n})
}

// storeLanes is the picture of the store, nil in a world without one.
func (w *World) storeLanes() *StoreLanes {
	if w.members == nil {
		return nil
	}
	s := &StoreLanes{}
	now := map[string]int{} // open span, by leader
	for _, t := range w.lanes.terms {
		if i, leads := now[t.host]; leads {
			s.Leaders[i].To = t.at
			delete(now, t.host)
		}
		if t.term > 0 {
			now[t.host] = len(s.Leaders)
			s.Leaders = append(s.Leaders, Span{From: t.at, To: w.now, What: t.host, Why: fmt.Sprintf("term %d", t.term)})
		}
	}
	s.None = Gaps(s.Leaders, w.lanes.formed, w.now)
	for _, h := range w.members {
		m := Lane{Name: h.Name}
		var spans []Span
		for _, g := range w.lanes.generations {
			if g.host != h.Name {
				continue
			}
			closeSpan(spans, g.at)
			if g.generation > 0 {
				spans = append(spans, Span{From: g.at, To: -1, What: fmt.Sprintf("generation %d", g.generation)})
			}
		}
		closeSpan(spans, w.now)
		m.Instances = []Track{{Spans: spans}}
		for _, l := range w.lanes.broken {
			if l.host != h.Name {
				continue
			}
			closeSpan(m.Condition, l.at)
			if l.what != "" {
				m.Condition = append(m.Condition, Span{From: l.at, To: -1, What: l.what})
			}
		}
		closeSpan(m.Condition, w.now)
		s.Members = append(s.Members, m)
	}
	return s
}

// Gaps are the stretches between from and to that no span covers. Spans are in the order of their beginnings.
func Gaps(spans []Span, from, to time.Duration) (list []Span) {
	for _, s := range spans {
		if s.From > from {
			list = append(list, Span{From: from, To: s.From})
		}
		from = max(from, s.To)
	}
	if from < to {
		list = append(list, Span{From: from, To: to})
	}
	return list
}

// brokenStore notes that a director's store has failed, or "" that it works again.
func (w *World) brokenStore(h *Host, what string) {
	if what != "" || slices.ContainsFunc(w.lanes.broken, func(l life) bool { return l.host == h.Name }) {
		w.lanes.broken = append(w.lanes.broken, life{w.now, h.Name, what})
	}
}
