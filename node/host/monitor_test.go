package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"quorate/node"
	"quorate/vrrp"
)

// TestMonitor: what a monitor tells of frames that come in, by the cable of a real interface.
func TestMonitor(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	wire := openTap(t, v1)
	var mu sync.Mutex
	var got []string
	out := func(v any) {
		mu.Lock()
		defer mu.Unlock()
		switch v := v.(type) {
		case node.Heard:
			got = append(got, fmt.Sprintf("heard %s %s vrid %d v%d prio %d %v %v", v.Src, node.MAC(v.MAC), v.VRID, v.Version, v.Priority, v.VIPs, v.Auth))
		case node.Claimed:
			got = append(got, fmt.Sprintf("claimed %s %s %s", v.Addr, node.MAC(v.MAC), v.What))
		case node.Looped:
			got = append(got, "looped "+node.MAC(v.MAC))
		}
	}
	text := func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(slices.Sorted(slices.Values(got)), "\n")
	}
	var vips atomic.Pointer[map[netip.Addr]bool]
	vips.Store(&map[netip.Addr]bool{netip.MustParseAddr("10.9.0.100"): true})
	m, err := openMonitor("v0", v0.Attrs().Index, [6]byte{2, 0, 0, 0, 0, 1}, &vips, out)
	must(t, err)
	advert := func(src, vip string, vrid, prio uint8) []byte {
		a := vrrp.Advert{Version: 3, VRID: vrid, Priority: prio, Interval: time.Second, Addrs: []netip.Addr{netip.MustParseAddr(vip)}}
		b, err := a.Append(nil, netip.MustParseAddr(src), group, false)
		must(t, err)
		return b
	}
	raw := func(f []byte) {
		_, err := wire.c.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]})
		must(t, err)
	}
	garp := func(mac byte, vip string) []byte {
		f, err := garpFrame([]byte{2, 0, 0, 0, 0, mac}, netip.MustParseAddr(vip))
		must(t, err)
		return f
	}
	tagged := func(f []byte) []byte { return slices.Concat(f[:12], []byte{0x81, 0, 0, 7}, f[12:]) }

	raw(tagged(garp(7, "10.9.0.100"))) // of a VLAN interface
	raw(garp(8, "10.9.0.101"))         // no address of ours
	wire.put("10.9.0.9", "224.0.0.18", 255, 112, "no advert")
	wire.put("10.9.0.9", "224.0.0.18", 255, 17, string(advert("10.9.0.9", "10.9.0.200", 1, 1)))
	for range 3 {
		wire.put("10.9.0.9", "224.0.0.18", 255, 112, string(advert("10.9.0.9", "10.9.0.200", 77, 50)))
	}
	raw(garp(9, "10.9.0.100"))
	raw(garp(9, "10.9.0.100"))
	raw(garp(1, "10.9.0.100")) // our own Ethernet address
	for n := range 60 {        // cut anywhere: nothing happens
		raw(slices.Concat([]byte{1, 0, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 2, 8, 0}, make([]byte, n)))
	}
	want := []string{
		"claimed 10.9.0.100 02:00:00:00:00:09 ARP request",
		"heard 10.9.0.9 02:00:00:00:00:02 vrid 77 v3 prio 50 [10.9.0.200] none",
		"looped 02:00:00:00:00:01",
	}
	eventually(t, 10*time.Second, func() bool { return text() == strings.Join(want, "\n") }, text)

	// A changed priority is news; the filter follows a new configuration.
	vips.Store(&map[netip.Addr]bool{netip.MustParseAddr("10.9.0.101"): true})
	must(t, m.Refilter())
	wire.put("10.9.0.9", "224.0.0.18", 255, 112, string(advert("10.9.0.9", "10.9.0.200", 77, 60)))
	raw(garp(9, "10.9.0.100"))
	raw(garp(9, "10.9.0.101"))
	want = append(want, "claimed 10.9.0.101 02:00:00:00:00:09 ARP request", "heard 10.9.0.9 02:00:00:00:00:02 vrid 77 v3 prio 60 [10.9.0.200] none")
	eventually(t, 10*time.Second, func() bool { return len(strings.Split(text(), "\n")) == len(want) }, text)
	for _, w := range want {
		if !strings.Contains(text(), w) {
			t.Errorf("not told: %s\n%s", w, text())
		}
	}
	must(t, m.Close())
}

// FuzzMonitor: frames are what anybody on the segment sends.
func FuzzMonitor(f *testing.F) {
	garp, err := garpFrame([]byte{2, 0, 0, 0, 0, 9}, netip.MustParseAddr("10.9.0.100"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(garp)
	f.Add(slices.Concat(make([]byte, 12), []byte{0x08, 0x00, 0x45, 0xc0, 0, 28, 0, 0, 0, 0, 255, 112, 0, 0, 10, 9, 0, 9, 224, 0, 0, 18, 0x31, 77, 50, 1, 0, 100, 0, 0}))
	f.Add(slices.Concat(make([]byte, 12), []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255}, make([]byte, 32), []byte{136}, make([]byte, 23)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var vips atomic.Pointer[map[netip.Addr]bool]
		vips.Store(&map[netip.Addr]bool{netip.MustParseAddr("10.9.0.100"): true})
		m := &monitor{name: "v0", mac: [6]byte{2, 0, 0, 0, 0, 1}, vips: &vips, out: func(any) {},
			heard: map[heardKey]*heardSender{}, claims: map[claimKey]time.Duration{}}
		m.frame(b)
		m.tell()
	})
}
