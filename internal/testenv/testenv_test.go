package testenv_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"quorate/internal/testenv"
)

// fake records how a test would have ended.
type fake struct {
	testing.TB
	end string
}

func (f *fake) Helper() {}

func (f *fake) Skip(args ...any) {
	f.end = "skip: " + fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *fake) Fatalf(format string, args ...any) {
	f.end = "fail: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// ends runs f as a test of its own and says how it ended.
func ends(f func(testing.TB)) string {
	t := &fake{end: "runs"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(t)
	}()
	<-done
	return t.end
}

// TestNeed shows that an unmet need is told with its package, and that it is a failure in CI.
func TestNeed(t *testing.T) {
	need := func(tools ...string) func(testing.TB) {
		return func(tb testing.TB) { testenv.Need(tb, tools...) }
	}
	t.Setenv("CI", "")
	if got := ends(need("sh", "ls")); got != "runs" {
		t.Errorf("with sh: %s", got)
	}
	const missing = "needs no-such-tool (Debian package no-such-tool)"
	if got := ends(need("sh", "no-such-tool")); got != "skip: "+missing {
		t.Errorf("without a tool: %s", got)
	}
	t.Setenv("CI", "true")
	if got := ends(need("no-such-tool")); !strings.HasPrefix(got, "fail: "+missing) {
		t.Errorf("in CI: %s", got)
	}
	if got := testenv.Package("vtysh"); got != "frr" {
		t.Errorf("vtysh is in %s", got)
	}
	want := "runs"
	if os.Geteuid() != 0 {
		want = "fail: needs root"
	}
	if got := ends(testenv.NeedRoot); !strings.HasPrefix(got, want) {
		t.Errorf("as uid %d: %s", os.Geteuid(), got)
	}
}

// TestInUML shows that a test finds itself in a guest, as root, with the package's directory and time to work.
func TestInUML(t *testing.T) {
	if !testenv.InUML(t, testenv.Guest{Modules: []string{}}) {
		return
	}
	if host, err := os.Hostname(); err != nil || host != "uml" {
		t.Errorf("host name %q, %v", host, err)
	}
	if os.Getuid() != 0 {
		t.Errorf("uid %d", os.Getuid())
	}
	if _, err := os.Stat("testenv_test.go"); err != nil {
		t.Error(err)
	}
}
