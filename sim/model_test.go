package sim

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/sim/wire"
	"quorate/vrrp"
)

var vip = netip.MustParseAddr("10.0.0.100")

// grabber is a machine as wrong as can be: it takes the VIP when configured and never lets go.
type grabber struct {
	out   []node.Action
	seen  []node.Event
	every time.Duration // between wake-ups, 0 for none
	next  time.Duration

	status []node.InstanceStatus
}

func (g *grabber) Step(now time.Duration, ev node.Event) {
	g.seen = append(g.seen, ev)
	if _, ok := ev.(node.Configure); ok {
		g.out = append(g.out, node.Listen{Interface: "eth0"},
			node.AddAddress{Interface: "eth0", Address: config.Address{Prefix: netip.PrefixFrom(vip, 32)}})
	}
	if g.every > 0 {
		g.next = now + g.every
	}
}

func (g *grabber) Ready() []node.Action                         { out := g.out; g.out = nil; return out }
func (g *grabber) Deadline() (time.Duration, bool)              { return g.next, g.every > 0 }
func (g *grabber) Status() []node.InstanceStatus                { return g.status }
func (g *grabber) State(string, int, bool) (string, vrrp.State) { return "", 0 }
func (g *grabber) Held() []node.Held                            { return nil }
func (g *grabber) count(is func(node.Event) bool) (n int) {
	for _, ev := range g.seen {
		if is(ev) {
			n++
		}
	}
	return n
}

// grabbers is a world of directors that are all grabbers, configured with oneVIP.
func grabbers(t *testing.T, opt Options) (*World, []*grabber) {
	t.Helper()
	var all []*grabber
	opt.NewMachine = func() Machine { g := &grabber{}; all = append(all, g); return g }
	w, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range w.hosts {
		if h.director {
			h.conf, _ = config.Parse(ConfName, config.Files{ConfName: oneVIP}, config.Options{ConfigID: h.Name})
		}
	}
	w.judge.learn()
	for _, h := range w.hosts {
		if h.director {
			h.start()
		}
	}
	return w, all
}

func violations(w *World) (texts []string) {
	for _, e := range w.journal {
		if e.Kind == EventViolation {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// S1 must find a machine that breaks it, at T and not before, and only among hosts that hear
// each other.
func TestS1FindsTwoOwners(t *testing.T) {
	// T is that of the lower priority, 100: 3 s + 156/256 s, twice 0.5 ms, 1 ms processing.
	const bound = 3*time.Second + 156*time.Second/256 + time.Millisecond + processing
	w, _ := grabbers(t, Options{Nodes: []string{"d1", "d2"}})
	w.Run(bound)
	if v := violations(w); len(v) != 0 {
		t.Fatalf("condemned before T is over: %v", v)
	}
	w.Run(bound + 2)
	if v := violations(w); len(v) != 1 || !strings.Contains(v[0], "10.0.0.100 is held by both d1 and d2 since +0.000, longer than T=3.611s") {
		t.Fatalf("at T: %q", v)
	}
	w.Run(10 * time.Minute)
	if v := violations(w); len(v) != 1 {
		t.Errorf("one pair was condemned %d times", len(v))
	}
	if line, ok := w.judge.exclusive(); ok {
		t.Errorf("check finds nothing wrong: %s", line)
	}

	apart, _ := grabbers(t, Options{Nodes: []string{"d1", "d2"}})
	apart.lans[0].Path(0, 1).Cut = true
	apart.judge.look()
	apart.Run(time.Minute)
	if v := violations(apart); len(v) != 0 {
		t.Errorf("condemned though d2 cannot hear d1: %v", v)
	}
	apart.lans[0].Heal()
	apart.judge.look()
	apart.Run(time.Minute + bound + 2)
	if v := violations(apart); len(v) != 1 {
		t.Errorf("healed, T later: %q", v)
	}
}

// Time in which they did not hear each other does not count.
func TestS1StartsAfreshAfterACut(t *testing.T) {
	w, _ := grabbers(t, Options{Nodes: []string{"d1", "d2"}})
	for range 20 {
		w.Run(w.now + 2*time.Second)
		w.hosts[0].setNIC(w.hosts[0].nics[0], false)
		w.Run(w.now + time.Second)
		w.hosts[0].setNIC(w.hosts[0].nics[0], true)
	}
	if v := violations(w); len(v) != 0 {
		t.Errorf("never 3.6 s together, and yet: %v", v)
	}
}

// That two hosts hear each other on another segment does not count.
func TestS1LooksAtTheSegmentOfTheVIP(t *testing.T) {
	w, _ := grabbers(t, Options{Nodes: []string{"d1", "d2"}, LANs: 2})
	w.lans[0].Split([]int{0, 1})
	w.judge.look()
	w.Run(time.Minute)
	if v := violations(w); len(v) != 0 {
		t.Errorf("condemned though split on eth0, where the VIP lives: %v", v)
	}
}

// An address that no configuration has is found.
func TestStrays(t *testing.T) {
	w, _ := grabbers(t, Options{Nodes: []string{"d1"}})
	w.hosts[0].nics[0].add(netip.MustParsePrefix("10.0.0.77/32"))
	lines, ok := w.judge.liveness()
	if ok || !strings.Contains(strings.Join(lines, "\n"), "d1 holds [10.0.0.77], which its configuration does not have") {
		t.Errorf("%v", lines)
	}
}

func TestL1FindsAWrongNeighbourEntry(t *testing.T) {
	w, _ := grabbers(t, Options{Nodes: []string{"d1", "d2"}, Clients: []string{"c1"}})
	d1, d2, c1 := w.Host("d1"), w.Host("d2"), w.Host("c1")
	d2.nics[0].remove(netip.PrefixFrom(vip, 32))
	w.judge.look()
	c1.startLoad(vip, 0, 20*time.Millisecond)
	w.Run(time.Second)
	if lines, ok := w.judge.liveness(); !ok {
		t.Fatalf("d1 owns it, the client asks d1: %v", lines)
	}
	// The VIP moves without a word to the client.
	d1.nics[0].remove(netip.PrefixFrom(vip, 32))
	d2.nics[0].add(netip.PrefixFrom(vip, 32))
	w.judge.look()
	w.Run(2 * time.Second)
	lines, ok := w.judge.liveness()
	if ok || !strings.Contains(strings.Join(lines, "\n"), "d2 owns it, but the client's neighbour entry points at d1") {
		t.Errorf("%v", lines)
	}
	// Linux finds out by itself: 30 s reachable, 5 s delay, three probes, then it asks everybody.
	w.Run(45 * time.Second)
	if lines, ok := w.judge.liveness(); !ok {
		t.Errorf("45 s later: %v", lines)
	}
	if l := c1.loads[0]; l.server != "d2" || l.longest < 35*time.Second || l.longest > 40*time.Second {
		t.Errorf("served by %s after %v; without an announcement a client is lost for some 38 s", l.server, l.longest)
	}
}

// locktime protects an entry from a second answer, not from a gratuitous ARP.
func TestNeighbourLocktime(t *testing.T) {
	w, err := New(Options{Nodes: []string{"d1", "d2"}, Clients: []string{"c1"}})
	if err != nil {
		t.Fatal(err)
	}
	c1 := w.Host("c1")
	n := c1.nics[0]
	mac := func(host string) wire.MAC { return w.Host(host).nics[0].mac }
	reply := func(from string) {
		c1.inputARP(n, wire.ARP{Op: wire.ARPReply, SenderMAC: mac(from), SenderIP: vip, TargetMAC: n.mac, TargetIP: n.base.Addr()})
	}
	garp := func(from string) {
		c1.inputARP(n, wire.ARP{Op: wire.ARPRequest, SenderMAC: mac(from), SenderIP: vip, TargetMAC: wire.Broadcast, TargetIP: vip})
	}
	garp("d1")
	if n.neigh[vip] != nil {
		t.Fatal("a gratuitous ARP made an entry; arp_accept is 0")
	}
	c1.startLoad(vip, 0, time.Second)
	reply("d1")
	reply("d2")
	if e := n.neigh[vip]; e.mac != mac("d1") || e.state != neighReachable {
		t.Errorf("the second answer within locktime counted: %v %v", e.mac, e.state)
	}
	garp("d2")
	if e := n.neigh[vip]; e.mac != mac("d2") || e.state != neighStale {
		t.Errorf("a gratuitous ARP within locktime did not count: %v %v", e.mac, e.state)
	}
	w.now += 2 * time.Second
	reply("d1")
	if e := n.neigh[vip]; e.mac != mac("d1") {
		t.Errorf("an answer after locktime did not count: %v", e.mac)
	}
}

// The martian rule, closed sockets, cards that are down, processes that are gone.
func TestWhatReachesTheMachine(t *testing.T) {
	received := func(ev node.Event) bool { _, ok := ev.(node.Received); return ok }
	advert := func(w *World, src string) {
		h := w.hosts[1]
		w.transmit(h, h.nics[0], w.build.Packet(wire.MulticastMAC(netip.MustParseAddr("224.0.0.18")), h.nics[0].mac,
			wire.IP{TOS: vrrp.TOS, TTL: 255, Protocol: vrrp.ProtocolNumber, Src: netip.MustParseAddr(src),
				Dst: netip.MustParseAddr("224.0.0.18")}, make([]byte, 20)))
		w.Run(w.now + time.Second)
	}
	tests := []struct {
		name string
		do   func(w *World)
		src  string
		want int
	}{
		{"an advert", func(*World) {}, "10.0.0.2", 1},
		{"from our own address", func(*World) {}, "10.0.0.1", 0},
		{"from our own VIP", func(*World) {}, "10.0.0.100", 0},
		{"socket closed", func(w *World) { w.hosts[0].nics[0].listening = false }, "10.0.0.2", 0},
		{"cable pulled", func(w *World) { w.hosts[0].setNIC(w.hosts[0].nics[0], false) }, "10.0.0.2", 0},
		{"killed", func(w *World) { w.hosts[0].kill() }, "10.0.0.2", 0},
		{"crashed", func(w *World) { w.hosts[0].crash() }, "10.0.0.2", 0},
		{"paused", func(w *World) { w.hosts[0].pause() }, "10.0.0.2", 0},
		{"paused and resumed", func(w *World) {
			w.hosts[0].pause()
			w.after(2*time.Millisecond, w.hosts[0].resume)
		}, "10.0.0.2", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, all := grabbers(t, Options{Nodes: []string{"d1", "d2"}})
			tt.do(w)
			advert(w, tt.src)
			if got := all[0].count(received); got != tt.want {
				t.Errorf("the machine got %d adverts, want %d; drops %v", got, tt.want, w.hosts[0].drops)
			}
		})
	}
}

// A stopped process finds in its socket what fits into it, no more.
func TestSocketBufferIsFinite(t *testing.T) {
	w, all := grabbers(t, Options{Nodes: []string{"d1"}})
	h := w.hosts[0]
	h.pause()
	for range 1000 {
		h.feed(node.Received{Interface: "eth0"})
	}
	before := len(all[0].seen)
	h.resume()
	if got := len(all[0].seen) - before; got != socketBuffer+1 { // and the tick
		t.Errorf("%d events after the pause, want %d", got, socketBuffer+1)
	}
}

// A killed process leaves its addresses in the kernel, which goes on answering; a crash takes all.
func TestKillAndCrash(t *testing.T) {
	w, _ := grabbers(t, Options{Nodes: []string{"d1"}, Clients: []string{"c1"}})
	d1, l := w.Host("d1"), w.Host("c1").startLoad(vip, 0, 20*time.Millisecond)
	w.Run(time.Second)
	d1.kill()
	w.Run(2 * time.Second)
	if good := l.good; good < 95 || l.server != "d1" {
		t.Errorf("after kill: %d answers from %q", good, l.server)
	}
	good := l.good
	d1.crash()
	w.Run(3 * time.Second)
	if l.good != good || d1.nics[0].has(vip) || len(w.judge.holders(vip)) != 0 {
		t.Errorf("after crash: %d more answers, holders %v", l.good-good, w.judge.holders(vip))
	}
	d1.boot()
	if !slices.Equal(d1.nics[0].addrs, []netip.Prefix{d1.nics[0].base}) {
		t.Errorf("booted with %v", d1.nics[0].addrs)
	}
}

// Linux's order: primaries in order of arrival, then secondaries.
func TestAddressOrder(t *testing.T) {
	n := &nic{addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}
	for _, s := range []string{"10.0.0.100/24", "10.0.0.101/32", "10.0.0.102/24", "192.168.7.1/24", "10.0.0.100/24"} {
		n.add(netip.MustParsePrefix(s))
	}
	want := "[10.0.0.1/24 10.0.0.101/32 192.168.7.1/24 10.0.0.100/24 10.0.0.102/24]"
	if got := strings.TrimSpace(joinPrefixes(n.addrs)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n.remove(netip.MustParsePrefix("10.0.0.100/32")) || !n.remove(netip.MustParsePrefix("10.0.0.100/24")) {
		t.Error("an address goes with its own prefix length only")
	}
}

func joinPrefixes(list []netip.Prefix) string {
	s := make([]string, len(list))
	for i, p := range list {
		s[i] = p.String()
	}
	return "[" + strings.Join(s, " ") + "]"
}

// A clock that drifts reads what it should, never runs backwards, and when is the inverse of at.
func TestClock(t *testing.T) {
	for _, ppm := range []int64{0, 1, -1, 200, -500, 100_000, -100_000} {
		c := clock{world: 3 * time.Hour, mono: 7 * time.Hour, ppm: ppm}
		if d := c.at(3*time.Hour+1000*time.Second) - 7*time.Hour - 1000*time.Second; int64(d) != ppm*1000*1000 {
			t.Errorf("%d ppm: %v off after 1000 s", ppm, d)
		}
		last := c.at(c.world)
		for i := range time.Duration(3000) {
			world := c.world + i*i*i*7919
			mono := c.at(world)
			if mono < last {
				t.Fatalf("%d ppm: runs backwards at %v", ppm, world)
			}
			last = mono
			if back := c.when(mono); back > world || c.at(back) < mono {
				t.Fatalf("%d ppm: when(at(%v)) = %v", ppm, world, back)
			}
		}
	}
	if far := (clock{ppm: 100_000}).at(150 * 365 * 24 * time.Hour); far < 0 {
		t.Errorf("overflow: %v", far)
	}
}

// A machine whose clock is slow by a tenth is woken a tenth late.
func TestDriftMovesDeadlines(t *testing.T) {
	w, all := grabbers(t, Options{Nodes: []string{"d1", "d2"}})
	for _, g := range all {
		g.every = time.Second
	}
	w.hosts[1].setDrift(-100_000)
	for _, h := range w.hosts {
		h.feed(node.Tick{})
	}
	tick := func(ev node.Event) bool { _, ok := ev.(node.Tick); return ok }
	w.Run(100*time.Second + time.Millisecond)
	if a, b := all[0].count(tick), all[1].count(tick); a != 101 || b != 91 {
		t.Errorf("%d and %d wake-ups in 100 s, want 101 and 91", a, b)
	}
}

func TestQueueOrder(t *testing.T) {
	drain := func(shuffle bool, seed uint64) (order []uint64) {
		q := queue{shuffle: shuffle, seed: seed}
		for i := range 500 {
			q.push(task{at: time.Duration(i * 7919 % 10), gen: uint64(i)})
		}
		last := time.Duration(-1)
		for {
			x, ok := q.pop(9)
			if !ok {
				break
			}
			if x.at < last {
				t.Fatal("time runs backwards")
			}
			last = x.at
			order = append(order, x.gen)
		}
		if len(order) != 500 {
			t.Fatalf("%d of 500 came out", len(order))
		}
		return order
	}
	plain := drain(false, 1)
	for i := 1; i < len(plain); i++ {
		if i%50 != 0 && plain[i] < plain[i-1] {
			t.Fatalf("tasks of one instant changed places: %v", plain[i-1:i+1])
		}
	}
	if !slices.Equal(drain(true, 1), drain(true, 1)) || slices.Equal(drain(true, 1), drain(true, 2)) || slices.Equal(drain(true, 1), plain) {
		t.Error("shuffle must depend on the seed and on nothing else")
	}
	var q queue
	q.push(task{at: 5})
	if _, ok := q.pop(4); ok {
		t.Error("a task ran before its time")
	}
}

// S4 must see an advert that no director may send.
func TestS4FindsUnlawfulAdverts(t *testing.T) {
	good := vrrp.Packet{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("224.0.0.18"), TTL: 255, Payload: make([]byte, 20)}
	good.Payload[1], good.Payload[2] = 51, 100
	tests := []struct {
		name    string
		change  func(p *vrrp.Packet)
		state   string
		want    string
		yielded bool // this moment
	}{
		{"a master's", func(*vrrp.Packet) {}, "MASTER", "", true},
		{"a farewell", func(p *vrrp.Packet) { p.Payload[2] = 0 }, "INIT", "", false},
		{"a backup's", func(*vrrp.Packet) {}, "BACKUP", "with priority 100 while VI_1 is BACKUP", false},
		{"a last word", func(*vrrp.Packet) {}, "BACKUP", "", true},
		{"in fault", func(*vrrp.Packet) {}, "FAULT", "while VI_1 is FAULT", false},
		{"TTL", func(p *vrrp.Packet) { p.TTL = 64 }, "MASTER", "with TTL 64", false},
		{"source is a VIP", func(p *vrrp.Packet) { p.Src = vip }, "MASTER", "from 10.0.0.100, which is no address of its own on eth0", false},
		{"forged source", func(p *vrrp.Packet) { p.Src = netip.MustParseAddr("10.0.0.2") }, "MASTER", "from 10.0.0.2", false},
		{"other group", func(p *vrrp.Packet) { p.Dst = netip.MustParseAddr("224.0.0.19") }, "MASTER", "to 224.0.0.19", false},
		{"empty", func(p *vrrp.Packet) { p.Payload = nil }, "MASTER", "of 0 octets", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, all := grabbers(t, Options{Nodes: []string{"d1", "d2"}})
			d1, at := w.hosts[0], w.hosts[0].mono()-time.Second
			if tt.yielded {
				at = d1.mono()
			}
			d1.conf = &config.Config{Instances: []*config.Instance{{Name: "VI_1", HigherPrioSendAdvert: config.Value[bool]{V: true}}}}
			all[0].status = []node.InstanceStatus{{Name: "VI_1", VRID: 51, State: tt.state, ChangedAt: at}}
			p := good
			p.Payload = slices.Clone(good.Payload)
			tt.change(&p)
			all[0].out = append(all[0].out, node.SendAdvert{Interface: "eth0", Packet: p})
			w.hosts[0].feed(node.Tick{})
			v := violations(w)
			if line, ok := w.judge.lawful(); ok != (tt.want == "") {
				t.Errorf("%s: %v", line, v)
			}
			if tt.want != "" && (len(v) != 1 || !strings.Contains(v[0], tt.want)) {
				t.Errorf("got %q, want %s", v, tt.want)
			}
		})
	}
}
