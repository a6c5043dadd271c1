package vrrp

import (
	"encoding/binary"
	"net/netip"
)

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

// outgoing is the periodic advert to one destination, encoded once. With an AH every packet differs in
// identification, sequence number and check value, which are written into buf; the Send refers to it, so
// that nothing is allocated.
type outgoing struct {
	send Action // a Send, or the Note that says why there is none
	buf  []byte // AH: header and payload
}

// encode builds an advert for every destination. Validate and Faults leave nothing that can fail; if it
// did, silence is what the caller would see, so it is reported.
func (i *Instance) encode(prio uint8) []outgoing {
	a := Advert{
		Version: i.cfg.Version, VRID: i.cfg.VRID, Priority: prio,
		AuthType: i.cfg.AuthType, AuthData: i.password,
		Interval: i.cfg.AdvertInt, Addrs: i.cfg.Addrs, Empty: i.cfg.NoAddrs,
	}
	if !i.unicast() {
		dst := i.cfg.McastDst
		if !dst.IsValid() {
			dst = Group(i.cfg.ip6())
		}
		return []outgoing{i.encodeTo(&a, dst, TTL, i.form(ChecksumPseudo))}
	}
	ttl := i.cfg.UnicastTTL
	if ttl == 0 {
		ttl = TTL
	}
	out := make([]outgoing, len(i.cfg.Peers))
	for n, p := range i.cfg.Peers {
		form := ChecksumPseudo
		if i.cfg.OldUnicast == OldUnicastSend || i.cfg.OldUnicast == OldUnicastAccept && i.oldPeers[n] {
			form = ChecksumOldUnicast
		}
		out[n] = i.encodeTo(&a, p.Addr, ttl, i.form(form))
	}
	return out
}

func (i *Instance) form(f ChecksumForm) ChecksumForm {
	if i.cfg.ChecksumMessageOnly {
		return ChecksumMessage
	}
	return f
}

func (i *Instance) encodeTo(a *Advert, dst netip.Addr, ttl uint8, form ChecksumForm) outgoing {
	p := Packet{Src: i.src, Dst: dst, TTL: ttl}
	var b []byte
	if i.key != nil {
		p.Proto = ProtocolAH
		b = i.appendHeader(make([]byte, 0, 20+AHLen+headerLen+4*len(a.Addrs)+authLen), dst, ttl)
		b = append(b, make([]byte, AHLen)...)
	}
	b, err := a.AppendForm(b, i.src, dst, form)
	if err != nil {
		return outgoing{send: Note{Kind: NoteConfig, Detail: "no advert can be sent: " + err.Error()}}
	}
	if i.key == nil {
		p.Payload = b
		return outgoing{send: Send{p}}
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	p.Header, p.Payload = b[:20], b[20:]
	return outgoing{send: Send{p}, buf: b}
}

// appendHeader is the IPv4 header as keepalived 2.2.7 builds it: no flags, an identification of its own.
func (i *Instance) appendHeader(b []byte, dst netip.Addr, ttl uint8) []byte {
	src4, dst4 := i.src.As4(), dst.As4()
	b = append(b, 0x45, TOS, 0, 0, 0, 0, 0, 0, ttl, ProtocolAH, 0, 0)
	b = append(b, src4[:]...)
	return append(b, dst4[:]...)
}

// seal numbers and signs an advert with an AH. The sequence number counts what this instance and the others sent:
// it goes on above the highest that was heard (keepalived 2.2.7, measured).
func (i *Instance) seal(b []byte) {
	i.ipID++
	if i.ipID == 0 { // the kernel would choose one, and the check value would be wrong
		i.ipID = 1
	}
	i.seq++
	head := b[:20]
	binary.BigEndian.PutUint16(head[4:], i.ipID)
	head[10], head[11] = 0, 0
	binary.BigEndian.PutUint16(head[10:], ^fold(onesSum(0, head)))
	src := i.src.As4()
	h := AH{SPI: binary.BigEndian.Uint32(src[:]), Sequence: i.seq}
	h.Append(b[20:20])
	h.ICV = i.key.ICV(head, b[20:])
	h.Append(b[20:20])
}

// sendAdvert pushes the advert, which is encoded only when something in it changed.
func (i *Instance) sendAdvert() {
	if i.out == nil {
		i.out = i.encode(i.prio)
	}
	i.pushOut(i.out)
}

func (i *Instance) pushOut(out []outgoing) {
	sent := false
	for n := range out {
		if out[n].buf != nil {
			i.seal(out[n].buf)
		}
		i.push(out[n].send)
		if _, ok := out[n].send.(Send); ok {
			sent = true
		}
	}
	if sent {
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
	i.pushOut(i.encode(PriorityStop))
	i.counters.PriorityZeroSent++
}
