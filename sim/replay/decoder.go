package replay

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/vrrp"
)

// Counts says how much there was.
type Counts struct {
	Frames, Packets  int // of the capture, and lines
	Adverts          int // among the lines, right or not
	Refused          int // lines with the verdict reject
	First, Last      time.Time
	Unstamped, Steps int // frames without a time; clocks set back
}

// Options of a Decoder.
type Options struct {
	// AuthPass is the password of auth_type AH; with CheckAH the check values are recomputed.
	AuthPass string
	CheckAH  bool
}

// Line is what there is to say about one packet.
type Line struct {
	N         int
	Time      time.Time
	Since     time.Duration // since the first frame of the capture
	Interface string        // capture interface and VLAN, empty if there is nothing to tell apart
	Proto     Proto
	VRID      uint8 // 0 when it cannot be told; of ARP and neighbour advertisements the VRID that owns the address
	Version   uint8 // 0 for ARP and neighbour advertisements
	Src, Dst  netip.Addr
	MAC       MAC // sender's
	OK        bool
	// Word is the reason of a refusal, one of vrrp.RejectReason or of the words listed in doc.go. Empty when OK.
	Word string
	// Text says what it is or why it is refused, in one sentence.
	Text string
}

// Reason is word and sentence, as JSON shows it.
func (l Line) Reason() string {
	if l.Word == "" {
		return l.Text
	}
	return l.Word + ": " + l.Text
}

// Verdict returns ok or reject.
func (l Line) Verdict() string {
	if l.OK {
		return "ok"
	}
	return "reject"
}

// Limits of what is remembered. A capture, or a live segment, may hold anything.
const (
	maxRouters   = 4096 // VRIDs times segments
	maxSpeakers  = 64   // per VRID
	maxAddresses = 16384
	maxKept      = 1 << 20 // addresses in the lists of all of them
	maxEvents    = 10000   // of each kind in the summary
)

// Decoder judges packets one after another. It learns who runs which VRID, and judges the next one by that.
type Decoder struct {
	key   *vrrp.AHKey
	begin time.Time
	now   time.Duration // on the clock of the frame at hand
	clock *clock        // that one
	count Counts

	clocks  map[string]*clock // by capture interface
	skipped map[LinkType]int  // frames of link types that are not read
	parts   []*parts          // of packets that came in fragments
	lost    int               // fragments whose packet never got complete
	headers int               // authentication headers
	cut     int               // adverts of which the capture has but the begin

	routers []*router // in order of appearance
	index   map[routerKey]*router
	hosts   map[hostKey]host      // who has which source address
	vips    map[hostKey][]*router // whose virtual address it is

	elections []Election
	owners    []*run
	twos      []*two
	conflicts []*conflict
	refusals  []*Refusal
	kept      int // addresses in remembered lists
	dropped   int // events beyond maxEvents
	forgotten int // packets that were judged by themselves only, as too much had to be remembered

	recent   []datagram        // adverts of the last moments, on whichever port
	segments map[string]string // ports that belong together: each points to another, or is missing
}

type hostKey struct {
	port string
	addr netip.Addr
}

type host struct {
	mac  MAC
	seen time.Duration
	n    int
}

// New returns a Decoder that knows nobody.
func New(o Options) *Decoder {
	d := &Decoder{index: map[routerKey]*router{}, hosts: map[hostKey]host{}, vips: map[hostKey][]*router{},
		clocks: map[string]*clock{}, skipped: map[LinkType]int{}, segments: map[string]string{}}
	if o.CheckAH {
		d.key = vrrp.NewAHKey(o.AuthPass)
	}
	return d
}

// Decode runs a capture through a Decoder. Each line goes to emit as soon as its packet is read, whose error ends
// it. The error of a damaged file comes with the summary of what was read before.
func Decode(frames iter.Seq2[Frame, error], o Options, emit func(Line) error) (Summary, error) {
	d := New(o)
	for f, err := range frames {
		if err != nil {
			return d.Summary(), err
		}
		if l, ok := d.Frame(f); ok {
			if err := emit(l); err != nil {
				return d.Summary(), err
			}
		}
	}
	return d.Summary(), nil
}

// Frame takes the next frame; it is not ok when there is no line about it.
func (d *Decoder) Frame(f Frame) (Line, bool) {
	d.tick(f)
	p, ok := read(f)
	if !ok {
		if !f.Link.known() {
			d.skipped[f.Link]++
		}
		return Line{}, false
	}
	if p.ip.frag != nil && p.fault == nil {
		if frames, whole := d.join(&p); whole {
			p.whole = frames
			d.count.Refused -= len(frames) - 1
			p.transport()
		}
	}
	l := Line{N: f.N, Time: f.Time, Since: d.since(f), Interface: p.link.port, Proto: p.proto,
		VRID: p.vrid, Version: p.ver, Src: p.ip.src, Dst: p.ip.dst, MAC: p.link.mac}
	switch p.proto {
	case ProtoVRRP, ProtoAH:
		d.count.Adverts++
		l.Text = d.advert(&p)
	default:
		if p.proto == ProtoARP {
			l.Src, l.MAC = p.arp.spa, p.arp.sha
		}
		l.VRID, l.Text = d.neighbour(&p)
		if p.proto == ProtoARP && !p.arp.gratuitous && l.VRID == 0 && p.fault == nil {
			return Line{}, false
		}
	}
	d.count.Packets++
	if l.OK = p.fault == nil; !l.OK {
		d.refuse(&p)
		l.Word, l.Text = p.fault.word, p.fault.text
	}
	if len(p.whole) > 0 {
		l.Text += fmt.Sprintf("; put together from fragments, packets %v", p.whole)
	}
	return l, true
}

// since is what the line shows.
func (d *Decoder) since(f Frame) time.Duration {
	if f.Time.IsZero() {
		return d.now
	}
	return sinceOf(d.begin, f.Time)
}

// tick reads the clock of the frame's interface.
func (d *Decoder) tick(f Frame) {
	d.count.Frames++
	if d.clock = d.clocks[f.Interface]; d.clock == nil {
		d.clock = &clock{now: d.now}
		if len(d.clocks) < maxInterfaces {
			d.clocks[f.Interface] = d.clock
		}
	}
	if d.now = d.clock.now; f.Time.IsZero() {
		d.count.Unstamped++
		return
	}
	if d.begin.IsZero() {
		d.begin = f.Time
	}
	if d.clock.read(d.begin, f.Time) {
		d.count.Steps++
	}
	d.now = d.clock.now
	if d.count.First.IsZero() || f.Time.Before(d.count.First) {
		d.count.First = f.Time
	}
	if f.Time.After(d.count.Last) {
		d.count.Last = f.Time
	}
}

// neighbour judges who says to have an address: a virtual one may be announced by its owner only.
func (d *Decoder) neighbour(p *packet) (vrid uint8, text string) {
	text = p.what
	if p.fault == nil && !p.addr.IsValid() { // a probe (RFC 5227)
		if routers := d.vips[hostKey{p.link.port, p.arp.tpa}]; len(routers) > 0 {
			vrid = routers[0].key.vrid
			text += fmt.Sprintf(" It is a virtual address of VRID %d: whoever asks would take it if nobody answered", vrid)
		}
		return vrid, text
	}
	if p.fault != nil {
		return 0, text
	}
	routers := d.vips[hostKey{p.link.port, p.addr}]
	if len(routers) == 0 {
		return 0, text
	}
	for _, r := range routers {
		if p.mac.virtual(r.key.vrid) || r.holds(p.mac, p.addr) {
			return r.key.vrid, text
		}
	}
	r := routers[0]
	owner := r.alive(p.addr, d.now)
	if owner == nil {
		if s := r.speakerOf(p.mac); s != nil {
			text += fmt.Sprintf(" (%v)", s.src)
		}
		return r.key.vrid, text + "; no owner is heard just now"
	}
	who := p.mac.String()
	if s := r.speakerOf(p.mac); s != nil {
		who = fmt.Sprintf("%v (%v), which does not advertise VRID %d any more,", s.src, p.mac, r.key.vrid)
	}
	p.refuse("foreign_owner", "%v belongs to VRID %d of %v (%v), but %s says to have it", p.addr, r.key.vrid, owner.src, owner.mac, who)
	d.conflict(r, p, owner, side{src: p.addr, mac: p.mac, vips: []netip.Addr{p.addr}})
	return r.key.vrid, text
}

// limit reports whether another event may be kept.
func (d *Decoder) limit(n int) bool {
	if n < maxEvents {
		return true
	}
	d.dropped++
	return false
}

func words(list []netip.Addr) string {
	out := make([]string, 0, min(len(list), 9))
	for n, a := range list {
		if n == 8 && len(list) > 9 {
			out = append(out, fmt.Sprintf("and %d more", len(list)-8))
			break
		}
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}

// sameSet compares address lists as sets.
func sameSet(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	return slices.Equal(a, b) || slices.Equal(setOf(a), setOf(b))
}

func setOf(list []netip.Addr) []netip.Addr {
	s := slices.SortedFunc(slices.Values(list), netip.Addr.Compare)
	return slices.Compact(s)
}
