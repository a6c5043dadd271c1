package host

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quorate/cluster"
)

// TestLoadActiveFallsBack: a generation that no longer parses must not leave a director without any configuration.
func TestLoadActiveFallsBack(t *testing.T) {
	gens := &Generations{Dir: t.TempDir()}
	load := LoadActive(gens, "d1")
	if cfg, _, err := load(); cfg != nil || err == nil {
		t.Fatalf("without generations: %v, %v", cfg, err)
	}
	save := func(n int64, text string) {
		t.Helper()
		g := cluster.Generation{Number: n, ID: "x", Main: "a.conf", Files: map[string]string{"a.conf": text}}
		g.Hash = g.ComputeHash()
		must(t, gens.Save(g))
		must(t, gens.SetActive(n))
	}
	const good = "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n 10.0.0.1\n }\n}\n"
	save(1, good)
	save(2, good)
	save(3, "vrrp_instance V {\n interfaze eth0\n}\n")
	cfg, n, err := load()
	if cfg == nil || n != 2 || err == nil || !strings.Contains(err.Error(), "generation 2 runs in its place") || !strings.Contains(err.Error(), "interfaze") {
		t.Errorf("generation %d, error %v", n, err)
	}
}

// A file that is empty at a reload is being written: it is refused, and read when it is complete. One that never had anything in it is
// what keepalived takes it for.
func TestLoadFileEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	load := LoadFile(path, "d1", slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		text      string
		instances int
		refused   bool
	}{
		{"", 0, false},
		{"vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n 10.0.0.100\n }\n}\n", 1, false},
		{"", 0, true},
		{" \n", 0, true},
		{"# nothing, and on purpose\n", 0, false},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		cfg, _, err := load()
		if c.refused != (err != nil) || err != nil && !strings.Contains(err.Error(), "reload again when it is complete") {
			t.Errorf("%q: %v", c.text, err)
		}
		if err == nil && len(cfg.Instances) != c.instances {
			t.Errorf("%q: %d instances", c.text, len(cfg.Instances))
		}
	}
}
