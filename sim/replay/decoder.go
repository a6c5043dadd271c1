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

// String is the line as people read it. Text of foreign origin is not in it, apart from interface names.
func (l Line) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%5d %+12.6f ", l.N, l.Since.Seconds())
	if l.Interface != "" {
		fmt.Fprintf(&b, "%s ", l.Interface)
	}
	fmt.Fprintf(&b, "%-4v ", l.Proto)
	switch {
	case l.Proto == ProtoARP:
		fmt.Fprintf(&b, "%v", l.MAC)
	case l.Src.IsValid():
		fmt.Fprintf(&b, "%v > %v", l.Src, l.Dst)
	}
	if l.VRID != 0 {
		fmt.Fprintf(&b, " vrid %d", l.VRID)
	}
	if l.Version != 0 {
		fmt.Fprintf(&b, " v%d", l.Version)
	}
	fmt.Fprintf(&b, "  %s  %s", l.Verdict(), l.Reason())
	return b.String()
}

// Limits of what is remembered. A capture, or a live segment, may hold anything.
const (
	maxRouters   = 4096 // VRIDs times segments
	maxSpeakers  = 64   // per VRID
	maxAddresses = 16384
	maxEvents    = 10000 // of each kind in the summary
)

// Decoder judges packets one after another. It learns who runs which VRID, and judges the next one by that.
type Decoder struct {
	key     *vrrp.AHKey
	begin   time.Time
	now     time.Duration
	packets int // of interest
	refused int

	routers []*router // in order of appearance
	index   map[routerKey]*router
	hosts   map[hostKey]host      // who has which source address
	vips    map[hostKey][]*router // whose virtual address it is

	elections []Election
	owners    []*run
	twos      []*two
	conflicts []*conflict
	dropped   int // events beyond maxEvents
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
	d := &Decoder{index: map[routerKey]*router{}, hosts: map[hostKey]host{}, vips: map[hostKey][]*router{}}
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

// Frame takes the next frame; it is not ok when the frame is no VRRP, AH, ARP or neighbour advertisement. Time
// must not run backwards; if it does, it stands still.
func (d *Decoder) Frame(f Frame) (Line, bool) {
	if d.begin.IsZero() {
		d.begin = f.Time
	}
	d.now = max(d.now, f.Time.Sub(d.begin))
	p, ok := read(f)
	if !ok {
		return Line{}, false
	}
	d.packets++
	l := Line{N: f.N, Time: f.Time, Since: f.Time.Sub(d.begin), Interface: p.link.port, Proto: p.proto,
		VRID: p.vrid, Version: p.ver, Src: p.ip.src, Dst: p.ip.dst, MAC: p.link.mac}
	switch p.proto {
	case ProtoVRRP, ProtoAH:
		l.Text = d.advert(&p)
	default:
		if p.proto == ProtoARP {
			l.Src, l.MAC = p.arp.spa, p.arp.sha
		}
		l.VRID, l.Text = d.neighbour(&p)
	}
	if l.OK = p.fault == nil; !l.OK {
		d.refused++
		l.Word, l.Text = p.fault.word, p.fault.text
	}
	return l, true
}

// neighbour judges who says to have an address: a virtual one may be announced by its owner only.
func (d *Decoder) neighbour(p *packet) (vrid uint8, text string) {
	text = p.what
	if p.fault != nil || !p.addr.IsValid() {
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
	if slices.Equal(a, b) {
		return true
	}
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			return false
		}
	}
	return true
}
