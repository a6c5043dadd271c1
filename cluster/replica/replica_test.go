package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"quorate/cluster"
)

// lab is three replicas whose messages arrive at once and whose disks are memory.
type lab struct {
	t     *testing.T
	now   time.Duration
	m     []*Replica // by id-1, nil: down
	disk  []State
	mail  []*raftpb.Message
	cut   func(from, to uint64) bool
	said  strings.Builder
	acked []cluster.RequestID
	seed  uint64
	slow  map[uint64]bool  // whose disk does not answer
	stops map[uint64]error // nil: none may stop

	delivered int
}

func newLab(t *testing.T, seed uint64) *lab {
	l := &lab{t: t, seed: seed, cut: func(uint64, uint64) bool { return false }, slow: map[uint64]bool{}}
	members := []cluster.Member{{ID: 1, Name: "a", Address: "a"}, {ID: 2, Name: "b", Address: "b"}, {ID: 3, Name: "c", Address: "c"}}
	first, err := First(7, members, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range members {
		l.disk = append(l.disk, State{Snapshot: first, HardState: &raftpb.HardState{Term: new(uint64(1)), Commit: new(uint64(1))}})
		l.m = append(l.m, nil)
	}
	for id := range members {
		l.start(uint64(id + 1))
	}
	return l
}

// chance is a small deterministic generator.
func (l *lab) chance(n int) int {
	l.seed = l.seed*6364136223846793005 + 1442695040888963407
	return int(l.seed>>33) % n
}

func (l *lab) start(id uint64) {
	d := l.disk[id-1]
	d.Entries = slices.Clone(d.Entries)
	r, err := New(l.now, Config{Self: cluster.Member{ID: id, Name: "abc"[id-1 : id], Address: "abc"[id-1 : id]}, Start: id, Tick: 100 * time.Millisecond,
		ElectionTicks: 10, Jitter: l.chance, NoQuorumAfter: 2 * time.Second, SnapshotEvery: 50, SnapshotBytes: 1 << 20, KeepEntries: 10}, d)
	if err != nil {
		l.t.Fatal(err)
	}
	l.m[id-1] = r
	l.rest(id)
}

// rest carries out actions.
func (l *lab) rest(id uint64) {
	for {
		r := l.m[id-1]
		if r == nil {
			return
		}
		acts := r.Ready()
		if len(acts) == 0 {
			return
		}
		for _, a := range acts {
			switch a := a.(type) {
			case Save:
				if l.slow[id] {
					continue
				}
				l.store(id, a)
				r.Step(l.now, Saved{})
			case Send:
				l.mail = append(l.mail, proto.Clone(a.Message).(*raftpb.Message))
			case Answer:
				fmt.Fprintf(&l.said, "%v %d answer %x %v\n", l.now, id, a.ID, a.Err)
				if a.Err == nil {
					l.acked = append(l.acked, a.ID)
				}
			case Report:
				fmt.Fprintf(&l.said, "%v %d %s %v\n", l.now, id, a.Text, a.Args)
			case Stop:
				if l.stops == nil {
					l.t.Fatalf("%d stops: %v", id, a.Err)
				}
				l.m[id-1], l.stops[id] = nil, a.Err
				return
			}
		}
	}
}

func (l *lab) store(id uint64, s Save) {
	d := &l.disk[id-1]
	if s.Snapshot != nil {
		d.Snapshot = s.Snapshot
		at := s.Snapshot.GetMetadata().GetIndex()
		d.Entries = slices.DeleteFunc(d.Entries, func(e *raftpb.Entry) bool { return e.GetIndex() <= at })
		if d.HardState.GetCommit() < at {
			d.HardState = &raftpb.HardState{Term: new(d.HardState.GetTerm()), Vote: new(d.HardState.GetVote()), Commit: new(at)}
		}
	}
	if s.HardState != nil {
		d.HardState = s.HardState
	}
	if len(s.Entries) > 0 {
		first := s.Entries[0].GetIndex()
		d.Entries = append(slices.DeleteFunc(d.Entries, func(e *raftpb.Entry) bool { return e.GetIndex() >= first }), s.Entries...)
	}
}

// run lets time pass: messages take no time, ticks come in the order of their deadlines.
func (l *lab) run(d time.Duration) {
	for until := l.now + d; ; {
		for len(l.mail) > 0 {
			m := l.mail[0]
			l.mail = l.mail[1:]
			if l.delivered++; l.delivered > 100000 {
				l.t.Fatalf("messages answer each other: %v", m)
			}
			if r := l.m[m.GetTo()-1]; r != nil && !l.cut(m.GetFrom(), m.GetTo()) {
				r.Step(l.now, Received{m})
				l.rest(m.GetTo())
			}
		}
		next, who := until, uint64(0)
		for i, r := range l.m {
			if r == nil {
				continue
			}
			if at, ok := r.Deadline(); ok && at < next {
				next, who = at, uint64(i+1)
			}
		}
		l.now = next
		if who == 0 {
			return
		}
		l.m[who-1].Step(l.now, Tick{})
		l.rest(who)
	}
}

func (l *lab) leader() uint64 {
	for i, r := range l.m {
		if r != nil && r.Status().Leader == uint64(i+1) && r.patience.leads {
			return uint64(i + 1)
		}
	}
	return 0
}

func (l *lab) put(id uint64, n byte) {
	rid := cluster.RequestID{1, n}
	txn := cluster.Txn{Then: []cluster.Op{{Key: fmt.Sprintf("/k%d", n), Value: []byte{n}}}}
	l.m[id-1].Step(l.now, Propose{ID: rid, Data: cluster.Command{ID: rid, Txn: txn}.Encode()})
	l.rest(id)
}

// story is an election, writes, the leader's crash, a partition, a member that comes back from its disk far behind.
func story(t *testing.T, seed uint64) *lab {
	l := newLab(t, seed)
	l.run(4 * time.Second)
	first := l.leader()
	if first == 0 {
		t.Fatalf("seed %d: no leader after 4s\n%s", seed, l.said.String())
	}
	for n := range byte(20) {
		l.put(uint64(n%3)+1, n)
		l.run(50 * time.Millisecond)
	}
	l.m[first-1] = nil
	l.run(5 * time.Second)
	second := l.leader()
	if second == 0 || second == first {
		t.Fatalf("seed %d: leader %d after %d crashed\n%s", seed, second, first, l.said.String())
	}
	for n := range byte(100) {
		l.put(second, 100+n)
	}
	l.run(time.Second)
	l.start(first)
	l.run(3 * time.Second)
	return l
}

// TestNothingIsLost: after a crash of the leader and its return everything that was acknowledged is on all members.
func TestNothingIsLost(t *testing.T) {
	for seed := range uint64(50) {
		l := story(t, seed)
		if len(l.acked) < 118 {
			t.Fatalf("seed %d: only %d of 120 were acknowledged\n%s", seed, len(l.acked), l.said.String())
		}
		for _, id := range l.acked {
			for i, r := range l.m {
				if _, ok := r.KV().Get(fmt.Sprintf("/k%d", id[1])); !ok {
					t.Fatalf("seed %d: member %d has lost write %d", seed, i+1, id[1])
				}
			}
		}
	}
}

// TestEqualChanceEqualRun: nothing but Jitter is left to chance, raft's own is never used.
func TestEqualChanceEqualRun(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(5) {
		a, b := story(t, seed).said.String(), story(t, seed).said.String()
		if a != b {
			t.Fatalf("seed %d: two runs differ\n%s\n---\n%s", seed, a, b)
		}
		seen[a] = true
	}
	if len(seen) < 3 {
		t.Errorf("%d different runs of 5 seeds: the jitter has no effect", len(seen))
	}
}

// TestNothingIsPromisedBeforeItIsSaved: while its disk does not answer a member neither votes nor confirms.
func TestNothingIsPromisedBeforeItIsSaved(t *testing.T) {
	l := newLab(t, 1)
	l.run(4 * time.Second)
	lead := l.leader()
	for id := range uint64(3) {
		l.slow[id+1] = id+1 != lead
	}
	l.put(lead, 1)
	l.run(500 * time.Millisecond)
	if len(l.acked) != 0 {
		t.Fatal("acknowledged although only one disk has it")
	}
	l.slow[lead%3+1] = false
	l.m[lead%3] = nil // its process is gone with what its disk did not do, and comes back
	l.start(lead%3 + 1)
	l.run(2 * time.Second)
	if len(l.acked) != 1 {
		t.Fatalf("%d acknowledged with two disks\n%s", len(l.acked), l.said.String())
	}
}
