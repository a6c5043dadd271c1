package kernel

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

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
	if !testenv.InUML(t, testenv.Guest{Modules: []string{"ipv6"}, Timeout: 2 * time.Minute}) {
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
			t.Run("traffic", func(t *testing.T) { testTraffic(t, b) })
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
