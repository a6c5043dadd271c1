package config

import (
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
	})
}
