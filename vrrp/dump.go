package vrrp

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// String describes the instance in one line: state, priority, owner, interval in force, and every
// running timer with its instant.
func (i *Instance) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v prio=%d", i.cfg.Name, i.state, i.prio)
	if i.master.IsValid() {
		fmt.Fprintf(&b, " master=%v", i.master)
	}
	fmt.Fprintf(&b, " interval=%v", i.masterInt)
	if i.wants {
		b.WriteString(" wants-master")
	}
	for _, t := range [...]struct {
		name string
		t    timer
	}{
		{"down", i.downAt}, {"advert", i.advertAt}, {"second-garp", i.secondAt},
		{"lower-garp", i.lowerAt}, {"refresh", i.refreshAt}, {"preempt", i.preemptAt}, {"start", i.startAt},
	} {
		if t.t.on {
			fmt.Fprintf(&b, " %s@%v", t.name, t.t.at)
		}
	}
	if i.lastReason != 0 {
		fmt.Fprintf(&b, " last=%v", i.lastReason)
	}
	return b.String()
}

// String shows the advert in one line.
func (a *Advert) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "v%d vrid=%d prio=%d int=%v addrs=%s", a.Version, a.VRID, a.Priority, a.Interval, joinAddrs(a.Addrs))
	if a.Version == 2 {
		fmt.Fprintf(&b, " auth=%v", a.AuthType)
	}
	if a.Type != TypeAdvert && a.Type != 0 {
		fmt.Fprintf(&b, " type=%d", a.Type)
	}
	if a.Checksum != 0 {
		fmt.Fprintf(&b, " sum=%v", a.Checksum)
	}
	return b.String()
}

func joinAddrs(list []netip.Addr) string {
	words := make([]string, len(list))
	for n, ip := range list {
		words[n] = ip.String()
	}
	return strings.Join(words, ",")
}

// String shows what is sent: the decoded advert, or its octets if it cannot be decoded.
func (s Send) String() string {
	var a Advert
	text, message := "send ", s.Packet.Payload
	if s.Packet.Proto == ProtocolAH {
		var h AH
		var err error
		if message, err = h.Decode(message); err == nil {
			text += fmt.Sprintf("ah seq=%d ", h.Sequence)
		}
	}
	if err := a.Decode(message, s.Packet.Src, s.Packet.Dst); err != nil {
		return text + hex.EncodeToString(s.Packet.Payload) + " (" + err.Error() + ")"
	}
	return fmt.Sprintf("%s%v > %v %v", text, s.Packet.Src, s.Packet.Dst, &a)
}

func (Acquire) String() string { return "acquire" }
func (Release) String() string { return "release" }

func (a Announce) String() string { return fmt.Sprintf("announce repeat=%d", a.Repeat) }

func (t Transition) String() string {
	s := fmt.Sprintf("transition %v -> %v %v prio=%d", t.From, t.To, t.Reason, t.Priority)
	if t.Master.IsValid() {
		s += " master=" + t.Master.String()
	}
	if t.Detail != "" {
		s += " (" + t.Detail + ")"
	}
	return s
}

func (n Note) String() string {
	s := "note " + n.Kind.String()
	if n.Reject != 0 {
		s += " " + n.Reject.String()
	}
	if n.Src.IsValid() {
		s += " from=" + n.Src.String()
	}
	return s + " (" + n.Detail + ")"
}

// Format lists actions one per line, as golden files show them.
func Format(actions []Action) string {
	var b strings.Builder
	for _, a := range actions {
		fmt.Fprintf(&b, "%v\n", a)
	}
	return b.String()
}

// String lists what was counted and is not zero.
func (c Counters) String() string {
	var b strings.Builder
	add := func(name string, n uint64) {
		if n != 0 {
			fmt.Fprintf(&b, " %s=%d", name, n)
		}
	}
	add("sent", c.AdvertsSent)
	add("received", c.AdvertsReceived)
	add("became-master", c.BecameMaster)
	add("released-master", c.ReleasedMaster)
	add("zero-sent", c.PriorityZeroSent)
	add("zero-received", c.PriorityZeroReceived)
	add("message-only", c.ChecksumMessageOnly)
	add("old-unicast", c.ChecksumOldUnicast)
	for _, r := range RejectReasons() {
		add("rejected-"+r.String(), c.Rejected[r])
	}
	return strings.TrimPrefix(b.String(), " ")
}
