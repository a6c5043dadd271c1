package raftstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quorate/cluster"
)

// TestJoinUnderLoad: a member joins while others write, becomes a voter by itself and has everything.
func TestJoinUnderLoad(t *testing.T) {
	l := newLab(t)
	l.cfg = func(c *Config) { c.SnapshotEvery, c.KeepEntries = 40, 10 }
	ms := l.members(2)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	written := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := ms[0].store.Txn(ctxT(t), put(fmt.Sprintf("/k/%05d", written), "v")); err == nil {
				written++
			}
			time.Sleep(time.Millisecond)
		}
	})
	time.Sleep(200 * time.Millisecond)
	j := l.member(3)
	if err := InitMember(j.dir, j.self); err != nil {
		t.Fatal(err)
	}
	j.start()
	// Through a member that need not be the leader.
	if err := ms[1].store.AddMember(ctxT(t), j.self); err != nil {
		t.Fatal(err)
	}
	if err := ms[1].store.AddMember(ctxT(t), j.self); err != nil {
		t.Fatalf("adding it again: %v", err)
	}
	l.eventually("the joiner is a voter", func() error {
		if st := j.store.Status(); st.Self.Learner || len(st.Members) != 3 || !st.HasQuorum {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	cancel()
	wg.Wait()
	if kvs, _, err := j.store.Range(ctxT(t), "/k/"); err != nil || len(kvs) < written {
		t.Fatalf("%d written, the joiner has %d, %v", written, len(kvs), err)
	}
	// It counts: with it and one other there is a majority.
	ms[0].stop()
	l.eventually("a write with the joiner", func() error {
		_, err := j.store.Txn(ctxT(t), put("/x", "y"))
		return err
	})
	other := cluster.Member{ID: 9, Name: "lb3", Address: "127.0.0.1:1"}
	if err := j.store.AddMember(ctxT(t), other); err == nil || !strings.Contains(err.Error(), "has the name or the address") {
		t.Errorf("second member of that name: %v", err)
	}
}

// TestFarBehind: a member that was away longer than the log reaches back is brought up by a snapshot, larger
// than one frame.
func TestFarBehind(t *testing.T) {
	l := newLab(t)
	l.cfg = func(c *Config) { c.SnapshotEvery, c.KeepEntries = 20, 5 }
	ms := l.members(3)
	ms[2].stop()
	big := strings.Repeat("0123456789abcdef", 8<<10) // 128 KiB
	for i := range 60 {
		if _, err := ms[0].store.Txn(ctxT(t), put(fmt.Sprintf("/k/%03d", i), big)); err != nil {
			t.Fatal(err)
		}
	}
	ms[2].start()
	w := ms[2].store.Watch("/", 1)
	defer w.Close()
	kvs, rev, err := ms[2].store.Range(ctxT(t), "/k/")
	if err != nil || len(kvs) != 60 {
		t.Fatalf("%d keys at revision %d, %v", len(kvs), rev, err)
	}
	if _, err := w.Next(ctxT(t)); !errors.Is(err, cluster.ErrCompacted) {
		t.Errorf("a watch from before the snapshot: %v", err)
	}
	w2 := ms[2].store.Watch("/", rev+1)
	defer w2.Close()
	if _, err := ms[0].store.Txn(ctxT(t), put("/live", "1")); err != nil {
		t.Fatal(err)
	}
	if evs, err := w2.Next(ctxT(t)); err != nil || len(evs) != 1 || evs[0].Key != "/live" {
		t.Errorf("a watch after it: %v, %v", evs, err)
	}
}

// TestLogIsBounded: large values make a snapshot before there are many, and neither memory nor disk keeps them all.
func TestLogIsBounded(t *testing.T) {
	l := newLab(t)
	l.cfg = func(c *Config) { c.SnapshotBytes = 4 << 20 }
	m := l.members(1)[0]
	for i := range 64 {
		if _, err := m.store.Txn(ctxT(t), put("/k", strings.Repeat(fmt.Sprint(i%10), 512<<10))); err != nil {
			t.Fatal(err)
		}
	}
	s := m.store
	m.stop()
	if first, applied := s.rep.Kept(), s.Status().Applied; applied-first > 12 {
		t.Errorf("entries %d to %d are in memory", first, applied)
	}
	var size int64
	err := filepath.WalkDir(m.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			size += info.Size()
		}
		return err
	})
	if err != nil || size > 24<<20 {
		t.Errorf("%d MiB on disk after 32 MiB of writes, %v", size>>20, err)
	}
	m.start()
	if kv, err := m.store.Get(ctxT(t), "/k"); err != nil || len(kv.Value) != 512<<10 || kv.Value[0] != '3' {
		t.Errorf("after restart: %d bytes, %v", len(kv.Value), err)
	}
}

// TestRemove: a removed member stops and says why, connected or not, and its id is spent.
func TestRemove(t *testing.T) {
	l := newLab(t)
	ms := l.members(3)
	if err := ms[0].store.RemoveMember(ctxT(t), 3); err != nil {
		t.Fatal(err)
	}
	told := func(m *labMember) func() error {
		return func() error {
			if f := m.store.Status().Failed; !strings.Contains(f, "removed from the cluster") {
				return fmt.Errorf("Failed = %q", f)
			}
			return nil
		}
	}
	l.eventually("the removed member knows", told(ms[2]))
	if _, err := ms[2].store.Txn(ctxT(t), put("/a", "b")); !errors.Is(err, cluster.ErrFailed) {
		t.Errorf("Txn on the removed member: %v", err)
	}
	if err := ms[0].store.AddMember(ctxT(t), ms[2].self); err == nil || !strings.Contains(err.Error(), "cannot be used again") {
		t.Errorf("adding it again: %v", err)
	}
	if err := ms[0].store.RemoveMember(ctxT(t), 77); err == nil || !strings.Contains(err.Error(), "no member has id 77") {
		t.Errorf("removing nobody: %v", err)
	}
	// One that is off at the time learns it when it comes back. A new third keeps the majority.
	j := l.member(4)
	if err := InitMember(j.dir, j.self); err != nil {
		t.Fatal(err)
	}
	j.start()
	if err := ms[0].store.AddMember(ctxT(t), j.self); err != nil {
		t.Fatal(err)
	}
	l.eventually("three voters", func() error {
		if st := j.store.Status(); st.Self.Learner || len(st.Members) != 3 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	ms[1].stop()
	l.eventually("removal of a stopped member", func() error { return ms[0].store.RemoveMember(ctxT(t), 2) })
	ms[1].start()
	l.eventually("the returned member knows", told(ms[1]))
	// The leader removes itself.
	lead := l.leader([]*labMember{ms[0], j})
	if err := lead.store.RemoveMember(ctxT(t), lead.self.ID); err != nil {
		t.Fatal(err)
	}
	l.eventually("the leader knows", told(lead))
	rest := ms[0]
	if lead == rest {
		rest = j
	}
	l.eventually("the last member writes", func() error {
		_, err := rest.store.Txn(ctxT(t), put("/last", "1"))
		return err
	})
	if err := rest.store.RemoveMember(ctxT(t), rest.self.ID); err == nil || !strings.Contains(err.Error(), "only voter") {
		t.Errorf("removing the last: %v", err)
	}
}

// TestWipedVoter: a voter that comes back with an empty store under its old id must not vote again.
func TestWipedVoter(t *testing.T) {
	l := newLab(t)
	ms := l.members(3)
	ms[2].stop()
	ms[2].dir = t.TempDir()
	if err := InitMember(ms[2].dir, ms[2].self); err != nil {
		t.Fatal(err)
	}
	ms[2].start()
	time.Sleep(10 * testTick)
	ms[1].stop()
	l.eventually("no quorum with the empty one", func() error {
		if _, err := ms[0].store.Txn(ctxT(t), put("/a", "b")); !errors.Is(err, cluster.ErrNoQuorum) {
			return fmt.Errorf("Txn: %w", err)
		} else if !strings.Contains(err.Error(), "empty store") {
			return fmt.Errorf("the error does not tell: %w", err)
		}
		return nil
	})
}

// TestNewAddress: a member that comes back at another address is found again.
func TestNewAddress(t *testing.T) {
	l := newLab(t)
	ms := l.members(3)
	ms[1].stop()
	moved := l.member(22)
	_ = ms[1].ln.Close()
	moved.self.ID, moved.self.Name, moved.dir = 2, "lb2", ms[1].dir
	moved.start()
	l.eventually("everyone knows the new address", func() error {
		for _, m := range []*labMember{ms[0], ms[2], moved} {
			for _, o := range m.store.Status().Members {
				if o.ID == 2 && o.Address != moved.self.Address {
					return fmt.Errorf("%s has %s", m.self.Name, o.Address)
				}
			}
		}
		return nil
	})
}

// TestHostileConnections: nothing that arrives on a connection hurts more than that connection.
func TestHostileConnections(t *testing.T) {
	l := newLab(t)
	ms := l.members(2)
	s := ms[0].store
	frame := func(kind frameKind, payload string) string {
		return string(append(binary.BigEndian.AppendUint32(nil, uint32(1+len(payload))), byte(kind))) + payload
	}
	good := fmt.Sprintf(`{"protocol":1,"cluster":"0","from":{"id":"2","name":"lb2","address":%q},"to":"1"}`, ms[1].self.Address)
	for name, in := range map[string]string{
		"nothing":          "",
		"text":             "GET / HTTP/1.1\r\n\r\n",
		"huge frame":       "\xff\xff\xff\xff\x01",
		"half hello":       frame(kindHello, good)[:20],
		"hello not json":   frame(kindHello, "hello"),
		"wrong kind":       frame(kindMessage, good),
		"wrong version":    frame(kindHello, strings.Replace(good, `"protocol":1`, `"protocol":2`, 1)),
		"wrong cluster":    frame(kindHello, strings.Replace(good, `"cluster":"0"`, `"cluster":"12345"`, 1)),
		"wrong member":     frame(kindHello, strings.Replace(good, `"to":"1"`, `"to":"7"`, 1)),
		"myself":           frame(kindHello, strings.Replace(good, `"id":"2"`, `"id":"1"`, 1)),
		"garbage message":  frame(kindHello, good) + frame(kindMessage, "\x08\x99garbage"),
		"foreign message":  frame(kindHello, good) + frame(kindMessage, "\x08\x08\x10\x01\x18\x09"),
		"two hellos":       frame(kindHello, good) + frame(kindHello, good),
		"half a message":   frame(kindHello, good) + frame(kindMessage, strings.Repeat("x", 100))[:50],
		"local message":    frame(kindHello, good) + frame(kindMessage, "\x08\x00\x10\x01\x18\x02"),
		"unknown type":     frame(kindHello, good) + frame(kindMessage, "\x08\x7f\x10\x01\x18\x02"),
		"parts then close": frame(kindHello, good) + frame(kindPart, strings.Repeat("x", 1000)),
	} {
		a, b := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { s.HandleConn(b) })
		wg.Go(func() { // whatever it answers
			r := bufio.NewReader(a)
			for {
				if _, err := r.ReadByte(); err != nil {
					return
				}
			}
		})
		_ = a.SetWriteDeadline(time.Now().Add(2 * time.Second))
		_, _ = a.Write([]byte(in))
		_ = a.Close()
		wg.Wait()
		if f := s.Status().Failed; f != "" {
			t.Fatalf("%s: the store failed: %s", name, f)
		}
	}
	l.eventually("the store still works", func() error {
		_, err := s.Txn(ctxT(t), put("/a", "b"))
		return err
	})
}

// TestMutePeer: a member that hangs (it accepts and reads nothing) neither blocks the others nor fills their memory, and
// is fed again when it returns.
func TestMutePeer(t *testing.T) {
	l := newLab(t)
	ms := l.members(3)
	hung := ms[0]
	if l.leader(ms) == hung {
		hung = ms[1]
	}
	hung.mu.Lock()
	hung.mute = true
	hung.mu.Unlock()
	hung.stop()
	lead := l.leader(ms)
	l.eventually("the leader is connected to the hung member", func() error {
		if ok, why := lead.store.tr.reachable(hung.self.ID); !ok {
			return errors.New(why)
		}
		return nil
	})
	big := strings.Repeat("x", 256<<10)
	for i := range 60 {
		start := time.Now()
		if _, err := lead.store.Txn(ctxT(t), put(fmt.Sprintf("/k/%d", i), big)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 3*time.Second {
			t.Fatalf("write %d took %v", i, d)
		}
	}
	lead.store.tr.mu.Lock()
	queued := len(lead.store.tr.peers[hung.self.ID].queue)
	lead.store.tr.mu.Unlock()
	if queued > sendQueue {
		t.Errorf("%d messages queued", queued)
	}
	hung.start()
	if kvs, _, err := hung.store.Range(ctxT(t), "/k/"); err != nil || len(kvs) != 60 {
		t.Errorf("after its return: %d keys, %v", len(kvs), err)
	}
}

// TestAuthorize: a member that another is not authorized to speak for cannot take part.
func TestAuthorize(t *testing.T) {
	l := newLab(t)
	l.cfg = func(c *Config) {
		c.Authorize = func(conn net.Conn, m cluster.Member) error {
			names := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].DNSNames
			if m.ID == 3 {
				return fmt.Errorf("certificate of %s does not speak for %s", names[0], m.Name)
			}
			return nil
		}
	}
	ms := l.members(2)
	j := l.member(3)
	if err := InitMember(j.dir, j.self); err != nil {
		t.Fatal(err)
	}
	j.start()
	if err := ms[0].store.AddMember(ctxT(t), j.self); err != nil {
		t.Fatal(err)
	}
	l.eventually("the joiner is refused", func() error {
		j.store.tr.setPeer(1, ms[0].self.Address)
		if ok, why := j.store.tr.reachable(1); ok || !strings.Contains(why, "certificate of lab does not speak for lb3") {
			return fmt.Errorf("reachable: %v, %s", ok, why)
		}
		return nil
	})
	if st := ms[0].store.Status(); !st.HasQuorum {
		t.Errorf("%+v", st)
	}
}

// TestIsolatedLeader: the leader of a minority steps down, what it could not commit is not acknowledged, and it
// follows the majority afterwards.
func TestIsolatedLeader(t *testing.T) {
	l := newLab(t)
	ms := l.members(3)
	lead := l.leader(ms)
	l.isolate(lead.self.ID, true)
	_, err := lead.store.Txn(ctxT(t), put("/k", "minority"))
	if !errors.Is(err, cluster.ErrNoQuorum) && !errors.Is(err, cluster.ErrTimeout) {
		t.Fatalf("Txn on an isolated leader: %v", err)
	}
	if _, err := lead.store.Get(ctxT(t), "/k"); !errors.Is(err, cluster.ErrNoQuorum) {
		t.Fatalf("Get on an isolated leader: %v", err)
	}
	for _, m := range ms {
		if m != lead {
			l.eventually("the majority writes", func() error {
				_, err := m.store.Txn(ctxT(t), put("/k", "majority"))
				return err
			})
		}
	}
	l.isolate(lead.self.ID, false)
	l.eventually("the old leader follows", func() error {
		kv, err := lead.store.Get(ctxT(t), "/k")
		if err == nil && string(kv.Value) != "majority" {
			t.Fatalf("reads %s", kv.Value)
		}
		return err
	})
}
