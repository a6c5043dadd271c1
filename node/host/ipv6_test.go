package host

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"quorate/internal/testenv"
)

const ipv6Conf = `vrrp_instance VI_6 {
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int 0.1
    garp_master_delay 1
    virtual_ipaddress {
        fe80::51
        2001:db8::100/64
        2001:db8::101
    }
    virtual_ipaddress_excluded {
        10.9.0.100
    }
}
`

// flags returns those of an address, and whether the director has it.
func (d *director) flags(ip string) (flags int, ok bool) {
	addrs, _ := d.h.AddrList(nil, netlink.FAMILY_ALL)
	for _, a := range addrs {
		if a.IP.String() == ip {
			return a.Flags, true
		}
	}
	return 0, false
}

// TestTwoIPv6Directors: elections over IPv6 on two real kernels' network stacks, with a client beside them. Addresses can be
// used the moment they are there, are announced by neighbour advertisements, come back when somebody takes
// them away or claims them, survive their worker, and the client is served by the next owner.
func TestTwoIPv6Directors(t *testing.T) {
	if !inNetns(t) {
		return
	}
	br := bridge(t)
	must(t, exec.Command("ip", "addr", "add", "2001:db8::9/64", "dev", "br0", "nodad").Run())
	wire := openTap(t, br)
	capture := startCapture(t, "br0")

	dir := t.TempDir()
	conf := func(priority int) string {
		path := filepath.Join(dir, fmt.Sprintf("%d.conf", priority))
		must(t, os.WriteFile(path, fmt.Appendf(nil, ipv6Conf, priority), 0o600))
		return path
	}
	all := []string{"fe80::51", "2001:db8::100", "2001:db8::101", "10.9.0.100"}
	a := startInside(t, "--worker=a", "director", "10.9.0.1/24", conf(150), t.TempDir())
	b := startInside(t, "--worker=b", "director", "10.9.0.2/24", conf(100), t.TempDir())
	why := func() string { return "a:\n" + a.log.String() + "\nb:\n" + b.log.String() }
	owner := func(yes, no *director, what string) {
		t.Helper()
		eventually(t, 15*time.Second, func() bool {
			for _, vip := range all {
				flags, ok := yes.flags(vip)
				if ok && flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
					t.Errorf("%s: %s cannot be used yet (flags %#x)", what, vip, flags)
				}
				if !ok || no != nil && no.holds(vip) {
					return false
				}
			}
			return true
		}, func() string { return what + "\n" + why() })
	}
	owner(a, b, "a has the higher priority")
	for vip, deprecated := range map[string]bool{"fe80::51": true, "2001:db8::100": false, "2001:db8::101": true} {
		if flags, _ := a.flags(vip); flags&unix.IFA_F_NODAD == 0 || flags&unix.IFA_F_DEPRECATED != 0 != deprecated {
			t.Errorf("flags of %s are %#x", vip, flags)
		}
	}
	f := wire.next(0x86dd, func(f []byte) bool { return len(f) > 60 && f[20] == 112 && f[56] == 150 }) // b may have been first
	if src := netip.AddrFrom16([16]byte(f[22:38])); !src.IsLinkLocalUnicast() || src.String() == "fe80::51" ||
		!bytes.Equal(f[:6], []byte{0x33, 0x33, 0, 0, 0, 0x12}) || f[21] != 255 || f[54] != 0x31 || f[55] != 51 || f[57] != 3 {
		t.Errorf("advert % x", f)
	}
	p := ping6(t, "2001:db8::100")
	eventually(t, 10*time.Second, func() bool { return p.since() < 100*time.Millisecond }, why)

	// Somebody deletes it, somebody else claims it.
	l, err := a.h.LinkByName("eth0")
	must(t, err)
	vip, err := netlink.ParseAddr("2001:db8::100/64")
	must(t, err)
	must(t, a.h.AddrDel(l, vip))
	eventually(t, 10*time.Second, func() bool {
		return a.holds("2001:db8::100") && strings.Contains(a.log.String(), "2001:db8::100 was removed from eth0 by someone else")
	}, why)
	thief := net.HardwareAddr{2, 0, 0, 0, 0, 0x66}
	claim, err := neighbourFrame(thief, netip.MustParseAddr("2001:db8::100"), false)
	must(t, err)
	drain := make([]byte, 2000)
	must(t, wire.c.SetReadDeadline(time.Now().Add(50*time.Millisecond))) // once: the client's frames never pause that long
	for err == nil {
		_, _, err = wire.c.ReadFrom(drain)
	}
	_, err = wire.c.WriteTo(claim, &packet.Addr{HardwareAddr: claim[:6]})
	must(t, err)
	eventually(t, 10*time.Second, func() bool {
		return strings.Contains(a.log.String(), "02:00:00:00:00:66 on eth0 says by neighbour advertisement that 2001:db8::100 is its own")
	}, why)
	vip16 := netip.MustParseAddr("2001:db8::100").As16()
	wire.next(0x86dd, func(f []byte) bool { // and is answered
		return len(f) > 78 && f[54] == 136 && bytes.Equal(f[62:78], vip16[:]) && !bytes.Equal(f[6:12], thief)
	})
	eventually(t, 10*time.Second, func() bool { return p.since() < 100*time.Millisecond }, why)

	// The cable of the owner is pulled: the client is served by the other one, at another Ethernet address.
	eth0, err := a.h.LinkByName("eth0")
	must(t, err)
	port, err := netlink.LinkByIndex(eth0.Attrs().ParentIndex)
	must(t, err)
	p.longest()
	must(t, netlink.LinkSetDown(port))
	owner(b, a, "a's cable is pulled")
	eventually(t, 5*time.Second, func() bool { return p.since() < 100*time.Millisecond }, why)
	if gap := p.longest(); gap < 200*time.Millisecond || gap > 5*time.Second {
		t.Errorf("the client had no answer for %v, three intervals and the skew are 361ms, and without our announcement it would ask again after 8s", gap)
	}
	must(t, netlink.LinkSetUp(port))
	owner(a, b, "a's cable is back")

	must(t, a.cmd.Process.Signal(syscall.SIGTERM))
	if err := a.cmd.Wait(); err != nil {
		t.Errorf("a stops with %v\n%s", err, a.log)
	}
	for _, vip := range all {
		if a.holds(vip) {
			t.Errorf("a was stopped and has %s", vip)
		}
	}
	owner(b, nil, "a was stopped")
	capture(t)
}

// TestIPv6Adoption: the worker is killed, its addresses stay, and the next one goes on as the owner: nobody loses a packet.
func TestIPv6Adoption(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	must(t, netlink.LinkSetName(v0, "eth0"))
	wire := openTap(t, v1)
	dir := t.TempDir()
	path := filepath.Join(dir, "keepalived.conf")
	must(t, os.WriteFile(path, fmt.Appendf(nil, strings.Replace(ipv6Conf, "0.1", "1", 1), 200), 0o600))
	start := func() (*exec.Cmd, *logBuffer) {
		log := &logBuffer{}
		c := exec.Command("/proc/self/exe", "--worker=o", "director", "10.9.0.1/24", path, dir)
		c.Stdout, c.Stderr = log, log
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c, log
	}
	have := func() string {
		out, _ := exec.Command("ip", "-o", "-6", "addr", "show", "dev", "eth0", "to", "2001:db8::/32").CombinedOutput()
		return string(out)
	}
	c, log := start()
	eventually(t, 15*time.Second, func() bool { return strings.Count(have(), "\n") == 2 }, log.String)
	time.Sleep(100 * time.Millisecond) // the note is written beside the loop
	before := have()
	monitor := exec.Command("ip", "-o", "-6", "monitor", "address")
	changes := &logBuffer{}
	monitor.Stdout = changes
	must(t, monitor.Start())
	t.Cleanup(func() { _ = monitor.Process.Kill(); _ = monitor.Wait() })
	must(t, c.Process.Kill())
	_ = c.Wait()
	_, log = start()
	eventually(t, 5*time.Second, func() bool { return strings.Contains(log.String(), "Entering MASTER STATE") }, log.String)
	wire.next(0x86dd, func(f []byte) bool { return len(f) > 60 && f[20] == 112 && f[56] == 200 })
	if got := have(); got != before || changes.String() != "" || !strings.Contains(log.String(), "the addresses are still ours") {
		t.Errorf("before\n%safter\n%schanges\n%s\n%s", before, got, changes, log)
	}
}

// pinger is a client that asks an address for an answer all the time.
type pinger struct {
	mu   sync.Mutex
	last time.Time
	gap  time.Duration
}

func ping6(t *testing.T, addr string) *pinger {
	t.Helper()
	c, err := net.ListenPacket("ip6:ipv6-icmp", "2001:db8::9")
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	p := &pinger{last: time.Now()}
	go func() {
		for seq := 0; ; seq++ {
			m := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: 7, Seq: seq & 0xffff}}
			b, _ := m.Marshal(nil) // the kernel sums it
			if _, err := c.WriteTo(b, &net.IPAddr{IP: net.ParseIP(addr)}); err != nil && strings.Contains(err.Error(), "closed") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if n < 8 || b[0] != byte(ipv6.ICMPTypeEchoReply) || binary.BigEndian.Uint16(b[4:]) != 7 || from.String() != addr {
				continue
			}
			p.mu.Lock()
			now := time.Now()
			p.gap, p.last = max(p.gap, now.Sub(p.last)), now
			p.mu.Unlock()
		}
	}()
	return p
}

// since is how long ago the last answer was.
func (p *pinger) since() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last)
}

// longest is the longest time without an answer since it was asked last.
func (p *pinger) longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	gap := p.gap
	p.gap = 0
	return gap
}

// startCapture writes all frames to a file; the function it returns lets tshark judge them.
func startCapture(t *testing.T, dev string) func(*testing.T) {
	t.Helper()
	testenv.Need(t, "tcpdump", "tshark")
	path := filepath.Join(t.TempDir(), "wire.pcap")
	dump := exec.Command("tcpdump", "--immediate-mode", "-U", "-n", "-Z", "root", "-i", dev, "-w", path, "proto 112 or icmp6 or arp")
	log := &logBuffer{}
	dump.Stderr = log
	must(t, dump.Start())
	t.Cleanup(func() { _ = dump.Process.Kill(); _ = dump.Wait() })
	eventually(t, 10*time.Second, func() bool { return strings.Contains(log.String(), "listening on") }, log.String)
	return func(t *testing.T) {
		t.Helper()
		_ = dump.Process.Signal(syscall.SIGINT)
		_ = dump.Wait()
		show := func(filter string) string {
			c := exec.Command("tshark", "-r", path, "-Y", filter)
			out, err := c.Output()
			if err != nil {
				t.Errorf("tshark: %v", err)
			}
			return string(out)
		}
		if n := strings.Count(show("ipv6 && vrrp && vrrp.checksum.status == 1"), "\n"); n < 5 {
			t.Errorf("tshark finds %d good adverts over IPv6", n)
		}
		if show("icmpv6.type == 136 && icmpv6.nd.na.flag.s == 0 && icmpv6.nd.na.flag.o == 1 && icmpv6.checksum.status == 1") == "" {
			t.Error("tshark finds no unsolicited neighbour advertisement")
		}
		if bad := show("_ws.malformed || icmpv6.checksum.status == 0 || vrrp.checksum.status == 0"); bad != "" {
			t.Errorf("tshark says\n%s", bad)
		}
	}
}

// A link-local address that comes late, goes, and comes again: FAULT while there is none that can be used (keepalived 2.2.7 does the same).
func TestLinkLocalComesLater(t *testing.T) {
	if !inNetns(t) {
		return
	}
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "far"}))
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/eth0/addr_gen_mode", []byte("1"), 0)) // none of the kernel's own
	eth0, err := netlink.LinkByName("eth0")
	must(t, err)
	far, err := netlink.LinkByName("far")
	must(t, err)
	must(t, netlink.LinkSetUp(eth0))
	must(t, netlink.LinkSetUp(far))
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	must(t, os.WriteFile(path, []byte("vrrp_instance VI_6 {\ninterface eth0\nvirtual_router_id 61\npriority 200\nadvert_int 0.1\nvirtual_ipaddress {\nfe80::100\n2001:db8::100/64\n}\n}\n"), 0o600))
	log := runDirectorReload(t, path, nil)
	fault := func(n int) {
		t.Helper()
		eventually(t, 10*time.Second, func() bool {
			return strings.Count(log.String(), "(VI_6) Entering FAULT STATE") == n && !hasAddress(t, eth0, "2001:db8::100")
		}, log.String)
	}
	fault(1)
	for k, flags := range []int{0, unix.IFA_F_NODAD} { // the first one is tentative for a while
		own, err := netlink.ParseAddr("fe80::5/64")
		must(t, err)
		own.Flags = flags
		must(t, netlink.AddrAdd(eth0, own))
		eventually(t, 15*time.Second, func() bool { return hasAddress(t, eth0, "2001:db8::100") && hasAddress(t, eth0, "fe80::100") }, log.String)
		must(t, netlink.AddrDel(eth0, own))
		fault(2 + k)
	}
}
