package raftstore

import (
	"errors"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"quorate/cluster/replica"
)

// maxBatch bounds how many inputs one pass of the loop takes, so that a flood of proposals cannot delay a heartbeat.
const maxBatch = 512

func (s *Store) run() {
	defer close(s.looped)
	timer := time.NewTimer(s.cfg.Tick)
	defer timer.Stop()
	for {
		err := s.pass(timer)
		if err == nil {
			continue
		}
		if errors.Is(err, errStop) {
			err = nil
		}
		s.publish()
		s.finish(err)
		if err != nil {
			// The others must see at once that this member is gone and stop waiting for it.
			s.tr.close()
		}
		return
	}
}

var errStop = errors.New("stop")

// pass waits for one input, takes what else is there, and does everything that follows from it.
func (s *Store) pass(timer *time.Timer) error {
	stopc := s.stopc
	if s.closing {
		stopc = nil
	}
	select {
	case <-stopc:
		if s.abrupt.Load() {
			return errStop
		}
		s.closing = true
		s.step(replica.Close{})
	case <-timer.C:
		s.step(replica.Tick{})
		at, _ := s.rep.Deadline()
		timer.Reset(max(at-time.Since(s.began), 0))
		s.lost.Store(s.rep.Lost())
		if s.rep.Lost() && !s.electing() {
			s.step(replica.GiveUp{Err: s.noQuorum()})
		}
	case m := <-s.recv:
		s.receive(m)
	case ev := <-s.work:
		s.step(ev)
	case r := <-s.reports:
		if err := s.report(r); err != nil {
			return err
		}
	}
	for range maxBatch {
		select {
		case m := <-s.recv:
			s.receive(m)
			continue
		case ev := <-s.work:
			s.step(ev)
			continue
		case r := <-s.reports:
			if err := s.report(r); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	if err := s.rest(); err != nil {
		return err
	}
	s.publish()
	return nil
}

func (s *Store) step(ev replica.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rep.Step(time.Since(s.began), ev)
}

func (s *Store) receive(m *raftpb.Message) {
	if s.cfg.Filter(m) {
		s.step(replica.Received{Message: m})
	}
}

func (s *Store) report(r report) error {
	switch {
	case r.removed != "":
		return errors.New(r.removed)
	case r.snap:
		s.step(replica.SnapshotSent{ID: r.id, Failed: r.failure})
	case r.failure:
		s.step(replica.Unreachable{ID: r.id})
	}
	return nil
}

// rest carries out the replica's actions until there are none.
func (s *Store) rest() error {
	for {
		s.mu.Lock()
		acts := s.rep.Ready()
		s.mu.Unlock()
		if len(acts) == 0 {
			return nil
		}
		for _, a := range acts {
			if err := s.act(a); err != nil {
				return err
			}
		}
	}
}

func (s *Store) act(a replica.Action) error {
	switch a := a.(type) {
	case replica.Save:
		if a.Snapshot != nil {
			if err := s.disk.SaveSnapshot(a.Snapshot); err != nil {
				return &diskError{err}
			}
		}
		if a.HardState != nil || len(a.Entries) > 0 {
			if err := s.disk.Append(a.HardState, a.Entries); err != nil {
				return &diskError{err}
			}
		}
		s.step(replica.Saved{})
	case replica.Send:
		s.send(a.Message)
	case replica.Answer:
		if w := s.take(a.ID); w != nil {
			w.ch <- outcome{res: a.Result, err: a.Err}
		}
	case replica.Applied:
		s.mu.Lock()
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	case replica.Peers:
		for _, m := range a.Members {
			if m.ID != s.cfg.Self.ID {
				s.tr.setPeer(m.ID, m.Address)
			}
		}
		for _, id := range a.Gone {
			if id != s.cfg.Self.ID {
				s.tr.removePeer(id)
			}
		}
	case replica.Compact:
		if err := s.disk.Compact(); err != nil {
			// Superfluous files do no harm but take space; the next snapshot tries again.
			s.log.Warn("cannot remove old log files", "error", err)
		}
	case replica.Report:
		s.logged(a)
	case replica.Stop:
		if a.Err != nil {
			return a.Err
		}
		return errStop
	}
	return nil
}

// diskError marks an error of the disk, whose text is for the operator.
type diskError struct{ err error }

func (e *diskError) Error() string { return diskReason(e.err) }
func (e *diskError) Unwrap() error { return e.err }

func (s *Store) send(m *raftpb.Message) {
	isSnap := m.GetType() == raftpb.MsgSnap
	sent := false
	if s.cfg.Filter(m) {
		b, err := proto.Marshal(m)
		if err != nil {
			s.log.Error("cannot marshal a message", "type", m.GetType().String(), "error", err)
		} else {
			sent = s.tr.send(m.GetTo(), sending{data: b, snap: isSnap})
		}
	}
	if isSnap && !sent {
		s.step(replica.SnapshotSent{ID: m.GetTo(), Failed: true})
	}
}

// publish makes Status current.
func (s *Store) publish() {
	st := s.rep.Status()
	s.status.Store(&st)
}
