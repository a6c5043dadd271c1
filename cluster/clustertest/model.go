package clustertest

import (
	"context"
	"fmt"
	"sync"

	"quorate/cluster"
)

// Model is a cluster.Store of one member without disk or network. Tests of what uses a store take it in
// place of a real one; SetFault makes it behave like one in trouble.
type Model struct {
	self cluster.Member

	mu      sync.Mutex
	m       *cluster.Machine
	changed chan struct{}
	fault   error
}

var _ cluster.Store = (*Model)(nil)

// NewModel returns an empty store whose only member is self.
func NewModel(self cluster.Member) *Model {
	return &Model{self: self, m: cluster.NewMachine(), changed: make(chan struct{})}
}

// SetFault makes Get, Range and Txn fail with err until it is set to nil. LocalRange and Watch go on, as they do
// in a store without quorum.
func (s *Model) SetFault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

// check is called with mu held.
func (s *Model) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w (%w)", cluster.ErrTimeout, err)
	}
	return s.fault
}

// Get implements cluster.Store.
func (s *Model) Get(ctx context.Context, key string) (cluster.KV, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx); err != nil {
		return cluster.KV{}, err
	}
	kv, ok := s.m.Get(key)
	if !ok {
		return cluster.KV{}, fmt.Errorf("get %s: %w", key, cluster.ErrNotFound)
	}
	return kv, nil
}

// Range implements cluster.Store.
func (s *Model) Range(ctx context.Context, prefix string) ([]cluster.KV, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx); err != nil {
		return nil, 0, err
	}
	return s.m.Range(prefix), s.m.Rev(), nil
}

// LocalRange implements cluster.Store.
func (s *Model) LocalRange(prefix string) ([]cluster.KV, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Range(prefix), s.m.Rev()
}

// Txn implements cluster.Store.
func (s *Model) Txn(ctx context.Context, t cluster.Txn) (cluster.TxnResult, error) {
	if err := t.Check(); err != nil {
		return cluster.TxnResult{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(ctx); err != nil {
		return cluster.TxnResult{}, err
	}
	rev := s.m.Rev()
	res := s.m.Apply(t)
	if res.Rev != rev {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	return res, nil
}

// Status implements cluster.Store.
func (s *Model) Status() cluster.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := cluster.Status{Self: s.self, Members: []cluster.Member{s.self}, Term: 1, HasQuorum: s.fault == nil, Rev: s.m.Rev()}
	st.Commit, st.Applied = uint64(st.Rev), uint64(st.Rev)
	if st.HasQuorum {
		st.Leader = s.self.ID
	}
	return st
}

// Watch implements cluster.Store.
func (s *Model) Watch(prefix string, rev int64) cluster.Watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev <= 0 {
		rev = s.m.Rev() + 1
	}
	return &modelWatcher{s: s, prefix: prefix, next: rev, closed: make(chan struct{})}
}

type modelWatcher struct {
	s      *Model
	prefix string
	mu     sync.Mutex
	next   int64
	once   sync.Once
	closed chan struct{}
}

func (w *modelWatcher) Next(ctx context.Context) ([]cluster.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		select {
		case <-w.closed:
			return nil, cluster.ErrClosed
		default:
		}
		w.s.mu.Lock()
		evs, next, err := w.s.m.Since(w.prefix, w.next)
		changed := w.s.changed
		w.s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		w.next = next
		if evs != nil {
			return evs, nil
		}
		select {
		case <-changed:
		case <-w.closed:
			return nil, cluster.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *modelWatcher) Close() { w.once.Do(func() { close(w.closed) }) }
