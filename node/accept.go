package node

import (
	"net/netip"
	"slices"

	"quorate/config"
	"quorate/vrrp"
)

// Refuse says for which addresses packets are to be dropped from now on, and from which: no_accept. The list, which is
// sorted, replaces the one before. Refusing begins before an address is added and ends after it was removed.
type Refuse struct{ Addrs []netip.Addr }

func (Refuse) action() {}

// accepts says whether the owner takes packets for the virtual addresses: RFC 9568 6.1, Accept_Mode; the address owner
// (priority 255) always does.
func (i *instance) accepts() bool {
	return i.cfg.Accept.V || i.cfg.Priority.V == vrrp.PriorityOwner
}

// refuse tells which addresses of this instance are, or may be, on the host.
func (i *instance) refuse(e *Elector, held ...[]config.Address) {
	i.refused = nil
	if !i.accepts() {
		for _, a := range slices.Concat(held...) {
			i.refused = append(i.refused, a.Prefix.Addr())
		}
	}
	e.refuse(false)
}

// refuse hands the list of all instances to the driver, if it has changed or always is set.
func (e *Elector) refuse(always bool) {
	var all []netip.Addr
	for _, i := range e.instances {
		all = append(all, i.refused...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)
	if always || !slices.Equal(all, e.refusing) {
		e.refusing, e.refuseTold = all, true
		e.emit(Refuse{Addrs: slices.Clone(all)})
	}
}

// refuseInherited begins with what the worker before this one held: it refused packets for that, and so must this one
// until the addresses are removed or its own.
func (e *Elector) refuseInherited() {
	any := false
	for _, i := range e.instances {
		any = any || !i.accepts()
		if !i.started {
			i.refuse(e, i.leftover)
		}
	}
	if any && !e.refuseTold {
		e.refuse(true) // what a worker of long ago refused goes away
	}
}
