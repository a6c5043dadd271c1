package host

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/node"
	"quorate/vrrp"
)

var group = vrrp.Group(false)

func TestAdvertOnTheWire(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	ipAdd(t, v0, "10.9.0.77/24") // an advert must not take another address than the one it is told
	wire := openTap(t, v1)
	s, err := openVRRP("v0", v0.Attrs().Index, node.Socket{Group: group})
	must(t, err)
	for _, src := range []string{"10.9.0.1", "10.9.0.77"} {
		must(t, s.Send(vrrp.Packet{Src: netip.MustParseAddr(src), Dst: group, Payload: []byte("advert!!")}))
		f := wire.next(0x0800, func([]byte) bool { return true })
		copy(f[18:20], "id")                // the kernel counts
		copy(f[24:26], "ck")                // and sums it
		a := netip.MustParseAddr(src).As4() //
		want := "01005e000012" + "020000000001" + "0800" +
			"45c0001c" + "6964" + "0000" + "ff70" + "636b" + hex.EncodeToString(a[:]) + "e0000012" +
			hex.EncodeToString([]byte("advert!!"))
		if got := hex.EncodeToString(f); got != want {
			t.Errorf("from %s\n got %s\nwant %s", src, got, want)
		}
	}
	advert := vrrp.Packet{Src: netip.MustParseAddr("10.9.0.1"), Dst: group, Payload: []byte("advert!!")}
	if n := testing.AllocsPerRun(100, func() { must(t, s.Send(advert)) }); n != 0 {
		t.Errorf("an advert that is sent costs %v allocations", n)
	}
	if err := s.Send(vrrp.Packet{Src: netip.MustParseAddr("10.9.0.9"), Dst: group, Payload: []byte("x")}); err == nil {
		t.Error("sent from an address this host does not have")
	}

	// What comes in: the group's packets of protocol 112 whatever their TTL, nothing else.
	wire.put("10.9.0.2", "10.9.0.1", 255, 112, "unicast")
	wire.put("10.9.0.2", "224.0.0.18", 255, 2, "another protocol")
	wire.put("10.9.0.2", "224.0.0.251", 255, 112, "another group")
	wire.put("10.9.0.2", "224.0.0.18", 254, 112, "through a router")
	wire.put("10.9.0.3", "224.0.0.18", 255, 112, "good")
	buf := make([]byte, 2000)
	var got []string
	ears, err := newArrivals()
	must(t, err)
	must(t, ears.Add(s))
	for len(got) < 2 {
		fds, err := ears.Wait()
		must(t, err)
		if !slices.Equal(fds, []int{s.fd}) {
			t.Fatalf("packets wait in %v, not in %d", fds, s.fd)
		}
		err = s.Receive(buf, func(p vrrp.Packet) {
			got = append(got, fmt.Sprintf("%s %s %d %s", p.Src, p.Dst, p.TTL, p.Payload))
		})
		must(t, err)
		ears.Again(s.fd)
	}
	if want := []string{"10.9.0.2 224.0.0.18 254 through a router", "10.9.0.3 224.0.0.18 255 good"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 100 {
		wire.put("10.9.0.3", "224.0.0.18", 255, 112, "again")
	}
	heard := 0
	if n := testing.AllocsPerRun(99, func() {
		if _, ok, err := s.receiveOne(s.fd, buf); ok && err == nil {
			heard++
		}
	}); heard != 100 || n != 0 {
		t.Errorf("%d adverts heard, %v allocations for each", heard, n)
	}
	// The driver looks into the socket itself before it believes in a silence: no reader runs here.
	wire.put("10.9.0.4", "224.0.0.18", 255, 112, "unread")
	e := &elector{buf: buf, ifaces: map[string]*iface{"v0": {name: "v0", vrrp: map[node.Socket]*vrrpSocket{{Group: group}: s}}},
		waited: func(time.Duration) bool { return false }}
	m := &tape{}
	e.worker = &worker{m: m}
	e.fetch()
	if len(m.events) > 0 {
		t.Errorf("nobody waits: %v", m.events)
	}
	e.waited = func(time.Duration) bool { return true }
	eventually(t, 5*time.Second, func() bool { e.fetch(); return len(m.events) > 0 }, func() string { return "the packet was not fetched" })
	if got, ok := m.events[0].(node.Received); len(m.events) != 1 || !ok || got.Interface != "v0" || string(got.Packet.Payload) != "unread" {
		t.Errorf("fetched %+v", m.events)
	}
	ended := make(chan error)
	go func() {
		for {
			fds, err := ears.Wait()
			if err != nil {
				ended <- err
				return
			}
			if err = s.Receive(buf, func(vrrp.Packet) {}); err != nil && !errors.Is(err, unix.ENETDOWN) {
				t.Error(err)
			}
			ears.Again(fds[0])
		}
	}()
	must(t, netlink.LinkSetDown(v0))
	if err := s.Send(vrrp.Packet{Src: netip.MustParseAddr("10.9.0.1"), Dst: group, Payload: []byte("x")}); err == nil {
		t.Error("sent on an interface that is down")
	}
	must(t, netlink.LinkSetUp(v0))
	eventually(t, 5*time.Second, func() bool {
		return s.Send(vrrp.Packet{Src: netip.MustParseAddr("10.9.0.1"), Dst: group, Payload: []byte("again")}) == nil
	}, func() string { return "the socket does not survive down and up" })
	ears.Close()
	must(t, s.Close())
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := openVRRP("none", 99, node.Socket{Group: group}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("on no interface: %v", err)
	}
}

func TestGratuitousARPOnTheWire(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	wire := openTap(t, v1)
	at := func(addr string) location {
		return location{hostAddress{dev: "v0", addr: netip.MustParseAddr(addr)}, "v0", v0.Attrs().Index, [6]byte{2, 0, 0, 0, 0, 1}}
	}
	s, err := openARP()
	must(t, err)
	defer func() { _ = s.Close() }()
	must(t, s.Announce(at("10.9.0.100")))
	got := wire.next(0x0806, func([]byte) bool { return true })
	want, err := hex.DecodeString("ffffffffffff" + "020000000001" + "0806" + // 42 octets, nothing after
		"0001" + "0800" + "06" + "04" + "0001" + // Ethernet, IPv4, request
		"020000000001" + "0a090064" + // from: the interface, the VIP
		"ffffffffffff" + "0a090064") // to: everybody, the VIP
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
	// An IPv6 address is announced by an unsolicited neighbour advertisement, to all nodes, from the address itself.
	must(t, s.Announce(at("2001:db8::1")))
	vip := "20010db8000000000000000000000001"
	got = wire.next(0x86dd, func(f []byte) bool { return len(f) > 54 && f[54] == 136 })
	want, err = hex.DecodeString("333300000001" + "020000000001" + "86dd" + "60000000" + "0020" + "3aff" + vip + "ff020000000000000000000000000001" +
		"8800" + hex.EncodeToString(got[56:58]) + "20000000" + vip + "0201" + "020000000001")
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
	sum := uint32(32 + 58) // RFC 8200 8.1: the pseudo-header's length and protocol, addresses, message
	for k := 22; k < len(got); k += 2 {
		sum += uint32(got[k])<<8 | uint32(got[k+1])
	}
	if sum = sum>>16 + sum&0xffff; sum>>16+sum&0xffff != 0xffff {
		t.Errorf("checksum % x is wrong: %x", got[56:58], sum)
	}
}

func TestParseIPv4(t *testing.T) {
	good := "45c0001e000100000170000" + "00a090002e0000012" // 20 octets; total length 30
	whole, err := hex.DecodeString(strings.Replace(good, "0170000", "ff700000", 1)[:40])
	must(t, err)
	whole = append(whole, "0123456789"...)
	whole[3] = 30
	if p, ok := parseIPv4(append(slices.Clone(whole), "padding"...)); !ok || string(p.Payload) != "0123456789" || p.TTL != 255 {
		t.Errorf("with padding: %+v %v", p, ok)
	}
	for n := range whole { // cut anywhere: refused, no panic
		if p, ok := parseIPv4(whole[:n:n]); ok {
			t.Errorf("cut to %d: %+v", n, p)
		}
	}
	options := slices.Concat([]byte{0x46}, whole[1:20], []byte{1, 1, 1, 0}, whole[20:26])
	if p, ok := parseIPv4(options); !ok || string(p.Payload) != "012345" {
		t.Errorf("with IP options: %+v %v", p, ok)
	}
	for name, change := range map[string]func([]byte){
		"version 6":              func(b []byte) { b[0] = 0x65 },
		"header shorter than 20": func(b []byte) { b[0] = 0x44 },
		"header past the end":    func(b []byte) { b[0] = 0x4f },
		"length below header":    func(b []byte) { b[3] = 19 },
		"another protocol":       func(b []byte) { b[9] = 2 },
	} {
		b := slices.Clone(whole)
		change(b)
		if p, ok := parseIPv4(b); ok {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestAddresses(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, _ := cable(t)
	index := v0.Attrs().Index
	a, err := newAddresses()
	must(t, err)
	defer a.Close()
	p := netip.MustParsePrefix
	tests := []struct {
		in   config.Address
		want string
	}{
		{config.Address{Prefix: p("10.9.0.100/32")}, "10.9.0.100/32 v0 scope 0 brd <nil>"},
		{config.Address{Prefix: p("10.9.0.101/24"), Label: "v0:vip", Broadcast: "+"}, "10.9.0.101/24 v0:vip scope 0 brd 10.9.0.255"},
		{config.Address{Prefix: p("10.9.8.1/20"), Scope: "200", Broadcast: "-"}, "10.9.8.1/20 v0 scope 200 brd 10.9.0.0"},
		{config.Address{Prefix: p("10.10.8.2/20"), Scope: "host", Broadcast: "10.9.1.2"}, "10.10.8.2/20 v0 scope 254 brd 10.9.1.2"},
		{config.Address{Prefix: p("10.9.8.3/32"), Scope: "link", Broadcast: "+"}, "10.9.8.3/32 v0 scope 253 brd <nil>"},
		{config.Address{Prefix: p("2001:db8::5/128")}, "2001:db8::5/128  scope 0 brd <nil>"},
	}
	list := func() (out []string) {
		addrs, err := netlink.AddrList(v0, netlink.FAMILY_ALL)
		must(t, err)
		for _, k := range addrs {
			if !k.IP.IsLinkLocalUnicast() {
				out = append(out, fmt.Sprintf("%s %s scope %d brd %v", k.IPNet, k.Label, k.Scope, k.Broadcast))
			}
		}
		return out
	}
	before := list()
	for _, tt := range tests {
		for range 2 { // the second time it is there already
			if err := a.Add(index, "v0", tt.in); err != nil {
				t.Error(err)
			}
		}
		if !slices.Contains(list(), tt.want) {
			t.Errorf("want %s among\n%s", tt.want, strings.Join(list(), "\n"))
		}
	}
	for _, tt := range tests {
		tt.in.Label = "v0:other" // a label somebody else chose is no reason to keep it
		for range 2 {
			if err := a.Remove(index, "v0", tt.in); err != nil {
				t.Error(err)
			}
		}
	}
	if got := list(); !slices.Equal(got, before) {
		t.Errorf("left behind:\n%s", strings.Join(got, "\n"))
	}
	for want, in := range map[string]config.Address{
		`scope "galactic"`:  {Prefix: p("10.9.0.1/32"), Scope: "galactic"},
		`broadcast "later"`: {Prefix: p("10.9.0.1/24"), Broadcast: "later"},
	} {
		if err := a.Add(index, "v0", in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	if err := a.Add(4711, "gone", config.Address{Prefix: p("10.9.0.9/32")}); !errors.Is(err, unix.ENODEV) {
		t.Errorf("add to no interface: %v", err)
	}
	if err := a.Remove(4711, "gone", config.Address{Prefix: p("10.9.0.9/32")}); err != nil {
		t.Errorf("remove from no interface: %v", err)
	}
}

// news collects what links delivers.
type newsLog struct {
	mu   sync.Mutex
	last map[string]linkNews
	n    int
	gate chan struct{} // nil: open
}

func (l *newsLog) take(n linkNews) {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate != nil {
		<-gate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[n.link.Name] = n
	l.n++
}

func (l *newsLog) text(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, ok := l.last[name]
	if !ok {
		return "nothing"
	}
	return fmt.Sprintf("exists %v up %v mac %x addrs %v", n.link.Exists, n.link.Up, n.link.MAC, n.link.Addrs)
}

func TestLinks(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	got := &newsLog{last: map[string]linkNews{}}
	log := &logBuffer{}
	l, err := newLinks(slog.New(slog.NewTextHandler(log, nil)), got.take)
	must(t, err)
	done := make(chan struct{})
	go func() { l.Run(t.Context()); close(done) }()
	t.Cleanup(func() { <-done })
	expect := func(name, want string) {
		t.Helper()
		eventually(t, 10*time.Second, func() bool { return got.text(name) == want },
			func() string { return name + " is " + got.text(name) + ", want " + want + "\n" + log.String() })
	}
	l.Watch("v0")
	l.Watch("later")
	expect("v0", "exists true up true mac 020000000001 addrs [10.9.0.1/24]")
	expect("later", "exists false up false mac 000000000000 addrs []")

	must(t, netlink.LinkSetDown(v1)) // the cable is pulled at the other end: no carrier
	expect("v0", "exists true up false mac 020000000001 addrs [10.9.0.1/24]")
	must(t, netlink.LinkSetUp(v1))
	ipAdd(t, v0, "10.9.0.100/32")
	ipAdd(t, v0, "10.8.0.1/24")
	ipAdd(t, v0, "10.9.0.2/24") // a secondary: listed where the kernel has it
	expect("v0", "exists true up true mac 020000000001 addrs [10.9.0.1/24 10.9.0.100/32 10.8.0.1/24 10.9.0.2/24]")

	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "later", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}, PeerName: "peer"}))
	expect("later", "exists true up false mac 020000000009 addrs []")
	must(t, netlink.LinkDel(v0))
	expect("v0", "exists false up false mac 000000000000 addrs []")

	// Far more notifications than fit while nobody reads them: the end must still be right.
	gate := make(chan struct{})
	got.mu.Lock()
	got.gate = gate
	got.mu.Unlock()
	later, err := netlink.LinkByName("later")
	must(t, err)
	must(t, netlink.LinkSetUp(later))
	peer, err := netlink.LinkByName("peer")
	must(t, err)
	must(t, netlink.LinkSetUp(peer))
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, err)
	defer h.Close()
	for i := range 12000 {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 7, 0, byte(1+i/2%200)).To4(), Mask: net.CIDRMask(32, 32)}}
		if i%2 == 0 {
			must(t, h.AddrAdd(later, a))
		} else {
			must(t, h.AddrDel(later, a))
		}
	}
	ipAdd(t, later, "10.7.9.9/32")
	close(gate)
	expect("later", "exists true up true mac 020000000009 addrs [10.7.9.9/32]")
	if !strings.Contains(log.String(), "no buffer space") {
		t.Errorf("the kernel dropped nothing, the test proves nothing:\n%s", log)
	}
}

// tape is a machine that keeps what it is told.
type tape struct{ events []node.Event }

func (m *tape) Step(_ time.Duration, ev node.Event) { m.events = append(m.events, ev) }
func (m *tape) Ready() []node.Action                { return nil }
func (m *tape) Deadline() (time.Duration, bool)     { return 0, false }
