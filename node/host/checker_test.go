package host

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quorate/config"
	"quorate/ipvs"
	"quorate/ipvs/ipvstest"
	"quorate/ipvs/kernel"
	"quorate/node"
)

// slowTable is a kernel's table that can be made slow, missing or broken.
type slowTable struct {
	mu    sync.Mutex
	m     *ipvstest.Memory
	pause time.Duration
	opens []error // what the next openings answer
	fail  error   // what Apply answers
}

func (s *slowTable) open(*slog.Logger) (ipvs.Backend, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.opens) > 0 {
		err := s.opens[0]
		s.opens = s.opens[1:]
		return nil, err
	}
	return s, nil
}

func (s *slowTable) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *slowTable) Table() (ipvs.Table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Table()
}

func (s *slowTable) Apply(ops []ipvs.Op) error {
	s.mu.Lock()
	pause, fail := s.pause, s.fail
	s.mu.Unlock()
	time.Sleep(pause)
	if fail != nil {
		return fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Apply(ops)
}

func (s *slowTable) Name() string { return "slow" }
func (s *slowTable) Close() error { return nil }

// text is the table, a line per service and destination.
func (s *slowTable) text() string {
	t, err := s.Table()
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range t {
		fmt.Fprintf(&b, "%s:%d", e.Service.Addr, e.Service.Port)
		for _, d := range e.Destinations {
			fmt.Fprintf(&b, " %s/%d", d.Addr, d.Weight)
		}
		b.WriteString("\n")
	}
	return b.String()
}

const checkerConf = `virtual_server 10.0.0.100 80 {
    delay_loop 1
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 127.0.0.1 %[1]d {
        weight 3
        TCP_CHECK {
            connect_timeout 1
            retry 0
            delay_loop 0.1
        }
    }
    real_server 127.0.0.2 %[1]d {
        weight 4
        TCP_CHECK {
            connect_timeout 1
            retry 0
            delay_loop 0.1
        }
    }
}
`

func runTestChecker(t *testing.T, table *slowTable, text string) (p *peer, stop func()) {
	t.Helper()
	return runTestCheckerIn(t, "", table, text)
}

func runTestCheckerIn(t *testing.T, dir string, table *slowTable, text string) (p *peer, stop func()) {
	t.Helper()
	mine, theirs := pair(t)
	p = &peer{t: t, c: theirs, log: &logBuffer{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- RunChecker(ctx, CheckerConfig{Node: "lb1", RunDir: dir, Conn: mine, Logger: p.log.logger(), OpenIPVS: table.open,
			Load: func() (*config.Config, int64, error) {
				c, err := parseAs("lb1")(confGeneration(1, text))
				return c, 1, err
			}})
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("%v\n%s", err, p.log)
			}
		})
	}
	t.Cleanup(stop)
	return p, stop
}

// server listens on 127.0.0.1 and 127.0.0.2, same port.
func server(t *testing.T) (first, second net.Listener, port int) {
	t.Helper()
	for range 20 {
		a, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		port = a.Addr().(*net.TCPAddr).Port
		if b, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", port)); err == nil {
			t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
			return a, b, port
		}
		_ = a.Close()
	}
	t.Fatal("no port is free on two addresses")
	return nil, nil, 0
}

func TestChecker(t *testing.T) {
	_, second, port := server(t)
	foreign := ipvs.Entry{Service: ipvs.Service{Key: ipvs.Key{Protocol: ipvs.TCP, Addr: netip.MustParseAddr("10.0.0.9"), Port: 9}, Scheduler: "rr"}}
	table := &slowTable{m: ipvstest.New(ipvs.Table{foreign})}
	p, stop := runTestChecker(t, table, fmt.Sprintf(checkerConf, port))
	expect := func(want string) {
		t.Helper()
		eventually(t, 15*time.Second, func() bool { return table.text() == want }, func() string { return table.text() + "want\n" + want + p.log.String() })
	}
	expect("10.0.0.9:9\n10.0.0.100:80 127.0.0.1/3 127.0.0.2/4\n")
	p.applied(1, "")
	must(t, second.Close())
	p.wait("check.down", func(m Message, _ *Status) bool {
		return m.Kind == KindEntry && m.Entry.Event == "check.down" && strings.Contains(m.Entry.Detail, "connection refused")
	})
	expect("10.0.0.9:9\n10.0.0.100:80 127.0.0.1/3\n")
	p.wait("a status that says so", func(_ Message, s *Status) bool {
		return s != nil && len(s.Services) == 1 && s.Services[0].Servers[0].Up && !s.Services[0].Servers[1].Up && !s.Services[0].Servers[1].Since.IsZero()
	})

	// While the kernel takes its time, verdicts go on.
	table.set(func() { table.pause = time.Second })
	again, err := net.Listen("tcp", second.Addr().String())
	must(t, err)
	defer func() { _ = again.Close() }()
	p.wait("check.up", func(m Message, _ *Status) bool { return m.Kind == KindEntry && m.Entry.Event == "check.up" })
	if got := table.text(); strings.Contains(got, "127.0.0.2") {
		t.Errorf("the slow kernel was not slow: %s", got)
	}
	expect("10.0.0.9:9\n10.0.0.100:80 127.0.0.1/3 127.0.0.2/4\n")

	table.set(func() { table.pause = 200 * time.Millisecond })
	stop() // waits for the removal, and leaves others' services alone
	if got := table.text(); got != "10.0.0.9:9\n" {
		t.Errorf("after stopping:\n%s%s", got, p.log)
	}
}

// What a killed worker put into the kernel and the configuration no longer has is removed by the next one.
func TestCheckerRemovesLeftServices(t *testing.T) {
	_, _, port := server(t)
	entry := func(addr string) ipvs.Entry {
		return ipvs.Entry{Service: ipvs.Service{Key: ipvs.Key{Protocol: ipvs.TCP, Addr: netip.MustParseAddr(addr), Port: 80}, Scheduler: "rr"}}
	}
	for _, tt := range []struct{ name, file, want string }{
		{"remembered", fmt.Sprintf(`{"boot":%q,"services":[{"Protocol":6,"Addr":"10.0.0.8","Port":80}]}`, bootID()), "10.0.0.9:80\n10.0.0.100:80 127.0.0.1/3 127.0.0.2/4\n"},
		{"of another boot", `{"boot":"x","services":[{"Protocol":6,"Addr":"10.0.0.8","Port":80}]}`, "10.0.0.8:80\n10.0.0.9:80\n10.0.0.100:80 127.0.0.1/3 127.0.0.2/4\n"},
		{"torn", `{"boot":`, "10.0.0.8:80\n10.0.0.9:80\n10.0.0.100:80 127.0.0.1/3 127.0.0.2/4\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(servicesPath(dir), []byte(tt.file), 0o600))
			table := &slowTable{m: ipvstest.New(ipvs.Table{entry("10.0.0.8"), entry("10.0.0.9")})}
			p, stop := runTestCheckerIn(t, dir, table, fmt.Sprintf(checkerConf, port))
			eventually(t, 15*time.Second, func() bool { return table.text() == tt.want }, func() string { return table.text() + "want\n" + tt.want + p.log.String() })
			left, err := recoverServices(dir)
			if err != nil || !slices.ContainsFunc(left.Keys, func(k ipvs.Key) bool { return k.Addr.String() == "10.0.0.100" }) {
				t.Errorf("noted for the next worker: %v, %v", left, err)
			}
			stop()
			if left, err := recoverServices(dir); err != nil || len(left.Keys) > 0 {
				t.Errorf("noted after an orderly end: %v, %v", left, err)
			}
		})
	}
}

// A server that failed its check under the worker that was killed gets no clients from the next one, not even until its
// first check.
func TestCheckerKeepsDeadServersOut(t *testing.T) {
	_, second, port := server(t)
	dir := t.TempDir()
	table := &slowTable{m: ipvstest.New(nil)}
	_, kill := runTestCheckerIn(t, dir, table, fmt.Sprintf(checkerConf, port))
	must(t, second.Close())
	const without = "10.0.0.100:80 127.0.0.1/3\n"
	eventually(t, 15*time.Second, func() bool { return table.text() == without }, table.text)
	note, err := os.ReadFile(servicesPath(dir))
	must(t, err)
	kill()
	must(t, os.WriteFile(servicesPath(dir), note, 0o600)) // as SIGKILL would have left it
	next := &slowTable{m: ipvstest.New(nil)}
	p, _ := runTestCheckerIn(t, dir, next, fmt.Sprintf(checkerConf, port))
	eventually(t, 15*time.Second, func() bool { return next.text() != "" }, next.text)
	if got := next.text(); got != without {
		t.Errorf("the first table of the next worker:\n%s%s", got, p.log)
	}
	again, err := net.Listen("tcp", second.Addr().String())
	must(t, err)
	defer func() { _ = again.Close() }()
	eventually(t, 15*time.Second, func() bool { return strings.Contains(next.text(), "127.0.0.2/4") }, next.text)
}

func TestCheckerWithoutIPVS(t *testing.T) {
	_, _, port := server(t)
	table := &slowTable{m: ipvstest.New(nil), opens: []error{kernel.ErrMissing}}
	p, _ := runTestChecker(t, table, fmt.Sprintf(checkerConf, port))
	p.wait("ipvs.missing", func(m Message, _ *Status) bool {
		return m.Kind == KindEntry && m.Entry.Event == "ipvs.missing" && m.Entry.Warn
	})
	p.wait("status", func(_ Message, s *Status) bool {
		return s != nil && len(s.Missing) == 1 && strings.Contains(s.Missing[0], "modprobe ip_vs")
	})
}

// The queue keeps order, reopens what broke, and does not reopen what only refused.
func TestTableQueue(t *testing.T) {
	table := &slowTable{m: ipvstest.New(nil), opens: []error{kernel.ErrMissing}}
	events := make(chan node.Event, 10)
	q := newTableQueue(slog.New(slog.DiscardHandler), table.open, func(ev node.Event) { events <- ev })
	svc := func(port uint16) []ipvs.Op {
		return []ipvs.Op{{Kind: ipvs.AddService, Service: ipvs.Service{Key: ipvs.Key{Protocol: ipvs.TCP, Addr: netip.MustParseAddr("10.0.0.1"), Port: port}, Scheduler: "rr"}}}
	}
	q.Put(nil)
	if ev, ok := (<-events).(node.TableFailed); !ok || !ev.Missing {
		t.Errorf("missing: %+v", ev)
	}
	for port := uint16(1); port <= 20; port++ {
		q.Put(svc(port))
		q.Put(nil)
		if ev, ok := (<-events).(node.TableRead); !ok || len(ev.Table) != int(port) {
			t.Fatalf("after %d: %+v", port, ev)
		}
	}
	table.set(func() { table.fail = syscall.EPIPE; table.opens = []error{syscall.EMFILE} })
	q.Put(svc(99))
	q.Put(nil)
	for _, want := range []string{"broken pipe", "too many open files"} {
		if ev, ok := (<-events).(node.TableFailed); !ok || ev.Missing || !strings.Contains(ev.Err, want) {
			t.Errorf("%s: %+v", want, ev)
		}
	}
	table.set(func() {
		table.fail = &ipvs.OpError{Op: svc(99)[0], Err: syscall.ENOENT}
		table.opens = []error{syscall.EMFILE}
	})
	q.Put(nil) // the failed opening is forgotten …
	if ev, ok := (<-events).(node.TableFailed); !ok {
		t.Errorf("%+v", ev)
	}
	q.Put(nil) // … this one works
	if ev, ok := (<-events).(node.TableRead); !ok {
		t.Errorf("%+v", ev)
	}
	table.set(func() { table.opens = []error{syscall.EMFILE} })
	q.Put(svc(99))
	q.Put(nil)
	if ev, ok := (<-events).(node.TableFailed); !ok || ev.Missing {
		t.Errorf("%+v", ev)
	}
	if ev, ok := (<-events).(node.TableRead); !ok {
		t.Errorf("a refused operation closed the backend: %+v", ev)
	}
	table.set(func() { table.fail, table.pause = nil, 300*time.Millisecond })
	q.Put(svc(100))
	if q.Close(10 * time.Millisecond) {
		t.Error("closed before it was done")
	}
	if !q.Close(10*time.Second) || !strings.Contains(table.text(), "10.0.0.1:100") {
		t.Error("what was queued is not done")
	}
}
