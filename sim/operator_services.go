package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/config"
	"quorate/ipvs"
)

// servers are the real servers of an operator's file.
type servers struct {
	words   []string // for world's real=
	names   []string
	addrs   []netip.Addr
	service string        // ADDRESS:PORT of the first virtual server on the VIP that is asked, empty if there is none
	victim  string        // one of its real servers
	longest time.Duration // that any check needs to find something out
}

// findServers lists the real servers of all directors' files, and gives each a segment: the one whose net has its address, an
// interface that no VIP is on, or one of its own.
func (o *operator) findServers(ifaces *[]string, nets map[string]netip.Prefix, taken map[netip.Addr]bool) {
	s := &o.real
	for _, m := range o.nodes {
		for _, v := range m.conf.VirtualServers {
			for _, r := range v.RealServers {
				for _, c := range r.Checks {
					s.longest = max(s.longest, checkTime(c))
				}
				if a := r.Addr.V; a.Is4() && !slices.Contains(s.addrs, a) {
					s.addrs = append(s.addrs, a)
				}
			}
		}
	}
	number := 0
	for _, a := range s.addrs {
		taken[a] = true
		if !slices.ContainsFunc(*ifaces, func(name string) bool { return nets[name].Contains(a) }) {
			i := slices.IndexFunc(*ifaces, func(name string) bool { return !nets[name].IsValid() })
			if i < 0 {
				*ifaces = append(*ifaces, fmt.Sprintf("real%d", len(*ifaces)))
				i = len(*ifaces) - 1
			}
			nets[(*ifaces)[i]] = netip.PrefixFrom(a, 24).Masked()
		}
		// The number is for its addresses on other segments: none that a VIP has.
		for number++; number <= maxReal && slices.ContainsFunc(*ifaces, func(name string) bool {
			net := nets[name]
			if !net.IsValid() {
				return false
			}
			b := net.Addr().As4()
			b[3] = byte(220 + number)
			other := netip.AddrFrom4(b)
			return other != a && (taken[other] || slices.Contains(s.addrs, other))
		}); number++ {
		}
		name := fmt.Sprintf("rs%d", number)
		s.names, s.words = append(s.names, name), append(s.words, fmt.Sprintf("%s@%v", name, a))
	}
}

// chooseService finds what a client can connect to: the first virtual server on a VIP that is asked.
func (o *operator) chooseService(c *config.Config) {
	for _, v := range c.VirtualServers {
		if v.Addr.V != o.vip || v.Port.V == 0 || serviceKey(v).Protocol != ipvs.TCP || len(v.RealServers) == 0 {
			continue
		}
		// The last one is the first that the kernel sends a client to.
		if i := slices.Index(o.real.addrs, v.RealServers[len(v.RealServers)-1].Addr.V); i >= 0 {
			o.real.service, o.real.victim = netip.AddrPortFrom(v.Addr.V, uint16(v.Port.V)).String(), o.real.names[i]
			return
		}
	}
}

// nameClient calls it client, or client2 and so on where its address would be somebody's.
func (o *operator) nameClient(nets map[string]netip.Prefix, taken map[netip.Addr]bool) {
	o.client = "client"
	for number := 1; number <= maxClients; number++ {
		free := true
		for _, net := range nets { // any of them rules it out: the order is of no consequence
			if net.IsValid() {
				a := net.Addr().As4()
				a[3] = byte(200 + number)
				free = free && !taken[netip.AddrFrom4(a)]
			}
		}
		if free {
			if number > 1 {
				o.client = fmt.Sprintf("client%d", number)
			}
			return
		}
	}
}
