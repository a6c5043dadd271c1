package kernel

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorate/ipvs"
)

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
