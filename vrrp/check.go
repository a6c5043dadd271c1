package vrrp

import (
	"net/netip"
	"slices"
)

// check decodes a packet into i.rx and judges it. Order of RFC 9568 7.1: TTL, then the message
// itself, then what must agree with our configuration; the address list and unicast peers last, as in keepalived 2.2.7.
// The error is a *RejectError. Whatever fails here touches no timer and no state: in
// keepalived 2.2.7 (measured) a rejected advert restarts the owner's advert timer, and two
// clusters with the same VRID silence each other.
func (i *Instance) check(p Packet) error {
	cfg := &i.cfg
	if p.TTL != TTL && !i.unicast() {
		return reject(RejectTTL, "TTL %d, expected %d: it came through a router", p.TTL, TTL)
	}
	message := p.Payload
	if p.Proto == ProtocolAH {
		if cfg.AuthType != AuthAH {
			return reject(RejectAuthType, "an authentication header, auth type ours %v", cfg.AuthType)
		}
		var err error
		if message, err = i.rxAH.Decode(p.Payload); err != nil {
			return err
		}
	}
	if err := i.rx.decode(message, p.Src, p.Dst, cfg.NoAddrs); err != nil {
		return err
	}
	a := &i.rx
	if a.Version != cfg.Version {
		return reject(RejectVersion, "version %d, ours %d", a.Version, cfg.Version)
	}
	if a.VRID != cfg.VRID {
		return reject(RejectVRID, "VRID %d, ours %d", a.VRID, cfg.VRID)
	}
	if p.Src == i.src {
		return reject(RejectOwnSource, "sent from our own address %v", p.Src)
	}
	if a.Checksum == ChecksumOldUnicast && cfg.OldUnicast == OldUnicastNever {
		return reject(RejectChecksum, "checksum over a pseudo-header of %v (old_unicast_checksum never)", group4)
	}
	if a.Version == 2 {
		if err := i.checkAuth(p); err != nil {
			return err
		}
		// RFC 3768 7.1; version 3 learns the interval instead.
		if a.Interval != cfg.AdvertInt {
			return reject(RejectInterval, "interval %v, ours %v", a.Interval, cfg.AdvertInt)
		}
	}
	if p.Dst.IsMulticast() == i.unicast() {
		return reject(RejectDestination, "sent to %v, expected %s", p.Dst, map[bool]string{true: "unicast", false: "multicast"}[i.unicast()])
	}
	if !i.sameSender(p.Src) {
		if err := i.checkAddrs(a.Addrs); err != nil {
			return err
		}
	}
	return i.checkPeer(p)
}

// checkAuth is version 2: auth type, then password, or check value and sequence number of the AH.
func (i *Instance) checkAuth(p Packet) error {
	a, cfg := &i.rx, &i.cfg
	if a.AuthType != cfg.AuthType {
		return reject(RejectAuthType, "auth type %v, ours %v", a.AuthType, cfg.AuthType)
	}
	switch cfg.AuthType {
	case AuthPass:
		if a.AuthData != i.password {
			return reject(RejectAuth, "password differs from ours")
		}
	case AuthAH:
		if p.Proto != ProtocolAH {
			return reject(RejectAuthType, "no authentication header, auth type ours %v", cfg.AuthType)
		}
		if err := i.key.Verify(&i.rxAH, p.Header, p.Payload); err != nil {
			return err
		}
		if i.rxAH.Sequence <= i.seq {
			return reject(RejectSequence, "sequence number %d, seen or sent %d: a replay, or a sender that has not heard us", i.rxAH.Sequence, i.seq)
		}
		i.seq = i.rxAH.Sequence
	}
	return nil
}

// sameSender says that the address list need not be looked at again (keepalived skip_check_adv_addr).
func (i *Instance) sameSender(src netip.Addr) bool {
	return i.cfg.SkipCheckAddrs && i.state == Backup && src == i.master
}

// checkPeer is keepalived's check_unicast_src. A TTL range belongs to a peer.
func (i *Instance) checkPeer(p Packet) error {
	if !i.unicast() || !i.cfg.CheckUnicastSrc {
		return nil
	}
	n := i.peer(p.Src)
	if n < 0 {
		return reject(RejectPeer, "unicast source %v is no peer", p.Src)
	}
	peer := &i.cfg.Peers[n]
	if p.TTL < peer.MinTTL || peer.MaxTTL != 0 && p.TTL > peer.MaxTTL {
		return reject(RejectPeer, "TTL %d of %v is not in %d..%d", p.TTL, p.Src, peer.MinTTL, peer.MaxTTL)
	}
	return nil
}

func (i *Instance) unicast() bool { return len(i.cfg.Peers) > 0 }

// peer returns the index of a peer, or -1.
func (i *Instance) peer(a netip.Addr) int {
	return slices.IndexFunc(i.cfg.Peers, func(p Peer) bool { return p.Addr == a })
}

// noteForm counts kinds of checksums, and remembers which peers need the old one.
func (i *Instance) noteForm(src netip.Addr) {
	switch {
	case i.cfg.Version != 3 || !src.Is4():
	case i.rx.Checksum == ChecksumMessage:
		i.counters.ChecksumMessageOnly++
	case i.rx.Checksum == ChecksumOldUnicast:
		i.counters.ChecksumOldUnicast++
	}
	// keepalived's own detection changes what it accepts, not what it sends, so that two nodes never understand each
	// other in the other direction (2.2.7, measured). We answer each peer in the form it uses.
	if n := i.peer(src); n >= 0 && i.oldPeers[n] != (i.rx.Checksum == ChecksumOldUnicast) {
		i.oldPeers[n] = !i.oldPeers[n]
		i.out = nil
	}
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
