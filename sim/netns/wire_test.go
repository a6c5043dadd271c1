package netns

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// A card that is wired to a device of this process's namespace is on the network behind that: frames pass both ways with their addresses,
// nothing else says anything there, and the card loses its carrier with its cable.
func TestWire(t *testing.T) {
	_, h := newLab(t, 1)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "inside"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "outside"}); err != nil {
		t.Fatal(err)
	}
	outside, err := netlink.LinkByName("outside")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(outside) })
	carrier, err := h[0].Wire("eth1", "inside")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := packetSocket(outside.Attrs().Index)
	if err != nil {
		t.Fatal(err)
	}
	heard := os.NewFile(uintptr(fd), "outside")
	defer func() { _ = heard.Close() }()
	if err := netlink.LinkSetUp(outside); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"address", "add", "10.8.0.1/24", "dev", "eth1"}, {"link", "set", "eth1", "address", "02:00:0a:08:00:01", "up"}} {
		if out, err := h[0].Command(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	state := func(want string) func() bool {
		return func() bool {
			out, err := h[0].Command(t.Context(), "ip", "link", "show", "eth1").Output()
			return err == nil && strings.Contains(string(out), want)
		}
	}
	within(t, 5*time.Second, "eth1 up", state("state UP"))
	addr, err := netlink.ParseAddr("10.8.0.2/24")
	if err == nil {
		err = netlink.AddrAdd(outside, addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := h[0].Command(t.Context(), "ping", "-c", "1", "-W", "5", "10.8.0.2").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if err := carrier(false); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "eth1 without carrier", state("NO-CARRIER"))
	if err := carrier(true); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "eth1 up again", state("state UP"))
	_ = heard.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	buf := make([]byte, 2000)
	for {
		n, err := heard.Read(buf)
		if err != nil {
			break
		}
		if from := net.HardwareAddr(buf[6:12]).String(); from != "02:00:0a:08:00:01" && from != outside.Attrs().HardwareAddr.String() {
			t.Errorf("a frame from %s: %x", from, buf[:n])
		}
	}
}
