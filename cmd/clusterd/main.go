package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"quorate/internal/buildinfo"
	"quorate/node/host"
)

// Exit statuses are keepalived's, so that unit files and scripts keep their meaning.
const (
	exitFatal  = 1
	exitConfig = 2 // a missing parameter
	exitFaults = 5 // any other finding
	exitNoFile = 6
	// what runs as root may be changed by others (keepalived: "security violation"); as in keepalived it hides other faults
	exitSecurity = 6
)

// settings is what the command line says.
type settings struct {
	file      string // -f; empty: a cluster member
	node      string // -i: config-id
	stateDir  string
	runDir    string
	pidFile   string
	namespace string // -s: instead of net_namespace
	worker    string // hidden: which worker this process is
	test      bool
	upgrade   bool
	dontFork  bool
	vrrpOnly  bool
	checkOnly bool
	detail    bool
	dump      bool
	facility  int // of syslog, local0 to local7; -1: standard error
	logFormat string
	logFile   string
}

func main() {
	cmd := command()
	if err := cmd.Execute(); err != nil {
		var exit *exitError
		if errors.As(err, &exit) {
			if exit.err != nil {
				fmt.Fprintln(os.Stderr, "clusterd:", exit.err)
			}
			os.Exit(exit.code)
		}
		fmt.Fprintln(os.Stderr, "clusterd:", err)
		os.Exit(exitFatal)
	}
}

// exitError ends the process with a status; a nil err was printed before.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d: %v", e.code, e.err) }
func (e *exitError) Unwrap() error { return e.err }

func command() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:           "clusterd",
		Short:         "LVS director: VRRP, health checks, IPVS, from one keepalived.conf for the whole cluster",
		Args:          cobra.NoArgs,
		Version:       buildinfo.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), &s) },
	}
	f := cmd.Flags()
	f.StringVarP(&s.file, "use-file", "f", "", "run standalone from this keepalived.conf")
	f.StringVarP(&s.namespace, "namespace", "s", "", "network namespace to run in, instead of what net_namespace says")
	f.StringVarP(&s.node, "config-id", "i", "", "what @ID lines compare with (default: node name, else host name up to the first dot)")
	f.BoolVarP(&s.dontFork, "dont-fork", "n", false, "stay in the foreground")
	f.BoolVarP(&s.test, "config-test", "t", false, "test the configuration and exit")
	f.BoolVarP(&s.vrrpOnly, "vrrp", "P", false, "run only VRRP")
	f.BoolVarP(&s.checkOnly, "check", "C", false, "run only health checks and IPVS")
	f.BoolVarP(&s.detail, "log-detail", "D", false, "log more")
	f.BoolVarP(&s.dump, "dump-conf", "d", false, "log what runs, with every value")
	f.IntVarP(&s.facility, "log-facility", "S", -1, "log to syslog with facility local0 .. local7 (0..7)")
	f.BoolP("log-console", "l", false, "log to the terminal (always so in the foreground)")
	f.StringVar(&s.logFormat, "log-format", "text", "text or json")
	f.StringVar(&s.logFile, "log-file", "", "where a forked clusterd logs (default RUN-DIR/clusterd.log)")
	f.StringVarP(&s.pidFile, "pid", "p", "", "pid file (default RUN-DIR/clusterd.pid)")
	f.StringVar(&s.stateDir, "state-dir", "/var/lib/quorate", "certificates, store, saved generations")
	f.StringVar(&s.runDir, "run-dir", "/run/quorate", "control socket, pid file")
	f.BoolVar(&s.upgrade, "upgrade", false, "let the running clusterd be replaced by this binary; addresses and services stay")
	f.StringVar(&s.worker, "worker", "", "")
	_ = f.MarkHidden("worker")
	return cmd
}

func run(ctx context.Context, s *settings) error {
	if s.vrrpOnly && s.checkOnly {
		return &exitError{exitFatal, errors.New("-P and -C exclude each other: each asks for one part only")}
	}
	log, err := s.logger()
	if err != nil {
		return err
	}
	if s.worker != "" {
		return workerStatus(runWorker(ctx, s, log))
	}
	if s.upgrade {
		return s.replaceRunning(ctx)
	}
	if s.file == "" && !s.isMember() {
		if _, err := os.Stat(defaultFile); err != nil {
			return &exitError{exitNoFile, fmt.Errorf("nothing to run: %s holds no cluster membership and there is no %s\n"+
				"  remedy: clusterctl init (first director), clusterctl join TOKEN (the others), or clusterd -f FILE (standalone)", s.stateDir, defaultFile)}
		}
		s.file = defaultFile
	}
	if s.test {
		return test(s)
	}
	upgraded := host.Upgraded()
	if s.file != "" && !upgraded {
		if err := s.readable(); err != nil {
			return err
		}
	}
	if !s.dontFork {
		return s.fork()
	}
	if err := os.MkdirAll(s.runDir, 0o755); err != nil {
		return &exitError{exitFatal, err}
	}
	release, err := s.writePID()
	if err != nil {
		return err
	}
	defer release()
	return watch(ctx, s, upgraded, log)
}

// defaultFile is where keepalived looks.
const defaultFile = "/etc/keepalived/keepalived.conf"

// isMember says whether clusterctl init or join was run for this state directory.
func (s *settings) isMember() bool {
	_, err := os.Stat(filepath.Join(s.stateDir, "node.json"))
	return err == nil
}

func (s *settings) readable() error {
	f, err := os.Open(s.file)
	if err != nil {
		return &exitError{exitNoFile, fmt.Errorf("%w\n  remedy: name the configuration with -f FILE", err)}
	}
	return f.Close()
}

func (s *settings) logger() (*slog.Logger, error) {
	level := slog.LevelInfo
	if s.detail {
		level = slog.LevelDebug
	}
	opt := &slog.HandlerOptions{Level: level}
	if s.facility < -1 || s.facility > 7 {
		return nil, &exitError{exitFatal, fmt.Errorf("-S %d: must be 0 to 7, for the facilities local0 to local7", s.facility)}
	}
	if s.facility >= 0 {
		ident := "Keepalived" // what filters of log lines look for
		switch s.worker {
		case "":
		case "checker":
			ident += "_healthcheckers"
		default:
			ident += "_" + s.worker
		}
		h, err := openSyslog(s.facility, ident, level)
		if err == nil {
			return slog.New(h), nil
		}
		fmt.Fprintf(os.Stderr, "clusterd: -S %d: %v; logging to standard error\n", s.facility, err)
	}
	switch s.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opt)), nil
	}
	return nil, &exitError{exitFatal, fmt.Errorf("--log-format %q: must be text or json", s.logFormat)}
}

// fork starts the same command in a session of its own and returns.
func (s *settings) fork() error {
	if err := os.MkdirAll(s.runDir, 0o755); err != nil {
		return &exitError{exitFatal, err}
	}
	if s.logFile == "" {
		s.logFile = filepath.Join(s.runDir, "clusterd.log")
	}
	out, err := os.OpenFile(s.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return &exitError{exitFatal, err}
	}
	defer out.Close()
	c := exec.Command("/proc/self/exe", append([]string{"-n"}, os.Args[1:]...)...)
	c.Args[0] = os.Args[0]
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return &exitError{exitFatal, err}
	}
	return c.Process.Release()
}

func (s *settings) pidPath() string {
	if s.pidFile != "" {
		return s.pidFile
	}
	return filepath.Join(s.runDir, "clusterd.pid")
}

// writePID takes the pid file's lock, so that a second clusterd on one run directory is refused and a stale file does not matter.
func (s *settings) writePID() (func(), error) {
	path := s.pidPath()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, &exitError{exitFatal, err}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		b, _ := os.ReadFile(path)
		f.Close()
		return nil, &exitError{exitFatal, fmt.Errorf("another clusterd runs already (pid %s, %s)", strings.TrimSpace(string(b)), path)}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, &exitError{exitFatal, fmt.Errorf("write %s: %w", path, err)}
	}
	return func() { _ = os.Remove(path); f.Close() }, nil
}

// watch runs the parent.
func watch(ctx context.Context, s *settings, upgraded bool, log *slog.Logger) error {
	args := os.Args[1:]
	cfg := host.WatchConfig{Standalone: s.file != "", Upgraded: upgraded, Logger: log}
	cfg.Binary, _ = os.Executable() // unknown: an upgrade is refused
	add := func(name string) { cfg.Workers = append(cfg.Workers, host.Worker{Name: name, Args: args}) }
	if !s.checkOnly {
		add("vrrp")
		cfg.Workers[0].StandIn = standIn
	}
	if !s.vrrpOnly {
		add("checker")
	}
	if s.file == "" {
		add("cluster")
		for _, w := range cfg.Workers[:len(cfg.Workers)-1] {
			cfg.Pairs = append(cfg.Pairs, [2]string{w.Name, "cluster"})
		}
	}
	if !upgraded {
		once(startupScript, args, log)
	}
	err := host.Watch(ctx, cfg)
	var exit *host.ExitError
	failed := errors.As(err, &exit)
	if failed {
		once(release, args, log)
	}
	once(shutdownScript, args, log)
	if failed {
		return &exitError{exit.Code, err}
	}
	return err
}

// What runs before the first worker and after the last one, see once.
const (
	startupScript  = "startup-script"
	shutdownScript = "shutdown-script"
	standIn        = "stand-in" // while the vrrp worker waits after a row of crashes
	release        = "release"  // when none can start
)

// once runs a process that ends by itself. The parent reads no configuration, so that none can make it fail.
func once(name string, args []string, log *slog.Logger) {
	runtime.LockOSThread() // its parent-death signal comes when the thread that started it ends
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", append([]string{"--worker=" + name}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Run(); err != nil {
		log.Warn("The process for scripts failed", "process", name, "error", err)
	}
}

// dumps passes on the signals that ask for keepalived's files.
func dumps(ctx context.Context) <-chan host.Dump {
	sigs, out := make(chan os.Signal, 3), make(chan host.Dump)
	signal.Notify(sigs, syscall.SIGUSR1, syscall.SIGUSR2, host.SignalJSON)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-sigs:
				k := map[os.Signal]host.Dump{syscall.SIGUSR1: host.DumpData, syscall.SIGUSR2: host.DumpStats, host.SignalJSON: host.DumpJSON}[s]
				select {
				case out <- k:
				case <-ctx.Done():
				}
			}
		}
	}()
	return out
}

// signals ends ctx at TERM or INT and passes HUP on. A second TERM must not end the process: systemd sends one to
// every process of the unit, and so does the parent, while the worker is still releasing its addresses. So the handlers
// stay for as long as the process lives.
func signals(ctx context.Context) (context.Context, <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	term := make(chan os.Signal, 4)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-term
		cancel()
	}()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	reload := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-hup:
				select {
				case reload <- struct{}{}:
				default: // one is waiting already
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, reload
}
