package host

import (
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
