package wire

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
)

// A filter on one class lets the others through, and Reaches says so.
func TestClasses(t *testing.T) {
	b := NewBuilder()
	src, dst := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	ip := IP{TTL: 64, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")}
	vrrp := ip
	vrrp.Protocol = ProtoVRRP
	udp := ip
	udp.Protocol = 17
	frames := map[Class][]byte{
		ClassVRRP:  b.Packet(dst, src, vrrp, make([]byte, 20)),
		ClassGARP:  b.GratuitousARP(src, ip.Src),
		ClassARP:   b.ARP(Broadcast, src, ARP{Op: ARPRequest, SenderMAC: src, SenderIP: ip.Src, TargetIP: ip.Dst}),
		ClassICMP:  b.Echo(dst, src, ip, Echo{Type: EchoRequest}),
		ClassOther: b.Packet(dst, src, udp, make([]byte, 8)),
	}
	for want, f := range frames {
		if got := ClassOf(f); got != want {
			t.Errorf("%v is taken for %v", want, got)
		}
		if parsed, err := ParseClass(want.String()); err != nil || parsed != want {
			t.Errorf("%q reads as %v, %v", want, parsed, err)
		}
		l := NewLAN("lan0", 1, Range{})
		l.AddPort("a", src)
		l.AddPort("b", dst)
		l.Path(0, 1).CutOnly = want
		for class, frame := range frames {
			if got := len(l.Send(0, 0, frame)) == 1; got != (class != want) || got != l.Reaches(0, 1, class) {
				t.Errorf("%v cut: %v passes=%v, Reaches says %v", want, class, got, l.Reaches(0, 1, class))
			}
		}
		l.Heal()
		l.Path(0, 1).Loss, l.Path(0, 1).LossOnly = Ratio{1, 1}, want
		for class, frame := range frames {
			if got := len(l.Send(0, 0, frame)) == 1; got != (class != want) {
				t.Errorf("%v lost: %v passes=%v", want, class, got)
			}
		}
	}
	if got := ClassOf([]byte{1, 2, 3}); got != ClassOther {
		t.Errorf("three octets are %v", got)
	}
	for _, bad := range []string{"", "sctp", "vrrp+", "VRRP"} {
		if c, err := ParseClass(bad); err == nil {
			t.Errorf("%q reads as %v", bad, c)
		}
	}
}

// A blocked port has carrier, hears nothing and is heard by nobody.
func TestBlockedPort(t *testing.T) {
	l := NewLAN("lan0", 1, Range{})
	a, b := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	l.AddPort("a", a)
	l.AddPort("b", b)
	f := NewBuilder().GratuitousARP(a, netip.MustParseAddr("10.0.0.1"))
	l.SetBlocked(0, true)
	if !l.Port(0).Up || len(l.Send(0, 0, f)) != 0 || len(l.Send(0, 1, f)) != 0 || l.Reaches(1, 0, Everything) {
		t.Error("a blocked port forwards")
	}
	l.SetBlocked(0, false)
	if len(l.Send(time.Second, 0, f)) != 1 || !l.Reaches(0, 1, Everything) {
		t.Error("it does not forward again")
	}
}

// Corruption turns over one bit, never in the addresses.
func TestCorrupt(t *testing.T) {
	l := NewLAN("lan0", 1, Range{})
	l.AddPort("a", MAC{2, 0, 0, 0, 0, 1})
	l.AddPort("b", MAC{2, 0, 0, 0, 0, 2})
	l.Path(0, 1).Corrupt = Ratio{1, 2}
	f := NewBuilder().GratuitousARP(MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.1"))
	flipped := 0
	for range 1000 {
		for _, d := range l.Send(0, 0, f) {
			switch {
			case d.Flip == 0:
			case d.Flip <= 8*EthernetHeader-16 || d.Flip > 8*len(f):
				t.Fatalf("bit %d of a frame of %d octets", d.Flip, len(f))
			default:
				flipped++
			}
		}
	}
	if flipped < 400 || flipped > 600 || !l.Lossy(0, 1, ClassVRRP) {
		t.Errorf("%d of 1000 frames damaged, lossy %v", flipped, l.Lossy(0, 1, ClassVRRP))
	}
}

// The builder's own IPv4 header is the one that gopacket builds.
func TestIPv4IsWhatGopacketBuilds(t *testing.T) {
	b := NewBuilder()
	rnd := NewStream(1, "ipv4")
	for range 2000 {
		h := IP{TOS: uint8(rnd.Uint64()), TTL: uint8(rnd.Uint64()), Protocol: ProtoVRRP, ID: uint16(rnd.Uint64()),
			Src: netip.AddrFrom4([4]byte{10, byte(rnd.Uint64()), byte(rnd.Uint64()), 1}), Dst: netip.AddrFrom4([4]byte{224, 0, 0, 18})}
		payload := make([]byte, rnd.Below(60))
		for i := range payload {
			payload[i] = byte(rnd.Uint64())
		}
		dst, src := MulticastMAC(h.Dst), MAC{2, 0, 0, 0, 0, byte(rnd.Uint64())}
		if got, want := b.Packet(dst, src, h, payload), b.slowIPv4(dst, src, h, payload); !bytes.Equal(got, want) {
			t.Fatalf("%x\nnot\n%x", got, want)
		}
	}
}

// slowIPv4 is the same by gopacket.
func (b *Builder) slowIPv4(dst, src MAC, h IP, payload []byte) []byte {
	b.header(dst, src, h)
	return b.done(&b.eth, &b.ip, gopacket.Payload(payload))
}
