package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestCaptures decodes every capture of keepalived 2.2.7, FRR 8.4.4 and the simulator (31), once without a password. `go test -run
// TestCaptures ./sim/replay -rewrite` regenerates; commit only what you can explain.
//
//	decode NAME [auth-pass=PASSWORD]
//	json NAME
func TestCaptures(t *testing.T) {
	done := map[string]bool{}
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			name := d.CmdArgs[0].Key
			done[name] = true
			var o Options
			if d.HasArg("auth-pass") {
				d.ScanArgs(t, "auth-pass", &o.AuthPass)
				o.CheckAH = true
			}
			file := name + ".pcap"
			if _, err := os.Stat("testdata/captures/" + file); err != nil {
				file += "ng"
			}
			if d.Cmd == "json" {
				return showJSON(t, readFile(t, file))
			}
			return show(t, readFile(t, file), o)
		})
	})
	files, err := filepath.Glob("testdata/captures/*")
	if err != nil || len(files) < 40 {
		t.Fatal(len(files), err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f)); !done[name] {
			t.Errorf("%s has no golden file", name)
		}
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/captures/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// show is what clusterctl prints.
func show(t testing.TB, file []byte, o Options) string {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		return "error: " + err.Error()
	}
	var b strings.Builder
	s, err := Decode(r.Frames(), o, func(l Line) error {
		fmt.Fprintf(&b, "%v\n", l)
		return nil
	})
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	if err := s.Write(&b, Style{}); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), "\n\n", "\n")
}

// showJSON is what clusterctl prints with -o json.
func showJSON(t testing.TB, file []byte) string {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	lines, s := decode(t, file, Options{})
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
