package sim

import (
	"net/netip"
	"slices"
	"time"

	"quorate/node"
	"quorate/sim/wire"
)

// listen opens the sockets that a process wants on a card, or closes them all. A kernel tells the switch of the first join
// and the last leave, a killed process's too; while no switch looks at IGMP nobody would see that, and it is left out.
func (h *Host) listen(n *nic, on bool, sockets []node.Socket) {
	was := n.joined()
	n.listening, n.sockets = on, sockets
	if n.joined() == was {
		return
	}
	h.report3(n)
	if !was {
		// Once more, in case it was lost: robustness 2, within Unsolicited Report Interval (RFC 3376 8.11).
		h.reportLater(n, time.Second)
	}
}

// hears reports whether one of the card's VRRP sockets gets a packet: they are bound to the protocol and, for multicast, to the
// group, so that an instance with AH never sees an advert without it, and the other way round (captured).
func (n *nic) hears(p wire.IP, ah bool) bool {
	return n.listening && (len(n.sockets) == 0 || slices.ContainsFunc(n.sockets, func(s node.Socket) bool {
		return s.AH == ah && (s.Group == p.Dst || !s.Group.IsValid() && !p.Dst.IsMulticast() && s.IPv6 == p.Dst.Is6())
	}))
}

// joined reports whether the card is a member of the group of adverts.
func (n *nic) joined() bool {
	return n.listening && slices.ContainsFunc(n.sockets, func(s node.Socket) bool { return s.Group == vrrpGroup() })
}

func vrrpGroup() netip.Addr { return netip.AddrFrom4([4]byte{224, 0, 0, 18}) }

// report3 sends an IGMP version 3 report about the group of adverts.
func (h *Host) report3(n *nic) {
	if n.lan.Snooping() {
		h.w.transmit(h, n, h.w.build.Report(n.mac, n.base.Addr(), vrrpGroup(), n.joined()))
	}
}

// reportLater joins once more at some moment within most, if the card still listens then.
func (h *Host) reportLater(n *nic, most time.Duration) {
	if !n.lan.Snooping() {
		return
	}
	if h.igmp == nil {
		h.igmp = wire.NewStream(h.w.opt.Seed, "igmp/"+h.Name)
	}
	h.w.after(h.igmp.Between(wire.Range{Max: most}), func() {
		if n.joined() {
			h.report3(n)
		}
	})
}

// inputIGMP answers a general query.
func (h *Host) inputIGMP(n *nic, message []byte) {
	if within, ok := wire.QueryOf(message); ok && n.joined() {
		h.reportLater(n, within)
	}
}
