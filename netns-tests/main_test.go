package netnstests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"quorate/internal/testenv"
	"quorate/sim/netns"
)

// binEnv carries the directory of the built programs into the namespaces and into guests.
const binEnv = "QUORATE_TEST_BIN"

// blocked is why this host allows no lab; set before the tests run, nil usually.
var blocked error

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var env []string
	if os.Getenv(binEnv) == "" { // outermost: build before the network is gone
		dir, err := os.MkdirTemp("", "netns-tests-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		// Everybody may run them: guests and ordinary users do.
		if err := os.Chmod(dir, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		env = append(env, binEnv+"="+dir)
		for _, name := range []string{"clusterd", "clusterctl", "clusterlab"} {
			build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "quorate/cmd/"+name)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				text := fmt.Sprintf("go build quorate/cmd/%s: %v\n%s", name, err, out)
				if err := os.WriteFile(filepath.Join(dir, name+".err"), []byte(text), 0o644); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return 1
				}
			}
		}
	}
	inside, status, err := netns.Enter(context.Background(), netns.EnterOptions{Env: env})
	var refused *netns.BlockedError
	switch {
	case errors.As(err, &refused):
		blocked = err
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	case !inside:
		return status
	}
	return m.Run()
}

// needLab skips the test where no lab can be opened.
func needLab(t testing.TB) {
	t.Helper()
	if blocked != nil {
		testenv.Missing(t, blocked.Error())
	}
}

// program returns the path of clusterd or clusterctl, built from this tree.
func program(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(os.Getenv(binEnv), name)
	if text, err := os.ReadFile(path + ".err"); err == nil {
		t.Fatal(string(text))
	}
	return path
}
