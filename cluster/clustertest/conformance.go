package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quorate/cluster"
)

// Open returns a store for one test. It need not be empty, and several tests may share one: each test keeps to a
// prefix of its own. Whatever must be closed is registered with t.Cleanup.
type Open func(t *testing.T) cluster.Store

// Conformance runs the contract of cluster.Store against the stores that open returns.
func Conformance(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		f    func(t *testing.T, s cluster.Store, p string)
	}{
		{"MissingKey", missingKey},
		{"PutGetDelete", putGetDelete},
		{"EmptyValue", emptyValue},
		{"Compare", compare},
		{"Else", elseBranch},
		{"LastWriteOfKeyCounts", lastWrite},
		{"RevisionCountsChanges", revision},
		{"Range", rangePrefix},
		{"LocalRange", localRange},
		{"WatchFromRevision", watchFrom},
		{"WatchBatchesByRevision", watchBatches},
		{"WatchFromNow", watchNow},
		{"WatchEnds", watchEnds},
		{"RefusesBadTxn", refusesBad},
		{"Cancelled", cancelled},
		{"OneOfManyWins", race},
		{"Push", push},
		{"StageAndActivate", stage},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			c.f(t, s, "/test/"+strings.ToLower(c.name)+"/")
		})
	}
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return c
}

func do(t *testing.T, s cluster.Store, txn cluster.Txn) cluster.TxnResult {
	t.Helper()
	res, err := s.Txn(ctx(t), txn)
	if err != nil {
		t.Fatalf("Txn %+v: %v", txn, err)
	}
	return res
}

func put(k, v string) cluster.Op { return cluster.Op{Key: k, Value: []byte(v)} }

func puts(ops ...cluster.Op) cluster.Txn { return cluster.Txn{Then: ops} }

func get(t *testing.T, s cluster.Store, key string) cluster.KV {
	t.Helper()
	kv, err := s.Get(ctx(t), key)
	if err != nil {
		t.Fatalf("Get %s: %v", key, err)
	}
	return kv
}

func missingKey(t *testing.T, s cluster.Store, p string) {
	if _, err := s.Get(ctx(t), p+"none"); !errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("Get of a missing key: %v, want ErrNotFound", err)
	}
	if kvs, rev, err := s.Range(ctx(t), p); err != nil || len(kvs) != 0 || rev < 0 {
		t.Errorf("Range of nothing = %v, %d, %v", kvs, rev, err)
	}
}

func putGetDelete(t *testing.T, s cluster.Store, p string) {
	r1 := do(t, s, puts(put(p+"k", "1")))
	if kv := get(t, s, p+"k"); string(kv.Value) != "1" || kv.CreateRev != r1.Rev || kv.ModRev != r1.Rev || kv.Key != p+"k" {
		t.Errorf("created at %d: %+v", r1.Rev, kv)
	}
	r2 := do(t, s, puts(put(p+"k", "2")))
	if kv := get(t, s, p+"k"); string(kv.Value) != "2" || kv.CreateRev != r1.Rev || kv.ModRev != r2.Rev {
		t.Errorf("created at %d, changed at %d: %+v", r1.Rev, r2.Rev, kv)
	}
	do(t, s, puts(cluster.Op{Key: p + "k"}))
	if _, err := s.Get(ctx(t), p+"k"); !errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("after deletion: %v", err)
	}
	r4 := do(t, s, puts(put(p+"k", "4")))
	if kv := get(t, s, p+"k"); kv.CreateRev != r4.Rev {
		t.Errorf("created anew at %d: %+v", r4.Rev, kv)
	}
}

func emptyValue(t *testing.T, s cluster.Store, p string) {
	do(t, s, puts(cluster.Op{Key: p + "k", Value: []byte{}}))
	if kv := get(t, s, p+"k"); len(kv.Value) != 0 {
		t.Errorf("%+v", kv)
	}
}

func compare(t *testing.T, s cluster.Store, p string) {
	create := cluster.Txn{If: []cluster.Compare{{Key: p + "k"}}, Then: []cluster.Op{put(p+"k", "1")}}
	r := do(t, s, create)
	if !r.Succeeded {
		t.Fatal("creating a missing key did not succeed")
	}
	if r := do(t, s, create); r.Succeeded {
		t.Error("creating an existing key succeeded")
	}
	change := cluster.Txn{If: []cluster.Compare{{Key: p + "k", ModRev: r.Rev}}, Then: []cluster.Op{put(p+"k", "2")}}
	if r := do(t, s, change); !r.Succeeded {
		t.Error("change at the right revision did not succeed")
	}
	if r := do(t, s, change); r.Succeeded {
		t.Error("change at an old revision succeeded")
	}
	both := cluster.Txn{
		If:   []cluster.Compare{{Key: p + "k", ModRev: get(t, s, p+"k").ModRev}, {Key: p + "other", ModRev: 1 << 40}},
		Then: []cluster.Op{put(p+"k", "3"), put(p+"x", "3")},
	}
	if r := do(t, s, both); r.Succeeded {
		t.Error("one of two compares failed, yet it succeeded")
	}
	if kv := get(t, s, p+"k"); string(kv.Value) != "2" {
		t.Errorf("a failed transaction wrote: %+v", kv)
	}
	if _, err := s.Get(ctx(t), p+"x"); !errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("a failed transaction wrote: %v", err)
	}
}

func elseBranch(t *testing.T, s cluster.Store, p string) {
	r := do(t, s, cluster.Txn{If: []cluster.Compare{{Key: p + "k", ModRev: 1 << 40}},
		Then: []cluster.Op{put(p+"then", "")}, Else: []cluster.Op{put(p+"else", "1")}})
	if r.Succeeded || get(t, s, p+"else").ModRev != r.Rev {
		t.Errorf("Else: %+v", r)
	}
	if _, err := s.Get(ctx(t), p+"then"); !errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("Then was executed as well: %v", err)
	}
}

func lastWrite(t *testing.T, s cluster.Store, p string) {
	do(t, s, puts(put(p+"k", "1"), put(p+"k", "2")))
	if kv := get(t, s, p+"k"); string(kv.Value) != "2" {
		t.Errorf("%s", kv.Value)
	}
	do(t, s, puts(put(p+"k", "3"), cluster.Op{Key: p + "k"}))
	if _, err := s.Get(ctx(t), p+"k"); !errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("written, then deleted: %v", err)
	}
}

func revision(t *testing.T, s cluster.Store, p string) {
	r1 := do(t, s, puts(put(p+"a", "1"), put(p+"b", "1")))
	if a, b := get(t, s, p+"a"), get(t, s, p+"b"); a.ModRev != r1.Rev || b.ModRev != r1.Rev {
		t.Errorf("two keys of one transaction at %d and %d", a.ModRev, b.ModRev)
	}
	r2 := do(t, s, puts(put(p+"a", "1")))
	if r2.Rev <= r1.Rev {
		t.Errorf("revision %d after %d", r2.Rev, r1.Rev)
	}
	if r := do(t, s, puts(cluster.Op{Key: p + "none"})); !r.Succeeded {
		t.Errorf("deleting a missing key: %+v", r)
	}
	if kv := get(t, s, p+"a"); kv.ModRev != r2.Rev {
		t.Errorf("deleting another key changed it: %+v", kv)
	}
}

func rangePrefix(t *testing.T, s cluster.Store, p string) {
	do(t, s, puts(put(p+"b", "2"), put(p+"a/1", "1"), put(p+"a", "0"), put(p+"c", "3"), put(strings.TrimSuffix(p, "/")+"0", "x")))
	r := do(t, s, puts(cluster.Op{Key: p + "c"}))
	kvs, rev, err := s.Range(ctx(t), p)
	if err != nil || rev < r.Rev {
		t.Fatalf("Range: revision %d, %v", rev, err)
	}
	if got, want := keys(kvs), []string{p + "a", p + "a/1", p + "b"}; !slices.Equal(got, want) {
		t.Errorf("Range = %v, want %v", got, want)
	}
}

func keys(kvs []cluster.KV) []string {
	var ks []string
	for _, kv := range kvs {
		ks = append(ks, kv.Key)
	}
	return ks
}

// localRange: a Txn returns once this member has applied it, so what it wrote is there at once.
func localRange(t *testing.T, s cluster.Store, p string) {
	for i := range 20 {
		r := do(t, s, puts(put(fmt.Sprintf("%sk%02d", p, i), "v")))
		if kvs, rev := s.LocalRange(p); len(kvs) != i+1 || rev < r.Rev {
			t.Fatalf("after write %d: %d keys at revision %d, written at %d", i, len(kvs), rev, r.Rev)
		}
	}
}

func watchFrom(t *testing.T, s cluster.Store, p string) {
	r := do(t, s, puts(put(p+"k", "1")))
	do(t, s, puts(put(p+"k", "2")))
	do(t, s, puts(put(p+"other", "x"), cluster.Op{Key: p + "k"}))
	w := s.Watch(p+"k", r.Rev)
	defer w.Close()
	var got []string
	var last int64
	for range 3 {
		evs, err := w.Next(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evs {
			if e.ModRev <= last {
				t.Errorf("revision %d after %d", e.ModRev, last)
			}
			last = e.ModRev
			if e.Deleted != (e.Value == nil) {
				t.Errorf("deleted %v with value %q", e.Deleted, e.Value)
			}
			got = append(got, fmt.Sprintf("%s=%s,%v", strings.TrimPrefix(e.Key, p), e.Value, e.Deleted))
		}
	}
	if want := []string{"k=1,false", "k=2,false", "k=,true"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func watchBatches(t *testing.T, s cluster.Store, p string) {
	_, rev, err := s.Range(ctx(t), p)
	if err != nil {
		t.Fatal(err)
	}
	w := s.Watch(p, rev+1)
	defer w.Close()
	go func() {
		for i := range 10 {
			_, _ = s.Txn(ctx(t), puts(put(p+"a", fmt.Sprint(i)), put(p+"b", fmt.Sprint(i))))
		}
	}()
	for i := range 10 {
		evs, err := w.Next(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(evs) != 2 || evs[0].ModRev != evs[1].ModRev || string(evs[0].Value) != fmt.Sprint(i) {
			t.Fatalf("batch %d: %+v", i, evs)
		}
	}
}

func watchNow(t *testing.T, s cluster.Store, p string) {
	do(t, s, puts(put(p+"old", "1")))
	w := s.Watch(p, 0)
	defer w.Close()
	do(t, s, puts(put(p+"new", "1")))
	if evs, err := w.Next(ctx(t)); err != nil || len(evs) != 1 || evs[0].Key != p+"new" {
		t.Errorf("Next = %+v, %v", evs, err)
	}
}

func watchEnds(t *testing.T, s cluster.Store, p string) {
	w := s.Watch(p, 0)
	c, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.Next(c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next with an expired context: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.Next(context.Background())
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	w.Close()
	w.Close()
	if err := <-done; !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("Next on a closed watcher: %v", err)
	}
	if _, err := w.Next(ctx(t)); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}

func refusesBad(t *testing.T, s cluster.Store, p string) {
	for what, txn := range map[string]cluster.Txn{
		"empty key":   puts(put("", "x")),
		"long key":    puts(put(strings.Repeat("k", cluster.MaxKeyBytes+1), "x")),
		"large value": puts(put(p+"k", strings.Repeat("x", cluster.MaxTxnBytes))),
		"negative":    {If: []cluster.Compare{{Key: p + "k", ModRev: -1}}},
	} {
		if _, err := s.Txn(ctx(t), txn); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func cancelled(t *testing.T, s cluster.Store, p string) {
	c, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Get(c, p+"k"); err == nil || errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("Get with a cancelled context: %v", err)
	}
}

// race: of many who create a key exactly one does, and all see the same.
func race(t *testing.T, s cluster.Store, p string) {
	var mu sync.Mutex
	var winners []string
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			v := fmt.Sprint(i)
			r, err := s.Txn(ctx(t), cluster.Txn{If: []cluster.Compare{{Key: p + "k"}}, Then: []cluster.Op{put(p+"k", v)}})
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
			if r.Succeeded {
				mu.Lock()
				winners = append(winners, v)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(winners) != 1 || string(get(t, s, p+"k").Value) != winners[0] {
		t.Errorf("winners %v, stored %s", winners, get(t, s, p+"k").Value)
	}
}

// active returns the active pointer's key, the zero KV if there is none.
func active(t *testing.T, s cluster.Store) cluster.KV {
	t.Helper()
	kv, err := s.Get(ctx(t), cluster.KeyActive)
	if err != nil && !errors.Is(err, cluster.ErrNotFound) {
		t.Fatal(err)
	}
	return kv
}

func generation(t *testing.T, base cluster.KV, id string) cluster.Generation {
	t.Helper()
	g := cluster.Generation{ID: id, Author: "tester", Main: "k.conf", Files: map[string]string{"k.conf": "! " + id + "\n"}}
	if err := g.Prepare(base); err != nil {
		t.Fatal(err)
	}
	return g
}

func push(t *testing.T, s cluster.Store, _ string) {
	base := active(t, s)
	g := generation(t, base, "one")
	if r := do(t, s, cluster.PushTxn(base, g)); !r.Succeeded {
		t.Fatal("push did not succeed")
	}
	if r := do(t, s, cluster.PushTxn(base, generation(t, base, "two"))); r.Succeeded {
		t.Error("a push onto an old base succeeded")
	}
	if r := do(t, s, cluster.PushTxn(base, g)); r.Succeeded {
		t.Error("the same push succeeded twice")
	}
	got, err := cluster.DecodeGeneration(get(t, s, cluster.GenerationKey(g.Number)).Value)
	if err != nil || got.ID != "one" {
		t.Errorf("stored: %+v, %v", got, err)
	}
	if p, err := cluster.DecodePointer(active(t, s).Value); err != nil || p != g.Pointer() {
		t.Errorf("active: %+v, %v", p, err)
	}
}

func stage(t *testing.T, s cluster.Store, _ string) {
	base := active(t, s)
	g := generation(t, base, "staged")
	if r := do(t, s, cluster.StageTxn(base, g)); !r.Succeeded {
		t.Fatal("staging did not succeed")
	}
	if r := do(t, s, cluster.StageTxn(base, g)); r.Succeeded {
		t.Error("staging over a staged generation succeeded")
	}
	if kv := active(t, s); kv.ModRev != base.ModRev {
		t.Error("staging activated")
	}
	next := get(t, s, cluster.KeyNext)
	if r := do(t, s, cluster.AbandonTxn(next, g.Pointer())); !r.Succeeded {
		t.Error("abandoning did not succeed")
	}
	if r := do(t, s, cluster.ActivateTxn(base, next)); r.Succeeded {
		t.Error("an abandoned generation was activated")
	}
	if r := do(t, s, cluster.StageTxn(base, g)); !r.Succeeded {
		t.Error("staging again did not succeed")
	}
	next = get(t, s, cluster.KeyNext)
	if r := do(t, s, cluster.ActivateTxn(base, next)); !r.Succeeded {
		t.Error("activation did not succeed")
	}
	if p, err := cluster.DecodePointer(active(t, s).Value); err != nil || p != g.Pointer() {
		t.Errorf("active: %+v, %v", p, err)
	}
	if _, err := s.Get(ctx(t), cluster.KeyNext); !errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("after activation %s: %v", cluster.KeyNext, err)
	}
}
