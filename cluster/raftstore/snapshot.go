package raftstore

import (
	"errors"
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// logStorage is raft's view of what is stored. Entries are in memory as well as on disk: what SnapshotEvery and
// KeepEntries leave of them is small.
type logStorage struct {
	*raft.MemoryStorage
	s     *Store
	cache *raftpb.Snapshot
}

// Snapshot is called by raft, in the loop's goroutine, when a member needs one. It returns the state as applied now
// and not the one last saved, which may not know that member yet and would then be refused by it.
func (l *logStorage) Snapshot() (*raftpb.Snapshot, error) {
	ls := &l.s.loop
	if l.cache.GetMetadata().GetIndex() == ls.applied && l.cache != nil {
		return l.cache, nil
	}
	snap, err := l.s.makeSnapshot()
	if err != nil {
		l.s.log.Error("cannot make a snapshot for another member", "error", err)
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	l.cache = snap
	return snap, nil
}

func (s *Store) makeSnapshot() (*raftpb.Snapshot, error) {
	ls := &s.loop
	if ls.applied == 0 {
		return nil, errors.New("nothing is applied yet")
	}
	term, err := ls.storage.Term(ls.applied)
	if err != nil {
		return nil, fmt.Errorf("term of index %d: %w", ls.applied, err)
	}
	data, err := encodeState(&s.roster, s.machine)
	if err != nil {
		return nil, err
	}
	return &raftpb.Snapshot{
		Data:     data,
		Metadata: &raftpb.SnapshotMetadata{Index: new(ls.applied), Term: new(term), ConfState: ls.conf},
	}, nil
}

// snapshotIfDue saves the state and forgets the log before it.
func (s *Store) snapshotIfDue() error {
	ls := &s.loop
	if ls.applied-ls.snapIndex < s.cfg.SnapshotEvery && (ls.logBytes < s.cfg.SnapshotBytes || ls.applied == ls.snapIndex) {
		return nil
	}
	snap, err := s.makeSnapshot()
	if err != nil {
		return err
	}
	if err := s.disk.SaveSnapshot(snap); err != nil {
		return &diskError{err}
	}
	ls.snapIndex, ls.logBytes = ls.applied, 0
	ls.storage.cache = nil
	if err := s.compactMemory(); err != nil {
		return err
	}
	if err := s.disk.Compact(); err != nil {
		// Superfluous files do no harm but take space; the next snapshot tries again.
		s.log.Warn("cannot remove old log files", "error", err)
	}
	s.log.Info("saved a snapshot", "index", ls.applied, "bytes", len(snap.GetData()))
	return nil
}

// compactMemory forgets the entries in memory that a member which is a little behind will not need.
func (s *Store) compactMemory() error {
	ls := &s.loop
	first, err := ls.storage.FirstIndex()
	if err != nil || first > ls.applied {
		return err
	}
	ents, err := ls.storage.Entries(first, ls.applied+1, math.MaxUint64)
	if err != nil {
		return err
	}
	keep, size := 0, 0
	for keep < len(ents) && uint64(keep) < s.cfg.KeepEntries {
		if size += len(ents[len(ents)-1-keep].GetData()); size > s.cfg.SnapshotBytes/4 {
			break
		}
		keep++
	}
	if keep == len(ents) {
		return nil
	}
	return ls.storage.Compact(ls.applied - uint64(keep))
}
