package sim

import (
	"slices"
	"strings"
	"time"

	"quorate/sim/wire"
)

// recovery is the liveness phase: the faults end, except that some directors may stay broken for ever; those that
// are left must find one owner, and stay with it.
func (g *generator) recovery() {
	g.say("stp 0s")
	if g.snoops {
		g.say("igmp off")
	}
	g.say("recover")
	g.run(15 * time.Second) // so that every daemon has cleared what its killed predecessor left, and no switch blocks a port any more
	g.configure(strings.Join(g.nodes, " "), g.conf(g.prio, ""))
	g.run(time.Second)
	g.core()
	// An election or two, and the longest a client without any announcement needs: see neigh.go.
	g.run(time.Minute)
	vips := g.asked()
	if g.two {
		vips = append(vips, "10.0.0.101", "10.0.0.102")
	}
	if g.group {
		vips = append(vips, "10.0.1.101")
	}
	claim := func() {
		if g.keep {
			return
		}
		for i, vip := range vips {
			g.say("expect vip=%s owner=%s", vip, g.best(g.two && i >= len(g.asked())))
		}
	}
	claim()
	g.serviceClaims()
	g.serverGone()
	g.say("mark")
	g.nuisance()
	g.quiet()
	for _, vip := range vips {
		g.say("expect vip=%s owners=1", vip)
	}
	claim()
	if !g.keep && !g.several() && !strings.Contains(g.best(false), "|") {
		g.say("expect adverts=%s gap<=%v", g.best(false), g.advert*102/100)
	}
	g.served("0s")
	if g.lvs.on {
		g.say("expect client=c2 lost=0")
	}
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
			g.say("push spread=8s\n%s", g.conf(g.prio, g.extra(110)))
			g.run(15 * time.Second)
			g.quiet()
			g.served("0s")
			g.say("expect vip=%s owners=1", strings.TrimSpace(g.extra(110)))
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
		g.served("0s")
		if !g.several() {
			g.say("expect event=vrrp.master count=1") // its own, on paper
		}
		for _, vip := range g.asked() {
			g.say("expect vip=%s owner=%s", vip, g.best(false))
		}
		g.say("check live")
		return
	}
	g.run(10 * time.Second)
	if g.corrupts {
		// ARP has no checksum: a wrong Ethernet address of the client may have been learned long ago, and the kernel asks again only
		// when that has led nowhere.
		bound += neighDelayTime + neighSolicits*neighRetransTime
	}
	g.served((bound + 300*time.Millisecond).String())
	if !g.several() {
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
