package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"quorate/sim/netns"
)

// binEnv carries the directory of the built programs into the namespaces.
const binEnv = "QUORATE_BENCH_BIN"

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds what is to be measured and then runs the benchmarks in private namespaces, of which nothing is left.
func run(m *testing.M) int {
	flag.Parse()
	if f := flag.Lookup("test.bench"); f == nil || f.Value.String() == "" {
		return m.Run() // an ordinary test run: nothing to build
	}
	var env []string
	if os.Getenv(binEnv) == "" {
		dir, err := os.MkdirTemp("", "bench-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		build := exec.Command("go", "build", "-o", filepath.Join(dir, "clusterd"), "quorate/cmd/clusterd")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build quorate/cmd/clusterd: %v\n%s", err, out)
			return 1
		}
		env = append(env, binEnv+"="+dir)
	}
	inside, status, err := netns.Enter(context.Background(), netns.EnterOptions{Env: env})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !inside {
		return status
	}
	status = m.Run()
	printTable(os.Stdout)
	return status
}
