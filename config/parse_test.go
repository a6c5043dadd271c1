package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The examples are what people start from: they must render for every director, without
// errors, and agree across directors.
func TestExamplesRender(t *testing.T) {
	for _, tc := range []struct {
		name     string
		warnings []string // codes that are all right
	}{
		{"lvs-dr.conf", []string{"no-effect-yet", "check-too-slow"}},
		{"vip-only.conf", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data, err := os.ReadFile("../examples/" + tc.name)
			if err != nil {
				t.Fatal(err)
			}
			src := Files{tc.name: string(data)}
			cfgs, ds := Render(tc.name, src, []string{"d1", "d2", "d3"})
			for _, d := range ds {
				if d.Severity == Error || !slices.Contains(tc.warnings, d.Code) {
					t.Errorf("%s", Diagnostics{d}.Text(src))
				}
			}
			for id, prio := range map[string]int{"d1": 150, "d2": 100, "d3": 50} {
				c := cfgs[id]
				if len(c.Instances) != 1 || c.Instances[0].Priority.V != prio || c.Global.RouterID.V == "" {
					t.Errorf("%s: %s", id, dump(c))
				}
			}
		})
	}
}

// many repeats a line with three numbers that make it unique.
func many(n int, line string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, line, i>>16, i>>8&255, i&255)
	}
	return b.String()
}

// A hostile file is refused at once.
func TestBounded(t *testing.T) {
	laughs := "$A=x\n"
	for c := 'B'; c <= 'Z'; c++ {
		laughs += fmt.Sprintf("$%c=${%c}${%c}\n", c, c-1, c-1)
	}
	empty := strings.Replace(laughs, "$A=x", "$A=", 1)
	bomb := "$L= \\\n a \\\n b\n"
	bomb = strings.ReplaceAll(bomb, "$L", "$L0")
	for i := range 25 {
		bomb += fmt.Sprintf("$L%d= \\\n $L%d \\\n $L%d\n", i+1, i, i)
	}
	for _, tc := range []struct{ name, text, code string }{
		{"ten MB of braces", strings.Repeat("{", 10<<20), "line-too-long"},
		{"ten MB of lines with a brace", strings.Repeat("{\n", 5<<20), "too-deep"},
		{"ten MB of open blocks", strings.Repeat("vrrp_instance a {\n", 10<<20/18), "too-many-errors"},
		{"ten MB of closing braces", strings.Repeat("}\n", 5<<20), "too-many-errors"},
		{"three MB of braces", strings.Repeat("{", 3<<20), "line-too-long"},
		{"nested", strings.Repeat("a {\n", 500_000), "too-deep"},
		{"pairs", strings.Repeat("{}\n", 500_000), "too-many-errors"},
		{"closing", strings.Repeat("}\n", 500_000), "too-many-errors"},
		{"one line of words", strings.Repeat("a ", 1<<20), "line-too-long"},
		{"many unknown", strings.Repeat("abcdefghijklmnopqrstuvwxyz\n", 100_000), "too-many-errors"},
		{"quotes", strings.Repeat("\"", 60_000), "unknown-keyword"},
		{"laughs", laughs + "global_defs { router_id ${Z} }", "expansion-too-large"},
		{"empty laughs", empty + "global_defs { router_id ${Z} }", "expansion-too-large"},
		{"many lines of laughs", laughs + strings.Repeat("${O}\n", 50_000), "expansion-too-large"},
		{"multi-line bomb", "global_defs {\n notification_email {\n" + bomb + "$L25\n", "expansion-too-large"},
		{"self", "$A=$A\n$A\n", "variable-loop"},
		{"grows by itself", "$A=$\n$B=${A}B x\n${A}B\n", "unknown-keyword"},
		{"include itself", "include k\n", "include-cycle"},
		{"conditions", strings.Repeat("@x ", 20_000), ""},
		{"many conditions", func() string {
			var b strings.Builder
			for i := range 50_000 {
				fmt.Fprintf(&b, "@n%d a\n", i)
			}
			return b.String()
		}(), ""},
		{"sequences", strings.Repeat("~SEQ(A,1,1000000000) x\n", 2000), "too-many-errors"},
		{"long sequences", strings.Repeat("~SEQ(A,1,190000) x\n", 2000), "too-many-errors"},
		{"nested sequences", "~SEQ(A,1,100000) ~SEQ(B,1,100000) @none x\n", "expansion-too-large"},
		{"many peers", "vrrp_instance I { unicast_peer {\n" + many(300_000, "10.%d.%d.%d\n") + "} }\n", "out-of-range"},
		{"many addresses", "vrrp_instance I { virtual_ipaddress_excluded {\n" + many(300_000, "10.%d.%d.%d\n") + "} }\n", ""},
		{"many trackers", many(50_000, "vrrp_script s%d-%d-%d { script /x }\n") + "vrrp_instance I { nopreempt\n track_script {\n" + many(50_000, "s%d-%d-%d\n") + "} }\n", ""},
		{"many members", many(50_000, "vrrp_instance i%d-%d-%d { }\n"), "too-many-errors"},
		{"many unknown members", many(100, "vrrp_instance i%d-%d-%d { interface eth0\n virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 } }\n") + "vrrp_sync_group G { group {\n" + many(200_000, "abcdefghij%d-%d-%d\n") + "} }\n", "too-many-errors"},
		{"many servers", "virtual_server 10.0.0.1 80 { \n" + many(100_000, "real_server 10.%d.%d.%d 80 { }\n") + "}\n", ""},
		{"many groups", many(50_000, "virtual_server_group g%d-%d-%d { }\n") + many(50_000, "virtual_server group g%d-%d-%d { }\n"), ""},
		{"many settings", "global_defs {\n" + many(200_000, "nftables t%d-%d-%d\n") + "}\n", ""},
		{"many routes", "static_routes {\n" + many(100_000, "10.%d.%d.%d via 10.0.0.1 dev eth0 track_group x\n") + "}\n", ""},
		{"nothing", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := cpuTime(t)
			_, ds := Parse("k", Files{"k": tc.text}, Options{ConfigID: "x"})
			if d := cpuTime(t) - start; d > 5*time.Second {
				t.Errorf("took %v of a CPU", d)
			} else {
				t.Logf("%v, %d findings", d, len(ds))
			}
			if tc.code == "" {
				return
			}
			if !ds.HasErrors() || !slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Code == tc.code }) {
				t.Errorf("no %q in %d findings: %.500s", tc.code, len(ds), ds.Text(nil))
			}
		})
	}
	// Many files, each small, including each other twice: 2^n without a limit.
	files := Files{}
	for i := range 15 {
		files[fmt.Sprint(i)] = fmt.Sprintf("include %d\ninclude %d\n", i+1, i+1)
	}
	files["15"] = "a\n"
	_, ds := Parse("0", files, Options{})
	if !slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Code == "too-many-files" || d.Code == "too-many-errors" }) {
		t.Errorf("%.500s", ds.Text(nil))
	}
}

// Lines as keepalived cannot read them, and files from other systems.
func TestBytes(t *testing.T) {
	crlf := "vrrp_instance A {\r\n  interface eth0\r\n  virtual_router_id 1\r\n  priority 300\r\n  virtual_ipaddress { 10.0.0.1 }\r\n}\r\n"
	cfg, ds := Parse("k", Files{"k": crlf}, Options{})
	if len(ds) != 1 || ds[0].Line != 4 || ds[0].Column != 12 || cfg.Instances[0].Interface.V != "eth0" {
		t.Errorf("CRLF: %s%s", ds.Text(nil), dump(cfg))
	}
	nul := strings.Replace(crlf, "priority 300", "priority 1\x0000", 1)
	if _, ds := Parse("k", Files{"k": nul}, Options{}); len(ds) == 0 || ds[0].Code == "" || !ds.HasErrors() {
		t.Errorf("NUL byte: %s", ds.Text(nil))
	}
	long := strings.Replace(crlf, "priority 300", "priority 3 # "+strings.Repeat("x", 2000), 1)
	cfg, ds = Parse("k", Files{"k": long}, Options{})
	if len(ds) != 1 || ds[0].Code != "line-too-long" || ds[0].Severity != Warning || cfg.Instances[0].Priority.V != 3 {
		t.Errorf("long line: %s", ds.Text(nil))
	}
	if _, ds := Parse("nosuch", Files{}, Options{}); len(ds) != 1 || ds[0].Code != "unreadable" {
		t.Errorf("no file: %s", ds.Text(nil))
	}
}

// A bundle recorded while reading reads the same again.
func TestRecorder(t *testing.T) {
	disk := Files{
		"/etc/k.conf":        "include conf.d/*.conf\ninclude {a,b}.inc\n@d1 include only-d1\n",
		"/etc/conf.d/1":      "unused {",
		"/etc/conf.d/a.conf": "global_defs { router_id R }\n",
		"/etc/b.inc":         "vrrp_instance A { interface eth0\n virtual_router_id 1\n priority 9\n virtual_ipaddress { 10.0.0.1 } }\n",
		"/etc/a.inc":         "",
		"/etc/only-d1":       "",
		"/etc/unrelated":     "x",
	}
	rec := &Recorder{Source: disk, Files: Files{}}
	cfg, ds := Parse("/etc/k.conf", rec, Options{ConfigID: "d1"})
	if len(ds) > 0 {
		t.Fatal(ds.Text(disk))
	}
	again, ds2 := Parse("/etc/k.conf", rec.Files, Options{ConfigID: "d1"})
	if dump(cfg) != dump(again) || len(ds2) > 0 {
		t.Errorf("bundle reads differently:\n%s%s", dump(again), ds2.Text(rec.Files))
	}
	if _, ok := rec.Files["/etc/unrelated"]; ok || len(rec.Files) != 5 {
		t.Errorf("recorded %d files", len(rec.Files))
	}
}

func TestExpandBraces(t *testing.T) {
	for in, want := range map[string]string{
		"a":            "a",
		"a{b,c}d":      "abd acd",
		"{a,b}{c,d}":   "ac ad bc bd",
		"x{a,{b,c}y}z": "xaz xbyz xcyz",
		"x{a":          "x{a",
		"x{}":          "x",
		"x{a,}y":       "xay xy",
		"a}":           "a}",
	} {
		if got := strings.Join(expandBraces(in), " "); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if n := len(expandBraces(strings.Repeat("{a,b}", 1000))); n > maxBranches {
		t.Errorf("%d branches", n)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"priority", "interface", "version", "virtual_routes", "virtual_router_id"}
	for in, want := range map[string]string{
		"priorty": "priority", "PRIORITY": "priority", "itnerface": "interface", "verison": "version", "virtual_router": "virtual_router_id", "xyz": "", "": "",
	} {
		if got, _ := nearest(in, names); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// fill reads the probe directory into memory, as a Source that refuses executable files.
func probeFiles(t *testing.T) Files {
	t.Helper()
	files := Files{}
	err := filepath.WalkDir("testdata/probes", func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		files[strings.TrimPrefix(filepath.ToSlash(p), "testdata/probes/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Four times the services cost four times the work: what is looked up is looked up in tables.
func TestLinear(t *testing.T) {
	cost := func(n int) (allocs float64, best time.Duration) {
		src := Files{"k": manyServices(n)}
		best = time.Hour
		allocs = testing.AllocsPerRun(4, func() {
			start := cpuTime(t)
			if ds := Lint("k", src, Options{ConfigID: "d1"}); ds.HasErrors() {
				t.Fatal(ds[0])
			}
			best = min(best, cpuTime(t)-start)
		})
		return allocs, best
	}
	a, ta := cost(2_000)
	b, tb := cost(8_000)
	if b > 4.5*a || tb > 12*ta {
		t.Errorf("2,000 services: %.0f allocations, %v; 8,000: %.0f, %v", a, ta, b, tb)
	}
}

// cpuTime is what this process has used: a busy machine makes nothing slower by it.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
