package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"quorate/cluster"
	"quorate/config"
	"quorate/node"
)

// machine is what a worker drives: node.Elector or node.Services.
type machine interface {
	Step(now time.Duration, ev node.Event)
	Ready() []node.Action
	Deadline() (time.Duration, bool)
}

const (
	statusEvery    = 5 * time.Second
	statusCoalesce = 50 * time.Millisecond
	housekeeping   = time.Second
	drainLimit     = 256 // inputs taken before a late Tick
	inboxSize      = 512
)

// worker is what both workers have in common: one goroutine owns the machine, takes inputs from
// channels, and carries out actions in order. Nothing in it waits for a disk, a script, a peer or a log.
type worker struct {
	reporter
	m       machine
	load    func() (*config.Config, int64, error)
	reload  <-chan struct{}
	gens    *Generations
	parse   func(cluster.Generation) (*config.Config, error)
	inbox   chan any             // node.Event or a worker's own news
	do      func(a node.Action)  // carries out one action
	after   func()               // after every step of the machine and its actions; may be nil
	news    func(v any)          // takes what is in inbox and no node.Event
	every   func()               // housekeeping, every second
	fetch   func()               // before a deadline is served: takes in what has arrived; may be nil
	adopt   func(*config.Config) // before the machine sees a new configuration
	refuse  func(old, next *config.Config) error
	census  func() []node.HeardRouter // of the vrrp worker
	status  func() ([]node.InstanceStatus, []node.ServiceStatus, []string)
	setUp   func(bg context.Context, wg *sync.WaitGroup) error // before the first action
	stopped func()                                             // after the machine's last actions

	bg        context.Context // ends when the last action is carried out
	ended     chan struct{}   // closed when nothing takes from inbox any more
	current   *config.Config
	namespace string // net_namespace of the configuration this worker was started with
	// ipvsNamespace is net_namespace_ipvs of that.
	ipvsNamespace config.Value[string]
	forced        bool // -s was given, and counts whatever the configuration says
	generation    int64
	owed          *Message // a KindApplied that did not fit into the queue
	dirty         bool     // status changed
	alarm         *alarm   // of the machine's deadline
	late          time.Time
	lateness      lateness
	lateAfter     time.Duration // instead of the constant
	sched         scheduling
	rtWatched     bool // SIGXCPU is listened for
	statuses      chan []func() []Message
	loader        loader
}

// post puts something into the inbox; it gives up when the worker ends.
func (w *worker) post(v any) {
	select {
	case w.inbox <- v:
	case <-w.ended:
	}
}

// run owns the machine until ctx ends.
func (w *worker) run(ctx context.Context) error {
	// What serves the machine lives until its last action is carried out, beyond ctx.
	bg, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.bg, w.ended = bg, make(chan struct{})
	var err error
	if w.alarm, err = newAlarm(); err != nil {
		cancel()
		return err
	}
	defer w.alarm.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if w.setUp != nil {
		if err := w.setUp(bg, &wg); err != nil {
			return err
		}
	}
	w.statuses = make(chan []func() []Message, 1)
	w.loader = loader{w: w, kick: make(chan struct{}, 1), out: make(chan loaded)}
	if w.conn != nil {
		w.conn.Drain()
		if err := w.conn.Send(Message{Kind: KindHello, Worker: w.worker, PID: os.Getpid()}); err != nil {
			w.log.Warn("the cluster worker does not listen", "error", err)
		}
		wg.Go(func() { w.listen(bg) })
		wg.Go(func() { w.sendStatuses(bg) })
	}
	go w.loader.run(bg) // not waited for: it may hang on a disk

	if err := w.begin(); err != nil {
		close(w.ended)
		return err
	}
	if err := NotifyReady(); err != nil {
		w.log.Warn("the watchdog cannot be told that this worker is ready", "error", err)
	}
	w.loop(ctx)
	close(w.ended)
	w.step(node.Shutdown{})
	if w.stopped != nil {
		w.stopped()
	}
	if w.conn != nil {
		_ = w.conn.SendStatus(w.snapshot()()) // a last word; nobody may be there to hear it
	}
	return nil
}

// begin runs the configuration this director has. In a cluster a director without one, or with one
// it cannot read, waits for the next generation; standalone it cannot work.
func (w *worker) begin() error {
	cfg, gen, err := w.load()
	if cfg != nil {
		w.namespace, w.ipvsNamespace = cfg.Global.NetNamespace.V, cfg.Global.NetNamespaceIPVS
		if err != nil {
			w.Report(node.Entry{Event: "config.failed", Detail: err.Error(), Warn: true})
		}
		w.configure(cfg, gen)
		return nil
	}
	if err == nil {
		err = errors.New("no configuration")
	}
	if w.conn == nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if errors.Is(err, ErrNone) {
		w.log.Info("no generation on this director yet, waiting for the first")
	} else {
		w.failed(0, err)
	}
	w.use(node.Configure{Config: &config.Config{}, None: true})
	return nil
}

func (w *worker) configure(cfg *config.Config, gen int64) {
	w.use(node.Configure{Config: cfg, Generation: gen})
}

func (w *worker) use(c node.Configure) {
	cfg, gen := c.Config, c.Generation
	if w.adopt != nil {
		w.adopt(cfg)
	}
	w.current, w.generation = cfg, gen
	w.step(c)
	w.dirty = true
	if gen > 0 {
		w.applied(Message{Generation: gen})
	}
}

func (w *worker) failed(gen int64, err error) {
	w.Report(node.Entry{Event: "config.failed", Detail: err.Error(), Warn: true})
	w.applied(Message{Generation: gen, Error: err.Error()})
}

// applied answers an apply; an answer that does not fit is sent again.
func (w *worker) applied(m Message) {
	if w.conn == nil {
		return
	}
	m.Kind, m.Worker, m.PID = KindApplied, w.worker, os.Getpid()
	if len(m.Error) > 8<<10 {
		m.Error = m.Error[:8<<10] + " …"
	}
	w.owed = &m
	w.settle()
}

func (w *worker) settle() {
	if w.owed != nil && !errors.Is(w.conn.Send(*w.owed), ErrFull) {
		w.owed = nil
	}
}

// step gives the machine one input and carries out what follows.
func (w *worker) step(ev node.Event) {
	w.m.Step(instant(), ev)
	w.carryOut()
}

// carryOut does what the machine wants done.
func (w *worker) carryOut() {
	for _, a := range w.m.Ready() {
		if r, ok := a.(node.Report); ok {
			w.Report(r.Entry)
			w.dirty = true // whatever is worth a report is worth a status
			continue
		}
		w.do(a)
	}
	if w.after != nil {
		w.after()
	}
}

func (w *worker) input(v any) {
	switch v := v.(type) {
	case node.Event:
		w.step(v)
	case overran:
		w.yield()
	case staged:
		w.step(v.event())
	case helloed:
		w.dirty = true
		if w.generation > 0 {
			w.applied(Message{Generation: w.generation})
		}
	default:
		w.news(v)
	}
}

func (w *worker) loop(ctx context.Context) {
	house := time.NewTicker(housekeeping)
	defer house.Stop()
	var soon <-chan time.Time
	statusDue := time.Now()
	for ctx.Err() == nil { // before whatever else is ready
		if at, ok := w.m.Deadline(); ok {
			w.alarm.Set(at)
		}
		if w.dirty && soon == nil {
			soon = time.After(statusCoalesce)
		}
		select {
		case <-ctx.Done():
			return
		case v := <-w.inbox:
			w.input(v)
		case <-w.alarm.C:
			if at, ok := w.m.Deadline(); ok && w.alarm.Rang() {
				w.tick(at)
			}
		case l := <-w.loader.out:
			w.take(l)
		case <-w.reload:
			w.loader.ask(request{})
		case <-house.C:
			if w.conn != nil {
				w.settle()
			}
			if w.every != nil {
				w.every()
			}
			if time.Since(statusDue) >= statusEvery {
				w.dirty = true
			}
		case <-soon:
			soon, w.dirty = nil, false
			statusDue = time.Now()
			w.sendStatus()
		}
	}
}

// tick serves a deadline. When it is late, what has arrived meanwhile is looked at first: a
// process that was not scheduled must not conclude from its own sleep that the others were silent.
func (w *worker) tick(at time.Duration) {
	late := instant() - at
	if w.fetch != nil {
		w.fetch()
	}
	w.lateness.note(at+late, late)
	if late > 5*time.Millisecond {
		for range drainLimit {
			select {
			case v := <-w.inbox:
				w.input(v)
				continue
			default:
			}
			break
		}
	}
	if late > cmp.Or(w.lateAfter, lateAfter) && time.Since(w.late) > time.Second {
		w.late = time.Now()
		w.log.Warn(fmt.Sprintf("A thread timer expired %.3f seconds ago", late.Seconds()), "late", late)
	}
	w.step(node.Tick{})
}

// take runs a configuration that was read in the background, or says why not; the old one then goes on.
func (w *worker) take(l loaded) {
	if l.err == nil && l.cfg != nil {
		l.err = w.refuseNamespace(l.cfg)
	}
	if l.err == nil && l.cfg != nil && w.refuse != nil {
		l.err = w.refuse(w.current, l.cfg)
	}
	switch {
	case l.cfg == nil || l.err != nil && !l.usable:
		w.failed(l.gen, l.err)
		return
	case l.err != nil:
		w.Report(node.Entry{Event: "config.failed", Detail: l.err.Error(), Warn: true})
	}
	w.configure(l.cfg, l.gen)
}

// snapshot takes the status now; the costly rest is left to the returned function.
func (w *worker) snapshot() func() []Message {
	instances, services, missing := w.status()
	missing = slices.Concat(missing, w.Troubles())
	for i := range instances {
		instances[i].Since = wall(instances[i].ChangedAt)
	}
	for i := range services {
		for j := range services[i].Servers {
			sv := &services[i].Servers[j]
			sv.Since = wall(sv.ChangedAt)
		}
	}
	var heard []node.HeardRouter
	if w.census != nil {
		heard = w.census()
		for i := range heard {
			heard[i].First, heard[i].Last = wall(heard[i].FirstAt), wall(heard[i].LastAt)
		}
	}
	head := Message{Worker: w.worker, PID: os.Getpid(), Generation: w.generation, Late: w.lateness.max(instant())}
	return func() []Message { return SplitStatus(head, instances, services, missing, heard...) }
}

func (w *worker) sendStatus() {
	if w.conn == nil {
		return
	}
	f := []func() []Message{w.snapshot()}
	select {
	case w.statuses <- f:
	default:
		w.dirty = true // the sender is busy: again in a moment
	}
}

func (w *worker) sendStatuses(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-w.statuses:
			_ = w.conn.SendStatus(f[0]()) // dropped and counted when nobody reads; repeated in 5 s
		}
	}
}

// listen takes what the cluster worker says.
func (w *worker) listen(ctx context.Context) {
	for {
		m, err := w.conn.Recv(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			// The watchdog holds the other end for as long as it lives, and it ends us when it dies.
			w.log.Warn("the connection to the cluster worker is gone, going on without", "error", err)
			return
		case m.Kind == KindApply:
			w.loader.ask(request{apply: true, gen: m.Generation})
		case m.Kind == KindStage && w.gens != nil:
			w.stage(m.Generation)
		case m.Kind == KindHello:
			w.post(helloed{})
		}
	}
}

// helloed: the cluster worker has started anew and knows nothing of us.
type helloed struct{}
