package replay

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/vrrp"
)

// routerKey is one VRID of one address family on one segment. IPv4 and IPv6 routers with the same VRID are
// different ones (RFC 9568 5.2.3).
type routerKey struct {
	port string
	ip6  bool
	vrid uint8
}

// router is a virtual router: what its members have in common and who they are.
type router struct {
	key      routerKey
	clock    *clock
	ref      *profile // what the first speaker, or the owner since, runs; the others are judged by it
	profiles []*profile
	speakers []*speaker
	spoke    *speaker // the last one
	runs     []*run   // of those who claim to be owner just now
}

// profile is what all members of a virtual router must agree on.
type profile struct {
	proto    Proto
	version  uint8
	auth     vrrp.AuthType
	data     [8]byte
	interval time.Duration
	addrs    []netip.Addr
	set      []netip.Addr // the same, sorted
	unicast  bool
	form     vrrp.ChecksumForm
	part     bool // the capture has but the begin of its adverts
	count    int  // of addresses

	src    netip.Addr // who was heard last with it
	seen   time.Duration
	seq    uint32 // AH: the highest that was seen
	hasSeq bool

	last   *run // the owner, or the last one
	zeroAt time.Duration
	zeroBy netip.Addr // valid: that owner said priority 0, and nobody followed yet
}

type speaker struct {
	src netip.Addr
	mac MAC

	// the last advert
	id    uint16 // of the IPv4 packet
	sum   uint64 // of the message
	seen  time.Duration
	n     int
	again int // how many were repeated
}

func (p *packet) profile() *profile {
	a := &p.advert
	return &profile{
		proto: p.proto, version: a.Version, auth: a.AuthType, data: a.AuthData, interval: a.Interval,
		addrs: a.Addrs, set: setOf(a.Addrs), unicast: !p.ip.dst.IsMulticast(), form: a.Checksum,
		part: p.part, count: p.addresses(), src: p.ip.src,
	}
}

// differs says in what an advert does not fit the profile, in the order keepalived 2.2.7 checks; nil if it fits.
func (f *profile) differs(p *packet) *fault {
	a := &p.advert
	bad := func(r vrrp.RejectReason, format string, args ...any) *fault {
		return &fault{r.String(), fmt.Sprintf(format, args...) + fmt.Sprintf(", as %v sends", f.src)}
	}
	switch {
	case a.Version != f.version:
		return bad(vrrp.RejectVersion, "version %d, expected %d", a.Version, f.version)
	case p.proto != f.proto:
		return bad(vrrp.RejectAuthType, "authentication header %s, expected %s", yes(p.proto == ProtoAH), yes(f.proto == ProtoAH))
	case a.Version == 2 && a.AuthType != f.auth:
		return bad(vrrp.RejectAuthType, "auth type %v, expected %v", a.AuthType, f.auth)
	case a.AuthType == vrrp.AuthPass && a.AuthData != f.data && !p.part && !f.part:
		return bad(vrrp.RejectAuth, "password differs from the one")
	case a.Version == 2 && a.Interval != f.interval:
		return bad(vrrp.RejectInterval, "interval %v, expected %v", a.Interval, f.interval)
	case p.addresses() != f.count || !p.sameAddresses(f):
		return bad(vrrp.RejectAddrList, "addresses %s, expected %s", words(a.Addrs), words(f.addrs))
	case f.unicast == p.ip.dst.IsMulticast():
		return bad(vrrp.RejectDestination, "sent to %v, expected %s", p.ip.dst, cast(f.unicast))
	case a.Version == 3 && !p.advertIs6() && a.Checksum != f.form && !p.part && !f.part &&
		a.Checksum != vrrp.ChecksumOldUnicast && f.form != vrrp.ChecksumOldUnicast:
		return bad(vrrp.RejectChecksum, "checksum over the %s, expected over the %s: keepalived 2.2.7 and FRR 8.4 refuse this; set v3_checksum_as_v2 alike everywhere",
			sumOf(a.Checksum), sumOf(f.form))
	}
	return nil
}

// addrs are the addresses of the advert, sorted.
func (p *packet) addrs() []netip.Addr {
	if p.set == nil {
		p.set = setOf(p.advert.Addrs)
	}
	return p.set
}

// addresses is how many the whole advert has.
func (p *packet) addresses() int {
	if p.part {
		return p.count
	}
	return len(p.advert.Addrs)
}

// sameAddresses compares address lists, as far as the capture has them.
func (p *packet) sameAddresses(f *profile) bool {
	a := p.advert.Addrs
	if p.part || f.part {
		n := min(len(a), len(f.addrs))
		return slices.Equal(a[:n], f.addrs[:n])
	}
	return slices.Equal(a, f.addrs) || slices.Equal(p.addrs(), f.set)
}

func (p *packet) advertIs6() bool { return p.ip.src.Is6() }

func yes(b bool) string {
	if b {
		return "present"
	}
	return "absent"
}

func cast(unicast bool) string {
	if unicast {
		return "unicast"
	}
	return "multicast"
}

func sumOf(f vrrp.ChecksumForm) string {
	switch f {
	case vrrp.ChecksumMessage:
		return "message only (RFC 9568)"
	case vrrp.ChecksumOldUnicast:
		return "pseudo-header of 224.0.0.18 (old_unicast_checksum)"
	default:
		return "pseudo-header (RFC 5798)"
	}
}

// advert judges an advert by what is known of its segment and returns what it is, in words.
func (d *Decoder) advert(p *packet) string {
	key := routerKey{p.link.port, p.ip.src.Is6(), p.vrid}
	r := d.index[key]
	if p.fault != nil {
		d.misfit(r, p)
		return ""
	}
	if p.part {
		d.cut++
	}
	d.recognise(p)
	if r == nil || len(p.advert.Addrs) > maxKept-d.kept {
		if len(d.routers) >= maxRouters || len(p.advert.Addrs) > maxKept-d.kept {
			d.forgotten++
			return p.describe() + "; judged by itself only, as there is more than is remembered"
		}
		r = &router{key: key, clock: d.clock}
		d.index[key] = r
		d.routers = append(d.routers, r)
	}
	text := p.describe()
	if p.proto == ProtoAH {
		d.headers++
		text += fmt.Sprintf(", sequence %d", p.ah.Sequence)
	}
	if d.ownSource(r, p) {
		return text
	}
	if note := d.verifyAH(p); note != "" {
		text += ", " + note
	}
	if p.fault != nil {
		d.conflict(r, p, r.owner(), sideOf(p))
		return text
	}
	before := d.now // when this profile was heard last
	if r.ref != nil {
		before = r.ref.seen
	}
	f, note := d.fit(r, p)
	if note != "" {
		text += "; " + note
	}
	if p.proto == ProtoAH && f.hasSeq && p.ah.Sequence <= f.seq && f == r.ref && d.now-before > 3*f.interval {
		// Nobody else was there to be heard from: a restarted router counts from 1.
		text += fmt.Sprintf("; the sequence starts again, members that heard %d refuse it", f.seq)
		f.hasSeq = false
	}
	s := r.speaker(p)
	if r.repeats(s, p, d.now) {
		text += fmt.Sprintf("; the same datagram as packet %d: a loop, or captured twice", s.n)
		d.loop(r, s, p)
	}
	s.heard(r, p, d.now)
	if p.fault == nil && f.replayed(p) {
		p.refuse(vrrp.RejectSequence.String(), "sequence number %d after %d: a replay, or a sender that has not heard the others", p.ah.Sequence, f.seq)
		return text
	}
	d.claim(r, f, p, s)
	return text
}

// misfit takes an advert that is wrong by itself. It is a conflict when another than the owner keeps sending it for a VRID
// that is in use; the owner's own are damaged on the way.
func (d *Decoder) misfit(r *router, p *packet) {
	switch p.fault.word {
	case "truncated", "fragment", "ip_header", "ip_checksum":
		return
	}
	if r == nil {
		return
	}
	if o := r.owner(); o == nil || o.src != p.ip.src {
		d.conflict(r, p, o, side{src: p.ip.src, mac: p.link.mac, vrid: p.vrid})
	}
}

func (p *packet) describe() string {
	a := &p.advert
	list := words(a.Addrs)
	switch {
	case p.part && len(a.Addrs) == 0:
		list = fmt.Sprintf("cut before its addresses (%d)", p.count)
	case p.part:
		list += fmt.Sprintf(", cut (addresses: %d of %d)", len(a.Addrs), p.count)
	}
	s := fmt.Sprintf("priority %d, interval %v, %s", a.Priority, a.Interval, list)
	if a.AuthType != vrrp.AuthNone {
		s += fmt.Sprintf(", auth %v", a.AuthType)
	}
	if a.Priority == vrrp.PriorityStop {
		s = "priority 0: leaves, " + list
	}
	return s
}

// ownSource notices two hosts that send from one address: by far the most likely, somebody replays or forges.
func (d *Decoder) ownSource(r *router, p *packet) bool {
	if p.link.mac == (MAC{}) {
		return false
	}
	k := hostKey{p.link.port, p.ip.src}
	h, ok := d.hosts[k]
	known := ok && h.mac != p.link.mac && !p.link.mac.virtual(p.vrid) && !h.mac.virtual(p.vrid)
	if known && d.now-h.seen < 4*p.advert.Interval {
		p.refuse(vrrp.RejectOwnSource.String(), "source %v belongs to %v (packet %d), this came from %v: forged, looped back, or two hosts with one address",
			p.ip.src, h.mac, h.n, p.link.mac)
		d.conflict(r, p, nil, side{src: p.ip.src, mac: p.link.mac, vips: p.advert.Addrs})
		return true
	}
	if ok || len(d.hosts) < maxAddresses {
		d.hosts[k] = host{p.link.mac, d.now, p.frame.N}
	}
	return false
}

func (d *Decoder) verifyAH(p *packet) string {
	if p.proto != ProtoAH {
		return ""
	}
	if d.key == nil || p.part {
		return "check value not checked"
	}
	if err := d.key.Verify(&p.ah, p.ip.header, p.ip.payload); err != nil {
		p.fail(err)
		return ""
	}
	return "check value right"
}

// replayed reports a sequence number that is not above all before. The counter is one for all members
// (keepalived 2.2.7, measured): a new owner goes on from the last number it heard.
func (f *profile) replayed(p *packet) bool {
	if p.proto != ProtoAH {
		return false
	}
	if f.hasSeq && p.ah.Sequence <= f.seq {
		return true
	}
	f.seq, f.hasSeq = p.ah.Sequence, true
	return false
}

// fit finds or makes the profile an advert belongs to, and refuses the advert if it is not the reference.
func (d *Decoder) fit(r *router, p *packet) (f *profile, note string) {
	switch {
	case r.ref == nil:
		if other := d.taken(r, p); other != nil {
			owner := other.alive(p.advert.Addrs[0], d.now)
			for _, a := range p.advert.Addrs {
				if o := other.alive(a, d.now); o != nil {
					owner = o
				}
			}
			p.refuse("foreign_owner", "VRID %d claims an address of VRID %d (%s)", p.vrid, other.key.vrid, words(other.ref.addrs))
			d.conflict(other, p, owner, sideOf(p))
		}
		r.ref = d.add(r, p)
		f, note = r.ref, fmt.Sprintf("first advert of VRID %d", r.key.vrid)
		switch {
		case f.version != 3 || p.advertIs6() || p.part:
		case f.form == vrrp.ChecksumMessage:
			note += "; checksum over the " + sumOf(f.form) + ", which keepalived 2.2.7 and FRR 8.4 refuse"
		case f.form == vrrp.ChecksumOldUnicast:
			note += "; checksum over the " + sumOf(f.form)
		}
		if p.fault != nil {
			r.ref = nil // the next speaker may be the genuine one
		}
	case r.ref.differs(p) == nil:
		f = r.ref
		if f.version == 3 && p.advert.Interval != f.interval {
			note = fmt.Sprintf("interval %v, before %v from %v", p.advert.Interval, f.interval, f.src)
			if p.advert.Interval >= 4*f.interval {
				note += fmt.Sprintf("; backups that learn it wait %s", human(vrrp.MasterDown(3, 100, p.advert.Interval, 0)))
			}
		} else {
			f.src = p.ip.src
		}
		if p.part || f.part {
			break
		}
		if p.advert.Checksum == vrrp.ChecksumOldUnicast {
			note = join(note, "checksum over the "+sumOf(p.advert.Checksum))
		} else if f.form == vrrp.ChecksumOldUnicast {
			note = join(note, fmt.Sprintf("checksum is right, but %v needs old_unicast_checksum", f.src))
		}
	case r.mayChange(p, d.now):
		note = "changed: " + r.ref.differs(p).text
		old := r.ref
		r.ref = d.add(r, p)
		r.ref.last, r.ref.seq = old.last, 0
		f = r.ref
	default:
		p.fault = r.ref.differs(p)
		f = r.find(p)
		if f == nil {
			f = d.add(r, p)
		}
		d.conflict(r, p, r.owner(), sideOf(p))
	}
	f.seen = d.now
	if p.proto == ProtoVRRP && p.advertIs6() && !p.ip.src.IsLinkLocalUnicast() && p.ip.dst.IsMulticast() {
		note = join(note, "source is not link-local, which RFC 9568 5.1.2.1 demands and keepalived does not check")
	}
	if p.fault == nil {
		d.remember(r, p)
	}
	return f, note
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

func (d *Decoder) add(r *router, p *packet) *profile {
	f := p.profile()
	if len(r.profiles) < maxSpeakers {
		r.profiles = append(r.profiles, f)
		d.kept += 2 * len(f.addrs)
	}
	return f
}

func (r *router) find(p *packet) *profile {
	for _, f := range r.profiles {
		if f != r.ref && f.differs(p) == nil {
			return f
		}
	}
	return nil
}

// mayChange says whether an advert that differs from the reference is its change rather than a conflict: the
// owner itself changed (a reload), or nobody who would disagree has been heard for two master-down intervals.
func (r *router) mayChange(p *packet, now time.Duration) bool {
	if r.ref.last != nil && r.ref.last.active && r.ref.last.src == p.ip.src && r.ref.last.mac == p.link.mac {
		return true
	}
	return now-r.ref.seen > 2*vrrp.MasterDown(r.ref.version, 1, r.ref.interval, 0)
}

// taken returns another router on this segment, with a living owner, that has one of the addresses.
func (d *Decoder) taken(r *router, p *packet) *router {
	for _, a := range p.advert.Addrs {
		for _, other := range d.vips[hostKey{r.key.port, a}] {
			if o := other.alive(a, d.now); other != r && o != nil && o.mac != p.link.mac {
				return other
			}
		}
	}
	return nil
}

// remember notes whose virtual addresses these are.
func (d *Decoder) remember(r *router, p *packet) {
	for _, a := range p.advert.Addrs {
		k := hostKey{r.key.port, a}
		list := d.vips[k]
		if !slices.Contains(list, r) && len(list) < 16 && len(d.vips) < maxAddresses {
			d.vips[k] = append(list, r)
		}
	}
}

func (r *router) speaker(p *packet) *speaker {
	for _, s := range r.speakers {
		if s.src == p.ip.src {
			return s
		}
	}
	s := &speaker{src: p.ip.src, mac: p.link.mac}
	if len(r.speakers) < maxSpeakers {
		r.speakers = append(r.speakers, s)
	}
	return s
}

func (r *router) speakerOf(mac MAC) *speaker {
	for _, s := range r.speakers {
		if s.mac == mac {
			return s
		}
	}
	return nil
}

// repeats notices the same datagram again: a loop in the network, or a capture on two ports of one switch. Datagrams
// without an identification (IPv6, and IPv4 of senders that leave it 0) are the same when nothing in them differs, nobody made
// the sender repeat itself, and no timer could.
func (r *router) repeats(s *speaker, p *packet, now time.Duration) bool {
	switch {
	case s.n == 0 || now-s.seen >= p.advert.Interval/2 || s.sum != fnv(p.ip.payload) || s.mac != p.link.mac:
		return false
	case p.ip.id != 0:
		return p.ip.id == s.id
	}
	return s.id == 0 && r.spoke == s && p.advert.Priority != vrrp.PriorityStop && now-s.seen < min(p.advert.Interval/10, 20*time.Millisecond)
}

func (s *speaker) heard(r *router, p *packet, now time.Duration) {
	r.spoke = s
	s.mac, s.id, s.seen, s.n, s.sum = p.link.mac, p.ip.id, now, p.frame.N, fnv(p.ip.payload)
}

// loop makes a conflict of datagrams that come again and again. A single one may have been doubled on its way; and
// without the interface, in "cooked" captures, each bridge and bond below shows it once more.
func (d *Decoder) loop(r *router, s *speaker, p *packet) {
	if s.again++; s.again < 2 || p.frame.Link == LinkSLL {
		return
	}
	was := p.fault
	p.fault = &fault{"loop", "the same datagrams come several times"}
	d.conflict(r, p, nil, sideOf(p))
	p.fault, p.told = was, was != nil && p.told
}

// human rounds a duration to what a reader can compare.
func human(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
