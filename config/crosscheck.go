package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// finishRouter applies defaults to what routerRules read and judges what does not go together.
func (c *ctx) finishRouter(i *Instance) {
	g := &c.cfg.Global
	inherit(&i.Strict, false, g.VRRPStrict)
	inherit(&i.SkipCheckAdvAddr, false, g.SkipCheckAdvAddr)
	inherit(&i.CheckUnicastSrc, false, g.CheckUnicastSrc)
	inherit(&i.V3ChecksumAsV2, false, g.V3ChecksumAsV2)
	inherit(&i.NotifyPriority, false, g.NotifyPriority)
	if len(i.UnicastPeers) > 0 {
		def(&i.UnicastTTL, 255)
	}
	def(&i.Accept, !i.Strict.V || i.Priority.V == 255)

	if at, ok := c.facts.noPeers[i]; ok && len(i.UnicastPeers) == 0 {
		c.errorf(at, "no-unicast-peer", "unicast_peer", "list the address of each other director, or delete the block", "unicast_peer is empty: vrrp_instance %s would use multicast, and this director would not hear the others", i.Name)
	} else if len(i.UnicastPeers) == 0 {
		// keepalived, measured: it goes on with multicast and reports it.
		for _, v := range []struct {
			kw  string
			set bool
			pos Pos
		}{{"unicast_src_ip", i.UnicastSrcIP.Set, i.UnicastSrcIP.Pos}, {"unicast_ttl", i.UnicastTTL.Set, i.UnicastTTL.Pos}, {"check_unicast_src", i.CheckUnicastSrc.Set, i.CheckUnicastSrc.Pos}} {
			if v.set {
				c.warnf(v.pos, "no-unicast-peer", v.kw, "add: unicast_peer { ADDRESS of each other director }", "%s without unicast_peer: vrrp_instance %s would use multicast after all", v.kw, i.Name)
			}
		}
	}
	for _, src := range []struct {
		kw string
		v  Value[netip.Addr]
	}{{"unicast_src_ip", i.UnicastSrcIP}, {"mcast_src_ip", i.McastSrcIP}, {"mcast_dst_ip", i.McastDstIP}} {
		if src.v.Set && len(i.VIPs) > 0 && src.v.V.Is4() != (i.Family.V == 4) {
			c.errorf(src.v.Pos, "mixed-families", src.kw, "write an address of the family of the virtual_ipaddress", "%s %s is not of the family of the addresses (IPv%d)", src.kw, src.v.V, i.Family.V)
		}
	}
	for _, p := range i.UnicastPeers {
		if p.Addr == i.UnicastSrcIP.V && i.UnicastSrcIP.Set {
			c.warnf(p.Pos, "own-address", "unicast_peer", "delete it", "%s is this director's own address (unicast_src_ip)", p.Addr)
		}
	}
	if i.UseVMAC != nil && !i.Interface.Set && len(i.UnicastPeers) > 0 {
		c.warnf(i.UseVMAC.Pos, "ignored", "use_vmac", "add: interface NAME", "vrrp_instance %s has no interface that a virtual one could sit on", i.Name)
		i.UseVMAC = nil
	}
	if v := i.UseVMAC; v != nil && v.IPVLAN != "" {
		c.finishIPVLAN(i, v)
	}
	if len(i.UnicastPeers) > 0 && i.UseVMAC != nil && i.UseVMAC.IPVLAN == "" && !i.VMACXmitBase.Set {
		c.warnf(i.UseVMAC.Pos, "adjusted", "use_vmac", "write: vmac_xmit_base", "with unicast_peer adverts are sent from the base interface, as vmac_xmit_base says")
		i.VMACXmitBase.V = true
	}
	if i.VMACXmitBase.Set && i.UseVMAC == nil {
		c.warnf(i.VMACXmitBase.Pos, "ignored", "vmac_xmit_base", "add: use_vmac", "vmac_xmit_base means nothing without use_vmac")
	}
	if i.AuthType.V == "AH" {
		c.ah(i)
	}
	if i.TrackSrcIP.V && !i.McastSrcIP.Set && !i.UnicastSrcIP.Set {
		c.infof(i.TrackSrcIP.Pos, "ignored", "track_src_ip", "add: mcast_src_ip ADDRESS or unicast_src_ip ADDRESS", "track_src_ip needs a source address that is written in the file")
	}
	c.weights(i)
}

// ah names the traps of the authentication header (RFC 2338 5.3.6.3, dropped in RFC 3768).
func (c *ctx) ah(i *Instance) {
	at := i.AuthType.Pos
	if i.Version.V == 3 {
		return // there is none in version 3, which is said elsewhere
	}
	c.need("auth-ah", at, "auth_type AH", "use auth_type PASS on all routers of this VRID, or none")
	switch {
	case i.State.V == "MASTER" && i.State.Set:
		c.warnf(at, "ah-trap", "auth_type", "use auth_type PASS, or state BACKUP", "AH counts packets; a director that starts as MASTER starts counting anew and is not believed by the others")
	case len(i.UnicastPeers) > 0:
		c.warnf(at, "ah-trap", "auth_type", "use auth_type PASS", "AH covers the addresses of the packet: it does not survive NAT, and many clouds drop it")
	default:
		c.warnf(at, "ah-trap", "auth_type", "use auth_type PASS, or none", "AH has been dropped from VRRP (RFC 3768): it protects against mistakes only, and other routers do not know it")
	}
}

// weights: with nopreempt the priority decides nothing any more once somebody is owner, so
// a weight that lowers the priority of the owner moves the address only if somebody else
// preempts - and nobody may.
func (c *ctx) weights(i *Instance) {
	if c.facts.weights == nil {
		c.facts.weights = trackerWeights(c.cfg)
	}
	weight := func(kw string, t Track) int {
		if t.Weight.Set {
			return t.Weight.V
		}
		return c.facts.weights[kw+" "+t.Name]
	}
	for _, l := range []struct {
		kw   string
		list []Track
	}{{"track_script", i.TrackScripts}, {"track_interface", i.WeightedIfaces}, {"track_file", i.TrackFiles}, {"track_process", i.TrackProcesses}, {"track_bfd", i.TrackBFDs}} {
		for _, t := range l.list {
			w := weight(l.kw, t)
			switch {
			case w == 0:
			case i.Priority.V == 255:
				c.warnf(t.Pos, "ignored", l.kw, "use a priority below 255", "the weight of %s changes nothing: a priority of 255 is fixed", t.Name)
			case i.NoPreempt.V:
				c.warnf(t.Pos, "nopreempt-weight", l.kw, "leave the weight out (fault instead of a lower priority), or leave nopreempt out",
					"with nopreempt the address stays where it is when the weight of %s changes the priority: nobody takes over from an owner that is broken but alive", t.Name)
			}
		}
	}
}

// trackerWeights returns the weight that each script, file and process has by itself, by track keyword and name.
func trackerWeights(cfg *Config) map[string]int {
	out := make(map[string]int, len(cfg.Scripts))
	for _, s := range cfg.Scripts {
		out["track_script "+s.Name] = s.Weight.V
	}
	for _, f := range cfg.TrackFiles {
		out["track_file "+f.Name] = f.Weight.V
	}
	for _, p := range cfg.TrackProcesses {
		out["track_process "+p.Name] = p.Weight.V
	}
	return out
}

// checkGroups: members must exist, belong to one group, and be more than names.
func (c *ctx) checkGroups() {
	byName := map[string]*Instance{}
	var names []string
	for _, i := range c.cfg.Instances {
		byName[i.Name] = i
		names = append(names, i.Name)
	}
	owner := map[string]*SyncGroup{}
	for _, g := range c.cfg.SyncGroups {
		kept := g.Members[:0]
		for _, m := range g.Members {
			if byName[m.V] == nil {
				hint := "define vrrp_instance " + m.V
				if n, ok := nearest(m.V, names); ok {
					hint = "did you mean " + n + "?"
				}
				c.errorf(m.Pos, "unknown-instance", "group", hint, "there is no vrrp_instance %q; keepalived leaves it out of vrrp_sync_group %s", shorten(m.V), g.Name)
				continue
			}
			if old := owner[m.V]; old != nil {
				c.errorf(m.Pos, "duplicate-member", "group", "list an instance in one group", "vrrp_instance %s is already a member of vrrp_sync_group %s at %s", m.V, old.Name, old.Pos)
				continue
			}
			owner[m.V] = g
			kept = append(kept, m)
		}
		g.Members = kept
		c.groupWeights(g, byName)
	}
	if d := c.cfg.Global.LVSSyncDaemon; d != nil && d.Inst != "" && byName[d.Inst] == nil {
		hint := "define vrrp_instance " + d.Inst
		if n, ok := nearest(d.Inst, names); ok {
			hint = "did you mean " + n + "?"
		}
		c.errorf(d.Pos, "unknown-instance", "lvs_sync_daemon", hint, "there is no vrrp_instance %q; keepalived notices at the start only, and runs no daemon", shorten(d.Inst))
	}
}

// groupWeights: a weight would let members want different states, so keepalived takes it
// away from members of a group unless told otherwise.
func (c *ctx) groupWeights(g *SyncGroup, byName map[string]*Instance) {
	if g.TrackingWeights.V {
		return
	}
	weights := trackerWeights(c.cfg)
	for _, m := range g.Members {
		i := byName[m.V]
		lists := []struct {
			kw   string
			list []Track
		}{{"track_script", i.TrackScripts}, {"track_interface", i.WeightedIfaces}, {"track_file", i.TrackFiles}, {"track_process", i.TrackProcesses}}
		for _, l := range lists {
			for _, t := range l.list {
				at := t.Weight.Pos
				if !t.Weight.Set { // the tracker's own
					t.Weight.V, at = weights[l.kw+" "+t.Name], t.Pos
				}
				if t.Weight.V != 0 {
					c.warnf(at, "group-weight", "weight", "leave the weight out, or write sync_group_tracking_weight in the group",
						"the weight of %s in a member of vrrp_sync_group %s has no effect in keepalived: members must not want different states", t.Name, g.Name)
				}
			}
		}
	}
}

// checkTrackers finds lines that track what nobody defines.
func (c *ctx) checkTrackers() {
	files, processes, bfds := map[string]Pos{}, map[string]Pos{}, map[string]Pos{}
	for _, f := range c.cfg.TrackFiles {
		files[f.Name] = f.Pos
	}
	for _, p := range c.cfg.TrackProcesses {
		processes[p.Name] = p.Pos
	}
	for _, b := range c.cfg.BFDs {
		bfds[b.Name] = b.Pos
	}
	look := func(list []Track, defined map[string]Pos, kw, block string) {
		for _, t := range list {
			at, ok := defined[t.Name]
			switch {
			case !ok:
				hint := "define it above: " + block + " " + t.Name + " { ... }"
				names := make([]string, 0, len(defined))
				for n := range defined {
					names = append(names, n)
				}
				slices.Sort(names)
				if n, ok := nearest(t.Name, names); ok {
					hint = "did you mean " + n + "?"
				}
				c.errorf(t.Pos, "unknown-tracker", kw, hint, "there is no %s %q", block, shorten(t.Name))
			case at.File == t.Pos.File && at.Line > t.Pos.Line:
				c.warnf(t.Pos, "defined-later", kw, "move the "+block+" above this line", "%s %s is defined at %s; keepalived would not find it", block, t.Name, at)
			}
		}
	}
	for _, i := range c.cfg.Instances {
		look(i.TrackFiles, files, "track_file", "track_file")
		look(i.TrackProcesses, processes, "track_process", "vrrp_track_process")
		look(i.TrackBFDs, bfds, "track_bfd", "bfd_instance")
	}
	for _, g := range c.cfg.SyncGroups {
		look(g.TrackFiles, files, "track_file", "track_file")
		look(g.TrackProcesses, processes, "track_process", "vrrp_track_process")
		look(g.TrackBFDs, bfds, "track_bfd", "bfd_instance")
	}
	look(c.facts.fileChecks, files, "track_file", "track_file")
	look(c.facts.bfdChecks, bfds, "name", "bfd_instance")
}

// finishIPVLAN judges use_ipvlan.
func (c *ctx) finishIPVLAN(i *Instance, v *VMAC) {
	const kw = "use_ipvlan"
	switch six := i.Family.V == 6; {
	case !v.Addr.IsValid() && !six:
		c.errorf(v.Pos, "missing-value", kw, "write: use_ipvlan ADDRESS/LENGTH, with an address of this director alone", "an IPv4 ipvlan needs an address, from which adverts are sent; keepalived puts vrrp_instance %s in fault", i.Name)
	case v.Addr.IsValid() && v.Addr.Addr().Is6() != six:
		c.errorf(v.Pos, "mixed-families", kw, "write an address of the family of the virtual_ipaddress", "%s is not of the family of the addresses (IPv%d)", v.Addr, i.Family.V)
	}
	for _, o := range c.cfg.Instances {
		if w := o.UseVMAC; o != i && w != nil && w.IPVLAN != "" && o.Interface.V == i.Interface.V && w.IPVLAN != v.IPVLAN && i.Name > o.Name {
			c.errorf(v.Pos, "bad-value", kw, "write the same mode for both", "all ipvlans on %s have one mode, and that of vrrp_instance %s is %s", i.Interface.V, o.Name, w.IPVLAN)
		}
	}
}

// checkTrackGroups finds static lines that name a track_group nobody defines.
func (c *ctx) checkTrackGroups() {
	var names []string
	have := map[string]bool{}
	for _, g := range c.cfg.TrackGroups {
		names = append(names, g.Name)
		have[g.Name] = true
		for _, m := range g.Members {
			if !slices.ContainsFunc(c.cfg.Instances, func(i *Instance) bool { return i.Name == m.V }) {
				c.warnf(m.Pos, "unknown-instance", "group", "write the name of a vrrp_instance", "track_group %s: there is no vrrp_instance %q", g.Name, shorten(m.V))
			}
		}
	}
	look := func(at Pos, name string) {
		if have[name] {
			return
		}
		hint := "define track_group " + name + " { group { INSTANCE } }"
		if n, ok := nearest(name, names); ok {
			hint = "did you mean " + n + "?"
		}
		c.errorf(at, "unknown-group", "track_group", hint, "there is no track_group %q", shorten(name))
	}
	for _, a := range c.cfg.StaticAddresses {
		if name, ok := a.Option("track_group"); ok {
			look(a.Pos, name)
		}
	}
	options := func(list []Option) {
		for _, o := range list {
			if o.Name == "track_group" {
				look(o.Pos, o.Value)
			}
		}
	}
	for _, r := range c.cfg.StaticRoutes {
		options(r.Options)
	}
	for _, r := range c.cfg.StaticRules {
		options(r.Options)
	}
}

// checkServices judges virtual and real servers against each other and against the
// addresses of the instances.
func (c *ctx) checkServices() {
	f := &c.facts
	for _, g := range f.groups {
		if !c.hasServerGroup(g.V) {
			c.errorf(g.Pos, "unknown-group", "virtual_server", "define virtual_server_group "+g.V, "there is no virtual_server_group %q; keepalived notices at the start only, and leaves the service out", shorten(g.V))
		}
	}
	if len(c.cfg.Instances) == 0 {
		return // health checks alone: somebody else owns the addresses
	}
	vips := map[netip.Addr]Pos{}
	for _, i := range c.cfg.Instances {
		for _, a := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
			vips[a.Prefix.Addr()] = a.Pos
		}
	}
	for _, v := range f.services {
		if _, ok := vips[v.addr]; !ok {
			c.warnf(v.pos, "address-not-owned", "virtual_server", "add it to virtual_ipaddress", "%s is in no virtual_ipaddress: nobody answers for it", v.addr)
		}
	}
	for _, piece := range f.backends {
		for _, b := range piece {
			if at, ok := vips[b.addr]; ok {
				c.warnf(b.pos, "server-is-vip", "real_server", "write the address of the server itself", "real_server %s is a virtual_ipaddress (%s): which host that is changes with the owner", b.addr, at)
			}
		}
	}
}

// timers finds advert intervals that are too short for the number of directors: with n
// directors that notice at once, skew times (RFC 9568 6.1) must keep them apart.
func (x *across) timers(name string, all []placed) {
	if len(all) < 2 {
		return
	}
	first := all[0]
	if first.AdvertInt.V < 100*time.Millisecond {
		x.warnf(positionOr(first.AdvertInt.Pos, first.Pos), "short-advert-int", "advert_int", "write at least 0.1",
			"vrrp_instance %s: %s s between adverts leaves %s s until a backup takes over; a director that is busy for that long starts a second owner", name, secs(first.AdvertInt.V), secs(3*first.AdvertInt.V))
	}
	skew := func(p placed) time.Duration {
		unit := time.Second // RFC 3768 6.1
		if p.Version.V == 3 {
			unit = p.AdvertInt.V // RFC 9568 6.1
		}
		return time.Duration(256-p.Priority.V) * unit / 256
	}
	for k, p := range all {
		for _, q := range all[:k] {
			gap := (skew(p) - skew(q)).Abs()
			if p.Priority.V != q.Priority.V && gap < 2*time.Millisecond {
				x.warnf(positionOr(p.Priority.Pos, p.Pos), "close-priorities", "priority", "write numbers that differ by 20 or more, or a longer advert_int",
					"vrrp_instance %s: with advert_int %s the priorities %d (%s) and %d (%s) let both take over within %s: for a moment both own the addresses",
					name, secs(p.AdvertInt.V), p.Priority.V, p.node, q.Priority.V, q.node, gap)
				return
			}
		}
	}
}

// reach finds weights that can never move the addresses: all of them together are less
// than what lies between the two highest priorities.
func (x *across) reach(name string, all []placed) {
	if len(all) < 2 {
		return
	}
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b placed) int { return b.Priority.V - a.Priority.V })
	top, gap := order[0], order[0].Priority.V-order[1].Priority.V
	sum, at, what := 0, Pos{}, ""
	for _, t := range slices.Concat(top.TrackScripts, top.WeightedIfaces) {
		w := t.Weight.V
		if !t.Weight.Set {
			w = x.weights[top.node]["track_script "+t.Name]
		}
		if w == 0 {
			return // a fault moves them
		}
		if w < 0 {
			w = -w
		}
		if sum += w; what == "" {
			at, what = t.Pos, t.Name
		}
	}
	if sum > 0 && sum < gap && len(top.TrackFiles)+len(top.TrackProcesses)+len(top.TrackBFDs) == 0 {
		x.warnf(at, "weight-too-small", "weight", fmt.Sprintf("use weights of more than %d, bring the priorities closer together, or leave the weight out", gap),
			"vrrp_instance %s: whatever %s finds, %s keeps the addresses: its priority is %d above the next one (%s), the weights together make %d",
			name, what, top.node, gap, order[1].node, sum)
	}
}

func positionOr(a, b Pos) Pos {
	if a.Line == 0 {
		return b
	}
	return a
}
