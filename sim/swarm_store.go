package sim

import (
	"slices"
	"strings"
	"time"
)

// hurtStore does something to the replicated store: its messages, its disks, or all of it in the middle of a write.
func (g *generator) hurtStore() {
	below := func(n int) int { return int(g.store.Below(uint64(n))) }
	some := func() string { return g.nodes[below(len(g.nodes))] }
	switch below(7) {
	case 0:
		ends := append(slices.Clone(g.nodes), "*")
		from, to := some(), ends[below(len(ends))]
		if from == to {
			to = "*"
		}
		if below(2) == 0 {
			from, to = to, from
		}
		g.say("cut %s>%s proto=raft", from, to)
	case 1:
		g.say("loss *>* 1/%d proto=raft", 2+below(10))
	case 2:
		g.say("disk %s %s", some(), []string{"full", "ok", "slow=20ms", "slow=300ms", "slow=1500ms"}[below(5)])
	case 3:
		g.put(1 + below(15))
	case 4:
		g.say("push\n%s", g.conf(g.prio, ""))
	default:
		g.powerFails(below)
	}
}

// put writes a few keys.
func (g *generator) put(n int) {
	for range n {
		g.notes++
		g.say("put /note/%d x", g.notes)
		g.run(20 * time.Millisecond)
	}
}

// powerFails takes the power from several directors while something is being written, and gives it back.
func (g *generator) powerFails(below func(int) int) {
	var down []string
	for i, n := range g.nodes {
		if g.state[i] == nodeRuns && below(4) > 0 {
			down = append(down, n)
		}
	}
	if len(down) == 0 {
		return
	}
	g.harsh = true
	// Half the time one disk is quick, the others are slow and lose what they have not done, and the quick one comes back last: then
	// those that are left elect without it, and whatever they have promised and not kept is gone.
	quick := -1
	if below(2) == 0 {
		quick = below(len(g.nodes))
		down = nil
		for i, n := range g.nodes {
			if g.state[i] == nodeRuns {
				down = append(down, n)
			}
			if i != quick {
				g.say("disk %s slow=%dms", n, 20+below(40))
				g.say("disk %s crash=lost", n)
			}
		}
	} else if below(2) == 0 {
		for _, n := range g.nodes {
			g.say("disk %s slow=%dms", n, 5+below(60))
		}
	}
	g.notes++
	if below(4) == 0 {
		// Another file, or there would be nothing to write.
		g.say("push\n%s", g.conf(g.prio, g.extra(120+below(50))))
		g.run(50 * time.Millisecond)
	} else {
		g.say("put /note/%d x", g.notes)
	}
	g.run(time.Duration(1+below(20)) * time.Millisecond)
	g.say("crash %s", strings.Join(down, " "))
	for i := range down {
		k := i + below(len(down)-i)
		down[i], down[k] = down[k], down[i]
	}
	if quick >= 0 {
		last := g.nodes[quick]
		down = append(slices.DeleteFunc(down, func(n string) bool { return n == last }), last)
		if g.state[quick] != nodeRuns {
			down = down[:len(down)-1]
		}
	}
	for i, n := range down {
		if quick >= 0 && i == len(down)-1 {
			g.run(4 * time.Second)
		}
		g.say("start %s", n)
		g.run(time.Duration(below(1000)) * time.Millisecond)
	}
}
