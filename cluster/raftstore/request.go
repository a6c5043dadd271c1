package raftstore

import (
	"context"
	"errors"
	"time"

	"quorate/cluster"
	"quorate/cluster/replica"
)

// outcome is what a waiter gets.
type outcome struct {
	res cluster.TxnResult
	err error
}

// waiter is who waits for a request.
type waiter struct {
	ctx context.Context
	ch  chan outcome // buffered: whoever takes the waiter out of the map sends once
}

var errGaveUp = errors.New("request time-out")

// submit hands a request to the replica and waits for its answer.
func (s *Store) submit(ctx context.Context, limit time.Duration, request func(cluster.RequestID, func() bool) replica.Event) (cluster.TxnResult, error) {
	if s.lost.Load() && !s.electing() {
		return cluster.TxnResult{}, s.noQuorum()
	}
	id, w := s.ids.next(), &waiter{ctx: ctx, ch: make(chan outcome, 1)}
	s.waitMu.Lock()
	s.waiters[id] = w
	s.waitMu.Unlock()
	defer s.take(id)

	timer, stop := bound(limit)
	defer stop()
	select {
	case s.work <- request(id, func() bool { return ctx.Err() == nil && s.waiting(id) }):
	case <-s.done:
		return cluster.TxnResult{}, s.stopped()
	case <-ctx.Done():
		return cluster.TxnResult{}, s.timeoutError(ctx.Err())
	case <-timer:
		return cluster.TxnResult{}, s.timeoutError(errGaveUp)
	}
	select {
	case o := <-w.ch:
		return o.res, o.err
	case <-s.done:
		select {
		case o := <-w.ch: // applied before the end
			return o.res, o.err
		default:
			return cluster.TxnResult{}, s.stopped()
		}
	case <-ctx.Done():
		return cluster.TxnResult{}, s.timeoutError(ctx.Err())
	case <-timer:
		return cluster.TxnResult{}, s.timeoutError(errGaveUp)
	}
}

// take removes and returns the waiter; nil if it gave up or another member's.
func (s *Store) take(id cluster.RequestID) *waiter {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	w := s.waiters[id]
	delete(s.waiters, id)
	return w
}

// waiting reports whether somebody still waits for the request.
func (s *Store) waiting(id cluster.RequestID) bool {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	return s.waiters[id] != nil
}

// failWaiters ends every request: the store has stopped.
func (s *Store) failWaiters(err error) {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	for id, w := range s.waiters {
		delete(s.waiters, id)
		w.ch <- outcome{err: err}
	}
}

// readBarrier returns once this member has applied everything that was acknowledged anywhere before the call.
func (s *Store) readBarrier(ctx context.Context) error {
	_, err := s.submit(ctx, s.cfg.RequestTimeout, func(id cluster.RequestID, live func() bool) replica.Event {
		return replica.Read{ID: id, Live: live}
	})
	return err
}
