package kernel_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"quorate/ipvs/kernel"
)

// TestOpenWithoutIPVS runs where the kernel has no IPVS and cannot load it, which Open must tell. Elsewhere it must not
// run: Open would load a module into the kernel of whoever runs the tests.
func TestOpenWithoutIPVS(t *testing.T) {
	if hostHasIPVS(t) {
		t.Skip("this host's kernel has IPVS; what Open does with it is tested in sim/uml")
	}
	b, err := kernel.Open(nil)
	if err == nil {
		_ = b.Close()
		t.Fatalf("opened %s", b.Name())
	}
	if !errors.Is(err, kernel.ErrMissing) {
		t.Fatalf("got %v, want ErrMissing", err)
	}
	if !strings.Contains(err.Error(), "modprobe ip_vs") {
		t.Errorf("%q does not say what to do", err)
	}
}

// hostHasIPVS says whether ip_vs is in the kernel, or could be loaded.
func hostHasIPVS(t *testing.T) bool {
	t.Helper()
	if _, err := os.Stat("/proc/net/ip_vs"); err == nil {
		return true
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	dir := "/lib/modules/" + unix.ByteSliceToString(u.Release[:])
	for _, name := range []string{"ip_vs.ko", "ip_vs.ko.xz", "ip_vs.ko.zst", "ip_vs.ko.gz"} {
		found, err := filepath.Glob(filepath.Join(dir, "kernel/net/netfilter/ipvs", name))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			return true
		}
	}
	return false
}
