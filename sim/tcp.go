package sim

import (
	"fmt"
	"net/netip"
	"time"

	"quorate/sim/wire"
)

// TCP is modelled as far as a health check or a client with one question needs it: SYN, SYN+ACK, one segment each way, FIN.
// A kernel keeps no state of a connection that it accepts, so that a server may be restarted between two segments without anybody
// noticing; the side that connects has a time-out and, as Linux does, sends its SYN again after 1, 3 and 7 s.

// dial is a connection that a host makes.
type dial struct {
	h             *Host
	nic           *nic
	local, remote netip.AddrPort
	question      bool // sends one, and has succeeded when it is answered; without one when it is connected
	again         bool // sends its SYN again
	connected     bool
	done          func(answer)
}

// answer is what became of a dial.
type answer struct {
	ok     bool
	detail string // as package probe words it
	server string // who answered the question
	silent bool   // nothing came at all
}

// firstPort is where Linux's range of ephemeral ports begins (ip_local_port_range).
const (
	firstPort = 32768
	lastPort  = 60999
)

// maxServerName bounds what a server says: its name.
const maxServerName = 64

// dial connects to remote; done is called once, not from within.
func (h *Host) dial(remote netip.AddrPort, src netip.Addr, timeout time.Duration, d dial) {
	d.h, d.remote = h, remote
	for _, n := range h.nics {
		if n.base.Contains(remote.Addr()) {
			d.nic = n
			break
		}
	}
	done := d.done
	switch {
	case d.nic == nil:
		h.w.after(0, func() { done(answer{detail: "network is unreachable"}) })
		return
	case !src.IsValid():
		src = d.nic.base.Addr()
	case !h.local(src):
		h.w.after(0, func() { done(answer{detail: fmt.Sprintf("source address %v is not on this host", src)}) })
		return
	}
	if h.local(remote.Addr()) {
		h.w.after(0, func() { done(answer{detail: "connection refused"}) }) // nothing listens on a director
		return
	}
	if h.port++; h.port < firstPort || h.port > lastPort {
		h.port = firstPort
	}
	d.local = netip.AddrPortFrom(src, h.port)
	if h.dials == nil {
		h.dials = map[netip.AddrPort]*dial{}
	}
	p := &d
	h.dials[d.local] = p
	p.send(wire.TCP{Flags: wire.SYN}, nil)
	if p.again {
		for at, wait := time.Second, time.Second; at < timeout; wait, at = 2*wait, at+2*wait {
			h.w.after(at, func() {
				if p.open() && !p.connected {
					p.send(wire.TCP{Flags: wire.SYN}, nil)
				}
			})
		}
	}
	h.w.after(timeout, func() { p.end(answer{detail: "no answer within " + timeout.String(), silent: true}) })
}

func (d *dial) open() bool { return d.h.on && d.h.dials[d.local] == d }

// end closes the account, once.
func (d *dial) end(a answer) {
	if d.h.dials[d.local] != d {
		return
	}
	delete(d.h.dials, d.local)
	d.done(a)
}

func (d *dial) send(t wire.TCP, data []byte) {
	t.Src, t.Dst = d.local.Port(), d.remote.Port()
	d.h.resolve(d.nic, d.remote.Addr(), packet{src: d.local.Addr(),
		tcp:    wire.Segment(d.local.Addr(), d.remote.Addr(), t, data),
		failed: func() { d.end(answer{detail: "no route to host"}) }})
}

// input takes a segment that answers the dial.
func (d *dial) input(t wire.TCP, data []byte) {
	switch {
	case t.Flags&wire.RST != 0 && d.connected:
		d.end(answer{detail: "connection reset"})
	case t.Flags&wire.RST != 0:
		d.end(answer{detail: "connection refused"})
	case t.Flags&(wire.SYN|wire.ACK) == wire.SYN|wire.ACK && !d.connected:
		d.connected = true
		if d.question {
			d.send(wire.TCP{Seq: 1, Ack: t.Seq + 1, Flags: wire.PSH | wire.ACK}, []byte("?"))
			return
		}
		d.send(wire.TCP{Seq: 1, Ack: t.Seq + 1, Flags: wire.FIN | wire.ACK}, nil)
		d.end(answer{ok: true, detail: "connected"})
	case len(data) > 0 && d.connected:
		d.send(wire.TCP{Seq: 2, Ack: t.Seq + uint32(len(data)), Flags: wire.FIN | wire.ACK}, nil)
		d.end(answer{ok: true, detail: "connected", server: string(data[:min(len(data), maxServerName)])})
	}
}

// inputTCP is the kernel's TCP: a dial that waits, or a server. IPVS has had its turn.
func (h *Host) inputTCP(n *nic, f wire.Frame) {
	t, data, err := wire.ParseTCP(f.IP.Src, f.IP.Dst, f.Payload)
	if err != nil {
		h.drops["tcp: "+err.Error()]++
		return
	}
	to, from := netip.AddrPortFrom(f.IP.Dst, t.Dst), netip.AddrPortFrom(f.IP.Src, t.Src)
	if d := h.dials[to]; d != nil && d.remote == from {
		d.input(t, data)
		return
	}
	state := serverRefuse
	if h.server {
		state = h.serves(t.Dst)
	}
	var out wire.TCP
	var say []byte
	switch {
	case t.Flags&wire.RST != 0:
		return
	case state == serverDown:
		h.drops["server down"]++
		return
	case state == serverRefuse:
		out = wire.TCP{Ack: t.Seq + 1, Flags: wire.RST | wire.ACK}
	case t.Flags&wire.SYN != 0:
		out = wire.TCP{Ack: t.Seq + 1, Flags: wire.SYN | wire.ACK}
	case len(data) > 0 && state == serverUp:
		out, say = wire.TCP{Seq: 1, Ack: t.Seq + uint32(len(data)), Flags: wire.PSH | wire.ACK}, []byte(h.Name)
	default:
		return // a bare FIN, or a question to a server that hangs
	}
	out.Src, out.Dst = t.Dst, t.Src
	segment := wire.Segment(to.Addr(), from.Addr(), out, say)
	if n.has(to.Addr()) {
		// Back to where it came from: with NAT that is the director, which is the server's way to everybody.
		h.sendIP(n, f.Src, wire.IP{TTL: 64, Protocol: wire.ProtoTCP, Src: to.Addr(), Dst: from.Addr()}, segment)
		return
	}
	// Direct routing: the address is on lo, and the answer goes to the client itself.
	for _, out := range h.nics {
		if out.base.Contains(from.Addr()) {
			h.resolve(out, from.Addr(), packet{src: to.Addr(), tcp: segment})
			return
		}
	}
	h.drops["no route"]++
}

// inputRefused ends the dial whose packet a router gave back.
func (h *Host) inputRefused(message []byte, from netip.Addr) {
	src, dst, ok := wire.ParseRefused(message)
	if !ok {
		h.drops["icmp"]++
		return
	}
	if d := h.dials[src]; d != nil && d.remote == dst {
		d.end(answer{detail: fmt.Sprintf("%v has no real server", from)})
	}
}

// sendIP puts a packet on the wire.
func (h *Host) sendIP(n *nic, to wire.MAC, ip wire.IP, payload []byte) {
	h.ipID++
	ip.ID = h.ipID
	h.w.transmit(h, n, h.w.build.Packet(to, n.mac, ip, payload))
}
