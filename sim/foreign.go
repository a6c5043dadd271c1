package sim

import (
	"slices"
	"time"

	"quorate/node"
	"quorate/vrrp"
)

// Names of the programs that a director may behave like.
const (
	Keepalived = "keepalived"
	FRR        = "frr"
)

// keepalived is a director that behaves as keepalived 2.2.7 does where that differs from ours (measured):
//
//   - an advert of its VRID that it refuses restarts its own advert timer, so that the others may hear nothing of it;
//   - it yields in silence unless higher_prio_send_advert is on;
//   - it does not listen to who else claims its addresses;
//   - a daemon that is started again remembers nothing of what a killed one held, and elects.
//
// Everything else is our machine: elections, timers and packets are the same.
type keepalived struct {
	Machine
	now  time.Duration
	held []*heldBack // one of each virtual router
	// answering: what is sent now answers an advert that was accepted, which no timer delays.
	answering bool
}

// heldBack is an advert that waits for the restarted timer.
type heldBack struct {
	instance string
	iface    string
	vrid     uint8
	ipv6     bool

	until    time.Duration
	interval time.Duration // of the timer
	advert   *node.SendAdvert
}

func newKeepalived(m Machine) Machine { return &keepalived{Machine: m} }

func (k *keepalived) Step(now time.Duration, ev node.Event) {
	k.now, k.answering = max(k.now, now), false
	switch e := ev.(type) {
	case node.Recovered, node.Claimed:
		return
	case node.Configure:
		conf := *e.Config
		conf.Instances = nil
		for _, i := range e.Config.Instances {
			h := k.router(i.Interface.V, uint8(i.VRID.V), len(i.VIPs) > 0 && i.VIPs[0].Prefix.Addr().Is6())
			h.instance, h.interval = i.Name, i.AdvertInt.V
			own := *i
			own.HigherPrioSendAdvert.V = i.HigherPrioSendAdvert.V && (i.HigherPrioSendAdvert.Set || e.Config.Global.HigherPrioSendAdvert.Set)
			conf.Instances = append(conf.Instances, &own)
		}
		e.Config = &conf
		ev = e
	case node.Received:
		before := k.rejected()
		k.Machine.Step(now, ev)
		if k.answering = k.rejected() == before; k.answering {
			return
		}
		if vrid, _, ok := e.Packet.VRID(); ok {
			h := k.router(e.Interface, vrid, e.Packet.Src.Is6())
			h.until = k.now + h.interval
		}
		return
	}
	k.Machine.Step(now, ev)
}

// router finds a virtual router, or begins one.
func (k *keepalived) router(iface string, vrid uint8, ipv6 bool) *heldBack {
	for _, h := range k.held {
		if h.iface == iface && h.vrid == vrid && h.ipv6 == ipv6 {
			return h
		}
	}
	h := &heldBack{iface: iface, vrid: vrid, ipv6: ipv6}
	k.held = append(k.held, h)
	return h
}

// rejected counts the adverts that were refused so far.
func (k *keepalived) rejected() (n uint64) {
	for _, s := range k.Machine.Status() {
		for _, r := range s.Rejected { // a sum: the order is of no consequence
			n += r
		}
	}
	return n
}

// Ready holds regular adverts back for as long as the restarted timer runs. The first one of an owner and the last
// are not due to the timer.
func (k *keepalived) Ready() (out []node.Action) {
	for _, a := range k.Machine.Ready() {
		s, advert := a.(node.SendAdvert)
		said := message(s.Packet)
		if !advert || len(said) < 3 || said[2] == vrrp.PriorityStop {
			out = append(out, a)
			continue
		}
		h := k.router(s.Interface, said[1], s.Packet.Src.Is6())
		if h.until <= k.now || k.answering || !k.owner(h) {
			out = append(out, a)
			continue
		}
		s.Packet.Payload = slices.Clone(s.Packet.Payload)
		s.Packet.Header = slices.Clone(s.Packet.Header)
		h.advert = &s
	}
	for _, h := range k.held {
		if h.advert == nil || h.until > k.now {
			continue
		}
		if k.owner(h) {
			out = append(out, *h.advert)
		}
		h.advert = nil
	}
	return out
}

// owner reports whether it has been MASTER of a virtual router before this very instant.
func (k *keepalived) owner(h *heldBack) bool {
	for _, s := range k.Machine.Status() {
		if s.Name == h.instance {
			return s.State == vrrp.Master.String() && s.ChangedAt < k.now
		}
	}
	return false
}

// Deadline is the machine's, or that of an advert that was held back.
func (k *keepalived) Deadline() (time.Duration, bool) {
	at, ok := k.Machine.Deadline()
	for _, h := range k.held {
		if h.advert != nil && (!ok || h.until < at) {
			at, ok = h.until, true
		}
	}
	return at, ok
}
