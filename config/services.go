package config

import (
	"net/netip"
	"slices"
)

// services finds virtual servers that directors forward in different ways: after a takeover clients meet another method,
// scheduler or server, and what is remembered of them does not fit.
func (x *across) services() {
	type first struct {
		node string
		v    *VirtualServer
	}
	seen := map[string]first{}
	var order []string
	has := map[string][]string{} // service -> directors
	for _, node := range x.nodes {
		for _, v := range x.configs[node].VirtualServers {
			name := serviceName(v)
			has[name] = append(has[name], node)
			old, ok := seen[name]
			if !ok {
				seen[name] = first{node, v}
				order = append(order, name)
				continue
			}
			if old.node == node {
				continue
			}
			for _, f := range []struct {
				kw        string
				was, is   any
				pos, pos2 Pos
			}{
				{"lb_kind", orNone(old.v.LBKind.V), orNone(v.LBKind.V), old.v.LBKind.Pos, v.LBKind.Pos},
				{"lb_algo", orNone(old.v.LBAlgo.V), orNone(v.LBAlgo.V), old.v.LBAlgo.Pos, v.LBAlgo.Pos},
				{"persistence_timeout", old.v.Persistence.V, v.Persistence.V, old.v.Persistence.Pos, v.Persistence.Pos},
			} {
				if f.was != f.is {
					x.warnf(positionOr(f.pos2, v.Pos), "nodes-differ", f.kw, "write it once, without @, for all directors",
						"%s: %s is %v on %s and %v on %s (%s); a takeover changes what clients get", name, f.kw, f.is, node, f.was, old.node, positionOr(f.pos, old.v.Pos))
				}
			}
			for _, d := range []struct {
				here, there *VirtualServer
				on, not     string
			}{{v, old.v, node, old.node}, {old.v, v, old.node, node}} {
				if r := onlyIn(d.here, d.there); r != nil {
					x.warnf(r.Pos, "nodes-differ", "real_server", "write it once, without @, for all directors",
						"%s: real_server %s is on %s and not on %s; a takeover changes who serves", name, r, d.on, d.not)
				}
			}
		}
	}
	for _, node := range x.nodes {
		vips := owned(x.configs[node])
		for _, name := range order {
			f := seen[name]
			if vips[f.v.Addr.V] && !slices.Contains(has[name], node) {
				x.warnf(f.v.Pos, "nodes-differ", "virtual_server", "write it once, without @, for all directors",
					"%s is on %s and not on %s, which may own the address as well: after a takeover nobody answers", name, f.node, node)
			}
		}
	}
}

// onlyIn returns the first real server that a has and b lacks.
func onlyIn(a, b *VirtualServer) *RealServer {
	have := make(map[netip.AddrPort]bool, len(b.RealServers))
	for _, r := range b.RealServers {
		have[netip.AddrPortFrom(r.Addr.V, uint16(r.Port.V))] = true
	}
	for _, r := range a.RealServers {
		if !have[netip.AddrPortFrom(r.Addr.V, uint16(r.Port.V))] {
			return r
		}
	}
	return nil
}

// owned returns the addresses that a director may own.
func owned(cfg *Config) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, i := range cfg.Instances {
		for _, v := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
			out[v.Prefix.Addr()] = true
		}
	}
	return out
}
