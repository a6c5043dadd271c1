package node

import (
	"fmt"
	"net/netip"
	"slices"

	"quorate/config"
)

// AddRoute adds a route; it succeeds if the very route is there already.
type AddRoute struct{ Route config.Route }

// RemoveRoute removes it; it succeeds if it is not there. Another one to the same network stays.
type RemoveRoute struct{ Route config.Route }

// AddRule adds a policy rule; it succeeds if it is there already.
type AddRule struct{ Rule config.Rule }

// RemoveRule removes it; it succeeds if it is not there.
type RemoveRule struct{ Rule config.Rule }

func (AddRoute) action()    {}
func (RemoveRoute) action() {}
func (AddRule) action()     {}
func (RemoveRule) action()  {}

// paths are routes and rules.
type paths struct {
	routes []config.Route
	rules  []config.Rule
}

func (p paths) empty() bool { return len(p.routes) == 0 && len(p.rules) == 0 }

// without is what q has not.
func (p paths) without(q paths) paths {
	hasRoute := func(r config.Route) bool { return slices.ContainsFunc(q.routes, r.SameAs) }
	hasRule := func(r config.Rule) bool { return slices.ContainsFunc(q.rules, r.SameAs) }
	return paths{slices.DeleteFunc(slices.Clone(p.routes), hasRoute), slices.DeleteFunc(slices.Clone(p.rules), hasRule)}
}

// keeping is p with those that are in q, too, as q has them: a line that is only written differently is the same to the host,
// which knows it by its old text.
func (p paths) keeping(q paths) paths {
	p = paths{slices.Clone(p.routes), slices.Clone(p.rules)}
	for k, r := range p.routes {
		if at := slices.IndexFunc(q.routes, r.SameAs); at >= 0 {
			p.routes[k] = q.routes[at]
		}
	}
	for k, r := range p.rules {
		if at := slices.IndexFunc(q.rules, r.SameAs); at >= 0 {
			p.rules[k] = q.rules[at]
		}
	}
	return p
}

func (p paths) and(q paths) paths {
	more := q.without(p)
	return paths{append(slices.Clone(p.routes), more.routes...), append(slices.Clone(p.rules), more.rules...)}
}

// add comes after the addresses, which a route may name as its source; rules come last, as in keepalived.
func (p paths) add(e *Elector) {
	for _, r := range p.routes {
		e.emit(AddRoute{Route: r})
	}
	for _, r := range p.rules {
		e.emit(AddRule{Rule: r})
	}
}

// remove comes before the addresses.
func (p paths) remove(e *Elector) {
	for _, r := range p.rules {
		e.emit(RemoveRule{Rule: r})
	}
	for _, r := range p.routes {
		e.emit(RemoveRoute{Route: r})
	}
}

// holding appends what is to be remembered of them.
func (p paths) holding(list []Held, h Held) []Held {
	for k := range p.routes {
		h.Route, h.Rule = &p.routes[k], nil
		list = append(list, h)
	}
	for k := range p.rules {
		h.Route, h.Rule = nil, &p.rules[k]
		list = append(list, h)
	}
	return list
}

// take adds what was remembered.
func (p *paths) take(h Held) {
	if h.Route != nil {
		p.routes = append(p.routes, *h.Route)
	}
	if h.Rule != nil {
		p.rules = append(p.rules, *h.Rule)
	}
}

// interfaces are those whose failure is a fault: of routes with dev and rules with iif or oif, unless no_track is written
// (keepalived 2.2.7).
func (p paths) interfaces() []string {
	var out []string
	for _, r := range p.routes {
		if r.Dev != "" && !r.NoTrack {
			out = append(out, r.Dev)
		}
	}
	for _, r := range p.rules {
		if !r.NoTrack {
			out = append(out, r.Interfaces()...)
		}
	}
	return out
}

// trackedStatic is, by the name of an instance, the interfaces whose failure is a fault of it because its track_group is
// written on a static line (keepalived 2.2.7, measured: what somebody deletes is put back, and no fault).
func trackedStatic(c *config.Config) map[string][]string {
	out := map[string][]string{}
	add := func(group string, devs ...string) {
		for _, g := range c.TrackGroups {
			if g.Name != group {
				continue
			}
			for _, m := range g.Members {
				out[m.V] = append(out[m.V], devs...)
			}
		}
	}
	for _, a := range c.StaticAddresses {
		if group, ok := a.Option("track_group"); ok {
			add(group, c.StaticDev(a))
		}
	}
	for _, r := range c.StaticRoutes {
		if group, ok := r.Option("track_group"); ok && r.Dev != "" {
			add(group, r.Dev)
		}
	}
	for _, r := range c.StaticRules {
		if group, ok := r.Option("track_group"); ok {
			add(group, r.Interfaces()...)
		}
	}
	return out
}

// static is what the configuration wants on the host whatever becomes of the instances: static_ipaddress, static_routes
// and static_rules.
type static struct {
	addrs []config.Address // Dev is always set
	paths
}

// configureStatic changes the host from what it has to what it is to have. Left is what the worker before this one may
// have added.
func (e *Elector) configureStatic(c *config.Config, left static) {
	next := static{paths: paths{c.StaticRoutes, c.StaticRules}}
	for _, a := range c.StaticAddresses {
		a.Dev = c.StaticDev(a)
		next.addrs = append(next.addrs, a)
	}
	old := static{slices.Concat(e.static.addrs, left.addrs), e.static.and(left.paths)}
	old.without(next.paths).remove(e)
	for _, a := range old.addrs {
		if !containsAddress(next.addrs, a) {
			e.emit(RemoveAddress{Interface: a.Dev, Address: a})
		}
	}
	for _, a := range next.addrs {
		if !containsAddress(e.static.addrs, a) {
			e.emit(AddAddress{Interface: a.Dev, Address: a})
		}
	}
	next.without(e.static.paths).add(e)
	next.paths = next.keeping(e.static.paths)
	e.static = next
	if len(old.addrs) > 0 || len(next.addrs) > 0 || !old.empty() || !next.empty() {
		e.emit(Remember{})
	}
}

// removeStatic ends them all, after the instances.
func (e *Elector) removeStatic() {
	e.configureStatic(&config.Config{}, static{})
}

// repairStatic puts back static addresses that somebody took away, or that went with their interface.
func (e *Elector) repairStatic(was, now Link, had, has map[netip.Addr]bool) {
	for _, v := range e.static.addrs {
		a := v.Prefix.Addr()
		if v.Dev != now.Name || !now.Exists || has[a] || was.Exists && !had[a] {
			continue
		}
		e.emit(AddAddress{Interface: v.Dev, Address: v})
		if was.Exists {
			e.report(Entry{Event: "vrrp.repair", Warn: true, Detail: fmt.Sprintf("static address %s was removed from %s by someone else, added again", a, v.Dev)})
		}
	}
}
