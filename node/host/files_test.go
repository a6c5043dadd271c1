package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quorate/config"
)

func TestOSFiles(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a.conf", "b.conf", ".hidden.conf", "c.txt", "sub/d.conf", "x{y.conf"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, n)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, n), []byte("text of "+n), 0o600))
	}
	must(t, os.Mkdir(filepath.Join(dir, "dir.conf"), 0o700))
	for pattern, want := range map[string]string{
		"*.conf":   "a.conf b.conf x{y.conf",
		"[ac].*":   "a.conf c.txt",
		"*/*.conf": "sub/d.conf",
		".*.conf":  ".hidden.conf",
		"x{y.conf": "x{y.conf",
		"none*":    "",
	} {
		got, err := OSFiles{}.Glob(filepath.Join(dir, pattern))
		for i := range got {
			got[i], _ = filepath.Rel(dir, got[i])
		}
		if g := strings.Join(got, " "); g != want || err != nil {
			t.Errorf("%.40s: got %q, %v, want %q", pattern, g, err, want)
		}
	}
	if _, err := (OSFiles{}).Glob(filepath.Join(dir, "[")); err == nil || !strings.Contains(err.Error(), "pattern") {
		t.Errorf("bad pattern: %v", err)
	}
	if b, err := (OSFiles{}).ReadFile(filepath.Join(dir, "a.conf")); string(b) != "text of a.conf" || err != nil {
		t.Errorf("read: %q, %v", b, err)
	}
	for path, want := range map[string]string{dir: "is a directory", "/dev/zero": "larger than"} {
		if _, err := (OSFiles{}).ReadFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := (OSFiles{}).ReadFile(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// A standalone director puts its environment in; a bundle that is recorded has none.
func TestEnvironment(t *testing.T) {
	t.Setenv("QUORATE_TEST_ROUTER", "from-env")
	name := filepath.Join(t.TempDir(), "k.conf")
	if err := os.WriteFile(name, []byte("global_defs {\n router_id ${_ENV QUORATE_TEST_ROUTER}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, ds := config.Parse(name, OSFiles{}, config.Options{})
	if ds.HasErrors() || cfg.Global.RouterID.V != "from-env" {
		t.Errorf("router_id %q\n%s", cfg.Global.RouterID.V, ds.Text(nil))
	}
	if _, ds := config.Parse(name, &config.Recorder{Source: OSFiles{}}, config.Options{}); !ds.HasErrors() {
		t.Error("a bundle for other hosts has the environment of this one")
	}
}
