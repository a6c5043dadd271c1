package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/sim/wire"
	"quorate/vrrp"
)

// judge watches what the kernels do, never what a machine believes.
//
// S1, exclusive: two kernels that hold the same VIP, answer ARP for it and hear each other
// both ways do so for at most T = 3 x advert interval + skew of the lower priority +
// twice the longest delay + processing. Hosts that do not hear each other both ways are
// outside S1: plain VRRP has no means to know; such pairs are reported, not condemned.
//
// S4, lawful: see advert. S6, together and in order: see judge_sync.go. L1, live: see liveness.
type judge struct {
	w       *World
	vips    []netip.Addr // every VIP that any configuration has or had
	pairs   []pair
	history []holding
	// violations so far
	broken    int        // of S1
	unlawful  int        // of S4
	torn      int        // of S6
	misserved int        // of S5
	store     storeJudge // S3
}

// pair is two kernels that hold one VIP.
type pair struct {
	vip      netip.Addr
	a, b     *Host
	since    time.Duration // both hold
	together bool
	merged   time.Duration // since when they also hear each other
	said     bool          // a line about it was written
	gen      uint64
}

// holding is who held a VIP from an instant on.
type holding struct {
	vip  netip.Addr
	at   time.Duration
	held []string
}

// processing is allowed on top of the protocol's own times.
const processing = time.Millisecond

// learn brings the list of VIPs up to date with the configurations.
func (j *judge) learn() {
	for _, h := range j.w.hosts {
		if h.conf == nil {
			continue
		}
		for _, i := range h.conf.Instances {
			for _, v := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
				if a := v.Prefix.Addr(); !slices.Contains(j.vips, a) {
					j.vips = append(j.vips, a)
				}
			}
		}
	}
	slices.SortFunc(j.vips, netip.Addr.Compare)
	j.look()
}

// holders lists the hosts whose kernel holds an address on a card with carrier and so answers
// ARP for it.
func (j *judge) holders(vip netip.Addr) []*Host {
	var list []*Host
	for _, h := range j.w.hosts {
		if h.on && slices.ContainsFunc(h.nics, func(n *nic) bool { return n.up && n.has(vip) }) {
			list = append(list, h)
		}
	}
	return list
}

// hear reports whether two hosts hear each other both ways and reliably on a segment: directors each
// other's adverts, anybody else requests and ARP.
func hear(a, b *Host, segment int) bool {
	c := wire.ClassVRRP
	if !a.director || !b.director {
		c = wire.ClassICMP | wire.ClassARP
	}
	n, m := a.nics[segment], b.nics[segment]
	return n.lan.Reaches(n.port, m.port, c) && n.lan.Reaches(m.port, n.port, c) &&
		!n.lan.Lossy(n.port, m.port, c) && !n.lan.Lossy(m.port, n.port, c)
}

// rivals reports whether two hosts hold a VIP on one segment, on which they hear each other.
func rivals(vip netip.Addr, a, b *Host) bool {
	for i := range a.nics {
		if a.nics[i].has(vip) && b.nics[i].has(vip) && hear(a, b, i) {
			return true
		}
	}
	return false
}

// look is called after everything that may change who holds what or who hears whom.
func (j *judge) look() {
	for _, vip := range j.vips {
		held := j.holders(vip)
		j.remember(vip, held)
		for k, a := range held {
			for _, b := range held[k+1:] {
				j.both(vip, a, b)
			}
		}
	}
	j.pairs = slices.DeleteFunc(j.pairs, func(p pair) bool {
		held := j.holders(p.vip)
		if slices.Contains(held, p.a) && slices.Contains(held, p.b) {
			return false
		}
		if p.said {
			j.w.note("", EventOwners, fmt.Sprintf("%v is no longer held by both %s and %s; it was for %s",
				p.vip, p.a.Name, p.b.Name, seconds(j.w.now-p.since)))
		}
		return true
	})
}

func (j *judge) remember(vip netip.Addr, held []*Host) {
	names := make([]string, len(held))
	for i, h := range held {
		names[i] = h.Name
	}
	for i := len(j.history) - 1; i >= 0; i-- {
		if j.history[i].vip == vip {
			if slices.Equal(j.history[i].held, names) {
				return
			}
			break
		}
	}
	j.history = append(j.history, holding{vip: vip, at: j.w.now, held: names})
}

func (j *judge) both(vip netip.Addr, a, b *Host) {
	i := slices.IndexFunc(j.pairs, func(p pair) bool { return p.vip == vip && p.a == a && p.b == b })
	if i < 0 {
		j.pairs = append(j.pairs, pair{vip: vip, a: a, b: b, since: j.w.now})
		i = len(j.pairs) - 1
		j.pairs[i].together = !rivals(vip, a, b) // so that the first look below counts as a change
	}
	p := &j.pairs[i]
	together := rivals(vip, a, b)
	if together == p.together {
		return
	}
	p.together = together
	p.gen++
	if !together {
		p.said = true
		j.w.note("", EventOwners, fmt.Sprintf("%v is held by both %s and %s, which do not hear each other both ways: outside S1",
			vip, a.Name, b.Name))
		return
	}
	p.merged = j.w.now
	bound, gen := j.bound(vip, a, b), p.gen
	j.w.after(bound+time.Nanosecond, func() { j.overdue(vip, a, b, gen, bound) })
}

// overdue runs when a pair has had all the time it may have.
func (j *judge) overdue(vip netip.Addr, a, b *Host, gen uint64, bound time.Duration) {
	i := slices.IndexFunc(j.pairs, func(p pair) bool {
		return p.vip == vip && p.a == a && p.b == b && p.gen == gen && p.together
	})
	if i < 0 || j.w.now-j.pairs[i].merged <= bound {
		return
	}
	j.pairs[i].said = true
	j.broken++
	j.w.note("", EventViolation, fmt.Sprintf("S1 VIOLATED: %v is held by both %s and %s since %s, longer than T=%s [%s; %s]",
		vip, a.Name, b.Name, stamp(j.pairs[i].since), seconds(bound), a.describe(), b.describe()))
}

// bound is T of S1 for two hosts and a VIP.
func (j *judge) bound(vip netip.Addr, a, b *Host) time.Duration {
	var longest time.Duration
	for _, h := range []*Host{a, b} {
		if h.conf == nil {
			continue
		}
		for _, i := range h.conf.Instances {
			if hasVIP(i, vip) {
				longest = max(longest, masterDown(i))
			}
		}
	}
	var delay time.Duration
	for _, l := range j.w.lans {
		delay = max(delay, l.MaxDelay())
	}
	return longest + 2*delay + processing
}

// masterDown is the longest master-down interval an instance may have: at its base priority, or
// at priority 1 if scripts can lower it. It is computed here a second time, independently of
// the machine that is judged (RFC 3768 6.1, RFC 9568 6.1).
func masterDown(i *config.Instance) time.Duration { return MasterDown(i) }

// MasterDown is masterDown for runners on other backends.
func MasterDown(i *config.Instance) time.Duration {
	adverts := i.DownTimerAdverts.V
	if adverts == 0 {
		adverts = 3
	}
	unit := time.Second
	if i.Version.V == 3 {
		unit = i.AdvertInt.V
	}
	priority := i.Priority.V
	if len(i.TrackScripts) > 0 {
		priority = 1
	}
	return time.Duration(adverts)*i.AdvertInt.V + time.Duration(256-priority)*unit/256
}

// reachableOwners lists the hosts that hold a VIP and that a client reaches both ways.
func (j *judge) reachableOwners(vip netip.Addr, c *Host) []*Host {
	return slices.DeleteFunc(j.holders(vip), func(h *Host) bool {
		return !slices.ContainsFunc(h.nics, func(n *nic) bool { return n.has(vip) && hear(h, c, n.index()) })
	})
}

// exclusive sums up S1.
func (j *judge) exclusive() (line string, ok bool) { return tally("S1 exclusive", j.broken) }

// lawful sums up S4.
func (j *judge) lawful() (line string, ok bool) { return tally("S4 adverts", j.unlawful) }

func tally(what string, violations int) (line string, ok bool) {
	if violations == 0 {
		return what + ": ok", true
	}
	return fmt.Sprintf("%s: VIOLATED %d times", what, violations), false
}

// advert judges S4 for an advert that leaves: TTL 255, to 224.0.0.18 or ff02::12, from an address of the card
// that is no VIP, and from a MASTER unless it is the farewell with priority 0 (RFC 9568 5.1, 6.4).
func (j *judge) advert(h *Host, n *nic, p vrrp.Packet) {
	var wrong string
	p.Payload = message(p)
	switch {
	case len(p.Payload) < 8:
		wrong = fmt.Sprintf("of %d octets", len(p.Payload))
	case p.TTL != vrrp.TTL:
		wrong = fmt.Sprintf("with TTL %d", p.TTL)
	case p.Dst.IsMulticast() && p.Dst != vrrp.Group(p.Dst.Is6()):
		wrong = fmt.Sprintf("to %v", p.Dst)
	case !n.has(p.Src) || slices.Contains(j.vips, p.Src):
		wrong = fmt.Sprintf("from %v, which is no address of its own on %s", p.Src, n.name)
	case p.Payload[2] != vrrp.PriorityStop && p.Payload[2] != vrrp.PriorityOwner && h.overslept(p.Payload[1], p.Src.Is6()):
		wrong = fmt.Sprintf("with priority %d in the moment it wakes up after %s, in which others must have taken over", p.Payload[2], seconds(h.proc.slept))
	case p.Payload[2] != vrrp.PriorityStop && !h.masters(n, p.Payload[1], p.Src.Is6()):
		for _, s := range h.proc.m.Status() {
			if s.VRID == int(p.Payload[1]) && h.six(s.Name) == p.Src.Is6() && s.State != vrrp.Master.String() && !h.lastWord(s) {
				wrong = fmt.Sprintf("with priority %d while %s is %s", p.Payload[2], s.Name, s.State)
			}
		}
	}
	if wrong != "" {
		j.unlawful++
		j.w.note("", EventViolation, fmt.Sprintf("S4 VIOLATED: %s sends an advert %s", h.Name, wrong))
	}
}

// six reports whether an instance is one of IPv6, whose VRIDs are others than those of IPv4.
func (h *Host) six(instance string) bool {
	return slices.ContainsFunc(h.conf.Instances, func(i *config.Instance) bool { return i.Name == instance && i.Family.V == 6 })
}

// masters reports whether the instance of a VRID on a card is MASTER, as nine adverts in ten find it.
func (h *Host) masters(n *nic, vrid uint8, ipv6 bool) bool {
	_, state := h.proc.m.State(n.name, int(vrid), ipv6)
	return state == vrrp.Master
}

// overslept reports whether a director wakes up this moment from a sleep longer than others wait for the owner of a VRID.
func (h *Host) overslept(vrid uint8, six bool) bool {
	if h.proc.woke != h.w.now || h.proc.slept == 0 {
		return false
	}
	return slices.ContainsFunc(h.conf.Instances, func(i *config.Instance) bool {
		return i.VRID.V == int(vrid) && (i.Family.V == 6) == six && slices.Contains(h.proc.owned, i.Name) && h.proc.slept > masterDown(i)+i.AdvertInt.V
	})
}

// lastWord reports whether an instance may still advertise that has yielded this moment (higher_prio_send_advert).
func (h *Host) lastWord(s node.InstanceStatus) bool {
	return s.State == vrrp.Backup.String() && s.ChangedAt == h.mono() &&
		slices.ContainsFunc(h.conf.Instances, func(i *config.Instance) bool { return i.Name == s.Name && i.HigherPrioSendAdvert.V })
}

// liveness judges L1 at the present instant: every VIP that a reachable, running director is
// configured for has one owner within reach of each client, the client's neighbour entry
// points at it, and no running daemon has left an address behind.
func (j *judge) liveness() (lines []string, ok bool) {
	ok = true
	for _, h := range j.w.hosts {
		if list := h.strays(); len(list) > 0 {
			ok = false
			lines = append(lines, fmt.Sprintf("L1 VIOLATED: %s holds %v, which its configuration does not have", h.Name, list))
		}
	}
	for _, vip := range j.vips {
		for _, c := range j.w.hosts {
			if c.director || c.server {
				continue
			}
			line, good := j.live(vip, c)
			ok = ok && good
			lines = append(lines, line)
		}
	}
	return lines, ok
}

func (j *judge) live(vip netip.Addr, c *Host) (string, bool) {
	head := fmt.Sprintf("L1 %v from %s: ", vip, c.Name)
	candidates := slices.ContainsFunc(j.w.hosts, func(h *Host) bool { return h.candidate(vip, c) })
	owners := j.reachableOwners(vip, c)
	var names []string
	for _, h := range owners {
		names = append(names, h.Name)
	}
	switch {
	case len(owners) == 0 && !candidates:
		return head + "no director that could own it is within reach", true
	case len(owners) == 0:
		return head + "VIOLATED: nobody owns it though directors are within reach", false
	case len(owners) > 1:
		return head + "VIOLATED: owned by " + strings.Join(names, " and "), false
	}
	for _, n := range c.nics {
		e := n.neigh[vip]
		if e == nil || e.state == neighIncomplete || e.state == neighFailed {
			continue
		}
		if to := j.w.byMAC(e.mac); to != names[0] {
			return head + fmt.Sprintf("VIOLATED: %s owns it, but the client's neighbour entry points at %s", names[0], to), false
		}
		return head + fmt.Sprintf("ok, %s owns it and the client's neighbour entry points there", names[0]), true
	}
	return head + fmt.Sprintf("ok, %s owns it (the client has no neighbour entry)", names[0]), true
}

// candidate reports whether a running director is configured for the VIP on a segment where it
// and the client hear each other.
func (h *Host) candidate(vip netip.Addr, c *Host) bool {
	if !h.on || h.proc == nil || h.proc.paused || h.conf == nil {
		return false
	}
	return slices.ContainsFunc(h.conf.Instances, func(i *config.Instance) bool {
		n := h.nic(i.Interface.V)
		return hasVIP(i, vip) && n != nil && hear(h, c, n.index())
	})
}

func hasVIP(i *config.Instance, vip netip.Addr) bool {
	return slices.ContainsFunc(slices.Concat(i.VIPs, i.ExcludedVIPs), func(v config.Address) bool { return v.Prefix.Addr() == vip })
}

// strays lists addresses that a running daemon should have taken away: neither the kernel's own nor
// in its configuration.
func (h *Host) strays() (list []netip.Addr) {
	if !h.on || h.proc == nil || h.proc.paused || h.conf == nil {
		return nil
	}
	for _, n := range h.nics {
		for _, p := range n.addrs {
			if !slices.Contains(n.own(), p) && !slices.ContainsFunc(h.conf.Instances, func(i *config.Instance) bool { return hasVIP(i, p.Addr()) }) {
				list = append(list, p.Addr())
			}
		}
	}
	return list
}

// describe is a host's state in a few words.
func (h *Host) describe() string {
	switch {
	case !h.on:
		return h.Name + " crashed"
	case !h.director:
		return h.Name + " up"
	case h.proc == nil:
		return h.Name + " up, no daemon"
	}
	var b strings.Builder
	b.WriteString(h.Name)
	if h.proc.paused {
		b.WriteString(" paused")
	}
	for _, s := range h.proc.m.Status() {
		fmt.Fprintf(&b, " %s=%s", s.Name, s.State)
	}
	return b.String()
}
