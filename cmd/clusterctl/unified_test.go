package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The heads of all hunks are those of diff -u, and patch makes the new text of the old one without an offset.
func TestUnified(t *testing.T) {
	if _, err := exec.LookPath("patch"); err != nil {
		t.Skip("needs patch")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		var was, is strings.Builder
		for n := range rnd.IntN(60) {
			line := fmt.Sprintf("line %d\n", n)
			was.WriteString(line)
			switch rnd.IntN(8) {
			case 0:
				is.WriteString("changed " + line)
			case 1:
				is.WriteString(line + "new\n")
			case 2:
			default:
				is.WriteString(line)
			}
		}
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(was.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		text := unified("a", "b", was.String(), is.String())
		if text == "" {
			continue
		}
		cmd := exec.Command("patch", "--fuzz=0", file)
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		got, _ := os.ReadFile(file)
		if err != nil || string(got) != is.String() || strings.Contains(string(out), "offset") {
			t.Fatalf("%d: %v\n%s%s", i, err, out, text)
		}
	}
}
