package replay

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/vrrp"
)

// run is one host's claim to be the owner: its adverts without a gap in which it must have stopped.
type run struct {
	r        *router
	f        *profile
	src      netip.Addr
	mac      MAC
	prio     uint8
	interval time.Duration
	addrs    []netip.Addr
	foreign  bool // its adverts were refused

	first, last   time.Duration
	firstN, lastN int
	adverts       int
	active        bool
	ended         string
	end           time.Duration
	endN          int

	superAt  time.Duration // when a better one was heard after last
	superN   int
	superBy  *run
	farewell bool // the one advert more of higher_prio_send_advert was seen
}

func (u *run) outranks(o *run) bool {
	return u.prio > o.prio || u.prio == o.prio && u.src.Compare(o.src) > 0
}

// down is how long the others wait for it at most.
func (u *run) down() time.Duration { return vrrp.MasterDown(u.f.version, 1, u.interval, 0) }

// late reports that an advert that was due is missing.
func (u *run) late(now time.Duration) bool { return now-u.last > u.interval*3/2 }

func (u *run) close(why string, at time.Duration, n int) {
	u.active, u.ended, u.end, u.endN = false, why, at, n
}

// expire ends a claim that has yielded or gone silent.
func (u *run) expire(now time.Duration) {
	switch {
	case !u.active:
	case u.superBy != nil && u.late(now):
		u.close("outranked", u.superAt, u.superN)
	case now-u.last > u.down():
		u.close("silent", u.last, u.lastN)
	}
}

func (r *router) runOf(src netip.Addr) *run {
	for _, u := range r.runs {
		if u.src == src {
			return u
		}
	}
	return nil
}

// holds reports whether the host with this MAC claims to own the address.
func (r *router) holds(mac MAC, addr netip.Addr) bool {
	return slices.ContainsFunc(r.runs, func(u *run) bool {
		return u.active && u.mac == mac && slices.Contains(u.addrs, addr)
	})
}

// alive returns the owner of an address if its adverts come as they should.
func (r *router) alive(addr netip.Addr, now time.Duration) *run {
	for _, u := range r.runs {
		if u.active && !u.foreign && u.superBy == nil && !u.late(now) && slices.Contains(u.addrs, addr) {
			return u
		}
	}
	return nil
}

// owner returns the present owner among those whose configuration is the reference.
func (r *router) owner() *run {
	if r.ref != nil && r.ref.last != nil && r.ref.last.active {
		return r.ref.last
	}
	return nil
}

// claim takes an advert as what it says: its sender is MASTER, or leaves.
func (d *Decoder) claim(r *router, f *profile, p *packet, s *speaker) {
	now, n, a := d.now, p.frame.N, &p.advert
	me := r.runOf(p.ip.src)
	for _, u := range r.runs {
		if u != me {
			u.expire(now)
		}
	}
	if me != nil && (me.superBy != nil && me.late(now) || now-me.last > me.down()) {
		me.expire(now)
	}
	if me != nil && me.active && me.superBy != nil && me.superAt >= me.last && !me.superBy.active {
		me.close("outranked", me.superAt, me.superN) // it had yielded, and the better one is gone
	}
	if me != nil && me.active && now-me.last > 3*me.interval && !slices.ContainsFunc(r.runs, func(u *run) bool { return u != me && u.active }) {
		me.close("silent", me.last, me.lastN) // an owner that others do not keep from sending was not one in between
	}
	if me != nil && !me.active {
		me = nil
	}
	r.runs = slices.DeleteFunc(r.runs, func(u *run) bool { return !u.active })
	if a.Priority == vrrp.PriorityStop {
		if me != nil {
			me.close("priority-zero", now, n)
			if f.last == me {
				f.zeroAt, f.zeroBy = now, me.src
			}
		}
		return
	}
	if me == nil {
		if len(r.runs) >= maxSpeakers {
			return
		}
		me = &run{r: r, src: p.ip.src, first: now, firstN: n, active: true, foreign: true}
		r.runs = append(r.runs, me)
		if d.limit(len(d.owners)) {
			d.owners = append(d.owners, me)
		}
	}
	before := me.last
	me.f, me.mac, me.prio, me.interval = f, p.link.mac, a.Priority, a.Interval
	if p.fault == nil || me.adverts == 0 {
		me.addrs = d.list(a.Addrs, me.addrs, f.addrs)
	}
	me.foreign = me.foreign && p.fault != nil
	me.last, me.lastN = now, n
	me.adverts++
	d.elect(r, f, me, n)
	d.overlap(r, me, before)
	for _, u := range r.runs {
		if u != me && u.f == f && me.outranks(u) && (u.superBy == nil || u.superAt < u.last) {
			u.superAt, u.superN, u.superBy, u.farewell = now, n, me, false
		}
	}
}

// list remembers addresses, in one copy if they are known already.
func (d *Decoder) list(addrs []netip.Addr, known ...[]netip.Addr) []netip.Addr {
	for _, k := range known {
		if slices.Equal(addrs, k) {
			return k
		}
	}
	d.kept += len(addrs)
	return addrs
}

// elect records a change of owner among those with one configuration.
func (d *Decoder) elect(r *router, f *profile, me *run, n int) {
	prev := f.last
	if prev == me {
		return
	}
	e := Election{at: d.now, n: n, run: me, prev: prev}
	skew := vrrp.Skew(f.version, me.prio, f.interval)
	down := vrrp.MasterDown(f.version, me.prio, f.interval, 0)
	switch {
	case prev == nil:
		e.cause, e.text = "first-heard", "nobody was heard before it in this capture"
	case me.adverts > 1 && me.superBy == prev && me.outranks(prev) && d.now-me.superAt < lastWord:
		f.last, me.superBy = me, nil // its priority had risen unheard: it answers, and has never given way
		return
	case me.adverts > 1 && !prev.active:
		e.cause, e.text = "remaining", fmt.Sprintf("it claimed to be owner already; %v was last heard %s before", prev.src, human(d.now-prev.last))
	case me.adverts > 1 && !me.outranks(prev):
		return // the owner lives: see overlap
	case f.zeroBy == me.src:
		e.cause, e.gap = "return", d.now-f.zeroAt
		e.text = fmt.Sprintf("the same router again, %s after it said priority 0", human(e.gap))
	case f.zeroBy.IsValid() && d.now-f.zeroAt < skew*9/10 && me.prio > prev.prio:
		e.cause = "preempt"
		e.text = fmt.Sprintf("priority %d > %d of %v, which had said priority 0 %s before: sooner than skew time %s, so it was about to anyway",
			me.prio, prev.prio, prev.src, human(d.now-f.zeroAt), human(skew))
	case f.zeroBy.IsValid():
		e.cause, e.gap, e.expected = "priority-zero", d.now-f.zeroAt, skew
		e.text = fmt.Sprintf("%v said priority 0 %s before, skew time is %s", f.zeroBy, human(e.gap), human(skew))
		if e.gap > skew+f.interval/2 {
			e.text += "; it waited longer: for its sync group, or it was not there to hear it"
		}
	case !prev.active || prev.late(d.now) && prev.superBy == nil:
		e.cause, e.gap, e.expected = "master-down", d.now-prev.last, down
		e.text = fmt.Sprintf("nothing from %v for %s, master-down interval is %s", prev.src, human(e.gap), human(down))
		if e.gap < down-f.interval/2 {
			e.text += fmt.Sprintf("; %d missing adverts only: down_timer_adverts, or it heard what we did not", int((e.gap-skew+f.interval/2)/f.interval))
		}
		if prev.active {
			prev.close("silent", prev.last, prev.lastN)
		}
		if prev.src == me.src {
			e.cause, e.text = "return", fmt.Sprintf("the same router again after %s of silence", human(e.gap))
		}
	case me.prio > prev.prio && me.prio == vrrp.PriorityOwner:
		e.cause, e.text = "owner", fmt.Sprintf("priority 255 (owner of the addresses) > %d of %v", prev.prio, prev.src)
	case me.prio > prev.prio:
		e.cause, e.text = "preempt", fmt.Sprintf("priority %d > %d of %v", me.prio, prev.prio, prev.src)
	case me.outranks(prev):
		e.cause, e.text = "higher-address", fmt.Sprintf("priority %d like %v, whose address is lower", me.prio, prev.src)
	default:
		return // it claims, but the owner lives: see overlap
	}
	f.last, f.zeroBy = me, netip.Addr{}
	me.superBy = nil
	if f != r.ref && prev == nil {
		return // a stranger; the conflict says so
	}
	if d.limit(len(d.elections)) {
		d.elections = append(d.elections, e)
	}
}

// two is an interval in which two hosts claimed one virtual router.
type two struct {
	a, b     *run // a was there first
	from, to time.Duration
	fromN    int
	toN      int
	lastBy   *run
}

// lastWord is how soon after a better advert the one of higher_prio_send_advert comes.
const lastWord = 50 * time.Millisecond

// overlap notices that somebody else claims the same. A better one that has just appeared is given the time to be
// heard; a worse one, or one that does not take part in the same election, makes two owners at once.
func (d *Decoder) overlap(r *router, me *run, before time.Duration) {
	for _, u := range r.runs {
		if u == me {
			continue
		}
		better := u.f == me.f && me.outranks(u)
		alive := d.now-u.last <= u.down()
		if u.f == me.f {
			alive = !u.late(d.now)
		}
		if t := d.openTwo(me, u); t != nil && d.now-t.to <= max(me.down(), u.down()) {
			if t.lastBy != me || t.b == me && !better && alive {
				t.to, t.toN, t.lastBy = d.now, me.lastN, me
			}
			continue
		}
		if better || !alive {
			continue
		}
		if me.superBy == u && !me.farewell && d.now-me.superAt < lastWord {
			me.farewell = true
			continue
		}
		t := &two{a: u, b: me, from: d.now, fromN: me.lastN, to: d.now, toN: me.lastN, lastBy: me}
		if me.adverts > 1 && u.first > before { // it goes on although the other one is there
			t.a, t.b, t.from, t.fromN = me, u, u.first, u.firstN
		}
		if d.limit(len(d.twos)) {
			d.twos = append(d.twos, t)
		}
	}
}

func (d *Decoder) openTwo(a, b *run) *two {
	for i := len(d.twos) - 1; i >= max(0, len(d.twos)-4*maxSpeakers); i-- {
		if t := d.twos[i]; t.a == a && t.b == b || t.a == b && t.b == a {
			return t
		}
	}
	return nil
}

// side is one party of a conflict.
type side struct {
	src  netip.Addr
	mac  MAC
	vrid uint8
	vips []netip.Addr
}

func sideOf(p *packet) side {
	return side{src: p.ip.src, mac: p.link.mac, vrid: p.vrid, vips: p.advert.Addrs}
}

// conflict is what one foreign sender does to one virtual router.
type conflict struct {
	r           *router
	reasons     []string
	texts       []string
	theirs      side
	ours        side
	count       int
	first, last time.Duration
	firstN      int
	lastN       int
}

// conflict records a refusal that says more than "damaged": somebody runs something else.
func (d *Decoder) conflict(r *router, p *packet, owner *run, theirs side) {
	if theirs.vrid == 0 && p.proto != ProtoARP && p.proto != ProtoND {
		theirs.vrid = p.vrid
	}
	p.told = true
	var c *conflict
	for i := len(d.conflicts) - 1; i >= max(0, len(d.conflicts)-4*maxSpeakers); i-- {
		// One host that announces many addresses is one conflict.
		if o := d.conflicts[i]; o.r == r && (o.theirs.src == theirs.src || theirs.vrid == 0) && o.theirs.mac == theirs.mac && o.theirs.vrid == theirs.vrid {
			c = o
			break
		}
	}
	if c == nil {
		if !d.limit(len(d.conflicts)) {
			return
		}
		d.kept += len(theirs.vips)
		c = &conflict{r: r, theirs: theirs, first: d.now, firstN: p.frame.N}
		d.conflicts = append(d.conflicts, c)
	}
	if owner == nil && r.ref != nil {
		owner = r.ref.last
	}
	if owner != nil && !c.ours.src.IsValid() {
		c.ours = side{owner.src, owner.mac, r.key.vrid, owner.addrs} // the first one it got in the way of
	}
	if !slices.Contains(c.reasons, p.fault.word) {
		c.reasons = append(c.reasons, p.fault.word)
		c.texts = append(c.texts, p.fault.text)
	}
	if len(c.theirs.vips) == 0 {
		c.theirs.vips = d.list(theirs.vips)
	} else if theirs.vrid == 0 && len(c.theirs.vips) < 256 && !slices.Contains(c.theirs.vips, theirs.src) {
		c.theirs.vips = append(c.theirs.vips, theirs.src)
		d.kept++
	}
	c.count++
	c.last, c.lastN = d.now, p.frame.N
}
