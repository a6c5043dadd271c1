package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"quorate/cluster"
	"quorate/config"
	"quorate/node"
)

// diagVRIDInUse: a stranger was heard to use a virtual_router_id of the configuration.
const diagVRIDInUse = "virtual-router-id-in-use"

// checkVRIDs compares a configuration with who is heard on this host's interfaces. A stranger is a sender of adverts that is no
// member and announces other addresses than the instance is to have: two virtual routers with one id refuse each other's adverts,
// and each floods the other's log. With the same addresses it is a keepalived of the group, or a member at another address. An id
// that runs here already is only warned of, or nothing else could be changed while the stranger is there.
func checkVRIDs(cfg *config.Config, heard []node.HeardRouter, running []node.InstanceStatus, members []cluster.Member, name string) []config.Diagnostic {
	type id struct {
		iface string
		vrid  int
	}
	used := map[id]bool{}
	for _, in := range cfg.Instances {
		used[id{in.Interface.V, in.VRID.V}] = true
	}
	for _, h := range heard {
		used[id{h.Interface, h.VRID}] = true
	}
	free := func(iface string) string {
		on := map[int]bool{}
		for k := range used {
			if k.iface == iface {
				on[k.vrid] = true
			}
		}
		return strings.Trim(fmt.Sprint(node.FreeVRIDs(on, 3)), "[]")
	}
	var out []config.Diagnostic
	for _, in := range cfg.Instances {
		var own []string
		family := "ipv4"
		for _, a := range in.VIPs {
			own = append(own, a.Prefix.Addr().String())
			if a.Prefix.Addr().Is6() {
				family = "ipv6"
			}
		}
		for _, h := range heard {
			if h.Interface != in.Interface.V || h.VRID != in.VRID.V || h.Family != family || h.MAC == "" || isMember(h.Address, members) || followed(running, h) || sameSet(own, h.VIPs) {
				continue
			}
			d := config.Diagnostic{Severity: config.Error, Code: diagVRIDInUse, Pos: in.VRID.Pos, Keyword: "virtual_router_id", Nodes: []string{name},
				Message: fmt.Sprintf("virtual_router_id %d is used on %s of %s by a stranger: %s (%s), version %d, priority %d, for %s", h.VRID, h.Interface, name,
					h.Address, h.MAC, h.Version, h.Priority, strings.Join(h.VIPs, ", ")),
				Hint: fmt.Sprintf("choose an id that nobody uses there, for example %s; clusterctl vrid list shows who uses which", free(h.Interface))}
			if slices.ContainsFunc(running, func(r node.InstanceStatus) bool { return r.Interface == h.Interface && r.VRID == h.VRID }) {
				d.Severity = config.Warning
			}
			out = append(out, d)
			break // one stranger is reason enough
		}
	}
	return out
}

func isMember(a netip.Addr, members []cluster.Member) bool {
	return slices.ContainsFunc(members, func(m cluster.Member) bool {
		ap, err := netip.ParseAddrPort(m.Address)
		return err == nil && ap.Addr().Unmap() == a
	})
}

// followed says whether the owner that an instance here obeys is the sender. Members are not known by their link-local addresses, from
// which they speak over IPv6.
func followed(running []node.InstanceStatus, h node.HeardRouter) bool {
	return h.Address.IsLinkLocalUnicast() && slices.ContainsFunc(running, func(r node.InstanceStatus) bool {
		return r.Interface == h.Interface && r.VRID == h.VRID && r.Master == h.Address
	})
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
