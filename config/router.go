package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// routerRules are the keywords of vrrp_instance beyond the election itself: how adverts
// travel, what is tracked, what else moves with the addresses.
func routerRules() []rule {
	const I = "vrrp_instance"
	b := func(f func(*Instance) *Value[bool]) boolOf { return func(c *ctx) *Value[bool] { return f(c.inst) } }
	ip := func(f func(*Instance) *Value[netip.Addr]) setter {
		return address(func(c *ctx) *Value[netip.Addr] { return f(c.inst) })
	}
	cmd := func(f func(*Instance) **Command) setter {
		return command(func(c *ctx) **Command { return f(c.inst) })
	}
	tracks := func(kw string, lo, hi int64, list func(*Instance) *[]Track) setter {
		return trackList(kw, lo, hi, func(c *ctx) *[]Track { return list(c.inst) })
	}
	return []rule{
		{block: I, keyword: "unicast_peer", open: func(c *ctx, s *stmt) bool {
			if len(s.children) == 0 {
				if c.facts.noPeers == nil {
					c.facts.noPeers = map[*Instance]Pos{}
				}
				c.facts.noPeers[c.inst] = s.pos
			}
			return true
		}, each: peer},
		{block: I, keyword: "unicast_src_ip", args: 1, set: ip(func(i *Instance) *Value[netip.Addr] { return &i.UnicastSrcIP })},
		{block: I, keyword: "mcast_src_ip", args: 1, set: ip(func(i *Instance) *Value[netip.Addr] { return &i.McastSrcIP })},
		{block: I, keyword: "mcast_dst_ip", args: 1, set: func(c *ctx, s *stmt) {
			if w, ok := c.arg(s, 1, "multicast address"); ok && c.wordValue(spec{name: "mcast"}, s.keyword(), w) {
				put(c, s, &c.inst.McastDstIP, netip.MustParseAddr(w.text), w.pos)
			}
		}},
		{block: I, keyword: "unicast_ttl", args: 1, set: integer(0, 255, func(c *ctx) *Value[int] { return &c.inst.UnicastTTL })},
		{block: I, keyword: "unicast_fault_no_peer", set: flag(b(func(i *Instance) *Value[bool] { return &i.UnicastFaultNoPeer }))},
		{block: I, keyword: "check_unicast_src", set: flag(b(func(i *Instance) *Value[bool] { return &i.CheckUnicastSrc }))},
		{block: I, keyword: "old_unicast_checksum", args: 1, set: func(c *ctx, s *stmt) {
			v := "on"
			if len(s.words) > 1 {
				if v = s.words[1].text; !c.oneOf(s.words[1], s.keyword(), "never") {
					return
				}
			}
			put(c, s, &c.inst.OldUnicastChecksum, v, s.pos)
		}},
		{block: I, keyword: "track_src_ip", set: flag(b(func(i *Instance) *Value[bool] { return &i.TrackSrcIP }))},
		{block: I, keyword: "use_vmac", args: anyWords, set: vmac},
		{block: I, keyword: "use_vmac_addr", set: flag(b(func(i *Instance) *Value[bool] { return &i.VMACAddr }))},
		{block: I, keyword: "use_ipvlan", args: anyWords, set: ipvlan},
		{block: I, keyword: "vmac_xmit_base", set: flag(b(func(i *Instance) *Value[bool] { return &i.VMACXmitBase }))},
		{block: I, keyword: "accept", set: func(c *ctx, s *stmt) { put(c, s, &c.inst.Accept, true, s.pos) }},
		{block: I, keyword: "no_accept", set: func(c *ctx, s *stmt) { put(c, s, &c.inst.Accept, false, s.pos) }},
		{block: I, keyword: "skip_check_adv_addr", args: 1, set: boolean(b(func(i *Instance) *Value[bool] { return &i.SkipCheckAdvAddr }))},
		{block: I, keyword: "strict_mode", args: 1, set: boolean(b(func(i *Instance) *Value[bool] { return &i.Strict }))},
		{block: I, keyword: "v3_checksum_as_v2", args: 1, set: boolean(b(func(i *Instance) *Value[bool] { return &i.V3ChecksumAsV2 }))},
		{block: I, keyword: "dont_track_primary", set: flag(b(func(i *Instance) *Value[bool] { return &i.DontTrackPrimary }))},
		{block: I, keyword: "promote_secondaries", set: flag(b(func(i *Instance) *Value[bool] { return &i.PromoteSecondaries }))},
		{block: I, keyword: "owner_ignore_adverts", args: 1, set: boolean(b(func(i *Instance) *Value[bool] { return &i.OwnerIgnoreAdverts }))},
		{block: I, keyword: "no_virtual_ipaddress", set: flag(b(func(i *Instance) *Value[bool] { return &i.NoVirtualIPAddress }))},
		{block: I, keyword: "notify_priority_changes", args: 1, set: boolean(b(func(i *Instance) *Value[bool] { return &i.NotifyPriority }))},
		{block: I, keyword: "notify_deleted", args: anyWords, set: func(c *ctx, s *stmt) {
			if len(s.words) > 1 {
				command(func(c *ctx) **Command { return &c.inst.NotifyDeleted })(c, s)
			}
		}},
		{block: I, keyword: "notify_master_rx_lower_pri", args: anyWords, set: cmd(func(i *Instance) **Command { return &i.NotifyMasterRxLowerPri })},
		{block: I, keyword: "lvs_sync_daemon_interface", args: 1, set: interfaceName(func(c *ctx) *Value[string] { return &c.inst.LVSSyncInterface })},
		{block: I, keyword: "timer_expired_backup", args: 1, set: timerExpired},
		{block: I, keyword: "thread_timer_expired", args: 1, set: timerExpired},
		{block: I, keyword: "track_file", each: tracks("track_file", -254, 254, func(i *Instance) *[]Track { return &i.TrackFiles })},
		{block: I, keyword: "track_process", each: tracks("track_process", -254, 254, func(i *Instance) *[]Track { return &i.TrackProcesses })},
		{block: I, keyword: "track_bfd", each: tracks("track_bfd", -253, 253, func(i *Instance) *[]Track { return &i.TrackBFDs })},
		{block: I, keyword: "virtual_routes", each: routeList(func(c *ctx) *[]Route { return &c.inst.VirtualRoutes }, "virtual_routes")},
		{block: I, keyword: "virtual_rules", each: ruleList(func(c *ctx) *[]Rule { return &c.inst.VirtualRules }, "virtual_rules")},
	}
}

func trackList(kw string, lo, hi int64, list func(*ctx) *[]Track) setter {
	return func(c *ctx, item *stmt) {
		if t, ok := c.trackLine(item, kw, lo, hi, kw == "track_interface"); ok {
			*list(c) = append(*list(c), t)
		}
	}
}

func timerExpired(c *ctx, s *stmt) {
	if len(s.words) == 1 {
		put(c, s, &c.inst.TimerExpiredBackup, 254, s.pos)
		return
	}
	integer(1, 254, func(c *ctx) *Value[int] { return &c.inst.TimerExpiredBackup })(c, s)
}

// peer reads IP [min_ttl N] [max_ttl N].
func peer(c *ctx, item *stmt) {
	const kw = "unicast_peer"
	w := c.bare(item.words[0], kw)
	a, err := netip.ParseAddr(w.text)
	if err != nil || a.Is4In6() {
		c.bad(w, kw, "write the IP address of another router", fmt.Errorf("%q is not an IP address", shorten(w.text)))
		return
	}
	i := c.inst
	switch {
	case len(i.UnicastPeers) > 0 && i.UnicastPeers[0].Addr.Is4() != a.Is4():
		c.bad(w, kw, "write addresses of one family", fmt.Errorf("%s is of another family than the first peer %s", a, i.UnicastPeers[0].Addr))
		return
	case a.IsMulticast():
		c.bad(w, kw, "write the address of another router", fmt.Errorf("%s is a multicast address", a))
		return
	}
	if len(i.UnicastPeers) == maxPeers {
		c.errorf(w.pos, "out-of-range", kw, "list the directors only", "more than %d peers", maxPeers)
		return
	}
	for _, old := range i.UnicastPeers {
		if old.Addr == a {
			c.warnf(w.pos, "duplicate-address", kw, "delete one of the two", "%s is already listed at %s; this line is left out", a, old.Pos)
			return
		}
	}
	p := Peer{Addr: a, Pos: w.pos, MaxTTL: Value[int]{V: 255}}
	for k := 1; k < len(item.words); k += 2 {
		opt := item.words[k]
		if !c.oneOf(opt, kw, "min_ttl", "max_ttl") {
			return
		}
		if k+1 == len(item.words) {
			c.errorf(opt.pos, "missing-value", kw, "write: "+opt.text+" NUMBER", "%s needs a number from 0 to 255", opt.text)
			return
		}
		n, err := number(item.words[k+1].text, 0, 255)
		if err != nil {
			c.bad(item.words[k+1], kw, "write a number from 0 to 255", fmt.Errorf("%s %w", opt.text, err))
			return
		}
		v := Value[int]{V: int(n), Set: true, Pos: item.words[k+1].pos}
		if opt.text == "min_ttl" {
			p.MinTTL = v
		} else {
			p.MaxTTL = v
		}
	}
	if p.MinTTL.V > p.MaxTTL.V {
		c.bad(word{pos: p.MinTTL.Pos}, kw, "write the smaller number behind min_ttl", fmt.Errorf("min_ttl %d is above max_ttl %d", p.MinTTL.V, p.MaxTTL.V))
	}
	i.UnicastPeers = append(i.UnicastPeers, p)
}

// vmac reads [[name] IF] [MAC] [netlink_notify_msg] [group G].
func vmac(c *ctx, s *stmt) {
	const kw = "use_vmac"
	v := &VMAC{Pos: s.pos}
	words := s.words[1:]
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		switch {
		case w.text == "netlink_notify_msg":
			v.Netlink = true
		case w.text == "name" || w.text == "group":
			if len(words) == 0 {
				c.errorf(w.pos, "missing-value", kw, "write: "+w.text+" NAME", "%s needs a name", w.text)
				return
			}
			if w.text == "group" {
				v.Group = words[0].text
			} else if v.Name = words[0].text; !c.ifname(words[0], kw) {
				return
			}
			words = words[1:]
		case strings.Count(w.text, ":") >= 4:
			if v.MAC = w.text; !isMAC(w.text) {
				c.bad(w, kw, "write five or six bytes such as 02:00:5e:00:01", fmt.Errorf("%q is not a MAC address for one host", shorten(w.text)))
				return
			}
		case v.Name == "" && c.ifname(w, kw):
			v.Name = w.text
			if strings.Contains(w.text, ":") {
				c.bad(w, kw, "write the name, then the MAC address", fmt.Errorf("%q cannot be the name of an interface", shorten(w.text)))
				return
			}
		case v.Name == "":
			return
		default:
			c.bad(w, kw, "write: use_vmac [NAME] [MAC] [group GROUP]", fmt.Errorf("does not understand %q", shorten(w.text)))
			return
		}
	}
	if old := c.inst.UseVMAC; old != nil && old.IPVLAN != "" {
		c.errorf(s.pos, "duplicate-keyword", kw, "delete one of the two", "vrrp_instance %s has a virtual interface at %s already: use_vmac and use_ipvlan exclude each other", c.inst.Name, old.Pos)
		return
	}
	c.inst.UseVMAC = v
}

// isMAC accepts five bytes (the VRID is added) or six, not a group address.
func isMAC(s string) bool {
	parts := strings.Split(s, ":")
	if len(parts) != 5 && len(parts) != 6 {
		return false
	}
	for _, p := range parts {
		if len(p) < 1 || len(p) > 2 || strings.Trim(p, "0123456789abcdefABCDEF") != "" {
			return false
		}
	}
	last := parts[0][len(parts[0])-1]
	return strings.IndexByte("13579bdfBDF", last) < 0 // the group bit
}

// ipvlan reads [[name] IF] [IP] [bridge|private|vepa] [group G].
func ipvlan(c *ctx, s *stmt) {
	const kw = "use_ipvlan"
	v := &VMAC{IPVLAN: "bridge", Pos: s.pos}
	mode := false
	for k := 1; k < len(s.words); k++ {
		w := s.words[k]
		switch w.text {
		case "bridge", "private", "vepa":
			if mode {
				c.bad(w, kw, "write one of bridge, private and vepa", fmt.Errorf("the mode is %s already", v.IPVLAN))
				return
			}
			v.IPVLAN, mode = w.text, true
			continue
		case "name", "group":
			if k++; k == len(s.words) {
				c.errorf(w.pos, "missing-value", kw, "write: "+w.text+" NAME", "%s needs a name", w.text)
				return
			}
			if w.text == "group" {
				v.Group = s.words[k].text
				continue
			}
			w = s.words[k]
		default:
			if addr, _, _ := strings.Cut(w.text, "/"); isAddr(addr) {
				p, ok := c.prefix(w, kw)
				if !ok {
					return
				}
				if v.Addr.IsValid() {
					c.bad(w, kw, "write one address", fmt.Errorf("it has the address %s already", v.Addr))
					return
				}
				v.Addr = p
				continue
			}
		}
		if v.Name != "" {
			c.bad(w, kw, "write: use_ipvlan [NAME] [ADDRESS/LENGTH] [bridge|private|vepa]", fmt.Errorf("does not understand %q", shorten(w.text)))
			return
		}
		if v.Name = w.text; !c.ifname(w, kw) {
			return
		}
	}
	if old := c.inst.UseVMAC; old != nil {
		c.errorf(s.pos, "duplicate-keyword", kw, "delete one of the two", "vrrp_instance %s has a virtual interface at %s already: use_vmac and use_ipvlan exclude each other", c.inst.Name, old.Pos)
		return
	}
	c.inst.UseVMAC = v
}
