package vrrp

import (
	"fmt"
	"net/netip"
)

// When this many adverts of another address owner, for rivalFor tenths of an interval, have not made it yield, it never will.
const (
	rivalAdverts = 3
	rivalFor     = 12
)

// masterHearsOwner: two hosts say that the addresses are their own, which is a mistake of configuration; RFC 9568 6.4.3 has no rule for
// it. The one with the lower address gives way at once. One that does not, as RFC 5798 has it and FRR does, is
// given way to in the end: two owners are worse than the wrong one. As keepalived 2.4 does; 2.2.7 gives way at once whichever it is.
func (i *Instance) masterHearsOwner(src netip.Addr) {
	i.push(Note{Kind: NoteTwoOwners, Src: src, Detail: "priority 255 here and there: only the host with the address itself may have it"})
	if i.rivals == 0 || i.now-i.rivalSeen > i.masterDown(i.cfg.AdvertInt) {
		i.rivals, i.rivalFrom = 0, i.now
	}
	i.rivals, i.rivalSeen = i.rivals+1, i.now
	switch {
	case src.Compare(i.src) > 0:
		i.giveWay()
		i.yield(src, ReasonHigherAddress, fmt.Sprintf("priority 255 from %v, address above our %v", src, i.src))
	case i.rivals >= rivalAdverts && i.now-i.rivalFrom >= i.cfg.AdvertInt*rivalFor/10:
		i.giveWay()
		i.yield(src, ReasonHigherPriority, fmt.Sprintf("priority 255 from %v, which does not yield to our address %v", src, i.src))
	default:
		i.refuteLower(src)
	}
}

// giveWay is 254 in place of 255, so that the other owner is not pre-empted by us, until nobody is owner.
func (i *Instance) giveWay() {
	i.gaveWay, i.rivals = true, 0
	i.prio = PriorityOwner - 1
	i.out = nil
	i.push(Note{Kind: NotePriority, Detail: "255 -> 254: another host says that the addresses are its own"})
}

// ownAgain ends that.
func (i *Instance) ownAgain() {
	if i.gaveWay {
		i.gaveWay, i.prio, i.out = false, PriorityOwner, nil
		i.push(Note{Kind: NotePriority, Detail: "254 -> 255: the other owner is gone"})
	}
}
