package raftstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
	"quorate/cluster/replica"
)

// Store is one member of a replicated store. All exported methods may be called from several goroutines.
type Store struct {
	cfg  Config
	log  *slog.Logger
	disk Disk
	tr   *transport
	ids  idSource

	// The loop works with the replica under mu; others read what it has applied.
	mu      sync.RWMutex
	rep     *replica.Replica
	changed chan struct{} // closed and replaced when the revision has grown

	waitMu  sync.Mutex
	waiters map[cluster.RequestID]*waiter

	status atomic.Pointer[cluster.Status]
	lost   atomic.Bool // no leader for NoQuorumAfter

	work    chan replica.Event   // requests
	recv    chan *raftpb.Message // from the network
	reports chan report
	stopc   chan struct{} // closed by Close
	done    chan struct{} // closed when nothing more will be applied
	looped  chan struct{} // closed when the loop has returned

	failMu  sync.Mutex
	failure error // why done is closed, nil: by Close

	abrupt    atomic.Bool // Close does not hand over the lead: a test's crash
	closeOnce sync.Once
	closeErr  error

	// The loop's.
	began   time.Time // of the replica's time
	closing bool
}

var _ cluster.Store = (*Store)(nil)

// Open starts the member whose store Bootstrap or InitMember has created. When it returns, everything that this
// member knows to be committed is applied, so that LocalRange serves without a quorum.
func Open(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		cfg: cfg, log: cfg.Logger, disk: cfg.Disk,
		changed: make(chan struct{}),
		waiters: make(map[cluster.RequestID]*waiter),
		work:    make(chan replica.Event, 1024),
		recv:    make(chan *raftpb.Message, recvQueue),
		reports: make(chan report, 256),
		stopc:   make(chan struct{}),
		done:    make(chan struct{}),
		looped:  make(chan struct{}),
	}
	s.tr = newTransport(s, cfg.Dial, s.log)
	prefix, err := randomUint64()
	if err == nil {
		s.ids.prefix = prefix
		err = s.load()
	}
	if err != nil {
		s.tr.close()
		return nil, errors.Join(fmt.Errorf("open store: %w", err), cfg.Disk.Close())
	}
	go s.run()
	return s, nil
}

// load reads the disk and brings raft and the machine to where they were.
func (s *Store) load() error {
	l, err := s.disk.Load()
	if err != nil {
		return err
	}
	if l.CutBytes > 0 {
		s.log.Warn("cut an incomplete record off the end of the log: it was being written at the last crash and nobody was told it was stored",
			"file", l.CutFile, "bytes", l.CutBytes)
	}
	if l.Self.ID != 0 && l.Self.ID != s.cfg.Self.ID {
		return fmt.Errorf("%s is the store of member %d (%s), not of %d (%s)", s.cfg.Dir, l.Self.ID, l.Self.Name, s.cfg.Self.ID, s.cfg.Self.Name)
	}
	s.began = time.Now()
	s.rep, err = replica.New(0, replica.Config{
		Self: s.cfg.Self, Start: s.ids.prefix, Tick: s.cfg.Tick, ElectionTicks: s.cfg.ElectionTicks, Jitter: rand.IntN, NoQuorumAfter: s.cfg.NoQuorumAfter,
		SnapshotEvery: s.cfg.SnapshotEvery, SnapshotBytes: s.cfg.SnapshotBytes, KeepEntries: s.cfg.KeepEntries, History: s.cfg.History,
		Verbose: s.log.Enabled(context.Background(), slog.LevelDebug),
	}, replica.State{Snapshot: l.Snapshot, HardState: l.HardState, Entries: l.Entries})
	if err != nil {
		return err
	}
	// Not before the replica knows whether it is fresh, which is said in the hello.
	for _, m := range s.cfg.Seeds {
		if m.ID != 0 && m.ID != s.cfg.Self.ID {
			s.tr.setPeer(m.ID, m.Address)
		}
	}
	if err := s.rest(); err != nil {
		return err
	}
	if err := s.rep.Campaign(); err != nil {
		return err
	}
	s.publish()
	return nil
}

// HandleConn serves a connection of another member that the cluster listener has accepted and authenticated.
// It blocks until the connection ends and closes it.
func (s *Store) HandleConn(conn net.Conn) { s.tr.handle(conn) }

// Get is linearizable: it asks the leader, who asks a majority, how far this member must have applied.
func (s *Store) Get(ctx context.Context, key string) (cluster.KV, error) {
	if err := s.readBarrier(ctx); err != nil {
		return cluster.KV{}, fmt.Errorf("get %s: %w", key, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	kv, ok := s.rep.KV().Get(key)
	if !ok {
		return cluster.KV{}, fmt.Errorf("get %s: %w", key, cluster.ErrNotFound)
	}
	return kv, nil
}

// Range is linearizable, see Get.
func (s *Store) Range(ctx context.Context, prefix string) ([]cluster.KV, int64, error) {
	if err := s.readBarrier(ctx); err != nil {
		return nil, 0, fmt.Errorf("range %s: %w", prefix, err)
	}
	kvs, rev := s.LocalRange(prefix)
	return kvs, rev, nil
}

// LocalRange works also when the store has failed or is closed.
func (s *Store) LocalRange(prefix string) ([]cluster.KV, int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rep.KV().Range(prefix), s.rep.KV().Rev()
}

// Txn returns nil only after the transaction is on the disks of a majority and applied here.
func (s *Store) Txn(ctx context.Context, t cluster.Txn) (cluster.TxnResult, error) {
	if err := t.Check(); err != nil {
		return cluster.TxnResult{}, err
	}
	return s.submit(ctx, s.cfg.RequestTimeout, func(id cluster.RequestID, live func() bool) replica.Event {
		return replica.Propose{ID: id, Data: cluster.Command{ID: id, Txn: t}.Encode(), Live: live}
	})
}

// Status never blocks.
func (s *Store) Status() cluster.Status {
	st := *s.status.Load()
	s.failMu.Lock()
	defer s.failMu.Unlock()
	if s.failure != nil {
		st.Failed = s.failure.Error()
		st.HasQuorum, st.Leader = false, 0
	}
	return st
}

// Close stops the member; if it leads, another takes over first. What was acknowledged is on disk anyway.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.stopc)
		<-s.looped
		s.tr.close()
		s.closeErr = s.disk.Close()
	})
	return s.closeErr
}

// finish ends the store's work, because of err or, if that is nil, by Close.
func (s *Store) finish(err error) {
	s.failMu.Lock()
	s.failure = err
	s.failMu.Unlock()
	if err != nil {
		s.log.Error("store has failed: nothing more is accepted until it is opened again", "error", err)
	}
	close(s.done)
	s.failWaiters(s.stopped())
}

// stopped is the error of every request after done is closed.
func (s *Store) stopped() error {
	s.failMu.Lock()
	defer s.failMu.Unlock()
	if s.failure != nil {
		return fmt.Errorf("%w: %w", cluster.ErrFailed, s.failure)
	}
	return cluster.ErrClosed
}

// electing says that there is no leader but nothing stands in the way of one: a majority sees each other. A request that
// comes now waits for its time-out rather than fail at once.
func (s *Store) electing() bool {
	voters, reached := 0, 0
	for _, m := range s.Status().Members {
		if m.Learner {
			continue
		}
		voters++
		if m.ID == s.cfg.Self.ID {
			reached++
		} else if ok, _ := s.tr.reachable(m.ID); ok {
			reached++
		}
	}
	return reached > voters/2
}

// noQuorum explains what is missing, from what this member sees of the others.
func (s *Store) noQuorum() error {
	st := s.Status()
	var missing []string
	voters, reached := 0, 1
	for _, m := range st.Members {
		if m.Learner {
			continue
		}
		voters++
		if m.ID == s.cfg.Self.ID {
			continue
		}
		if ok, why := s.tr.reachable(m.ID); ok {
			reached++
		} else {
			if why == "" {
				why = "not connected"
			}
			missing = append(missing, fmt.Sprintf("%s at %s: %s", m.Name, m.Address, why))
		}
	}
	switch {
	case voters == 0:
		return fmt.Errorf("%w: this member has not been added to a cluster yet", cluster.ErrNoQuorum)
	case len(missing) == 0:
		return fmt.Errorf("%w: no leader among %d members that see each other", cluster.ErrNoQuorum, voters)
	}
	return fmt.Errorf("%w: %d of %d members reachable, %d needed (%s)", cluster.ErrNoQuorum, reached, voters, voters/2+1, strings.Join(missing, "; "))
}

// idSource makes request ids: random per start, counted within.
type idSource struct {
	prefix uint64
	n      atomic.Uint64
}

func (i *idSource) next() (id cluster.RequestID) {
	n := i.n.Add(1)
	for k := range 8 {
		id[k] = byte(i.prefix >> (56 - 8*k))
		id[8+k] = byte(n >> (56 - 8*k))
	}
	return id
}

// timeoutError is what a request gets that was given up: no quorum if that is the reason, else the outcome is open.
func (s *Store) timeoutError(cause error) error {
	if !s.Status().HasQuorum {
		return fmt.Errorf("%w (%w)", s.noQuorum(), cause)
	}
	return fmt.Errorf("%w (%w)", cluster.ErrTimeout, cause)
}

// bound returns a timer channel for the time a request may take.
func bound(d time.Duration) (<-chan time.Time, func() bool) {
	t := time.NewTimer(min(d, math.MaxInt64))
	return t.C, t.Stop
}
