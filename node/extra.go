package node

import (
	"slices"

	"quorate/config"
)

// A switch forgets where an Ethernet address is that sends nothing. Adverts keep alive that of the interface they leave by;
// garp_extra_if does the same for the others: one announcement on each, again and again.

// armExtra begins or goes on with it.
func (i *instance) armExtra(e *Elector) {
	i.extraAt = never
	if len(i.held) > 0 && i.cfg.GARPExtra.V > 0 && len(i.extras(e)) > 0 {
		i.extraAt = e.now + i.cfg.GARPExtra.V
	}
}

// extras are the first addresses on each interface that sends no adverts: with all those of every kind, else of virtual ones.
func (i *instance) extras(e *Elector) []config.Address {
	sends := i.cfg.Interface.V
	if i.transmitMAC() != ([6]byte{}) {
		sends = i.names.own
	}
	var out []config.Address
	var seen []string
	for _, v := range i.all {
		dev := i.dev(v)
		if virtual := e.parent(dev) != dev; dev == sends || slices.Contains(seen, dev) || !virtual && !i.cfg.GARPExtraAll {
			continue
		}
		seen = append(seen, dev)
		out = append(out, v)
	}
	return out
}

// extra announces what is due.
func (i *instance) extra(e *Elector) {
	if i.extraAt > e.now {
		return
	}
	for _, v := range i.extras(e) {
		e.emit(SendARP{Interface: i.dev(v), Addr: v.Prefix.Addr()})
	}
	i.armExtra(e)
}
