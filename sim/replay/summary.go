package replay

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/vrrp"
)

// Summary is what happened in a capture. Its JSON has the keys kind, owners, elections, conflicts and two_owners.
type Summary struct {
	Counts
	Owners    []Owner
	Elections []Election
	Conflicts []Conflict
	TwoOwners []TwoOwners
	Refusals  []Refusal // of packets that are part of no conflict
	Notes     []string  // what keeps this from being the whole truth, in sentences
	begin     time.Time
	ports     int
}

// Instant is a packet with its time.
type Instant struct {
	N    int       `json:"n"`
	Time time.Time `json:"time"`
}

// Owner is one host's time as MASTER, from its first advert to the packet that ended it.
type Owner struct {
	VRID      uint8    `json:"vrid"`
	Family    string   `json:"family"` // ipv4 or ipv6
	Interface string   `json:"interface,omitempty"`
	Src       string   `json:"src"`
	MAC       string   `json:"mac"` // empty if the link layer does not tell
	Priority  uint8    `json:"priority"`
	VIPs      []string `json:"vips"`
	From      Instant  `json:"from"`
	To        Instant  `json:"to"`
	Adverts   int      `json:"adverts"`
	// Ended: priority-zero, outranked (a better one was heard), silent (To is its last advert), or
	// end (of the capture).
	Ended string `json:"ended"`
	// Foreign: none of its adverts agreed with what the others of this VRID send.
	Foreign bool `json:"foreign"`

	interval time.Duration
}

// Election is a change of owner.
type Election struct {
	VRID      uint8   `json:"vrid"`
	Family    string  `json:"family"`
	Interface string  `json:"interface,omitempty"`
	At        Instant `json:"at"`
	Owner     string  `json:"owner"`
	Previous  string  `json:"previous,omitempty"`
	// Cause: first-heard, priority-zero, master-down, preempt, higher-address, owner, return (the same one after a
	// silence) or remaining (a second owner is left alone).
	Cause string `json:"cause"`
	// Gap is the silence before it, Expected what the formula gives for the new owner's priority, in
	// seconds; for priority-zero and master-down.
	Gap      float64 `json:"gap,omitempty"`
	Expected float64 `json:"expected,omitempty"`
	Detail   string  `json:"detail"`

	at, gap, expected time.Duration
	interval          time.Duration
	n                 int
	run, prev         *run
	cause, text       string
}

// Party is one side of a conflict.
type Party struct {
	Src  string   `json:"src"`
	MAC  string   `json:"mac"`
	VRID uint8    `json:"vrid,omitempty"`
	VIPs []string `json:"vips"`
}

func (p Party) String() string {
	if p.Src == "" {
		return "nobody (no owner was heard)"
	}
	s := slices.DeleteFunc([]string{p.MAC, vipList(p.VIPs)}, func(s string) bool { return s == "" })
	if len(s) == 0 {
		return p.Src
	}
	return fmt.Sprintf("%s (%s)", p.Src, strings.Join(s, ", "))
}

// Conflict is a host whose packets do not fit what others on the segment run.
type Conflict struct {
	VRID      uint8    `json:"vrid"`
	Family    string   `json:"family"`
	Interface string   `json:"interface,omitempty"`
	Reasons   []string `json:"reasons"` // reject words
	Foreign   Party    `json:"foreign"`
	Owner     Party    `json:"owner"`
	First     Instant  `json:"first"`
	Last      Instant  `json:"last"`
	Packets   int      `json:"packets"`
	Detail    string   `json:"detail"`
	Meaning   string   `json:"meaning"`
	Remedy    string   `json:"remedy"`
}

// TwoOwners is an interval in which two hosts sent adverts for one VRID without either giving way.
type TwoOwners struct {
	VRID      uint8    `json:"vrid"`
	Family    string   `json:"family"`
	Interface string   `json:"interface,omitempty"`
	Owners    []string `json:"owners"`
	From      Instant  `json:"from"`
	To        Instant  `json:"to"`
	Seconds   float64  `json:"seconds"`
	// VIPs that both claim; empty when two clusters use one VRID for different addresses.
	VIPs    []string `json:"vips"`
	Meaning string   `json:"meaning"`

	interval time.Duration
}

// Summary says what happened so far.
func (d *Decoder) Summary() Summary {
	s := Summary{Counts: d.count, begin: d.begin,
		Owners: []Owner{}, Elections: []Election{}, Conflicts: []Conflict{}, TwoOwners: []TwoOwners{}}
	end := d.now // of the capture, on whatever interface
	for _, c := range d.clocks {
		end = max(end, c.now)
	}
	ports := map[string]bool{}
	for _, r := range d.routers {
		ports[r.key.port] = true
	}
	s.ports = len(ports)
	for _, u := range d.owners {
		to, toN, why := u.end, u.endN, u.ended
		if u.active { // the capture goes on: look, do not touch
			v := *u
			if v.expire(end); v.active {
				to, toN, why = v.last, v.lastN, "end"
				if v.superBy != nil {
					to, toN, why = v.superAt, v.superN, "outranked"
				}
			} else {
				to, toN, why = v.end, v.endN, v.ended
			}
		}
		s.Owners = append(s.Owners, Owner{VRID: u.r.key.vrid, Family: u.r.family(), Interface: u.r.key.port,
			Src: u.src.String(), MAC: u.mac.text(), Priority: u.prio, VIPs: texts(u.addrs),
			From: d.instant(u.r, u.first, u.firstN), To: d.instant(u.r, to, toN), Adverts: u.adverts, Ended: why, Foreign: u.foreign, interval: u.interval})
	}
	for _, e := range d.elections {
		e.VRID, e.Family, e.Interface = e.run.r.key.vrid, e.run.r.family(), e.run.r.key.port
		e.At, e.Owner, e.Cause, e.Detail = d.instant(e.run.r, e.at, e.n), e.run.src.String(), e.cause, e.text
		if e.prev != nil {
			e.Previous = e.prev.src.String()
		}
		e.Gap, e.Expected, e.interval = e.gap.Seconds(), e.expected.Seconds(), e.run.interval
		s.Elections = append(s.Elections, e)
	}
	for _, c := range d.conflicts {
		meaning, remedy := explain(c)
		s.Conflicts = append(s.Conflicts, Conflict{VRID: c.r.key.vrid, Family: c.r.family(), Interface: c.r.key.port,
			Reasons: slices.Clone(c.reasons), Foreign: c.theirs.party(), Owner: c.ours.party(),
			First: d.instant(c.r, c.first, c.firstN), Last: d.instant(c.r, c.last, c.lastN), Packets: c.count,
			Detail: strings.Join(c.texts, "; "), Meaning: meaning, Remedy: remedy})
	}
	for _, t := range d.twos {
		var both []netip.Addr
		for _, a := range t.a.addrs {
			if slices.Contains(t.b.addrs, a) {
				both = append(both, a)
			}
		}
		s.TwoOwners = append(s.TwoOwners, TwoOwners{VRID: t.a.r.key.vrid, Family: t.a.r.family(), Interface: t.a.r.key.port,
			Owners: []string{t.a.src.String(), t.b.src.String()}, From: d.instant(t.a.r, t.from, t.fromN), To: d.instant(t.a.r, t.to, t.toN),
			Seconds: (t.to - t.from).Seconds(), VIPs: texts(both), Meaning: t.meaning(), interval: max(t.a.interval, t.b.interval)})
	}
	for _, f := range d.refusals {
		s.Refusals = append(s.Refusals, *f)
	}
	s.Notes = d.notes()
	d.joinPorts(&s)
	return s
}

func (d *Decoder) instant(r *router, at time.Duration, n int) Instant {
	return r.clock.instant(d.begin, at, n)
}

func (r *router) family() string {
	if r.key.ip6 {
		return "ipv6"
	}
	return "ipv4"
}

func (s side) party() Party {
	if s.mac == (MAC{}) && !s.src.IsValid() {
		return Party{VIPs: []string{}}
	}
	p := Party{MAC: s.mac.text(), VRID: s.vrid, VIPs: texts(s.vips)}
	if s.src.IsValid() {
		p.Src = s.src.String()
	}
	return p
}

func texts(list []netip.Addr) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.String()
	}
	return out
}

// meaning says why neither gives way: of two that run the same, the worse one would if it heard the other.
func (t *two) meaning() string {
	worse, better := t.a, t.b
	if worse.outranks(better) {
		worse, better = better, worse
	}
	switch {
	case t.a.f != t.b.f || t.a.foreign || t.b.foreign:
		return "each refuses the adverts of the other: see Conflicts"
	case t.to-t.from < min(worse.interval/2, sameDatagram):
		return fmt.Sprintf("%v had not heard %v until then: the network had been parted or had lost adverts, or both started at once", worse.src, better.src)
	}
	return fmt.Sprintf("%v does not hear %v, or it would give way: a broken or one-way link, multicast filtered by a switch or firewall, or virtual MAC modes that do not match", worse.src, better.src)
}

// explain says what a conflict means and what to do, by its most telling reason.
func explain(c *conflict) (meaning, remedy string) {
	has := func(w string) bool { return slices.Contains(c.reasons, w) }
	switch {
	case has("foreign_owner") && c.theirs.vrid == 0:
		return "another host answers for a virtual address: clients that believe it lose their connections",
			"take the address off the host with this MAC; a router that was killed may have left it behind"
	case has("foreign_owner"):
		return "two VRIDs claim one address: two hosts answer for it", "give each virtual address to one VRID only"
	case has("loop"):
		return "packets come back: a loop in the network (a bridge, a bond, spanning tree off), or the capture shows them twice (a mirror port for both directions)",
			"capture on one interface and direction; if they still come twice, look for the loop"
	case has("auth") && !c.ours.src.IsValid():
		return "no advert could be verified with the password given", "give the group's own auth_pass; 8 octets count"
	}
	other := c.ours.src.IsValid() && len(c.theirs.vips) > 0 && !sameSet(c.theirs.vips, c.ours.vips)
	for _, r := range [...]vrrp.RejectReason{vrrp.RejectOwnSource, vrrp.RejectAddrList, vrrp.RejectAuth, vrrp.RejectAuthType,
		vrrp.RejectInterval, vrrp.RejectVersion, vrrp.RejectChecksum, vrrp.RejectDestination, vrrp.RejectSequence} {
		if has(r.String()) {
			return vrrp.Explain(r, other)
		}
	}
	return "somebody else uses this VRID", "find the port of this MAC on the switch"
}
