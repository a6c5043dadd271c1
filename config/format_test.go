package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// The verbs of testdata/files/*.txt, which are about whole files:
//
//	fmt                       lays the input out
//	print [id=d1] [origin]    what a director reads
//	diff [id=d1]              the input has two files, separated by ====
//	merge                     the input has one file per director, each after a line "== NAME"
func TestFiles(t *testing.T) {
	datadriven.Walk(t, "testdata/files", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			id := "d1"
			d.MaybeScanArgs(t, "id", &id)
			switch d.Cmd {
			case "fmt":
				return Format(d.Input + "\n")
			case "print":
				text, _ := Print("k", Files{"k": d.Input}, Options{ConfigID: id}, PrintOptions{Origin: d.HasArg("origin"), ShowSecrets: d.HasArg("secrets")})
				return text
			case "diff":
				a, b, _ := strings.Cut(d.Input, "\n====\n")
				from, ds := Parse("a", Files{"a": a}, Options{ConfigID: id})
				to, ds2 := Parse("b", Files{"b": b}, Options{ConfigID: id})
				out := ""
				for _, x := range append(ds, ds2...) {
					if x.Severity == Error && x.Code != "not-supported-yet" {
						t.Errorf("%s", x)
					}
				}
				for _, c := range Diff(from, to) {
					out += c.String() + "\n"
				}
				return out
			case "merge":
				files, mains := Files{}, map[string]string{}
				var nodes []string
				for _, part := range strings.Split("\n"+d.Input, "\n== ")[1:] {
					node, text, _ := strings.Cut(part, "\n")
					files[node+".conf"], mains[node] = text, node+".conf"
					nodes = append(nodes, node)
				}
				text, ds := Merge("all.conf", nodes, mains, func(string) Source { return files })
				// Each director reads from the merged file what it read from its own.
				for _, n := range nodes {
					own, _ := Parse(mains[n], files, Options{ConfigID: n})
					now, _ := Parse("m", Files{"m": text}, Options{ConfigID: n})
					if a, b := places0(dump(own)), places0(dump(now)); a != b && text != "" {
						t.Errorf("%s reads something else than before:\n%s", n, firstDifference(a, b))
					}
				}
				return text + ds.Text(Files{"all.conf": text})
			}
			t.Fatalf("unknown verb %s", d.Cmd)
			return ""
		})
	})
}

// corpus is every configuration of the tests.
func corpus(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, pattern := range []string{"testdata/probes/P*.conf", "testdata/probes/inc/*", "../examples/*.conf", "/usr/share/doc/keepalived/samples/keepalived.conf*", "/etc/keepalived/keepalived.conf.sample"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			data, err := os.ReadFile(n)
			if err != nil {
				continue // a directory
			}
			out[n] = string(data)
		}
	}
	return out
}

// Laying a file out changes neither the tree nor what is said about it, and a second time
// changes nothing at all.
func TestFormatKeepsMeaning(t *testing.T) {
	for name, text := range corpus(t) {
		if err := sameMeaning(text, Format(text)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, Format(text))
		}
	}
}

// The examples are laid out as fmt does it.
func TestExamplesAreFormatted(t *testing.T) {
	for name, text := range corpus(t) {
		if strings.HasPrefix(name, "../examples/") && Format(text) != text {
			t.Errorf("%s: clusterctl fmt would change it: %s", name, firstDifference(text, Format(text)))
		}
	}
}

func sameMeaning(text, laidOut string) error {
	if again := Format(laidOut); again != laidOut {
		return fmt.Errorf("laid out twice it is different: %s", firstDifference(laidOut, again))
	}
	for _, id := range []string{"d1", "a"} {
		a, ads := Parse("k", Files{"k": text}, Options{ConfigID: id})
		b, bds := Parse("k", Files{"k": laidOut}, Options{ConfigID: id})
		if x, y := places0(dump(a)), places0(dump(b)); x != y {
			return fmt.Errorf("another tree: %s", firstDifference(x, y))
		}
		codes := func(ds Diagnostics) (out []string) {
			for _, d := range ds {
				if d.Severity == Error {
					out = append(out, d.Code)
				}
			}
			slices.Sort(out)
			return out
		}
		if x, y := codes(ads), codes(bds); !slices.Equal(x, y) {
			return fmt.Errorf("other errors: %s, %s", x, y)
		}
	}
	return nil
}

// Whatever the bytes: laying them out ends, and what can be read without errors means the
// same afterwards.
func FuzzFormat(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add(text)
	}
	f.Add("a { b\"c } d\" # x\n@d1 e { f }\n$X= \\\n a \\\n }\n~LST({A,B}, {1,2}) g ${A} { h }\n")
	f.Fuzz(func(t *testing.T, text string) {
		out := Format(text)
		if _, ds := Parse("k", Files{"k": text}, Options{ConfigID: "d1"}); ds.HasErrors() {
			return
		}
		if err := sameMeaning(text, out); err != nil {
			t.Fatalf("%v\n%q\n%q", err, text, out)
		}
	})
}

// A configuration that is printed and read again is the same one.
func TestPrintRoundTrip(t *testing.T) {
	files := probeFiles(t)
	for name := range files {
		text, ds := Print(name, files, Options{ConfigID: "d1"}, PrintOptions{ShowSecrets: true})
		if ds.HasErrors() {
			continue // braces and quotes that do not fit together
		}
		a, _ := Parse(name, files, Options{ConfigID: "d1"})
		b, _ := Parse("k", Files{"k": text}, Options{ConfigID: "d1"})
		if x, y := places0(dump(a)), places0(dump(b)); x != y {
			t.Errorf("%s: %s\n%s", name, firstDifference(x, y), text)
		}
	}
}
