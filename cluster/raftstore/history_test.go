package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"quorate/cluster"
	"quorate/cluster/clustertest"
)

func TestConformance(t *testing.T) {
	l := newLab(t)
	ms := l.members(3)
	lead := l.leader(ms)
	var follower *labMember
	for _, m := range ms {
		if m != lead {
			follower = m
		}
	}
	t.Run("Leader", func(t *testing.T) {
		clustertest.Conformance(t, func(*testing.T) cluster.Store { return lead.store })
	})
	// The keys of the first run are in the way of the second.
	kvs, _, err := lead.store.Range(ctxT(t), "/test/")
	if err != nil {
		t.Fatal(err)
	}
	var clean cluster.Txn
	for _, kv := range kvs {
		clean.Then = append(clean.Then, cluster.Op{Key: kv.Key})
	}
	if _, err := lead.store.Txn(ctxT(t), clean); err != nil {
		t.Fatal(err)
	}
	t.Run("Follower", func(t *testing.T) {
		clustertest.Conformance(t, func(*testing.T) cluster.Store { return follower.store })
	})
}

// registerOp is an input of the model of one key: a read, a blind write, or a write that expects a value.
type registerOp struct {
	kind   string // get, put, cas
	expect int64  // cas: revision
	value  string
}

type registerResult struct {
	unknown bool // no answer: it may or may not have happened, now or later
	ok      bool
	value   string
	rev     int64
}

type registerState struct {
	value string
	rev   int64
}

// register is the specification: one key in a store in which nothing else changes.
var register = porcupine.NondeterministicModel{
	Init: func() []any { return []any{registerState{}} },
	Step: func(state, input, output any) []any {
		st, in, out := state.(registerState), input.(registerOp), output.(registerResult)
		if in.kind == "get" {
			if out.unknown || out.value == st.value && out.rev == st.rev {
				return []any{st}
			}
			return nil
		}
		matches := in.kind == "put" || in.expect == st.rev
		var next []any
		for _, rev := range []int64{st.rev + 1} {
			if matches && (out.unknown || out.ok && out.rev == rev) {
				next = append(next, registerState{in.value, rev})
			}
		}
		if out.unknown || !matches && !out.ok && out.rev == st.rev {
			next = append(next, st)
		}
		return next
	},
	Equal: func(a, b any) bool { return a == b },
}

// TestLinearizable records what clients at all three members see of one key while members are isolated, crash and
// return, and looks for an order of events that explains it.
func TestLinearizable(t *testing.T) {
	l := newLab(t)
	first := l.member(1)
	if err := Bootstrap(first.dir, first.self, nil); err != nil { // revision 0: the key's history is the store's
		t.Fatal(err)
	}
	ms := []*labMember{first.start()}
	for id := uint64(2); id <= 3; id++ {
		m := l.member(id)
		if err := InitMember(m.dir, m.self); err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m.start())
		if err := first.store.AddMember(ctxT(t), m.self); err != nil {
			t.Fatal(err)
		}
	}
	l.eventually("three voters", func() error {
		st := ms[2].store.Status()
		if st.Self.Learner || len(st.Members) != 3 || st.Self.ID == 0 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})

	const key = "/k"
	start := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	answered := 0
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for c := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(c), 7))
			var rev int64
			for n := 0; ctx.Err() == nil; n++ {
				s := ms[c%3].get()
				if s == nil {
					time.Sleep(5 * time.Millisecond)
					continue
				}
				in := registerOp{kind: []string{"get", "put", "cas"}[rnd.IntN(3)], expect: rev, value: fmt.Sprintf("%d.%d", c, n)}
				op := porcupine.Operation{ClientId: c, Input: in, Call: time.Since(start).Nanoseconds()}
				octx, ocancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
				out := runRegister(octx, s, key, in)
				ocancel()
				op.Return = time.Since(start).Nanoseconds()
				if out.unknown {
					if in.kind == "get" {
						continue // says nothing
					}
					op.Return = 1 << 62 // it may take effect at any later time
				} else {
					rev = out.rev
				}
				op.Output = out
				mu.Lock()
				history = append(history, op)
				if !out.unknown {
					answered++
				}
				mu.Unlock()
				if out.unknown {
					// A client with a pending operation must not issue another one: go on as somebody else.
					mu.Lock()
					history[len(history)-1].ClientId = 1000 + len(history)
					mu.Unlock()
				}
				time.Sleep(time.Duration(rnd.IntN(15)) * time.Millisecond)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for ctx.Err() == nil {
		m := ms[rnd.IntN(3)]
		if rnd.IntN(2) == 0 {
			l.isolate(m.self.ID, true)
			time.Sleep(time.Duration(300+rnd.IntN(300)) * time.Millisecond)
			l.isolate(m.self.ID, false)
		} else {
			m.crash(rnd)
			time.Sleep(time.Duration(100+rnd.IntN(200)) * time.Millisecond)
			if err := m.open(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(300+rnd.IntN(200)) * time.Millisecond)
	}
	wg.Wait()
	if answered < 100 {
		t.Errorf("only %d of %d operations were answered", answered, len(history))
	}
	switch porcupine.CheckOperationsTimeout(register.ToModel(), history, 15*time.Second) {
	case porcupine.Illegal:
		t.Errorf("%d operations have no linear order", len(history))
	case porcupine.Unknown:
		t.Logf("%d operations: the check took too long", len(history))
	}
	t.Logf("%d operations, %d answered", len(history), answered)
}

func runRegister(ctx context.Context, s *Store, key string, in registerOp) registerResult {
	if in.kind == "get" {
		kv, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, cluster.ErrNotFound) {
			return registerResult{unknown: true}
		}
		return registerResult{ok: true, value: string(kv.Value), rev: kv.ModRev}
	}
	txn := put(key, in.value)
	if in.kind == "cas" {
		txn.If = []cluster.Compare{{Key: key, ModRev: in.expect}}
	}
	r, err := s.Txn(ctx, txn)
	if err != nil {
		return registerResult{unknown: true}
	}
	return registerResult{ok: r.Succeeded, rev: r.Rev}
}

// BenchmarkTxn measures acknowledged writes, fsync included, from 1 and from 64 clients.
func BenchmarkTxn(b *testing.B) {
	for _, members := range []int{1, 3} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("members=%d/clients=%d", members, clients), func(b *testing.B) {
				l := newLab(b)
				l.cfg = func(c *Config) { c.Tick = 100 * time.Millisecond }
				ms := l.members(members)
				s := l.leader(ms).store
				b.ResetTimer()
				work := make(chan int)
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						for i := range work {
							if _, err := s.Txn(context.Background(), put(fmt.Sprintf("/k/%d", i%1000), "value of some length")); err != nil {
								b.Error(err)
							}
						}
					})
				}
				for i := range b.N {
					work <- i
				}
				close(work)
				wg.Wait()
			})
		}
	}
}
