package config

import (
	"slices"
	"strings"
	"time"
)

func instanceRules() []rule {
	n := func(f func(*Instance) *Value[int]) intOf { return func(c *ctx) *Value[int] { return f(c.inst) } }
	t := func(f func(*Instance) *Value[time.Duration]) timeOf {
		return func(c *ctx) *Value[time.Duration] { return f(c.inst) }
	}
	b := func(f func(*Instance) *Value[bool]) boolOf { return func(c *ctx) *Value[bool] { return f(c.inst) } }
	cmd := func(f func(*Instance) **Command) setter {
		return command(func(c *ctx) **Command { return f(c.inst) })
	}
	const (
		I = "vrrp_instance"
		A = "vrrp_instance.authentication"
	)
	return []rule{
		{block: "", keyword: I, args: 1, open: openInstance, close: closeInstance},
		{block: I, keyword: "state", args: 1, set: state},
		{block: I, keyword: "interface", args: 1, set: func(c *ctx, s *stmt) {
			if w, ok := c.arg(s, 1, "name"); ok && c.ifname(w, "interface") {
				put(c, s, &c.inst.Interface, w.text, w.pos)
			}
		}},
		{block: I, keyword: "virtual_router_id", args: 1, set: integer(1, 255, n(func(i *Instance) *Value[int] { return &i.VRID }))},
		{block: I, keyword: "priority", args: 1, set: integer(1, 255, n(func(i *Instance) *Value[int] { return &i.Priority }))},
		{block: I, keyword: "version", args: 1, set: integer(2, 3, n(func(i *Instance) *Value[int] { return &i.Version }))},
		{block: I, keyword: "advert_int", args: 1, set: duration(6, 10*time.Millisecond, 255*time.Second, t(func(i *Instance) *Value[time.Duration] { return &i.AdvertInt }))},
		{block: I, keyword: "nopreempt", set: flag(b(func(i *Instance) *Value[bool] { return &i.NoPreempt }))},
		{block: I, keyword: "preempt", set: func(c *ctx, s *stmt) { c.inst.NoPreempt = Value[bool]{Set: true, Pos: s.pos} }},
		{block: I, keyword: "preempt_delay", args: 1, set: duration(6, 0, 1000*time.Second, t(func(i *Instance) *Value[time.Duration] { return &i.PreemptDelay }))},
		{block: I, keyword: "authentication", open: func(*ctx, *stmt) bool { return true }, close: closeAuth},
		{block: A, keyword: "auth_type", args: 1, set: choice(func(c *ctx) *Value[string] { return &c.inst.AuthType }, "PASS", "AH")},
		{block: A, keyword: "auth_pass", args: 1, set: func(c *ctx, s *stmt) {
			text("password", func(c *ctx) *Value[string] { return &c.inst.AuthPass })(c, s)
			c.secretAt(s.pos, "auth_pass")
		}},
		{block: I, keyword: "virtual_ipaddress", each: addressList(func(c *ctx) *[]Address { return &c.inst.VIPs }, "virtual_ipaddress")},
		{block: I, keyword: "virtual_ipaddress_excluded", each: addressList(func(c *ctx) *[]Address { return &c.inst.ExcludedVIPs }, "virtual_ipaddress_excluded")},
		{block: I, keyword: "track_script", each: func(c *ctx, item *stmt) {
			if t, ok := c.trackLine(item, "track_script", -253, 253, false); ok {
				c.inst.TrackScripts = append(c.inst.TrackScripts, t)
			}
		}},
		{block: I, keyword: "track_interface", each: trackInterface},
		{block: I, keyword: "notify_master", args: anyWords, set: cmd(func(i *Instance) **Command { return &i.NotifyMaster })},
		{block: I, keyword: "notify_backup", args: anyWords, set: cmd(func(i *Instance) **Command { return &i.NotifyBackup })},
		{block: I, keyword: "notify_fault", args: anyWords, set: cmd(func(i *Instance) **Command { return &i.NotifyFault })},
		{block: I, keyword: "notify_stop", args: anyWords, set: cmd(func(i *Instance) **Command { return &i.NotifyStop })},
		{block: I, keyword: "notify", args: anyWords, set: cmd(func(i *Instance) **Command { return &i.Notify })},
		{block: I, keyword: "smtp_alert", args: 1, set: boolean(b(func(i *Instance) *Value[bool] { return &i.SMTPAlert }))},
		{block: I, keyword: "garp_master_repeat", args: 1, set: atLeastOne(maxInt, n(func(i *Instance) *Value[int] { return &i.GARPMasterRepeat }))},
		{block: I, keyword: "garp_extra_if", args: 2, set: extraIf(t(func(i *Instance) *Value[time.Duration] { return &i.GARPExtra }), func(c *ctx) *bool { return &c.inst.GARPExtraAll })},
		{block: I, keyword: "vmac_garp_intvl", args: 2, set: extraIf(t(func(i *Instance) *Value[time.Duration] { return &i.GARPExtra }), func(c *ctx) *bool { return &c.inst.GARPExtraAll })},
		{block: I, keyword: "garp_master_delay", args: 1, set: duration(0, 0, garpMax, t(func(i *Instance) *Value[time.Duration] { return &i.GARPMasterDelay }))},
		{block: I, keyword: "garp_master_refresh", args: 1, set: duration(0, 0, maxTimer, t(func(i *Instance) *Value[time.Duration] { return &i.GARPMasterRefresh }))},
		{block: I, keyword: "garp_master_refresh_repeat", args: 1, set: atLeastOne(maxInt, n(func(i *Instance) *Value[int] { return &i.GARPMasterRefreshRepeat }))},
		{block: I, keyword: "garp_lower_prio_repeat", args: 1, set: integer(0, maxInt, n(func(i *Instance) *Value[int] { return &i.GARPLowerPrioRepeat }))},
		{block: I, keyword: "garp_lower_prio_delay", args: 1, set: duration(0, 0, garpMax, t(func(i *Instance) *Value[time.Duration] { return &i.GARPLowerPrioDelay }))},
		{block: I, keyword: "lower_prio_no_advert", args: 1, set: boolean(b(func(i *Instance) *Value[bool] { return &i.LowerPrioNoAdvert }))},
		{block: I, keyword: "higher_prio_send_advert", args: 1, set: boolean(b(func(i *Instance) *Value[bool] { return &i.HigherPrioSendAdvert }))},
		{block: I, keyword: "down_timer_adverts", args: 1, set: integer(1, 100, n(func(i *Instance) *Value[int] { return &i.DownTimerAdverts }))},
	}
}

func openInstance(c *ctx, s *stmt) bool {
	w, ok := c.name(s)
	if !ok {
		return false
	}
	if c.taken(s, w) {
		return false
	}
	clear(c.facts.vips)
	c.inst = &Instance{Name: w.text, Pos: s.pos}
	c.cfg.Instances = append(c.cfg.Instances, c.inst)
	return true
}

// state is sticky: once MASTER, a later BACKUP does not count (keepalived 2.2.7, measured).
func state(c *ctx, s *stmt) {
	w, ok := c.arg(s, 1, "state")
	if !ok || !c.oneOf(w, "state", "MASTER", "BACKUP") {
		return
	}
	if f := &c.inst.State; f.Set && f.V == "MASTER" && w.text != "MASTER" {
		c.warnf(s.pos, "duplicate-keyword", "state", "delete one of the two", "state is already MASTER at %s, and this line does not change it", f.Pos)
		return
	}
	put(c, s, &c.inst.State, w.text, w.pos)
}

func trackInterface(c *ctx, item *stmt) {
	t, ok := c.trackLine(item, "track_interface", -253, 253, true)
	if !ok || !c.ifname(item.words[0], "track_interface") {
		return
	}
	if t.Weight.V != 0 {
		c.need("weighted-links", t.Weight.Pos, "track_interface", "leave the weight out: the instance is in fault while the interface is down")
		c.inst.WeightedIfaces = append(c.inst.WeightedIfaces, t)
		return
	}
	c.inst.TrackIfaces = append(c.inst.TrackIfaces, Value[string]{V: t.Name, Set: true, Pos: t.Pos})
}

func closeAuth(c *ctx, s *stmt) {
	i := c.inst
	switch {
	case !i.AuthType.Set && i.AuthPass.Set:
		c.warnf(s.pos, "missing-keyword", "auth_type", "add: auth_type PASS", "authentication has a password but no auth_type, so adverts are not authenticated")
		return
	}
	if !i.AuthPass.Set && i.AuthType.Set {
		c.errorf(s.pos, "missing-keyword", "auth_pass", "add: auth_pass PASSWORD (1 to 8 bytes)", "authentication has no auth_pass")
	}
	if i.AuthPass.V != "" && strings.Trim(i.AuthPass.V, "*") == "" {
		c.masked(i.AuthPass.Pos, "auth_pass")
	}
	if n := len(i.AuthPass.V); n > 8 {
		// RFC 2338 5.3.10: the field has eight octets.
		c.warnf(i.AuthPass.Pos, "truncated", "auth_pass", "shorten it to 8 bytes on every router", "auth_pass has %d bytes, only the first 8 are sent and compared", n)
		i.AuthPass.V = i.AuthPass.V[:8]
	}
}

// closeInstance judges what needs the whole block. What needs the whole file is in check.go.
func closeInstance(c *ctx, s *stmt) {
	i := c.inst
	written := func(kw string) bool {
		return slices.ContainsFunc(s.children, func(child *stmt) bool { return child.keyword() == kw || c.meant(child) == kw })
	}
	missing := func(kw, hint string) {
		if written(kw) {
			return // it is there, with a value that was refused: reported already
		}
		c.errorf(s.pos, "missing-keyword", kw, hint, "vrrp_instance %s has no %s", i.Name, kw)
	}
	if !i.VRID.Set {
		missing("virtual_router_id", "add: virtual_router_id NUMBER (1 to 255, the same on all directors, used by nobody else on this network)")
	}
	if !i.Interface.Set && len(i.UnicastPeers) == 0 {
		missing("interface", "add: interface NAME, the network on which the directors hear each other")
	}
	if i.NoVirtualIPAddress.V {
		if len(i.VIPs) == 0 && len(i.UnicastPeers) > 0 && i.UnicastPeers[0].Addr.Is6() {
			c.errorf(i.UnicastPeers[0].Pos, "mixed-families", "unicast_peer", "list an address in virtual_ipaddress, or IPv4 peers", "vrrp_instance %s advertises no address, and such adverts are IPv4 ones", i.Name)
		}
	} else if len(i.VIPs)+len(i.ExcludedVIPs) == 0 {
		missing("virtual_ipaddress", "add: virtual_ipaddress { ADDRESS/LENGTH }, or no_virtual_ipaddress if there is to be none")
		for _, child := range s.children {
			if child.keyword() == "virtual_ipaddress" && len(child.children) == 0 && child.block {
				c.errorf(child.pos, "missing-value", "virtual_ipaddress", "write ADDRESS/LENGTH between the braces", "virtual_ipaddress is empty: vrrp_instance %s has no virtual IP address", i.Name)
			}
		}
	} else if len(i.VIPs) == 0 {
		c.warnf(i.ExcludedVIPs[0].Pos, "no-advertised-address", "virtual_ipaddress_excluded", "list one of the addresses in virtual_ipaddress",
			"vrrp_instance %s advertises no address; keepalived moves the first excluded one", i.Name)
		i.VIPs, i.ExcludedVIPs = i.ExcludedVIPs[:1:1], i.ExcludedVIPs[1:]
	}
	if !i.Priority.Set {
		i.Priority.V = 100
		if i.State.V == "MASTER" {
			i.Priority.V = 255
		}
		if !written("priority") {
			c.warnf(s.pos, "default-priority", "priority", "add: @NAME priority NUMBER for each director", "vrrp_instance %s has no priority, %d is used", i.Name, i.Priority.V)
		}
	}
	if i.State.V == "MASTER" || i.Priority.V == 255 {
		why := "state MASTER"
		if i.State.V != "MASTER" {
			why = "priority 255"
		}
		if i.NoPreempt.V {
			c.warnf(i.NoPreempt.Pos, "ignored", "nopreempt", "use state BACKUP and a priority below 255 on every director", "nopreempt does not work together with %s and is ignored, as keepalived does", why)
			i.NoPreempt.V = false
		}
		if i.PreemptDelay.V != 0 && i.State.V == "MASTER" {
			c.warnf(i.PreemptDelay.Pos, "ignored", "preempt_delay", "use state BACKUP", "preempt_delay does not work together with state MASTER and is ignored, as keepalived does")
			i.PreemptDelay.V = 0
		}
	}
	if i.NoPreempt.V && i.PreemptDelay.V != 0 {
		c.warnf(i.PreemptDelay.Pos, "ignored", "preempt_delay", "delete one of the two", "preempt_delay does not work together with nopreempt and is ignored, as keepalived does")
		i.PreemptDelay.V = 0
	}
	if !i.State.Set {
		i.State.V = "BACKUP"
		if i.Priority.V == 255 {
			i.State.V = "MASTER"
		}
	}
}

// finishInstance applies what global_defs and the version say.
func (c *ctx) finishInstance(i *Instance) {
	g := &c.cfg.Global
	i.Family.V = 4
	if len(i.VIPs) > 0 && i.VIPs[0].Prefix.Addr().Is6() {
		i.Family.V = 6
	}
	if i.Family.V == 6 {
		if i.Version.Set && i.Version.V == 2 {
			c.infof(i.Version.Pos, "adjusted", "version", "write: version 3", "version 2 has no IPv6; vrrp_instance %s uses version 3", i.Name)
			i.Version.V = 3
		}
		def(&i.Version, 3)
		if a := i.VIPs[0]; !a.Prefix.Addr().IsLinkLocalUnicast() { // RFC 9568 5.2.9
			c.warnf(a.Pos, "first-address", "virtual_ipaddress", "add a link-local address, such as fe80::51, as the first one",
				"the first IPv6 address of a virtual router is to be link-local, which %s is not: others take the adverts all the same, but hosts that learn their router by router advertisements need it", a.Prefix.Addr())
		}
	} else {
		inherit(&i.Version, 2, g.VRRPVersion)
	}
	c.finishRouter(i)
	inherit(&i.GARPMasterRepeat, 5, g.GARPMasterRepeat)
	inherit(&i.GARPMasterDelay, 5*time.Second, g.GARPMasterDelay)
	inherit(&i.GARPMasterRefresh, 0, g.GARPMasterRefresh)
	inherit(&i.GARPMasterRefreshRepeat, 1, g.GARPMasterRefreshRepeat)
	inherit(&i.GARPLowerPrioRepeat, i.GARPMasterRepeat.V, g.GARPLowerPrioRepeat)
	inherit(&i.GARPLowerPrioDelay, i.GARPMasterDelay.V, g.GARPLowerPrioDelay)
	if !i.GARPExtra.Set {
		i.GARPExtraAll = g.GARPExtraAll
	}
	inherit(&i.GARPExtra, 0, g.GARPExtra)
	inherit(&i.LowerPrioNoAdvert, false, g.LowerPrioNoAdvert)
	// keepalived's default is false. An owner that yields in silence is never noticed by the one it yields to, which then
	// has no reason to announce itself again, and neighbours that learned the loser stay with it for seconds after a heal.
	inherit(&i.HigherPrioSendAdvert, true, g.HigherPrioSendAdvert)
	inherit(&i.DownTimerAdverts, 3, g.DownTimerAdverts)
	if i.Strict.V {
		c.enforceStrict(i)
	}
	inherit(&i.SMTPAlert, false, g.SMTPAlertVRRP, g.SMTPAlert)
	def(&i.AdvertInt, time.Second)

	d := i.AdvertInt
	refuse := func(hint, format string, args ...any) {
		c.errorf(d.Pos, "out-of-range", "advert_int", hint, format, args...)
		i.AdvertInt = Value[time.Duration]{V: time.Second}
	}
	switch {
	case i.Version.V == 2 && d.V%time.Second != 0: // RFC 3768 5.3.7: a byte of seconds
		refuse("write whole seconds, or use version 3", "advert_int %s: version 2 sends whole seconds, 1..255", secs(d.V))
	case i.Version.V == 3 && d.V > 40950*time.Millisecond: // RFC 9568 5.2.7: 12 bits of centiseconds
		refuse("write seconds from 0.01 to 40.95", "advert_int %s is outside the range 0.01..40.95 seconds of version 3", secs(d.V))
	case i.Version.V == 3 && d.V%(10*time.Millisecond) != 0:
		refuse("write at most two decimal places", "advert_int %s: version 3 sends hundredths of a second", secs(d.V))
	}
	if i.Version.V == 3 && i.AuthType.Set {
		c.warnf(i.AuthType.Pos, "ignored", "authentication", "delete the authentication block, or use version 2", "version 3 has no authentication; the block is ignored") // RFC 9568 1.5
		i.AuthType, i.AuthPass = Value[string]{}, Value[string]{}
	}
	own := func(name string, at Pos) bool { // also with a weight: keepalived 2.2.7, measured
		if name != i.Interface.V || !i.Interface.Set {
			return false
		}
		c.warnf(at, "ignored", "track_interface", "delete it", "%s is the instance's own interface, which is tracked anyway", name)
		return true
	}
	i.TrackIfaces = slices.DeleteFunc(i.TrackIfaces, func(t Value[string]) bool { return own(t.V, t.Pos) })
	i.WeightedIfaces = slices.DeleteFunc(i.WeightedIfaces, func(t Track) bool { return own(t.Name, t.Pos) })
	if i.PromoteSecondaries.V && i.UseVMAC != nil {
		c.warnf(i.PromoteSecondaries.Pos, "ignored", "promote_secondaries", "delete it", "a virtual interface promotes secondary addresses anyway")
	}
}
