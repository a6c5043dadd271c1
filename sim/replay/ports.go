package replay

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A capture of several interfaces may show one segment from several sides: the ports of a switch, the cards of the
// simulator, a VLAN tagged and untagged. Each port is judged by itself, as each host judges by what reaches it. In the
// summary what is the same is told once, and two owners on two sides of a broken network are seen to be two.

// datagram is an advert as it is recognised on another port.
type datagram struct {
	port, vlan string
	src        netip.Addr
	mac        MAC
	id         uint16
	sum        uint64 // of the message
	at         time.Time
}

const (
	untagged     = "untagged"             // the port without a name, beside those with a VLAN
	sameDatagram = 100 * time.Millisecond // how long one may take from port to port
	recentLimit  = 64
	portLimit    = 1024
	joinLimit    = 4000 // events; more are told port by port
)

// recognise joins the ports of two copies of one advert.
func (d *Decoder) recognise(p *packet) {
	g := datagram{p.link.port, p.link.vlan, p.ip.src, p.link.mac, p.ip.id, fnv(p.ip.payload), p.frame.Time}
	for _, o := range d.recent {
		if o.port != g.port && o.src == g.src && o.mac == g.mac && o.id == g.id && o.sum == g.sum &&
			(o.vlan == g.vlan || g.id != 0 && (o.vlan == "" || g.vlan == "")) && !g.at.IsZero() && g.at.Sub(o.at).Abs() < sameDatagram && len(d.segments) < portLimit {
			if a, b := d.segment(o.port), d.segment(g.port); a != b {
				d.segments[b] = a
			}
		}
	}
	if len(d.clocks) < 2 && g.vlan == "" && len(d.recent) > 0 && d.recent[0].port == g.port {
		d.recent = d.recent[:0] // one port only, so far
	}
	if len(d.recent) == recentLimit {
		d.recent = slices.Delete(d.recent, 0, recentLimit/2)
	}
	d.recent = append(d.recent, g)
}

func fnv(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// segment is the name of all ports that are joined with this one.
func (d *Decoder) segment(port string) string {
	for range portLimit {
		up, ok := d.segments[port]
		if !ok {
			break
		}
		port = up
	}
	return port
}

// joinPorts tells once what several ports of a segment saw.
func (d *Decoder) joinPorts(s *Summary) {
	// With a clock that was set back, times of two ports cannot be compared.
	if len(d.segments) == 0 || d.count.Steps > 0 || len(s.Owners)+len(s.Elections)+len(s.Conflicts)+len(s.TwoOwners) > joinLimit {
		return
	}
	type id struct {
		segment, family string
		vrid            uint8
	}
	of := func(port, family string, vrid uint8) id { return id{d.segment(port), family, vrid} }
	var owners []Owner
	for _, o := range s.Owners {
		slack := min(sameDatagram, o.interval/2)
		at := slices.IndexFunc(owners, func(m Owner) bool {
			return m.Src == o.Src && of(first(m.Interface), m.Family, m.VRID) == of(o.Interface, o.Family, o.VRID) &&
				m.From.Time.Sub(o.To.Time) <= slack && o.From.Time.Sub(m.To.Time) <= slack
		})
		if at < 0 {
			owners = append(owners, o)
			continue
		}
		m := &owners[at]
		m.Interface = also(m.Interface, o.Interface)
		if o.From.Time.Before(m.From.Time) {
			m.From = o.From
		}
		if o.To.Time.After(m.To.Time) {
			m.To, m.Ended, m.Priority = o.To, o.Ended, o.Priority
		}
		m.Adverts, m.Foreign = max(m.Adverts, o.Adverts), m.Foreign && o.Foreign
	}
	var elections []Election
	for _, e := range s.Elections {
		key := of(e.Interface, e.Family, e.VRID)
		same := func(m Election) bool {
			return m.Owner == e.Owner && of(first(m.Interface), m.Family, m.VRID) == key &&
				e.At.Time.Sub(m.At.Time).Abs() <= min(sameDatagram, e.interval/2)
		}
		if at := slices.IndexFunc(elections, same); at >= 0 {
			m := &elections[at]
			if m.Cause == "first-heard" && e.Cause != m.Cause {
				e.Interface, e.At, *m = m.Interface, m.At, e
			}
			m.Interface = also(m.Interface, e.run.r.key.port)
			continue
		}
		// A port that was cut off sees an owner that was there already on the others. (That one outranks another is news.)
		if slices.Contains([]string{"first-heard", "master-down", "priority-zero", "return"}, e.Cause) && slices.ContainsFunc(owners, func(o Owner) bool {
			return o.Src == e.Owner && of(first(o.Interface), o.Family, o.VRID) == key && o.From.Time.Before(e.At.Time.Add(-sameDatagram)) && !o.To.Time.Before(e.At.Time)
		}) {
			continue
		}
		elections = append(elections, e)
	}
	conflicts := []Conflict{}
	for _, c := range s.Conflicts {
		// Whoever announces an address as its owner, to ports that do not hear its adverts, is no stranger: see two owners.
		if slices.Equal(c.Reasons, []string{"foreign_owner"}) && c.Foreign.VRID == 0 && slices.ContainsFunc(owners, func(o Owner) bool {
			return o.MAC == c.Foreign.MAC && of(first(o.Interface), o.Family, o.VRID) == of(c.Interface, c.Family, c.VRID) &&
				!c.First.Time.Before(o.From.Time.Add(-sameDatagram)) && !c.Last.Time.After(o.To.Time.Add(3*o.interval))
		}) {
			continue
		}
		at := slices.IndexFunc(conflicts, func(m Conflict) bool {
			return of(first(m.Interface), m.Family, m.VRID) == of(c.Interface, c.Family, c.VRID) &&
				m.Foreign.Src == c.Foreign.Src && m.Foreign.MAC == c.Foreign.MAC && m.Foreign.VRID == c.Foreign.VRID && slices.Equal(m.Reasons, c.Reasons)
		})
		if at < 0 {
			conflicts = append(conflicts, c)
			continue
		}
		m := &conflicts[at]
		m.Interface, m.Packets = also(m.Interface, c.Interface), max(m.Packets, c.Packets)
		if c.First.Time.Before(m.First.Time) {
			m.First = c.First
		}
		if c.Last.Time.After(m.Last.Time) {
			m.Last = c.Last
		}
	}
	var twos []TwoOwners
	add := func(t TwoOwners) {
		at := slices.IndexFunc(twos, func(m TwoOwners) bool {
			slack := min(sameDatagram, t.interval/2)
			return of(first(m.Interface), m.Family, m.VRID) == of(first(t.Interface), t.Family, t.VRID) &&
				slices.Contains(m.Owners, t.Owners[0]) && slices.Contains(m.Owners, t.Owners[1]) &&
				m.From.Time.Sub(t.To.Time) <= slack && t.From.Time.Sub(m.To.Time) <= slack
		})
		if at < 0 {
			twos = append(twos, t)
			return
		}
		m := &twos[at]
		for _, port := range strings.Split(t.Interface, ", ") {
			m.Interface = also(m.Interface, port)
		}
		if t.From.Time.Before(m.From.Time) {
			m.From, m.Owners = t.From, t.Owners
		}
		if t.To.Time.After(m.To.Time) {
			m.To = t.To
		}
		m.Seconds = m.To.Time.Sub(m.From.Time).Seconds()
		if t.Seconds > m.Seconds/2 { // one port saw most of it
			m.Meaning = t.Meaning
		}
	}
	// Two claims that no port saw side by side, for longer than a change of owner takes to get around.
	for i, a := range owners {
		for _, b := range owners[i+1:] {
			if a.Src == b.Src || of(first(a.Interface), a.Family, a.VRID) != of(first(b.Interface), b.Family, b.VRID) {
				continue
			}
			t := TwoOwners{VRID: a.VRID, Family: a.Family, Interface: a.Interface, Owners: []string{a.Src, b.Src}, From: b.From, To: a.To,
				VIPs: []string{}, Meaning: "each was heard on other ports: the network between them was parted, or the adverts of one were filtered", interval: max(a.interval, b.interval)}
			if b.From.Time.Before(a.From.Time) {
				t.From, t.Owners = a.From, []string{b.Src, a.Src}
			}
			if b.To.Time.Before(a.To.Time) {
				t.To = b.To
			}
			if t.To.Time.Sub(t.From.Time) <= t.interval {
				continue
			}
			for _, port := range strings.Split(b.Interface, ", ") {
				t.Interface = also(t.Interface, port)
			}
			for _, v := range a.VIPs {
				if slices.Contains(b.VIPs, v) {
					t.VIPs = append(t.VIPs, v)
				}
			}
			t.Seconds = t.To.Time.Sub(t.From.Time).Seconds()
			add(t)
		}
	}
	for _, t := range s.TwoOwners {
		add(t)
	}
	slices.SortStableFunc(twos, func(a, b TwoOwners) int { return cmp.Compare(a.From.N, b.From.N) })
	s.Owners, s.Elections = owners, elections
	s.Conflicts = conflicts
	if len(twos) > 0 {
		s.TwoOwners = twos
	}
}

// also adds a port to a list of ports.
func also(list, port string) string {
	if list == port {
		return list
	}
	list, port = cmp.Or(list, untagged), cmp.Or(port, untagged)
	if list == port || slices.Contains(strings.Split(list, ", "), port) {
		return list
	}
	return list + ", " + port
}

func first(list string) string {
	port, _, _ := strings.Cut(list, ", ")
	if port == untagged {
		return ""
	}
	return port
}
