package raftstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"quorate/cluster"
	"quorate/cluster/replica"
)

// Disk keeps what raft must not forget. The store calls it from one goroutine at a time, Load first.
// After an error of Append or SaveSnapshot the store never calls it again except for Close.
type Disk interface {
	// Load reads everything and makes the disk ready for Append.
	Load() (Loaded, error)
	// Append returns after the entries, and a changed term or vote, are on stable storage. A hard state in
	// which only the commit index differs may be written later. hs may be nil.
	Append(hs *raftpb.HardState, ents []*raftpb.Entry) error
	// SaveSnapshot returns after the snapshot is on stable storage and will be the one that Load finds.
	SaveSnapshot(snap *raftpb.Snapshot) error
	// Compact removes what the newest snapshots have made superfluous. It never touches what Load needs.
	Compact() error
	Close() error
}

// Loaded is what a disk held.
type Loaded struct {
	Self      cluster.Member    // as given to Bootstrap or InitMember
	Snapshot  *raftpb.Snapshot  // nil: none yet
	HardState *raftpb.HardState // never nil
	Entries   []*raftpb.Entry   // those after the snapshot
	CutFile   string            // the file whose torn end was cut off, "" if none was
	CutBytes  int64             // how much of it
}

// segmentBytes is the size to which etcd's wal package preallocates each file; there are usually two of them.
// Its default of 64 MB is made for databases, not for the configuration of a load balancer.
const segmentBytes = 4 << 20

func init() { wal.SegmentSizeBytes = segmentBytes }

// The layout below the directory of the store. Everything is in one subdirectory so that creating a store
// is one rename: it exists whole or not at all.
const (
	storeSubdir = "raft"
	walSubdir   = "wal"
	snapSubdir  = "snap"
)

// keepSnapshots is how many snapshots stay: the newest and one before it, should the newest be unreadable.
const keepSnapshots = 2

// walMeta is recorded at the head of each file of the log.
type walMeta struct {
	Version int            `json:"version"`
	Self    cluster.Member `json:"self"`
}

type walDisk struct {
	dir  string // the subdirectory
	log  *slog.Logger
	w    *wal.WAL
	snap *snap.Snapshotter
	lock *os.File // held while the disk is in use
}

// OpenDisk returns the disk below dir, which Bootstrap or InitMember has prepared, built on etcd's wal and snap packages.
func OpenDisk(dir string, log *slog.Logger) Disk {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &walDisk{dir: filepath.Join(dir, storeSubdir), log: log}
}

// remedy is what every error about damage ends with.
const remedy = replica.Remedy

func (d *walDisk) Load() (Loaded, error) {
	var l Loaded
	walDir, snapDir := filepath.Join(d.dir, walSubdir), filepath.Join(d.dir, snapSubdir)
	if !wal.Exist(walDir) {
		return l, fmt.Errorf("%s holds no store: create one first (bootstrap or join)", filepath.Dir(d.dir))
	}
	// Before anything is looked at: the end of a log that another process is writing looks torn.
	if err := d.lockDir(); err != nil {
		return l, err
	}
	names, err := filepath.Glob(filepath.Join(walDir, "*.wal"))
	if err != nil {
		return l, err
	}
	slices.Sort(names) // their names begin with a sequence number
	l.CutFile = names[len(names)-1]
	if l.CutBytes, err = cutTornTail(l.CutFile); err != nil {
		return l, err
	}
	if l.CutBytes == 0 {
		l.CutFile = ""
	}

	nop := zap.NewNop()
	recorded, err := wal.ValidSnapshotEntries(nop, walDir)
	if err != nil {
		return l, fmt.Errorf("read log %s: %w: %s", walDir, err, remedy)
	}
	d.snap = snap.New(nop, snapDir)
	l.Snapshot, err = d.snap.LoadNewestAvailable(recorded)
	if err != nil && !errors.Is(err, snap.ErrNoSnapshot) {
		return l, fmt.Errorf("read snapshot in %s: %w", snapDir, err)
	}
	start, newest := &walpb.Snapshot{Index: new(uint64(0)), Term: new(uint64(0))}, uint64(0)
	for _, r := range recorded {
		newest = max(newest, r.GetIndex())
	}
	if l.Snapshot != nil {
		start.Index, start.Term = new(l.Snapshot.GetMetadata().GetIndex()), new(l.Snapshot.GetMetadata().GetTerm())
	} else if newest > 0 {
		return l, fmt.Errorf("no readable snapshot in %s, the log needs the one at index %d: %s", snapDir, newest, remedy)
	}
	if start.GetIndex() < newest {
		d.log.Warn("newest snapshot is unreadable, using an older one and the log", "dir", snapDir, "newest", newest, "used", start.GetIndex())
	}
	w, err := wal.Open(nop, walDir, start)
	if err != nil {
		return l, fmt.Errorf("open log %s: %w", walDir, err)
	}
	meta, hs, ents, err := w.ReadAll()
	if err != nil {
		_ = w.Close()
		if errors.Is(err, syscall.ENOSPC) {
			return l, fmt.Errorf("open log %s: %w", walDir, err)
		}
		return l, fmt.Errorf("read log %s: %w: %s", walDir, err, remedy)
	}
	var m walMeta
	if err := json.Unmarshal(meta, &m); err != nil || m.Version != 1 || m.Self.ID == 0 {
		_ = w.Close()
		return l, fmt.Errorf("log %s: unknown header %q: it was written by another version or program", walDir, meta)
	}
	if l.Snapshot == nil && !m.Self.Learner {
		_ = w.Close()
		return l, fmt.Errorf("log %s: the record of the first snapshot is missing: %s", walDir, remedy)
	}
	d.w, l.Self, l.HardState, l.Entries = w, m.Self, hs, ents
	return l, nil
}

func (d *walDisk) Append(hs *raftpb.HardState, ents []*raftpb.Entry) error {
	if err := d.w.Save(hs, ents); err != nil {
		return d.named(walSubdir, err)
	}
	return nil
}

func (d *walDisk) SaveSnapshot(s *raftpb.Snapshot) error {
	// The file before the record in the log: a recorded snapshot always has its file.
	if err := d.snap.SaveSnap(s); err != nil {
		return d.named(snapSubdir, err)
	}
	if err := syncDir(filepath.Join(d.dir, snapSubdir)); err != nil {
		return d.named(snapSubdir, err)
	}
	md := s.GetMetadata()
	err := d.w.SaveSnapshot(&walpb.Snapshot{Index: new(md.GetIndex()), Term: new(md.GetTerm()), ConfState: md.GetConfState()})
	if err != nil {
		return d.named(walSubdir, err)
	}
	return nil
}

// named adds which file could not be written to errors that do not say so.
func (d *walDisk) named(sub string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return err
	}
	return fmt.Errorf("write %s: %w", filepath.Join(d.dir, sub), err)
}

func (d *walDisk) Compact() error {
	snaps, err := filepath.Glob(filepath.Join(d.dir, snapSubdir, "*.snap"))
	if err != nil {
		return err
	}
	// TERM-INDEX.snap: both only grow, so the names sort by age.
	slices.Sort(snaps)
	if len(snaps) < keepSnapshots {
		return nil
	}
	var term, keep uint64
	oldest := filepath.Base(snaps[len(snaps)-keepSnapshots])
	if _, err := fmt.Sscanf(oldest, "%016x-%016x.snap", &term, &keep); err != nil {
		return fmt.Errorf("snapshot file %s: %w", oldest, err)
	}
	for _, s := range snaps[:len(snaps)-keepSnapshots] {
		if err := os.Remove(s); err != nil {
			return err
		}
	}
	if err := d.w.ReleaseLockTo(keep); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(d.dir, walSubdir, "*.wal"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	// A file whose successor begins at or before keep holds nothing after it.
	for i := 0; i+1 < len(files); i++ {
		var seq, first uint64
		if _, err := fmt.Sscanf(filepath.Base(files[i+1]), "%016x-%016x.wal", &seq, &first); err != nil {
			return fmt.Errorf("log file %s: %w", files[i+1], err)
		}
		if first > keep {
			break
		}
		if err := os.Remove(files[i]); err != nil {
			return err
		}
	}
	return nil
}

// lockDir makes this process the only user of the store.
func (d *walDisk) lockDir() error {
	f, err := os.OpenFile(filepath.Join(d.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("store %s is in use by another process", d.dir)
		}
		return fmt.Errorf("lock store %s: %w", d.dir, err)
	}
	d.lock = f
	return nil
}

func (d *walDisk) Close() error {
	if d.lock != nil {
		defer func() {
			_ = d.lock.Close() // which unlocks
			d.lock = nil
		}()
	}
	if d.w == nil {
		return nil
	}
	w := d.w
	d.w = nil
	err := w.Close()
	if err != nil {
		// wal.Close gives up before it releases its locks when the final sync fails.
		_ = w.ReleaseLockTo(math.MaxUint64)
	}
	return err
}

// createStore makes the store of a member below dir. Without a snapshot it is the empty one of a joiner.
func createStore(dir string, self cluster.Member, s *raftpb.Snapshot) (err error) {
	final, tmp := filepath.Join(dir, storeSubdir), filepath.Join(dir, storeSubdir+".new")
	if _, err := os.Lstat(final); err == nil {
		return fmt.Errorf("%s already holds a store: move it away first if the member is to start anew", final)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(tmp); err != nil { // of an attempt that was interrupted
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	if err := os.MkdirAll(filepath.Join(tmp, snapSubdir), 0o700); err != nil {
		return err
	}
	meta, err := json.Marshal(walMeta{Version: 1, Self: self})
	if err != nil {
		return err
	}
	w, err := wal.Create(zap.NewNop(), filepath.Join(tmp, walSubdir), meta)
	if err != nil {
		return fmt.Errorf("create log in %s: %w", tmp, err)
	}
	d := &walDisk{dir: tmp, w: w, snap: snap.New(zap.NewNop(), filepath.Join(tmp, snapSubdir))}
	if s != nil && !raft.IsEmptySnap(s) {
		md := s.GetMetadata()
		err = d.Append(&raftpb.HardState{Term: new(md.GetTerm()), Vote: new(uint64(0)), Commit: new(md.GetIndex())}, nil)
		if err == nil {
			err = d.SaveSnapshot(s)
		}
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("create store in %s: %w", tmp, err)
	}
	if err := syncDir(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// diskReason says in an operator's words why a write failed.
func diskReason(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "disk full: " + err.Error()
	case errors.Is(err, syscall.EROFS):
		return "disk is read-only: " + err.Error()
	default:
		return "disk failed: " + err.Error()
	}
}
