package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// logBuffer is an slog target that tests read while others write.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func start(t *testing.T, cfg WatchConfig) (sigs chan os.Signal, result chan error, log *logBuffer) {
	t.Helper()
	log = &logBuffer{}
	cfg.Logger = log.logger()
	sigs, result = make(chan os.Signal, 4), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		result <- watch(ctx, cfg, sigs)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return sigs, result, log
}

func TestBackoff(t *testing.T) {
	var got []string
	last := time.Duration(-1)
	for _, ran := range []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 59 * time.Second, time.Minute, 0} {
		last = backoff(last, ran >= time.Minute)
		got = append(got, last.String())
	}
	want := "0s 100ms 200ms 400ms 800ms 1.6s 3.2s 6.4s 12.8s 25.6s 30s 30s 0s 100ms"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("got %s, want %s", g, want)
	}
}

func TestWatchSignals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events")
	sigs, result, log := start(t, WatchConfig{Workers: []Worker{{Name: "vrrp", Args: []string{"steady", file}}}})
	has := func(want string) func() bool {
		return func() bool { return strings.Contains(readAll(file), want) }
	}
	eventually(t, 10*time.Second, has("start"), log.String)
	var pid int
	if _, err := fmt.Sscanf(readAll(file), "start %d", &pid); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || !strings.HasPrefix(string(b), "clusterd: vrrp\x00--worker=vrrp\x00") {
		t.Errorf("shown as %q, %v", b, err)
	}
	sigs <- syscall.SIGHUP
	eventually(t, 10*time.Second, has("hangup"), log.String)
	sigs <- syscall.SIGTERM
	if err := <-result; err != nil {
		t.Error(err)
	}
	if !has("terminated")() || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("not stopped in order: %s", readAll(file))
	}
}

func TestWatchRestarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events")
	_, _, log := start(t, WatchConfig{Workers: []Worker{{Name: "vrrp", Args: []string{"steady", file}}, {Name: "checker", Args: []string{"kill"}}}})
	starts := func() int { return strings.Count(readAll(file), "start") }
	eventually(t, 10*time.Second, func() bool { return starts() == 1 }, log.String)
	var pid int
	if _, err := fmt.Sscanf(readAll(file), "start %d", &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// The first death costs nothing; the one who keeps dying waits longer each time.
	eventually(t, 10*time.Second, func() bool { return starts() == 2 }, log.String)
	eventually(t, 10*time.Second, func() bool {
		return strings.Contains(log.String(), fmt.Sprintf("worker=vrrp pid=%d how=\"killed by signal 9 (killed)\"", pid)) &&
			strings.Contains(log.String(), "restart_in=100ms") && strings.Contains(log.String(), "restart_in=200ms")
	}, log.String)
}

func TestWatchPermanentFailure(t *testing.T) {
	for _, code := range []int{1, 2, 4} {
		_, result, _ := start(t, WatchConfig{Standalone: true, Workers: []Worker{
			{Name: "vrrp", Args: []string{"steady", filepath.Join(t.TempDir(), "events")}}, {Name: "checker", Args: []string{"exit", fmt.Sprint(PermanentExit(code))}}}})
		var ee *ExitError
		if err := <-result; !errors.As(err, &ee) || ee.Code != code || ee.Worker != "checker" {
			t.Errorf("exit %d: got %v", code, err)
		}
	}
	for _, tt := range []struct {
		standalone bool
		code       string
	}{{true, "103"}, {true, "0"}, {true, "2"}, {false, "101"}} { // 2 is Go's own, of a panic
		_, result, log := start(t, WatchConfig{Standalone: tt.standalone, Workers: []Worker{{Name: "vrrp", Args: []string{"exit", tt.code}}}})
		eventually(t, 10*time.Second, func() bool { return strings.Count(log.String(), "worker died") >= 2 }, log.String)
		select {
		case err := <-result:
			t.Errorf("standalone %v, exit %s: the parent gave up: %v", tt.standalone, tt.code, err)
		default:
		}
	}
}

func TestWatchKillsTheDeaf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events")
	sigs, result, log := start(t, WatchConfig{StopTimeout: 200 * time.Millisecond, Workers: []Worker{{Name: "vrrp", Args: []string{"deaf", file}}}})
	eventually(t, 10*time.Second, func() bool { return readAll(file) != "" }, log.String)
	sigs <- syscall.SIGINT
	if err := <-result; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "does not stop, killing it") || !strings.Contains(log.String(), "signal 9") {
		t.Error(log.String())
	}
}

// Two workers talk over their pair; one is killed and comes back; the other's end goes on working.
func TestWatchPairOutlivesWorkers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "heard")
	_, _, log := start(t, WatchConfig{
		Workers: []Worker{{Name: "vrrp", Args: []string{"echo", "cluster"}}, {Name: "cluster", Args: []string{"drive", "vrrp", file}}},
		Pairs:   [][2]string{{"vrrp", "cluster"}},
	})
	eventually(t, 20*time.Second, func() bool { return strings.Contains(readAll(file), "applied 2") },
		func() string { return readAll(file) + log.String() })
	if heard := readAll(file); strings.Count(heard, "hello") != 2 {
		t.Errorf("heard:\n%s", heard)
	}
}

func TestWatchTellsSystemd(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	t.Setenv("NOTIFY_SOCKET", sock)
	file := filepath.Join(t.TempDir(), "events")
	sigs, result, log := start(t, WatchConfig{Workers: []Worker{{Name: "vrrp", Args: []string{"steady", file}}}})
	read := func() string {
		b := make([]byte, 100)
		if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := l.Read(b)
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		return string(b[:n])
	}
	if got := read(); got != "READY=1" {
		t.Errorf("got %q", got)
	}
	sigs <- syscall.SIGTERM
	if got := read(); got != "STOPPING=1" {
		t.Errorf("got %q", got)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// However the watchdog ends, its workers end too, in order: nobody would restart or stop them.
func TestWatchdogKilled(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT} {
		file := filepath.Join(t.TempDir(), "events")
		log := &logBuffer{}
		cmd := exec.Command("/proc/self/exe", "--worker=parent", "watchdog", file)
		cmd.Stdout, cmd.Stderr = log, log
		must(t, cmd.Start())
		eventually(t, 10*time.Second, func() bool { return strings.Contains(readAll(file), "start") }, log.String)
		time.Sleep(50 * time.Millisecond) // an idle thread of the parent may end meanwhile; that must not count
		if strings.Contains(readAll(file), "terminated") {
			t.Fatalf("the worker was ended while its parent lives\n%s", log)
		}
		must(t, cmd.Process.Signal(syscall.SIGHUP))
		eventually(t, 10*time.Second, func() bool { return strings.Contains(readAll(file), "hangup") }, log.String)
		must(t, cmd.Process.Signal(sig))
		if err := cmd.Wait(); (err == nil) != (sig != syscall.SIGKILL) {
			t.Errorf("after %v: %v", sig, err)
		}
		eventually(t, 10*time.Second, func() bool { return strings.Contains(readAll(file), "terminated") }, log.String)
	}
}

func TestWatchRefuses(t *testing.T) {
	for want, cfg := range map[string]WatchConfig{
		"no worker":              {},
		"pair vrrp-cluster":      {Workers: []Worker{{Name: "vrrp"}}, Pairs: [][2]string{{"vrrp", "cluster"}}},
		"start worker vrrp":      {Workers: []Worker{{Name: "vrrp"}}, Executable: "/nonexistent"},
		"/nonexistent: no such ": {Workers: []Worker{{Name: "vrrp"}}, Executable: "/nonexistent"},
	} {
		cfg.Logger = slog.New(slog.DiscardHandler)
		if err := watch(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

// What a worker is told of those before it: nothing of a daemon's first one, to go on with what ran after a death or an upgrade, to read the
// file if somebody asked for that while there was none.
func TestInheritance(t *testing.T) {
	first, dead := &child{}, &child{started: time.Now(), crashes: loopAfter}
	w := &watchdog{WatchConfig: WatchConfig{Settled: time.Minute}, children: []*child{first, dead}}
	is := func(c *child, want ...string) {
		t.Helper()
		if got := w.inheritance(c); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	is(first)
	is(dead, envInherits+"=all", envProbation+"=1m0s")
	w.hurry()
	is(dead, envInherits+"=reload", envProbation+"=1m0s")
	w.Upgraded = true
	is(&child{}, envInherits+"=all")
}
