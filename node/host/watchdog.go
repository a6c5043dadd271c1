package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Worker is one process the watchdog keeps running.
type Worker struct {
	Name string   // vrrp, checker, cluster
	Args []string // after --worker=NAME
	// StandIn is the worker that runs, with the same arguments, while this one crashes again and again and waits to be started. Empty: none.
	StandIn string
}

// WatchConfig says what Watch runs.
type WatchConfig struct {
	Workers []Worker
	// Pairs names the workers that talk to each other: each pair gets a socket pair that
	// outlives both, see InheritedConn.
	Pairs [][2]string
	// Standalone gives a young worker's PermanentExit of 1, 2 or 4 keepalived's meaning: the
	// configuration cannot work, so the parent stops with that status. In a cluster the next
	// generation may repair it, so the worker is started again.
	Standalone bool
	// Settled is how long a worker must have run for its crashes to be over. 0: a minute.
	Settled time.Duration
	// Upgraded says that the first workers take the place of others (see Inherits).
	Upgraded bool
	// Ready is the worker whose NotifyReady makes systemd consider the service started. Empty: the first.
	Ready  string
	Logger *slog.Logger

	// StopTimeout is how long workers may take to stop before they are killed. 0: 5 s, as keepalived's child_wait_time.
	StopTimeout time.Duration
	// Executable is what is run. Empty: /proc/self/exe, the running binary even if its file was replaced.
	Executable string
	// Binary is the file that SignalUpgrade starts; empty: there is no upgrade.
	Binary string
}

// ExitError is returned by Watch when a worker's permanent failure ends the parent with the same status.
type ExitError struct {
	Worker string
	Code   int
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("worker %s exited with status %d, a permanent failure", e.Worker, e.Code)
}

// Watch starts the workers and keeps them running until SIGTERM, SIGINT or the end of ctx; then it
// ends them and returns nil. SIGHUP is passed on, SignalUpgrade is in upgrade.go. It is the small parent of the
// daemon: it owns no address, no socket but the pairs, and no configuration.
//
// Watch locks its OS thread: the kernel sends a worker its parent-death signal when the *thread* that
// started it ends, and Go ends idle threads as it likes.
func Watch(ctx context.Context, cfg WatchConfig) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sigs := make(chan os.Signal, 16)
	signal.Notify(sigs, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, SignalJSON, SignalUpgrade)
	defer signal.Stop(sigs)
	return watch(ctx, cfg, sigs)
}

// SignalJSON asks for keepalived.json: SIGRTMIN+2 as the C library counts (keepalived --signum=JSON).
const SignalJSON = syscall.Signal(36)

// child is a Worker and what became of it.
type child struct {
	Worker
	conns   []inherited
	cmd     *exec.Cmd // nil while dead
	started time.Time
	delay   time.Duration // before the latest restart; -1: never restarted
	timer   *time.Timer
	crashes int       // in a row
	reload  bool      // asked for while dead
	standIn *exec.Cmd // nil: none runs
}

type inherited struct {
	peer string
	f    *os.File
}

type death struct {
	c     *child
	state *os.ProcessState
}

type watchdog struct {
	WatchConfig
	children []*child
	deaths   chan death
	starts   chan *child
	steady   chan *exec.Cmd // has run for as long as Settled
	ready    chan string
	done     chan struct{} // closed when nobody reads the channels above any more
	stopping bool
	told     bool
}

func watch(ctx context.Context, cfg WatchConfig, sigs <-chan os.Signal) error {
	w := &watchdog{WatchConfig: cfg}
	if err := w.prepare(); err != nil {
		return err
	}
	defer w.closePairs()
	defer close(w.done)
	for _, c := range w.children {
		if err := w.start(c); err != nil {
			w.stop()
			return fmt.Errorf("start worker %s: %w", c.Name, err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			w.Logger.Info("Stopping", "cause", context.Cause(ctx))
			w.stop()
			return nil
		case s := <-sigs:
			if s == syscall.SIGHUP {
				w.Logger.Info("Reloading ...")
				w.signal(syscall.SIGHUP, func(*child) bool { return true })
				w.hurry() // it may have been the configuration
				continue
			}
			if s == SignalUpgrade {
				w.Logger.Error("The upgrade failed, the old binary goes on", "error", w.upgrade(ctx))
				continue
			}
			if s == syscall.SIGUSR1 || s == syscall.SIGUSR2 || s == SignalJSON { // keepalived's dumps: VRRP writes them
				for _, c := range w.children {
					if c.cmd != nil && c.Name == "vrrp" {
						_ = c.cmd.Process.Signal(s)
					}
				}
				continue
			}
			w.Logger.Info("Stopping", "signal", s.String())
			w.stop()
			return nil
		case d := <-w.deaths:
			if err := w.died(d); err != nil {
				w.stop()
				return err
			}
		case c := <-w.starts:
			if err := w.start(c); err != nil {
				w.Logger.Error("worker cannot be started", "worker", c.Name, "error", err)
				w.again(c, 0)
			}
		case cmd := <-w.steady:
			w.settled(cmd)
		case name := <-w.ready:
			if name == w.Ready && !w.told {
				w.told = true
				w.Logger.Info("Startup complete")
				w.sdNotify(daemon.SdNotifyReady)
			}
		}
	}
}

func (w *watchdog) prepare() error {
	if len(w.Workers) == 0 {
		return errors.New("no worker to run")
	}
	if w.Logger == nil {
		w.Logger = slog.Default()
	}
	if w.Settled == 0 {
		w.Settled = time.Minute
	}
	if w.StopTimeout == 0 {
		w.StopTimeout = 5 * time.Second
	}
	if w.Executable == "" {
		w.Executable = "/proc/self/exe"
	}
	if w.Ready == "" {
		w.Ready = w.Workers[0].Name
	}
	w.deaths = make(chan death)
	w.starts = make(chan *child)
	w.steady = make(chan *exec.Cmd)
	w.ready = make(chan string)
	w.done = make(chan struct{})
	for _, wk := range w.Workers {
		w.children = append(w.children, &child{Worker: wk, delay: -1})
	}
	for _, p := range w.Pairs {
		a, b := w.find(p[0]), w.find(p[1])
		if a == nil || b == nil {
			w.closePairs()
			return fmt.Errorf("pair %s-%s names a worker that is not run", p[0], p[1])
		}
		fa, fb, err := NewPair()
		if err != nil {
			w.closePairs()
			return err
		}
		a.conns = append(a.conns, inherited{b.Name, fa})
		b.conns = append(b.conns, inherited{a.Name, fb})
	}
	return nil
}

func (w *watchdog) find(name string) *child {
	i := slices.IndexFunc(w.children, func(c *child) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return w.children[i]
}

func (w *watchdog) closePairs() {
	for _, c := range w.children {
		for _, in := range c.conns {
			_ = in.f.Close()
		}
	}
}

func (w *watchdog) start(c *child) error {
	w.dismiss(c)
	r, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = pw.Close() }()
	var words []string
	files := []*os.File{pw}
	for _, in := range c.conns {
		words = append(words, fmt.Sprintf("%s=%d", in.peer, 3+len(files)))
		files = append(files, in.f)
	}
	cmd := &exec.Cmd{
		Path:       w.Executable,
		Args:       append([]string{"clusterd: " + c.Name, "--worker=" + c.Name}, c.Args...),
		Env:        append(append(workerEnv(), envReady+"=3", envConns+"="+strings.Join(words, ",")), w.inheritance(c)...),
		Stdin:      nil,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: files,
		SysProcAttr: &syscall.SysProcAttr{
			// A worker must not outlive the watchdog: nobody would restart or stop it.
			Pdeathsig: syscall.SIGTERM,
			// A ^C at the terminal is for the parent, which stops the workers in order.
			Setpgid: true,
		},
	}
	if err := cmd.Start(); err != nil {
		_ = r.Close()
		return err
	}
	c.cmd, c.started, c.reload = cmd, time.Now(), false
	w.Logger.Info("worker started", "worker", c.Name, "pid", cmd.Process.Pid)
	if c.crashes >= loopAfter {
		time.AfterFunc(w.Settled, func() { deliver(w, w.steady, cmd) })
	}
	go func() { // ends when the worker said "ready" or died
		defer func() { _ = r.Close() }()
		if b, err := io.ReadAll(io.LimitReader(r, 6)); err == nil && len(b) > 0 {
			deliver(w, w.ready, c.Name)
		}
	}()
	go func() {
		_ = cmd.Wait()
		deliver(w, w.deaths, death{c, cmd.ProcessState})
	}()
	return nil
}

func deliver[T any](w *watchdog, ch chan<- T, v T) {
	select {
	case ch <- v:
	case <-w.done:
	}
}

// workerEnv is our environment without what is meant for this process alone.
func workerEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "NOTIFY_SOCKET=") || strings.HasPrefix(s, "WATCHDOG_") ||
			strings.HasPrefix(s, envConns+"=") || strings.HasPrefix(s, envReady+"=") || strings.HasPrefix(s, envProbation+"=") || strings.HasPrefix(s, envInherits+"=")
	})
}

// died logs a death and arranges the restart, or returns an *ExitError.
func (w *watchdog) died(d death) error {
	pid := d.c.cmd.Process.Pid
	ran := time.Since(d.c.started)
	d.c.cmd = nil
	how, code := "killed by "+signalName(d.state), -1
	if d.state.Exited() {
		code = d.state.ExitCode()
		how = fmt.Sprintf("exited with status %d", code)
	}
	if w.stopping {
		w.Logger.Info("worker stopped", "worker", d.c.Name, "pid", pid, "how", how)
		return nil
	}
	if code := code - permanentExit; w.Standalone && ran < firstMoments && (code == 1 || code == 2 || code == 4) {
		w.Logger.Error("worker failed permanently", "worker", d.c.Name, "pid", pid, "how", fmt.Sprintf("exited with status %d", code))
		return &ExitError{Worker: d.c.Name, Code: code}
	}
	delay := w.again(d.c, ran)
	w.crashed(d.c, "worker", d.c.Name, "pid", pid, "how", how, "ran", ran.Round(time.Millisecond), "restart_in", delay)
	return nil
}

func signalName(s *os.ProcessState) string {
	ws, ok := s.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() {
		return s.String()
	}
	name := ws.Signal().String()
	if ws.CoreDump() {
		name += ", core dumped"
	}
	return fmt.Sprintf("signal %d (%s)", ws.Signal(), name)
}

func (w *watchdog) signal(s syscall.Signal, which func(*child) bool) {
	for _, c := range w.children {
		if c.cmd != nil && which(c) {
			_ = c.cmd.Process.Signal(s) // one that has just ended is reaped by its own goroutine
		}
	}
}

func (w *watchdog) alive(which func(*child) bool) bool {
	return slices.ContainsFunc(w.children, func(c *child) bool { return c.cmd != nil && which(c) })
}

// stop ends every worker: TERM, and KILL for those that have not gone in time.
func (w *watchdog) stop() {
	w.stopping = true
	w.sdNotify(daemon.SdNotifyStopping)
	w.end(syscall.SIGTERM, func(*child) bool { return true })
}

// end ends some of the workers and waits for them; for good, since stopping is set.
func (w *watchdog) end(s syscall.Signal, which func(*child) bool) {
	for _, c := range w.children {
		if c.timer != nil {
			c.timer.Stop()
		}
		w.dismiss(c)
	}
	w.signal(s, which)
	limit := time.NewTimer(w.StopTimeout)
	defer limit.Stop()
	for w.alive(which) {
		select {
		case d := <-w.deaths:
			_ = w.died(d) // only logs while stopping
		case <-w.ready:
		case <-w.starts: // the timer was faster; it stays dead
		case <-w.steady:
		case <-limit.C:
			for _, c := range w.children {
				if c.cmd != nil && which(c) {
					w.Logger.Error("worker does not stop, killing it", "worker", c.Name, "pid", c.cmd.Process.Pid)
				}
			}
			w.signal(syscall.SIGKILL, which)
		}
	}
}

func (w *watchdog) sdNotify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		w.Logger.Warn("systemd cannot be told", "state", state, "error", err)
	}
}
