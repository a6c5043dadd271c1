package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"net/netip"
	"quorate/api"
	"quorate/node"
	"quorate/node/host"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"clusterctl": func() { os.Exit(realMain()) }})
}

// TestScripts runs clusterctl as an operator would, against cluster workers with the real raft store on loopback.
//
//	start d1          run the cluster worker of $WORK/d1 (made by init or join); its socket is $WORK/d1.run/ctl.sock
//	stop d1           end it
//	await d1 TEXT     until "clusterctl status" of d1 contains TEXT, at most 20 s
//	refuse d1 TEXT    d1's checker refuses every generation with TEXT from now on; without TEXT it obeys again
//
// ADDR1 … ADDR4 are free addresses on loopback.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": cmdStart, "stop": cmdStop, "await": cmdWait, "refuse": cmdRefuse,
		},
	})
}

type key struct{}

// addresses counts the addresses given out to scripts.
var addresses atomic.Uint32

// lab is the running cluster workers of one script.
type lab struct {
	mu      sync.Mutex
	running map[string]*director
}

type director struct {
	cancel  context.CancelFunc
	done    chan error
	checker *worker
}

func setup(e *testscript.Env) error {
	l := &lab{running: map[string]*director{}}
	e.Values[key{}] = l
	for i := 1; i <= 4; i++ {
		// IP addresses of their own: a port of 127.0.0.1 found free may be taken before it is listened on.
		pid := os.Getpid()
		e.Setenv(fmt.Sprint("ADDR", i), fmt.Sprintf("127.%d.%d.%d:8470", 1+pid%250, pid/250%250, 1+addresses.Add(1)%250))
	}
	e.Setenv("USER", "alice")
	e.Setenv("QUORATE_SOCKET", filepath.Join(e.WorkDir, "d1.run", "ctl.sock"))
	e.Defer(func() {
		for _, d := range l.running {
			d.cancel()
			<-d.done
		}
	})
	return nil
}

func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	l := ts.Value(key{}).(*lab)
	name := args[0]
	ctx, cancel := context.WithCancel(context.Background())
	d := &director{cancel: cancel, done: make(chan error, 1), checker: newWorker("checker")}
	vrrp := newWorker("vrrp")
	for i := 1; i <= 4; i++ {
		if strings.HasSuffix(name, fmt.Sprint(i)) {
			vrrp.instance(name, 120-10*i)
		}
	}
	run := ts.MkAbs(name + ".run")
	cfg := api.Config{StateDir: ts.MkAbs(name), RunDir: run, Version: "test", VRRP: vrrp, Checker: d.checker,
		Interfaces: func(string) (map[string][]netip.Prefix, error) {
			return map[string][]netip.Prefix{"eth0": nil, "lo": nil}, nil
		}}
	go func() { d.done <- api.Run(ctx, cfg) }()
	l.mu.Lock()
	l.running[name] = d
	l.mu.Unlock()
	cl := api.NewClient(filepath.Join(run, "ctl.sock"))
	defer cl.Close()
	poll(ts, name+" is up", func() (bool, string) {
		n, err := cl.Node(ctx)
		if err != nil {
			return false, err.Error()
		}
		return n.StoreError == "", n.StoreError
	})
}

func cmdStop(ts *testscript.TestScript, _ bool, args []string) {
	l := ts.Value(key{}).(*lab)
	d := l.running[args[0]]
	d.cancel()
	ts.Check(<-d.done)
	delete(l.running, args[0])
}

func cmdWait(ts *testscript.TestScript, _ bool, args []string) {
	cl := api.NewClient(filepath.Join(ts.MkAbs(args[0]+".run"), "ctl.sock"))
	defer cl.Close()
	poll(ts, args[0]+" shows "+args[1], func() (bool, string) {
		st, err := cl.Status(context.Background())
		if err != nil {
			return false, err.Error()
		}
		var b strings.Builder
		showStatus(&b, st, view{})
		return strings.Contains(b.String(), args[1]), b.String()
	})
}

func poll(ts *testscript.TestScript, what string, f func() (bool, string)) {
	var last string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ok, got := f()
		if ok {
			return
		}
		last = got
	}
	ts.Fatalf("%s: not within 20 s; last seen:\n%s", what, last)
}

func cmdRefuse(ts *testscript.TestScript, _ bool, args []string) {
	w := ts.Value(key{}).(*lab).running[args[0]].checker
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = strings.Join(args[1:], " ")
}

// worker stands for the vrrp or checker worker: it runs what it is told, at once, and says so once a second.
type worker struct {
	name string
	out  chan host.Message

	mu     sync.Mutex
	gen    int64
	refuse string
	insts  []node.InstanceStatus
}

func newWorker(name string) *worker { return &worker{name: name, out: make(chan host.Message, 100)} }

// instance makes d1 the owner of a VIP and all others its backups.
func (w *worker) instance(director string, priority int) {
	state := "BACKUP"
	if director == "d1" {
		state = "MASTER"
	}
	w.insts = []node.InstanceStatus{{Name: "VI_1", Interface: "eth0", VRID: 51, State: state, Priority: priority, Base: priority,
		VIPs: []string{"10.0.0.100/32"}, Reason: "startup", Since: time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)}}
}

func (w *worker) Send(m host.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Kind != host.KindApply {
		return nil
	}
	if w.refuse != "" {
		w.out <- host.Message{Kind: host.KindApplied, Worker: w.name, Generation: m.Generation, Error: w.refuse}
		return nil
	}
	w.gen = m.Generation
	w.out <- host.Message{Kind: host.KindApplied, Worker: w.name, Generation: m.Generation}
	return nil
}

func (w *worker) Recv(ctx context.Context) (host.Message, error) {
	select {
	case <-ctx.Done():
		return host.Message{}, ctx.Err()
	case m := <-w.out:
		return m, nil
	case <-time.After(300 * time.Millisecond):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	insts := w.insts
	if w.gen == 0 {
		insts = nil
	}
	return host.SplitStatus(host.Message{Worker: w.name, PID: 42, Generation: w.gen}, insts, nil, nil)[0], nil
}
