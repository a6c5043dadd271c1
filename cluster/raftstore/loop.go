package raftstore

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"quorate/cluster"
)

// loopState is owned by the goroutine of run (and by Open before it).
type loopState struct {
	rn      *raft.RawNode
	storage *logStorage
	conf    *raftpb.ConfState

	applied, snapIndex uint64
	termSeen           uint64 // highest term of an applied entry

	ticks      uint64 // since Open
	heardAt    uint64 // tick of the last message from the leader
	noLeaderAt uint64 // tick since which there has been none; 0: there is one
	leader     uint64

	held    []*waiter // to be proposed once there is a leader
	reads   []*reader // not asked for yet
	asked   readBatch // on its way to the leader
	granted []readBatch

	snapFailed []uint64 // peers whose snapshot could not be queued
	leaving    uint64   // tick at which this removed member stops; 0: it is none
}

// readBatch is a set of reads that share one ReadIndex request.
type readBatch struct {
	id      cluster.RequestID
	readers []*reader
	at      uint64 // tick of the request
	index   uint64 // once granted: serve when this is applied
}

// maxBatch bounds how many inputs one pass of the loop takes, so that a flood of proposals cannot delay a heartbeat.
const maxBatch = 512

func (s *Store) run() {
	defer close(s.looped)
	ticker := time.NewTicker(s.cfg.Tick)
	defer ticker.Stop()
	for {
		err := s.pass(ticker.C)
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
func (s *Store) pass(tick <-chan time.Time) (err error) {
	defer s.recovered(&err)
	select {
	case <-s.stopc:
		return errStop
	case <-tick:
		err = s.tick()
	case m := <-s.recv:
		s.step(m)
	case w := <-s.work:
		s.take1(w)
	case r := <-s.reports:
		err = s.report(r)
	}
	for n := 0; n < maxBatch && err == nil; n++ {
		select {
		case m := <-s.recv:
			s.step(m)
			continue
		case w := <-s.work:
			s.take1(w)
			continue
		case r := <-s.reports:
			err = s.report(r)
			continue
		default:
		}
		break
	}
	if err != nil {
		return err
	}
	s.proposeHeld()
	s.askReads()
	if err := s.processReady(); err != nil {
		return err
	}
	if err := s.snapshotIfDue(); err != nil {
		return err
	}
	s.publish()
	return nil
}

// take1 files one request.
func (s *Store) take1(req any) {
	switch r := req.(type) {
	case *waiter:
		s.loop.held = append(s.loop.held, r)
	case *reader:
		s.loop.reads = append(s.loop.reads, r)
	}
}

func (s *Store) step(m *raftpb.Message) {
	ls := &s.loop
	if !s.cfg.Filter(m) {
		return
	}
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		ls.heardAt = ls.ticks
	}
	if err := ls.rn.Step(m); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
		s.log.Debug("raft refused a message", "from", m.GetFrom(), "type", m.GetType().String(), "error", err)
	}
}

func (s *Store) report(r report) error {
	switch {
	case r.removed != "":
		return errors.New(r.removed)
	case r.snap && r.failure:
		s.loop.rn.ReportSnapshot(r.id, raft.SnapshotFailure)
	case r.snap:
		s.loop.rn.ReportSnapshot(r.id, raft.SnapshotFinish)
	case r.failure:
		s.loop.rn.ReportUnreachable(r.id)
	}
	return nil
}

// hasQuorum is Status.HasQuorum. CheckQuorum makes a leader step down that lost its majority; a follower
// must look itself, because a learner never doubts its leader.
func (s *Store) hasQuorum() bool {
	ls := &s.loop
	return ls.leader != 0 && (ls.leader == s.cfg.Self.ID || ls.ticks-ls.heardAt <= uint64(2*s.cfg.ElectionTicks))
}

// leaderAlive is stricter: what is handed to a leader that has missed a few heartbeats is probably lost and its fate
// unknown, so it is better kept until there is a sign of life or another leader.
func (s *Store) leaderAlive() bool {
	ls := &s.loop
	return ls.leader != 0 && (ls.leader == s.cfg.Self.ID || ls.ticks-ls.heardAt <= 3)
}

func (s *Store) tick() error {
	ls := &s.loop
	ls.ticks++
	ls.rn.Tick()
	if ls.leaving != 0 && ls.ticks >= ls.leaving {
		return errRemoved
	}
	if s.hasQuorum() {
		ls.noLeaderAt = 0
		s.lost.Store(false)
	} else {
		if ls.noLeaderAt == 0 {
			ls.noLeaderAt = ls.ticks
		}
		if time.Duration(ls.ticks-ls.noLeaderAt)*s.cfg.Tick >= s.cfg.NoQuorumAfter {
			s.lost.Store(true)
			s.giveUp()
		}
	}
	s.maintainMembers()
	return nil
}

// giveUp fails every request: there has been no leader for too long.
func (s *Store) giveUp() {
	ls := &s.loop
	err := s.noQuorum()
	s.failWaiters(err)
	ls.held = nil
	for _, rs := range [][]*reader{ls.reads, ls.asked.readers} {
		for _, r := range rs {
			r.ch <- err
		}
	}
	ls.reads, ls.asked = nil, readBatch{}
}

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

// processReady does what raft wants done, in the order that makes it safe: stable storage first, then messages,
// then the machine.
func (s *Store) processReady() error {
	ls := &s.loop
	for ls.rn.HasReady() {
		rd := ls.rn.Ready()
		if rd.SoftState != nil && rd.SoftState.Lead != ls.leader {
			s.leaderChanged(rd.SoftState.Lead)
		}
		if !raft.IsEmptySnap(rd.Snapshot) {
			if err := s.install(rd.Snapshot); err != nil {
				return err
			}
		}
		if !raft.IsEmptyHardState(rd.HardState) || len(rd.Entries) > 0 {
			if err := s.disk.Append(rd.HardState, rd.Entries); err != nil {
				return &diskError{err}
			}
			if s.fresh {
				s.mu.Lock()
				s.fresh = false
				s.mu.Unlock()
			}
		}
		if !raft.IsEmptyHardState(rd.HardState) {
			if err := ls.storage.SetHardState(rd.HardState); err != nil {
				return err
			}
		}
		if err := ls.storage.Append(rd.Entries); err != nil {
			return err
		}
		for _, m := range rd.Messages {
			s.send(m)
		}
		if err := s.apply(rd.CommittedEntries); err != nil {
			return err
		}
		for _, rs := range rd.ReadStates {
			if string(rs.RequestCtx) == string(ls.asked.id[:]) {
				ls.asked.index = rs.Index
				ls.granted = append(ls.granted, ls.asked)
				ls.asked = readBatch{}
			}
		}
		s.serveReads()
		ls.rn.Advance(rd)
		for _, id := range ls.snapFailed {
			ls.rn.ReportSnapshot(id, raft.SnapshotFailure)
		}
		ls.snapFailed = nil
		// What waited for a leader or for its answer goes out in the same round.
		s.proposeHeld()
		s.askReads()
	}
	return nil
}

// diskError marks an error of the disk, whose text is for the operator.
type diskError struct{ err error }

func (e *diskError) Error() string { return diskReason(e.err) }
func (e *diskError) Unwrap() error { return e.err }

func (s *Store) leaderChanged(to uint64) {
	ls := &s.loop
	ls.leader, ls.heardAt = to, ls.ticks
	st := ls.rn.BasicStatus()
	if to == 0 {
		s.log.Warn("cluster has no leader", "term", st.HardState.GetTerm())
		return
	}
	m, _ := s.roster.find(to)
	s.log.Info("cluster leader", "member", to, "name", m.Name, "term", st.HardState.GetTerm(), "self", to == s.cfg.Self.ID)
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
	s.log.Info("installed a snapshot of the leader", "index", ls.applied, "rev", m.Rev())
	return nil
}

func (s *Store) wakeWatchers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) send(m *raftpb.Message) {
	if m.GetTo() == 0 || !s.cfg.Filter(m) {
		if m.GetType() == raftpb.MsgSnap {
			s.loop.snapFailed = append(s.loop.snapFailed, m.GetTo())
		}
		return
	}
	b, err := proto.Marshal(m)
	if err != nil {
		s.log.Error("cannot marshal a message", "type", m.GetType().String(), "error", err)
		return
	}
	isSnap := m.GetType() == raftpb.MsgSnap
	if !s.tr.send(m.GetTo(), sending{data: b, snap: isSnap}) && isSnap {
		s.loop.snapFailed = append(s.loop.snapFailed, m.GetTo())
	}
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
		if e.GetTerm() > ls.termSeen {
			ls.termSeen = e.GetTerm()
			s.failOlder(ls.termSeen)
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

// publish makes Status current.
func (s *Store) publish() {
	ls := &s.loop
	b := ls.rn.BasicStatus()
	st := cluster.Status{
		Leader: ls.leader, Term: b.HardState.GetTerm(), Commit: b.HardState.GetCommit(), Applied: ls.applied,
		HasQuorum: s.hasQuorum(), Rev: s.machine.Rev(), Members: s.roster.byName(), Self: s.cfg.Self,
	}
	if m, ok := s.roster.find(s.cfg.Self.ID); ok {
		st.Self = m
	}
	s.status.Store(&st)
}
