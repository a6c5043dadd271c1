package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos"}

const (
	maxSeconds = maxInt * time.Second
	minTimer   = time.Microsecond
)

func virtualServerRules() []rule {
	const V = "virtual_server"
	t := func(f func(*VirtualServer) *Value[time.Duration]) timeOf {
		return func(c *ctx) *Value[time.Duration] { return f(c.vs) }
	}
	kind := method(func(c *ctx) *Value[string] { return &c.vs.LBKind })
	algo := choice(func(c *ctx) *Value[string] { return &c.vs.LBAlgo }, schedulers...)
	return []rule{
		{block: "", keyword: V, args: 2, open: openVirtualServer, close: closeVirtualServer},
		{block: V, keyword: "delay_loop", args: 1, set: duration(6, minTimer, maxSeconds, t(func(v *VirtualServer) *Value[time.Duration] { return &v.DelayLoop }))},
		{block: V, keyword: "lb_algo", args: 1, set: algo},
		{block: V, keyword: "lvs_sched", args: 1, set: algo},
		{block: V, keyword: "lb_kind", args: anyWords, set: kind},
		{block: V, keyword: "lvs_method", args: anyWords, set: kind},
		{block: V, keyword: "persistence_timeout", args: 1, set: persistence},
		{block: V, keyword: "persistence_granularity", args: 1, set: granularity},
		{block: V, keyword: "protocol", args: 1, set: func(c *ctx, s *stmt) {
			if w, ok := c.arg(s, 1, "protocol"); ok {
				w.text = strings.ToUpper(w.text)
				if c.oneOf(w, "protocol", "TCP", "UDP", "SCTP") {
					put(c, s, &c.vs.Protocol, w.text, w.pos)
				}
			}
		}},
		{block: V, keyword: "alpha", set: flag(func(c *ctx) *Value[bool] { return &c.vs.Alpha })},
		{block: V, keyword: "inhibit_on_failure", set: flag(func(c *ctx) *Value[bool] { return &c.vs.InhibitOnFailure })},
		{block: V, keyword: "quorum", args: 1, set: func(c *ctx, s *stmt) {
			integer(1, maxInt, func(c *ctx) *Value[int] { return &c.vs.Quorum })(c, s)
			if q := c.vs.Quorum; q.V > 1 {
				c.warnf(q.Pos, "no-effect-yet", "quorum", "nothing to do; without sorry_server and quorum_up/quorum_down a quorum changes no traffic", "quorum %d is read, but a quorum above 1 is not carried out yet", q.V)
			}
		}},
		{block: V, keyword: "connect_timeout", args: 1, set: duration(6, minTimer, maxSeconds, t(func(v *VirtualServer) *Value[time.Duration] { return &v.ConnectTimeout }))},
		{block: V, keyword: "retry", args: 1, set: integer(1, maxInt, func(c *ctx) *Value[int] { return &c.vs.Retry })},
		{block: V, keyword: "delay_before_retry", args: 1, set: duration(6, 0, maxSeconds, t(func(v *VirtualServer) *Value[time.Duration] { return &v.DelayBeforeRetry }))},
		{block: V, keyword: "warmup", args: 1, set: duration(6, 0, maxSeconds, t(func(v *VirtualServer) *Value[time.Duration] { return &v.Warmup }))},
		{block: V, keyword: "weight", args: 1, set: integer(1, maxInt, func(c *ctx) *Value[int] { return &c.vs.Weight })},
		{block: V, keyword: "smtp_alert", args: 1, yet: mailYet},
	}
}

// openVirtualServer reads "IP PORT". Other forms are refused as a whole.
func openVirtualServer(c *ctx, s *stmt) bool {
	kw := s.keyword()
	w, ok := c.arg(s, 1, "address and a port")
	if !ok {
		return false
	}
	if w.text == "fwmark" || w.text == "group" {
		c.errorf(w.pos, "not-supported-yet", kw, "write a virtual_server IP PORT for each address", "virtual_server %s is not supported yet", w.text)
		c.onlyUnknown(s.children, kw)
		return false
	}
	addr, ok := c.ip(w, kw)
	if !ok {
		return false
	}
	if len(s.words) < 3 {
		c.errorf(w.pos, "not-supported-yet", kw, "write: virtual_server IP PORT", "virtual_server %s without a port (a service on every port) is not supported yet", addr)
		return false
	}
	if s.words[2].text == "0" {
		c.errorf(s.words[2].pos, "not-supported-yet", kw, "write: virtual_server IP PORT", "port 0 (a service on every port) is not supported yet")
		return false
	}
	port, ok := c.port(s.words[2], kw)
	if !ok {
		return false
	}
	c.vs = &VirtualServer{Pos: s.pos, Addr: Value[netip.Addr]{V: addr, Set: true, Pos: w.pos}, Port: Value[int]{V: port, Set: true, Pos: s.words[2].pos}}
	c.cfg.VirtualServers = append(c.cfg.VirtualServers, c.vs)
	return true
}

// method reads NAT, DR or TUN; options of tunnels are refused.
func method(field textOf) setter {
	return func(c *ctx, s *stmt) {
		w, ok := c.arg(s, 1, "method")
		if !ok || !c.oneOf(w, s.keyword(), "NAT", "DR", "TUN") {
			return
		}
		put(c, s, field(c), w.text, w.pos)
		if len(s.words) < 3 {
			return
		}
		opt := s.words[2]
		if e, ok := c.schema.option("(lvs_method)", opt.text); ok && w.text == "TUN" {
			if opt.text == "type" && len(s.words) == 4 && s.words[3].text == "ipip" {
				return // the default
			}
			c.errorf(opt.pos, "not-supported-yet", s.keyword(), "leave it out: ipip is used", "%s: %s is not supported yet", e.keyword, lowerFirst(e.meaning))
			return
		}
		c.surplus(s, 2)
	}
}

func persistence(c *ctx, s *stmt) {
	if len(s.words) == 1 {
		put(c, s, &c.vs.Persistence, 360, s.pos)
		return
	}
	integer(1, 2678400, func(c *ctx) *Value[int] { return &c.vs.Persistence })(c, s)
}

func granularity(c *ctx, s *stmt) {
	w, ok := c.arg(s, 1, "netmask")
	if !ok {
		return
	}
	mask, err := netip.ParseAddr(w.text)
	if err != nil || !mask.Is4() || mask.IsUnspecified() {
		if _, err := number(w.text, 1, 128); err == nil {
			c.ipv6(w, s.keyword()) // a prefix length is for IPv6
			return
		}
		c.bad(w, s.keyword(), "write a netmask such as 255.255.255.0", fmt.Errorf("%q is not a netmask", shorten(w.text)))
		return
	}
	put(c, s, &c.vs.PersistenceGranularity, mask, w.pos)
}

func closeVirtualServer(c *ctx, s *stmt) {
	v := c.vs
	missing := func(kws [2]string, hint, def string) {
		for _, child := range s.children {
			if child.keyword() == kws[0] || child.keyword() == kws[1] {
				return
			}
		}
		c.warnf(s.pos, "missing-keyword", kws[0], hint, "virtual_server %s has no %s, %s is used", v, kws[0], def)
	}
	def(&v.LBAlgo, "wlc")
	def(&v.LBKind, "NAT")
	def(&v.Protocol, "UDP")
	def(&v.DelayLoop, time.Minute)
	def(&v.ConnectTimeout, 5*time.Second)
	def(&v.Quorum, 1)
	def(&v.Weight, 1)
	missing([2]string{"lb_algo", "lvs_sched"}, "add: lb_algo wlc", "wlc")
	missing([2]string{"lb_kind", "lvs_method"}, "add: lb_kind DR, NAT or TUN", "NAT")
	missing([2]string{"protocol", ""}, "add: protocol TCP (or UDP)", "UDP")
	if v.PersistenceGranularity.Set && !v.Persistence.Set {
		v.Persistence.V = 360
	}
	if len(v.RealServers) == 0 {
		c.warnf(s.pos, "no-real-server", "real_server", "add: real_server IP PORT { ... }", "virtual_server %s has no real_server and answers nobody", v)
	}
	for _, rs := range v.RealServers {
		c.finishRealServer(v, rs)
	}
}

// String names a virtual server as the file does: IP PORT.
func (v *VirtualServer) String() string { return fmt.Sprintf("%s %d", v.Addr.V, v.Port.V) }

// String names a real server as the file does: IP PORT.
func (r *RealServer) String() string { return fmt.Sprintf("%s %d", r.Addr.V, r.Port.V) }
