package sim

import (
	"bytes"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
	"quorate/cluster/replica"
	"quorate/sim/wire"
)

// storeJudge is S3: what the replicated store promises, judged on the disks and on what members have applied.
//
//	one leader      in each term, and it has what was committed before
//	one log         an entry that was applied anywhere is the same on every disk that applies it
//	exactly once    after entry i every member holds what a model holds that has executed the entries up to i, each once
//	on a majority   of disks, synced, is every entry that anybody applies: before that nobody may be told that it is safe
//	never lost      what was acknowledged is in that log
//	never given up  a store ends with its daemon or its disk, not of itself
//	never stale     a read that begins after a write was acknowledged has it, whoever is asked
//	never back      a director activates committed generations only, and none that is older than the one it runs
type storeJudge struct {
	broken int
	leader map[uint64]*Host // by term
	log    []logEntry       // canonical; log[0] is index 2, for the first snapshot is index 1
	model  *cluster.Machine
	acked  []acked
}

// logEntry is an entry as the first member applied it, and what its state was then.
type logEntry struct {
	term  uint64
	data  []byte
	state wire.Hash
	// by is the term that the member was in which applied it: its leader, or one before, has committed it.
	by uint64
}

// acked is a write that somebody was told is safe.
type acked struct{ key, id string }

const firstIndex = 2

func (j *judge) violated(format string, args ...any) {
	j.store.broken++
	j.w.note("", EventViolation, "S3 VIOLATED: "+fmt.Sprintf(format, args...))
}

// consistent sums up S3.
func (j *judge) consistent() (line string, ok bool) { return tally("S3 store", j.store.broken) }

// leads looks whether a member has become leader.
func (j *judge) leads(m *storeMember) {
	term, leads := m.rep.Leads()
	if m.leads && !leads {
		j.w.led(m.h, 0)
	}
	m.leads = leads
	if !leads || term == m.led {
		return
	}
	m.led = term
	j.w.led(m.h, term)
	if j.store.leader == nil {
		j.store.leader = map[uint64]*Host{}
	}
	if other := j.store.leader[term]; other != nil && other != m.h {
		j.violated("%s and %s both lead in term %d", other.Name, m.h.Name, term)
	}
	j.store.leader[term] = m.h
	j.complete(m, term)
	j.w.note(m.h.Name, EventStore, fmt.Sprintf("leads the store in term %d", term))
}

// complete is Raft's leader completeness: whoever leads has every entry that was committed in an earlier term.
func (j *judge) complete(m *storeMember, term uint64) {
	for k := len(j.store.log) - 1; k >= 0; k-- {
		index, want := uint64(k+firstIndex), j.store.log[k]
		if want.by >= term {
			continue // perhaps committed after this one was elected
		}
		if !m.h.disk.has(index, want.term) {
			j.violated("%s leads in term %d without entry %d of term %d, which was committed before", m.h.Name, term, index, want.term)
		}
		return // what precedes an entry is the same wherever the entry is
	}
}

// applied compares what a member has applied with the canonical log and with the model.
func (j *judge) applied(m *storeMember) {
	s := &j.store
	at := m.rep.Applied()
	for next := uint64(len(s.log) + firstIndex); next <= at; next++ {
		e := m.h.disk.entry(next)
		if e == nil {
			return // not in the log of this one, which has it from a snapshot: another one will show it
		}
		if s.model == nil {
			s.model = cluster.NewMachine()
		}
		if e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0 {
			c, err := cluster.DecodeCommand(e.GetData())
			if err != nil {
				j.violated("%s applies entry %d: %v", m.h.Name, next, err)
				return
			}
			s.model.Apply(c.Txn)
		}
		by, _ := m.rep.Leads()
		s.log = append(s.log, logEntry{e.GetTerm(), e.GetData(), stateOf(s.model), by})
	}
	if at < firstIndex {
		return
	}
	want := s.log[at-firstIndex]
	if e := m.h.disk.entry(at); e != nil && (e.GetTerm() != want.term || !bytes.Equal(e.GetData(), want.data)) {
		j.violated("%s applies entry %d of term %d, which others have applied as one of term %d", m.h.Name, at, e.GetTerm(), want.term)
	} else if stateOf(m.rep.KV()) != want.state {
		j.violated("%s holds revision %d after entry %d, which is not what the log says", m.h.Name, m.rep.KV().Rev(), at)
	}
	var have []string
	for _, h := range j.w.members {
		if h.disk.has(at, want.term) {
			have = append(have, h.Name)
		}
	}
	if 2*len(have) <= len(j.w.members) {
		j.violated("%s applies entry %d, which is on the disks of %v only: %d of %d", m.h.Name, at, have, len(have), len(j.w.members))
	}
}

// stateOf is the fingerprint of a state.
func stateOf(m *cluster.Machine) wire.Hash {
	h := wire.NewHash()
	h.Bytes(m.Snapshot())
	return h
}

// has reports whether an entry is synced, or part of a snapshot that is.
func (d *disk) has(index, term uint64) bool {
	if index <= d.state.Snapshot.GetMetadata().GetIndex() {
		return true
	}
	e := d.entry(index)
	return e != nil && e.GetTerm() == term
}

// entry returns what a disk has at an index.
func (d *disk) entry(index uint64) *raftpb.Entry {
	if len(d.state.Entries) == 0 {
		return nil
	}
	first := d.state.Entries[0].GetIndex()
	if index < first || index >= first+uint64(len(d.state.Entries)) {
		return nil
	}
	return d.state.Entries[index-first]
}

// acknowledged notes a promise.
func (j *judge) acknowledged(m *storeMember, key, id string) {
	j.store.acked = append(j.store.acked, acked{key, id})
	j.kept(m, j.store.acked[len(j.store.acked)-1:])
}

// kept looks whether what was promised is in what a member holds.
func (j *judge) kept(m *storeMember, list []acked) {
	for _, a := range list {
		if kv, ok := m.rep.KV().Get(a.key); !ok || !bytes.Contains(kv.Value, []byte(a.id)) {
			j.violated("%s %s, which was acknowledged, is not in what %s holds", a.key, a.id, m.h.Name)
		}
	}
}

// readBack asks every other member for what was acknowledged last. Who cannot say, for want of a majority, says so; who answers must have it.
func (j *judge) readBack(writer *storeMember) {
	last := j.store.acked[len(j.store.acked)-1:]
	for _, h := range j.w.members {
		if m := h.store; m != nil && m != writer {
			m.ask(func(id cluster.RequestID) replica.Event { return replica.Read{ID: id} }, func(a replica.Answer) {
				if a.Err == nil {
					j.w.reads++
					j.kept(m, last)
				}
			})
		}
	}
}

// activates is the moment at which a director switches to a generation.
func (j *judge) activates(m *storeMember, g cluster.Generation) {
	if g.Number < m.h.generation {
		j.violated("%s goes back from generation %d to %d", m.h.Name, m.h.generation, g.Number)
	}
	if j.store.model == nil {
		return
	}
	kv, ok := j.store.model.Get(cluster.GenerationKey(g.Number))
	if ok {
		if c, err := cluster.DecodeGeneration(kv.Value); err == nil && c.Hash == g.Hash {
			return
		}
	}
	j.violated("%s activates generation %d, which was not committed like that", m.h.Name, g.Number)
}

// agreed judges the store at the present instant: members that all reach each other and are a majority have one leader, have applied the same and run
// the active generation, in which everything is that was acknowledged.
func (j *judge) agreed() (lines []string, ok bool) {
	w := j.w
	if w.members == nil {
		return nil, true
	}
	up := slices.DeleteFunc(slices.Clone(w.members), func(h *Host) bool { return h.store == nil || h.store.paused() })
	reach := func(a, b *Host) bool {
		n, m := a.nics[0], b.nics[0]
		return a == b || linked(a, b) && !n.lan.Lossy(n.port, m.port, wire.ClassRaft) && !n.lan.Lossy(m.port, n.port, wire.ClassRaft)
	}
	// The first group that is a majority. If not everybody in it reaches everybody, nothing is promised.
	for _, a := range up {
		group := slices.DeleteFunc(slices.Clone(up), func(b *Host) bool { return !reach(a, b) })
		if 2*len(group) > len(w.members) {
			up = group
			break
		}
	}
	if 2*len(up) <= len(w.members) {
		return []string{fmt.Sprintf("L1 store: %d of %d are no majority", len(up), len(w.members))}, true
	}
	for _, a := range up {
		for _, b := range up {
			if !reach(a, b) {
				return []string{"L1 store: no majority in which all reach each other"}, true
			}
		}
	}
	first := up[0].store.rep.Status()
	for _, h := range up {
		st := h.store.rep.Status()
		switch {
		case st.Leader == 0 || !st.HasQuorum:
			return []string{fmt.Sprintf("L1 store: VIOLATED: %s knows no leader though a majority is in reach", h.Name)}, false
		case st.Leader != first.Leader || st.Applied != first.Applied:
			return []string{fmt.Sprintf("L1 store: VIOLATED: %s has applied %d under leader %d, %s %d under %d", h.Name, st.Applied, st.Leader, up[0].Name, first.Applied, first.Leader)}, false
		}
		was := j.store.broken
		if j.kept(h.store, j.store.acked); j.store.broken > was {
			return []string{fmt.Sprintf("L1 store: VIOLATED: %s has lost what was acknowledged", h.Name)}, false
		}
		kv, _ := h.store.rep.KV().Get(cluster.KeyActive)
		if active, err := cluster.DecodePointer(kv.Value); err != nil || active.Number != h.generation && active.Number > 0 {
			return []string{fmt.Sprintf("L1 store: VIOLATED: %s runs generation %d, %d is active", h.Name, h.generation, active.Number)}, false
		}
	}
	return []string{fmt.Sprintf("L1 store: ok, %s leads, entry %d is applied by all in reach", w.members[first.Leader-1].Name, first.Applied)}, true
}
