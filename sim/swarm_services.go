package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"quorate/sim/wire"
)

// balanced is the part of a random scenario that has real servers: two of them behind the first VIP, and a client of its own, c2,
// that opens connections.
type balanced struct {
	on      bool
	algo    string
	retry   int
	delay   int // delay_loop, s
	weights [2]int
	extra   string // options of the virtual server
}

// services draws them, for a fifth of all seeds, from a stream of its own.
func (g *generator) services(seed uint64) {
	dice := wire.NewStream(seed, "services")
	b := &g.lvs
	if b.on = dice.Below(5) == 0; !b.on {
		return
	}
	b.algo = []string{"rr", "wrr", "wlc", "sh"}[dice.Below(4)]
	b.retry, b.delay = 1+int(dice.Below(3)), 1+int(dice.Below(4))
	for i := range b.weights {
		b.weights[i] = 1 + int(dice.Below(4))
	}
	b.extra = []string{"", "", "    alpha\n", "    inhibit_on_failure\n", "    persistence_timeout 5\n"}[dice.Below(5)]
}

// others are all hosts but the directors.
func (g *generator) others() []string {
	if g.lvs.on {
		return []string{"c1", "c2", "rs1", "rs2"}
	}
	return []string{"c1"}
}

// world is what the verb world says of them.
func (b *balanced) world() string {
	if b.on {
		return "client=(c1,c2) real=(rs1,rs2)"
	}
	return "client=c1"
}

func (b *balanced) conf() string {
	if !b.on {
		return ""
	}
	var c strings.Builder
	fmt.Fprintf(&c, "virtual_server 10.0.0.100 80 {\n    protocol TCP\n    lb_kind DR\n    lb_algo %s\n    delay_loop %d\n    retry %d\n    delay_before_retry 1\n%s",
		b.algo, b.delay, b.retry, b.extra)
	for i, w := range b.weights {
		fmt.Fprintf(&c, "    real_server 10.0.0.%d 80 {\n        weight %d\n        TCP_CHECK {\n            connect_timeout 1\n        }\n    }\n", 221+i, w)
	}
	c.WriteString("}\n")
	return c.String()
}

// serverFault hurts a real server, or the way to it.
func (g *generator) serverFault() {
	rs := fmt.Sprintf("rs%d", 1+g.below(2))
	switch g.below(6) {
	case 0, 1:
		g.say("server %s refuse", rs)
	case 2:
		g.say("server %s %s", rs, []string{"up", "down", "hang"}[g.below(3)])
	case 3:
		g.say("server %s refuse flap=%ds", rs, 1+g.below(4))
	case 4:
		g.say("cut %s>%s", g.nodes[g.below(len(g.nodes))], rs)
	case 5:
		g.say("server rs1 refuse")
		g.say("server rs2 refuse")
	}
}

// serviceReload gives a node a file with other weights, other checks, or without the service.
func (g *generator) serviceReload() {
	i := g.pick(nodeRuns)
	if i < 0 {
		return
	}
	was := g.lvs
	switch g.below(3) {
	case 0:
		g.lvs.weights[g.below(2)] = 1 + g.below(9)
	case 1:
		g.lvs.retry, g.lvs.delay = 1+g.below(3), 1+g.below(4)
	case 2:
		g.lvs.on = false
	}
	conf := g.conf(g.prio, "")
	g.lvs = was
	g.configure(g.nodes[i], conf)
}

// serviceClaims must hold when everything has been repaired for a while: every server is in every working director's table.
func (g *generator) serviceClaims() {
	if !g.lvs.on {
		return
	}
	for i, w := range g.lvs.weights {
		g.weighs(i+1, fmt.Sprint(w), "")
	}
}

// weighs claims the weight of a real server on every director that is not broken for ever.
func (g *generator) weighs(server int, weight, within string) {
	for i, n := range g.nodes {
		if !slices.Contains(g.outs, i) {
			g.say("expect server=rs%d weight=%s node=%s%s", server, weight, n, within)
		}
	}
}

// serverGone is one clean failure of a real server: found out in the time its check needs, and not a moment before.
func (g *generator) serverGone() {
	b := g.lvs
	if !b.on {
		return
	}
	// A probe may have succeeded just now, so that it takes a delay_loop and all retries; and a refused one takes no time.
	bound := time.Duration(b.delay+b.retry) * time.Second
	want := "none"
	if strings.Contains(b.extra, "inhibit") {
		want = "0"
	}
	g.say("server rs1 refuse")
	g.run(time.Duration(b.retry)*time.Second - 100*time.Millisecond)
	g.say("expect event=check.down count=0")
	g.run(bound)
	g.weighs(1, want, fmt.Sprintf(" within=%v", bound+200*time.Millisecond))
	if b.extra == "" || strings.Contains(b.extra, "alpha") {
		g.say("mark")
		g.run(2 * time.Second)
		g.say("expect client=c2 lost=0")
	}
	g.say("server rs1 up")
	g.run(time.Duration(b.delay+b.retry)*time.Second + time.Second)
	g.serviceClaims()
	g.say("check live")
}
