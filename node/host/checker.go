package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"quorate/checker/probe"
	"quorate/config"
	"quorate/ipvs"
	"quorate/ipvs/kernel"
	"quorate/node"
)

// CheckerConfig says what RunChecker drives; fields as in VRRPConfig.
type CheckerConfig struct {
	Node        string
	Load        func() (*config.Config, int64, error)
	Conn        *Conn
	Generations *Generations
	Logger      *slog.Logger
	Reload      <-chan struct{}
	Forced      bool

	// RunDir is where the worker notes which services it has put into the kernel, so that the next one removes those that
	// left the configuration in between; empty: it notes nothing.
	RunDir string

	// OpenIPVS opens the kernel's table; nil: kernel.Open.
	OpenIPVS func(*slog.Logger) (ipvs.Backend, error)
}

const (
	probeLimit = 1000            // probes at the same time; more wait their turn
	ipvsStop   = 3 * time.Second // for removing the services at the end
)

// RunChecker is the checker worker: it drives a node.Services on this host until ctx ends, then
// removes its services. It returns an error only if it cannot start.
func RunChecker(ctx context.Context, cfg CheckerConfig) error {
	m := node.NewServices()
	return runChecker(ctx, cfg, m, m.Status, m.Missing)
}

// services is the host side of the checker worker.
type services struct {
	*worker
	dir    string // CheckerConfig.RunDir
	table  *tableQueue
	probes chan struct{} // a place in it is the right to probe
}

func runChecker(ctx context.Context, cfg CheckerConfig, m machine, status func() []node.ServiceStatus, missing func() string) error {
	sealInherited()
	nameProcess("clusterd: checker")
	log, flush := newAsyncLog(cfg.Logger)
	defer flush()
	open := cfg.OpenIPVS
	if open == nil {
		open = kernel.Open
	}
	s := &services{dir: cfg.RunDir, probes: make(chan struct{}, probeLimit)}
	s.worker = &worker{
		reporter: reporter{log: log, node: cfg.Node, worker: "checker", conn: cfg.Conn},
		m:        m, load: cfg.Load, reload: cfg.Reload, gens: cfg.Generations, parse: parseAs(cfg.Node),
		inbox: make(chan any, inboxSize),
		do:    s.act, news: func(any) {}, forced: cfg.Forced,
		adopt: func(c *config.Config) { s.schedule(c.Global.CheckerSched) },
		status: func() ([]node.InstanceStatus, []node.ServiceStatus, []string) {
			var lacks []string
			if text := missing(); text != "" {
				lacks = []string{"IPVS: " + text}
			}
			return nil, status(), lacks
		},
		setUp: func(bg context.Context, wg *sync.WaitGroup) error {
			s.table = newTableQueue(log, open, func(ev node.Event) { s.post(ev) })
			return nil
		},
		stopped: func() {
			if !s.table.Close(ipvsStop) {
				log.Error("IPVS does not answer, services may be left behind", "waited", ipvsStop)
			}
		},
	}
	if cfg.RunDir != "" {
		left, err := recoverServices(cfg.RunDir)
		if err != nil {
			log.Warn("what the worker before this one put into the kernel is not known", "error", err)
		}
		m.Step(instant(), left)
	}
	return s.run(ctx)
}

func (s *services) act(a node.Action) {
	switch a := a.(type) {
	case node.RunProbe:
		go s.probe(a)
	case node.ReadTable:
		s.table.Put(nil)
	case node.ApplyOps:
		s.table.Put(a.Ops)
	case node.RememberServices:
		if s.dir == "" {
			return
		}
		// Without the note a next worker leaves in the kernel what left the configuration in between, and gives clients to
		// dead servers until their first check.
		if err := replaceJSON(servicesPath(s.dir), servicesFile{Boot: bootID(), Services: a.Keys, Down: a.Down}); err != nil {
			s.Trouble("memory of services", err)
		}
	default:
		s.Trouble(fmt.Sprintf("action %T", a), fmt.Errorf("the checker worker cannot carry out %T", a))
	}
}

// probe makes one attempt; its time-out begins when it does.
func (s *services) probe(a node.RunProbe) {
	select {
	case s.probes <- struct{}{}:
	case <-s.bg.Done():
		return
	}
	r := node.ProbeResult{ID: a.ID}
	switch a.Kind {
	case "TCP_CHECK":
		r.OK, r.Detail = probeTCP(s.bg, a.Target, a.Source, a.Timeout)
	default:
		r.Detail = "this version has no probe for " + a.Kind
	}
	<-s.probes
	s.post(r)
}

func probeTCP(ctx context.Context, target netip.AddrPort, source netip.Addr, timeout time.Duration) (bool, string) {
	return probe.TCP(ctx, target, source, timeout)
}

// tableQueue carries out what is asked of the kernel's IPVS table: one after the other, off the
// event loop, so that a slow kernel delays no probe result.
type tableQueue struct {
	log  *slog.Logger
	open func(*slog.Logger) (ipvs.Backend, error)
	out  func(node.Event)

	mu     sync.Mutex
	jobs   [][]ipvs.Op // nil: read
	closed bool
	kick   chan struct{}
	done   chan struct{}
	b      ipvs.Backend // of the working goroutine
}

func newTableQueue(log *slog.Logger, open func(*slog.Logger) (ipvs.Backend, error), out func(node.Event)) *tableQueue {
	q := &tableQueue{log: log, open: open, out: out, kick: make(chan struct{}, 1), done: make(chan struct{})}
	go q.work()
	return q
}

// Put queues changes, or with nil a reading of the table. It does not wait.
func (q *tableQueue) Put(ops []ipvs.Op) {
	q.mu.Lock()
	q.jobs = append(q.jobs, ops)
	q.mu.Unlock()
	q.wake()
}

func (q *tableQueue) wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// Close waits until everything queued is done, at most limit, and reports whether it is.
func (q *tableQueue) Close(limit time.Duration) bool {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-q.done:
		return true
	case <-t.C:
		return false
	}
}

func (q *tableQueue) work() {
	defer close(q.done)
	for {
		q.mu.Lock()
		var job []ipvs.Op
		some, closed := len(q.jobs) > 0, q.closed
		if some {
			job, q.jobs = q.jobs[0], q.jobs[1:]
		}
		q.mu.Unlock()
		switch {
		case some:
			ev := q.one(job)
			switch {
			case ev == nil:
			case !closed:
				q.out(ev)
			default:
				if f, bad := ev.(node.TableFailed); bad {
					q.log.Error("ipvs.error while stopping: " + f.Err)
				}
			}
		case closed:
			q.drop()
			return
		default:
			<-q.kick
		}
	}
}

// one does a job; nil means there is nothing to tell.
func (q *tableQueue) one(ops []ipvs.Op) node.Event {
	if q.b == nil {
		b, err := q.open(q.log)
		if err != nil {
			return node.TableFailed{Err: err.Error(), Missing: errors.Is(err, kernel.ErrMissing)}
		}
		q.b = b
	}
	if ops == nil {
		t, err := q.b.Table()
		if err != nil {
			return q.failed(err)
		}
		return node.TableRead{Table: t}
	}
	if err := q.b.Apply(ops); err != nil {
		return q.failed(err)
	}
	return nil
}

// failed closes the backend, unless the kernel only refused an operation, and opens it anew next time.
func (q *tableQueue) failed(err error) node.Event {
	var op *ipvs.OpError
	if !errors.As(err, &op) {
		q.drop()
	}
	return node.TableFailed{Err: err.Error(), Missing: errors.Is(err, kernel.ErrMissing)}
}

func (q *tableQueue) drop() {
	if q.b != nil {
		if err := q.b.Close(); err != nil {
			q.log.Debug("close IPVS", "error", err)
		}
		q.b = nil
	}
}
