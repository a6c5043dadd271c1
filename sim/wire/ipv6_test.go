package wire

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// What is built for IPv6 is what gopacket reads, sums included, and what Parse reads back.
func TestIPv6(t *testing.T) {
	b := NewBuilder()
	mac, peer := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	vip, client := netip.MustParseAddr("2001:db8::100"), netip.MustParseAddr("2001:db8::c9")
	if got := mac.LinkLocal().String() + " " + SolicitedNode(vip).String() + " " + MulticastMAC(SolicitedNode(vip)).String(); got != "fe80::ff:fe00:1 ff02::1:ff00:100 33:33:ff:00:01:00" {
		t.Error(got)
	}
	for _, tt := range []struct {
		name  string
		frame []byte
		class Class
	}{
		{"echo", b.Echo(peer, mac, IP{TTL: 64, Src: client, Dst: vip}, Echo{Type: EchoRequest, ID: 7, Seq: 9}), ClassICMP},
		{"solicitation", b.ND(MulticastMAC(SolicitedNode(vip)), mac, client, SolicitedNode(vip), ND{Target: vip, MAC: mac}), ClassARP},
		{"advertisement", b.ND(peer, mac, vip, client, ND{Advertise: true, Solicited: true, Override: true, Target: vip, MAC: mac}), ClassARP},
		{"announcement", b.Announcement(mac, vip), ClassGARP},
	} {
		p := gopacket.NewPacket(tt.frame, layers.LayerTypeEthernet, gopacket.Default)
		if e := p.ErrorLayer(); e != nil {
			t.Errorf("%s: %v", tt.name, e.Error())
		}
		f, err := Parse(tt.frame)
		if err != nil || f.EtherType != EtherIPv6 || ClassOf(tt.frame) != tt.class {
			t.Errorf("%s: %+v %v %v", tt.name, f, err, ClassOf(tt.frame))
		}
		if n, ok := ParseND(f.IP, f.Payload); tt.class == ClassICMP {
			if e, err := ParseEcho6(f.Payload); err != nil || e != (Echo{EchoRequest, 7, 9}) {
				t.Errorf("%s: %+v %v", tt.name, e, err)
			}
		} else if !ok || n.Target != vip || n.MAC != mac || n.Advertise == (tt.name == "solicitation") || n.Override != n.Advertise {
			t.Errorf("%s: %+v %v", tt.name, n, ok)
		}
		for k := EthernetHeader + 8; k < len(tt.frame); k++ { // every octet is covered
			broken := append([]byte(nil), tt.frame...)
			broken[k] ^= 0x10
			if _, err := Parse(broken); err == nil {
				t.Errorf("%s: octet %d may be anything", tt.name, k)
			}
		}
		for n := range tt.frame {
			if _, err := Parse(tt.frame[:n:n]); err == nil {
				t.Errorf("%s: cut to %d octets, and read", tt.name, n)
			}
		}
	}
	far := b.ND(peer, mac, vip, client, ND{Advertise: true, Target: vip, MAC: mac})
	far[EthernetHeader+7] = 254 // through a router
	if f, err := Parse(far); err != nil {
		t.Error(err)
	} else if _, ok := ParseND(f.IP, f.Payload); ok {
		t.Error("neighbour discovery from afar is believed")
	}
}
