package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Frames as keepalived 2.2.7 sent them.
const (
	capturedAdvert = "01005e00001202990000000b080045c0002800010000ff70d0240a63000be00000122133960100013e030a6300640000000000000000"
	capturedGARP   = "ffffffffffff02990000000b0806000108000604000102990000000b0a630064ffffffffffff0a630064"
)

var (
	d1MAC = MAC{0x02, 0x99, 0, 0, 0, 0x0b}
	group = netip.MustParseAddr("224.0.0.18")
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What the simulator puts on the wire must be what a real director puts there.
func TestBuiltFramesEqualCapturedOnes(t *testing.T) {
	b := NewBuilder()
	payload := unhex(t, "2133960100013e030a6300640000000000000000")
	got := b.Packet(MulticastMAC(group), d1MAC,
		IP{TOS: 0xc0, TTL: 255, Protocol: ProtoVRRP, ID: 1, Src: netip.MustParseAddr("10.99.0.11"), Dst: group}, payload)
	if want := unhex(t, capturedAdvert); !bytes.Equal(got, want) {
		t.Errorf("advert\n got %x\nwant %x", got, want)
	}
	first := bytes.Clone(got)
	garp := b.GratuitousARP(d1MAC, netip.MustParseAddr("10.99.0.100"))
	if want := unhex(t, capturedGARP); !bytes.Equal(garp, want) {
		t.Errorf("gratuitous ARP\n got %x\nwant %x", garp, want)
	}
	if !bytes.Equal(got, first) {
		t.Error("a frame changed when the next one was built")
	}
}

func TestParse(t *testing.T) {
	f, err := Parse(unhex(t, capturedAdvert))
	if err != nil {
		t.Fatal(err)
	}
	if f.Src != d1MAC || f.IP.TTL != 255 || f.IP.Protocol != ProtoVRRP || f.IP.Dst != group || len(f.Payload) != 20 {
		t.Errorf("advert: %+v", f)
	}
	f, err = Parse(unhex(t, capturedGARP))
	if err != nil {
		t.Fatal(err)
	}
	if vip := netip.MustParseAddr("10.99.0.100"); f.ARP.SenderIP != vip || f.ARP.TargetIP != vip || f.ARP.TargetMAC != Broadcast {
		t.Errorf("gratuitous ARP: %+v", f.ARP)
	}
	// Ethernet padding is no payload.
	f, err = Parse(append(unhex(t, capturedAdvert), make([]byte, 6)...))
	if err != nil || len(f.Payload) != 20 {
		t.Errorf("padded: payload %d octets, %v", len(f.Payload), err)
	}
	echo := NewBuilder().Echo(d1MAC, d1MAC, IP{TTL: 64, Src: group, Dst: group}, Echo{Type: EchoRequest, ID: 7, Seq: 65535})
	f, err = Parse(echo)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := ParseEcho(f.Payload); err != nil || e != (Echo{EchoRequest, 7, 65535}) {
		t.Errorf("echo: %+v %v", e, err)
	}
}

func TestParseRefuses(t *testing.T) {
	change := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	tests := []struct {
		name string
		from string
		do   func([]byte) []byte
		want error
	}{
		{"no Ethernet header", capturedAdvert, cut(13), ErrShort},
		{"no IP header", capturedAdvert, cut(20), ErrShort},
		{"total length past the end", capturedAdvert, cut(50), ErrShort},
		{"IP version 6", capturedAdvert, change(14, 0x65), ErrHeader},
		{"header length 16", capturedAdvert, change(14, 0x44), ErrHeader},
		{"total length below header", capturedAdvert, change(17, 12), ErrHeader},
		{"TTL changed under the checksum", capturedAdvert, change(22, 254), ErrChecksum},
		{"half an ARP", capturedGARP, cut(30), ErrShort},
		{"ARP hardware length 8", capturedGARP, change(18, 8), ErrHeader},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(tt.do(unhex(t, tt.from))); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// gopacket is the second opinion: what Parse accepts it must decode, to the same values.
func FuzzParse(f *testing.F) {
	for _, s := range []string{capturedAdvert, capturedGARP, "", "ffffffffffff02990000000b0800"} {
		f.Add(unhex(f, s))
	}
	f.Add(NewBuilder().Echo(d1MAC, d1MAC, IP{TTL: 1, Src: group, Dst: group}, Echo{Type: EchoReply, ID: 1, Seq: 2}))
	f.Add(NewBuilder().Announcement(d1MAC, netip.MustParseAddr("2001:db8::100")))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err != nil {
			return
		}
		_, _ = ParseEcho(got.Payload)
		_, _ = ParseEcho6(got.Payload)
		_, _ = ParseND(got.IP, got.Payload)
		if got.EtherType != EtherIPv4 && got.EtherType != EtherARP {
			return
		}
		var eth layers.Ethernet
		var ip layers.IPv4
		var arp layers.ARP
		if err := eth.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
			t.Fatalf("gopacket refuses what Parse accepts: %v", err)
		}
		if got.EtherType == EtherARP {
			if err := arp.DecodeFromBytes(eth.Payload, gopacket.NilDecodeFeedback); err != nil {
				t.Fatalf("gopacket refuses the ARP: %v", err)
			}
			a, _ := netip.AddrFromSlice(arp.SourceProtAddress)
			if a != got.ARP.SenderIP || arp.Operation != got.ARP.Op || !bytes.Equal(arp.DstHwAddress, got.ARP.TargetMAC[:]) {
				t.Errorf("ARP: %+v, gopacket %+v", got.ARP, arp)
			}
			return
		}
		if err := ip.DecodeFromBytes(eth.Payload, gopacket.NilDecodeFeedback); err != nil {
			// gopacket also looks into the options, which nobody here does.
			if ip.IHL == 5 {
				t.Fatalf("gopacket refuses the packet: %v", err)
			}
			return
		}
		src, _ := netip.AddrFromSlice(ip.SrcIP)
		dst, _ := netip.AddrFromSlice(ip.DstIP)
		if src != got.IP.Src || dst != got.IP.Dst || ip.TTL != got.IP.TTL || uint8(ip.Protocol) != got.IP.Protocol ||
			!bytes.Equal(ip.Payload, got.Payload) {
			t.Errorf("IPv4: %+v payload %x\ngopacket %+v payload %x", got.IP, got.Payload, ip, ip.Payload)
		}
	})
}
