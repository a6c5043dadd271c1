package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

func groupRules() []rule {
	const G = "vrrp_sync_group"
	cmd := func(f func(*SyncGroup) **Command) setter {
		return command(func(c *ctx) **Command { return f(c.group) })
	}
	b := func(f func(*SyncGroup) *Value[bool]) boolOf { return func(c *ctx) *Value[bool] { return f(c.group) } }
	tracks := func(kw string, lo, hi int64, list func(*SyncGroup) *[]Track) setter {
		return trackList(kw, lo, hi, func(c *ctx) *[]Track { return list(c.group) })
	}
	return []rule{
		{block: "", keyword: G, args: 1, open: openGroup, close: closeGroup},
		{block: G, keyword: "group", each: wordList(func(c *ctx) *[]Value[string] { return &c.group.Members })},
		{block: G, keyword: "track_interface", each: tracks("track_interface", -253, 253, func(g *SyncGroup) *[]Track { return &g.TrackIfaces })},
		{block: G, keyword: "track_script", each: tracks("track_script", -253, 253, func(g *SyncGroup) *[]Track { return &g.TrackScripts })},
		{block: G, keyword: "track_file", each: tracks("track_file", -254, 254, func(g *SyncGroup) *[]Track { return &g.TrackFiles })},
		{block: G, keyword: "track_process", each: tracks("track_process", -254, 254, func(g *SyncGroup) *[]Track { return &g.TrackProcesses })},
		{block: G, keyword: "track_bfd", each: tracks("track_bfd", -253, 253, func(g *SyncGroup) *[]Track { return &g.TrackBFDs })},
		{block: G, keyword: "notify_master", args: anyWords, set: cmd(func(g *SyncGroup) **Command { return &g.NotifyMaster })},
		{block: G, keyword: "notify_backup", args: anyWords, set: cmd(func(g *SyncGroup) **Command { return &g.NotifyBackup })},
		{block: G, keyword: "notify_fault", args: anyWords, set: cmd(func(g *SyncGroup) **Command { return &g.NotifyFault })},
		{block: G, keyword: "notify_stop", args: anyWords, set: cmd(func(g *SyncGroup) **Command { return &g.NotifyStop })},
		{block: G, keyword: "notify", args: anyWords, set: cmd(func(g *SyncGroup) **Command { return &g.Notify })},
		{block: G, keyword: "smtp_alert", args: 1, set: boolean(b(func(g *SyncGroup) *Value[bool] { return &g.SMTPAlert }))},
		{block: G, keyword: "global_tracking", set: flag(b(func(g *SyncGroup) *Value[bool] { return &g.TrackingWeights }))},
		{block: G, keyword: "sync_group_tracking_weight", set: flag(b(func(g *SyncGroup) *Value[bool] { return &g.TrackingWeights }))},
		{block: G, keyword: "notify_priority_changes", args: 1, set: boolean(b(func(g *SyncGroup) *Value[bool] { return &g.NotifyPriority }))},
	}
}

func openGroup(c *ctx, s *stmt) bool {
	w, ok := c.name(s)
	if !ok || c.taken(s, w) {
		return false
	}
	c.group = &SyncGroup{Name: w.text, Pos: s.pos}
	c.cfg.SyncGroups = append(c.cfg.SyncGroups, c.group)
	return true
}

func closeGroup(c *ctx, s *stmt) {
	g := c.group
	c.group = nil
	switch len(g.Members) {
	case 0:
		c.errorf(s.pos, "missing-keyword", "group", "add: group { INSTANCE INSTANCE }", "vrrp_sync_group %s has no members; keepalived removes it", g.Name)
	case 1:
		c.warnf(g.Members[0].Pos, "single-member", "group", "add the other instances, or delete the group", "vrrp_sync_group %s has one member: there is nothing to keep in step", g.Name)
	}
}

// trackGroupRules are those of track_group.
func trackGroupRules() []rule {
	const G = "track_group"
	return []rule{
		{block: "", keyword: G, args: 1, open: func(c *ctx, s *stmt) bool {
			w, ok := c.name(s)
			if !ok || c.taken(s, w) {
				return false
			}
			c.cfg.TrackGroups = append(c.cfg.TrackGroups, &TrackGroup{Name: w.text, Pos: s.pos})
			return true
		}, close: func(c *ctx, s *stmt) {
			if g := lastOf(c.cfg.TrackGroups); len(g.Members) == 0 {
				c.warnf(s.pos, "missing-keyword", G, "add: group { INSTANCE INSTANCE }", "track_group %s has no members", g.Name)
			}
		}},
		{block: G, keyword: "group", each: wordList(func(c *ctx) *[]Value[string] { return &lastOf(c.cfg.TrackGroups).Members })},
	}
}

// garpGroupRules are those of garp_group: how fast announcements may be sent.
func garpGroupRules() []rule {
	const G = "garp_group"
	t := func(f func(*GARPGroup) *Value[time.Duration]) timeOf {
		return func(c *ctx) *Value[time.Duration] { return f(c.garp) }
	}
	return []rule{
		{block: "", keyword: G, open: func(c *ctx, s *stmt) bool {
			c.garp = &GARPGroup{Pos: s.pos}
			c.cfg.GARPGroups = append(c.cfg.GARPGroups, c.garp)
			return true
		}, close: closeGARPGroup},
		{block: G, keyword: "garp_interval", args: 1, set: duration(6, 0, microMax, t(func(g *GARPGroup) *Value[time.Duration] { return &g.GARPInterval }))},
		{block: G, keyword: "gna_interval", args: 1, set: duration(6, 0, microMax, t(func(g *GARPGroup) *Value[time.Duration] { return &g.GNAInterval }))},
		{block: G, keyword: "interface", args: 1, set: interfaceName(func(c *ctx) *Value[string] { return &c.garp.Interface })},
		{block: G, keyword: "interfaces", each: wordList(func(c *ctx) *[]Value[string] { return &c.garp.Interfaces })},
	}
}

func closeGARPGroup(c *ctx, s *stmt) {
	g := c.garp
	c.garp = nil
	if !g.Interface.Set && len(g.Interfaces) == 0 {
		c.warnf(s.pos, "missing-keyword", "garp_group", "add: interfaces { IF IF }", "garp_group has no interface and means nothing")
	}
	again := func(name Value[string], before []Value[string]) bool {
		listed := func(v Value[string]) bool { return v.V == name.V }
		found := slices.ContainsFunc(before, listed)
		for _, o := range c.cfg.GARPGroups[:len(c.cfg.GARPGroups)-1] {
			found = found || listed(o.Interface) || slices.ContainsFunc(o.Interfaces, listed)
		}
		if found {
			c.warnf(name.Pos, "duplicate-name", "garp_group", "list it once", "%s is in a garp_group already; this one is left out, as keepalived does", name.V)
		}
		return found
	}
	before := []Value[string]{}
	if g.Interface.Set && again(g.Interface, nil) {
		g.Interface = Value[string]{}
	} else if g.Interface.Set {
		before = append(before, g.Interface)
	}
	g.Interfaces = slices.DeleteFunc(g.Interfaces, func(name Value[string]) bool {
		found := again(name, before)
		before = append(before, name)
		return found
	})
	if !g.GARPInterval.Set && !g.GNAInterval.Set {
		c.warnf(s.pos, "missing-keyword", "garp_group", "add: garp_interval SECONDS", "garp_group has no interval and means nothing")
	}
}

func trackerRules() []rule {
	const P = "vrrp_track_process"
	out := []rule{
		{block: "", keyword: P, args: 1, open: func(c *ctx, s *stmt) bool {
			w, ok := c.name(s)
			if !ok || c.taken(s, w) {
				return false
			}
			c.cfg.TrackProcesses = append(c.cfg.TrackProcesses, &TrackProcess{Name: w.text, Pos: s.pos})
			return true
		}, close: closeTrackProcess},
		{block: P, keyword: "process", args: anyWords, set: func(c *ctx, s *stmt) {
			if _, ok := c.arg(s, 1, "program"); ok {
				lastOf(c.cfg.TrackProcesses).Process = texts(s.words[1:])
			}
		}},
		{block: P, keyword: "full_command", set: flag(func(c *ctx) *Value[bool] { return &lastOf(c.cfg.TrackProcesses).FullCommand })},
		{block: P, keyword: "param_match", args: 1, set: func(c *ctx, s *stmt) {
			v := ""
			if len(s.words) > 1 {
				if v = s.words[1].text; !c.oneOf(s.words[1], "param_match", "initial", "partial") {
					return
				}
			}
			put(c, s, &lastOf(c.cfg.TrackProcesses).ParamMatch, v, s.pos)
		}},
		{block: P, keyword: "weight", args: 2, set: func(c *ctx, s *stmt) {
			p := lastOf(c.cfg.TrackProcesses)
			c.weightOf(s, -254, 254, &p.Weight, &p.Reverse)
		}},
		{block: P, keyword: "quorum", args: 1, set: integer(1, 65535, func(c *ctx) *Value[int] { return &lastOf(c.cfg.TrackProcesses).Quorum })},
		{block: P, keyword: "quorum_max", args: 1, set: integer(0, 65535, func(c *ctx) *Value[int] { return &lastOf(c.cfg.TrackProcesses).QuorumMax })},
		{block: P, keyword: "delay", args: 1, set: func(c *ctx, s *stmt) {
			p := lastOf(c.cfg.TrackProcesses)
			duration(6, minTimer, time.Hour, func(*ctx) *Value[time.Duration] { return &p.ForkDelay })(c, s)
			p.TermDelay = p.ForkDelay
		}},
		{block: P, keyword: "fork_delay", args: 1, set: duration(6, minTimer, time.Hour, func(c *ctx) *Value[time.Duration] { return &lastOf(c.cfg.TrackProcesses).ForkDelay })},
		{block: P, keyword: "terminate_delay", args: 1, set: duration(6, minTimer, time.Hour, func(c *ctx) *Value[time.Duration] { return &lastOf(c.cfg.TrackProcesses).TermDelay })},
	}
	out = append(out, bfdRules()...)
	for _, block := range []string{"track_file", "vrrp_track_file"} {
		out = append(out,
			rule{block: "", keyword: block, args: 1, open: func(c *ctx, s *stmt) bool {
				w, ok := c.name(s)
				if !ok || c.taken(s, w) {
					return false
				}
				c.cfg.TrackFiles = append(c.cfg.TrackFiles, &TrackFile{Name: w.text, Pos: s.pos, Weight: Value[int]{V: 1}})
				return true
			}, close: func(c *ctx, s *stmt) {
				if f := lastOf(c.cfg.TrackFiles); !f.File.Set {
					c.errorf(s.pos, "missing-keyword", "file", "add: file /path/of/a/file", "%s %s has no file", s.keyword(), f.Name)
				}
			}},
			rule{block: block, keyword: "file", args: 1, set: text("path", func(c *ctx) *Value[string] { return &lastOf(c.cfg.TrackFiles).File })},
			rule{block: block, keyword: "weight", args: 2, set: func(c *ctx, s *stmt) {
				f := lastOf(c.cfg.TrackFiles)
				c.weightOf(s, -254, 254, &f.Weight, &f.Reverse)
			}},
			rule{block: block, keyword: "init_file", args: 2, set: func(c *ctx, s *stmt) {
				lastOf(c.cfg.TrackFiles).Init = append([]string{}, texts(s.words[1:])...)
			}},
		)
	}
	return out
}

func closeTrackProcess(c *ctx, s *stmt) {
	p := lastOf(c.cfg.TrackProcesses)
	def(&p.Quorum, 1)
	if len(p.Process) == 0 {
		c.errorf(s.pos, "missing-keyword", "process", "add: process PROGRAM", "vrrp_track_process %s has no process", p.Name)
	}
	if p.QuorumMax.Set && p.QuorumMax.V < p.Quorum.V && p.Quorum.Set {
		c.warnf(p.QuorumMax.Pos, "out-of-range", "quorum_max", "write a number of at least quorum", "quorum_max %d is below quorum %d: the tracker can never be up", p.QuorumMax.V, p.Quorum.V)
	}
}

func lastOf[T any](list []*T) *T { return list[len(list)-1] }

// weightOf reads N [reverse|noreverse].
func (c *ctx) weightOf(s *stmt, lo, hi int64, weight *Value[int], reverse *bool) {
	integer(lo, hi, func(*ctx) *Value[int] { return weight })(c, s)
	if len(s.words) > 2 && c.oneOf(s.words[2], s.keyword(), "reverse", "noreverse") {
		*reverse = s.words[2].text == "reverse"
	}
}

func bfdRules() []rule {
	const B = "bfd_instance"
	ip := func(f func(*BFD) *Value[netip.Addr]) setter {
		return func(c *ctx, s *stmt) {
			if w, ok := c.arg(s, 1, "IP address"); ok && c.wordValue(spec{name: "ip"}, s.keyword(), w) {
				put(c, s, f(lastOf(c.cfg.BFDs)), netip.MustParseAddr(w.text), w.pos)
			}
		}
	}
	n := func(lo, hi int64, f func(*BFD) *Value[int]) setter {
		return integer(lo, hi, func(c *ctx) *Value[int] { return f(lastOf(c.cfg.BFDs)) })
	}
	ms := func(lo string, f func(*BFD) *Value[time.Duration]) setter {
		return func(c *ctx, s *stmt) {
			if w, ok := c.arg(s, 1, "time in milliseconds"); ok && c.wordValue(spec{name: "ms/3", params: []string{lo, "4294967"}}, s.keyword(), w) {
				d, _ := seconds(w.text, 3, 0, maxTimer)
				put(c, s, f(lastOf(c.cfg.BFDs)), d/1000, w.pos)
			}
		}
	}
	on := func(f func(*BFD) *bool) setter { return func(c *ctx, _ *stmt) { *f(lastOf(c.cfg.BFDs)) = true } }
	neighbor := ip(func(b *BFD) *Value[netip.Addr] { return &b.Neighbor })
	return []rule{
		{block: "", keyword: B, args: 1, open: func(c *ctx, s *stmt) bool {
			w, ok := c.name(s)
			if !ok || c.taken(s, w) {
				return false
			}
			if len(w.text) > 31 {
				c.bad(w, B, "shorten it to 31 bytes", fmt.Errorf("the name %q is %w: it has %d bytes", shorten(w.text), errRange, len(w.text)))
			}
			c.cfg.BFDs = append(c.cfg.BFDs, &BFD{Name: w.text, Pos: s.pos})
			return true
		}, close: closeBFD},
		{block: B, keyword: "neighbor_ip", args: 1, set: neighbor},
		{block: B, keyword: "neighbour_ip", args: 1, set: neighbor},
		{block: B, keyword: "source_ip", args: 1, set: ip(func(b *BFD) *Value[netip.Addr] { return &b.Source })},
		{block: B, keyword: "min_rx", args: 1, set: ms("1", func(b *BFD) *Value[time.Duration] { return &b.MinRX })},
		{block: B, keyword: "min_tx", args: 1, set: ms("1", func(b *BFD) *Value[time.Duration] { return &b.MinTX })},
		{block: B, keyword: "idle_tx", args: 1, set: ms("1000", func(b *BFD) *Value[time.Duration] { return &b.IdleTX })},
		{block: B, keyword: "multiplier", args: 1, set: n(1, 255, func(b *BFD) *Value[int] { return &b.Multiplier })},
		{block: B, keyword: "ttl", args: 1, set: n(1, 255, func(b *BFD) *Value[int] { return &b.TTL })},
		{block: B, keyword: "hoplimit", args: 1, set: n(1, 255, func(b *BFD) *Value[int] { return &b.TTL })},
		{block: B, keyword: "max_hops", args: 1, set: n(-1, 255, func(b *BFD) *Value[int] { return &b.MaxHops })},
		{block: B, keyword: "multihop", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &lastOf(c.cfg.BFDs).Multihop })},
		{block: B, keyword: "passive", set: on(func(b *BFD) *bool { return &b.Passive })},
		{block: B, keyword: "vrrp", set: on(func(b *BFD) *bool { return &b.ForVRRP })},
		{block: B, keyword: "checker", set: on(func(b *BFD) *bool { return &b.ForChecker })},
		{block: B, keyword: "weight", args: 2, set: func(c *ctx, s *stmt) {
			b := lastOf(c.cfg.BFDs)
			c.weightOf(s, -253, 253, &b.Weight, &b.Reverse)
		}},
	}
}

func closeBFD(c *ctx, s *stmt) {
	b := lastOf(c.cfg.BFDs)
	def(&b.MinRX, 10*time.Millisecond)
	def(&b.MinTX, 10*time.Millisecond)
	def(&b.IdleTX, time.Second)
	def(&b.Multiplier, 5)
	written := false
	for _, child := range s.children {
		written = written || strings.HasPrefix(child.keyword(), "neighb")
	}
	if !written {
		c.errorf(s.pos, "missing-keyword", "neighbor_ip", "add: neighbor_ip ADDRESS", "bfd_instance %s has no neighbor_ip", b.Name)
	}
	if b.Source.Set && b.Neighbor.Set && b.Source.V.Is4() != b.Neighbor.V.Is4() {
		c.errorf(b.Source.Pos, "mixed-families", "source_ip", "write an address of the same family", "source_ip %s and neighbor_ip %s are of different families", b.Source.V, b.Neighbor.V)
	}
	for _, old := range c.cfg.BFDs[:min(len(c.cfg.BFDs)-1, maxPeers)] {
		if b.Neighbor.Set && old.Neighbor.V == b.Neighbor.V {
			c.errorf(b.Neighbor.Pos, "duplicate-address", "neighbor_ip", "use one session for both", "neighbor_ip %s is already that of bfd_instance %s at %s", b.Neighbor.V, old.Name, old.Pos)
		}
	}
}
