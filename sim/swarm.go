package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"quorate/sim/wire"
)

// Random writes the scenario of a seed: a cluster drawn at random, a phase of random faults,
// then everything is healed and started, and what must hold then is claimed: one
// owner, the best one unless nopreempt lets another keep the VIP, neighbour entries that point
// at it, not one transition more, and a last fail-over in the protocol's own time. Which kinds of fault occur at all is drawn first, for a
// run with all of them hides what a run with two of them shows.
//
// Half the time some directors stay broken after the faults, for ever: the others must do without them.
// The text is an ordinary scenario: what a search finds can be kept as a file.
func Random(seed uint64) string {
	g := &generator{dice: wire.NewStream(seed, "scenario")}
	// What came later has streams of its own, so that other seeds stay what they were.
	g.group = wire.NewStream(seed, "group").Below(6) == 0
	g.shapes = wire.NewStream(seed, "shapes").Below(3) == 0
	g.services(seed)
	g.families(seed)
	g.store = wire.NewStream(seed, "store")
	g.cluster(seed)
	g.faults()
	g.recovery()
	return g.b.String()
}

type generator struct {
	b     strings.Builder
	dice  *wire.Stream
	nodes []string
	state []nodeState
	dark  []bool // pulled cables
	prio  []int  // of VI_1; VI_2, if there is one, has them the other way round
	two   bool   // VI_2 exists
	group bool   // VI_2 is on a segment of its own, tied to VI_1 by a sync group
	// shapes: lines may be slow, ports half open and switches may look at IGMP; snoops once they do.
	shapes, snoops bool
	keep           bool // nopreempt
	pushy          bool // configurations come by push
	corrupts       bool // frames were altered
	store          *wire.Stream
	notes          int    // puts so far
	auth           bool   // a password, version 2
	owner          bool   // the first has priority 255
	track          string // weight of the tracked script, empty for none
	harsh          bool   // a daemon was killed or paused, or files differed: S1 cannot hold
	lvs            balanced
	six            families
	outs           []int // directors that stay broken after the faults

	v3     bool
	advert time.Duration
}

type nodeState uint8

const (
	_ nodeState = iota
	nodeRuns
	nodeStopped // or killed
	nodePaused
	nodeCrashed
)

func (g *generator) below(n int) int { return int(g.dice.Below(uint64(n))) }

func (g *generator) say(format string, args ...any) {
	fmt.Fprintf(&g.b, format+"\n----\n\n", args...)
}

func (g *generator) run(d time.Duration) { g.say("run %v", d.Round(time.Millisecond)) }

// cluster draws two to four directors, versions, intervals, priorities and what else a file may say.
func (g *generator) cluster(seed uint64) {
	for i := range 2 + g.below(3) {
		g.nodes = append(g.nodes, fmt.Sprintf("d%d", i+1))
		g.prio = append(g.prio, 1+g.below(254))
		g.state = append(g.state, nodeRuns)
	}
	g.dark = make([]bool, len(g.nodes))
	if g.below(4) == 0 {
		g.prio[1] = g.prio[0] // the tie-break
	}
	g.keep = g.below(4) == 0
	shuffle := ""
	if g.below(2) == 0 {
		shuffle = " shuffle"
	}
	g.two = g.below(3) == 0
	g.advert = time.Second
	if g.v3 = g.below(2) == 0 || g.six == onlyIPv6; g.v3 {
		g.advert = []time.Duration{100 * time.Millisecond, 250 * time.Millisecond, time.Second}[g.below(3)]
	}
	g.pushy = g.below(3) == 0
	g.auth = !g.v3 && g.below(2) == 0
	if g.group {
		g.two = false
	}
	if g.owner = !g.two && g.below(12) == 0; g.owner {
		g.prio[0] = 255
	}
	g.track = []string{"", "weight -50", "weight 20"}[g.below(3)]
	lans := ""
	if g.group {
		lans, g.track = " lans=2", "" // in a group weights do not count
	}
	all := strings.Join(g.nodes, " ")
	fmt.Fprintf(&g.b, "# Random scenario of seed %d.\n", seed)
	g.say("world nodes=(%s) %s seed=%d%s%s%s", strings.ReplaceAll(all, " ", ","), g.lvs.world(), seed, lans, g.nets6(), shuffle)
	g.configure(all, g.conf(g.prio, ""))
	if g.pushy {
		g.run(time.Second)
	}
	for _, vip := range g.asked() {
		g.say("load c1 %s every=100ms", vip)
	}
	if g.lvs.on {
		g.say("load c2 10.0.0.100:80 every=200ms")
	}
	g.run(time.Duration(1+g.below(8)) * time.Second)
}

// configure gives directors a file, or pushes one to all.
func (g *generator) configure(nodes, conf string) {
	if g.pushy {
		g.say("push\n%s", conf)
		return
	}
	g.say("conf %s\n%s", nodes, conf)
}

// conf writes the file; extra is a line among the addresses of VI_1.
func (g *generator) conf(prio []int, extra string) string {
	var c strings.Builder
	c.WriteString("vrrp_script chk {\n    script /bin/true\n    interval 1\n")
	if g.track != "" {
		c.WriteString("    " + g.track + "\n")
	}
	c.WriteString("}\n")
	if g.group {
		c.WriteString("vrrp_sync_group G {\n    group {\n        VI_1\n        VI_2\n    }\n}\n")
	}
	instance := func(name, iface string, vrid int, v3 bool, addrs string, prio func(i int) int) {
		fmt.Fprintf(&c, "vrrp_instance %s {\n    interface %s\n    virtual_router_id %d\n    state BACKUP\n", name, iface, vrid)
		if v3 {
			c.WriteString("    version 3\n")
		}
		fmt.Fprintf(&c, "    advert_int %g\n", g.advert.Seconds())
		for i, n := range g.nodes {
			fmt.Fprintf(&c, "    @%s priority %d\n", n, prio(i))
		}
		if g.keep {
			c.WriteString("    nopreempt\n")
		}
		if g.auth && !v3 {
			c.WriteString("    authentication {\n        auth_type PASS\n        auth_pass secret\n    }\n")
		}
		fmt.Fprintf(&c, "    track_script {\n        chk\n    }\n    virtual_ipaddress {\n%s    }\n}\n", addrs)
	}
	if g.six == onlyIPv6 {
		instance("VI_1", "eth0", 51, true, "        fe80::51\n        2001:db8::100\n"+extra, func(i int) int { return prio[i] })
	} else {
		instance("VI_1", "eth0", 51, g.v3, "        10.0.0.100\n"+extra, func(i int) int { return prio[i] })
	}
	if g.six == bothFamilies {
		instance("VI_6", "eth0", 51, true, "        fe80::51\n        2001:db8::100\n", func(i int) int { return prio[i] })
	}
	if g.two {
		instance("VI_2", "eth0", 52, g.v3, "        10.0.0.101\n        10.0.0.102\n", func(i int) int { return prio[len(prio)-1-i] })
	}
	if g.group {
		instance("VI_2", "eth1", 52, g.v3, "        10.0.1.101\n", func(i int) int { return prio[i] })
	}
	c.WriteString(g.lvs.conf())
	return strings.TrimSpace(c.String())
}

// faults draws 5 to 20 steps out of a random subset of all kinds.
func (g *generator) faults() {
	kinds := []func(){g.stopOrKill, g.crash, g.pause, g.nic, g.cut, g.split, g.chance, g.delay, g.drift, g.revive, g.heal, g.reload, g.script, g.quickRestart, g.forged, g.filter, g.spanning}
	var on []func()
	for _, k := range kinds {
		if g.below(2) == 0 {
			on = append(on, k)
		}
	}
	if g.shapes {
		on = append(on, g.shape)
	}
	if g.lvs.on {
		on = append(on, g.serverFault, g.serverFault, g.serviceReload)
	}
	if g.pushy && g.store.Below(3) > 0 {
		on = append(on, g.hurtStore, g.hurtStore, g.hurtStore)
	}
	on = append(on, g.revive) // or soon nobody is left to hurt
	for range 5 + g.below(16) {
		on[g.below(len(on))]()
		g.run(time.Duration(g.below(6000)) * time.Millisecond)
	}
}

// pick draws a node in one of the states, -1 if there is none.
func (g *generator) pick(states ...nodeState) int {
	var list []int
	for i, s := range g.state {
		if slices.Contains(states, s) {
			list = append(list, i)
		}
	}
	if len(list) == 0 {
		return -1
	}
	return list[g.below(len(list))]
}

func (g *generator) stopOrKill() {
	i := g.pick(nodeRuns)
	if i < 0 {
		return
	}
	verb := "stop"
	if g.below(2) == 0 {
		verb, g.harsh = "kill", true
	}
	g.say("%s %s", verb, g.nodes[i])
	g.state[i] = nodeStopped
}

func (g *generator) crash() {
	if i := g.pick(nodeRuns, nodeStopped, nodePaused); i >= 0 {
		g.say("crash %s", g.nodes[i])
		g.state[i] = nodeCrashed
	}
}

func (g *generator) pause() {
	if i := g.pick(nodeRuns); i >= 0 {
		g.say("pause %s", g.nodes[i])
		g.state[i], g.harsh = nodePaused, true
	}
}

func (g *generator) revive() {
	if i := g.pick(nodeStopped, nodePaused, nodeCrashed); i >= 0 {
		verb := "start"
		if g.state[i] == nodePaused {
			verb = "resume"
		}
		g.say("%s %s", verb, g.nodes[i])
		g.state[i] = nodeRuns
	}
}

func (g *generator) nic() {
	i := g.below(len(g.nodes))
	if g.group && g.below(2) == 0 {
		g.say("nic %s %s eth1", g.nodes[i], []string{"up", "down"}[g.below(2)])
		return
	}
	g.dark[i] = !g.dark[i]
	g.say("nic %s %s", g.nodes[i], map[bool]string{true: "down", false: "up"}[g.dark[i]])
}

// path draws a direction between two hosts, the client included, or one with everybody.
func (g *generator) path() string {
	ends := append(append(slices.Clone(g.nodes), g.others()...), "*")
	i := g.below(len(ends))
	k := g.below(len(ends) - 1)
	if k >= i {
		k++
	}
	return ends[i] + ">" + ends[k]
}

func (g *generator) cut() { g.say("cut %s", g.path()) }

// filter loses one kind of traffic for good.
func (g *generator) filter() {
	g.say("cut %s proto=%s", g.path(), []string{"vrrp", "garp", "arp", "icmp", "vrrp+garp"}[g.below(5)])
}

// spanning lets switches block ports for a while after their link came up.
func (g *generator) spanning() { g.say("stp %ds", g.below(12)) }

// quickRestart kills a daemon and starts it again before anybody else could be owner, or after.
func (g *generator) quickRestart() {
	if i := g.pick(nodeRuns); i >= 0 {
		g.harsh = true
		g.say("kill %s", g.nodes[i])
		g.run(time.Duration(1+g.below(30)) * g.advert / 10)
		g.say("start %s", g.nodes[i])
	}
}

// shape slows a line down, opens half a port or lets the switches look at IGMP.
func (g *generator) shape() {
	switch g.below(4) {
	case 0:
		g.say("rate %s %dkbit", g.path(), []int{2, 16, 128}[g.below(3)])
	case 1:
		g.say("nic %s %s", g.nodes[g.below(len(g.nodes))], []string{"deaf", "mute", "up"}[g.below(3)])
	case 2:
		g.snoops = true
		g.say("igmp on age=%ds", 5+g.below(20))
	case 3:
		g.snoops = true
		g.say("igmp on age=10s querier=3s")
	}
}

// forgery writes adverts that must be refused: through a router, with another password, other addresses, another interval or
// version.
func (g *generator) forgery(kind, count int, every time.Duration) string {
	version, interval, auth, vips, ttl := 2, g.advert, "", "10.0.0.100", 255
	if g.auth {
		auth = " auth=secret"
	}
	if g.v3 {
		version = 3
	}
	more := "10.0.0.77"
	if g.six == onlyIPv6 {
		vips, more = "fe80::51,2001:db8::100", "2001:db8::77"
	}
	switch kind {
	case 0:
		ttl = 254
	case 1:
		if g.v3 {
			ttl = 1 // version 3 knows no passwords
		} else {
			auth = " auth=wrong"
		}
	case 2:
		vips = more
	case 3:
		if g.v3 {
			vips += "," + more
		} else {
			interval += time.Second
		}
	case 4:
		if g.six == onlyIPv6 {
			ttl = 64 // there is no other version
			break
		}
		version = 5 - version
		interval, auth = time.Second, ""
	}
	return fmt.Sprintf("advert c1 vrid=51 prio=%d version=%d int=%v vips=(%s) ttl=%d%s count=%d every=%v",
		[]int{0, 1, 200, 254, 255}[g.below(5)], version, interval, vips, ttl, auth, count, every)
}

// forgeries is the number of kinds.
const forgeries = 5

func (g *generator) forged() {
	g.say("%s", g.forgery(g.below(forgeries), 1+g.below(20), 200*time.Millisecond))
}

func (g *generator) split() {
	sides := [2][]string{}
	for _, h := range append(slices.Clone(g.nodes), g.others()...) {
		s := g.below(2)
		sides[s] = append(sides[s], h)
	}
	g.say("split {%s}/{%s}", strings.Join(sides[0], " "), strings.Join(sides[1], " "))
}

func (g *generator) chance() {
	what := []string{"loss", "dup", "reorder", "corrupt"}[g.below(4)]
	g.corrupts = g.corrupts || what == "corrupt"
	g.say("%s %s 1/%d", what, g.path(), 2+g.below(50))
}

// maxDelay is the longest a random scenario delays frames; delays outlast recover.
const maxDelay = 5 * time.Millisecond

func (g *generator) delay() {
	g.say("delay %s 100us..%v", g.path(), time.Duration(1+g.below(int(maxDelay/time.Millisecond)))*time.Millisecond)
}

func (g *generator) drift() {
	g.say("clock %s %dppm", g.nodes[g.below(len(g.nodes))], g.below(1001)-500)
}

func (g *generator) heal() { g.say("heal") }

// reload gives a node another file: the same, other priorities, or one VIP more.
func (g *generator) reload() {
	i := g.pick(nodeRuns)
	if i < 0 {
		return
	}
	prio, extra := g.prio, ""
	kind := g.below(4)
	switch kind {
	case 0:
		prio = slices.Clone(prio)
		for k := range prio {
			prio[k] = 1 + g.below(254)
		}
	case 1:
		extra, g.harsh = g.extra(109), true
	case 2:
		if g.v3 { // another interval, which the others must learn
			was := g.advert
			g.advert, g.harsh = 2*was, true
			defer func() { g.advert = was }()
		}
	}
	g.configure(g.nodes[i], g.conf(prio, extra))
}

func (g *generator) script() {
	i := g.below(len(g.nodes))
	g.say("script %s chk exit=%d", g.nodes[i], g.below(2))
}
