package host

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/internal/testenv"
)

func parse(path string) (*config.Config, error) {
	cfg, found := config.Parse(path, OSFiles{}, config.Options{})
	if found.HasErrors() {
		return nil, fmt.Errorf("%s", found.Text(OSFiles{}))
	}
	return cfg, nil
}

// directorProcess is a director in a process and network namespace of its own, on an eth0 that the
// test moves in.
func directorProcess(address, path string, runDir ...string) int {
	if err := awaitEth0(address, true); err != nil {
		fmt.Println(err)
		return 1
	}
	return vrrpProcess(path, runDir...)
}

// detailEnv, when set, makes directors log as with -D.
const detailEnv = "HOST_TEST_DETAIL"

// vrrpProcess is a vrrp worker.
func vrrpProcess(path string, runDir ...string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	opt := &slog.HandlerOptions{}
	if os.Getenv(detailEnv) != "" {
		opt.Level = slog.LevelDebug
	}
	err := RunVRRP(ctx, VRRPConfig{Node: "lb", RunDir: strings.Join(runDir, ""), Logger: slog.New(slog.NewTextHandler(os.Stdout, opt)),
		Load: func() (*config.Config, int64, error) { c, err := parse(path); return c, 0, err }})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// awaitEth0 waits for an eth0 that the test moves in, gives it its addresses, and brings it up. Without dad its link-local address
// can be used at once.
func awaitEth0(addresses string, dad bool) error {
	var eth0 netlink.Link
	for eth0 == nil {
		if l, err := netlink.LinkByName("eth0"); err == nil {
			eth0 = l
		}
		time.Sleep(5 * time.Millisecond)
	}
	if !dad {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/accept_dad", []byte("0"), 0); err != nil {
			return err
		}
	}
	for address := range strings.SplitSeq(addresses, ",") {
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(eth0, a); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(eth0)
}

// director is what the test holds of one.
type director struct {
	cmd *exec.Cmd
	h   *netlink.Handle
	log *logBuffer
}

func startDirector(t *testing.T, name, address, path string) *director {
	t.Helper()
	return startInside(t, "--worker="+name, "director", address, path)
}

// startKeepalived starts Debian's keepalived in a namespace of its own, see startInside; the test needs it, see testenv.Need.
func startKeepalived(t *testing.T, address, conf string) *director {
	t.Helper()
	keepalived, _ := testenv.Find("keepalived")
	dir := t.TempDir()
	return startInside(t, "--worker=k", "exec", address, keepalived, "-n", "-l", "-D", "-P", "-f", conf,
		"-p", filepath.Join(dir, "k.pid"), "-r", filepath.Join(dir, "kv.pid"))
}

// startInside runs a worker of main_test.go in a namespace with a cable to the bridge.
func startInside(t *testing.T, args ...string) *director {
	t.Helper()
	d := &director{log: &logBuffer{}}
	d.cmd = exec.Command("/proc/self/exe", args...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	must(t, d.cmd.Start())
	t.Cleanup(func() { _ = d.cmd.Process.Kill(); _ = d.cmd.Wait() })

	bridge, err := netlink.LinkByName("br0")
	must(t, err)
	n := d.cmd.Process.Pid % 100000
	port, inside := fmt.Sprintf("p%d", n), fmt.Sprintf("q%d", n)
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: bridge.Attrs().Index}, PeerName: inside}))
	for _, l := range []string{port} {
		k, err := netlink.LinkByName(l)
		must(t, err)
		must(t, netlink.LinkSetUp(k))
	}
	peer, err := netlink.LinkByName(inside)
	must(t, err)
	ns, err := netns.GetFromPid(d.cmd.Process.Pid)
	must(t, err)
	defer func() { _ = ns.Close() }()
	d.h, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	must(t, err)
	must(t, netlink.LinkSetNsFd(peer, int(ns)))
	must(t, d.h.LinkSetName(peer, "eth0"))
	return d
}

// holds judges the kernel of the director, not what it says.
func (d *director) holds(vip string) bool {
	addrs, _ := d.h.AddrList(nil, netlink.FAMILY_ALL)
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.String() == vip })
}

func (d *director) remove(t *testing.T, vip string) {
	t.Helper()
	l, err := d.h.LinkByName("eth0")
	must(t, err)
	a, err := netlink.ParseAddr(vip)
	must(t, err)
	must(t, d.h.AddrDel(l, a))
}

const directorConf = `vrrp_script chk {
    script "/bin/sh -c 'test ! -e %[2]s/fail'"
    interval 1
    weight -100
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority %[1]d
    version 3
    advert_int 0.1
    garp_master_delay 1
    virtual_ipaddress {
        10.9.0.100
        10.9.0.101/24 label eth0:vip
    }
    track_script {
        chk
    }
    notify "%[2]s/notify"
}
`

// Two real processes on two real kernels' network stacks: election, death, preemption, release,
// a failing script, a pulled cable and a thief of addresses.
func TestTwoDirectors(t *testing.T) {
	if !inNetns(t) {
		return
	}
	br := bridge(t)
	wire := openTap(t, br)

	dir := map[string]string{}
	conf := func(name string, priority int) string {
		dir[name] = t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir[name], "notify"), []byte("#!/bin/sh\necho $* >>"+dir[name]+"/told\n"), 0o700))
		path := filepath.Join(dir[name], "keepalived.conf")
		must(t, os.WriteFile(path, fmt.Appendf(nil, directorConf, priority, dir[name]), 0o600))
		return path
	}
	confA, confB := conf("a", 150), conf("b", 100)
	a := startDirector(t, "a", "10.9.0.1/24", confA)
	b := startDirector(t, "b", "10.9.0.2/24", confB)
	why := func() string { return "a:\n" + a.log.String() + "\nb:\n" + b.log.String() }
	owner := func(yes, no *director, what string) {
		t.Helper()
		eventually(t, 15*time.Second, func() bool {
			return yes.holds("10.9.0.100") && yes.holds("10.9.0.101") && (no == nil || !no.holds("10.9.0.100") && !no.holds("10.9.0.101"))
		}, func() string { return what + "\n" + why() })
	}
	owner(a, b, "a has the higher priority")

	// What the segment sees, sent by the owner and from its own address.
	f := wire.next(0x0800, func(f []byte) bool { return len(f) > 36 && f[23] == 112 && f[36] == 150 }) // b may have been first
	if src := netip.AddrFrom4([4]byte(f[26:30])).String(); src != "10.9.0.1" || f[22] != 255 || f[34] != 0x31 || f[35] != 51 || f[37] != 2 {
		t.Errorf("advert % x", f)
	}

	// Scripts run beside the elections; what a director is to have told, it must be given time to tell.
	toldMaster := func() {
		t.Helper()
		eventually(t, 15*time.Second, func() bool {
			return strings.HasSuffix(readAll(filepath.Join(dir["a"], "told")), "MASTER 150\n")
		}, why)
	}
	toldMaster()
	must(t, a.cmd.Process.Kill())
	_ = a.cmd.Wait()
	owner(b, nil, "a was killed")
	arp := wire.next(0x0806, func(f []byte) bool { return len(f) == 42 && net.IP(f[28:32]).String() == "10.9.0.100" })
	if net.IP(arp[38:42]).String() != "10.9.0.100" {
		t.Errorf("gratuitous ARP % x", arp)
	}

	a = startDirector(t, "a", "10.9.0.1/24", confA)
	owner(a, b, "a came back and preempts")

	must(t, os.WriteFile(filepath.Join(dir["a"], "fail"), nil, 0o600))
	owner(b, a, "a's script fails")
	must(t, os.Remove(filepath.Join(dir["a"], "fail")))
	owner(a, b, "a's script recovered")

	a.remove(t, "10.9.0.100/32")
	eventually(t, 10*time.Second, func() bool {
		return a.holds("10.9.0.100") && strings.Contains(a.log.String(), "removed from eth0 by someone else")
	}, why)

	eth0, err := a.h.LinkByName("eth0")
	must(t, err)
	port, err := netlink.LinkByIndex(eth0.Attrs().ParentIndex)
	must(t, err)
	must(t, netlink.LinkSetDown(port))
	owner(b, a, "a's cable is pulled")
	must(t, netlink.LinkSetUp(port))
	owner(a, b, "a's cable is back")

	// A stopped process cannot give anything up; when it goes on it must do so before anything else.
	must(t, a.cmd.Process.Signal(syscall.SIGSTOP))
	owner(b, nil, "a hangs")
	time.Sleep(time.Second)
	must(t, a.cmd.Process.Signal(syscall.SIGCONT))
	eventually(t, 10*time.Second, func() bool { return strings.Contains(a.log.String(), "reason=stall") }, why)
	owner(a, b, "a goes on")
	toldMaster()

	must(t, a.cmd.Process.Signal(syscall.SIGTERM))
	if err := a.cmd.Wait(); err != nil {
		t.Errorf("a stops with %v\n%s", err, a.log)
	}
	owner(b, nil, "a was stopped")
	told := readAll(filepath.Join(dir["a"], "told"))
	// On a machine that is too busy a may lose and regain the election in between.
	want := `^(B150 M150 )+(B50 (M50 B50 )*M150 )(B150 M150 )*F150 (B150 M150 )+S150 $`
	short := strings.NewReplacer("INSTANCE VI_1 ", "", "BACKUP ", "B", "MASTER ", "M", "FAULT ", "F", "STOP ", "S", "\n", " ").Replace(told)
	if !regexp.MustCompile(want).MatchString(short) {
		t.Errorf("a's notify script was told %q, want %s\n%s", short, want, a.log)
	}
	if !strings.Contains(b.log.String(), `msg="(VI_1) Entering MASTER STATE"`) {
		t.Error(b.log)
	}
}

// runDirector runs one in this process, on what the test's namespace has, until the test ends.
func runDirector(t *testing.T, path string) *logBuffer {
	t.Helper()
	return runDirectorReload(t, path, nil)
}

// runDirectorReload is runDirector with a way to tell it that the file has changed.
func runDirectorReload(t *testing.T, path string, reload <-chan struct{}) *logBuffer {
	t.Helper()
	log := &logBuffer{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- RunVRRP(ctx, VRRPConfig{Node: "lb", RunDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(log, nil)), Reload: reload,
			Load: func() (*config.Config, int64, error) { c, err := parse(path); return c, 0, err }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s", err, log)
		}
	})
	return log
}
