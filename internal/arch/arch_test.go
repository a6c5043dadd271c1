package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "quorate"

// layer lists, for every package, the packages of this module it may import. A package that
// is missing here fails the test: a new one must be given its place.
var layer = map[string][]string{
	"vrrp":                  {},
	"config":                {},
	"checker":               {},
	"checker/probe":         {},
	"ipvs":                  {},
	"ipvs/ipvstest":         {"ipvs"},
	"ipvs/kernel":           {"ipvs"},
	"cluster":               {},
	"cluster/replica":       {"cluster"},
	"cluster/raftstore":     {"cluster", "cluster/replica"},
	"cluster/clustertest":   {"cluster"},
	"bench":                 {"sim"},
	"node":                  {"cluster", "config", "vrrp", "checker", "ipvs"},
	"node/host":             {"node", "cluster", "config", "vrrp", "checker", "checker/probe", "ipvs", "ipvs/kernel"},
	"sim/wire":              {},
	"sim":                   {"sim/wire", "node", "cluster", "cluster/replica", "config", "vrrp", "checker", "ipvs", "ipvs/ipvstest"},
	"sim/report":            {"sim"},
	"sim/real":              {"sim", "sim/netns", "sim/uml", "sim/wire", "config", "vrrp", "ipvs", "ipvs/kernel"},
	"sim/corpus":            {},
	"sim/planted":           {"sim"},
	"sim/replay":            {"vrrp", "sim/wire"},
	"sim/netns":             {},
	"sim/uml":               {},
	"sim/demo":              {"sim/netns", "sim/uml", "examples", "api", "ipvs", "ipvs/kernel"},
	"api":                   {"node", "node/host", "cluster", "cluster/raftstore", "config", "vrrp", "checker", "ipvs"},
	"cmd/clusterd":          {"api", "node", "node/host", "config", "internal/buildinfo"},
	"cmd/clusterctl":        {"api", "cluster", "config", "node", "node/host", "internal/buildinfo", "internal/console"},
	"examples":              {},
	"netns-tests/scenarios": {},
	"netns-tests":           {},
	"cmd/clusterlab":        {"api", "config", "examples", "netns-tests/scenarios", "sim", "sim/corpus", "sim/demo", "sim/netns", "sim/real", "sim/replay", "sim/report", "sim/uml", "internal/console"},
	"internal/buildinfo":    {},
	"internal/console":      {"api"},
	"internal/arch":         {},
	"internal/testenv":      {"sim/uml"},
}

// pure packages decide and never act, so that the daemon and the simulator run the same code
// and equal inputs give equal outputs.
var pure = []string{"vrrp", "config", "checker", "ipvs", "ipvs/ipvstest", "cluster", "cluster/replica", "node", "sim", "sim/wire", "sim/replay"}

// forbidden are imports a pure package must not have, with the reason.
var forbidden = map[string]string{
	"os":                             "a machine gets its inputs handed in, files through an opener",
	"os/exec":                        "processes are started by node/host",
	"net":                            "sockets belong to node/host; addresses are net/netip",
	"net/http":                       "sockets belong to api",
	"syscall":                        "the host belongs to node/host",
	"math/rand":                      "randomness is a seeded stream handed in",
	"math/rand/v2":                   "randomness is a seeded stream handed in",
	"crypto/rand":                    "randomness is a seeded stream handed in",
	"sync":                           "a machine has one caller; locks hide a second",
	"sync/atomic":                    "a machine has one caller",
	"log":                            "machines report through actions",
	"log/slog":                       "machines report through actions",
	"golang.org/x/sys/unix":          "the host belongs to node/host",
	"github.com/vishvananda/netlink": "the host belongs to node/host",
}

// excepted are imports of pure packages that bring in names only, with the reason.
var excepted = map[string]string{
	"sim/wire net":          "gopacket's layers take net.IP and net.HardwareAddr; TestPurePackages refuses the rest",
	"ipvs/ipvstest syscall": "the kernel's error numbers",
}

// netTypes is what a pure package may name of package net.
var netTypes = []string{"IP", "IPNet", "IPMask", "HardwareAddr", "ParseMAC"}

// forbiddenTime are functions of package time that read the clock.
var forbiddenTime = []string{"Now", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep", "Since", "Until"}

func TestImportRules(t *testing.T) {
	for pkg, files := range sources(t) {
		allowed, known := layer[pkg]
		if !known {
			t.Errorf("%s: has no place in the layer table of this test; give it one (imports go down only: cmd -> api, sim -> node -> cluster, config, vrrp, checker, ipvs)", pkg)
			continue
		}
		for _, f := range files {
			for _, imp := range f.ast.Imports {
				path, _ := strconv.Unquote(imp.Path.Value)
				at := f.set.Position(imp.Pos())
				if path == "C" {
					t.Errorf("%s: no cgo: the binaries are static", at)
				}
				if own, ok := strings.CutPrefix(path, module+"/"); ok && !slices.Contains(allowed, own) {
					t.Errorf("%s: %s must not import %s: imports go down only, and the pure packages know nothing of each other", at, pkg, own)
				}
				if why, ok := forbidden[path]; ok && slices.Contains(pure, pkg) && excepted[pkg+" "+path] == "" {
					t.Errorf("%s: %s is pure and must not import %q: %s", at, pkg, path, why)
				}
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	for pkg, files := range sources(t) {
		if !slices.Contains(pure, pkg) {
			continue
		}
		for _, f := range files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: a goroutine in pure package %s: order would depend on the scheduler", f.set.Position(n.Pos()), pkg)
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "net" && x.Obj == nil && !slices.Contains(netTypes, n.Sel.Name) {
						t.Errorf("%s: net.%s in pure package %s: sockets belong to node/host", f.set.Position(n.Pos()), n.Sel.Name, pkg)
					}
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil && slices.Contains(forbiddenTime, n.Sel.Name) {
						t.Errorf("%s: time.%s in pure package %s: now is an argument, Deadline() an answer", f.set.Position(n.Pos()), n.Sel.Name, pkg)
					}
				}
				return true
			})
		}
	}
}

// TestEveryPackageTeaches: a reader starts at doc.go.
func TestEveryPackageTeaches(t *testing.T) {
	for pkg := range sources(t) {
		if _, err := os.Stat(filepath.Join(root(t), pkg, "doc.go")); err != nil {
			t.Errorf("%s has no doc.go", pkg)
		}
	}
}

// TestNoForeignPaths: the project stands alone, whatever machine it was built on.
func TestNoForeignPaths(t *testing.T) {
	banned := [][]byte{[]byte("/work/" + "main"), []byte("/work/" + "shared"), []byte("../" + "shared")}
	for _, f := range tracked(t) {
		b, err := os.ReadFile(filepath.Join(root(t), f))
		if err != nil {
			continue
		}
		for _, w := range banned {
			if bytes.Contains(b, w) {
				t.Errorf("%s mentions %q: copy what is needed into testdata", f, w)
			}
		}
	}
}

type source struct {
	set *token.FileSet
	ast *ast.File
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// sources returns the non-test files of every package, by directory.
func sources(t *testing.T) map[string][]source {
	t.Helper()
	out := map[string][]source{}
	for _, f := range tracked(t) {
		if !strings.HasSuffix(f, ".go") || strings.HasSuffix(f, "_test.go") || strings.Contains(f, "testdata/") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, filepath.Join(root(t), f), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		pkg := filepath.ToSlash(filepath.Dir(f))
		out[pkg] = append(out[pkg], source{set, parsed})
	}
	if len(out) == 0 {
		t.Fatal(fmt.Errorf("no Go files found below %s", root(t)))
	}
	return out
}

// tracked lists every file of the tree but what builds leave behind.
func tracked(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root(t), path)
		if rel == ".git" {
			// a file in a linked work tree
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() && (rel == "bin" || rel == "build") {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
