package replica

import (
	"fmt"
	"math"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
)

// install replaces the state by the leader's snapshot, which is saved.
func (r *Replica) install(snap *raftpb.Snapshot) error {
	m, roster := r.next.kv, r.next.roster
	r.next.kv, r.next.roster = nil, Roster{}
	if err := r.storage.ApplySnapshot(snap); err != nil {
		return err
	}
	r.applied = snap.GetMetadata().GetIndex()
	r.snapIndex = r.applied
	r.conf = snap.GetMetadata().GetConfState()
	r.kv = m
	r.setRoster(roster)
	r.push(Applied{})
	// Whether it contains what was proposed here cannot be seen in it.
	r.failOlder(math.MaxUint64, "this member was brought up to date by a snapshot")
	r.report(LevelInfo, "installed a snapshot of the leader", "index", r.applied, "rev", m.Rev())
	return nil
}

// apply executes committed entries.
func (r *Replica) apply(ents []*raftpb.Entry) error {
	rev := r.kv.Rev()
	for _, e := range ents {
		if e.GetIndex() <= r.applied {
			continue
		}
		switch e.GetType() {
		case raftpb.EntryNormal:
			if len(e.GetData()) > 0 { // a new leader's first entry is empty
				c, err := cluster.DecodeCommand(e.GetData())
				if err != nil {
					return fmt.Errorf("log entry %d: %w", e.GetIndex(), err)
				}
				r.answer(Answer{ID: c.ID, Result: r.kv.Apply(c.Txn)})
			}
		case raftpb.EntryConfChange, raftpb.EntryConfChangeV2:
			if err := r.applyConfChange(e); err != nil {
				return fmt.Errorf("log entry %d: %w", e.GetIndex(), err)
			}
		}
		r.applied = e.GetIndex()
		r.logBytes += len(e.GetData())
		if e.GetTerm() > r.termSeen {
			r.termSeen = e.GetTerm()
			r.failOlder(r.termSeen, "the leader changed")
		}
	}
	if r.kv.Rev() != rev {
		r.push(Applied{})
	}
	return nil
}
