package testenv

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"quorate/sim/uml"
)

// guestEnv tells a test binary that it runs in a guest.
const guestEnv = "QUORATE_TEST_IN_UML"

// Guest says how InUML boots; see the fields of the same names in uml.Job.
type Guest struct {
	MemoryMB int
	Timeout  time.Duration // of the test in the guest; default one minute
	Modules  []string
}

// InUML makes a test run in User Mode Linux. In the guest it returns true. On the host it boots a guest, runs the calling
// test and its subtests in there with the package's directory as working directory, shows the output, fails the test if
// it failed in the guest, and returns false:
//
//	func TestKernel(t *testing.T) {
//		if !testenv.InUML(t, testenv.Guest{}) {
//			return
//		}
//		// from here on: uid 0 of a real kernel with IPVS
//	}
//
// Call it from top-level tests only. One boot costs 2 to 3 seconds, so make one test with many subtests.
func InUML(t *testing.T, g Guest) bool {
	t.Helper()
	if os.Getenv(guestEnv) != "" {
		return true
	}
	NeedUML(t)
	if strings.Contains(t.Name(), "/") {
		t.Fatalf("InUML was called by a subtest, %s", t.Name())
	}
	if g.Timeout == 0 {
		g.Timeout = time.Minute
	}
	var out bytes.Buffer
	code, err := uml.Run(context.Background(), uml.Job{
		Argv:     []string{testBinary(t), "-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v", "-test.timeout=" + g.Timeout.String()},
		Env:      append([]string{guestEnv + "=1"}, pass("CI")...),
		MemoryMB: g.MemoryMB,
		// The test binary's own time-out says more, so it comes first.
		Timeout: g.Timeout + 10*time.Second,
		Modules: g.Modules,
		Stdout:  io.Writer(&out),
	})
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out.String())
	case code != 0 || !strings.Contains(out.String(), "--- PASS: "+t.Name()+" "):
		t.Errorf("in the guest the test ended with status %d\n%s", code, out.String())
	default:
		t.Log("in the guest:\n" + out.String())
	}
	return false
}

// testBinary returns a binary of the calling package's tests that runs in a guest: this one, unless it has the race
// detector, which cannot start there.
func testBinary(t *testing.T) string {
	t.Helper()
	if !raceEnabled {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		return exe
	}
	Need(t, "go")
	bin := filepath.Join(t.TempDir(), "guest.test")
	cmd := exec.Command("go", "test", "-c", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return bin
}

// pass returns those variables of the environment that are set.
func pass(names ...string) []string {
	var env []string
	for _, n := range names {
		if v, ok := os.LookupEnv(n); ok {
			env = append(env, n+"="+v)
		}
	}
	return env
}
