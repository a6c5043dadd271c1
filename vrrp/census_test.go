package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCensus(t *testing.T) {
	c := NewCensus()
	mac := [6]byte{2, 0, 0, 0, 0, 7}
	cfg := testConfig()
	hear := func(at time.Duration, iface string, vrid uint8, src string, prio uint8) {
		cfg.VRID = vrid
		c.Hear(at, iface, mac, packetOf(t, cfg, netip.MustParseAddr(src), prio))
	}
	hear(1, "eth1", 7, "10.0.0.9", 90)
	hear(2, "eth0", 51, "10.0.0.2", 100)
	hear(3, "eth0", 51, "10.0.0.1", 150)
	hear(4, "eth0", 51, "10.0.0.2", 0)
	hear(5, "eth0", 1, "10.0.0.2", 100)
	ah := ahConfig()
	_, out := masterOf(t, ah, netip.MustParseAddr("10.0.0.5"))
	c.Hear(6, "eth0", mac, out[0])
	bad := packetOf(t, cfg, peer, 1)
	bad.Payload[7]++
	c.Hear(7, "eth0", mac, bad)
	far := packetOf(t, cfg, peer, 1)
	far.TTL = 64
	c.Hear(7, "eth0", mac, far)
	var got []string
	for _, s := range c.Speakers() {
		got = append(got, fmt.Sprintf("%s %d %v %d %v x%d %d-%d", s.Interface, s.VRID, s.Src, s.Priority, s.AuthType, s.Adverts, s.First, s.Last))
	}
	want := "eth0 1 10.0.0.2 100 pass x1 5-5, eth0 51 10.0.0.1 150 pass x1 3-3, eth0 51 10.0.0.2 0 pass x2 2-4, " +
		"eth0 51 10.0.0.5 100 ah x1 6-6, eth1 7 10.0.0.9 90 pass x1 1-1"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if s, ok := c.Find("eth0", 51, peer); !ok || s.MAC != mac || !slices.Equal(s.Addrs, cfg.Addrs) {
		t.Error(s, ok)
	}
	if _, ok := c.Find("eth1", 51, peer); ok {
		t.Error("found on another interface")
	}
	if f := c.Foreign("eth0", 51, func(a netip.Addr) bool { return a == own }); len(f) != 2 {
		t.Error(f)
	}
	if free := c.Free("eth0", []uint8{2}, 3); !slices.Equal(free, []uint8{3, 4, 5}) {
		t.Error(free)
	}
	c.Forget(4)
	if len(c.Speakers()) != 3 {
		t.Error(c.Speakers())
	}
}

// TestCensusBounded: however many senders are forged, the table stays small, sorted, and keeps the ones heard last.
func TestCensusBounded(t *testing.T) {
	c := NewCensus()
	cfg := testConfig()
	for n := range 3000 {
		cfg.VRID = uint8(n%3 + 1)
		c.Hear(time.Duration(n), "eth0", [6]byte{}, packetOf(t, cfg, netip.AddrFrom4([4]byte{10, byte(n * 7 >> 8), byte(n * 7), 1}), 1))
	}
	if len(c.Speakers()) != 3*censusPerVRID || !slices.IsSortedFunc(c.Speakers(), bySpeaker) {
		t.Errorf("%d speakers", len(c.Speakers()))
	}
	for _, s := range c.Speakers() {
		if s.Last < 3000-3*censusPerVRID {
			t.Errorf("%v was kept, %v", s.Src, s.Last)
		}
	}
	p := packetOf(t, cfg, c.Speakers()[len(c.Speakers())-1].Src, 100)
	now := time.Duration(3000)
	if n := testing.AllocsPerRun(100, func() { now++; c.Hear(now, "eth0", [6]byte{}, p) }); n != 0 {
		t.Errorf("%v allocations per advert", n)
	}
}

// TestExplain: every reason that points to somebody has a meaning and a remedy of its own.
func TestExplain(t *testing.T) {
	seen := map[string]RejectReason{}
	for _, r := range RejectReasons() {
		meaning, remedy := Explain(r, false)
		if meaning == "" || remedy == "" {
			t.Errorf("%v: %q %q", r, meaning, remedy)
		}
		if o, dup := seen[meaning]; dup && (r != RejectAuth && r != RejectAuthType && r != RejectShort && r != RejectType && r != RejectVRID) {
			t.Errorf("%v reads like %v", r, o)
		}
		seen[meaning] = r
	}
}
