package wire

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// A switch that looks at IGMP sends adverts to whoever asked for them, for as long as that counts; everything else is flooded.
func TestSnooping(t *testing.T) {
	l := newLAN(1)
	b := NewBuilder()
	vrrp := MulticastMAC(group)
	want := func(what string, now time.Duration, dst MAC, ports ...int) {
		t.Helper()
		if got := send(l, now, 0, dst, macs[0]); !slices.Equal(got, ports) {
			t.Errorf("%s: %v reaches ports %v, want %v", what, dst, got, ports)
		}
	}
	report := func(now time.Duration, port int, join bool) {
		l.Send(now, port, b.Report(macs[port], netip.AddrFrom4([4]byte{10, 0, 0, byte(port + 1)}), group, join))
	}
	want("no snooping", 0, vrrp, 1, 2)
	l.Snoop(GroupAge)
	want("nobody has asked", time.Second, vrrp)
	want("all hosts", time.Second, MAC{1, 0, 0x5e, 0, 0, 1}, 1, 2)
	want("broadcast", time.Second, Broadcast, 1, 2)
	want("IPv6", time.Second, MAC{0x33, 0x33, 0, 0, 0, 18}, 1, 2)
	report(time.Second, 1, true)
	report(2*time.Second, 2, true)
	want("both have asked", 3*time.Second, vrrp, 1, 2)
	if !l.Reaches(0, 1, ClassVRRP) || l.Reaches(1, 0, ClassVRRP) || !l.Reaches(1, 0, ClassARP) || l.Members() != 2 {
		t.Errorf("Reaches says otherwise; %d members", l.Members())
	}
	report(4*time.Second, 1, false)
	want("one has left", 5*time.Second, vrrp, 2)
	want("the other is too old", 2*time.Second+GroupAge, vrrp)
	if l.Reaches(0, 2, ClassVRRP) {
		t.Error("Reaches has not noticed")
	}
	report(300*time.Second, 2, true)
	l.SetUp(2, false)
	l.SetUp(2, true)
	want("its link has flapped", 301*time.Second, vrrp)
	l.Snoop(0)
	want("no snooping any more", 302*time.Second, vrrp, 1, 2)
}

// Damaged and strange reports are no reports.
func TestSnoopingForged(t *testing.T) {
	l := newLAN(1)
	l.Snoop(GroupAge)
	good := NewBuilder().Report(macs[1], netip.MustParseAddr("10.0.0.2"), group, true)
	for i := EthernetHeader; i < len(good); i++ {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			bad := slices.Clone(good)
			bad[i] ^= mask
			l.Send(0, 1, bad)
			l.Send(0, 1, bad[:i])
			if l.Members() > 0 {
				t.Fatalf("octet %d changed: taken for a report", i)
			}
		}
	}
	l.Send(0, 1, good)
	if l.Members() != 1 {
		t.Error("the good one is none")
	}
}

func FuzzSnoop(f *testing.F) {
	f.Add(NewBuilder().Report(macs[1], netip.MustParseAddr("10.0.0.2"), group, true))
	f.Fuzz(func(t *testing.T, frame []byte) {
		l := newLAN(1)
		l.Snoop(GroupAge)
		l.Send(0, 1, frame)
		// And again with what nobody would have got right: the check sums.
		if len(frame) < EthernetHeader {
			return
		}
		m := slices.Clone(frame[EthernetHeader:])
		if len(m) >= 8 {
			m[2], m[3] = 0, 0
			l.Send(0, 1, NewBuilder().igmp(macs[1], netip.MustParseAddr("10.0.0.2"), group, m))
		}
	})
}

// What the switch and the hosts say to each other is IGMPv3 to others, too.
func TestIGMPIsWhatOthersRead(t *testing.T) {
	l := newLAN(1)
	b := NewBuilder()
	query, to := l.Query(b, netip.MustParseAddr("10.0.0.254"), QueryInterval)
	if len(to) != 3 {
		t.Errorf("the query goes to %v", to)
	}
	for _, f := range [][]byte{query, b.Report(macs[1], netip.MustParseAddr("10.0.0.2"), group, true)} {
		p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
		if p.ErrorLayer() != nil || p.Layer(layers.LayerTypeIGMP) == nil {
			t.Errorf("%x: %v", f, p)
		}
		if _, err := Parse(f); err != nil {
			t.Error(err)
		}
	}
	f, _ := Parse(query)
	if within, ok := QueryOf(f.Payload); !ok || within != QueryResponse || f.IP.TTL != 1 {
		t.Errorf("%+v", f)
	}
}
