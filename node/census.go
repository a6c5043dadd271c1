package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/config"
	"quorate/vrrp"
)

// Heard tells of VRRP adverts that arrived on an interface, as the wire has them, for this or any other virtual router. The
// driver sends it when something about a sender is new, and every HeardEvery while it goes on.
type Heard struct {
	Interface string
	MAC       [6]byte
	Src       netip.Addr
	Dst       netip.Addr
	VRID      uint8
	Version   uint8
	Priority  uint8
	Interval  time.Duration
	Auth      vrrp.AuthType
	VIPs      []netip.Addr
	Packets   uint64 // since the last Heard of this sender
}

// HeardEvery is how often the driver repeats what it hears.
const HeardEvery = 10 * time.Second

// Claimed tells that another host says it has a virtual address of ours: an ARP packet or an unsolicited
// neighbour advertisement with that address as its sender's.
type Claimed struct {
	Interface string
	Addr      netip.Addr
	MAC       [6]byte
	What      string // "ARP request", "ARP reply", "neighbour advertisement"
}

// Looped tells that a frame with our own Ethernet address came in from outside.
type Looped struct {
	Interface string
	MAC       [6]byte
}

func (Heard) event()   {}
func (Claimed) event() {}
func (Looped) event()  {}

// HeardRouter is one sender of adverts: a row of the census. Ours says that this director runs that VRID there too.
type HeardRouter struct {
	Interface string        `json:"interface"`
	VRID      int           `json:"vrid"`
	Family    string        `json:"family"` // ipv4 or ipv6
	Address   netip.Addr    `json:"address"`
	MAC       string        `json:"mac,omitempty"`
	Version   int           `json:"version"`
	Priority  int           `json:"priority"`
	Interval  time.Duration `json:"interval"`
	Auth      string        `json:"auth"`
	VIPs      []string      `json:"vips"`
	Packets   uint64        `json:"packets"`
	Ours      bool          `json:"ours"`
	Rejected  string        `json:"rejected,omitempty"` // why our instance refuses its adverts
	First     time.Time     `json:"first"`              // stamped by the driver from FirstAt
	Last      time.Time     `json:"last"`
	FirstAt   time.Duration `json:"-"`
	LastAt    time.Duration `json:"-"`
}

const (
	censusRows = 1024                   // senders remembered; forged ones push out the longest silent, not memory
	censusAge  = 5 * time.Minute        // of silence, then a sender is forgotten
	claimDelay = 200 * time.Millisecond // from a claim to its answer
	claimEvery = time.Second            // announcements that answer claims of one address
	claimRows  = 256                    // addresses whose claims are answered
)

// sender identifies a row.
type sender struct {
	vridKey
	src netip.Addr
}

// census is who was heard, in the order of their first packet.
type census struct {
	rows []*censusRow
	told told
}

type censusRow struct {
	sender
	Heard
	packets     uint64
	first, last time.Duration
	known       bool // a Heard came: the MAC is known
	reject      vrrp.RejectReason
	rejected    string // in words
	rejectedAt  time.Duration
	missed      int // how many Heard in a row none of whose packets came to the instance
}

func (c *census) row(now time.Duration, key sender) *censusRow {
	c.age(now)
	for _, r := range c.rows {
		if r.sender == key {
			return r
		}
	}
	if len(c.rows) >= censusRows {
		oldest := 0
		for k, r := range c.rows {
			if r.last < c.rows[oldest].last {
				oldest = k
			}
		}
		c.rows = slices.Delete(c.rows, oldest, oldest+1)
	}
	r := &censusRow{sender: key, first: now, last: now}
	c.rows = append(c.rows, r)
	return r
}

func (c *census) age(now time.Duration) {
	c.rows = slices.DeleteFunc(c.rows, func(r *censusRow) bool { return now-r.last > censusAge })
}

// heard takes news of a sender.
func (e *Elector) heard(ev Heard) {
	key := sender{vridKey{ev.Interface, ev.VRID, ev.Src.Is6()}, ev.Src}
	r := e.census.row(e.now, key)
	before, again := r.last, r.known
	changed := r.known && r.MAC != ev.MAC
	was := r.MAC
	r.Heard, r.known, r.last = ev, true, e.now
	r.VIPs = slices.Clone(ev.VIPs)
	r.packets += ev.Packets
	if changed {
		if more, ok := e.census.told.due(e.now, subject{kind: "moved", where: ev.Interface, src: ev.Src}); ok {
			e.report(Entry{Event: "vrrp.moved", Warn: true, Detail: fmt.Sprintf(
				"%s, which sends adverts for virtual_router_id %d on %s, is at %s now, was at %s: it moved, or two hosts have this address%s",
				ev.Src, ev.VRID, ev.Interface, MAC(ev.MAC), MAC(was), more)})
		}
	}
	if i := e.byVRID[key.vridKey]; i != nil {
		if l := e.links[ev.Interface]; l != nil && ev.Src == i.source && ev.MAC != l.MAC {
			if more, ok := e.census.told.due(e.now, subject{kind: "source", where: ev.Interface, src: ev.Src}); ok {
				e.report(Entry{Instance: i.cfg.Name, Event: "vrrp.duplicate", Warn: true, Detail: fmt.Sprintf(
					"%s on %s sends adverts from %s, our own address: give one of the two another%s", MAC(ev.MAC), ev.Interface, ev.Src, more)})
			}
		}
		e.unheard(r)
		if again {
			e.filtered(i, r, before)
		}
		e.conflict(i, r)
	}
}

// filtered notices adverts that the wire brings and the instance does not get: a packet filter of this host, the usual reason why two
// directors are owner at once. Nothing tells a socket of it. Once may be a moment's congestion.
func (e *Elector) filtered(i *instance, r *censusRow, before time.Duration) {
	s, l := i.socket(), e.links[r.iface]
	ours := r.Dst == s.Group || !s.Group.IsValid() && r.Dst == i.source
	if !ours || s.AH != (r.Auth == vrrp.AuthAH) || i.gotAt >= before || l == nil || l.deaf[s.plain()] != "" || !i.started {
		r.missed = 0
		return
	}
	if r.missed++; r.missed < 2 {
		return
	}
	if more, ok := e.census.told.due(e.now, subject{kind: "filtered", where: r.iface, vrid: r.vrid}); ok {
		what, rule := "112", "nft insert rule inet filter input ip protocol vrrp accept, firewall-cmd --add-protocol=vrrp"
		switch {
		case s.AH:
			what, rule = "51", "nft insert rule inet filter input ip protocol ah accept, firewall-cmd --add-protocol=ah"
		case s.IPv6:
			rule = "nft insert rule inet filter input ip6 nexthdr vrrp accept, firewall-cmd --add-protocol=vrrp"
		}
		e.report(Entry{Instance: i.cfg.Name, Event: "vrrp.filtered", Warn: true, Detail: fmt.Sprintf(
			"adverts of %s arrive on %s but do not come through: a packet filter of this host (or rp_filter) drops them, and both may be owner: let IP protocol %s in (%s)%s",
			r.Heard.Src, r.iface, what, rule, more)})
	}
}

// unheard notes adverts that no instance gets, because they travel another way than those of the virtual router they are for.
func (e *Elector) unheard(r *censusRow) {
	var first *instance
	var reject vrrp.RejectReason
	var why string
	for _, i := range e.instances {
		if i.key() != r.vridKey {
			continue
		}
		reason, text := i.deafTo(r.Heard)
		if reason == 0 {
			return
		}
		if first == nil {
			first, reject, why = i, reason, text
		}
	}
	if first == nil {
		return
	}
	if first.missed == nil {
		first.missed = map[vrrp.RejectReason]uint64{}
	}
	first.missed[reject] += r.Heard.Packets
	r.reject, r.rejected, r.rejectedAt = reject, why, e.now
}

// refused notes that an instance refused an advert, and returns what is known of its sender: nil without one. Who it is, with what, may
// be known by then or a moment later.
func (e *Elector) refused(i *instance, n vrrp.Note) *censusRow {
	if !n.Src.IsValid() {
		return nil
	}
	r := e.census.row(e.now, sender{i.key(), n.Src})
	r.reject, r.rejected, r.rejectedAt, r.last = n.Reject, n.Detail, e.now, e.now
	e.conflict(i, r)
	return r
}

// conflict reports another virtual router with a VRID of ours: who it is, what that means, what to do.
func (e *Elector) conflict(i *instance, r *censusRow) {
	switch r.reject {
	case vrrp.RejectAddrList, vrrp.RejectAuth, vrrp.RejectAuthType, vrrp.RejectVersion, vrrp.RejectInterval, vrrp.RejectDestination:
	default:
		return // no other router, but a damaged or forged packet: counted and noted
	}
	if !r.known || e.now-r.rejectedAt > reportEvery {
		return
	}
	more, ok := e.census.told.due(e.now, subject{kind: "conflict", where: r.iface, vrid: r.vrid, src: r.src})
	if !ok {
		return
	}
	e.report(Entry{Instance: i.cfg.Name, Event: "vrrp.conflict", Reason: r.reject.String(), Warn: true, Detail: fmt.Sprintf(
		"%s (%s) uses virtual_router_id %d on %s as well, version %d, priority %d, for %s: %s. Its adverts are refused and both go on as owner of their own addresses. "+
			"If it is to be of this group, give it the same addresses, version, authentication, advert_int and unicast_peer; if not, give one of the two another virtual_router_id%s%s",
		r.src, MAC(r.MAC), r.vrid, r.iface, r.Version, r.Priority, words(r.VIPs), r.rejected, e.freeText(r.iface), more)})
}

// FreeVRIDs proposes ids that nobody uses on a segment, at most n.
func FreeVRIDs(used map[int]bool, n int) []int {
	var free []int
	for id := 1; id <= 255 && len(free) < n; id++ {
		if !used[id] {
			free = append(free, id)
		}
	}
	return free
}

func (e *Elector) freeText(iface string) string {
	used := map[int]bool{}
	for k := range e.byVRID {
		if k.iface == iface {
			used[int(k.vrid)] = true
		}
	}
	for _, r := range e.census.rows {
		if r.iface == iface {
			used[int(r.vrid)] = true
		}
	}
	free := FreeVRIDs(used, 3)
	if len(free) == 0 {
		return " (all are in use on this segment)"
	}
	return " (free here: " + strings.Trim(fmt.Sprint(free), "[]") + ")"
}

// claimed answers somebody who says that an address we hold is his: the others are told again where it is.
func (e *Elector) claimed(ev Claimed) {
	l := e.links[ev.Interface]
	if l == nil || ev.MAC == l.MAC {
		return
	}
	for _, i := range e.instances {
		// Another owner of the group announces itself from the virtual address when it takes over. It answers from there only
		// if it believes to be the owner all the while: a killed router whose interface stayed.
		if i.m.State() != vrrp.Master || ev.MAC == i.virtualMAC() && ev.What != "ARP reply" {
			continue
		}
		for _, v := range i.all {
			if v.Prefix.Addr() != ev.Addr || e.parent(i.dev(v)) != ev.Interface {
				continue
			}
			e.answerLater(i.dev(v), ev.Addr)
			// Two owners for a moment are part of every election; a notice is due if it goes on.
			if more, ok := e.census.told.due(e.now, subject{kind: "claim", where: ev.Interface + " " + ev.Addr.String(), mac: ev.MAC}); ok {
				e.report(Entry{Instance: i.cfg.Name, Event: "vrrp.claimed", Warn: true, Detail: fmt.Sprintf(
					"%s on %s says by %s that %s is its own, which is ours: announced again%s; find the host by its Ethernet address and take %s from it",
					MAC(ev.MAC), ev.Interface, ev.What, ev.Addr, more, ev.Addr)})
			}
			return
		}
	}
}

// answer is an announcement that follows a claim of somebody else.
type answer struct {
	iface string
	addr  netip.Addr
	due   time.Duration // never: none is due
	last  time.Duration // of the one before
}

// answerLater announces an address a moment after a claim, if it is still ours then: of two owners that have just heard each
// other the loser must have stepped down, or it would have the last word. A claim within a second of the last
// answer is answered too, at the end of that second.
func (e *Elector) answerLater(iface string, addr netip.Addr) {
	at := slices.IndexFunc(e.answers, func(a answer) bool { return a.iface == iface && a.addr == addr })
	if at < 0 {
		if len(e.answers) >= claimRows {
			return
		}
		e.answers = append(e.answers, answer{iface: iface, addr: addr, due: e.now + claimDelay, last: never})
		return
	}
	if a := &e.answers[at]; a.due == never {
		a.due = max(e.now+claimDelay, a.last+claimEvery)
	}
}

// answerClaims sends what is due, and forgets what was answered long enough ago.
func (e *Elector) answerClaims() {
	e.answers = slices.DeleteFunc(e.answers, func(a answer) bool {
		return a.due == never && a.last+claimEvery <= e.now
	})
	for k := range e.answers {
		a := &e.answers[k]
		if a.due == never || a.due > e.now {
			continue
		}
		a.due, a.last = never, e.now
		if slices.ContainsFunc(e.instances, func(i *instance) bool { return i.holds(a.iface, a.addr) }) {
			e.emit(SendARP{Interface: a.iface, Addr: a.addr})
		}
	}
}

func (i *instance) holds(iface string, addr netip.Addr) bool {
	return i.m.State() == vrrp.Master && slices.ContainsFunc(i.all, func(v config.Address) bool {
		return v.Prefix.Addr() == addr && i.dev(v) == iface
	})
}

func (e *Elector) looped(ev Looped) {
	if more, ok := e.census.told.due(e.now, subject{kind: "loop", where: ev.Interface}); ok {
		e.report(Entry{Event: "vrrp.looped", Warn: true, Detail: fmt.Sprintf(
			"frames of our own (%s) come back in on %s%s: the network has a loop, a mirror port, or another host has our Ethernet address", MAC(ev.MAC), ev.Interface, more)})
	}
}

// Census lists who was heard in the last minutes, by interface, family, id and address.
func (e *Elector) Census() []HeardRouter {
	e.census.age(e.now)
	out := make([]HeardRouter, 0, len(e.census.rows))
	for _, r := range e.census.rows {
		h := HeardRouter{Interface: r.iface, VRID: int(r.vrid), Family: "ipv4", Address: r.src, Version: int(r.Version), Priority: int(r.Priority),
			Interval: r.Interval, Auth: r.Auth.String(), VIPs: []string{}, Packets: r.packets, Ours: e.byVRID[r.vridKey] != nil,
			FirstAt: r.first, LastAt: r.last}
		if r.v6 {
			h.Family = "ipv6"
		}
		if r.known {
			h.MAC = MAC(r.MAC)
		}
		if r.reject != 0 && h.Ours && e.now-r.rejectedAt <= reportEvery {
			h.Rejected = r.reject.String()
		}
		for _, v := range r.VIPs {
			h.VIPs = append(h.VIPs, v.String())
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b HeardRouter) int {
		if c := strings.Compare(a.Interface+a.Family, b.Interface+b.Family); c != 0 {
			return c
		}
		if a.VRID != b.VRID {
			return a.VRID - b.VRID
		}
		return a.Address.Compare(b.Address)
	})
	return out
}

// MAC is an Ethernet address in words.
func MAC(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

func words(list []netip.Addr) string {
	const most = 8
	var b strings.Builder
	for k, a := range list {
		if k == most {
			fmt.Fprintf(&b, " and %d more", len(list)-most)
			break
		}
		if k > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	if b.Len() == 0 {
		return "no addresses"
	}
	return b.String()
}
