package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Subnets finds virtual addresses that lie in no network of the interface they go to: the
// director would own them, and no neighbour would ask it for them. on are the networks that
// each interface of this director has, by name; interfaces without one, or with none of the
// family, are not judged, nor are virtual addresses that bring a network of their own. It is a
// remark and no warning: an address that routers route to this director needs no network.
func Subnets(cfg *Config, on map[string][]netip.Prefix) Diagnostics {
	s := &sink{}
	for _, i := range cfg.Instances {
		for _, a := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
			dev := a.Dev
			if dev == "" {
				dev = i.Interface.V
			}
			vip := a.Prefix.Addr()
			if a.Prefix.Bits() < vip.BitLen() || vip.IsLinkLocalUnicast() {
				continue // the kernel makes the route from its prefix
			}
			var have []string
			inside := false
			for _, p := range on[dev] {
				if p.Addr().Is4() != vip.Is4() || p.Addr().IsLinkLocalUnicast() {
					continue
				}
				have = append(have, p.Masked().String())
				inside = inside || p.Contains(vip)
			}
			if len(have) > 0 && !inside {
				s.infof(a.Pos, "address-off-subnet", "virtual_ipaddress", fmt.Sprintf("write an address of %s, the dev that has its network, or %s/LENGTH", strings.Join(have, " or "), vip),
					"vrrp_instance %s: %s is in no network of %s (%s): neighbours would not ask this director for it, unless a router sends them here", i.Name, vip, dev, strings.Join(have, ", "))
			}
		}
	}
	return s.close()
}
