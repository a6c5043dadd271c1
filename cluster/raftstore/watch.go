package raftstore

import (
	"context"
	"sync"

	"quorate/cluster"
)

// watcher reads the machine's history at its own pace; it holds no events of its own, so a slow one costs nothing
// and learns with ErrCompacted that it was too slow.
type watcher struct {
	s      *Store
	prefix string

	mu   sync.Mutex // one Next at a time
	next int64

	once   sync.Once
	closed chan struct{}
}

// Watch delivers changes from revision rev on; rev 0 or less means those after what this member has applied now.
// It shows what this member has applied and goes on without a quorum, when there is nothing to show.
func (s *Store) Watch(prefix string, rev int64) cluster.Watcher {
	if rev <= 0 {
		s.mu.RLock()
		rev = s.rep.KV().Rev() + 1
		s.mu.RUnlock()
	}
	return &watcher{s: s, prefix: prefix, next: rev, closed: make(chan struct{})}
}

func (w *watcher) Next(ctx context.Context) ([]cluster.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		select {
		case <-w.closed:
			return nil, cluster.ErrClosed
		default:
		}
		w.s.mu.RLock()
		evs, next, err := w.s.rep.KV().Since(w.prefix, w.next)
		changed := w.s.changed
		w.s.mu.RUnlock()
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
		case <-w.s.done:
			return nil, w.s.stopped()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (w *watcher) Close() { w.once.Do(func() { close(w.closed) }) }
