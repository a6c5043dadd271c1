package vrrp

import (
	"net/netip"
	"slices"
)

// check decodes a packet into i.rx and judges it. Order of RFC 9568 7.1: TTL, then the message
// itself, then what must agree with our configuration; the address list last, as in keepalived 2.2.7.
// The error is a *RejectError. Whatever fails here touches no timer and no state: in
// keepalived 2.2.7 (measured) a rejected advert restarts the owner's advert timer, and two
// clusters with the same VRID silence each other.
func (i *Instance) check(p Packet) error {
	if p.TTL != TTL {
		return reject(RejectTTL, "TTL %d, expected %d: it came through a router", p.TTL, TTL)
	}
	if err := i.rx.Decode(p.Payload, p.Src, p.Dst); err != nil {
		return err
	}
	a, cfg := &i.rx, &i.cfg
	if a.Version != cfg.Version {
		return reject(RejectVersion, "version %d, ours %d", a.Version, cfg.Version)
	}
	if a.VRID != cfg.VRID {
		return reject(RejectVRID, "VRID %d, ours %d", a.VRID, cfg.VRID)
	}
	if p.Src == i.src {
		return reject(RejectOwnSource, "sent from our own address %v", p.Src)
	}
	if a.Version == 2 {
		if a.AuthType != cfg.AuthType {
			return reject(RejectAuthType, "auth type %v, ours %v", a.AuthType, cfg.AuthType)
		}
		if a.AuthType == AuthPass && a.AuthData != i.password {
			return reject(RejectAuth, "password differs from ours")
		}
		// RFC 3768 7.1; version 3 learns the interval instead.
		if a.Interval != cfg.AdvertInt {
			return reject(RejectInterval, "interval %v, ours %v", a.Interval, cfg.AdvertInt)
		}
	}
	return i.checkAddrs(a.Addrs)
}

// checkAddrs accepts exactly our addresses in any order, or exactly one of the alternate lists.
// RFC 9568 7.1 leaves this check open; without it a foreign cluster with our VRID takes our addresses.
func (i *Instance) checkAddrs(got []netip.Addr) error {
	if sameAddrs(i.cfg.Addrs, got) {
		return nil
	}
	for _, alt := range i.cfg.AltAddrs {
		if sameAddrs(alt, got) {
			return nil
		}
	}
	for _, ip := range got {
		if !slices.Contains(i.cfg.Addrs, ip) {
			return reject(RejectAddrList, "%d addresses, ours %d: %v is not ours", len(got), len(i.cfg.Addrs), ip)
		}
	}
	for _, ip := range i.cfg.Addrs {
		if !slices.Contains(got, ip) {
			return reject(RejectAddrList, "%d addresses, ours %d: %v is missing", len(got), len(i.cfg.Addrs), ip)
		}
	}
	return reject(RejectAddrList, "%d addresses, ours %d: one is repeated", len(got), len(i.cfg.Addrs))
}

// sameAddrs compares as sets; own has no duplicates, so equal length and inclusion suffice.
func sameAddrs(own, got []netip.Addr) bool {
	if len(own) != len(got) {
		return false
	}
	if slices.Equal(own, got) {
		return true
	}
	for _, ip := range own {
		if !slices.Contains(got, ip) {
			return false
		}
	}
	return true
}
