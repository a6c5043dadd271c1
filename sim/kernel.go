package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"quorate/config"
	"quorate/node"
	"quorate/sim/wire"
	"quorate/vrrp"
)

// nic is a network card with what Linux keeps per interface.
type nic struct {
	name      string
	lan       *wire.LAN
	port      int
	card      int // pcap interface
	mac       wire.MAC
	up        bool         // carrier
	base      netip.Prefix // the address it boots with
	six       netip.Prefix // and the IPv6 one, not valid in a world without IPv6
	addrs     []netip.Prefix
	listening bool // VRRP sockets are open: these, or if none is named any
	sockets   []node.Socket
	neigh     map[netip.Addr]*neighbour
	block     uint64 // generation of spanning tree's block of its port
}

// index is the card's number on its host; host and LAN number alike.
func (n *nic) index() int { return int(n.mac[4]) }

// boot brings the kernel up with nothing but its own addresses.
func (h *Host) boot() {
	h.on = true
	h.serverLife()
	h.drops = map[string]uint64{}
	h.ipID = 0
	h.held = nil
	h.lvs, h.kept, h.dials = nil, node.RememberServices{}, nil
	for _, n := range h.nics {
		n.addrs = n.own()
		n.listening = false
		n.neigh = map[netip.Addr]*neighbour{}
		n.lan.SetUp(n.port, n.up)
		if n.up {
			h.plugged(n)
		}
	}
}

// own are the addresses that it boots with.
func (n *nic) own() []netip.Prefix {
	if !n.six.IsValid() {
		return []netip.Prefix{n.base}
	}
	return []netip.Prefix{n.base, n.six, netip.PrefixFrom(n.mac.LinkLocal(), 64)}
}

// source is the address from which it talks to one on its segment; not valid if that is not there.
func (n *nic) source(to netip.Addr) netip.Addr {
	for _, p := range n.own() {
		if p.Contains(to) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// has reports whether the card holds an address.
func (n *nic) has(a netip.Addr) bool {
	return slices.ContainsFunc(n.addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// add puts an address on the card and reports whether it was new. Linux keeps primaries
// before secondaries; an address in the subnet of a primary is a secondary (inet_insert_ifa).
func (n *nic) add(p netip.Prefix) bool {
	if slices.Contains(n.addrs, p) {
		return false
	}
	primaries := 0
	for i, q := range n.addrs {
		if !slices.ContainsFunc(n.addrs[:i], func(r netip.Prefix) bool { return r.Masked() == q.Masked() }) {
			primaries = i + 1
		}
	}
	if slices.ContainsFunc(n.addrs, func(q netip.Prefix) bool { return q.Masked() == p.Masked() }) {
		n.addrs = append(n.addrs, p)
	} else {
		n.addrs = slices.Insert(n.addrs, primaries, p)
	}
	return true
}

// remove takes an address away and reports whether it was there.
func (n *nic) remove(p netip.Prefix) bool {
	i := slices.Index(n.addrs, p)
	if i < 0 {
		return false
	}
	n.addrs = slices.Delete(slices.Clone(n.addrs), i, i+1)
	return true
}

// local reports whether an address belongs to this host, on whatever card (arp_ignore 0).
func (h *Host) local(a netip.Addr) bool {
	return slices.ContainsFunc(h.nics, func(n *nic) bool { return n.has(a) })
}

// input is the kernel's receive path.
func (h *Host) input(n *nic, frame []byte) {
	f, err := wire.Parse(frame)
	switch {
	case err != nil:
		h.drops[err.Error()]++
	case f.Dst != n.mac && !f.Dst.Multicast():
		h.drops["other host"]++ // flooded by the switch
	case f.EtherType == wire.EtherARP:
		h.inputARP(n, f.ARP)
	case f.EtherType == wire.EtherIPv4:
		h.inputIPv4(n, f)
	case f.EtherType == wire.EtherIPv6 && n.six.IsValid():
		h.inputIPv6(n, f)
	}
}

func (h *Host) inputIPv4(n *nic, f wire.Frame) {
	switch {
	case h.local(f.IP.Src):
		h.drops["martian source"]++ // our own address from outside; Linux never delivers it
	case f.IP.Protocol == wire.ProtoVRRP && n.hears(f.IP, false) && (f.IP.Dst.IsMulticast() || h.local(f.IP.Dst)):
		h.feed(node.Received{Interface: n.name, Packet: vrrp.Packet{
			Src: f.IP.Src, Dst: f.IP.Dst, TTL: f.IP.TTL, Payload: f.Payload,
		}})
	case f.IP.Protocol == vrrp.ProtocolAH && n.hears(f.IP, true) && (f.IP.Dst.IsMulticast() || h.local(f.IP.Dst)):
		h.feed(node.Received{Interface: n.name, Packet: vrrp.Packet{
			Src: f.IP.Src, Dst: f.IP.Dst, TTL: f.IP.TTL, Proto: vrrp.ProtocolAH, Header: f.Header, Payload: f.Payload,
		}})
	case f.IP.Protocol == wire.ProtoIGMP:
		h.inputIGMP(n, f.Payload)
	case f.IP.Dst.IsMulticast():
		// a group nobody here has joined
	case f.IP.Protocol == wire.ProtoTCP && h.disk != nil && h.local(f.IP.Dst) && len(f.Payload) >= 4 && binary.BigEndian.Uint16(f.Payload[2:]) == storePort:
		h.inputStore(f)
	case f.IP.Protocol == wire.ProtoTCP && h.director && h.balance(n, f):
		// IPVS has taken it
	case !h.local(f.IP.Dst) && !slices.Contains(h.loopback, f.IP.Dst):
		h.drops["not local"]++ // ip_forward is off
	case f.IP.Protocol == wire.ProtoTCP:
		h.inputTCP(n, f)
	case f.IP.Protocol == wire.ProtoICMP:
		h.inputEcho(n, f)
	default:
		h.drops["no such protocol"]++
	}
}

// inputIPv6 knows no balancing: services of the simulator are IPv4.
func (h *Host) inputIPv6(n *nic, f wire.Frame) {
	nd, isND := wire.ParseND(f.IP, f.Payload)
	switch {
	case isND:
		h.inputND(n, f.IP, nd) // also from a host that has our address
	case h.local(f.IP.Src):
		h.drops["martian source"]++
	case f.IP.Protocol == wire.ProtoVRRP && n.hears(f.IP, false) && (f.IP.Dst.IsMulticast() || h.local(f.IP.Dst)):
		h.feed(node.Received{Interface: n.name, Packet: vrrp.Packet{
			Src: f.IP.Src, Dst: f.IP.Dst, TTL: f.IP.TTL, Payload: f.Payload,
		}})
	case f.IP.Dst.IsMulticast():
		// a group nobody here has joined
	case !h.local(f.IP.Dst):
		h.drops["not local"]++
	case f.IP.Protocol == wire.ProtoICMP6:
		if e, err := wire.ParseEcho6(f.Payload); err != nil {
			h.drops["icmp6: "+err.Error()]++
		} else {
			h.echoed(f, e)
		}
	default:
		h.drops["no such protocol"]++
	}
}

func (h *Host) inputEcho(n *nic, f wire.Frame) {
	e, err := wire.ParseEcho(f.Payload)
	switch {
	case errors.Is(err, wire.ErrHeader) && len(h.dials) > 0:
		h.inputRefused(f.Payload, f.IP.Src)
	case err != nil:
		h.drops["icmp: "+err.Error()]++
	default:
		h.echoed(f, e)
	}
}

// echoed answers a request and hands a reply to the client that waits for it.
func (h *Host) echoed(f wire.Frame, e wire.Echo) {
	if e.Type == wire.EchoRequest {
		e.Type = wire.EchoReply
		h.sendEcho(f.IP.Dst, f.IP.Src, e)
		return
	}
	for _, l := range h.loads {
		if l.id == e.ID && l.vip == f.IP.Src {
			l.answered(e.Seq, f.Src)
		}
	}
}

// sendEcho routes an echo message out: the first card whose subnet holds dst. Without a source
// it is the card's own address.
func (h *Host) sendEcho(src, dst netip.Addr, e wire.Echo) {
	for _, n := range h.nics {
		if from := n.source(dst); from.IsValid() {
			if !src.IsValid() {
				src = from
			}
			h.resolve(n, dst, packet{src: src, echo: e})
			return
		}
	}
	h.drops["no route"]++
}

// macOf is where an advert goes: to the group, or to a peer. Directors resolve each other long before it matters, so
// that is not modelled; a peer that does not exist is a MAC address nobody has.
func (w *World) macOf(n *nic, dst netip.Addr) wire.MAC {
	if dst.IsMulticast() {
		return wire.MulticastMAC(dst)
	}
	for _, h := range w.hosts {
		if m := h.nics[n.index()]; slices.ContainsFunc(m.own(), func(p netip.Prefix) bool { return p.Addr() == dst }) {
			return m.mac
		}
	}
	return wire.MAC{}
}

// ipAddr is the command that would do what was done.
func ipAddr(verb string, a config.Address, dev string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ip addr %s %v", verb, a.Prefix)
	if verb == "add" && a.Broadcast != "" {
		fmt.Fprintf(&b, " broadcast %s", a.Broadcast)
	}
	fmt.Fprintf(&b, " dev %s", dev)
	if verb == "add" {
		if a.Scope != "" {
			fmt.Fprintf(&b, " scope %s", a.Scope)
		}
		if a.Label != "" {
			fmt.Fprintf(&b, " label %s", a.Label)
		}
	}
	return b.String()
}
