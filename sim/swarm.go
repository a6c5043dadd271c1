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
	keep  bool   // nopreempt
	pushy bool   // configurations come by push
	auth  bool   // a password, version 2
	owner bool   // the first has priority 255
	track string // weight of the tracked script, empty for none
	harsh bool   // a daemon was killed or paused, or files differed: S1 cannot hold
	outs  []int  // directors that stay broken after the faults

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
	if g.v3 = g.below(2) == 0; g.v3 {
		g.advert = []time.Duration{100 * time.Millisecond, 250 * time.Millisecond, time.Second}[g.below(3)]
	}
	g.pushy = g.below(3) == 0
	g.auth = !g.v3 && g.below(2) == 0
	if g.owner = !g.two && g.below(12) == 0; g.owner {
		g.prio[0] = 255
	}
	g.track = []string{"", "weight -50", "weight 20"}[g.below(3)]
	all := strings.Join(g.nodes, " ")
	fmt.Fprintf(&g.b, "# Random scenario of seed %d.\n", seed)
	g.say("world nodes=(%s) client=c1 seed=%d%s", strings.ReplaceAll(all, " ", ","), seed, shuffle)
	g.configure(all, g.conf(g.prio, ""))
	if g.pushy {
		g.run(time.Second)
	}
	g.say("load c1 10.0.0.100 every=100ms")
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
	instance := func(name string, vrid int, addrs string, prio func(i int) int) {
		fmt.Fprintf(&c, "vrrp_instance %s {\n    interface eth0\n    virtual_router_id %d\n    state BACKUP\n", name, vrid)
		if g.v3 {
			c.WriteString("    version 3\n")
		}
		fmt.Fprintf(&c, "    advert_int %g\n", g.advert.Seconds())
		for i, n := range g.nodes {
			fmt.Fprintf(&c, "    @%s priority %d\n", n, prio(i))
		}
		if g.keep {
			c.WriteString("    nopreempt\n")
		}
		if g.auth {
			c.WriteString("    authentication {\n        auth_type PASS\n        auth_pass secret\n    }\n")
		}
		fmt.Fprintf(&c, "    track_script {\n        chk\n    }\n    virtual_ipaddress {\n%s    }\n}\n", addrs)
	}
	instance("VI_1", 51, "        10.0.0.100\n"+extra, func(i int) int { return prio[i] })
	if g.two {
		instance("VI_2", 52, "        10.0.0.101\n        10.0.0.102\n", func(i int) int { return prio[len(prio)-1-i] })
	}
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
	g.dark[i] = !g.dark[i]
	g.say("nic %s %s", g.nodes[i], map[bool]string{true: "down", false: "up"}[g.dark[i]])
}

// path draws a direction between two hosts, the client included, or one with everybody.
func (g *generator) path() string {
	ends := append(slices.Clone(g.nodes), "c1", "*")
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
		vips = "10.0.0.77"
	case 3:
		if g.v3 {
			vips = "10.0.0.100,10.0.0.77"
		} else {
			interval += time.Second
		}
	case 4:
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
	for _, h := range append(slices.Clone(g.nodes), "c1") {
		s := g.below(2)
		sides[s] = append(sides[s], h)
	}
	g.say("split {%s}/{%s}", strings.Join(sides[0], " "), strings.Join(sides[1], " "))
}

func (g *generator) chance() {
	g.say("%s %s 1/%d", []string{"loss", "dup", "reorder", "corrupt"}[g.below(4)], g.path(), 2+g.below(50))
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
		extra, g.harsh = "        10.0.0.109\n", true
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

// recovery is the liveness phase: the faults end, except that some directors may stay broken for ever; those that
// are left must find one owner, and stay with it.
func (g *generator) recovery() {
	g.say("stp 0s")
	g.say("recover")
	g.run(5 * time.Second) // so that every daemon has cleared what its killed predecessor left
	g.configure(strings.Join(g.nodes, " "), g.conf(g.prio, ""))
	g.run(time.Second)
	g.core()
	// An election or two, and the longest a client without any announcement needs: see neigh.go.
	g.run(time.Minute)
	vips := []string{"10.0.0.100"}
	if g.two {
		vips = append(vips, "10.0.0.101", "10.0.0.102")
	}
	claim := func() {
		if g.keep {
			return
		}
		for i, vip := range vips {
			g.say("expect vip=%s owner=%s", vip, g.best(i > 0))
		}
	}
	claim()
	g.say("mark")
	g.nuisance()
	g.quiet()
	for _, vip := range vips {
		g.say("expect vip=%s owners=1", vip)
	}
	claim()
	if !g.keep && !g.two && !strings.Contains(g.best(false), "|") {
		g.say("expect adverts=%s gap<=%v", g.best(false), g.advert*102/100)
	}
	g.say("expect client=c1 outage<=0s")
	if g.harsh || len(g.outs) > 0 {
		g.say("check live")
	} else {
		g.say("check")
	}
	g.last()
}

// quiet claims that nothing has moved.
func (g *generator) quiet() {
	for _, event := range []string{"vrrp.master", "vrrp.backup", "vrrp.fault"} {
		g.say("expect event=%s count=0", event)
	}
}

// core leaves some directors broken for ever, never all: without power, without a cable, or without anybody
// who hears them or whom they hear.
func (g *generator) core() {
	if g.below(2) == 0 {
		return
	}
	for i := range g.nodes {
		if len(g.outs) == len(g.nodes)-1 || g.below(3) > 0 {
			continue
		}
		g.outs = append(g.outs, i)
		switch g.below(3) {
		case 0:
			g.say("crash %s", g.nodes[i])
		case 1:
			g.say("nic %s down", g.nodes[i])
		case 2:
			g.say("stop %s", g.nodes[i])
		}
	}
}

// nuisance is half a minute in which nothing must happen although somebody tries: forged adverts, a push that
// adds an address, the same file once more.
func (g *generator) nuisance() {
	switch g.below(4) {
	case 0:
		g.run(30 * time.Second)
	case 1:
		for kind := range forgeries {
			g.say("%s", g.forgery(kind, 6, 900*time.Millisecond))
			g.run(6 * time.Second)
			g.quiet()
		}
	case 2:
		if len(g.outs)*2 < len(g.nodes) && g.pushy {
			// Members switch at very different moments: nobody may take that for a failure.
			g.say("push spread=8s\n%s", g.conf(g.prio, "        10.0.0.110\n"))
			g.run(15 * time.Second)
			g.quiet()
			g.say("expect client=c1 outage<=0s")
			g.say("expect vip=10.0.0.110 owners=1")
			g.say("push\n%s", g.conf(g.prio, ""))
		}
		g.run(15 * time.Second)
	case 3:
		for i, n := range g.nodes {
			if !slices.Contains(g.outs, i) && !g.pushy {
				g.say("conf %s\n%s", n, g.conf(g.prio, ""))
				g.run(3 * time.Second)
			}
		}
		g.run(20 * time.Second)
	}
}

// last is one clean fail-over: nobody may wait longer than the protocol's own time.
func (g *generator) last() {
	if g.keep || !g.distinct() || strings.Contains(g.best(false), "|") || len(g.outs) == len(g.nodes)-1 {
		return
	}
	verb, bound := "crash "+g.best(false), g.longestDown()
	kinds := 3
	if g.track == "" {
		kinds = 4
	}
	switch g.below(kinds) {
	case 3: // its script fails: it says good-bye too, within an interval of the script
		verb, bound = "script "+g.best(false)+" chk exit=1", g.longestDown()-3*g.advert+1100*time.Millisecond
	case 1: // it says good-bye: a skew time is enough
		verb, bound = "stop "+g.best(false), g.longestDown()-3*g.advert
	case 2: // it is owner again before anybody noticed
		verb, bound = "kill "+g.best(false), 0
	}
	g.say("%s", verb)
	if bound == 0 {
		g.run(g.advert)
		g.say("start %s", g.best(false))
		g.run(10 * time.Second)
		g.say("expect client=c1 outage<=0s")
		if !g.two {
			g.say("expect event=vrrp.master count=1") // its own, on paper
		}
		g.say("expect vip=10.0.0.100 owner=%s", g.best(false))
		g.say("check live")
		return
	}
	g.run(10 * time.Second)
	g.say("expect client=c1 outage<=%v", bound+300*time.Millisecond)
	if !g.two {
		g.say("expect event=vrrp.master count=1")
	}
	g.say("check live")
}

// distinct reports whether the priorities lie so far apart that two timers cannot run out
// within the time an advert may be under way. Where they can, two directors become MASTER for
// a moment, and if their announcements cross, a client follows the wrong one until the second
// block of them: no mistake of the machine.
func (g *generator) distinct() bool {
	p := slices.Sorted(slices.Values(g.effective()))
	for i := 1; i < len(p); i++ {
		if time.Duration(p[i]-p[i-1])*g.unit()/256 < 2*(maxDelay+wire.Late) {
			return false
		}
	}
	return true
}

// effective are the priorities while every script is good.
func (g *generator) effective() []int {
	prio := slices.Clone(g.prio)
	for i, p := range prio {
		if g.track == "weight 20" && p != 255 {
			prio[i] = min(p+20, 254)
		}
	}
	return prio
}

// unit is what skew time is a fraction of.
func (g *generator) unit() time.Duration {
	if g.v3 {
		return g.advert
	}
	return time.Second
}

// longestDown is the master-down interval of the lowest priority.
func (g *generator) longestDown() time.Duration {
	low := slices.Min(g.effective())
	return 3*g.advert + time.Duration(256-low)*g.unit()/256
}

// best is the node with the highest priority, of VI_2 if reversed. Among equals it is whoever
// was there first (a backup compares priorities only), so a tie at the top lists them all.
func (g *generator) best(reversed bool) string {
	prio := g.effective()
	if reversed {
		slices.Reverse(prio)
	}
	for _, i := range g.outs {
		prio[i] = -1
	}
	var names []string
	for i, p := range prio {
		if p == slices.Max(prio) {
			names = append(names, g.nodes[i])
		}
	}
	return strings.Join(names, "|")
}
