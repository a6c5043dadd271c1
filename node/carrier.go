package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"quorate/config"
	"quorate/vrrp"
)

func (i *instance) is6() bool { return is6(i.cfg) }

// is6 says in which family an instance sends adverts: that of its first address.
func is6(c *config.Instance) bool { return len(c.VIPs) > 0 && c.VIPs[0].Prefix.Addr().Is6() }

// socket is the kind of packets it sends and hears.
func (i *instance) socket() Socket {
	s := Socket{IPv6: i.is6(), AH: i.cfg.AuthType.V == "AH"}
	if len(i.cfg.UnicastPeers) == 0 {
		if s.Group = multicastGroup(i.cfg, i.global); !s.Group.IsValid() {
			s.Group = vrrp.Group(s.IPv6)
		}
	}
	return s
}

// multicastGroup is mcast_dst_ip or vrrp_mcast_group4/6, not valid when nothing is set.
func multicastGroup(c *config.Instance, g *config.Global) netip.Addr {
	switch {
	case c.McastDstIP.Set:
		return c.McastDstIP.V
	case is6(c) && g.McastGroup6.Set:
		return g.McastGroup6.V
	case !is6(c) && g.McastGroup4.Set:
		return g.McastGroup4.V
	}
	return netip.Addr{}
}

// configuredSource is unicast_src_ip or mcast_src_ip, or the address of an ipvlan.
func (i *instance) configuredSource() (netip.Addr, bool) {
	if v := i.cfg.UseVMAC; v != nil && v.IPVLAN != "" && v.Addr.IsValid() && !i.is6() {
		return v.Addr.Addr(), true
	}
	set := i.cfg.McastSrcIP
	if len(i.cfg.UnicastPeers) > 0 && i.cfg.UnicastSrcIP.Set {
		set = i.cfg.UnicastSrcIP
	}
	return set.V, set.Set && set.V.Is6() == i.is6()
}

// key is what a packet for this instance has.
func (i *instance) key() vridKey {
	return vridKey{i.cfg.Interface.V, uint8(i.cfg.VRID.V), i.is6()}
}

// deafTo says why an instance never gets adverts that its interface hears for its virtual_router_id: they travel another way. Without a word
// from us each side would be owner and wonder. Another way with other addresses is another virtual router; where nothing but the
// authentication header differs it is the same one, or a stranger.
func (i *instance) deafTo(ev Heard) (vrrp.RejectReason, string) {
	ah := i.cfg.AuthType.V == "AH"
	if ah != (ev.Auth == vrrp.AuthAH) {
		ours := "none"
		if i.cfg.AuthType.Set {
			ours = strings.ToLower(i.cfg.AuthType.V)
		}
		return vrrp.RejectAuthType, fmt.Sprintf("auth type %v, ours %s: an authentication header is another IP protocol, so that neither hears the other", ev.Auth, ours)
	}
	if !slices.ContainsFunc(ev.VIPs, func(a netip.Addr) bool {
		return slices.ContainsFunc(i.all, func(v config.Address) bool { return v.Prefix.Addr() == a })
	}) {
		return 0, ""
	}
	switch group := i.socket().Group; {
	case !group.IsValid() && ev.Dst.IsMulticast():
		return vrrp.RejectDestination, fmt.Sprintf("sent to %v, but ours has unicast_peer", ev.Dst)
	case group.IsValid() && ev.Dst.IsMulticast() && ev.Dst != group:
		return vrrp.RejectDestination, fmt.Sprintf("sent to %v, but ours is in %v", ev.Dst, group)
	case group.IsValid() && !ev.Dst.IsMulticast():
		return vrrp.RejectDestination, fmt.Sprintf("sent to %v alone, but ours has no unicast_peer", ev.Dst)
	}
	return 0, ""
}

func (i *instance) virtualMAC() [6]byte { return virtualMAC(i.cfg, i.is6()) }

// updateDue notes the deadline where Elector.Deadline finds it.
func (i *instance) updateDue(e *Elector) {
	if i.at < 0 {
		return
	}
	e.due[i.at] = i.extraAt
	if at, ok := i.m.Deadline(); ok {
		e.due[i.at] = min(at, i.extraAt)
	}
}

func (i *instance) matches(c *config.Instance) bool {
	return i.cfg.Interface.V == c.Interface.V && i.cfg.VRID.V == c.VRID.V && i.cfg.Version.V == c.Version.V && i.is6() == is6(c)
}

// vrrpConfig translates the tree. Who is on probation takes nothing from another owner; an address owner has no choice.
func vrrpConfig(c *config.Instance, g *config.Global, probation bool) vrrp.Config {
	v := vrrp.Config{
		Name:                 c.Name,
		Version:              uint8(c.Version.V),
		VRID:                 uint8(c.VRID.V),
		Priority:             uint8(c.Priority.V),
		AdvertInt:            c.AdvertInt.V,
		AuthPass:             c.AuthPass.V,
		Addrs:                addrs(c.VIPs),
		NoPreempt:            c.NoPreempt.V || probation && c.Priority.V != vrrp.PriorityOwner,
		PreemptDelay:         c.PreemptDelay.V,
		DownTimerAdverts:     c.DownTimerAdverts.V,
		LowerPrioNoAdvert:    c.LowerPrioNoAdvert.V,
		HigherPrioSendAdvert: c.HigherPrioSendAdvert.V,
		GARP: vrrp.GARP{
			MasterRepeat:        c.GARPMasterRepeat.V,
			MasterDelay:         c.GARPMasterDelay.V,
			MasterRefresh:       c.GARPMasterRefresh.V,
			MasterRefreshRepeat: c.GARPMasterRefreshRepeat.V,
			LowerPrioRepeat:     c.GARPLowerPrioRepeat.V,
			LowerPrioDelay:      c.GARPLowerPrioDelay.V,
		},
	}
	v.NoAddrs = c.NoVirtualIPAddress.V && len(c.VIPs) == 0
	v.McastDst = multicastGroup(c, g)
	v.SkipCheckAddrs = c.SkipCheckAdvAddr.V
	v.OwnerIgnoreAdverts = c.OwnerIgnoreAdverts.V
	v.ChecksumMessageOnly = c.V3ChecksumAsV2.V
	v.UnicastTTL = uint8(c.UnicastTTL.V)
	v.CheckUnicastSrc = c.CheckUnicastSrc.V
	for _, p := range c.UnicastPeers {
		if p.Addr.Is6() == is6(c) {
			v.Peers = append(v.Peers, vrrp.Peer{Addr: p.Addr, MinTTL: uint8(p.MinTTL.V), MaxTTL: uint8(p.MaxTTL.V)})
		}
	}
	switch c.OldUnicastChecksum.V {
	case "on":
		v.OldUnicast = vrrp.OldUnicastSend
	case "never":
		v.OldUnicast = vrrp.OldUnicastNever
	}
	switch c.AuthType.V {
	case "PASS":
		v.AuthType = vrrp.AuthPass
	case "AH":
		v.AuthType = vrrp.AuthAH
	}
	return v
}

func addrs(list []config.Address) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for k, a := range list {
		out[k] = a.Prefix.Addr()
	}
	return out
}
