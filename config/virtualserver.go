package config

import (
	"cmp"
	"encoding/binary"
	"fmt"
	mathbits "math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"
)

var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos"}

const (
	maxTimer = maxInt * time.Second
	minTimer = time.Microsecond
)

func virtualServerRules() []rule {
	const V = "virtual_server"
	t := func(f func(*VirtualServer) *Value[time.Duration]) timeOf {
		return func(c *ctx) *Value[time.Duration] { return f(c.vs) }
	}
	kind := method(func(c *ctx) *Value[string] { return &c.vs.LBKind }, func(c *ctx) **Tunnel { return &c.vs.Tunnel })
	algo := choice(func(c *ctx) *Value[string] { return &c.vs.LBAlgo }, schedulers...)
	return []rule{
		{block: "", keyword: V, args: 2, open: openVirtualServer, close: closeVirtualServer},
		{block: V, keyword: "delay_loop", args: 1, set: duration(6, minTimer, maxTimer, t(func(v *VirtualServer) *Value[time.Duration] { return &v.DelayLoop }))},
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
			integer(1, maxUint32, func(c *ctx) *Value[int] { return &c.vs.Quorum })(c, s)
			if q := c.vs.Quorum; q.V > 1 {
				c.need("quorum", q.Pos, "quorum", "")
			}
		}},
		{block: V, keyword: "connect_timeout", args: 1, set: duration(6, minTimer, microMax, t(func(v *VirtualServer) *Value[time.Duration] { return &v.ConnectTimeout }))},
		{block: V, keyword: "retry", args: 1, set: integer(1, maxUint32, func(c *ctx) *Value[int] { return &c.vs.Retry })},
		{block: V, keyword: "delay_before_retry", args: 1, set: duration(6, 0, maxTimer, t(func(v *VirtualServer) *Value[time.Duration] { return &v.DelayBeforeRetry }))},
		{block: V, keyword: "warmup", args: 1, set: duration(6, 0, maxTimer, t(func(v *VirtualServer) *Value[time.Duration] { return &v.Warmup }))},
		{block: V, keyword: "weight", args: 1, set: integer(1, maxInt, func(c *ctx) *Value[int] { return &c.vs.Weight })},
	}
}

// openVirtualServer reads "IP [PORT]", "fwmark N" or "group NAME".
func openVirtualServer(c *ctx, s *stmt) bool {
	kw := s.keyword()
	w, ok := c.arg(s, 1, "address and a port")
	if !ok {
		return false
	}
	v := c.newService(s.pos)
	c.facts.slow = false
	switch w.text {
	case "fwmark":
		x, ok := c.arg(s, 2, "mark")
		if !ok {
			return false
		}
		n, err := number(x.text, 0, 1<<32-1)
		if err != nil {
			c.bad(x, kw, "write a number from 0 to 4294967295", fmt.Errorf("fwmark %w", err))
			return false
		}
		v.FWMark = Value[int]{V: int(n), Set: true, Pos: x.pos}
		c.need("vs-fwmark", w.pos, kw+" fwmark", "write a virtual_server IP PORT for each address")
	case "group":
		x, ok := c.arg(s, 2, "name of a virtual_server_group")
		if !ok {
			return false
		}
		v.Group = Value[string]{V: x.text, Set: true, Pos: x.pos}
		c.need("vs-group", w.pos, kw+" group", "write a virtual_server IP PORT for each address")
	default:
		addr, ok := c.ip(w, kw)
		if !ok {
			return false
		}
		v.Addr = Value[netip.Addr]{V: addr, Set: true, Pos: w.pos}
		if len(s.words) > 2 && s.words[2].text != "0" {
			port, ok := c.port(s.words[2], kw)
			if !ok {
				return false
			}
			v.Port = Value[int]{V: port, Set: true, Pos: s.words[2].pos}
		} else {
			at := w.pos
			if len(s.words) > 2 {
				at = s.words[2].pos
			}
			v.Port = Value[int]{Set: len(s.words) > 2, Pos: at}
			c.need("vs-anyport", at, kw+" without a port", "write: virtual_server IP PORT")
		}
	}
	return true
}

// newService makes the object of a virtual_server block. Lint does not keep it, so that
// one object serves all.
func (c *ctx) newService(at Pos) *VirtualServer {
	if c.light && c.vs != nil {
		old := c.vs.RealServers
		*c.vs = VirtualServer{Pos: at, RealServers: old[:0]}
		return c.vs
	}
	c.vs = &VirtualServer{Pos: at}
	if !c.light {
		c.cfg.VirtualServers = append(c.cfg.VirtualServers, c.vs)
	}
	return c.vs
}

// method reads NAT, DR or TUN [type ipip|gue|gre] [port N] [nocsum|csum|remcsum].
func method(field textOf, tunnel func(*ctx) **Tunnel) setter {
	return func(c *ctx, s *stmt) {
		w, ok := c.arg(s, 1, "method")
		if !ok || !c.oneOf(w, s.keyword(), "NAT", "DR", "TUN") {
			return
		}
		put(c, s, field(c), w.text, w.pos)
		if len(s.words) < 3 {
			return
		}
		if w.text != "TUN" {
			c.surplus(s, 2)
			return
		}
		t := &Tunnel{Type: "ipip", Pos: s.words[2].pos}
		for i := 2; i < len(s.words); i++ {
			opt := s.words[i]
			if !c.oneOf(opt, s.keyword()+" TUN", "type", "port", "nocsum", "csum", "remcsum") {
				return
			}
			if opt.text != "type" && opt.text != "port" {
				t.Csum = opt.text
				continue
			}
			x, ok := c.arg(s, i+1, "value behind "+opt.text)
			if !ok {
				return
			}
			i++
			if opt.text == "type" {
				if t.Type = x.text; !c.oneOf(x, s.keyword()+" TUN type", "ipip", "gue", "gre") {
					return
				}
				continue
			}
			if t.Port, ok = c.port(x, s.keyword()); !ok {
				return
			}
		}
		bad := func(hint, format string, args ...any) {
			c.errorf(t.Pos, "bad-value", s.keyword(), hint, format, args...)
		}
		switch {
		case t.Type == "gue" && t.Port == 0:
			bad("add: port NUMBER", "a gue tunnel needs a port")
		case t.Type != "gue" && t.Port != 0:
			bad("delete the port", "a port belongs to a gue tunnel, not to %s", t.Type)
		case t.Type == "ipip" && t.Csum != "":
			bad("delete "+t.Csum, "an ipip tunnel has no checksum")
		case t.Type != "gue" && t.Csum == "remcsum":
			bad("write csum", "remcsum belongs to a gue tunnel, not to %s", t.Type)
		case t.Type != "ipip":
			c.need("tunnel", t.Pos, s.keyword()+" TUN type "+t.Type, "leave it out: ipip is used")
		}
		*tunnel(c) = t
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
	if n, err := number(w.text, 1, 128); err == nil {
		if c.vs.Addr.V.Is4() {
			c.bad(w, s.keyword(), "write a netmask such as 255.255.255.0", fmt.Errorf("%q is a prefix length, which belongs to an IPv6 service", shorten(w.text)))
			return
		}
		c.vs.PersistenceBits = int(n)
		return
	}
	mask, err := netip.ParseAddr(w.text)
	if err != nil || !mask.Is4() || mask.IsUnspecified() {
		c.bad(w, s.keyword(), "write a netmask such as 255.255.255.0", fmt.Errorf("%q is not a netmask", shorten(w.text)))
		return
	}
	put(c, s, &c.vs.PersistenceGranularity, mask, w.pos)
	bits := binary.BigEndian.Uint32(mask.AsSlice())
	if n := leadingOnes(bits); bits<<n != 0 {
		c.infof(w.pos, "bad-value", s.keyword(), "write a netmask such as 255.255.255.0", "%s has holes", mask)
	} else {
		c.vs.PersistenceBits = n
	}
}

func leadingOnes(x uint32) int { return mathbits.LeadingZeros32(^x) }

func closeVirtualServer(c *ctx, s *stmt) {
	v := c.vs
	missing := func(kws [2]string, hint, def string) {
		for _, child := range s.children {
			if slices.Contains(kws[:], child.keyword()) || slices.Contains(kws[:], cmp.Or(c.meant(child), "?")) {
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
	if v.FWMark.Set {
		if v.Protocol.Set {
			c.warnf(v.Protocol.Pos, "ignored", "protocol", "delete it", "a mark stands for packets of any protocol; protocol is ignored, as keepalived does")
		}
	} else {
		missing([2]string{"protocol", ""}, "add: protocol TCP (or UDP)", "UDP")
	}
	c.finishService(v)
	if (v.PersistenceGranularity.Set || v.PersistenceBits > 0) && !v.Persistence.Set {
		v.Persistence.V = 360
	}
	if len(v.RealServers) == 0 {
		c.warnf(s.pos, "no-real-server", "real_server", "add: real_server IP PORT { ... }", "virtual_server %s has no real_server and answers nobody", v)
	}
	for _, rs := range v.RealServers {
		c.finishRealServer(v, rs)
	}
	c.rememberService(v)
	c.cfg.services.addService(v)
}

// String names a virtual server as the file does: IP PORT, fwmark N or group NAME.
func (v *VirtualServer) String() string {
	switch {
	case v.FWMark.Set:
		return fmt.Sprintf("fwmark %d", v.FWMark.V)
	case v.Group.Set:
		return "group " + v.Group.V
	}
	return fmt.Sprintf("%s %d", v.Addr.V, v.Port.V)
}

// String names a real server as the file does: IP PORT.
func (r *RealServer) String() string { return fmt.Sprintf("%s %d", r.Addr.V, r.Port.V) }
