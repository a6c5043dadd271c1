package vrrp

import "net/netip"

var (
	group4 = netip.AddrFrom4([4]byte{224, 0, 0, 18}) // RFC 9568 5.1.1.2
	group6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

// Group returns the multicast address adverts of a family are sent to: 224.0.0.18 or ff02::12.
func Group(ip6 bool) netip.Addr {
	if ip6 {
		return group6
	}
	return group4
}

// encode builds the Send for a priority. Validate and Faults leave nothing that can fail; if it
// did, silence is what the caller would see, so it is reported.
func (i *Instance) encode(prio uint8) Action {
	a := Advert{
		Version: i.cfg.Version, VRID: i.cfg.VRID, Priority: prio,
		AuthType: i.cfg.AuthType, AuthData: i.password,
		Interval: i.cfg.AdvertInt, Addrs: i.cfg.Addrs,
	}
	dst := Group(i.cfg.Addrs[0].Is6())
	b, err := a.Append(nil, i.src, dst, i.cfg.ChecksumMessageOnly)
	if err != nil {
		return Note{Kind: NoteConfig, Detail: "no advert can be sent: " + err.Error()}
	}
	return Send{Packet{Src: i.src, Dst: dst, TTL: TTL, Payload: b}}
}

// sendAdvert pushes the advert, which is encoded only when something in it changed.
func (i *Instance) sendAdvert() {
	if i.advert == nil {
		i.advert = i.encode(i.prio)
	}
	i.pushSend(i.advert)
}

func (i *Instance) pushSend(a Action) {
	i.push(a)
	if _, ok := a.(Send); ok {
		i.counters.AdvertsSent++
	}
}

// advertiseNow sends out of turn and restarts the advert timer.
func (i *Instance) advertiseNow() {
	i.sendAdvert()
	i.advertAt.set(i.now + i.cfg.AdvertInt)
}

// sendStop says priority 0, unless there is no address left to say it from.
func (i *Instance) sendStop() {
	for _, f := range i.Faults() {
		if f.Reason == ReasonNoAddress {
			return
		}
	}
	i.pushSend(i.encode(PriorityStop))
	i.counters.PriorityZeroSent++
}
