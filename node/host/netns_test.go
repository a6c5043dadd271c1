package host

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/internal/testenv"
)

// inNetns runs the calling test a second time, in a process with a network namespace of its own, and
// reports whether this is that second time. Every thread of that process is
// in the namespace, as in a daemon; a locked OS thread would leave out the goroutines under test.
func inNetns(t *testing.T) bool {
	t.Helper()
	const env = "HOST_TEST_NETNS"
	if os.Getenv(env) == t.Name() {
		link, err := netlink.LinkByName("lo")
		must(t, err)
		must(t, netlink.LinkSetUp(link))
		return true
	}
	testenv.NeedRoot(t)
	t.Parallel() // they mostly wait, and share nothing
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v", "-test.timeout=90s")
	cmd.Env = append(os.Environ(), env+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a network namespace of its own: %v\n%s", err, out)
	}
	return false
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cable makes a veth pair v0-v1, both up; v0 has the address 10.9.0.1/24 and a MAC that can be told.
func cable(t *testing.T) (v0, v1 netlink.Link) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "v0", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}, PeerName: "v1",
		PeerHardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2},
	}))
	for _, name := range []string{"v0", "v1"} {
		l, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(l))
	}
	v0, err := netlink.LinkByName("v0")
	must(t, err)
	v1, err = netlink.LinkByName("v1")
	must(t, err)
	ipAdd(t, v0, "10.9.0.1/24")
	return v0, v1
}

// bridge is br0, to which every director of the test is plugged in.
func bridge(t *testing.T) netlink.Link {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	br, err := netlink.LinkByName("br0")
	must(t, err)
	must(t, netlink.LinkSetUp(br))
	return br
}

func ipAdd(t *testing.T, l netlink.Link, cidr string) {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	must(t, err)
	must(t, netlink.AddrAdd(l, a))
}

// tap captures and injects whole frames on an interface.
type tap struct {
	t *testing.T
	c *packet.Conn
}

func openTap(t *testing.T, l netlink.Link) *tap {
	t.Helper()
	c, err := packet.Listen(&net.Interface{Index: l.Attrs().Index, Name: l.Attrs().Name}, packet.Raw, unix.ETH_P_ALL, nil)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &tap{t, c}
}

// next returns the next frame of an Ethernet type that came in by the cable.
func (p *tap) next(etherType uint16, want func([]byte) bool) []byte {
	p.t.Helper()
	must(p.t, p.c.SetReadDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 2000)
	for {
		n, _, err := p.c.ReadFrom(buf)
		must(p.t, err)
		f := buf[:n]
		if n >= 14 && uint16(f[12])<<8|uint16(f[13]) == etherType && want(f) {
			return append([]byte(nil), f...)
		}
	}
}

// put sends a frame with an IPv4 packet of the VRRP protocol.
func (p *tap) put(src, dst string, ttl, proto byte, payload string) {
	p.t.Helper()
	mac := []byte{1, 0, 0x5e, 0, 0, 0x12}
	if !netip.MustParseAddr(dst).IsMulticast() {
		mac = []byte{2, 0, 0, 0, 0, 1}
	}
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	ip := []byte{0x45, 0xc0, 0, byte(20 + len(payload)), 0, 1, 0, 0, ttl, proto, 0, 0}
	ip = append(append(ip, s[:]...), d[:]...)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(ip[i])<<8 | uint32(ip[i+1])
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	ip[10], ip[11] = byte(^sum>>8), byte(^sum)
	f := append(append(append([]byte(nil), mac...), 2, 0, 0, 0, 0, 2, 8, 0), ip...)
	_, err := p.c.WriteTo(append(f, payload...), &packet.Addr{HardwareAddr: mac})
	must(p.t, err)
}
