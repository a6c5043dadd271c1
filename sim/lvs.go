package sim

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"quorate/ipvs"
	"quorate/ipvs/ipvstest"
	"quorate/sim/wire"
)

// lvs is a director's kernel IPVS: the table that the checker worker programs, and the connections that packets make. Direct
// routing rewrites the Ethernet address alone, NAT the destination as well; a tunnel is drawn as direct routing. Schedulers are
// rr, wrr, lc, wlc and sh (by a hash of its own); any other counts as wlc, and that is said once. Connections are not
// synchronized between directors. Deviations of the order among equals are possible: the kernel's depends on its history.
type lvs struct {
	mem       ipvstest.Memory
	table     ipvs.Table // a copy of mem's
	history   []tableAt
	conns     map[connKey]*lvsConn
	back      map[connKey]*lvsConn // NAT: by client and real server
	templates map[templateKey]*template
	counts    map[destKey]*connCount
	turns     map[ipvs.Key]*turn
	said      map[string]bool
}

// tableAt is the table from an instant on.
type tableAt struct {
	at    time.Duration
	table ipvs.Table
}

type connKey struct{ client, virtual netip.AddrPort }

type destKey struct {
	service ipvs.Key
	dest    netip.AddrPort
}

type connCount struct{ active, inactive int }

type lvsConn struct {
	key    connKey
	dest   destKey
	fwd    ipvs.Forward
	active bool
	gen    uint64 // of its timer
}

// templateKey is who comes back to the same real server: a client, or with a netmask its network.
type templateKey struct {
	service ipvs.Key
	client  netip.Addr
}

type template struct {
	dest  netip.AddrPort
	until time.Duration
}

// turn is where rr and wrr are.
type turn struct{ last, weight int }

// The kernel's times (ip_vs_proto_tcp.c): a connection that nobody has answered, one that lives, one whose client has said
// good-bye, one that was reset.
const (
	connSynRecv     = time.Minute
	connEstablished = 15 * time.Minute
	connFinWait     = 2 * time.Minute
	connReset       = 10 * time.Second
)

func newLVS() *lvs {
	return &lvs{conns: map[connKey]*lvsConn{}, back: map[connKey]*lvsConn{}, templates: map[templateKey]*template{},
		counts: map[destKey]*connCount{}, turns: map[ipvs.Key]*turn{}, said: map[string]bool{}}
}

// kernelIPVS is the host's, which is there as soon as anybody wants it.
func (h *Host) kernelIPVS() *lvs {
	if h.lvs == nil {
		h.lvs = newLVS()
	}
	return h.lvs
}

// changed takes over what the memory holds now.
func (l *lvs) changed(now time.Duration) {
	l.table, _ = l.mem.Table() // never closed
	l.mem.Log = nil
	l.history = append(l.history, tableAt{now, l.table})
}

// find is the service that a connection to an address belongs to; a service of port 0 takes every port.
func (l *lvs) find(to netip.AddrPort) (ipvs.Entry, bool) {
	for _, port := range []uint16{to.Port(), 0} {
		if e, ok := l.table.Get(ipvs.Key{Protocol: ipvs.TCP, Addr: to.Addr(), Port: port}); ok {
			return e, true
		}
	}
	return ipvs.Entry{}, false
}

func destination(e ipvs.Entry, at netip.AddrPort) (ipvs.Destination, bool) {
	i := slices.IndexFunc(e.Destinations, func(d ipvs.Destination) bool { return d.AddrPort() == at })
	if i < 0 {
		return ipvs.Destination{}, false
	}
	return e.Destinations[i], true
}

// balance gives a TCP packet to IPVS and reports whether it has taken it.
func (h *Host) balance(n *nic, f wire.Frame) bool {
	l := h.lvs
	if l == nil {
		return false
	}
	t, data, err := wire.ParseTCP(f.IP.Src, f.IP.Dst, f.Payload)
	if err != nil {
		return false
	}
	from, to := netip.AddrPortFrom(f.IP.Src, t.Src), netip.AddrPortFrom(f.IP.Dst, t.Dst)
	if c := l.back[connKey{to, from}]; c != nil && !h.local(to.Addr()) {
		// The way back through NAT: the real server's address becomes the virtual one.
		t.Src = c.key.virtual.Port()
		h.forward(to.Addr(), c.key.virtual.Addr(), to.Addr(), t, data)
		return true
	}
	if !h.local(to.Addr()) {
		return false
	}
	e, ok := l.find(to)
	if !ok {
		return false
	}
	key := connKey{from, to}
	c := l.conns[key]
	if c == nil || !c.active && t.Flags&wire.SYN != 0 {
		if t.Flags&wire.SYN == 0 {
			return false // sloppy_tcp is off: a connection begins with SYN, and the director's own TCP refuses anything else
		}
		d, ok := h.schedule(e, from.Addr())
		if !ok {
			// ip_vs_leave: nobody to give it to
			h.drops["ipvs: no real server"]++
			h.sendIP(n, f.Src, wire.IP{TTL: 64, Protocol: wire.ProtoICMP, Src: to.Addr(), Dst: from.Addr()}, wire.Refused(f.IP, f.Payload))
			return true
		}
		c = &lvsConn{key: key, dest: destKey{e.Service.Key, d.AddrPort()}, fwd: d.Forward}
		l.conns[key] = c
		if d.Forward == ipvs.NAT {
			l.back[connKey{from, d.AddrPort()}] = c
		}
	} else if _, there := destination(e, c.dest.dest); !there {
		h.drops["ipvs: connection of a server that was removed"]++ // expire_nodest_conn 0: dropped in silence
		return true
	}
	h.age(c, t)
	dst := c.dest.dest
	if c.fwd == ipvs.NAT {
		t.Dst = dst.Port()
		h.forward(dst.Addr(), from.Addr(), dst.Addr(), t, data)
	} else {
		h.forward(dst.Addr(), from.Addr(), to.Addr(), t, data)
	}
	return true
}

// forward sends a segment from src to dst by way of a neighbour.
func (h *Host) forward(via, src, dst netip.Addr, t wire.TCP, data []byte) {
	for _, n := range h.nics {
		if n.base.Contains(via) {
			h.resolve(n, via, packet{src: src, dst: dst, tcp: wire.Segment(src, dst, t, data)})
			return
		}
	}
	h.drops["no route"]++
}

// age moves a connection to the state that a packet of the client brings, and starts its time anew.
func (h *Host) age(c *lvsConn, t wire.TCP) {
	l := h.lvs
	if c.gen > 0 {
		l.count(c, -1)
	}
	wait := connEstablished
	switch {
	case t.Flags&wire.RST != 0:
		c.active, wait = false, connReset
	case t.Flags&wire.FIN != 0:
		c.active, wait = false, connFinWait
	case t.Flags&wire.SYN != 0:
		c.active, wait = true, connSynRecv
	}
	l.count(c, 1)
	c.gen++
	gen := c.gen
	h.w.after(wait, func() {
		if c.gen != gen || h.lvs != l {
			return
		}
		l.count(c, -1)
		if l.conns[c.key] == c {
			delete(l.conns, c.key)
		}
		if back := (connKey{c.key.client, c.dest.dest}); l.back[back] == c {
			delete(l.back, back)
		}
	})
}

func (l *lvs) count(c *lvsConn, by int) {
	n := l.counts[c.dest]
	if n == nil {
		n = &connCount{}
		l.counts[c.dest] = n
	}
	if c.active {
		n.active += by
	} else {
		n.inactive += by
	}
}

// schedule chooses a real server for a new connection; false if there is none that takes any.
func (h *Host) schedule(e ipvs.Entry, client netip.Addr) (ipvs.Destination, bool) {
	l, now := h.lvs, h.w.now
	var key templateKey
	if e.Service.Persistence > 0 {
		bits := 32
		if n, ok := ipvs.PrefixLen(e.Service.Netmask); ok {
			bits = n
		}
		key = templateKey{e.Service.Key, netip.PrefixFrom(client, bits).Masked().Addr()}
		if t := l.templates[key]; t != nil && now < t.until {
			// A server of weight 0 keeps its clients (expire_quiescent_template 0); one that was removed does not.
			if d, ok := destination(e, t.dest); ok {
				t.until = now + e.Service.Persistence
				return d, true
			}
		}
	}
	open := slices.DeleteFunc(slices.Clone(e.Destinations), func(d ipvs.Destination) bool {
		n := l.counts[destKey{e.Service.Key, d.AddrPort()}]
		return d.Weight <= 0 || d.UpperThreshold > 0 && n != nil && n.active+n.inactive >= int(d.UpperThreshold)
	})
	if len(open) == 0 {
		return ipvs.Destination{}, false
	}
	slices.Reverse(open) // the kernel's list begins with the server that was added last
	d := open[h.choose(e, open, client)]
	if e.Service.Persistence > 0 {
		l.templates[key] = &template{d.AddrPort(), now + e.Service.Persistence}
	}
	return d, true
}

func (h *Host) choose(e ipvs.Entry, open []ipvs.Destination, client netip.Addr) int {
	l := h.lvs
	t := l.turns[e.Service.Key]
	if t == nil {
		t = &turn{last: -1}
		l.turns[e.Service.Key] = t
	}
	weighted := true
	switch e.Service.Scheduler {
	case "rr":
		t.last = (t.last + 1) % len(open)
		return t.last
	case "wrr":
		return t.weighted(open)
	case "sh":
		sum := fnv.New32a()
		_, _ = sum.Write(client.AsSlice()) // never fails
		return int(sum.Sum32()) & 0x7fffffff % len(open)
	case "lc":
		weighted = false
	case "wlc":
	default:
		if what := "scheduler " + e.Service.Scheduler; !l.said[what] {
			l.said[what] = true
			h.w.note(h.Name, EventKernel, "not simulated: "+what+", wlc is used")
		}
	}
	// ip_vs_wlc.c: the least of active*256 + inactive per weight.
	best, least := 0, 0
	for i, d := range open {
		n := l.counts[destKey{e.Service.Key, d.AddrPort()}]
		load := 0
		if n != nil {
			load = n.active*256 + n.inactive
		}
		if i == 0 || !weighted && load < least || weighted && load*open[best].Weight < least*d.Weight {
			best, least = i, load
		}
	}
	return best
}

// weighted is the kernel's interleaved wrr (ip_vs_wrr.c).
func (t *turn) weighted(open []ipvs.Destination) int {
	most, step := 0, 0
	for _, d := range open {
		most, step = max(most, d.Weight), gcd(d.Weight, step)
	}
	for {
		if t.last = (t.last + 1) % len(open); t.last == 0 {
			if t.weight -= step; t.weight <= 0 {
				t.weight = most
			}
		}
		if open[t.last].Weight >= t.weight {
			return t.last
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
