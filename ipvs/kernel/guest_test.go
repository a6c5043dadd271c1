package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/internal/testenv"
	"quorate/ipvs"
)

// TestGuest runs on a kernel of its own, with IPVS in modules. Its parts follow each other: first there is no IPVS, then
// the kernel loads it because Open asks.
func TestGuest(t *testing.T) {
	if os.Getenv(roleEnv) != "" {
		playRole(t)
		return
	}
	if !testenv.InUML(t, testenv.Guest{Modules: []string{"ipv6"}}) {
		return
	}
	testenv.Need(t, "ipvsadm", "unshare")
	t.Run("missing", testMissing)
	t.Run("autoload", testAutoload)
	t.Run("forbidden", func(t *testing.T) { asRole(t, "forbidden", 65534) })
	t.Run("userns", func(t *testing.T) { asRole(t, "userns", 0) })
	for name, open := range map[string]func() (ipvs.Backend, error){
		"netlink": func() (ipvs.Backend, error) { return OpenNetlink() },
		"sockopt": func() (ipvs.Backend, error) { return OpenSockopt() },
	} {
		t.Run(name, func(t *testing.T) {
			b, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if b.Name() != name {
				t.Errorf("is called %q", b.Name())
			}
			t.Run("program", func(t *testing.T) { testProgram(t, b, name == "netlink") })
			t.Run("drift", func(t *testing.T) { testDrift(t, b) })
			t.Run("twice", func(t *testing.T) { testTwice(t, b) })
			t.Run("errors", func(t *testing.T) { testErrors(t, b) })
			t.Run("many", func(t *testing.T) { testMany(t, b) })
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if _, err := b.Table(); !errors.Is(err, ErrClosed) {
				t.Errorf("Table after Close: %v", err)
			}
			if err := b.Apply([]ipvs.Op{{Kind: ipvs.DeleteService, Service: ipvs.Service{Key: ipvs.Key{FWMark: 1}}}}); !errors.Is(err, ErrClosed) {
				t.Errorf("Apply after Close: %v", err)
			}
		})
	}
	t.Run("namespace", testNamespace)
	t.Run("lost answer", testLostAnswer)
}

const helperPath = "/proc/sys/kernel/modprobe"

func testMissing(t *testing.T) {
	helper, err := os.ReadFile(helperPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(helperPath, []byte("/bin/false\n"), 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.WriteFile(helperPath, helper, 0); err != nil {
			t.Fatal(err)
		}
	}()
	if _, err := Open(nil); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
}

func testAutoload(t *testing.T) {
	if modules := read(t, "/proc/modules"); strings.Contains(modules, "ip_vs") {
		t.Fatal("ip_vs is loaded already")
	}
	b, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Name() != "netlink" {
		t.Errorf("root got %s", b.Name())
	}
	apply1(t, b, parse(t, "-A -t 10.0.0.1:80 -s wrr"))
	if modules := read(t, "/proc/modules"); !strings.Contains(modules, "ip_vs_wrr") {
		t.Errorf("the scheduler is not loaded:\n%s", modules)
	}
	flush(t)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// rich has everything that IPv4 tables can have, as ipvsadm prints it, sorted.
const rich = `-A -t 192.168.2.240:0 -s rr -p 300
-A -t 192.168.2.240:80 -s wlc -p 60 -M 255.255.255.0
-a -t 192.168.2.240:80 -r 192.168.2.11:80 -g -w 3
-a -t 192.168.2.240:80 -r 192.168.2.12:80 -i -w 0
-a -t 192.168.2.240:80 -r 192.168.2.13:8080 -m -w 65535
-A -t 192.168.2.240:443 -s sh -b sh-fallback,sh-port
-A -u 192.168.2.241:53 -s rr -o
-a -u 192.168.2.241:53 -r 192.168.2.11:53 -g -w 1
-A --sctp-service 192.168.2.241:99 -s lc
-A -f 7 -s mh -p 50 -b mh-port
-a -f 7 -r 192.168.2.11:0 -g -w 1
`

// rich6 is what only netlink can do.
const rich6 = `-A -t [fd00::240]:80 -s rr -p 60 -M 64
-a -t [fd00::240]:80 -r [fd00::11]:80 -g -w 2
-A -f 7 -6 -s rr
-a -f 7 -6 -r [fd00::11]:0 -g -w 1
`

func testProgram(t *testing.T, b ipvs.Backend, is6 bool) {
	defer flush(t)
	text := rich
	if is6 {
		text += rich6
	}
	want := parse(t, text)
	if err := want.Validate(); err != nil {
		t.Fatal(err)
	}
	apply1(t, b, want)
	if got := ipvsadm(t, "-Sn"); got != want.String() {
		t.Errorf("ipvsadm says\n%swant\n%s", got, want)
	}
	if got := table(t, b); got.String() != want.String() {
		t.Errorf("the backend reads\n%swant\n%s", got, want)
	}
	if again := ipvs.Plan(want, table(t, b), nil); len(again) != 0 {
		t.Errorf("a second plan is %v", again)
	}
	list := ipvsadm(t, "-Ln")
	for _, line := range []string{
		"TCP  192.168.2.240:80 wlc persistent 60 mask 255.255.255.0",
		"-> 192.168.2.11:80              Route   3      0          0",
		"-> 192.168.2.12:80              Tunnel  0      0          0",
		"-> 192.168.2.13:8080            Masq    65535  0          0",
	} {
		if !strings.Contains(list, line) {
			t.Errorf("ipvsadm -Ln has no line %q:\n%s", line, list)
		}
	}
}

// testDrift proves that what others did to the table is repaired, and what is theirs stays.
func testDrift(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	want := parse(t, rich)
	apply1(t, b, want)
	managed := []ipvs.Key{{FWMark: 99}}
	for _, e := range want {
		managed = append(managed, e.Service.Key)
	}
	for _, cmd := range []string{
		"-d -t 192.168.2.240:80 -r 192.168.2.11:80",
		"-e -t 192.168.2.240:80 -r 192.168.2.12:80 -g -w 9",
		"-a -t 192.168.2.240:80 -r 192.168.2.66:80 -g -w 1",
		"-E -t 192.168.2.240:80 -s rr",
		"-E -f 7 -s rr",
		"-D -u 192.168.2.241:53",
		"-A -f 99 -s rr",
		"-A -t 10.9.9.9:80 -s rr",
		"-a -t 10.9.9.9:80 -r 10.9.9.1:80 -m -w 1",
	} {
		ipvsadm(t, strings.Fields(cmd)...)
	}
	ops := ipvs.Plan(want, table(t, b), managed)
	if err := b.Apply(ops); err != nil {
		t.Fatal(err)
	}
	foreign := parse(t, "-A -t 10.9.9.9:80 -s rr\n-a -t 10.9.9.9:80 -r 10.9.9.1:80 -m -w 1")
	expect := append(foreign, want...)
	if got := ipvsadm(t, "-Sn"); got != expect.String() {
		t.Errorf("after %v\nipvsadm says\n%swant\n%s", ops, got, expect)
	}
	if len(ops) != 8 {
		t.Errorf("%d operations for 7 changes, of which one is a service with its destination: %v", len(ops), ops)
	}
}

// testTwice proves that operations whose effect is there succeed, and that an addition of what exists sets it.
func testTwice(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	first := parse(t, "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1")
	second := parse(t, "-A -t 10.0.0.1:80 -s wlc -p 9\n-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 5")
	apply1(t, b, first)
	if err := b.Apply(ipvs.Plan(second, nil, nil)); err != nil {
		t.Fatal(err)
	}
	if got := ipvsadm(t, "-Sn"); got != second.String() {
		t.Errorf("got\n%swant\n%s", got, second)
	}
	service, dest := second[0].Service, second[0].Destinations[0]
	delDest := ipvs.Op{Kind: ipvs.DeleteDestination, Service: service, Destination: dest}
	delService := ipvs.Op{Kind: ipvs.DeleteService, Service: service}
	if err := b.Apply([]ipvs.Op{delDest, delDest, delService, delService, delDest}); err != nil {
		t.Error(err)
	}
	if got := ipvsadm(t, "-Sn"); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

func testErrors(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	web := parse(t, "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1")
	add := ipvs.Plan(web, nil, nil)
	unknown := add[0]
	unknown.Service.Scheduler = "nosuch"
	editService, editDest, heavy := add[0], add[1], add[1]
	editService.Kind, editDest.Kind = ipvs.EditService, ipvs.EditDestination
	heavy.Destination.Weight = 70000
	for _, c := range []struct {
		ops  []ipvs.Op
		want string
		is   error
		left string
	}{
		{[]ipvs.Op{unknown}, `ipvsadm -A -t 10.0.0.1:80 -s nosuch: the kernel has no scheduler "nosuch" (module ip_vs_nosuch)`, unix.ENOENT, ""},
		{[]ipvs.Op{editService}, "ipvsadm -E -t 10.0.0.1:80 -s rr: no such service", unix.ESRCH, ""},
		{[]ipvs.Op{add[1]}, "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1: no such service", unix.ESRCH, ""},
		{[]ipvs.Op{add[0], editDest, add[1]}, "ipvsadm -e -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1: no such destination", unix.ENOENT, "-A -t 10.0.0.1:80 -s rr\n"},
		{[]ipvs.Op{add[0], heavy}, "weight 70000 is outside 0 to 65535", nil, "-A -t 10.0.0.1:80 -s rr\n"},
	} {
		flush(t)
		err := b.Apply(c.ops)
		var op *ipvs.OpError
		if !errors.As(err, &op) || !strings.Contains(err.Error(), c.want) || (c.is != nil && !errors.Is(err, c.is)) {
			t.Errorf("%v: got %v, want %s", c.ops, err, c.want)
		}
		if got := ipvsadm(t, "-Sn"); got != c.left {
			t.Errorf("%v: left\n%swant\n%s", c.ops, got, c.left)
		}
	}
}

// testMany proves that tables longer than a netlink message are read whole.
func testMany(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	var text strings.Builder
	for s := range 60 {
		n := 1
		if s == 30 {
			n = 250
		}
		fmt.Fprintf(&text, "-A -t 10.0.0.1:%d -s rr\n", 1000+s)
		for d := range n {
			fmt.Fprintf(&text, "-a -t 10.0.0.1:%d -r 10.0.1.%d:%d -g -w %d\n", 1000+s, d+1, 1000+s, d)
		}
	}
	want := parse(t, text.String())
	apply1(t, b, want)
	if got := table(t, b); got.String() != want.String() {
		t.Errorf("got %d services, want %d", len(got), len(want))
	}
}

// testNamespace proves that a backend stays in the namespace it was opened in, whichever thread uses it later, and also
// when its socket had to be replaced.
func testNamespace(t *testing.T) {
	opened := make(chan ipvs.Backend)
	go func() {
		// The thread is not unlocked, so it ends with the goroutine and its namespace.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			opened <- nil
			return
		}
		b, err := OpenNetlink()
		if err != nil {
			t.Error(err)
			opened <- nil
			return
		}
		opened <- b
	}()
	b := <-opened
	if b == nil {
		return
	}
	want := parse(t, "-A -t 10.0.0.1:80 -s rr")
	apply1(t, b, want)
	n := b.(*Netlink)
	n.h.Close()
	n.h = nil
	if got := table(t, b); got.String() != want.String() {
		t.Errorf("in its namespace: %q", got)
	}
	if got := ipvsadm(t, "-Sn"); got != "" {
		t.Errorf("outside:\n%s", got)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// testLostAnswer proves that a request whose answer never comes ends, and that the next one is answered. A filter on the
// backend's socket loses everything that the kernel sends.
func testLostAnswer(t *testing.T) {
	before := netlinkSockets(t)
	n, err := OpenNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	n.timeout = 300 * time.Millisecond
	deaf := 0
	for fd := range netlinkSockets(t) {
		if before[fd] {
			continue
		}
		deaf++
		drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop}); err != nil {
			t.Fatal(err)
		}
	}
	if deaf == 0 {
		t.Fatal("the backend's socket was not found")
	}
	want := parse(t, "-A -t 10.0.0.1:80 -s rr")
	if err := n.Apply(ipvs.Plan(want, nil, nil)); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	// What the kernel did without telling is no obstacle.
	if err := n.Apply(ipvs.Plan(want, nil, nil)); err != nil {
		t.Error(err)
	}
	if got := table(t, n); got.String() != want.String() {
		t.Errorf("got %q", got)
	}
	flush(t)
}

// netlinkSockets returns this process's netlink sockets.
func netlinkSockets(t *testing.T) map[int]bool {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int]bool)
	for _, e := range list {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_NETLINK {
			found[fd] = true
		}
	}
	return found
}

// roleEnv makes the test binary play the part of another process.
const roleEnv = "QUORATE_TEST_ROLE"

func asRole(t *testing.T, role string, uid uint32) {
	t.Helper()
	argv := []string{"/proc/self/exe", "-test.run=^TestGuest$", "-test.v"}
	if role == "userns" {
		argv = append([]string{"unshare", "-Urn"}, argv...)
	}
	argv[len(argv)-3] = executable(t)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestGuest") {
		t.Errorf("as %s: %v\n%s", role, err, out)
	}
}

// executable returns a copy of this binary that any user may run.
func executable(t *testing.T) string {
	t.Helper()
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/run", "role")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/test", exe, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir + "/test"
}

func playRole(t *testing.T) {
	b, err := Open(nil)
	switch role := os.Getenv(roleEnv); role {
	case "forbidden":
		if !errors.Is(err, ErrPermission) {
			t.Fatalf("got %v, want ErrPermission", err)
		}
	case "userns":
		if err != nil {
			t.Fatal(err)
		}
		if b.Name() != "sockopt" {
			t.Fatalf("got %s in a user namespace", b.Name())
		}
		testUserns(t, b)
	default:
		t.Fatalf("unknown role %q", role)
	}
}

// testUserns runs in a namespace that a user made. ipvsadm does not work there; /proc does.
func testUserns(t *testing.T, b ipvs.Backend) {
	t.Helper()
	want := parse(t, rich)
	plan := ipvs.Plan(want, nil, nil)
	if err := b.Apply(plan); err == nil || !strings.Contains(err.Error(), "no interface is up") {
		t.Errorf("without interfaces: got %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	apply1(t, b, want)
	if got := table(t, b); got.String() != want.String() {
		t.Errorf("the backend reads\n%swant\n%s", got, want)
	}
	proc := read(t, "/proc/net/ip_vs")
	for _, line := range []string{
		"TCP  C0A802F0:0050 wlc  persistent ",
		"-> C0A8020B:0050      Route   3      0          0",
		"-> C0A8020C:0050      Tunnel  0      0          0",
		"-> C0A8020D:1F90      Masq    65535  0          0",
		"FWM  00000007 mh persistent ",
	} {
		if !strings.Contains(proc, line) {
			t.Errorf("/proc/net/ip_vs has no %q:\n%s", line, proc)
		}
	}
	if err := b.Apply(ipvs.Plan(parse(t, rich6), nil, nil)); !errors.Is(err, ErrIPv6) {
		t.Errorf("IPv6: got %v", err)
	}
	var all []ipvs.Key
	for _, e := range want {
		all = append(all, e.Service.Key)
	}
	if err := b.Apply(ipvs.Plan(nil, want, all)); err != nil {
		t.Error(err)
	}
	if got := table(t, b); len(got) != 0 {
		t.Errorf("left:\n%s", got)
	}
}

func parse(t *testing.T, text string) ipvs.Table {
	t.Helper()
	table, err := ipvs.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func table(t *testing.T, b ipvs.Backend) ipvs.Table {
	t.Helper()
	got, err := b.Table()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func apply1(t *testing.T, b ipvs.Backend, want ipvs.Table) {
	t.Helper()
	if err := b.Apply(ipvs.Plan(want, table(t, b), nil)); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T) {
	t.Helper()
	ipvsadm(t, "-C")
}

// ipvsadm runs the program; what -S prints is returned in our order and with our brackets.
func ipvsadm(t *testing.T, args ...string) string {
	t.Helper()
	path, ok := testenv.Find("ipvsadm")
	if !ok {
		t.Fatal("no ipvsadm")
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ipvsadm %v: %v\n%s", args, err, out)
	}
	if args[0] != "-Sn" {
		return string(out)
	}
	got, err := ipvs.Parse(string(out))
	if err != nil {
		t.Fatalf("ipvsadm printed\n%s%v", out, err)
	}
	return got.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
