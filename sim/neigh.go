package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/sim/wire"
)

// neighbour is an entry of the ARP table with Linux's states (net/core/neighbour.c, RFC 4861
// section 7.3.2). It matters here how long a client goes on talking to an owner that is gone.
type neighbour struct {
	addr    netip.Addr
	state   neighState
	mac     wire.MAC
	updated time.Duration // of mac
	since   time.Duration // of state, or of the last confirmation while reachable
	probes  int
	gen     uint64 // of the running timer
	queue   []packet
}

type neighState uint8

const (
	_ neighState = iota
	neighIncomplete
	neighReachable
	neighStale
	neighDelay
	neighProbe
	neighFailed
)

func (s neighState) String() string {
	return [...]string{"NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED"}[s]
}

// packet waits for, or goes to, a neighbour: an echo message, or with tcp a segment.
type packet struct {
	src  netip.Addr
	dst  netip.Addr // not valid: the neighbour itself
	echo wire.Echo
	tcp  []byte
	// failed, if not nil, is called when nobody has answered for the neighbour.
	failed func()
}

// Linux defaults of net.ipv4.neigh.*: base_reachable_time is drawn from 15..45 s there, its
// middle is taken here; locktime is 1 s, mcast_solicit and ucast_solicit are 3.
const (
	neighReachableTime = 30 * time.Second
	neighDelayTime     = 5 * time.Second
	neighRetransTime   = time.Second
	neighLockTime      = time.Second
	neighSolicits      = 3
	neighQueue         = 64
)

// resolve sends a packet to a neighbour, asking for its address first if need be.
func (h *Host) resolve(n *nic, dst netip.Addr, p packet) {
	e := n.neigh[dst]
	if e == nil {
		e = &neighbour{addr: dst}
		n.neigh[dst] = e
	}
	if e.state == neighReachable && h.w.now-e.since >= neighReachableTime {
		e.set(h, neighStale)
	}
	switch e.state {
	case 0, neighFailed:
		e.set(h, neighIncomplete)
		e.queue = append(e.queue[:0], p)
		h.solicit(n, e)
	case neighIncomplete:
		if len(e.queue) < neighQueue {
			e.queue = append(e.queue, p)
		} else {
			h.drops["neighbour queue full"]++
		}
	case neighStale:
		e.set(h, neighDelay)
		h.neighTimer(n, e, neighDelayTime)
		h.sendTo(n, e, p)
	default:
		h.sendTo(n, e, p)
	}
}

func (e *neighbour) set(h *Host, s neighState) {
	e.state, e.since, e.probes = s, h.w.now, 0
	e.gen++
}

func (h *Host) sendTo(n *nic, e *neighbour, p packet) {
	if p.tcp != nil {
		dst := p.dst
		if !dst.IsValid() {
			dst = e.addr
		}
		h.sendIP(n, e.mac, wire.IP{TTL: 64, Protocol: wire.ProtoTCP, Src: p.src, Dst: dst}, p.tcp)
		return
	}
	h.ipID++
	h.w.transmit(h, n, h.w.build.Echo(e.mac, n.mac, wire.IP{TTL: 64, ID: h.ipID, Src: p.src, Dst: e.addr}, p.echo))
}

// solicit asks once: everybody while incomplete, the known address while probing.
func (h *Host) solicit(n *nic, e *neighbour) {
	e.probes++
	if e.addr.Is6() {
		h.solicit6(n, e)
		return
	}
	dst := wire.Broadcast
	if e.state == neighProbe {
		dst = e.mac
	}
	h.w.transmit(h, n, h.w.build.ARP(dst, n.mac, wire.ARP{
		Op: wire.ARPRequest, SenderMAC: n.mac, SenderIP: n.base.Addr(), TargetIP: e.addr,
	}))
	h.neighTimer(n, e, neighRetransTime)
}

func (h *Host) neighTimer(n *nic, e *neighbour, d time.Duration) {
	e.gen++
	gen := e.gen
	h.w.after(d, func() {
		if e.gen != gen || n.neigh[e.addr] != e || !h.on {
			return
		}
		switch {
		case e.state == neighDelay:
			e.set(h, neighProbe)
			h.solicit(n, e)
		case e.probes < neighSolicits:
			h.solicit(n, e)
		default:
			e.set(h, neighFailed)
			waiting := e.queue
			e.queue = nil
			h.neighChanged(n, e)
			for _, p := range waiting {
				if p.failed != nil {
					p.failed()
				}
			}
		}
	})
}

// inputARP answers for every local address and learns as Linux does with arp_accept 0:
// requests to us make an entry, anything else only changes one.
func (h *Host) inputARP(n *nic, a wire.ARP) {
	if h.local(a.SenderIP) {
		// Somebody else says it has our address. Linux does not mind; neither does it learn it.
		h.drops["arp: own address announced by another"]++
	}
	what := "ARP request"
	if a.Op == wire.ARPReply {
		what = "ARP reply"
	}
	h.claimed(n, claim{a.SenderIP, a.SenderMAC}, what)
	forUs := h.local(a.TargetIP)
	e := n.neigh[a.SenderIP]
	switch {
	case a.Op == wire.ARPRequest && forUs && a.SenderIP != a.TargetIP:
		if e == nil {
			e = &neighbour{addr: a.SenderIP}
			n.neigh[a.SenderIP] = e
		}
		h.learn(n, e, a, neighStale)
		h.w.transmit(h, n, h.w.build.ARP(a.SenderMAC, n.mac, wire.ARP{
			Op: wire.ARPReply, SenderMAC: n.mac, SenderIP: a.TargetIP, TargetMAC: a.SenderMAC, TargetIP: a.SenderIP,
		}))
	case e == nil || h.local(a.SenderIP):
	case a.Op == wire.ARPReply && forUs:
		h.learn(n, e, a, neighReachable)
	default:
		h.learn(n, e, a, neighStale)
	}
}

// learn takes a MAC address into an existing entry. Within locktime of the last change only a
// gratuitous ARP may change it again (arp_process, is_garp).
func (h *Host) learn(n *nic, e *neighbour, a wire.ARP, s neighState) {
	garp := a.SenderIP == a.TargetIP
	valid := e.state != 0 && e.state != neighIncomplete && e.state != neighFailed
	changed := !valid || e.mac != a.SenderMAC
	switch {
	case changed && valid && !garp && h.w.now-e.updated < neighLockTime:
		return
	case !changed && s == neighStale:
		return // the same address from a broadcast confirms nothing and harms nothing
	}
	e.mac = a.SenderMAC
	if changed {
		e.updated = h.w.now
	}
	e.set(h, s)
	if changed {
		h.neighChanged(n, e)
	}
	waiting := e.queue
	e.queue = nil
	for _, p := range waiting {
		h.resolve(n, e.addr, p)
	}
}

// neighChanged writes down what a client's table says of a VIP now; nothing else is of interest.
func (h *Host) neighChanged(n *nic, e *neighbour) {
	if h.director || h.server || !slices.Contains(h.w.judge.vips, e.addr) {
		return
	}
	if e.state == neighFailed {
		what := "ARP"
		if e.addr.Is6() {
			what = "neighbour solicitations"
		}
		h.w.note(h.Name, EventClient, fmt.Sprintf("nobody answers %s for %v", what, e.addr))
		return
	}
	h.w.note(h.Name, EventClient, fmt.Sprintf("ip neigh replace %v lladdr %v dev %s (%s)", e.addr, e.mac, n.name, h.w.byMAC(e.mac)))
}

// byMAC names the host that has a card with this address.
func (w *World) byMAC(m wire.MAC) string {
	for _, h := range w.hosts {
		for _, n := range h.nics {
			if n.mac == m {
				return h.Name
			}
		}
	}
	return "?"
}
