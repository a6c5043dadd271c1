package uml_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quorate/internal/testenv"
	"quorate/sim/uml"
)

// output is a job's output that may be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// shell is a job that runs a script of the guest's shell.
func shell(script string, args ...string) uml.Job {
	return uml.Job{Argv: append([]string{"sh", "-c", script, "sh"}, args...), Dir: "/", Modules: []string{}, Timeout: time.Minute}
}

// TestRun proves what a job may rely on: its arguments, environment, directory and exit status arrive as given, its
// output comes back complete and unchanged, files that it writes are on the host, the network has a working lo, the
// modules are there, and nothing of the guest remains.
func TestRun(t *testing.T) {
	testenv.NeedUML(t)
	t.Parallel()
	dir := t.TempDir()
	odd := "it's \"two\"  words\n$HOME `id` \\ ü"
	job := shell(`
		test "$1" = "$ODD" || { echo "argument: $1"; exit 1; }
		test "$(pwd)" = "$OUT" || exit 2
		test "$(id -u)" = 0 || exit 3
		ip -o -4 address show dev lo up | grep -q 127.0.0.1/8 || exit 4
		grep -q '^ip_vs_wlc ' /proc/modules || exit 5
		ip link add type dummy || exit 6 # loaded by the kernel itself
		ip netns add other || exit 7
		touch "$TMPDIR/scratch" && test -z "$(cat)" || exit 8
		echo written >result
		seq 1 60000; echo to stderr >&2
		exit 42`, odd)
	job.Env = []string{"ODD=" + odd, "OUT=" + dir}
	job.Dir = dir
	job.Modules = []string{"ipv6", "ip_vs", "ip_vs_wlc"}
	var out output
	job.Stdout = &out
	code, err := uml.Run(context.Background(), job)
	if err != nil || code != 42 {
		t.Fatalf("status %d, error %v, output:\n%.2000s", code, err, out.String())
	}
	want := new(bytes.Buffer)
	for i := 1; i <= 60000; i++ {
		fmt.Fprintln(want, i)
	}
	want.WriteString("to stderr\n")
	if sha256.Sum256([]byte(out.String())) != sha256.Sum256(want.Bytes()) {
		t.Errorf("the output differs: %d bytes, want %d", len(out.String()), want.Len())
	}
	if got, err := os.ReadFile(filepath.Join(dir, "result")); err != nil || string(got) != "written\n" {
		t.Errorf("the result on the host is %q, %v", got, err)
	}
}

// TestCancel proves that output arrives while the job runs, and that a cancelled run ends soon and leaves nothing.
func TestCancel(t *testing.T) {
	testenv.NeedUML(t)
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	job := shell(`echo "dir=$TMPDIR"; (sleep 1000) & sleep 1000`)
	var out output
	job.Stdout = &out
	done := make(chan error, 1)
	go func() {
		_, err := uml.Run(ctx, job)
		done <- err
	}()
	deadline := time.Now().Add(time.Minute)
	for !strings.HasSuffix(out.String(), "\n") {
		select {
		case err := <-done:
			t.Fatalf("ended: %v, %s", err, out.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("no output")
		}
	}
	cancel()
	start := time.Now()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("ended %s after the cancellation", took)
	}
	gone(t, out.String())
}

// gone checks that a guest whose job printed "dir=$TMPDIR" has left neither files nor processes.
func gone(t *testing.T, out string) {
	t.Helper()
	_, dir, _ := strings.Cut(strings.TrimSpace(out), "dir=")
	dir = filepath.Dir(dir)
	if !strings.Contains(dir, "quorate-uml-") {
		t.Fatalf("the job said %q", out)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(dir)) {
			t.Errorf("a process is left: %s %q", p, b)
		}
	}
}

// TestFailures proves that what goes wrong is told, each by its own words.
func TestFailures(t *testing.T) {
	testenv.NeedUML(t)
	slow := shell("sleep 1000")
	slow.Timeout = time.Second
	noModule := shell("exit 0")
	noModule.Modules = []string{"ipv6", "no_such_module"}
	noProgram := shell("")
	noProgram.Argv = []string{"/no/such/program"}
	for _, c := range []struct {
		name string
		job  uml.Job
		code int
		is   error
		want string
	}{
		{"time is up", slow, 124, uml.ErrTimeout, "did not end in time: 1s"},
		{"panic", shell("echo c >/proc/sysrq-trigger; sleep 1000"), -1, nil, "Kernel panic"},
		{"no module", noModule, -1, nil, "the guest's kernel has no module no_such_module"},
		{"no program", noProgram, 127, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, err := uml.Run(context.Background(), c.job)
			if code != c.code || (c.is != nil && !errors.Is(err, c.is)) {
				t.Errorf("status %d, error %v", code, err)
			}
			if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v does not contain %q", err, c.want)
			}
		})
	}
}

// TestOrdinaryUser proves that no root is needed, by running TestRun as nobody.
func TestOrdinaryUser(t *testing.T) {
	testenv.NeedUML(t)
	if os.Getuid() != 0 {
		t.Skip("is an ordinary user already, so TestRun shows it")
	}
	t.Parallel()
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	// The go tool's own directory is closed to others.
	dir, err := os.MkdirTemp("", "quorate-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	bin := filepath.Join(dir, "uml.test")
	if err := errors.Join(os.WriteFile(bin, exe, 0o755), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-test.run=^TestRun$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=/nonexistent", "CI=true"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestRun")) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// TestSweep proves that a run removes what another one left that was killed with its guard, and nothing that is in use or just begun.
func TestSweep(t *testing.T) {
	testenv.NeedUML(t)
	base := t.TempDir()
	t.Setenv("TMPDIR", base)
	old := time.Now().Add(-time.Hour)
	made := map[string]string{}
	for _, name := range []string{"dead", "alive", "young"} {
		made[name] = filepath.Join(base, "quorate-uml-"+name)
		if err := os.MkdirAll(filepath.Join(made[name], "tmp"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(made["alive"], "lock"))
	if err == nil {
		defer func() { _ = f.Close() }()
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	for _, name := range []string{"dead", "alive"} {
		err = errors.Join(err, os.Chtimes(made[name], old, old))
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, err := uml.Run(t.Context(), shell("exit 3")); code != 3 || err != nil {
		t.Fatal(code, err)
	}
	left, err := os.ReadDir(base)
	if err != nil || len(left) != 2 || left[0].Name() != "quorate-uml-alive" || left[1].Name() != "quorate-uml-young" {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestRefusals proves that a job that cannot work is refused before anything is started.
func TestRefusals(t *testing.T) {
	testenv.NeedUML(t)
	ok := shell("true")
	for _, c := range []struct {
		change func(*uml.Job)
		want   string
	}{
		{func(j *uml.Job) { j.Argv = nil }, "the job has no program"},
		{func(j *uml.Job) { j.Argv = []string{"/run/x"} }, "program /run/x is not visible in the guest"},
		{func(j *uml.Job) { j.Dir = "/dev/shm/x" }, "directory /dev/shm/x is not visible in the guest"},
		{func(j *uml.Job) { j.MemoryMB = 8 }, "8 MB of memory is too little"},
		{func(j *uml.Job) { j.Timeout = time.Millisecond }, "a timeout of 1ms is too short"},
		{func(j *uml.Job) { j.Env = []string{"A B=c"} }, `environment "A B=c" is not of the form NAME=value`},
		{func(j *uml.Job) { j.Modules = []string{"ip vs"} }, `"ip vs" cannot be a module`},
	} {
		job := ok
		c.change(&job)
		if _, err := uml.Run(context.Background(), job); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// TestOrphan proves that a guest does not outlive the process that wants it, even when that one is killed.
func TestOrphan(t *testing.T) {
	const role = "QUORATE_TEST_ORPHAN"
	if os.Getenv(role) != "" {
		job := shell(`echo "dir=$TMPDIR"; (sleep 1000) & sleep 1000`)
		job.Stdout = os.Stdout
		_, err := uml.Run(context.Background(), job)
		t.Fatal(err)
	}
	testenv.NeedUML(t)
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestOrphan$")
	cmd.Env = append(os.Environ(), role+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	dir := filepath.Dir(strings.TrimPrefix(strings.TrimSpace(line), "dir="))
	for range 500 {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	// The directory goes just before the processes.
	time.Sleep(200 * time.Millisecond)
	gone(t, line)
}
