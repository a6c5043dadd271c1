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
	held map[uint8]*heldBack // by VRID
	// answering: what is sent now answers an advert that was accepted, which no timer delays.
	answering bool
}

// heldBack is an advert that waits for the restarted timer.
type heldBack struct {
	until    time.Duration
	interval time.Duration // of the timer
	advert   *node.SendAdvert
}

func newKeepalived(m Machine) Machine { return &keepalived{Machine: m, held: map[uint8]*heldBack{}} }

func (k *keepalived) Step(now time.Duration, ev node.Event) {
	k.now, k.answering = max(k.now, now), false
	switch e := ev.(type) {
	case node.Recovered, node.Claimed:
		return
	case node.Configure:
		conf := *e.Config
		conf.Instances = nil
		for _, i := range e.Config.Instances {
			vrid := uint8(i.VRID.V)
			if k.held[vrid] == nil {
				k.held[vrid] = &heldBack{}
			}
			k.held[vrid].interval = i.AdvertInt.V
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
		if vrid, _, ok := e.Packet.VRID(); ok && k.held[vrid] != nil {
			k.held[vrid].until = k.now + k.held[vrid].interval
		}
		return
	}
	k.Machine.Step(now, ev)
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
		h := k.held[said[1]]
		if h == nil || h.until <= k.now || k.answering || !k.owner(said[1]) {
			out = append(out, a)
			continue
		}
		s.Packet.Payload = slices.Clone(s.Packet.Payload)
		s.Packet.Header = slices.Clone(s.Packet.Header)
		h.advert = &s
	}
	for vrid := range 256 {
		h := k.held[uint8(vrid)]
		if h == nil || h.advert == nil || h.until > k.now {
			continue
		}
		if k.owner(uint8(vrid)) {
			out = append(out, *h.advert)
		}
		h.advert = nil
	}
	return out
}

// owner reports whether it has been MASTER of a VRID before this very instant.
func (k *keepalived) owner(vrid uint8) bool {
	for _, s := range k.Machine.Status() {
		if s.VRID == int(vrid) {
			return s.State == vrrp.Master.String() && s.ChangedAt < k.now
		}
	}
	return false
}

// Deadline is the machine's, or that of an advert that was held back.
func (k *keepalived) Deadline() (time.Duration, bool) {
	at, ok := k.Machine.Deadline()
	for vrid := range 256 {
		if h := k.held[uint8(vrid)]; h != nil && h.advert != nil && (!ok || h.until < at) {
			at, ok = h.until, true
		}
	}
	return at, ok
}
