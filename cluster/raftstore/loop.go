package raftstore

import (
	"errors"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
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
	logBytes           int    // applied since the last snapshot

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
	stopping   uint64   // tick at which this closing leader stops even if nobody has taken over; 0: it is none
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
	stopc := s.stopc
	if s.loop.stopping != 0 {
		stopc = nil
	}
	select {
	case <-stopc:
		if !s.handOver() {
			return errStop
		}
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
	if ls := &s.loop; ls.stopping != 0 && (ls.leader != s.cfg.Self.ID || ls.ticks >= ls.stopping) {
		return errStop
	}
	return nil
}

// handOver makes the most advanced other voter the leader, so that a member that is closed in order costs the cluster
// no election time-out. It reports whether there is something to wait for.
func (s *Store) handOver() bool {
	ls := &s.loop
	if ls.leader != s.cfg.Self.ID || s.abrupt.Load() {
		return false
	}
	var best, match uint64
	ls.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if id == s.cfg.Self.ID || typ != raft.ProgressTypePeer || !pr.RecentActive {
			return
		}
		if pr.Match > match || pr.Match == match && id < best {
			best, match = id, pr.Match
		}
	})
	if best == 0 {
		return false
	}
	ls.stopping = ls.ticks + uint64(max(s.cfg.ElectionTicks/2, 1))
	ls.rn.TransferLeader(best)
	return true
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
			if !s.electing() {
				s.giveUp()
			}
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
