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

// frrMode is what FRR is told beyond the defaults of these tests: VRRPv3, an advert every 0.2 s, preemption.
type frrMode struct {
	v2    bool // and an advert every second
	lines string
}

// startFRR runs vrrpd, which always sends from the virtual Ethernet address.
func startFRR(t *testing.T, vip string, priority int, mode frrMode) *director {
	t.Helper()
	family, mac, prefix := "ip", "00:00:5e:00:01:33", vip+"/32"
	if strings.Contains(vip, ":") {
		family, mac, prefix = "ipv6", "00:00:5e:00:02:33", vip+"/64"
	}
	version, interval := 3, 200
	if mode.v2 {
		version, interval = 2, 1000
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
		"debug vrrp protocol\ninterface eth0\n vrrp 51 version %d\n vrrp 51 priority %d\n vrrp 51 advertisement-interval %d\n vrrp 51 %s %s\n%s\n",
		version, priority, interval, family, vip, mode.lines), 0o644))
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

// withFRR is a bridge with room for one FRR and one of ours, which are started and stopped as a test goes on.
type withFRR struct {
	*testing.T
	vip          string
	ours, theirs *director
}

func newWithFRR(t *testing.T, vip string) *withFRR {
	bridge(t)
	return &withFRR{T: t, vip: vip}
}

// start runs ours, with an instance that has these lines besides what is the same always.
func (f *withFRR) start(address string, priority int, v2 bool, lines string) {
	f.Helper()
	version := "version 3\n advert_int 0.2"
	if v2 {
		version = "version 2\n advert_int 1"
	}
	path := filepath.Join(f.TempDir(), "keepalived.conf")
	must(f.T, os.WriteFile(path, fmt.Appendf(nil, "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority %d\n %s\n %s\n virtual_ipaddress {\n %s\n }\n}\n",
		priority, version, lines, f.vip), 0o600))
	f.ours = startDirector(f.T, "o", address, path)
}

// alone waits until FRR is owner. A macvlan is up from the start, and put down when FRR finds that it is not.
func (f *withFRR) alone() {
	f.Helper()
	f.await("they are alone", func() bool { return strings.Contains(f.theirs.log.String(), "Backup -> Master") && f.theirs.owns() })
}

func (f *withFRR) stop(d *director, s syscall.Signal) {
	f.Helper()
	must(f.T, d.cmd.Process.Signal(s))
	_ = d.cmd.Wait()
}

func (f *withFRR) why() string {
	s := ""
	if f.ours != nil {
		s = "ours:\n" + f.ours.log.String()
	}
	return s + "\nFRR:\n" + f.theirs.log.String()
}

func (f *withFRR) await(what string, ok func() bool) {
	f.Helper()
	eventually(f.T, 20*time.Second, ok, func() string { return what + "\n" + f.why() })
}

// owner waits until we have the address, or they, and the other one has not.
func (f *withFRR) owner(we bool, what string) {
	f.Helper()
	f.await(what, func() bool { return f.ours.holds(f.vip) == we && f.theirs.owns() != we })
}

// stays is owner, and nothing moves for a while: as long as a backup that hears nothing would wait.
func (f *withFRR) stays(we, v2 bool, what string) {
	f.Helper()
	f.owner(we, what)
	while := 1500 * time.Millisecond
	if v2 {
		while = 4 * time.Second
	}
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if f.ours.holds(f.vip) != we || f.theirs.owns() == we {
			f.Fatalf("%s: not for long\n%s", what, f.why())
		}
	}
}

// lacks fails if ours said one of these.
func (f *withFRR) lacks(words ...string) {
	f.Helper()
	for _, bad := range words {
		if strings.Contains(f.ours.log.String(), bad) {
			f.Errorf("%s\n%s", bad, f.why())
		}
	}
}

// TestInteropFRR: with a real FRR, as owner and as backup, with each of the Ethernet addresses that we may have.
func TestInteropFRR(t *testing.T) {
	for _, tt := range []struct {
		name, lines, vip string
		v2               bool
	}{
		{name: "v2", vip: "10.9.0.100", v2: true},
		{name: "v2vmac", lines: "use_vmac", vip: "10.9.0.100", v2: true},
		{name: "v3", vip: "10.9.0.100"},
		{name: "vmac", lines: "use_vmac", vip: "10.9.0.100"},
		{name: "vmacbase", lines: "use_vmac\n vmac_xmit_base", vip: "10.9.0.100"}, // keepalived: two owners for ever
		{name: "v3ipv6", vip: "2001:db8::100"},
		{name: "vmac6", lines: "use_vmac", vip: "2001:db8::100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testenv.Need(t, "vrrpd", "zebra")
			if !inNetns(t) {
				return
			}
			f := newWithFRR(t, tt.vip)
			f.theirs = startFRR(t, tt.vip, 100, frrMode{v2: tt.v2})
			f.alone()
			f.start("10.9.0.1/24", 150, tt.v2, tt.lines)
			f.stays(true, tt.v2, "we have the higher priority")
			f.stop(f.ours, syscall.SIGTERM)
			f.await("we stopped", f.theirs.owns)
			f.start("10.9.0.1/24", 50, tt.v2, tt.lines)
			f.stays(false, tt.v2, "they have the higher priority")
			f.lacks("vrrp.rejected", "vrrp.duplicate", "host.error", "Entering MASTER")
			stale := tt.lines == "" && strings.Contains(tt.vip, ".") // a switch does not send a frame back to the port that its receiver's address was last seen at
			if !stale {
				f.stop(f.theirs, syscall.SIGTERM)
				f.await("they stopped", func() bool { return f.ours.holds(tt.vip) })
				return
			}
			f.stop(f.theirs, syscall.SIGKILL)
			f.await("they were killed", func() bool { return f.ours.holds(tt.vip) })
			f.await("its interface stays up and goes on answering (FRR 8.4.4, measured)", func() bool {
				return strings.Contains(f.ours.log.String(), "00:00:5e:00:01:33 on eth0 says by ARP reply that "+tt.vip+" is its own")
			})
		})
	}
}

// TestInteropFRRNoPreempt: whoever is owner stays it, whichever of both has the higher priority and was told so.
func TestInteropFRRNoPreempt(t *testing.T) {
	testenv.Need(t, "vrrpd", "zebra")
	if !inNetns(t) {
		return
	}
	f := newWithFRR(t, "10.9.0.100")
	f.theirs = startFRR(t, f.vip, 100, frrMode{})
	f.alone()
	f.start("10.9.0.1/24", 150, false, "nopreempt")
	f.stays(false, false, "they are first, and we do not preempt")
	f.stop(f.theirs, syscall.SIGTERM)
	f.await("they stopped", func() bool { return f.ours.holds(f.vip) })
	f.theirs = startFRR(t, f.vip, 200, frrMode{lines: " no vrrp 51 preempt"})
	f.await("they have come up", func() bool { return strings.Contains(f.theirs.log.String(), "Initialize -> Backup") })
	f.stays(true, false, "we are first, and they do not preempt")
	f.stop(f.ours, syscall.SIGTERM)
	f.await("we stopped", f.theirs.owns)
	f.lacks("vrrp.rejected", "host.error")
}

// TestInteropFRREqualPriority: a backup of equal priority leaves the owner alone. Of two owners, after one of them was stopped for a while
// and does not know it, the one with the higher address stays (RFC 9568 6.4.3), once for us and once against us.
func TestInteropFRREqualPriority(t *testing.T) {
	for _, tt := range []struct {
		name, ours string
		weWin      bool
	}{{"lower", "10.9.0.1/24", false}, {"higher", "10.9.0.3/24", true}} {
		t.Run(tt.name, func(t *testing.T) {
			testenv.Need(t, "vrrpd", "zebra")
			if !inNetns(t) {
				return
			}
			f := newWithFRR(t, "10.9.0.100")
			f.theirs = startFRR(t, f.vip, 100, frrMode{})
			f.alone()
			f.start(tt.ours, 100, false, "")
			f.stays(false, false, "whoever is first stays")
			must(t, syscall.Kill(f.theirs.cmd.Process.Pid, syscall.SIGSTOP))
			f.await("they are silent", func() bool { return f.ours.holds(f.vip) })
			must(t, syscall.Kill(f.theirs.cmd.Process.Pid, syscall.SIGCONT))
			f.stays(tt.weWin, false, "the higher address")
			f.lacks("vrrp.rejected", "host.error")
		})
	}
}

// TestInteropFRRRefused: what FRR does not have. With a password, an authentication header or as unicast there are two owners; ours says with
// whom and why, once.
func TestInteropFRRRefused(t *testing.T) {
	for _, tt := range []struct{ name, lines, why string }{
		{"v2pass", "authentication {\n auth_type PASS\n auth_pass secret\n }", "auth type none, ours pass"},
		{"v2ah", "authentication {\n auth_type AH\n auth_pass secret\n }", "auth type none, ours ah: an authentication header is another IP protocol"},
		{"v2unicast", "unicast_peer {\n 10.9.0.2\n }", "sent to 224.0.0.18, but ours has unicast_peer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testenv.Need(t, "vrrpd", "zebra")
			if !inNetns(t) {
				return
			}
			f := newWithFRR(t, "10.9.0.100")
			f.theirs = startFRR(t, f.vip, 100, frrMode{v2: true})
			f.alone()
			f.start("10.9.0.1/24", 150, true, tt.lines)
			told := "vrrp.conflict: 10.9.0.2 (00:00:5e:00:01:33) uses virtual_router_id 51 on eth0 as well, version 2, priority 100, for 10.9.0.100: " + tt.why
			f.await("told", func() bool { return strings.Contains(f.ours.log.String(), told) })
			f.await("two owners", func() bool { return f.ours.holds(f.vip) && f.theirs.owns() })
			if n := strings.Count(f.ours.log.String(), `msg="(VI_1) vrrp.conflict`); n != 1 {
				t.Errorf("told %d times\n%s", n, f.why())
			}
		})
	}
}
