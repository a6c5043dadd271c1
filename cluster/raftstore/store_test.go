package raftstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"quorate/cluster"
)

func TestSingleMember(t *testing.T) {
	l := newLab(t)
	m := l.members(1)[0]
	w := m.store.Watch("/k/", 0)
	defer w.Close()
	res, err := m.store.Txn(ctxT(t), put("/k/a", "1"))
	if err != nil || !res.Succeeded || res.Rev != 2 {
		t.Fatalf("Txn = %+v, %v", res, err)
	}
	evs, err := w.Next(ctxT(t))
	if err != nil || len(evs) != 1 || string(evs[0].Value) != "1" || evs[0].ModRev != 2 {
		t.Fatalf("Next = %+v, %v", evs, err)
	}
	m.stop()
	m.start()
	kv, err := m.store.Get(ctxT(t), "/k/a")
	if err != nil || string(kv.Value) != "1" || kv.ModRev != 2 {
		t.Fatalf("after restart Get = %+v, %v", kv, err)
	}
	if _, err := m.store.Get(ctxT(t), "/k/b"); !errors.Is(err, cluster.ErrNotFound) {
		t.Fatalf("missing key: %v", err)
	}
	if err := Bootstrap(m.dir, m.self, nil); err == nil || !strings.Contains(err.Error(), "already holds a store") {
		t.Fatalf("second bootstrap: %v", err)
	}
	if err := InitMember(m.dir, m.self); err == nil || !strings.Contains(err.Error(), "already holds a store") {
		t.Fatalf("init over a store: %v", err)
	}
}

// TestThreeMembers: writes are seen everywhere, survive the loss of the leader, and all of them survive a restart of all.
func TestThreeMembers(t *testing.T) {
	l := newLab(t)
	ms := l.members(3)
	for i := range 30 {
		if _, err := ms[i%3].store.Txn(ctxT(t), put(fmt.Sprintf("/k/%02d", i), "x")); err != nil {
			t.Fatal(err)
		}
	}
	lead := l.leader(ms)
	lead.stop()
	for _, m := range ms {
		if m == lead {
			continue
		}
		l.eventually("a write without the old leader", func() error {
			_, err := m.store.Txn(ctxT(t), put("/after/"+m.self.Name, "y"))
			return err
		})
	}
	lead.start()
	if kvs, _, err := lead.store.Range(ctxT(t), "/after/"); err != nil || len(kvs) != 2 {
		t.Fatalf("returned member reads %v, %v", kvs, err)
	}
	for _, m := range ms {
		m.stop()
	}
	for _, m := range ms {
		m.start()
	}
	for _, m := range ms {
		kvs, _, err := m.store.Range(ctxT(t), "/k/")
		if err != nil || len(kvs) != 30 {
			t.Fatalf("%s after restart of all: %d keys, %v", m.self.Name, len(kvs), err)
		}
	}
}

// TestMinority: a member without a majority says so and who is missing, the first time after a while, then at once.
func TestMinority(t *testing.T) {
	l := newLab(t)
	ms := l.members(3)
	ms[1].stop()
	ms[2].stop()
	s := ms[0].store
	_, err := s.Txn(ctxT(t), put("/k", "v"))
	if !errors.Is(err, cluster.ErrNoQuorum) || !strings.Contains(err.Error(), "1 of 3 members reachable, 2 needed") ||
		!strings.Contains(err.Error(), "lb2 at 127.0.0.1:") {
		t.Fatalf("Txn without quorum: %v", err)
	}
	start := time.Now()
	if _, err := s.Get(ctxT(t), "/boot"); !errors.Is(err, cluster.ErrNoQuorum) {
		t.Fatalf("Get without quorum: %v", err)
	}
	if d := time.Since(start); d > 100*time.Millisecond {
		t.Errorf("the second refusal took %v", d)
	}
	if kvs, _ := s.LocalRange("/boot"); len(kvs) != 1 {
		t.Errorf("LocalRange without quorum: %v", kvs)
	}
	if st := s.Status(); st.HasQuorum || st.Leader != 0 || st.Failed != "" {
		t.Errorf("status without quorum: %+v", st)
	}
	ms[1].start()
	l.eventually("writes with two of three", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Txn(ctx, put("/k2", "v"))
		return err
	})
}

// TestHandOver: a leader that is closed in order has handed over the lead when Close returns.
func TestHandOver(t *testing.T) {
	l := newLab(t)
	l.cfg = func(c *Config) { c.ElectionTicks = 50 } // without it, a second and more
	ms := l.members(3)
	lead := l.leader(ms)
	s := lead.store
	lead.stop()
	if st := s.Status(); st.Leader == lead.self.ID {
		t.Errorf("closed as the leader: %+v", st)
	}
	for _, m := range ms {
		if m != lead {
			if _, err := m.store.Txn(ctxT(t), put("/k", "v")); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := s.Txn(ctxT(t), put("/k", "v")); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("Txn on a closed store: %v", err)
	}
	if _, err := s.Watch("/", 0).Next(ctxT(t)); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("Next on a closed store: %v", err)
	}
}

// TestOpenRefuses: mistakes of an operator get an error that says what to do.
func TestOpenRefuses(t *testing.T) {
	l := newLab(t)
	m := l.members(1)[0]
	for _, c := range []struct {
		what   string
		change func(*Config)
		want   string
	}{
		{"no store", func(c *Config) { c.Dir = t.TempDir() }, "create one first"},
		{"no directory", func(c *Config) { c.Dir = "" }, "no directory"},
		{"in use", func(*Config) {}, "is in use by another process"},
		{"no address", func(c *Config) { c.Self.Address = "" }, "has no address"},
		{"id 0", func(c *Config) { c.Self.ID = 0 }, "id 0 is not allowed"},
	} {
		cfg := m.config()
		c.change(&cfg)
		if s, err := Open(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
			if s != nil {
				_ = s.Close()
			}
		}
	}
	m.stop()
	cfg := m.config()
	cfg.Self.ID = 9
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "is the store of member 1 (lb1), not of 9") {
		t.Errorf("wrong member: %v", err)
	}
}
