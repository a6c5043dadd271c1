package raftstore

import (
	"errors"
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
)

// proposeHeld hands waiting proposals to raft. Without a leader, or with too much uncommitted, they stay.
func (s *Store) proposeHeld() {
	ls := &s.loop
	for len(ls.held) > 0 {
		w := ls.held[0]
		if w.ctx.Err() == nil && s.waiting(w.id) {
			if !s.leaderAlive() {
				return
			}
			w.term = ls.rn.BasicStatus().HardState.GetTerm()
			var err error
			if w.conf != nil {
				err = ls.rn.ProposeConfChange(w.conf.change(w.id))
			} else {
				err = ls.rn.Propose(w.data)
			}
			if errors.Is(err, raft.ErrProposalDropped) {
				return
			}
			if err != nil {
				if w := s.take(w.id); w != nil {
					w.ch <- outcome{err: err}
				}
			}
		}
		ls.held[0] = nil
		ls.held = ls.held[1:]
	}
	ls.held = nil
}

// askReads sends one ReadIndex for all reads that wait. Reads that come while it is on its way wait for the next one:
// its answer may be older than they are.
func (s *Store) askReads() {
	ls := &s.loop
	if !s.leaderAlive() {
		return
	}
	if ls.asked.readers != nil {
		if ls.ticks-ls.asked.at < uint64(s.cfg.ElectionTicks)/2 {
			return
		}
		// The request or its answer was lost, or the leader changed: ask again with a new id.
		ls.reads = append(ls.asked.readers, ls.reads...)
		ls.asked = readBatch{}
	}
	live := ls.reads[:0]
	for _, r := range ls.reads {
		if r.ctx.Err() == nil {
			live = append(live, r)
		}
	}
	ls.reads = nil
	if len(live) == 0 {
		return
	}
	ls.asked = readBatch{id: s.ids.next(), readers: live, at: ls.ticks}
	ls.rn.ReadIndex(ls.asked.id[:])
}

// install replaces the state by the leader's snapshot.
func (s *Store) install(snap *raftpb.Snapshot) error {
	ls := &s.loop
	m := cluster.NewMachineHistory(s.cfg.History)
	r, err := decodeState(snap.GetData(), m)
	if err != nil {
		return fmt.Errorf("snapshot at index %d from the leader: %w", snap.GetMetadata().GetIndex(), err)
	}
	if err := s.disk.SaveSnapshot(snap); err != nil {
		return &diskError{err}
	}
	if err := ls.storage.ApplySnapshot(snap); err != nil {
		return err
	}
	ls.applied = snap.GetMetadata().GetIndex()
	ls.snapIndex = ls.applied
	ls.conf = snap.GetMetadata().GetConfState()
	s.mu.Lock()
	s.machine = m
	s.fresh = false
	s.mu.Unlock()
	s.setRoster(r)
	s.wakeWatchers()
	// Whether it contains what was proposed here cannot be seen in it.
	s.failOlder(math.MaxUint64, "this member was brought up to date by a snapshot")
	s.log.Info("installed a snapshot of the leader", "index", ls.applied, "rev", m.Rev())
	return nil
}

func (s *Store) wakeWatchers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// apply executes committed entries.
func (s *Store) apply(ents []*raftpb.Entry) error {
	ls := &s.loop
	rev := s.machine.Rev()
	for _, e := range ents {
		if e.GetIndex() <= ls.applied {
			continue
		}
		switch e.GetType() {
		case raftpb.EntryNormal:
			if len(e.GetData()) > 0 { // a new leader's first entry is empty
				c, err := cluster.DecodeCommand(e.GetData())
				if err != nil {
					return fmt.Errorf("log entry %d: %w", e.GetIndex(), err)
				}
				s.mu.Lock()
				res := s.machine.Apply(c.Txn)
				s.mu.Unlock()
				if w := s.take(c.ID); w != nil {
					w.ch <- outcome{res: res}
				}
			}
		case raftpb.EntryConfChange, raftpb.EntryConfChangeV2:
			if err := s.applyConfChange(e); err != nil {
				return fmt.Errorf("log entry %d: %w", e.GetIndex(), err)
			}
		}
		ls.applied = e.GetIndex()
		ls.logBytes += len(e.GetData())
		if e.GetTerm() > ls.termSeen {
			ls.termSeen = e.GetTerm()
			s.failOlder(ls.termSeen, "the leader changed")
		}
	}
	if s.machine.Rev() != rev {
		s.wakeWatchers()
	}
	return nil
}

// serveReads answers the granted reads whose index is applied.
func (s *Store) serveReads() {
	ls := &s.loop
	later := ls.granted[:0]
	for _, b := range ls.granted {
		if b.index > ls.applied {
			later = append(later, b)
			continue
		}
		for _, r := range b.readers {
			r.ch <- nil
		}
	}
	ls.granted = later
}
