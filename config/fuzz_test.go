package config

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Whatever the bytes: no panic, an end within a bounded time, positions inside the file,
// and findings that can be printed.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/probes/P*.conf", "../examples/*.conf"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, n := range names {
			data, err := os.ReadFile(n)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data), "d1")
		}
	}
	f.Add("$A=${A}x\n$B= \\\n $B\n@d1 @^d2 $A {\n\"}\ninclude {k,*}\n${_RANDOM 1} ~SEQ(A,1)\n", "d2")
	f.Fuzz(func(t *testing.T, text, id string) {
		src := Files{"k": text}
		start := time.Now()
		cfg, ds := Parse("k", src, Options{ConfigID: id})
		if d := time.Since(start); d > 20*time.Second {
			t.Fatalf("took %v for %d bytes", d, len(text))
		}
		if cfg == nil || len(ds) > 2*maxDiagnostics {
			t.Fatalf("%d findings", len(ds))
		}
		for _, d := range ds {
			if d.Severity < Info || d.Code == "" || d.Message == "" || d.File == "" {
				t.Fatalf("finding without its parts: %+v", d)
			}
		}
		_ = ds.Text(src)
		for _, i := range cfg.Instances {
			if i.VRID.V < 0 || i.VRID.V > 255 || i.Priority.V < 1 || i.Priority.V > 255 || i.AdvertInt.V <= 0 {
				t.Fatalf("instance out of range: %+v", i)
			}
		}
		Render("k", src, []string{id, "other"})
		if err := sameWays(src, id); err != nil {
			t.Fatal(err)
		}
	})
}

// sameWays compares the ways of reading: the short one for plain lines with the long one,
// and Lint, which keeps nothing, with Parse.
func sameWays(src Files, id string) error {
	cfg, ds, _ := read("k", src, Options{ConfigID: id}, mode{})
	slow, sds, _ := read("k", src, Options{ConfigID: id}, mode{slow: true})
	if a, b := dump(cfg), dump(slow); a != b {
		return fmt.Errorf("the long way reads another tree: %s", firstDifference(a, b))
	}
	if a, b := ds.Text(nil), sds.Text(nil); a != b {
		return fmt.Errorf("the long way finds something else: %s", firstDifference(a, b))
	}
	if a, b := ds.Text(nil), Lint("k", src, Options{ConfigID: id}).Text(nil); a != b {
		return fmt.Errorf("lint finds something else: %s", firstDifference(a, b))
	}
	return nil
}

func TestWaysOfReading(t *testing.T) {
	for name, text := range corpus(t) {
		if err := sameWays(Files{"k": text}, "d1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := sameWays(Files{"k": manyServices(300) + "vrrp_instance X { interface eth0\n virtual_ipaddress { 10.0.0.7 } }\n"}, "d1"); err != nil {
		t.Error(err)
	}
}
