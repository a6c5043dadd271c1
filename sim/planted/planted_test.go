//go:build planted

package planted

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quorate/sim"
)

const root = "../.."

// within is the number of seeds in which each bug must be found.
const within = "600"

// bug is a replacement in one file.
type bug struct {
	name, file, what string
	old, new         []string
	line             int
}

// read parses bugs.txt.
func read(t *testing.T) (list []bug) {
	t.Helper()
	b, err := os.ReadFile("bugs.txt")
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(b), "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "bug "):
			head, what, ok := strings.Cut(line, ": ")
			words := strings.Fields(head)
			if !ok || len(words) != 3 {
				t.Fatalf("bugs.txt:%d: want bug NAME FILE: what is wrong", n+1)
			}
			list = append(list, bug{name: words[1], file: words[2], what: what, line: n + 1})
		case strings.HasPrefix(line, "- ") && len(list) > 0:
			l := &list[len(list)-1]
			l.old = append(l.old, line[2:])
		case strings.HasPrefix(line, "+ ") && len(list) > 0:
			l := &list[len(list)-1]
			l.new = append(l.new, line[2:])
		default:
			t.Fatalf("bugs.txt:%d: %q", n+1, line)
		}
	}
	return list
}

// plant writes the changed sources and returns the overlay's path.
func plant(t *testing.T, list []bug) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	sources := map[string]string{}
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if len(b.old) == 0 {
			continue // part of another one
		}
		text, ok := sources[b.file]
		if !ok {
			src, err := os.ReadFile(filepath.Join(root, b.file))
			if err != nil {
				t.Fatal(err)
			}
			text = string(src)
		}
		// The first line may be a part of one, anything else is whole lines.
		old := strings.Join(b.old, "\n")
		if n := strings.Count(text, old); n != 1 {
			t.Fatalf("bugs.txt:%d: %s has the text of %s %d times, want once: the source has changed, bugs.txt must follow\n%s", b.line, b.file, b.name, n, old)
		}
		sources[b.file] = strings.Replace(text, old, strings.Join(b.new, "\n"), 1)
	}
	for file, text := range sources {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(abs, file)] = path
	}
	for _, pkg := range []string{"vrrp", "node", "checker", "cluster/replica"} {
		path := filepath.Join(dir, filepath.Base(pkg)+"_planted.go")
		text := fmt.Sprintf("package %s\n\nimport \"os\"\n\nvar plantedBug = os.Getenv(\"QUORATE_PLANTED\")\n\nfunc planted(name string) bool { return name == plantedBug }\n", filepath.Base(pkg))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(abs, pkg, "zz_planted.go")] = path
	}
	overlay := filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// TestEveryBugIsFound is the proof that the search would notice.
func TestEveryBugIsFound(t *testing.T) {
	list := read(t)
	bin := filepath.Join(t.TempDir(), "clusterlab")
	build := exec.Command("go", "build", "-overlay", plant(t, list), "-o", bin, "./cmd/clusterlab")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	swarm := func(name, seeds string) (out string, found bool, seed uint64) {
		cmd := exec.Command(bin, "sim", "swarm", "--corpus=false", "--sample=0", "--seeds", seeds, "-o", "json")
		cmd.Env = append(os.Environ(), "QUORATE_PLANTED="+name)
		b, err := cmd.CombinedOutput()
		var r struct {
			Seed   uint64 `json:"seed"`
			Result string `json:"result"`
			Reason string `json:"reason"`
		}
		if jerr := json.Unmarshal(b, &r); jerr != nil {
			t.Fatalf("%s: %v, %v\n%s", name, err, jerr, b)
		}
		if r.Result == "fail" && strings.HasPrefix(r.Reason, "never") {
			return r.Reason, false, 0
		}
		return r.Reason, r.Result == "fail", r.Seed
	}
	t.Run("none", func(t *testing.T) {
		if out, found, _ := swarm("", "300"); found {
			t.Fatalf("without a bug: %s", out)
		}
	})
	var done []string
	for _, b := range list {
		if slices.Contains(done, b.name) {
			continue
		}
		done = append(done, b.name)
		t.Run(b.name, func(t *testing.T) {
			out, found, seed := swarm(b.name, within)
			if !found {
				t.Errorf("%s seeds did not show: %s", within, b.what)
			}
			t.Logf("found by seed %d: %s", seed, out)
			// QUORATE_CORPUS=DIR keeps what shows it.
			if dir := os.Getenv("QUORATE_CORPUS"); dir != "" && found {
				keep(t, bin, dir, b, seed)
			}
		})
	}
	if len(done) < 12 {
		t.Errorf("only %d bugs", len(done))
	}
}

// keep writes the scenario that shows a bug, cut down, for package corpus.
func keep(t *testing.T, bin, dir string, b bug, seed uint64) {
	out := t.TempDir()
	cmd := exec.Command(bin, "sim", "swarm", "--corpus=false", "--sample=0", "--seeds", "1", "--seed", fmt.Sprint(seed), "--out", out)
	cmd.Env = append(os.Environ(), "QUORATE_PLANTED="+b.name)
	said, _ := cmd.CombinedOutput() // it fails, that is the point
	text, err := os.ReadFile(filepath.Join(out, fmt.Sprintf("seed-%d.txt", seed)))
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	_, body, _ := strings.Cut(string(text), "\nworld ")
	if !holds("world " + body) {
		_, body, _ = strings.Cut(sim.Random(seed), "\nworld ") // cut down too far: it fails for another reason as well
	}
	head := fmt.Sprintf("# Shows the planted bug %s: %s.\n# Seed %d, cut down.\n", b.name, b.what, seed)
	if err := os.WriteFile(filepath.Join(dir, b.name+".txt"), []byte(head+"world "+body), 0o644); err != nil {
		t.Fatal(err)
	}
}

// holds plays a scenario with the machines as they are.
func holds(text string) bool {
	sc, err := sim.ParseScenario("kept", text)
	if err == nil {
		_, err = sc.Play(&sim.Session{}, nil)
	}
	return err == nil
}
