package sim

import (
	"fmt"

	"quorate/sim/wire"
	"quorate/vrrp"
)

// maxFrames bounds what a picture lists; a capture has everything.
const maxFrames = 4000

// RecordFrames keeps adverts and announcements for Timeline, from the world's beginning. Call it
// before the first directive.
func (s *Session) RecordFrames() { s.wantFrames = true }

func (s *Session) sawFrame(f Frame) {
	if !f.Sent {
		return
	}
	kind, text := describeFrame(f.Data)
	if kind == "" {
		return
	}
	// Of the five announcements of a burst one is enough.
	if n := len(s.frames); n > 0 && s.frames[n-1].At == f.At && s.frames[n-1].Text == text && s.frames[n-1].Host == f.Host {
		return
	}
	if len(s.frames) >= maxFrames {
		s.framesLeft++
		return
	}
	s.frames = append(s.frames, Moment{At: f.At, Host: f.Host, Kind: kind, Text: text, Frame: f.Number})
}

// describeFrame says what an advert or an announcement says; other frames have no kind.
func describeFrame(data []byte) (kind, text string) {
	f, err := wire.Parse(data)
	switch {
	case err != nil:
	case f.EtherType == wire.EtherARP && f.ARP.SenderIP == f.ARP.TargetIP:
		return "garp", fmt.Sprintf("%v is at %v", f.ARP.SenderIP, f.ARP.SenderMAC)
	case wire.ClassOf(data) == wire.ClassGARP:
		if nd, ok := wire.ParseND(f.IP, f.Payload); ok {
			return "garp", fmt.Sprintf("%v is at %v", nd.Target, nd.MAC)
		}
	case f.IP.Src.IsValid() && (f.IP.Protocol == wire.ProtoVRRP || f.IP.Protocol == vrrp.ProtocolAH):
		var a vrrp.Advert
		if err := a.Decode(message(vrrp.Packet{Proto: f.IP.Protocol, Payload: f.Payload}), f.IP.Src, f.IP.Dst); err != nil {
			return "advert", "undecodable: " + err.Error()
		}
		text := fmt.Sprintf("v%d vrid %d prio %d %v", a.Version, a.VRID, a.Priority, a.Interval)
		for _, ip := range a.Addrs {
			text += " " + ip.String()
		}
		return "advert", text
	}
	return "", ""
}
