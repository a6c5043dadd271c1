package wire

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// camAge is how long a switch remembers where a MAC address is (IEEE 802.1D 7.9.2 default).
const camAge = 300 * time.Second

// LAN is one Ethernet segment: a learning switch whose paths can be hurt.
type LAN struct {
	Name string
	// Delay of every path that has none of its own.
	Delay Range
	ports []Port
	paths []Path // len(ports) squared, [from*n+to]
	seed  uint64
	// cam has one address table per side; unsplit there is one.
	cam   []map[MAC]camEntry
	moves uint64 // addresses that changed port
	// capacity of each table and how long it remembers; zero: without end, camAge
	capacity int
	age      time.Duration
	snoop    *snooping     // nil: the switch does not look at IGMP
	dropped  uint64        // by rates and MTUs
	now      time.Duration // of the latest frame
	withheld uint64        // from ports that have not asked for a group
	out      []Delivery
}

// Port is where one network card is plugged in.
type Port struct {
	Host string
	MAC  MAC
	Up   bool // carrier
	// Blocked: the switch neither forwards nor learns here although there is carrier, as spanning tree
	// does for half a minute after a link comes up (IEEE 802.1D 8.4).
	Blocked bool
	// Deaf and Mute are a half-open port, as a transceiver with one dead fibre makes it: carrier, but nothing
	// reaches the card, or nothing of it reaches the switch.
	Deaf, Mute bool
	side       int
}

// Path is the way from one port to another.
type Path struct {
	Delay     Range // zero: the LAN's
	Loss, Dup Ratio
	// Reorder holds single frames back by up to Late, so that later ones overtake them.
	// Without it a path is first in, first out, as Ethernet is.
	Reorder Ratio
	// Corrupt turns a single bit of a frame over, as a bad switch or driver does behind the check sum.
	Corrupt Ratio
	// Rate is how fast the line is, Queue how long a frame may wait for it (zero: DefaultQueue); MTU is the most
	// it carries behind the Ethernet header. Zero: no limit.
	Rate  Rate
	Queue time.Duration
	MTU   int
	Cut   bool
	// CutOnly are classes that are cut although Cut is not set, LossOnly those that Loss counts
	// for: zero means all.
	CutOnly, LossOnly Class

	loss, dup, reorder, delay *Stream
	corrupt                   *Stream
	last                      time.Duration // arrival of the newest frame that kept its place
	free                      time.Duration // when the line has sent everything it took
	lost                      uint64
}

// Late is the most that Reorder holds a frame back.
const Late = 10 * time.Millisecond

type camEntry struct {
	port int
	seen time.Duration
}

// Delivery says that a frame reaches Port after a delay.
type Delivery struct {
	Port  int
	After time.Duration
	Flip  int // bit of the frame to turn over, counted from 1; 0 for none
}

// NewLAN returns a switch without ports. All chance comes from seed and the names.
func NewLAN(name string, seed uint64, delay Range) *LAN {
	return &LAN{Name: name, Delay: delay, seed: seed, cam: []map[MAC]camEntry{{}}}
}

// AddPort plugs in the card of a host and returns its number. All ports must be added
// before the first Send.
func (l *LAN) AddPort(host string, mac MAC) int {
	l.ports = append(l.ports, Port{Host: host, MAC: mac, Up: true})
	n := len(l.ports)
	l.paths = make([]Path, n*n)
	for from := range n {
		for to := range n {
			name := fmt.Sprintf("%s/%s>%s/", l.Name, l.ports[from].Host, l.ports[to].Host)
			l.paths[from*n+to] = Path{
				loss: NewStream(l.seed, name+"loss"), dup: NewStream(l.seed, name+"dup"),
				reorder: NewStream(l.seed, name+"reorder"), delay: NewStream(l.seed, name+"delay"),
				corrupt: NewStream(l.seed, name+"corrupt"),
			}
		}
	}
	return n - 1
}

// Ports is the number of ports.
func (l *LAN) Ports() int { return len(l.ports) }

// Port describes port n.
func (l *LAN) Port(n int) Port { return l.ports[n] }

// PortOf returns the port of a host, or -1.
func (l *LAN) PortOf(host string) int {
	return slices.IndexFunc(l.ports, func(p Port) bool { return p.Host == host })
}

// Path returns the path between two ports; what it points to may be changed at any time.
func (l *LAN) Path(from, to int) *Path { return &l.paths[from*len(l.ports)+to] }

// SetUp gives or takes the carrier. A switch forgets what it learned on a port that goes down.
func (l *LAN) SetUp(port int, up bool) {
	l.ports[port].Up = up
	if up {
		return
	}
	if l.snoop != nil {
		l.snoop.forgetPort(port)
	}
	for _, table := range l.cam {
		for mac, e := range table { // order is of no consequence
			if e.port == port {
				delete(table, mac)
			}
		}
	}
}

// Split divides the ports into sides that do not reach each other: side[i] is the side of
// port i, counted from 0. Every side starts with the address table as it is now.
func (l *LAN) Split(side []int) {
	merged := l.mergedCAM()
	l.cam = nil
	for i := range l.ports {
		l.ports[i].side = side[i]
		for len(l.cam) <= side[i] {
			table := make(map[MAC]camEntry, len(merged))
			for mac, e := range merged {
				table[mac] = e
			}
			l.cam = append(l.cam, table)
		}
	}
}

// SetBlocked starts or ends spanning tree's block of a port.
func (l *LAN) SetBlocked(port int, on bool) { l.ports[port].Blocked = on }

// SetHalf makes a port deaf or mute, or whole again.
func (l *LAN) SetHalf(port int, deaf, mute bool) { l.ports[port].Deaf, l.ports[port].Mute = deaf, mute }

// SetCAM bounds the address table: how many addresses it holds and for how long; zero is without end and five minutes. Flush
// empties it.
func (l *LAN) SetCAM(capacity int, age time.Duration) { l.capacity, l.age = capacity, age }

// Flush forgets where all addresses are.
func (l *LAN) Flush() {
	for _, table := range l.cam {
		clear(table)
	}
}

// Heal ends cuts and splits and takes loss, duplication, reordering, corruption, rates and MTUs away. Delays stay. Of two
// sides that know the same address the later sighting counts.
func (l *LAN) Heal() {
	l.cam = []map[MAC]camEntry{l.mergedCAM()}
	for i := range l.ports {
		l.ports[i].side = 0
	}
	for i := range l.paths {
		p := &l.paths[i]
		p.Cut, p.Loss, p.Dup, p.Reorder, p.Corrupt = false, Ratio{}, Ratio{}, Ratio{}, Ratio{}
		p.CutOnly, p.LossOnly = 0, 0
		p.Rate, p.Queue, p.MTU = 0, 0, 0
	}
}

func (l *LAN) mergedCAM() map[MAC]camEntry {
	merged := map[MAC]camEntry{}
	for _, table := range l.cam {
		for mac, e := range table {
			if old, ok := merged[mac]; !ok || e.seen > old.seen || e.seen == old.seen && e.port < old.port {
				merged[mac] = e
			}
		}
	}
	return merged
}

// Reaches reports whether frames of every one of the classes can get from one port to another: both have carrier
// and are not blocked or half open, they are on one side, the path is not cut, and a switch that looks at IGMP takes the
// receiver for a member if adverts are among the classes. Loss is not looked at.
func (l *LAN) Reaches(from, to int, c Class) bool {
	return l.carries(from, to, c) && (l.snoop == nil || c&ClassVRRP == 0 || l.wants(to, vrrpMAC))
}

// carries is Reaches without what a switch thinks of groups.
func (l *LAN) carries(from, to int, c Class) bool {
	a, b := &l.ports[from], &l.ports[to]
	p := l.Path(from, to)
	return a.Up && b.Up && !a.Blocked && !b.Blocked && !a.Mute && !b.Deaf && a.side == b.side && !p.Cut && p.CutOnly&c == 0
}

// Lossy reports whether frames of one of the classes may be lost or damaged on the path. A path with a rate or an MTU may
// lose anything; one that had a rate keeps frames waiting until the last of that time has left.
func (l *LAN) Lossy(from, to int, c Class) bool {
	p := l.Path(from, to)
	return p.Loss.N != 0 && (p.LossOnly == 0 || p.LossOnly&c != 0) || p.Corrupt.N != 0 || p.Rate != 0 || p.MTU != 0 || p.free > l.now
}

// MaxDelay is the longest delay any path can have now.
func (l *LAN) MaxDelay() time.Duration {
	longest := max(l.Delay.Min, l.Delay.Max)
	for i := range l.paths {
		p := &l.paths[i]
		d := max(p.Delay.Min, p.Delay.Max, l.Delay.Min, l.Delay.Max)
		if p.Reorder.N != 0 {
			d += Late
		}
		if p.Rate != 0 {
			d += p.queue()
		}
		longest = max(longest, d)
	}
	return longest
}

// Moves counts MAC addresses that were seen on another port than before.
func (l *LAN) Moves() uint64 { return l.moves }

// Lost counts frames lost on the path by chance or by a cut or split.
func (l *LAN) Lost(from, to int) uint64 { return l.Path(from, to).lost }

// Dropped counts frames that rates and MTUs have cost, Withheld those that a port did not get because it had not asked for the group.
func (l *LAN) Dropped() uint64 { return l.dropped }

// Withheld is explained at Dropped.
func (l *LAN) Withheld() uint64 { return l.withheld }

// Send switches a frame that left port from at now. The answer is valid until the next Send.
// Frames shorter than an Ethernet header are dropped.
func (l *LAN) Send(now time.Duration, from int, frame []byte) []Delivery {
	l.out = l.out[:0]
	if len(frame) < EthernetHeader || !l.ports[from].Up || l.ports[from].Blocked || l.ports[from].Mute {
		return l.out
	}
	if l.snoop != nil {
		l.snoop.learn(now, from, frame)
	}
	table := l.cam[l.ports[from].side]
	dst, src := MAC(frame[0:6]), MAC(frame[6:12])
	if !src.Multicast() {
		old, known := table[src]
		if known && old.port != from {
			l.moves++
		}
		// A full table learns nothing new: frames to whoever is not in it are flooded.
		if known || l.room(table, now) {
			table[src] = camEntry{port: from, seen: now}
		}
	}
	age := l.camAge()
	if e, ok := table[dst]; ok && !dst.Multicast() && now-e.seen < age {
		if e.port != from {
			l.forward(now, from, e.port, frame)
		}
		return l.out
	}
	for to := range l.ports {
		switch {
		case to == from:
		case dst.Multicast() && !l.wants(to, dst):
			l.withheld++
		default:
			l.forward(now, from, to, frame)
		}
	}
	return l.out
}

func (l *LAN) camAge() time.Duration {
	if l.age == 0 {
		return camAge
	}
	return l.age
}

// room reports whether an address table takes one more, without those that are too old.
func (l *LAN) room(table map[MAC]camEntry, now time.Duration) bool {
	if l.capacity > 0 && len(table) >= l.capacity {
		for mac, e := range table { // order is of no consequence
			if now-e.seen >= l.camAge() {
				delete(table, mac)
			}
		}
	}
	return l.capacity == 0 || len(table) < l.capacity
}

func (l *LAN) forward(now time.Duration, from, to int, frame []byte) {
	l.now = max(l.now, now)
	p := l.Path(from, to)
	var class Class
	if p.CutOnly|p.LossOnly != 0 {
		class = ClassOf(frame)
	}
	if !l.carries(from, to, class) || (p.LossOnly == 0 || p.LossOnly&class != 0) && p.loss.Chance(p.Loss) {
		p.lost++
		return
	}
	left, ok := p.shape(now, len(frame))
	if !ok {
		p.lost++
		l.dropped++
		return
	}
	copies := 1
	if p.dup.Chance(p.Dup) {
		copies = 2
	}
	r := p.Delay
	if r == (Range{}) {
		r = l.Delay
	}
	for range copies {
		at := left + p.delay.Between(r)
		if p.reorder.Chance(p.Reorder) {
			at += p.reorder.Between(Range{Max: Late})
		} else {
			// Strictly later, or an order of tasks drawn by chance could swap two frames of one path.
			at = max(at, p.last+1)
			p.last = at
		}
		flip := 0
		if p.corrupt.Chance(p.Corrupt) {
			// The addresses stay, or the frame would merely go somewhere else.
			flip = 1 + 8*EthernetHeader + int(p.corrupt.Below(uint64(8*(len(frame)-EthernetHeader)+1)))
			flip = min(flip, 8*len(frame))
		}
		l.out = append(l.out, Delivery{Port: to, After: at - now, Flip: flip})
	}
}

// Learned says at which port an address was seen, and when.
type Learned struct {
	MAC  MAC
	Port int
	Seen time.Duration
}

// Table lists what the switch has learned, by address; on a split one the sides follow each other.
func (l *LAN) Table() (list []Learned) {
	for _, table := range l.cam {
		first := len(list)
		for mac, e := range table {
			list = append(list, Learned{mac, e.port, e.seen})
		}
		slices.SortFunc(list[first:], func(a, b Learned) int { return bytes.Compare(a.MAC[:], b.MAC[:]) })
	}
	return list
}
