package raftstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
)

// faultyDisk refuses writes while err is set. As on a full disk, part of what it refuses may be there.
type faultyDisk struct {
	Disk
	err atomic.Pointer[error]
}

func (d *faultyDisk) fail(err error) { d.err.Store(&err) }

func (d *faultyDisk) Append(hs *raftpb.HardState, ents []*raftpb.Entry) error {
	if e := d.err.Load(); e != nil {
		return *e
	}
	return d.Disk.Append(hs, ents)
}

func (d *faultyDisk) SaveSnapshot(s *raftpb.Snapshot) error {
	if e := d.err.Load(); e != nil {
		return *e
	}
	return d.Disk.SaveSnapshot(s)
}

// TestDiskFailure: a leader whose disk refuses a write acknowledges nothing more and says why; the others go on; it
// comes back with everything after it was opened again.
func TestDiskFailure(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "write", Path: "/x/wal", Err: syscall.ENOSPC}, "disk full: write /x/wal: no space left on device"},
		{fmt.Errorf("fsync: %w", syscall.EIO), "disk failed: fsync: input/output error"},
		{fmt.Errorf("write: %w", syscall.EROFS), "disk is read-only: write: read-only file system"},
	} {
		t.Run(c.want[:9], func(t *testing.T) {
			l := newLab(t)
			disks := map[uint64]*faultyDisk{}
			l.cfg = func(c *Config) {
				d := &faultyDisk{Disk: OpenDisk(c.Dir, nil)}
				c.Disk, disks[c.Self.ID] = d, d
			}
			ms := l.members(3)
			lead := l.leader(ms)
			if _, err := lead.store.Txn(ctxT(t), put("/before", "1")); err != nil {
				t.Fatal(err)
			}
			w := lead.store.Watch("/", 0)
			disks[lead.self.ID].fail(c.err)
			_, err := lead.store.Txn(ctxT(t), put("/lost", "1"))
			if !errors.Is(err, cluster.ErrFailed) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Txn on the failed disk: %v", err)
			}
			if st := lead.store.Status(); st.Failed != c.want || st.HasQuorum {
				t.Fatalf("Status = %+v", st)
			}
			if _, err := lead.store.Get(ctxT(t), "/before"); !errors.Is(err, cluster.ErrFailed) {
				t.Errorf("Get: %v", err)
			}
			if _, err := w.Next(ctxT(t)); !errors.Is(err, cluster.ErrFailed) {
				t.Errorf("Next: %v", err)
			}
			if kvs, _ := lead.store.LocalRange("/before"); len(kvs) != 1 {
				t.Errorf("LocalRange: %v", kvs)
			}
			for _, m := range ms {
				if m == lead {
					continue
				}
				l.eventually("the others go on", func() error {
					_, err := m.store.Txn(ctxT(t), put("/on/"+m.self.Name, "1"))
					return err
				})
			}
			lead.stop()
			lead.start()
			if kvs, _, err := lead.store.Range(ctxT(t), "/on/"); err != nil || len(kvs) != 2 {
				t.Errorf("after the repair: %v, %v", kvs, err)
			}
		})
	}
}

// TestDiskFull fills a real small file system, frees it again, and finds everything that was acknowledged.
func TestDiskFull(t *testing.T) {
	// Small values fill the log from segment to segment; one large value does not fit in a segment and
	// fails in the middle of its record.
	for _, size := range []int{100 << 10, 5 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) { diskFull(t, size) })
	}
}

func diskFull(t *testing.T, size int) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=20m"); err != nil {
		t.Skipf("cannot mount a tmpfs (root is needed): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	self := cluster.Member{ID: 1, Name: "a", Address: "a:1"}
	store := filepath.Join(dir, "store")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Bootstrap(store, self, nil); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Dir: store, Self: self, Tick: testTick})
	if err != nil {
		t.Fatal(err)
	}
	acked := 0
	for ; ; acked++ {
		_, err = s.Txn(ctxT(t), put(fmt.Sprintf("/k/%05d", acked), strings.Repeat("x", size)))
		if err != nil {
			break
		}
		if acked > 1000 {
			t.Fatal("the disk does not fill up")
		}
	}
	if !errors.Is(err, cluster.ErrFailed) || !strings.Contains(err.Error(), "disk full: ") || !strings.Contains(err.Error(), store) {
		t.Fatalf("on the full disk: %v", err)
	}
	if f := s.Status().Failed; !strings.Contains(f, "no space left on device") {
		t.Fatalf("Failed = %q", f)
	}
	_ = s.Close()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(Config{Dir: store, Self: self, Tick: testTick}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	kvs, _, err := s.Range(ctxT(t), "/k/")
	if err != nil || len(kvs) < acked || len(kvs) > acked+1 {
		t.Fatalf("%d were acknowledged, %d are there, %v", acked, len(kvs), err)
	}
	if _, err := s.Txn(ctxT(t), put("/again", "1")); err != nil {
		t.Fatalf("with free space: %v", err)
	}
}

// TestDamagedSnapshot: an unreadable newest snapshot is replaced by the one before it and the log; without any the
// member refuses to start.
func TestDamagedSnapshot(t *testing.T) {
	l := newLab(t)
	l.cfg = func(c *Config) { c.SnapshotEvery, c.KeepEntries = 20, 5 }
	m := l.members(1)[0]
	for i := range 100 {
		if _, err := m.store.Txn(ctxT(t), put(fmt.Sprintf("/k/%03d", i), "value")); err != nil {
			t.Fatal(err)
		}
	}
	m.stop()
	snaps, err := filepath.Glob(filepath.Join(m.dir, storeSubdir, snapSubdir, "*.snap"))
	if err != nil || len(snaps) != keepSnapshots {
		t.Fatalf("snapshots %v, %v", snaps, err)
	}
	damage := func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage(snaps[1])
	m.start()
	if kvs, _, err := m.store.Range(ctxT(t), "/k/"); err != nil || len(kvs) != 100 {
		t.Fatalf("from the older snapshot: %d keys, %v", len(kvs), err)
	}
	m.stop()
	snaps, _ = filepath.Glob(filepath.Join(m.dir, storeSubdir, snapSubdir, "*.snap"))
	for _, s := range snaps {
		damage(s)
	}
	if err := m.open(); err == nil || !strings.Contains(err.Error(), "no readable snapshot") || !strings.Contains(err.Error(), "remove it from the cluster") {
		t.Fatalf("without any snapshot: %v", err)
	}
}
