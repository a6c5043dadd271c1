package config

import (
	"net/netip"
	"slices"
	"time"
)

func realServerRules() []rule {
	const R = "virtual_server.real_server"
	t := func(f func(*RealServer) *Value[time.Duration]) timeOf {
		return func(c *ctx) *Value[time.Duration] { return f(c.rs) }
	}
	kind := method(func(c *ctx) *Value[string] { return &c.rs.LBKind })
	return []rule{
		{block: "virtual_server", keyword: "real_server", args: 2, open: openRealServer},
		{block: R, keyword: "weight", args: 1, set: integer(0, maxInt, func(c *ctx) *Value[int] { return &c.rs.Weight })},
		{block: R, keyword: "lvs_method", args: anyWords, set: kind},
		{block: R, keyword: "lb_kind", args: anyWords, set: kind, note: note{Warning, "not-in-keepalived", "lb_kind in a real_server is understood here, but not by keepalived", "write lvs_method"}},
		{block: R, keyword: "inhibit_on_failure", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &c.rs.InhibitOnFailure })},
		{block: R, keyword: "alpha", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &c.rs.Alpha })},
		{block: R, keyword: "connect_timeout", args: 1, set: duration(6, minTimer, maxSeconds, t(func(r *RealServer) *Value[time.Duration] { return &r.ConnectTimeout }))},
		{block: R, keyword: "retry", args: 1, set: integer(1, maxInt, func(c *ctx) *Value[int] { return &c.rs.Retry })},
		{block: R, keyword: "delay_before_retry", args: 1, set: duration(6, 0, maxSeconds, t(func(r *RealServer) *Value[time.Duration] { return &r.DelayBeforeRetry }))},
		{block: R, keyword: "delay_loop", args: 1, set: duration(6, minTimer, maxSeconds, t(func(r *RealServer) *Value[time.Duration] { return &r.DelayLoop }))},
		{block: R, keyword: "warmup", args: 1, set: duration(6, 0, maxSeconds, t(func(r *RealServer) *Value[time.Duration] { return &r.Warmup }))},
		{block: R, keyword: "smtp_alert", args: 1, yet: mailYet},
	}
}

func openRealServer(c *ctx, s *stmt) bool {
	kw := s.keyword()
	w, ok := c.arg(s, 1, "address and a port")
	if !ok {
		return false
	}
	addr, ok := c.ip(w, kw)
	if !ok {
		return false
	}
	port, at := c.vs.Port.V, w.pos // without a port the service's
	if len(s.words) > 2 {
		if port, ok = c.port(s.words[2], kw); !ok {
			return false
		}
		at = s.words[2].pos
	}
	for _, old := range c.vs.RealServers {
		if old.Addr.V == addr && old.Port.V == port {
			c.errorf(w.pos, "duplicate-name", kw, "delete one of the two", "real_server %s %d is already listed at %s", addr, port, old.Pos)
			return false
		}
	}
	c.rs = &RealServer{Pos: s.pos, Addr: Value[netip.Addr]{V: addr, Set: true, Pos: w.pos}, Port: Value[int]{V: port, Set: len(s.words) > 2, Pos: at}}
	c.vs.RealServers = append(c.vs.RealServers, c.rs)
	isCheck := func(child *stmt) bool { return c.schema.isBlock("virtual_server.real_server", child.keyword()) }
	if !slices.ContainsFunc(s.children, isCheck) {
		c.infof(s.pos, "no-check", kw, "add: TCP_CHECK { ... }", "real_server %s has no health check and stays in service whatever happens to it", c.rs)
	}
	return true
}

// finishRealServer applies what the virtual server says, down to the checks
// (virtual_server, then real_server, then the check's own block).
func (c *ctx) finishRealServer(v *VirtualServer, r *RealServer) {
	inherit(&r.Weight, 1, v.Weight)
	inherit(&r.LBKind, v.LBKind.V)
	inherit(&r.InhibitOnFailure, false, v.InhibitOnFailure)
	inherit(&r.Alpha, false, v.Alpha)
	inherit(&r.ConnectTimeout, v.ConnectTimeout.V)
	inherit(&r.Retry, 1, v.Retry)
	inherit(&r.DelayBeforeRetry, time.Second, v.DelayBeforeRetry)
	inherit(&r.DelayLoop, v.DelayLoop.V)
	inherit(&r.Warmup, r.DelayLoop.V, v.Warmup)
	if r.LBKind.V != "NAT" && r.Port.V != v.Port.V {
		// IPVS does not rewrite ports with DR and TUN; keepalived corrects it as well.
		c.warnf(r.Port.Pos, "adjusted", "real_server", "write the port of the virtual_server, or use lb_kind NAT", "with %s a real server gets packets on port %d, so %d is used instead of %d", r.LBKind.V, v.Port.V, v.Port.V, r.Port.V)
		r.Port.V = v.Port.V
	}
	for _, k := range r.Checks {
		inherit(&k.ConnectIP, r.Addr.V)
		inherit(&k.ConnectPort, r.Port.V)
		inherit(&k.ConnectTimeout, r.ConnectTimeout.V)
		inherit(&k.Retry, r.Retry.V)
		inherit(&k.DelayBeforeRetry, r.DelayBeforeRetry.V)
		inherit(&k.DelayLoop, r.DelayLoop.V)
		inherit(&k.Alpha, r.Alpha.V)
		if !k.Warmup.Set {
			k.Warmup.V = k.DelayLoop.V
			if r.Warmup.Set || v.Warmup.Set {
				k.Warmup.V = r.Warmup.V
			}
		}
	}
}

func tcpCheckRules() []rule {
	const T = "virtual_server.real_server.TCP_CHECK"
	t := func(f func(*Check) *Value[time.Duration]) timeOf {
		return func(c *ctx) *Value[time.Duration] { return f(c.check) }
	}
	retry := integer(0, maxInt, func(c *ctx) *Value[int] { return &c.check.Retry })
	return []rule{
		{block: "virtual_server.real_server", keyword: "TCP_CHECK", open: openCheck},
		{block: T, keyword: "connect_ip", args: 1, set: address(func(c *ctx) *Value[netip.Addr] { return &c.check.ConnectIP })},
		{block: T, keyword: "connect_port", args: 1, set: integer(1, 65535, func(c *ctx) *Value[int] { return &c.check.ConnectPort })},
		{block: T, keyword: "bindto", args: 1, set: address(func(c *ctx) *Value[netip.Addr] { return &c.check.BindTo })},
		{block: T, keyword: "connect_timeout", args: 1, set: duration(6, minTimer, maxSeconds, t(func(k *Check) *Value[time.Duration] { return &k.ConnectTimeout }))},
		{block: T, keyword: "retry", args: 1, set: retry},
		{block: T, keyword: "nb_get_retry", args: 1, set: retry, note: note{Warning, "not-in-keepalived", "nb_get_retry in a TCP_CHECK is understood here as retry, but keepalived does not know it there", "write retry"}},
		{block: T, keyword: "delay_before_retry", args: 1, set: duration(6, 0, maxSeconds, t(func(k *Check) *Value[time.Duration] { return &k.DelayBeforeRetry }))},
		{block: T, keyword: "delay_loop", args: 1, set: duration(6, minTimer, maxSeconds, t(func(k *Check) *Value[time.Duration] { return &k.DelayLoop }))},
		{block: T, keyword: "warmup", args: 1, set: duration(6, 0, maxSeconds, t(func(k *Check) *Value[time.Duration] { return &k.Warmup }))},
		{block: T, keyword: "alpha", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &c.check.Alpha })},
	}
}

func openCheck(c *ctx, s *stmt) bool {
	c.check = &Check{Kind: s.keyword(), Pos: s.pos}
	c.rs.Checks = append(c.rs.Checks, c.check)
	return true
}
