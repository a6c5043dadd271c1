package raftstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"quorate/cluster"
)

// outcome is what a waiter gets.
type outcome struct {
	res cluster.TxnResult
	err error
}

// waiter is a proposal on its way and who waits for it.
type waiter struct {
	id   cluster.RequestID
	data []byte // an encoded command, or
	conf *confRequest
	term uint64 // in which it was handed to raft, 0: not yet; the loop's
	ctx  context.Context
	ch   chan outcome // buffered: whoever takes the waiter out of the map sends once
}

// reader waits until this member has applied what was committed when it asked.
type reader struct {
	ctx context.Context
	ch  chan error
}

var errGaveUp = errors.New("request time-out")

// submit proposes and waits.
func (s *Store) submit(w *waiter, limit time.Duration) (cluster.TxnResult, error) {
	if s.lost.Load() && !s.electing() {
		return cluster.TxnResult{}, s.noQuorum()
	}
	s.waitMu.Lock()
	s.waiters[w.id] = w
	s.waitMu.Unlock()
	defer s.take(w.id)

	timer, stop := bound(limit)
	defer stop()
	select {
	case s.work <- w:
	case <-s.done:
		return cluster.TxnResult{}, s.stopped()
	case <-w.ctx.Done():
		return cluster.TxnResult{}, s.timeoutError(w.ctx.Err())
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
	case <-w.ctx.Done():
		return cluster.TxnResult{}, s.timeoutError(w.ctx.Err())
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

// waiting reports whether somebody still waits for the proposal.
func (s *Store) waiting(id cluster.RequestID) bool {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	return s.waiters[id] != nil
}

func (s *Store) failWaiters(err error) {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	for id, w := range s.waiters {
		delete(s.waiters, id)
		w.ch <- outcome{err: err}
	}
}

// failOlder gives up what was handed to leaders before the one of this term, of which an entry has just been applied:
// all that it took over from them precedes that entry. Only a proposal still on its way from one to
// the other could come later, which is why the outcome is called unknown.
func (s *Store) failOlder(term uint64, why string) {
	s.waitMu.Lock()
	defer s.waitMu.Unlock()
	for id, w := range s.waiters {
		if w.term != 0 && w.term < term {
			delete(s.waiters, id)
			w.ch <- outcome{err: fmt.Errorf("%w: %s", cluster.ErrTimeout, why)}
		}
	}
}

// readBarrier returns once this member has applied everything that was acknowledged anywhere before the call.
func (s *Store) readBarrier(ctx context.Context) error {
	if s.lost.Load() && !s.electing() {
		return s.noQuorum()
	}
	r := &reader{ctx: ctx, ch: make(chan error, 1)}
	timer, stop := bound(s.cfg.RequestTimeout)
	defer stop()
	select {
	case s.work <- r:
	case <-s.done:
		return s.stopped()
	case <-ctx.Done():
		return s.timeoutError(ctx.Err())
	case <-timer:
		return s.timeoutError(errGaveUp)
	}
	select {
	case err := <-r.ch:
		return err
	case <-s.done:
		return s.stopped()
	case <-ctx.Done():
		return s.timeoutError(ctx.Err())
	case <-timer:
		return s.timeoutError(errGaveUp)
	}
}
