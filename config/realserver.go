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
	kind := method(func(c *ctx) *Value[string] { return &c.rs.LBKind }, func(c *ctx) **Tunnel { return &c.rs.Tunnel })
	return []rule{
		{block: "virtual_server", keyword: "real_server", args: 2, open: openRealServer},
		{block: R, keyword: "weight", args: 1, set: integer(0, maxInt, func(c *ctx) *Value[int] { return &c.rs.Weight })},
		{block: R, keyword: "lvs_method", args: anyWords, set: kind},
		{block: R, keyword: "lb_kind", args: anyWords, set: kind, note: note{Warning, "not-in-keepalived", "lb_kind in a real_server is understood here, but not by keepalived", "write lvs_method"}},
		{block: R, keyword: "inhibit_on_failure", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &c.rs.InhibitOnFailure })},
		{block: R, keyword: "alpha", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &c.rs.Alpha })},
		{block: R, keyword: "connect_timeout", args: 1, set: duration(6, minTimer, microMax, t(func(r *RealServer) *Value[time.Duration] { return &r.ConnectTimeout }))},
		{block: R, keyword: "retry", args: 1, set: integer(1, maxUint32, func(c *ctx) *Value[int] { return &c.rs.Retry })},
		{block: R, keyword: "delay_before_retry", args: 1, set: duration(6, 0, maxTimer, t(func(r *RealServer) *Value[time.Duration] { return &r.DelayBeforeRetry }))},
		{block: R, keyword: "delay_loop", args: 1, set: duration(6, minTimer, maxTimer, t(func(r *RealServer) *Value[time.Duration] { return &r.DelayLoop }))},
		{block: R, keyword: "warmup", args: 1, set: duration(6, 0, maxTimer, t(func(r *RealServer) *Value[time.Duration] { return &r.Warmup }))},
		{block: R, keyword: "smtp_alert", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &c.rs.SMTPAlert })},
		{block: R, keyword: "uthreshold", args: 1, set: integer(0, maxUint32, func(c *ctx) *Value[int] { return &c.rs.UThreshold })},
		{block: R, keyword: "lthreshold", args: 1, set: integer(0, maxUint32, func(c *ctx) *Value[int] { return &c.rs.LThreshold })},
		{block: R, keyword: "notify_up", args: anyWords, set: command(func(c *ctx) **Command { return &c.rs.NotifyUp })},
		{block: R, keyword: "notify_down", args: anyWords, set: command(func(c *ctx) **Command { return &c.rs.NotifyDown })},
		{block: R, keyword: "virtualhost", args: 1, set: text("name", func(c *ctx) *Value[string] { return &c.rs.VirtualHost })},
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
	if len(s.words) > 2 && s.words[2].text != "0" {
		if port, ok = c.port(s.words[2], kw); !ok {
			return false
		}
		at = s.words[2].pos
	}
	key := netip.AddrPortFrom(addr, uint16(port))
	for _, old := range c.vs.RealServers {
		if len(c.vs.RealServers) > 64 {
			break // see below
		}
		if old.Addr.V == addr && old.Port.V == port {
			return c.duplicateServer(w, key, old.Pos)
		}
	}
	if n := len(c.vs.RealServers); n >= 64 { // a map pays for itself here, and keeps a hostile file cheap
		if n == 64 {
			c.facts.servers = make(map[netip.AddrPort]Pos, 256)
			for _, old := range c.vs.RealServers {
				c.facts.servers[netip.AddrPortFrom(old.Addr.V, uint16(old.Port.V))] = old.Pos
			}
		}
		if at, ok := c.facts.servers[key]; ok {
			return c.duplicateServer(w, key, at)
		}
		c.facts.servers[key] = s.pos
	}
	c.rs = c.newServer()
	c.rs.Pos = s.pos
	c.rs.Addr = Value[netip.Addr]{V: addr, Set: true, Pos: w.pos}
	c.rs.Port = Value[int]{V: port, Set: len(s.words) > 2, Pos: at}
	c.vs.RealServers = append(c.vs.RealServers, c.rs)
	isCheck := func(child *stmt) bool { return child.kw != nil && child.kw.isBlock() }
	if !slices.ContainsFunc(s.children, isCheck) {
		c.infof(s.pos, "no-check", kw, "add: TCP_CHECK { ... }", "real_server %s has no health check and stays in service whatever happens to it", c.rs)
	}
	return true
}

func (c *ctx) duplicateServer(w word, key netip.AddrPort, at Pos) bool {
	c.errorf(w.pos, "duplicate-name", "real_server", "delete one of the two", "real_server %s %d is already listed at %s", key.Addr(), key.Port(), at)
	return false
}

// newServer makes the object of a real_server block, or takes one that Lint needs no more.
func (c *ctx) newServer() *RealServer {
	if list := c.vs.RealServers; c.light && len(list) < cap(list) {
		if old := list[:len(list)+1][len(list)]; old != nil {
			*old = RealServer{Checks: old.Checks[:0]}
			return old
		}
	}
	return &RealServer{}
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
	inherit(&r.VirtualHost, "", v.VirtualHost)
	inherit(&r.DelayBeforeRetry, time.Second, v.DelayBeforeRetry)
	inherit(&r.DelayLoop, v.DelayLoop.V)
	inherit(&r.Warmup, r.DelayLoop.V, v.Warmup)
	if r.LBKind.V != "NAT" && r.Port.V != v.Port.V && v.Addr.Set {
		// IPVS does not rewrite ports with DR and TUN; keepalived corrects it as well.
		c.warnf(r.Port.Pos, "adjusted", "real_server", "write the port of the virtual_server, or use lb_kind NAT", "with %s a real server gets packets on port %d, so %d is used instead of %d", r.LBKind.V, v.Port.V, v.Port.V, r.Port.V)
		r.Port.V = v.Port.V
	}
	for _, k := range r.Checks {
		retry, pause := 1, time.Second
		switch k.Kind { // keepalived 2.2.7, documented per check
		case "HTTP_GET", "SSL_GET":
			pause = 3 * time.Second
		case "DNS_CHECK":
			retry, pause = 3, r.DelayLoop.V
		case "MISC_CHECK":
			retry = 0
		}
		inherit(&k.ConnectIP, r.Addr.V)
		inherit(&k.ConnectPort, r.Port.V)
		inherit(&k.ConnectTimeout, r.ConnectTimeout.V)
		inherit(&k.Retry, retry, r.Retry, v.Retry)
		inherit(&k.DelayBeforeRetry, pause, r.DelayBeforeRetry, v.DelayBeforeRetry)
		inherit(&k.DelayLoop, r.DelayLoop.V)
		inherit(&k.Alpha, r.Alpha.V)
		if !k.Warmup.Set {
			k.Warmup.V = k.DelayLoop.V
			if r.Warmup.Set || v.Warmup.Set {
				k.Warmup.V = r.Warmup.V
			}
		}
		c.finishCheck(v, r, k)
	}
}
