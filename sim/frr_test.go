package sim

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"quorate/sim/wire"
	"quorate/vrrp"
)

// What makes FRR another router than keepalived, each with what our own director does in its place.
func TestFRRProfile(t *testing.T) {
	const conf = "vrrp_instance A {\n interface eth0\n virtual_router_id 51\n version 3\n @d1 priority 150\n @d2 priority 100\n virtual_ipaddress {\n 10.0.0.100\n }\n}"
	world := func(t *testing.T, frr, conf string) *Session {
		s := prepared(t, "world nodes=(d1,d2) client=c1 seed=1"+frr)
		for _, d := range [][2]string{{"conf d1 d2", conf}, {"run 20s", ""}} {
			if _, err := s.Exec(d[0], d[1]); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	announcements := func(s *Session, host string) (n int) {
		for _, e := range s.w.journal {
			if e.Host == host && strings.HasPrefix(e.Text, "arping") {
				n++
			}
		}
		return n
	}
	if ours, theirs := announcements(world(t, "", conf), "d1"), announcements(world(t, " frr=(d1)", conf), "d1"); ours != 2 || theirs != 1 {
		t.Errorf("%d bursts of announcements of ours, %d of FRR, want 2 and 1", ours, theirs)
	}
	v2 := strings.Replace(conf, " version 3\n", " authentication {\n auth_type PASS\n auth_pass secret\n }\n", 1)
	for frr, owners := range map[string]string{"": "d1", " frr=(d2)": "d1 and d2"} {
		s := world(t, frr, v2)
		if got := ownersText(s.w.judge.heldNow(vip)); got != owners {
			t.Errorf("with a password and%q: owned by %s, want %s", frr, got, owners)
		}
	}
	// RFC 9568's check sum: ours takes it, FRR has heard nothing.
	for frr, owners := range map[string]string{"": "nobody", " frr=(d1,d2)": "d1"} {
		s := prepared(t, "world nodes=(d1,d2) client=c1 seed=1"+frr)
		if _, err := s.Exec("conf d1 d2", conf); err != nil {
			t.Fatal(err)
		}
		a := vrrp.Advert{Version: 3, VRID: 51, Priority: 200, Interval: time.Second, Addrs: []netip.Addr{vip}}
		src := netip.MustParseAddr("10.0.0.9")
		payload, err := a.Append(nil, src, vrrp.Group(false), true)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			s.w.injectAdvert(src, payload)
			s.w.Run(s.w.now + 500*time.Millisecond)
		}
		if got := ownersText(s.w.judge.heldNow(vip)); got != owners {
			t.Errorf("message-only check sum and%q: owned by %s, want %s", frr, got, owners)
		}
	}
}

// injectAdvert hands a payload to every director's card.
func (w *World) injectAdvert(src netip.Addr, payload []byte) {
	c := w.Host("c1")
	w.transmit(c, c.nics[0], w.build.Packet(wire.MulticastMAC(vrrpGroup()), c.nics[0].mac,
		wire.IP{TTL: vrrp.TTL, Protocol: vrrp.ProtocolNumber, Src: src, Dst: vrrpGroup()}, payload))
}
