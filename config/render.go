package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Render reads one file for every director of a cluster and checks what only shows when
// their configurations stand side by side. nodes are config-ids. A finding that holds for
// some of them only says for which (Diagnostic.Nodes). The map has an entry for each node,
// also when there are errors.
func Render(main string, src Source, nodes []string) (map[string]*Config, Diagnostics) {
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	out := make(map[string]*Config, len(nodes))
	m := merger{index: map[string]int{}}
	var ids []word
	seen := map[string]bool{}
	for _, node := range nodes {
		cfg, ds, found := parse(main, src, Options{ConfigID: node})
		out[node] = cfg
		for _, d := range ds {
			m.add(node, d)
		}
		for _, w := range found {
			if !seen[w.text] {
				seen[w.text] = true
				ids = append(ids, w)
			}
		}
	}
	s := &sink{list: m.finish(len(nodes))}
	if len(nodes) == 0 {
		s.errorf(Pos{File: main}, "no-nodes", "", "name the directors", "there is no director to render %s for", main)
	}
	readable := !s.list.HasErrors()
	for _, w := range ids {
		if slices.Contains(nodes, w.text) {
			continue
		}
		hint := "the directors are " + strings.Join(nodes, ", ")
		if n, ok := nearest(w.text, nodes); ok {
			hint = "did you mean " + n + "? " + hint
		}
		s.warnf(w.pos, "unknown-config-id", "@"+w.text, hint, "no director is called %q", w.text)
	}
	for _, node := range nodes {
		if cfg := out[node]; readable && len(cfg.Instances)+len(cfg.VirtualServers) == 0 {
			s.errorf(Pos{File: main}, "renders-empty", "", "check the @ lines: does every director get a vrrp_instance or a virtual_server?",
				"nothing is left of the file for director %s", node)
		}
	}
	x := across{sink: s, nodes: nodes, configs: out, weights: map[string]map[string]int{}}
	for _, node := range nodes {
		x.weights[node] = trackerWeights(out[node])
	}
	x.instances()
	x.addresses()
	x.numbers()
	x.services()
	x.groups()
	return out, s.close()
}

// merger joins findings that several directors share.
type merger struct {
	list  Diagnostics
	index map[string]int
}

func (m *merger) add(node string, d Diagnostic) {
	key := fmt.Sprintf("%d|%s|%s|%s|%s", d.Severity, d.Code, d.Pos, d.Message, d.Hint)
	i, ok := m.index[key]
	if !ok {
		i = len(m.list)
		m.index[key] = i
		m.list = append(m.list, d)
	}
	if l := m.list[i].Nodes; len(l) == 0 || l[len(l)-1] != node {
		m.list[i].Nodes = append(l, node)
	}
}

func (m *merger) finish(nodes int) Diagnostics {
	for i := range m.list {
		if len(m.list[i].Nodes) == nodes {
			m.list[i].Nodes = nil
		}
	}
	return m.list
}

// across compares the configurations of different directors.
type across struct {
	*sink
	nodes   []string
	configs map[string]*Config
	weights map[string]map[string]int // weights of each director's trackers, see trackerWeights
}

// placed is an instance as one director has it.
type placed struct {
	node string
	*Instance
}

func (p placed) at(pos Pos) string {
	if pos.Line == 0 {
		pos = p.Pos
	}
	return pos.String()
}

func (x *across) instances() {
	byName := map[string][]placed{}
	var names []string
	for _, node := range x.nodes {
		for _, i := range x.configs[node].Instances {
			if byName[i.Name] == nil {
				names = append(names, i.Name)
			}
			byName[i.Name] = append(byName[i.Name], placed{node, i})
		}
	}
	for _, name := range names {
		all := byName[name]
		if len(all) == 1 && len(x.nodes) > 1 {
			x.warnf(all[0].Pos, "no-backup", "vrrp_instance", "give it to another director as well", "vrrp_instance %s exists on director %s only: nobody can take over", name, all[0].node)
		}
		for _, p := range all[1:] {
			x.same(all[0], p)
		}
		for k, p := range all {
			for j, q := range all[:k] {
				x.hears(q, p, j == 0)
			}
		}
		x.priorities(name, all)
		x.preemption(name, all)
		x.timers(name, all)
		x.reach(name, all)
	}
}

// same reports what two routers of one virtual router must agree on. A difference makes
// each discard the other's adverts, so that both own the addresses (RFC 9568 7.1).
func (x *across) same(a, b placed) {
	differ := func(kw string, pa, pb Pos, va, vb any) {
		if pb.Line == 0 {
			pb = b.Pos
		}
		x.errorf(pb, "nodes-differ", kw, "write it once, without @, for all directors",
			"vrrp_instance %s: %s is %v on %s and %v on %s (%s); the two would both own the addresses", a.Name, kw, vb, b.node, va, a.node, a.at(pa))
	}
	if a.VRID.V != b.VRID.V && a.VRID.Set && b.VRID.Set {
		differ("virtual_router_id", a.VRID.Pos, b.VRID.Pos, a.VRID.V, b.VRID.V)
	}
	if a.Version.V != b.Version.V {
		differ("version", a.Version.Pos, b.Version.Pos, a.Version.V, b.Version.V)
	}
	if a.AdvertInt.V != b.AdvertInt.V {
		differ("advert_int", a.AdvertInt.Pos, b.AdvertInt.Pos, secs(a.AdvertInt.V), secs(b.AdvertInt.V))
	}
	if a.AuthType.V != b.AuthType.V {
		differ("auth_type", a.AuthType.Pos, b.AuthType.Pos, orNone(a.AuthType.V), orNone(b.AuthType.V))
	} else if a.AuthType.V != "" && a.AuthPass.V != b.AuthPass.V {
		// Passwords are not printed: findings end up in logs.
		x.errorf(b.AuthPass.Pos, "nodes-differ", "auth_pass", "write it once, without @, for all directors",
			"vrrp_instance %s: auth_pass on %s is not the one on %s (%s); the two would both own the addresses", a.Name, b.node, a.node, a.at(a.AuthPass.Pos))
	}
	if va, vb := addrs(a.VIPs), addrs(b.VIPs); !slices.Equal(va, vb) {
		differ("virtual_ipaddress", lacking(a.VIPs, b.VIPs), lacking(b.VIPs, a.VIPs), va, vb)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func addrs(list []Address) []netip.Addr {
	out := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		out = append(out, a.Prefix.Addr())
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// lacking returns where list has an address that other lacks, else where list starts.
func lacking(list, other []Address) Pos {
	theirs := addrs(other)
	for _, a := range list {
		if !slices.Contains(theirs, a.Prefix.Addr()) {
			return a.Pos
		}
	}
	if len(list) == 0 {
		return Pos{}
	}
	return list[0].Pos
}

// priorities warns about elections that are not decided by the file.
func (x *across) priorities(name string, all []placed) {
	var masters []placed
	for k, p := range all {
		if p.State.V == "MASTER" {
			masters = append(masters, p)
		}
		for _, q := range all[:k] {
			if q.Priority.V != p.Priority.V {
				continue
			}
			pos := p.Priority.Pos
			if pos.Line == 0 {
				pos = p.Pos
			}
			hint := fmt.Sprintf("write @%s priority N and @%s priority M with different numbers", q.node, p.node)
			if p.Priority.V == 255 {
				x.errorf(pos, "same-priority", "priority", hint, "vrrp_instance %s: priority 255 on %s and %s (%s): both would own the addresses from the start", name, p.node, q.node, q.at(q.Priority.Pos))
			} else {
				x.warnf(pos, "same-priority", "priority", hint, "vrrp_instance %s: priority %d on %s and on %s (%s); the higher IP address would decide", name, p.Priority.V, p.node, q.node, q.at(q.Priority.Pos))
			}
			break
		}
	}
	if len(masters) > 1 {
		pos := masters[1].State.Pos
		if pos.Line == 0 {
			pos = masters[1].Pos
		}
		var who []string
		for _, p := range masters {
			who = append(who, p.node+" ("+p.at(p.State.Pos)+")")
		}
		x.warnf(pos, "several-masters", "state", "write state BACKUP for all; the priority decides", "vrrp_instance %s: state MASTER on %s", name, strings.Join(who, ", "))
	}
}

// numbers finds one virtual_router_id on one network under two names: the directors would
// take each other's adverts for their own virtual router's.
func (x *across) numbers() {
	type key struct {
		iface string
		vrid  int
		six   bool
	}
	seen := map[key]placed{}
	for _, node := range x.nodes {
		for _, i := range x.configs[node].Instances {
			if !i.VRID.Set || !i.Interface.Set || len(i.UnicastPeers) > 0 {
				continue
			}
			k := key{i.Interface.V, i.VRID.V, i.Family.V == 6}
			old, ok := seen[k]
			if !ok {
				seen[k] = placed{node, i}
				continue
			}
			if old.node != node && old.Name != i.Name {
				x.errorf(i.VRID.Pos, "duplicate-vrid", "virtual_router_id", "give the two different numbers, or one name",
					"virtual_router_id %d on %s is vrrp_instance %s on %s and %s on %s (%s): each would take the other's adverts for its own",
					i.VRID.V, i.Interface.V, i.Name, node, old.Name, old.node, old.VRID.Pos)
			}
		}
	}
}

// addresses finds a virtual IP that two directors hold under different VRIDs: the two
// would never hear of each other.
func (x *across) addresses() {
	seen := map[netip.Addr]placed{}
	for _, node := range x.nodes {
		for _, i := range x.configs[node].Instances {
			for _, a := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
				old, ok := seen[a.Prefix.Addr()]
				if !ok {
					seen[a.Prefix.Addr()] = placed{node, i}
					continue
				}
				if old.node != node && old.Name != i.Name && old.VRID.V != i.VRID.V {
					x.errorf(a.Pos, "address-conflict", "virtual_ipaddress", "let the same vrrp_instance own it on all directors",
						"%s belongs to vrrp_instance %s (VRID %d) on %s and to %s (VRID %d, %s) on %s: both would own it",
						a.Prefix.Addr(), i.Name, i.VRID.V, node, old.Name, old.VRID.V, old.Pos, old.node)
				}
			}
		}
	}
}
