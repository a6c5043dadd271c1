package host

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/internal/testenv"
)

// frrScript makes the macvlan that FRR wants to find, starts zebra and becomes vrrpd.
const frrScript = `set -e
echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_ignore
ip link add frr-51 link eth0 type macvlan mode bridge
ip link set frr-51 address %[2]s addrgenmode random
ip addr add %[3]s dev frr-51 nodad
ip link set frr-51 up
cd %[1]s
/usr/lib/frr/zebra -f %[1]s/zebra.conf -z %[1]s/run/zserv -i %[1]s/run/zebra.pid --vty_socket %[1]s/run -P 0 >/dev/null 2>&1 &
while [ ! -e %[1]s/run/zserv ]; do sleep 0.05; done
exec /usr/lib/frr/vrrpd -f %[1]s/vrrpd.conf -z %[1]s/run/zserv -i %[1]s/run/vrrpd.pid --vty_socket %[1]s/run -P 0 --log stdout
`

// startFRR runs vrrpd, which always sends from the virtual Ethernet address.
func startFRR(t *testing.T, vip string, priority int) *director {
	t.Helper()
	family, mac, prefix := "ip", "00:00:5e:00:01:33", vip+"/32"
	if strings.Contains(vip, ":") {
		family, mac, prefix = "ipv6", "00:00:5e:00:02:33", vip+"/64"
	}
	frr, err := user.Lookup("frr")
	must(t, err)
	uid, err := strconv.Atoi(frr.Uid)
	must(t, err)
	dir, err := os.MkdirTemp("/tmp", "frr") // where the user frr gets in
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "run"), 0o755))
	must(t, os.Chown(filepath.Join(dir, "run"), uid, -1))
	must(t, os.WriteFile(filepath.Join(dir, "zebra.conf"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "vrrpd.conf"), fmt.Appendf(nil,
		"debug vrrp protocol\ninterface eth0\n vrrp 51 version 3\n vrrp 51 priority %d\n vrrp 51 advertisement-interval 200\n vrrp 51 %s %s\n", priority, family, vip), 0o644))
	d := startInside(t, "--worker=f", "exec", "10.9.0.2/24", "/bin/sh", "-c", fmt.Sprintf(frrScript, dir, mac, prefix))
	t.Cleanup(func() { // it would outlive the test
		if pid, err := strconv.Atoi(strings.TrimSpace(readAll(filepath.Join(dir, "run", "zebra.pid")))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return d
}

// owns says whether FRR is the owner: the address is always there, but only then is its macvlan up.
func (d *director) owns() bool {
	l, err := d.h.LinkByName("frr-51")
	return err == nil && l.Attrs().RawFlags&unix.IFF_RUNNING != 0
}

// TestInteropFRR: with a real FRR, as owner and as backup, with each of the Ethernet addresses that we may have.
func TestInteropFRR(t *testing.T) {
	for _, tt := range []struct{ name, lines, vip string }{
		{"plain", "", "10.9.0.100"},
		{"vmac", "use_vmac", "10.9.0.100"},
		{"vmacbase", "use_vmac\n vmac_xmit_base", "10.9.0.100"}, // keepalived: two owners for ever
		{"ipv6", "", "2001:db8::100"},
		{"vmac6", "use_vmac", "2001:db8::100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testenv.Need(t, "vrrpd", "zebra")
			if !inNetns(t) {
				return
			}
			interopFRR(t, tt.lines, tt.vip)
		})
	}
}

func interopFRR(t *testing.T, lines, vip string) {
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	br, err := netlink.LinkByName("br0")
	must(t, err)
	must(t, netlink.LinkSetUp(br))
	conf := func(priority int) string {
		path := filepath.Join(t.TempDir(), "keepalived.conf")
		must(t, os.WriteFile(path, fmt.Appendf(nil, "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority %d\n version 3\n advert_int 0.2\n %s\n virtual_ipaddress {\n %s\n }\n}\n",
			priority, lines, vip), 0o600))
		return path
	}
	theirs := startFRR(t, vip, 100)
	eventually(t, 10*time.Second, theirs.owns, theirs.log.String)
	ours := startDirector(t, "o", "10.9.0.1/24", conf(150))
	why := func() string { return "ours:\n" + ours.log.String() + "\nFRR:\n" + theirs.log.String() }
	owner := func(we bool, what string) {
		t.Helper()
		eventually(t, 20*time.Second, func() bool { return ours.holds(vip) == we && theirs.owns() != we },
			func() string { return what + "\n" + why() })
	}
	stays := func(we bool, what string) {
		t.Helper()
		owner(we, what)
		for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if ours.holds(vip) != we || theirs.owns() == we {
				t.Fatalf("%s: not for long\n%s", what, why())
			}
		}
	}
	stays(true, "we have the higher priority")
	must(t, ours.cmd.Process.Signal(syscall.SIGTERM))
	_ = ours.cmd.Wait()
	eventually(t, 10*time.Second, theirs.owns, why)

	ours = startDirector(t, "o", "10.9.0.1/24", conf(50))
	stays(false, "they have the higher priority")
	for _, bad := range []string{"vrrp.rejected", "vrrp.duplicate", "host.error", "Entering MASTER"} {
		if strings.Contains(ours.log.String(), bad) {
			t.Errorf("%s\n%s", bad, why())
		}
	}
	must(t, ours.cmd.Process.Signal(syscall.SIGTERM))
	_ = ours.cmd.Wait()
	ours = startDirector(t, "o", "10.9.0.1/24", conf(150))
	stays(true, "we came back with the higher priority")
	must(t, ours.cmd.Process.Signal(syscall.SIGTERM))
	_ = ours.cmd.Wait()
	ours = startDirector(t, "o", "10.9.0.1/24", conf(50))
	eventually(t, 10*time.Second, theirs.owns, why)
	stale := lines == "" && strings.Contains(vip, ".") // a switch does not send a frame back to the port that its receiver's address was last seen at
	if stale {
		must(t, theirs.cmd.Process.Kill())
	} else {
		must(t, theirs.cmd.Process.Signal(syscall.SIGTERM))
	}
	_ = theirs.cmd.Wait()
	eventually(t, 10*time.Second, func() bool { return ours.holds(vip) }, why)
	if stale { // its interface stays up and goes on answering (FRR 8.4.4, measured)
		eventually(t, 10*time.Second, func() bool {
			return strings.Contains(ours.log.String(), "00:00:5e:00:01:33 on eth0 says by ARP reply that "+vip+" is its own")
		}, why)
	}
}
