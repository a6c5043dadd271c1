package config

import (
	"net/netip"
	"slices"
)

// hears reports what keeps one director from hearing another: then both own the addresses. What is wrong for a whole instance is
// said for its first pair only.
func (x *across) hears(a, b placed, first bool) {
	how := func(p placed) string {
		if len(p.UnicastPeers) > 0 {
			return "unicast"
		}
		return "multicast"
	}
	if ha, hb := how(a), how(b); ha != hb {
		if !first {
			return
		}
		uni, multi := a, b
		if hb == "unicast" {
			uni, multi = b, a
		}
		// What a step-by-step move to unicast does (keepalived: such adverts are discarded).
		x.errorf(uni.UnicastPeers[0].Pos, "nodes-differ", "unicast_peer", "change all directors at once: one push does",
			"vrrp_instance %s: %s sends to its peers and %s by multicast; neither hears the other, and both would own the addresses", a.Name, uni.node, multi.node)
		return
	}
	if how(a) == "multicast" {
		if a.McastDstIP.V != b.McastDstIP.V {
			x.errorf(positionOr(b.McastDstIP.Pos, b.Pos), "nodes-differ", "mcast_dst_ip", "write it once, without @, for all directors",
				"vrrp_instance %s: adverts of %s and %s go to different groups; the two would both own the addresses", a.Name, b.node, a.node)
		}
		return
	}
	for _, p := range []struct{ from, to placed }{{a, b}, {b, a}} {
		src := p.to.UnicastSrcIP
		if !src.Set || slices.ContainsFunc(p.from.UnicastPeers, func(u Peer) bool { return u.Addr == src.V }) {
			continue
		}
		x.warnf(p.from.UnicastPeers[0].Pos, "peer-missing", "unicast_peer", "add "+src.V.String()+", unless it is translated on the way",
			"vrrp_instance %s: %s does not send to %s, whose unicast_src_ip %s (%s) is no unicast_peer there: both would own the addresses", p.from.Name, p.from.node, p.to.node, src.V, src.Pos)
	}
}

// checkPeers finds a file in which one instance calls an address its own and another one calls it a peer: it was written for
// several directors, and each needs lines of its own.
func (c *ctx) checkPeers() {
	own := map[netip.Addr]*Instance{}
	for _, i := range c.cfg.Instances {
		if i.UnicastSrcIP.Set && own[i.UnicastSrcIP.V] == nil {
			own[i.UnicastSrcIP.V] = i
		}
	}
	for _, i := range c.cfg.Instances {
		for _, p := range i.UnicastPeers {
			if o := own[p.Addr]; o != nil && i.UnicastSrcIP.V != p.Addr {
				c.warnf(p.Pos, "own-address", "unicast_peer", "write the addresses as this director has them; in one file for all: @NAME unicast_src_ip ADDRESS",
					"%s is a unicast_peer here, and this director's own address in vrrp_instance %s (%s)", p.Addr, o.Name, o.UnicastSrcIP.Pos)
			}
		}
	}
}

// groups finds sync groups with other members on another director: what changes state together here does not there.
func (x *across) groups() {
	type first struct {
		node string
		g    *SyncGroup
	}
	seen := map[string]first{}
	for _, node := range x.nodes {
		for _, g := range x.configs[node].SyncGroups {
			old, ok := seen[g.Name]
			if !ok {
				seen[g.Name] = first{node, g}
				continue
			}
			if va, vb := members(old.g), members(g); !slices.Equal(va, vb) {
				x.warnf(g.Pos, "nodes-differ", "group", "write it once, without @, for all directors",
					"vrrp_sync_group %s: the members are %v on %s and %v on %s (%s); after a takeover they may have different owners", g.Name, vb, node, va, old.node, old.g.Pos)
			}
		}
	}
}

func members(g *SyncGroup) []string {
	var out []string
	for _, m := range g.Members {
		out = append(out, m.V)
	}
	slices.Sort(out)
	return out
}

// preemption finds nopreempt where it does not do what it was written for, and a state MASTER that loses at once.
func (x *across) preemption(name string, all []placed) {
	top := all[0]
	var masters []placed
	for _, p := range all {
		if p.Priority.V > top.Priority.V {
			top = p
		}
		if p.State.V == "MASTER" {
			masters = append(masters, p)
		}
	}
	if len(masters) == 1 && masters[0].Priority.V < top.Priority.V {
		m := masters[0]
		hint := "give " + m.node + " the highest priority, or write state BACKUP for all"
		if top.NoPreempt.V {
			x.warnf(positionOr(m.State.Pos, m.Pos), "master-not-first", "state", hint,
				"vrrp_instance %s: %s starts as MASTER, also when another director owns the addresses; its priority %d is below %d (%s)", name, m.node, m.Priority.V, top.Priority.V, top.node)
		} else {
			x.warnf(positionOr(m.State.Pos, m.Pos), "master-not-first", "state", hint,
				"vrrp_instance %s: state MASTER does not make %s the owner: %s has the higher priority (%d against %d) and takes the addresses away", name, m.node, top.node, top.Priority.V, m.Priority.V)
		}
	}
	if top.NoPreempt.Set {
		return // or it is ignored there, which is said
	}
	for _, p := range all {
		if p.NoPreempt.V && p.Priority.V < top.Priority.V {
			x.warnf(p.NoPreempt.Pos, "nopreempt-misplaced", "nopreempt", "write nopreempt for all directors",
				"vrrp_instance %s: nopreempt on %s does not keep the addresses there: %s has the higher priority (%d against %d) and no nopreempt, so it takes them back",
				name, p.node, top.node, top.Priority.V, p.Priority.V)
			return
		}
	}
}
