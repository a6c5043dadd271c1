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
	load := LoadFile(path, "d1", Kept{}, slog.New(slog.DiscardHandler))
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

// The worker that takes the place of one that died runs what that one ran, whatever has become of the file; one that is started by a reload
// does so if the file cannot be used. The first worker of a daemon does not, and neither does a reload of a living one.
func TestLoadFileInherits(t *testing.T) {
	dir := t.TempDir()
	path, kept := filepath.Join(dir, "keepalived.conf"), filepath.Join(dir, "vrrp-config.json")
	t.Setenv("NETWORK", "10.0.0")
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	const good = "include parts/*.conf\n# caf\xe9\nvrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n ${_ENV NETWORK}.100\n }\n}\n"
	const other = "vrrp_instance VI_2 {\n interface eth0\n virtual_router_id 52\n virtual_ipaddress {\n 10.0.0.102\n }\n}\n"
	reader := func(first Inheritance) func() string {
		f := LoadFile(path, "d1", Kept{Path: kept, First: first}, slog.New(slog.DiscardHandler))
		return func() string {
			cfg, _, err := f()
			if err != nil {
				return "refused"
			}
			names := ""
			for _, i := range cfg.Instances {
				names += i.Name + " "
			}
			return names
		}
	}
	is := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	must(t, os.Mkdir(filepath.Join(dir, "parts"), 0o700))
	write("parts/more.conf", other)
	write("keepalived.conf", good)
	is(reader(InheritAll)(), "VI_2 VI_1 ")                                 // nothing is noted yet
	if st, err := os.Stat(kept); err != nil || st.Mode().Perm() != 0o600 { // there are passwords in it
		t.Fatal(st, err)
	}
	must(t, os.RemoveAll(filepath.Join(dir, "parts")))
	for _, bad := range []string{"", "vrrp_instance VI_1 {\n interfaze eth0\n}\n", "missing"} {
		if write("keepalived.conf", bad); bad == "missing" {
			must(t, os.Remove(path))
		}
		for _, first := range []Inheritance{InheritAll, InheritReload} {
			next := reader(first)
			is(next(), "VI_2 VI_1 ")
			is(next(), "refused")
		}
		if bad != "" {
			is(reader(InheritNothing)(), "refused")
		}
	}
	write("keepalived.conf", other) // in the middle of a change
	next := reader(InheritAll)
	is(next(), "VI_2 VI_1 ")
	is(next(), "VI_2 ")
	is(reader(InheritAll)(), "VI_2 ")
	write("keepalived.conf", good)
	is(reader(InheritReload)(), "VI_1 ")
	write("keepalived.conf", other)
	is(reader(InheritAll)(), "VI_1 ")
	is(reader(InheritNothing)(), "VI_2 ")
	must(t, os.Mkdir(kept+".new", 0o700)) // the next one cannot be noted
	write("keepalived.conf", good)
	is(reader(InheritNothing)(), "VI_1 ")
	is(reader(InheritAll)(), "VI_1 ")
	must(t, os.Remove(kept+".new"))
	write("keepalived.conf", other)
	must(t, os.WriteFile(kept, []byte("{torn"), 0o600))
	is(reader(InheritAll)(), "VI_2 ")
	must(t, os.WriteFile(kept, []byte("{torn"), 0o600))
	write("keepalived.conf", "x")
	is(reader(InheritAll)(), "refused")
}
