package sim

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster/replica"
	"quorate/sim/wire"
)

// disk keeps what a director's store must not forget. It holds what was synced, and the one write that is under way: a store waits
// for each. A crash leaves that one whole, in part or not at all, as a log that is written record by record does.
type disk struct {
	state   replica.State
	pending *replica.Save
	full    bool
	latency wire.Range // of a sync
	fate    fate       // of what is being written when the power fails
	chance  *wire.Stream
	torn    int // writes that were cut
}

// fate is what becomes of a write during which the power fails.
type fate uint8

const (
	fateByChance fate = iota
	fateKept
	fateTorn
	fateLost
)

func fates() []string { return []string{"chance", "kept", "torn", "lost"} }

// syncLatency is what a sync takes on a good disk.
var syncLatency = wire.Range{Min: 200 * time.Microsecond, Max: 2 * time.Millisecond}

func newDisk(w *World, name string, first *raftpb.Snapshot) *disk {
	md := first.GetMetadata()
	return &disk{latency: syncLatency, chance: wire.NewStream(w.opt.Seed, "disk/"+name),
		state: replica.State{Snapshot: first, HardState: &raftpb.HardState{Term: new(md.GetTerm()), Vote: new(uint64(0)), Commit: new(md.GetIndex())}}}
}

// write begins a write and returns how long it takes.
func (d *disk) write(s replica.Save) (time.Duration, error) {
	if d.full {
		return 0, fmt.Errorf("disk full: no space left on device")
	}
	d.pending = &s
	return d.chance.Between(d.latency), nil
}

// sync ends it.
func (d *disk) sync() {
	if s := d.pending; s != nil {
		d.pending = nil
		d.put(s, len(s.Entries)+1)
	}
}

// crash decides about the write that was under way.
func (d *disk) crash() {
	s := d.pending
	if s == nil {
		return
	}
	d.pending = nil
	f := d.fate
	if f == fateByChance {
		f = fateKept + fate(d.chance.Below(3))
	}
	switch f {
	case fateKept:
		d.put(s, len(s.Entries)+1)
	case fateTorn:
		d.torn++
		d.put(s, int(d.chance.Below(uint64(len(s.Entries)+1))))
	}
}

// put stores the first records of a write: entries, then term and vote. A snapshot counts from when the term that
// goes with it is there, see raftstore's Load.
func (d *disk) put(s *replica.Save, records int) {
	whole := records > len(s.Entries)
	if whole && s.Snapshot != nil {
		d.state.Snapshot = s.Snapshot
		at := s.Snapshot.GetMetadata().GetIndex()
		d.state.Entries = slices.DeleteFunc(slices.Clone(d.state.Entries), func(e *raftpb.Entry) bool { return e.GetIndex() <= at })
	}
	if !whole && s.Snapshot != nil {
		return // what follows it makes no sense without
	}
	if ents := s.Entries[:min(records, len(s.Entries))]; len(ents) > 0 {
		first := ents[0].GetIndex()
		keep := slices.IndexFunc(d.state.Entries, func(e *raftpb.Entry) bool { return e.GetIndex() >= first })
		if keep < 0 {
			keep = len(d.state.Entries)
		}
		// A store that lives has the slice that was loaded.
		d.state.Entries = append(slices.Clip(d.state.Entries[:keep]), ents...)
	}
	if whole && s.HardState != nil {
		d.state.HardState = s.HardState
	}
}
