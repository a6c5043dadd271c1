package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/sim/wire"
	"quorate/vrrp"
)

// Options describe a world. The zero value of a field means its default.
type Options struct {
	Seed    uint64
	Nodes   []string     // directors: d4 is .4 and 02:00:00:00:00:04 (see numbers)
	Clients []string     // c1 is .201 and ..:c9
	Real    []string     // real servers: rs1 is .221, rs1@10.0.0.50 has that address
	LANs    int          // segments; every host has a card eth0, eth1 … on each (1)
	Net     netip.Prefix // of the first segment, a /24 (10.0.0.0/24); the next ones follow
	// Nets and Ifaces, if given, name each segment's net and each host's card on it instead; First is added to the
	// directors' numbers, so that addresses of VIPs can be kept clear of.
	Nets   []netip.Prefix
	Ifaces []string
	First  int
	// Nets6, if given, are the /64 of each segment: every host has an IPv6 address in it, with its number, and a link-local one.
	Nets6 []netip.Prefix
	Delay wire.Range // of every path (50us..500us)
	// Programs are directors that behave as another program does, see foreign.go: Keepalived or FRR by name.
	Programs map[string]string
	// Shuffle runs tasks of one instant in an order drawn from the seed.
	Shuffle bool
	// NewMachine makes the machine that a director's process runs: node.NewElector.
	NewMachine func() Machine
}

// Machine is what a director's process runs; *node.Elector is one.
type Machine interface {
	Step(now time.Duration, ev node.Event)
	Ready() []node.Action
	Deadline() (time.Duration, bool)
	Status() []node.InstanceStatus
	State(iface string, vrid int, ipv6 bool) (instance string, state vrrp.State)
	Held() []node.Held
}

// Limits. Reaching one is a mistake in a machine or a scenario, never normal operation: see raiseStorm.
const (
	maxNodes     = 199
	maxClients   = 50
	maxReal      = 30
	maxLANs      = 8
	restingSteps = 10_000  // steps of one machine within one event before it counts as a loop
	windowTasks  = 1 << 20 // in window
	window       = time.Second
)

// World is everything there is: hosts, wires and the queue of what happens next.
type World struct {
	opt   Options
	now   time.Duration
	queue queue
	lans  []*wire.LAN
	hosts []*Host
	build *wire.Builder
	// segment is memory for the segment that is being made; a frame has its own.
	segment []byte
	// chance is for choices of the world itself, under shuffle only.
	chance *wire.Stream

	journal []Event
	hash    wire.Hash // of every task and every journal event
	tasks   uint64
	frames  uint64 // delivered

	judge judge
	pcaps []*wire.Pcap
	cards []string // "d1 eth0", in pcap order
	sight func(Frame)
	// stp is how long a switch port is blocked after its link came up.
	stp     time.Duration
	querier uint64 // generation of the verb igmp
	life    []life
	lanes   storeLog // for the picture
	// storm, once set, ends the run: a host that answers an answer would keep it busy for ever.
	storm string
	// windowAt is when the present window of windowTasks began, inWindow how many there were.
	windowAt time.Duration
	inWindow int
	// disturbed is when something was last done to the world, or a director got a configuration.
	disturbed time.Duration
	// members are the directors that have the replicated store; none until somebody uses it.
	members []*Host
	pushes  int // so far
	refused int // of them, for want of a majority
	// found are pushes that found an earlier attempt of theirs, installed members that were brought up to date by a snapshot.
	found, installed int
	reads            int // that were answered after a put
	// spread is within which time members activate what a push of that id has brought.
	spread map[string]time.Duration
	// includes is where generations find the files they include; nil: nowhere.
	includes config.Source
}

// New builds a world in which every host is up and no director runs yet.
func New(opt Options) (*World, error) {
	if opt.LANs == 0 {
		opt.LANs = max(1, len(opt.Ifaces))
	}
	if !opt.Net.IsValid() {
		opt.Net = netip.MustParsePrefix("10.0.0.0/24")
	}
	if opt.Delay == (wire.Range{}) {
		opt.Delay = wire.Range{Min: 50 * time.Microsecond, Max: 500 * time.Microsecond}
	}
	if opt.NewMachine == nil {
		opt.NewMachine = func() Machine { return node.NewElector() }
	}
	for _, name := range slices.Sorted(maps.Keys(opt.Programs)) {
		program := opt.Programs[name]
		if !slices.Contains(opt.Nodes, name) {
			return nil, fmt.Errorf("%s %q is none of the nodes %v", program, name, opt.Nodes)
		}
		if program != Keepalived && program != FRR {
			return nil, fmt.Errorf("%s runs %q: expected %s or %s", name, program, Keepalived, FRR)
		}
	}
	for i, net := range opt.Nets {
		if net.Bits() != 24 || !net.Addr().Is4() || slices.Contains(opt.Nets[:i], net) {
			return nil, fmt.Errorf("net %v: expected an IPv4 /24, another one for each segment", net)
		}
	}
	for i, net := range opt.Nets6 {
		if net.Bits() != 64 || !net.Addr().Is6() || net.Masked() != net || slices.Contains(opt.Nets6[:i], net) {
			return nil, fmt.Errorf("nets6 %v: expected an IPv6 /64, another one for each segment", net)
		}
	}
	var real []string
	var where []netip.Addr
	for _, word := range opt.Real {
		name, addr, err := realServer(word)
		if err != nil {
			return nil, err
		}
		real, where = append(real, name), append(where, addr)
	}
	switch names := slices.Concat(opt.Nodes, opt.Clients, real); {
	case len(opt.Nodes) == 0:
		return nil, fmt.Errorf("a world needs at least one node")
	case len(opt.Nodes) > maxNodes || len(opt.Clients) > maxClients:
		return nil, fmt.Errorf("%d nodes and %d clients: at most %d and %d", len(opt.Nodes), len(opt.Clients), maxNodes, maxClients)
	case len(real) > maxReal:
		return nil, fmt.Errorf("%d real servers: at most %d", len(real), maxReal)
	case opt.LANs < 1 || opt.LANs > maxLANs:
		return nil, fmt.Errorf("%d lans: expected 1 to %d", opt.LANs, maxLANs)
	case opt.Net.Bits() != 24 || !opt.Net.Addr().Is4():
		return nil, fmt.Errorf("net %v: expected an IPv4 /24", opt.Net)
	case len(opt.Nets) > 0 && len(opt.Nets) != opt.LANs || len(opt.Ifaces) > 0 && len(opt.Ifaces) != opt.LANs:
		return nil, fmt.Errorf("%d nets and %d ifaces for %d segments: expected one each", len(opt.Nets), len(opt.Ifaces), opt.LANs)
	case len(opt.Nets6) > 0 && len(opt.Nets6) != opt.LANs:
		return nil, fmt.Errorf("%d nets6 for %d segments: expected one each", len(opt.Nets6), opt.LANs)
	case len(opt.Nodes)+opt.First > maxNodes:
		return nil, fmt.Errorf("%d nodes from number %d on: at most number %d", len(opt.Nodes), opt.First+1, maxNodes)
	default:
		slices.Sort(names)
		if d := slices.Compact(slices.Clone(names)); len(d) != len(names) {
			return nil, fmt.Errorf("two hosts have the same name among %v", names)
		}
	}
	w := &World{opt: opt, build: wire.NewBuilder(), hash: wire.NewHash(), chance: wire.NewStream(opt.Seed, "world"),
		queue: queue{shuffle: opt.Shuffle, seed: opt.Seed}}
	for i := range opt.LANs {
		w.lans = append(w.lans, wire.NewLAN(fmt.Sprintf("lan%d", i), opt.Seed, opt.Delay))
	}
	for i, number := range numbers(opt.Nodes, maxNodes-opt.First) {
		w.addHost(opt.Nodes[i], byte(opt.First+number), true)
	}
	for i, number := range numbers(opt.Clients, maxClients) {
		w.addHost(opt.Clients[i], byte(200+number), false)
	}
	for i, number := range numbers(real, maxReal) {
		if err := w.addServer(real[i], byte(220+number), where[i]); err != nil {
			return nil, err
		}
	}
	w.judge.w = w
	return w, nil
}

// numbers are what addresses are made of: the digits at the end of each name, so that a capture
// reads itself, or, if a name has none or two have the same, the order.
func numbers(names []string, most int) []int {
	list := make([]int, len(names))
	for i, name := range names {
		n, err := strconv.Atoi(name[len(strings.TrimRight(name, "0123456789")):])
		if err != nil || n < 1 || n > most || slices.Contains(list[:i], n) {
			for k := range list {
				list[k] = k + 1
			}
			return list
		}
		list[i] = n
	}
	return list
}

func (w *World) addHost(name string, number byte, director bool) {
	h := &Host{Name: name, w: w, director: director, on: true}
	// Monotonic clocks start when a machine boots: no two agree, and nothing may depend on it.
	h.clock.mono = time.Duration(wire.NewStream(w.opt.Seed, "origin/"+name).Below(uint64(1000 * time.Hour)))
	for i, lan := range w.lans {
		net := w.opt.Net.Addr().As4()
		net[2] += byte(i)
		card := fmt.Sprintf("eth%d", i)
		if len(w.opt.Nets) > 0 {
			net = w.opt.Nets[i].Masked().Addr().As4()
		}
		if len(w.opt.Ifaces) > 0 {
			card = w.opt.Ifaces[i]
		}
		net[3] = number
		mac := wire.MAC{2, 0, 0, 0, byte(i), number}
		h.nics = append(h.nics, &nic{
			name: card, lan: lan, port: lan.AddPort(name, mac), mac: mac, up: true,
			card: len(w.cards), base: netip.PrefixFrom(netip.AddrFrom4(net), 24), neigh: map[netip.Addr]*neighbour{},
		})
		if len(w.opt.Nets6) > 0 {
			six := w.opt.Nets6[i].Addr().As16()
			six[15] = number
			h.nics[i].six = netip.PrefixFrom(netip.AddrFrom16(six), 64)
		}
		w.cards = append(w.cards, name+" "+card)
	}
	h.boot()
	w.hosts = append(w.hosts, h)
}

// addServer plugs in a real server, at an address of its own if it is given one.
func (w *World) addServer(name string, number byte, at netip.Addr) error {
	w.addHost(name, number, false)
	h := w.hosts[len(w.hosts)-1]
	h.server = true
	found := !at.IsValid()
	for _, n := range h.nics {
		if at.IsValid() && n.base.Contains(at) {
			n.base, found = netip.PrefixFrom(at, n.base.Bits()), true
		}
		for _, other := range w.hosts[:len(w.hosts)-1] {
			if other.local(n.base.Addr()) {
				return fmt.Errorf("%s and %s both have the address %v: say NAME@ADDRESS", other.Name, name, n.base.Addr())
			}
		}
	}
	if !found {
		return fmt.Errorf("real server %s: %v is in none of the world's nets", name, at)
	}
	h.boot()
	return nil
}

// Seed is the seed of everything that is left to chance.
func (w *World) Seed() uint64 { return w.opt.Seed }

// Now is the time since the world began.
func (w *World) Now() time.Duration { return w.now }

// Journal is everything that happened so far, in order.
func (w *World) Journal() []Event { return w.journal }

// Host returns the host of that name, nil if there is none.
func (w *World) Host(name string) *Host {
	for _, h := range w.hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Capture writes every frame from now on to p, which must have the interfaces of Cards.
func (w *World) Capture(p *wire.Pcap) { w.pcaps = append(w.pcaps, p) }

// Frame is a frame as Watch hands it out. Data must not be changed.
type Frame struct {
	At     time.Duration
	Number uint64 // in the first capture, from 1; 0 without one
	Host   string // whose card
	Card   string
	Sent   bool // it left the card; otherwise it arrived
	Data   []byte
}

// Watch calls f for every frame from now on.
func (w *World) Watch(f func(Frame)) { w.sight = f }

func (w *World) capture(h *Host, n *nic, frame []byte, sent bool) {
	var number uint64
	for i, p := range w.pcaps {
		p.Write(w.now, n.card, frame)
		if i == 0 {
			number = p.Frames()
		}
	}
	if w.sight != nil {
		w.sight(Frame{At: w.now, Number: number, Host: h.Name, Card: n.name, Sent: sent, Data: frame})
	}
}

// Cards names all network cards, in the order of pcap interfaces.
func (w *World) Cards() []string { return w.cards }

// Trace is the fingerprint of the run: equal for equal seeds and scenarios, on every machine.
func (w *World) Trace() (hash uint64, tasks, frames uint64) {
	return uint64(w.hash), w.tasks, w.frames
}

// Run lets time pass until the given instant.
func (w *World) Run(until time.Duration) {
	for w.storm == "" {
		t, ok := w.queue.pop(until)
		if !ok {
			break
		}
		if t.at-w.windowAt > window {
			w.windowAt, w.inWindow = t.at, 0
		} else if w.inWindow++; w.inWindow > windowTasks {
			w.raiseStorm("%d things have happened within %s, the last one %s: something answers itself", w.inWindow, seconds(t.at-w.windowAt), t.describe())
		}
		w.now = t.at
		w.perform(&t)
	}
	w.now = max(w.now, until)
}

// raiseStorm ends the run: something goes on without end, at one instant or faster and faster, and nothing after it would mean anything.
func (w *World) raiseStorm(format string, args ...any) {
	if w.storm == "" {
		w.storm = "L2 VIOLATED: " + fmt.Sprintf(format, args...) + ": a storm"
		w.note("", EventViolation, w.storm)
	}
}

func (w *World) perform(t *task) {
	if t.kind == taskWake && (t.host.proc == nil || t.host.proc.wake != t.gen) {
		return // asked for by a process that has changed its mind or is gone
	}
	if t.kind == taskTick && (t.host.store == nil || t.host.store.start<<32|t.host.store.wake != t.gen) {
		return
	}
	w.tasks++
	w.hash.Uint64(uint64(t.at))
	w.hash.Uint64(uint64(t.kind))
	switch t.kind {
	case taskFrame:
		n := t.host.nics[t.nic]
		w.hash.String(t.host.Name)
		w.hash.Bytes(t.frame)
		if !t.host.on || !n.up {
			return // gone down while the frame was under way
		}
		w.frames++
		w.capture(t.host, n, t.frame, false)
		t.host.input(n, t.frame)
	case taskWake:
		t.host.feed(node.Tick{})
	case taskTick:
		t.host.store.tick()
	case taskFunc:
		t.run()
	}
}

// after schedules f.
func (w *World) after(d time.Duration, f func()) {
	w.queue.push(task{at: w.now + d, kind: taskFunc, run: f})
}

// transmit puts a frame on the wire. A card that is down loses it, as a real one does.
func (w *World) transmit(h *Host, n *nic, frame []byte) {
	if !h.on || !n.up {
		return
	}
	w.capture(h, n, frame, true)
	if n.lan.Snooping() {
		defer w.snooped(n.lan, n.lan.Members())
	}
	for _, d := range n.lan.Send(w.now, n.port, frame) {
		// Hosts are plugged in in order, one port each, so a port's number is the host's.
		content := frame
		if d.Flip > 0 {
			content = slices.Clone(frame)
			content[(d.Flip-1)/8] ^= 0x80 >> ((d.Flip - 1) % 8)
		}
		w.queue.push(task{at: w.now + d.After, kind: taskFrame, host: w.hosts[d.Port], nic: n.index(), frame: content})
	}
}

// Program is what a director behaves like, see Options; empty for our own.
func (w *World) Program(host string) string { return w.opt.Programs[host] }

// HostInfo is what a runner on another backend must know of a host.
type HostInfo struct {
	Name     string
	Director bool
	Server   bool       // a real server
	Cards    []CardInfo // one on each segment
}

// CardInfo is a network card of a HostInfo.
type CardInfo struct {
	Name string
	Addr netip.Prefix
	IPv6 netip.Prefix // not valid in a world without
}

// Hosts lists all hosts, directors first.
func (w *World) Hosts() []HostInfo {
	var list []HostInfo
	for _, h := range w.hosts {
		info := HostInfo{Name: h.Name, Director: h.director, Server: h.server}
		for _, n := range h.nics {
			info.Cards = append(info.Cards, CardInfo{n.name, n.base, n.six})
		}
		list = append(list, info)
	}
	return list
}

// Delay is that of every path that has none of its own.
func (w *World) Delay() wire.Range { return w.opt.Delay }
