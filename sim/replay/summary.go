package replay

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/vrrp"
)

// Summary is what happened in a capture. Its JSON has the keys kind, owners, elections, conflicts and two_owners.
type Summary struct {
	Packets, Refused int // lines, and those with the verdict reject
	Owners           []Owner
	Elections        []Election
	Conflicts        []Conflict
	TwoOwners        []TwoOwners
	Dropped          int // events that were not kept because there are too many
	begin            time.Time
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
	MAC       string   `json:"mac"`
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
	return fmt.Sprintf("%s (%s, %s)", p.Src, p.MAC, strings.Join(p.VIPs, ", "))
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
	VIPs []string `json:"vips"`
}

// Summary says what happened so far.
func (d *Decoder) Summary() Summary {
	s := Summary{Packets: d.packets, Refused: d.refused, Dropped: d.dropped, begin: d.begin,
		Owners: []Owner{}, Elections: []Election{}, Conflicts: []Conflict{}, TwoOwners: []TwoOwners{}}
	for _, u := range d.owners {
		end, endN, why := u.end, u.endN, u.ended
		if u.active { // the capture goes on: look, do not touch
			v := *u
			if v.expire(d.now); v.active {
				end, endN, why = v.last, v.lastN, "end"
				if v.superBy != nil {
					end, endN, why = v.superAt, v.superN, "outranked"
				}
			} else {
				end, endN, why = v.end, v.endN, v.ended
			}
		}
		s.Owners = append(s.Owners, Owner{VRID: u.r.key.vrid, Family: u.r.family(), Interface: u.r.key.port,
			Src: u.src.String(), MAC: u.mac.String(), Priority: u.prio, VIPs: texts(u.addrs),
			From: d.instant(u.first, u.firstN), To: d.instant(end, endN), Adverts: u.adverts, Ended: why, Foreign: u.foreign})
	}
	for _, e := range d.elections {
		e.VRID, e.Family, e.Interface = e.run.r.key.vrid, e.run.r.family(), e.run.r.key.port
		e.At, e.Owner, e.Cause, e.Detail = d.instant(e.at, e.n), e.run.src.String(), e.cause, e.text
		if e.prev != nil {
			e.Previous = e.prev.src.String()
		}
		e.Gap, e.Expected = e.gap.Seconds(), e.expected.Seconds()
		s.Elections = append(s.Elections, e)
	}
	for _, c := range d.conflicts {
		meaning, remedy := explain(c)
		s.Conflicts = append(s.Conflicts, Conflict{VRID: c.r.key.vrid, Family: c.r.family(), Interface: c.r.key.port,
			Reasons: slices.Clone(c.reasons), Foreign: c.theirs.party(), Owner: c.ours.party(),
			First: d.instant(c.first, c.firstN), Last: d.instant(c.last, c.lastN), Packets: c.count,
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
			Owners: []string{t.a.src.String(), t.b.src.String()}, From: d.instant(t.from, t.fromN), To: d.instant(t.to, t.toN),
			Seconds: (t.to - t.from).Seconds(), VIPs: texts(both)})
	}
	return s
}

func (d *Decoder) instant(at time.Duration, n int) Instant {
	return Instant{N: n, Time: d.begin.Add(at)}
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
	p := Party{MAC: s.mac.String(), VRID: s.vrid, VIPs: texts(s.vips)}
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

// explain says what a conflict means and what to do, by its most telling reason.
func explain(c *conflict) (meaning, remedy string) {
	has := func(w string) bool { return slices.Contains(c.reasons, w) }
	switch {
	case has("foreign_owner") && c.theirs.vrid == 0:
		return "another host answers for a virtual address: clients that believe it lose their connections",
			"take the address off the host with this MAC; a router that was killed may have left it behind"
	case has("foreign_owner"):
		return "two VRIDs claim one address: two hosts answer for it", "give each virtual address to one VRID only"
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

// Write prints the summary for people; times count from the first frame.
func (s Summary) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d packets, %d rejected\n", s.Packets, s.Refused)
	at := func(i Instant) string { return fmt.Sprintf("%+.6f (packet %d)", i.Time.Sub(s.begin).Seconds(), i.N) }
	id := func(iface string, vrid uint8, family string) string {
		if iface != "" {
			iface += " "
		}
		if family == "ipv6" {
			return fmt.Sprintf("%sVRID %d IPv6", iface, vrid)
		}
		return fmt.Sprintf("%sVRID %d", iface, vrid)
	}
	section := func(title string, n int) {
		if n == 0 {
			fmt.Fprintf(&b, "\n%s: none\n", title)
			return
		}
		fmt.Fprintf(&b, "\n%s:\n", title)
	}
	section("Owners", len(s.Owners))
	for _, o := range s.Owners {
		fmt.Fprintf(&b, "  %s: %s (%s) priority %d owned %s\n      %s .. %s, %d adverts, ended: %s", id(o.Interface, o.VRID, o.Family),
			o.Src, o.MAC, o.Priority, strings.Join(o.VIPs, ", "), at(o.From), at(o.To), o.Adverts, o.Ended)
		if o.Foreign {
			b.WriteString(", foreign")
		}
		b.WriteByte('\n')
	}
	section("Elections", len(s.Elections))
	for _, e := range s.Elections {
		fmt.Fprintf(&b, "  %s: %s %s, cause %s: %s\n", id(e.Interface, e.VRID, e.Family), at(e.At), e.Owner, e.Cause, e.Detail)
	}
	section("Conflicts", len(s.Conflicts))
	for _, c := range s.Conflicts {
		fmt.Fprintf(&b, "  %s: %v against %v, %d packets, %s .. %s\n      %s: %s\n      meaning: %s\n      remedy: %s\n",
			id(c.Interface, c.VRID, c.Family), c.Foreign, c.Owner, c.Packets, at(c.First), at(c.Last),
			strings.Join(c.Reasons, ", "), c.Detail, c.Meaning, c.Remedy)
	}
	section("Two owners", len(s.TwoOwners))
	for _, t := range s.TwoOwners {
		vips := strings.Join(t.VIPs, ", ")
		if vips == "" {
			vips = "different addresses"
		}
		fmt.Fprintf(&b, "  %s: %s of %s: %s .. %s, %.6f s\n", id(t.Interface, t.VRID, t.Family), strings.Join(t.Owners, " and "), vips,
			at(t.From), at(t.To), t.Seconds)
	}
	if s.Dropped > 0 {
		fmt.Fprintf(&b, "\n%d more events are not listed\n", s.Dropped)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
