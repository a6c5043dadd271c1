package config

import (
	"strings"
	"testing"
)

// Whatever is done with a file that can be read without errors keeps what it says: printing it, joining it with another
// director's, comparing it with itself. And nothing panics for one that cannot be read.
func FuzzWhole(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text, "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 5\n virtual_ipaddress { 10.0.0.1 }\n}\n")
	}
	for _, p := range pains {
		f.Add(p.file, p.file)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		files := Files{"one": one, "two": two}
		a, ads := Parse("one", files, Options{ConfigID: "d1"})
		b, bds := Parse("two", files, Options{ConfigID: "d2"})
		for _, c := range append(Diff(a, b), Diff(a, a)...) {
			if c.Op == "" || c.String() == "" {
				t.Fatalf("change without its parts: %+v", c)
			}
		}
		if n := len(Diff(a, a)); n > 0 && !ads.HasErrors() {
			t.Fatalf("%d changes from itself: %v\n%s", n, Diff(a, a), one)
		}
		if masked := MaskSecrets(files); masked["one"] != MaskSecrets(masked)["one"] {
			t.Fatalf("masked twice it is another text:\n%q\n%q", masked["one"], MaskSecrets(masked)["one"])
		}
		for n := range min(20, strings.Count(one, "\n")) {
			KeywordsAt(one, n)
			KeywordAt(one, n, n)
		}
		a.Programs()
		text, ds := Print("one", files, Options{ConfigID: "d1"}, PrintOptions{ShowSecrets: true})
		if !ads.HasErrors() && !ds.HasErrors() {
			again, _ := Parse("p", Files{"p": text}, Options{ConfigID: "d1"})
			if x, y := places0(dump(a)), places0(dump(again)); x != y {
				t.Fatalf("printed and read again: %s\n%q\n%q", firstDifference(x, y), one, text)
			}
		}
		all, _ := Merge("all", []string{"d1", "d2"}, map[string]string{"d1": "one", "d2": "two"}, func(string) Source { return files })
		if ads.HasErrors() || bds.HasErrors() || all == "" {
			return
		}
		for _, n := range []struct {
			id  string
			was *Config
		}{{"d1", a}, {"d2", b}} {
			now, _ := Parse("all", Files{"all": all}, Options{ConfigID: n.id})
			if x, y := places0(dump(n.was)), places0(dump(now)); x != y {
				t.Fatalf("%s reads something else than before: %s\n%q\n%q\n%q", n.id, firstDifference(x, y), one, two, all)
			}
		}
	})
}
