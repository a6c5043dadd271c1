package replica

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
	r     *Replica
	cache *raftpb.Snapshot
}

// Snapshot is called by raft when a member needs one. It returns the state as applied now
// and not the one last saved, which may not know that member yet and would then be refused by it.
func (l *logStorage) Snapshot() (*raftpb.Snapshot, error) {
	if l.cache != nil && l.cache.GetMetadata().GetIndex() == l.r.applied {
		return l.cache, nil
	}
	snap, err := l.r.makeSnapshot()
	if err != nil {
		l.r.report(LevelError, "cannot make a snapshot for another member", "error", err)
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	l.cache = snap
	return snap, nil
}

func (r *Replica) makeSnapshot() (*raftpb.Snapshot, error) {
	if r.applied == 0 {
		return nil, errors.New("nothing is applied yet")
	}
	term, err := r.storage.Term(r.applied)
	if err != nil {
		return nil, fmt.Errorf("term of index %d: %w", r.applied, err)
	}
	data, err := encodeState(&r.roster, r.kv)
	if err != nil {
		return nil, err
	}
	return &raftpb.Snapshot{
		Data:     data,
		Metadata: &raftpb.SnapshotMetadata{Index: new(r.applied), Term: new(term), ConfState: r.conf},
	}, nil
}

// snapshotIfDue has the state saved, so that the log before it can be forgotten.
func (r *Replica) snapshotIfDue() error {
	if r.applied-r.snapIndex < r.cfg.SnapshotEvery && (r.logBytes < r.cfg.SnapshotBytes || r.applied == r.snapIndex) {
		return nil
	}
	snap, err := r.makeSnapshot()
	if err != nil {
		return err
	}
	r.saving = savingSnapshot
	r.push(Save{Snapshot: snap})
	return nil
}

func (r *Replica) snapshotSaved() error {
	r.snapIndex, r.logBytes = r.applied, 0
	r.storage.cache = nil
	if err := r.compactMemory(); err != nil {
		return err
	}
	r.report(LevelInfo, "saved a snapshot", "index", r.applied)
	r.push(Compact{})
	return nil
}

// compactMemory forgets the entries in memory that a member which is a little behind will not need.
func (r *Replica) compactMemory() error {
	first, err := r.storage.FirstIndex()
	if err != nil || first > r.applied {
		return err
	}
	ents, err := r.storage.Entries(first, r.applied+1, math.MaxUint64)
	if err != nil {
		return err
	}
	keep, size := 0, 0
	for keep < len(ents) && uint64(keep) < r.cfg.KeepEntries {
		if size += len(ents[len(ents)-1-keep].GetData()); size > r.cfg.SnapshotBytes/4 {
			break
		}
		keep++
	}
	if keep == len(ents) {
		return nil
	}
	return r.storage.Compact(r.applied - uint64(keep))
}
