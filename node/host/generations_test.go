package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"quorate/cluster"
	"quorate/internal/testenv"
)

func generation(n int64) cluster.Generation {
	g := cluster.Generation{
		Number: n, ID: fmt.Sprint("id", n), Author: "anna", Message: "more <VIPs> & \u2028 less",
		Time: time.Date(2026, 11, 20, 12, 0, int(n), 0, time.UTC), Main: "/etc/keepalived/keepalived.conf",
		Files: map[string]string{
			"/etc/keepalived/keepalived.conf": fmt.Sprintf("# %d\ninclude conf.d/*.conf\n", n),
			"conf.d/a.conf":                   "vrrp_instance VI_1 {\n}\n",
		},
	}
	g.Hash = g.ComputeHash()
	return g
}

func TestGenerations(t *testing.T) {
	s := &Generations{Dir: filepath.Join(t.TempDir(), "made", "on", "demand")}
	if _, err := s.Active(); !errors.Is(err, ErrNone) {
		t.Fatalf("empty: %v", err)
	}
	for n := int64(1); n <= 30; n++ {
		if err := s.Save(generation(n)); err != nil {
			t.Fatal(err)
		}
		if n == 3 {
			if _, err := s.Active(); !errors.Is(err, ErrNone) {
				t.Fatalf("staged only: %v", err)
			}
			if err := s.SetActive(3); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := s.List()
	if err != nil || len(got) != 21 || got[0] != 3 || got[1] != 11 || got[20] != 30 {
		t.Errorf("kept %v, %v; want the active one and the last 20", got, err)
	}
	g, err := s.Active()
	if d := cmp.Diff(generation(3), g); d != "" || err != nil {
		t.Errorf("active: %v\n%s", err, d)
	}
	if _, err := s.Load(5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pruned: %v", err)
	}
	if err := s.SetActive(5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("activate a missing one: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, ".tmp*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestGenerationsRefuse(t *testing.T) {
	s := &Generations{Dir: t.TempDir()}
	for name, change := range map[string]func(*cluster.Generation){
		"main file":      func(g *cluster.Generation) { g.Main = "/other" },
		"hash":           func(g *cluster.Generation) { g.Files["conf.d/a.conf"] += " " },
		"the first is 1": func(g *cluster.Generation) { g.Number = 0 },
		"is not UTF-8":   func(g *cluster.Generation) { g.Files["conf.d/a.conf"] = "# caf\xe9" },
	} {
		g := generation(1)
		change(&g)
		if err := s.Save(g); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if l, err := s.List(); len(l) != 0 || err != nil {
		t.Errorf("refused but saved: %v %v", l, err)
	}
}

// Every way to damage a file must be noticed, and the director must still come up.
func TestGenerationsTorn(t *testing.T) {
	s := &Generations{Dir: t.TempDir()}
	for n := int64(1); n <= 4; n++ {
		if err := s.Save(generation(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetActive(3); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Dir, "gen-3.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(path string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for cut := 0; cut < len(whole)-1; cut++ { // the last byte is a newline
		put(path, whole[:cut])
		if _, err := s.Load(3); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut after %d of %d bytes: %v", cut, len(whole), err)
		}
	}
	for _, old := range []string{`"anna"`, `# 3`, `"number":3`} {
		put(path, bytes.Replace(whole, []byte(old), []byte(strings.Replace(old, "3", "4", 1)+strings.Repeat(" ", 1)), 1))
		if _, err := s.Load(3); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s changed: %v", old, err)
		}
	}
	put(path, bytes.Repeat([]byte{0}, len(whole))) // what some file systems leave after a power cut
	g, err := s.Active()
	var fb *FallbackError
	if !errors.As(err, &fb) || g.Number != 2 || fb.Active != 3 || fb.Used != 2 || !errors.Is(err, ErrDamaged) {
		t.Errorf("active one damaged: generation %d, %v; want 2, which was active before, not the staged 4", g.Number, err)
	}
	for _, n := range []int{1, 2} {
		put(s.name(int64(n)), nil)
	}
	if g, err = s.Active(); !errors.As(err, &fb) || g.Number != 4 {
		t.Errorf("all older ones damaged: generation %d, %v", g.Number, err)
	}
	put(filepath.Join(s.Dir, "active"), []byte("4")) // cut short: was it 4 or 42?
	if g, err = s.Active(); !errors.As(err, &fb) || g.Number != 4 || fb.Active != 0 {
		t.Errorf("active cut short: generation %d, %v", g.Number, err)
	}
	put(s.name(4), nil)
	if g, err = s.Active(); err == nil || errors.As(err, &fb) && fb.Used != 4 || g.Number != 0 || errors.Is(err, ErrNone) {
		t.Errorf("nothing intact: generation %d, %v", g.Number, err)
	}
}

func TestGenerationsFullDisk(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("quorate-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		testenv.Missing(t, "needs to mount a tmpfs: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s := &Generations{Dir: dir}
	if err := s.Save(generation(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.SetActive(1); err != nil {
		t.Fatal(err)
	}
	big := generation(2)
	big.Files["conf.d/a.conf"] = strings.Repeat("# x\n", 50_000)
	big.Hash = big.ComputeHash()
	if err := s.Save(big); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	if l, err := s.List(); !slices.Equal(l, []int64{1}) || err != nil {
		t.Errorf("after a failed save: %v, %v", l, err)
	}
	if g, err := s.Active(); g.Number != 1 || err != nil {
		t.Errorf("after a failed save: generation %d, %v", g.Number, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".tmp*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
