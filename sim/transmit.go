package sim

import (
	"fmt"
	"slices"
	"time"

	"quorate/node"
	"quorate/sim/wire"
	"quorate/vrrp"
)

// sendAdvert builds the packet around the machine's bytes, as the raw socket's driver does.
func (h *Host) sendAdvert(a node.SendAdvert) {
	n := h.nic(a.Interface)
	if n == nil {
		return
	}
	h.countAdvert(message(a.Packet), a.Packet.Src.Is6())
	h.w.judge.advert(h, n, a.Packet)
	dst := h.w.macOf(n, a.Packet.Dst)
	h.ipID++
	if a.Packet.Proto == vrrp.ProtocolAH {
		h.w.transmit(h, n, h.w.build.Raw(dst, n.mac, a.Packet.Header, a.Packet.Payload))
		return
	}
	h.w.transmit(h, n, h.w.build.Packet(dst, n.mac, wire.IP{
		TOS: vrrp.TOS, TTL: a.Packet.TTL, Protocol: vrrp.ProtocolNumber, ID: h.ipID, Src: a.Packet.Src, Dst: a.Packet.Dst,
	}, a.Packet.Payload))
}

// advertBudget is how many adverts of one VRID a host may send in a second: ten times what the shortest
// interval keepalived's users have (10 ms) needs.
const advertBudget = 1000

// message is the VRRP message of a packet, behind the authentication header if it has one.
func message(p vrrp.Packet) []byte {
	if p.Proto == vrrp.ProtocolAH && len(p.Payload) >= vrrp.AHLen {
		return p.Payload[vrrp.AHLen:]
	}
	return p.Payload
}

func (h *Host) countAdvert(payload []byte, ipv6 bool) {
	if len(payload) < 2 {
		return
	}
	i := slices.IndexFunc(h.adverts, func(s advertStat) bool { return s.vrid == payload[1] && s.ipv6 == ipv6 })
	if i < 0 {
		h.adverts = append(h.adverts, advertStat{vrid: payload[1], ipv6: ipv6})
		i = len(h.adverts) - 1
	}
	s := &h.adverts[i]
	if s.active {
		s.maxGap = max(s.maxGap, h.w.now-s.last)
	}
	s.sent, s.last, s.active = s.sent+1, h.w.now, true
	if h.w.now-s.second > time.Second {
		s.second, s.inIt = h.w.now, 0
	}
	if s.inIt++; s.inIt > advertBudget {
		h.w.raiseStorm("%s has sent %d adverts of VRID %d within %s", h.Name, s.inIt, s.vrid, seconds(h.w.now-s.second))
	}
}

func (h *Host) sendARP(p *process, a node.SendARP) {
	n := h.nic(a.Interface)
	if n == nil {
		return
	}
	i := slices.IndexFunc(p.arps, func(b arpBurst) bool { return b.nic == n && b.addr == a.Addr })
	if i < 0 {
		p.arps = append(p.arps, arpBurst{nic: n, addr: a.Addr})
		i = len(p.arps) - 1
	}
	p.arps[i].n++
	h.w.transmit(h, n, h.w.build.Announcement(n.mac, a.Addr))
}

// flushARP writes the commands for a burst that has ended.
func (h *Host) flushARP(p *process) {
	for _, b := range p.arps {
		text := fmt.Sprintf("arping -U -c %d -I %s %v", b.n, b.nic.name, b.addr)
		if b.addr.Is6() {
			text = fmt.Sprintf("ndsend %v %s x%d", b.addr, b.nic.name, b.n)
		}
		h.w.note(h.Name, EventKernel, text)
	}
	p.arps = p.arps[:0]
}
