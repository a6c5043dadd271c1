package host

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be its own worker: the watchdog re-executes /proc/self/exe
// with --worker=NAME, then the words of Worker.Args.
func TestMain(m *testing.M) {
	for i, a := range os.Args[1:] {
		if name, ok := strings.CutPrefix(a, "--worker="); ok {
			os.Exit(testWorker(name, os.Args[i+2:]))
		}
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8") // tests in namespaces of their own mostly wait
	}
	os.Exit(m.Run())
}

func testWorker(name string, args []string) int {
	if name == "stand-in" { // crashy CONFIG RUNDIR FILE
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := RunStandIn(ctx, args[2], slog.New(slog.NewTextHandler(os.Stdout, nil))); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	}
	switch args[0] {
	case "crashing": // crashing ADDRESS CONFIG RUNDIR FILE: a director and its watchdog; while FILE exists each vrrp worker panics
		if err := awaitEth0(args[1], true); err != nil {
			fmt.Println(err)
			return 1
		}
		err := Watch(context.Background(), WatchConfig{Standalone: true, Settled: 3 * time.Second, Logger: slog.New(slog.NewTextHandler(os.Stdout, nil)),
			Workers: []Worker{{Name: "vrrp", Args: append([]string{"crashy"}, args[2:]...), StandIn: "stand-in"}}})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	case "crashy": // crashy CONFIG RUNDIR FILE
		if _, err := os.Stat(args[3]); err == nil {
			panic("the file is there")
		}
		return vrrpProcess(args[1], args[2])
	case "exit": // exit CODE
		var code int
		_, _ = fmt.Sscan(args[1], &code)
		return code
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "deaf": // does not stop when told to
		signal.Ignore(syscall.SIGTERM)
		appendLine(args[1], fmt.Sprint("deaf ", os.Getpid()))
		_ = NotifyReady()
		time.Sleep(time.Hour) // an empty select would be a deadlock to the runtime
	case "steady": // steady FILE: notes what happens to it
		sigs := make(chan os.Signal, 4)
		signal.Notify(sigs, syscall.SIGTERM, syscall.SIGHUP)
		appendLine(args[1], fmt.Sprint("start ", os.Getpid()))
		_ = NotifyReady()
		for s := range sigs {
			appendLine(args[1], s.String())
			if s == syscall.SIGTERM {
				return 0
			}
		}
	case "watchdog": // watchdog FILE: the real thing, with its signals
		if err := Watch(context.Background(), WatchConfig{Workers: []Worker{{Name: "vrrp", Args: []string{"steady", args[1]}}}}); err != nil {
			return 1
		}
		return 0
	case "exec": // exec ADDRESS PROGRAM...: see interop_test.go
		return execProcess(args[1], args[2:])
	case "director": // director ADDRESS CONFIG [RUNDIR]: see directors_test.go
		return directorProcess(args[1], args[2], args[3:]...)
	case "echo": // echo PEER: says hello, answers each message with its own pid, crashes when told to
		c, err := InheritedConn(args[1])
		if err != nil || c == nil {
			return 70
		}
		c.Drain()
		_ = c.Send(Message{Kind: KindHello, Worker: name, PID: os.Getpid()})
		for {
			m, err := c.Recv(context.Background())
			if err != nil {
				return 71
			}
			if m.Error == "crash" {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			_ = c.Send(Message{Kind: KindApplied, Worker: name, PID: os.Getpid(), Generation: m.Generation})
		}
	case "drive": // drive PEER FILE: talks to an echo worker, makes it crash, notes what it hears
		c, err := InheritedConn(args[1])
		if err != nil || c == nil {
			return 70
		}
		go func() {
			_ = c.Send(Message{Kind: KindApply, Generation: 1})
			time.Sleep(50 * time.Millisecond)
			_ = c.Send(Message{Kind: KindApply, Error: "crash"})
		}()
		hellos := 0
		for {
			m, err := c.Recv(context.Background())
			if err != nil {
				return 71
			}
			appendLine(args[2], fmt.Sprint(m.Kind, " ", m.Generation))
			if m.Kind == KindHello {
				if hellos++; hellos == 2 {
					_ = c.Send(Message{Kind: KindApply, Generation: 2})
				}
			}
		}
	}
	return 64
}

func appendLine(path, line string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintln(f, line)
	_ = f.Close()
}

// eventually waits until ok holds; what is asked for the message only when it does not.
func eventually(t *testing.T, limit time.Duration, ok func() bool, what func() string) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what())
		}
	}
}

func readAll(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}
