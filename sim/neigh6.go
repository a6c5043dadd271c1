package sim

import (
	"quorate/sim/wire"
)

// solicit6 is solicit for an IPv6 neighbour: the group of its address is asked while it is incomplete (RFC 4861 7.2.2).
func (h *Host) solicit6(n *nic, e *neighbour) {
	group := wire.SolicitedNode(e.addr)
	to, dst := group, wire.MulticastMAC(group)
	if e.state == neighProbe {
		to, dst = e.addr, e.mac
	}
	h.w.transmit(h, n, h.w.build.ND(dst, n.mac, n.source(e.addr), to, wire.ND{Target: e.addr, MAC: n.mac}))
	h.neighTimer(n, e, neighRetransTime)
}

// inputND answers who asks for a local address, and learns as Linux does (net/ipv6/ndisc.c): a solicitation to us makes an
// entry of its sender, an advertisement only changes one.
func (h *Host) inputND(n *nic, ip wire.IP, nd wire.ND) {
	if nd.Advertise {
		h.advertised(n, nd)
		return
	}
	if !n.has(nd.Target) || h.local(ip.Src) || ip.Src.IsUnspecified() {
		return // detection of duplicates, which VIPs skip and the hosts' own addresses have passed
	}
	if nd.MAC != (wire.MAC{}) {
		e := n.neigh[ip.Src]
		if e == nil {
			e = &neighbour{addr: ip.Src}
			n.neigh[ip.Src] = e
		}
		h.learn6(n, e, nd.MAC, neighStale)
	}
	h.w.transmit(h, n, h.w.build.ND(nd.MAC, n.mac, nd.Target, ip.Src, wire.ND{Advertise: true, Solicited: true, Override: true, Target: nd.Target, MAC: n.mac}))
}

// advertised is the table of RFC 4861 appendix C.
func (h *Host) advertised(n *nic, nd wire.ND) {
	if h.local(nd.Target) {
		h.drops["nd: own address announced by another"]++
	}
	h.claimed(n, claim{nd.Target, nd.MAC}, "neighbour advertisement")
	e := n.neigh[nd.Target]
	if e == nil || h.local(nd.Target) || nd.MAC == (wire.MAC{}) {
		return
	}
	known := e.state != 0 && e.state != neighIncomplete && e.state != neighFailed
	switch {
	case known && e.mac != nd.MAC && !nd.Override:
		if e.state == neighReachable {
			e.set(h, neighStale)
		}
	case nd.Solicited:
		h.learn6(n, e, nd.MAC, neighReachable)
	default:
		h.learn6(n, e, nd.MAC, neighStale)
	}
}

// learn6 takes a MAC address into an entry; there is no locktime as with ARP.
func (h *Host) learn6(n *nic, e *neighbour, mac wire.MAC, s neighState) {
	changed := e.state == 0 || e.state == neighIncomplete || e.state == neighFailed || e.mac != mac
	if !changed && s == neighStale {
		return // the same address confirms nothing and harms nothing
	}
	e.mac = mac
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
