package sim

import (
	"fmt"

	"quorate/sim/wire"
)

// families is which of the two a random scenario speaks.
type families uint8

const (
	onlyIPv4     families = iota
	onlyIPv6              // VI_1 is an IPv6 instance
	bothFamilies          // VI_1, and an IPv6 instance VI_6 with the same virtual_router_id and priorities
)

// families draws them, from a stream of its own: a seventh of all seeds have IPv6 beside IPv4, another one, but those with real servers, has
// nothing else in its first instance.
func (g *generator) families(seed uint64) {
	switch wire.NewStream(seed, "families").Below(7) {
	case 0:
		g.six = bothFamilies
	case 1:
		if g.six = onlyIPv6; g.lvs.on {
			g.six = bothFamilies // services are IPv4
		}
	}
}

// nets6 is what the verb world says of IPv6.
func (g *generator) nets6() string {
	switch {
	case g.six == onlyIPv4:
		return ""
	case g.group:
		return " nets6=(2001:db8::/64,2001:db8:1::/64)"
	}
	return " nets6=(2001:db8::/64)"
}

// asked are the VIPs that the client c1 asks; their owner is the best of VI_1.
func (g *generator) asked() []string {
	switch g.six {
	case onlyIPv6:
		return []string{"2001:db8::100"}
	case bothFamilies:
		return []string{"10.0.0.100", "2001:db8::100"}
	}
	return []string{"10.0.0.100"}
}

// served claims how long c1 was without an answer at most.
func (g *generator) served(outage string) {
	for _, vip := range g.asked() {
		g.say("expect client=c1 vip=%s outage<=%s", vip, outage)
	}
}

// extra is one more address of VI_1, as a line of its block.
func (g *generator) extra(n int) string {
	if g.six == onlyIPv6 {
		return fmt.Sprintf("        2001:db8::%d\n", n)
	}
	return fmt.Sprintf("        10.0.0.%d\n", n)
}

// several reports whether there is more than one instance, whose events nobody tells apart.
func (g *generator) several() bool { return g.two || g.group || g.six == bothFamilies }
