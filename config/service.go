package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// serviceRules are the keywords of virtual_server beyond scheduling and checking, and
// virtual_server_group.
func serviceRules() []rule {
	const V = "virtual_server"
	cmd := func(f func(*VirtualServer) **Command) setter {
		return command(func(c *ctx) **Command { return f(c.vs) })
	}
	on := func(f func(*VirtualServer) *bool) setter { return func(c *ctx, _ *stmt) { *f(c.vs) = true } }
	out := []rule{
		{block: "", keyword: "virtual_server_group", args: 1, open: openServerGroup, each: groupEntry},
		{block: V, keyword: "ip_family", args: 1, set: choice(func(c *ctx) *Value[string] { return &c.vs.IPFamily }, "inet", "inet6")},
		{block: V, keyword: "ops", set: on(func(v *VirtualServer) *bool { return &v.OPS })},
		{block: V, keyword: "persistence_engine", args: 1, set: text("name", func(c *ctx) *Value[string] { return &c.vs.PersistenceEngine })},
		{block: V, keyword: "ha_suspend", set: on(func(v *VirtualServer) *bool { return &v.HASuspend })},
		{block: V, keyword: "omega", set: on(func(v *VirtualServer) *bool { return &v.Omega })},
		{block: V, keyword: "hysteresis", args: 1, set: integer(0, maxUint32, func(c *ctx) *Value[int] { return &c.vs.Hysteresis })},
		{block: V, keyword: "quorum_up", args: anyWords, set: cmd(func(v *VirtualServer) **Command { return &v.QuorumUp })},
		{block: V, keyword: "quorum_down", args: anyWords, set: cmd(func(v *VirtualServer) **Command { return &v.QuorumDown })},
		{block: V, keyword: "virtualhost", args: 1, set: text("name", func(c *ctx) *Value[string] { return &c.vs.VirtualHost })},
		{block: V, keyword: "smtp_alert", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &c.vs.SMTPAlert })},
		{block: V, keyword: "sorry_server", args: 2, set: sorryServer},
		{block: V, keyword: "sorry_server_inhibit", set: func(c *ctx, s *stmt) {
			if c.afterSorry(s) {
				c.vs.SorryServer.Inhibit = true
			}
		}},
		{block: V, keyword: "sorry_server_lvs_method", args: anyWords, set: func(c *ctx, s *stmt) {
			if c.afterSorry(s) {
				method(func(c *ctx) *Value[string] { return &c.vs.SorryServer.LBKind }, func(c *ctx) **Tunnel { return &c.vs.SorryServer.Tunnel })(c, s)
			}
		}},
	}
	for _, flag := range []string{"flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback"} {
		out = append(out, rule{block: V, keyword: flag, set: schedFlag})
	}
	return out
}

func schedFlag(c *ctx, s *stmt) {
	kw := s.keyword()
	c.vs.SchedFlags = append(c.vs.SchedFlags, kw)
	if algo, _, ok := strings.Cut(kw, "-"); ok && algo != "flag" && c.vs.LBAlgo.V != algo {
		c.errorf(s.pos, "ignored", kw, "write: lb_algo "+algo+" above this line", "%s belongs to the scheduler %s, which must be chosen above it", kw, algo)
	}
}

func (c *ctx) afterSorry(s *stmt) bool {
	if c.vs.SorryServer == nil {
		c.errorf(s.pos, "ignored", s.keyword(), "write sorry_server above this line", "%s needs a sorry_server above it", s.keyword())
		return false
	}
	return true
}

func sorryServer(c *ctx, s *stmt) {
	w, ok := c.arg(s, 1, "address and a port")
	if !ok {
		return
	}
	a, ok := c.ip(w, s.keyword())
	if !ok {
		return
	}
	sorry := &SorryServer{Addr: Value[netip.Addr]{V: a, Set: true, Pos: w.pos}, Port: Value[int]{V: c.vs.Port.V, Pos: w.pos}}
	if len(s.words) > 2 {
		n, err := number(s.words[2].text, 0, 65535)
		if err != nil {
			c.bad(s.words[2], s.keyword(), "write a port from 1 to 65535", fmt.Errorf("port %w", err))
			return
		}
		sorry.Port = Value[int]{V: int(n), Set: true, Pos: s.words[2].pos}
	}
	if c.vs.SorryServer != nil {
		c.warnf(s.pos, "duplicate-keyword", s.keyword(), "delete one of the two", "sorry_server is already set at %s; this line replaces it", c.vs.SorryServer.Addr.Pos)
	}
	c.vs.SorryServer = sorry
}

// groupEntry reads "IP [PORT]", "A.B.C.D-N [PORT]", "A-B [PORT]", "NET/LEN [PORT]" or
// "fwmark N [inet|inet6]".
func groupEntry(c *ctx, item *stmt) {
	const kw = "virtual_server_group"
	g := c.vsg
	w := item.words[0]
	e := GroupEntry{Pos: w.pos}
	if w.text == "fwmark" {
		x, ok := c.arg(item, 1, "mark")
		if !ok {
			return
		}
		n, err := number(x.text, 0, maxUint32)
		if err != nil {
			c.bad(x, kw, "write a number from 0 to 4294967295", fmt.Errorf("fwmark %w", err))
			return
		}
		e.FWMark = n
		if len(item.words) > 2 {
			if e.Family = item.words[2].text; !c.oneOf(item.words[2], kw, "inet", "inet6") {
				return
			}
		}
		g.Entries = append(g.Entries, e)
		return
	}
	var ok bool
	if e.First, e.Last, ok = c.addrRange(w, kw); !ok {
		return
	}
	if len(item.words) > 1 {
		n, err := number(item.words[1].text, 0, 65535)
		if err != nil {
			c.bad(item.words[1], kw, "write a port from 1 to 65535", fmt.Errorf("port %w", err))
			return
		}
		e.Port = int(n)
	}
	if len(item.words) > 2 {
		c.surplus(item, 2)
	}
	g.Entries = append(g.Entries, e)
}

// addrRange reads an address, FIRST-LAST (LAST may be the last byte or group alone) or a network.
func (c *ctx) addrRange(w word, kw string) (first, last netip.Addr, ok bool) {
	bad := func(hint, format string, args ...any) (netip.Addr, netip.Addr, bool) {
		c.bad(w, kw, hint, fmt.Errorf(format, args...))
		return netip.Addr{}, netip.Addr{}, false
	}
	if p, err := netip.ParsePrefix(w.text); err == nil {
		if p.Masked() != p {
			return bad("write "+p.Masked().String(), "%q has bits behind the prefix", shorten(w.text))
		}
		if p.Addr().BitLen()-p.Bits() > 16 {
			return bad("write a smaller network, or a fwmark", "%q has more than 65536 addresses", shorten(w.text))
		}
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		return p.Addr(), end, true
	}
	a, b, isRange := strings.Cut(w.text, "-")
	first, err := netip.ParseAddr(a)
	if err != nil || first.Zone() != "" {
		return bad("write an address, a range such as 10.0.0.1-9, or a network", "%q is not an IP address", shorten(a))
	}
	if !isRange {
		return first, first, true
	}
	sep := "."
	if first.Is6() {
		sep = ":"
	}
	if !strings.Contains(b, sep) {
		b = a[:strings.LastIndex(a, sep)+1] + b
	}
	last, err = netip.ParseAddr(b)
	switch {
	case err != nil || last.Is4() != first.Is4():
		return bad("write a range such as 10.0.0.1-9", "%q does not end in an address of the same family", shorten(w.text))
	case !first.Less(last):
		return bad("write the lower address first", "%q ends before it begins", shorten(w.text))
	}
	return first, last, true
}

// finishService judges what needs the whole block.
func (c *ctx) finishService(v *VirtualServer) {
	total := 0
	for _, r := range v.RealServers {
		w := r.Weight
		inherit(&w, 1, v.Weight)
		total += w.V
	}
	switch {
	case total == 0 && len(v.RealServers) > 0:
		c.warnf(v.Pos, "out-of-range", "quorum", "give a real server a weight above 0", "the weights of all real servers of virtual_server %s are 0: nobody is sent there", v)
	case v.Quorum.Set && v.Quorum.V > total && len(v.RealServers) > 0:
		c.warnf(v.Quorum.Pos, "out-of-range", "quorum", fmt.Sprintf("write a quorum of at most %d", total),
			"quorum %d is more than the weights of all real servers together (%d) and can never be reached; keepalived lowers it", v.Quorum.V, total)
		v.Quorum.V = max(1, total)
	case v.Quorum.V > 1 && v.SorryServer == nil && v.QuorumDown == nil && v.QuorumUp == nil:
		c.warnf(v.Quorum.Pos, "quorum-without-sorry", "quorum", "add: sorry_server IP PORT, or quorum_up and quorum_down",
			"virtual_server %s has a quorum, but nothing happens when it is lost: the servers that are left go on", v)
	}
	if v.Hysteresis.V >= v.Quorum.V && v.Hysteresis.V > 0 {
		c.warnf(v.Hysteresis.Pos, "out-of-range", "hysteresis", "write a number below quorum", "hysteresis %d must be below quorum %d; keepalived lowers it", v.Hysteresis.V, v.Quorum.V)
		v.Hysteresis.V = v.Quorum.V - 1
	}
	if v.OPS && v.Protocol.V != "UDP" {
		c.warnf(v.Pos, "ignored", "ops", "delete it, or write: protocol UDP", "ops works with UDP only and is ignored, as keepalived does")
		v.OPS = false
	}
	if v.HASuspend && !v.Addr.Set {
		c.warnf(v.Pos, "ignored", "ha_suspend", "delete it", "ha_suspend needs an address and is ignored for %s, as keepalived does", v)
		v.HASuspend = false
	}
	if sorry := v.SorryServer; sorry != nil {
		inherit(&sorry.LBKind, v.LBKind.V)
		c.family(v, sorry.Addr, sorry.LBKind.V, "sorry_server")
	}
	for _, r := range v.RealServers {
		kind := r.LBKind
		inherit(&kind, v.LBKind.V)
		c.family(v, r.Addr, kind.V, "real_server")
	}
}

// family: only a tunnel can lead from a service of one family to a server of the other
// (Linux 3.18).
func (c *ctx) family(v *VirtualServer, a Value[netip.Addr], kind, kw string) {
	if !v.Addr.Set || v.Addr.V.Is4() == a.V.Is4() {
		return
	}
	if kind != "TUN" {
		c.errorf(a.Pos, "mixed-families", kw, "use an address of the same family, or lvs_method TUN", "%s %s is not of the family of virtual_server %s, and %s cannot translate", kw, a.V, v, kind)
		return
	}
	c.errorf(a.Pos, "not-supported-yet", kw, "use an address of the same family",
		"%s %s is not of the family of virtual_server %s: a tunnel of the other family is not supported yet", kw, a.V, v)
}

// facts is what the checks of the whole file need about objects that Lint does not keep.
type facts struct {
	told     map[*feature]bool
	weights  map[string]int    // of scripts
	slow     bool              // the open virtual_server was told that its checks are slow
	noPeers  map[*Instance]Pos // an empty unicast_peer
	exposed  map[string]bool   // files whose permissions were looked at
	names    map[string]Pos    // "keyword name" of named blocks
	vips     map[netip.Addr]Pos
	servers  map[netip.AddrPort]Pos // of the open virtual_server, when it has many
	seen     map[serviceKey]Pos
	named    map[string]Pos  // services by mark or group
	services []addrFact      // addresses of services
	backends [][]addrFact    // addresses of real servers, in pieces that are never moved
	groups   []Value[string] // virtual_server group NAME
	// what FILE_CHECK and BFD_CHECK refer to
	fileChecks, bfdChecks []Track
	rules4, rules6        int64 // rules without a preference
}

type serviceKey struct {
	addr     netip.AddrPort
	protocol byte // T, U or S
}

type addrFact struct {
	addr netip.Addr
	pos  Pos
}

// rememberService judges a service against those before it, and keeps what checkServices needs.
func (c *ctx) rememberService(v *VirtualServer) {
	f := &c.facts
	var at Pos
	again := false
	if v.Addr.Set {
		k := serviceKey{netip.AddrPortFrom(v.Addr.V, uint16(v.Port.V)), v.Protocol.V[0]}
		if f.seen == nil {
			f.seen = map[serviceKey]Pos{}
		}
		if at, again = f.seen[k]; !again {
			f.seen[k] = v.Pos
		}
	} else {
		if f.named == nil {
			f.named = map[string]Pos{}
		}
		name := fmt.Sprint(v, " ", v.Protocol.V, " ", v.IPFamily.V)
		if at, again = f.named[name]; !again {
			f.named[name] = v.Pos
		}
	}
	if again {
		c.errorf(v.Pos, "duplicate-name", "virtual_server", "put the real servers into one block", "virtual_server %s %s is already defined at %s", v, v.Protocol.V, at)
		return
	}
	if v.Group.Set {
		f.groups = append(f.groups, v.Group)
	}
	if v.Addr.Set {
		f.services = append(f.services, addrFact{v.Addr.V, v.Addr.Pos})
	}
	for _, r := range v.RealServers {
		if r.Addr.V == v.Addr.V {
			// The kernel hands such packets to a process of its own when the address is there, and sends them round in circles when not.
			c.warnf(r.Addr.Pos, "server-is-service", "real_server", "write the address of the server itself", "real_server %s is the address of virtual_server %s itself: the director that owns it would answer, and no other server", r.Addr.V, v)
			continue
		}
		if n := len(f.backends); n == 0 || len(f.backends[n-1]) == cap(f.backends[n-1]) {
			f.backends = append(f.backends, make([]addrFact, 0, 512))
		}
		last := &f.backends[len(f.backends)-1]
		*last = append(*last, addrFact{r.Addr.V, r.Addr.Pos})
	}
}

func openServerGroup(c *ctx, s *stmt) bool {
	w, ok := c.name(s)
	if !ok || c.taken(s, w) {
		return false
	}
	c.vsg = &ServerGroup{Name: w.text, Pos: s.pos}
	c.cfg.ServerGroups = append(c.cfg.ServerGroups, c.vsg)
	return true
}

// hasServerGroup reports whether a virtual_server_group has this name (taken keeps them).
func (c *ctx) hasServerGroup(name string) bool {
	_, ok := c.facts.names["virtual_server_group "+name]
	return ok
}
