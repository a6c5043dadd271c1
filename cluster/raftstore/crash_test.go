package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/cluster"
)

// crash ends a member as a killed process would: what the store has not synced is what the files happen to hold, and
// the write that was under way leaves a torn record. The files are copied while the store still runs.
func (m *labMember) crash(rnd *rand.Rand) {
	m.lab.t.Helper()
	m.mu.Lock()
	s := m.store
	m.store = nil
	m.mu.Unlock()
	if s == nil {
		return
	}
	// The loop ends without the orderly end of the disk.
	s.abrupt.Store(true)
	close(s.stopc)
	<-s.looped
	image := filepath.Join(m.lab.t.TempDir(), "image")
	if err := os.CopyFS(image, os.DirFS(m.dir)); err != nil {
		m.lab.t.Fatal(err)
	}
	s.closeOnce.Do(func() {
		s.tr.close()
		_ = s.disk.Close()
	})
	if rnd != nil {
		tear(m.lab.t, lastLog(m.lab.t, image), rnd)
	}
	m.dir = image
}

// lastLog returns the newest log file below the store's directory.
func lastLog(t testing.TB, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, storeSubdir, walSubdir, "*.wal"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no log files in %s: %v", dir, err)
	}
	slices.Sort(names)
	return names[len(names)-1]
}

// tear adds to the end of a log file the beginning of a record whose rest was never written.
func tear(t testing.TB, path string, rnd *rand.Rand) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end, err := endOfLog(b)
	if err != nil {
		t.Fatal(err)
	}
	// The first record of the file serves as a pattern, repeated to be large.
	rec := bytes.Repeat([]byte{0xa7}, 900)
	frame := append([]byte{0x80, 0x03, 0, 0, 0, 0, 0, 0}, rec[:0x380]...)
	n := 1 + rnd.IntN(len(frame)-64)
	if end+len(frame) > len(b) {
		return 0
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(frame[:n], int64(end))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCrashesLoseNothing pushes generations while members crash, with torn logs, and return at random. Each
// acknowledged generation must be there at the end, on all members alike.
func TestCrashesLoseNothing(t *testing.T) {
	const generations = 200
	l := newLab(t)
	l.cfg = func(c *Config) { c.SnapshotEvery, c.KeepEntries = 50, 10 }
	ms := l.members(3)
	rnd := rand.New(rand.NewPCG(1, 2))

	crashes := 0
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(150+rnd.IntN(250)) * time.Millisecond):
			}
			// One or, seldom, all of them.
			down := []*labMember{ms[rnd.IntN(3)]}
			if rnd.IntN(5) == 0 {
				down = ms
			}
			for _, m := range down {
				m.crash(rnd)
				crashes++
			}
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			for _, m := range down {
				if err := m.open(); err != nil {
					t.Errorf("%s does not come back: %v", m.self.Name, err)
				}
			}
		}
	}()

	acked := map[int64]string{}
	deadline := time.Now().Add(25 * time.Second)
	for n, try := int64(1), 0; n <= generations && time.Now().Before(deadline) && !t.Failed(); try++ {
		s := ms[rnd2(try)].get()
		if s == nil {
			continue
		}
		hash, err := pushOne(s, n, try)
		if err == nil {
			acked[n] = hash
			n++
			time.Sleep(10 * time.Millisecond) // spread over many crashes
		}
	}
	close(stop)
	<-stopped
	if len(acked) != generations {
		t.Errorf("only %d of %d generations were accepted in time", len(acked), generations)
	}
	if crashes < 5 {
		t.Errorf("only %d crashes", crashes)
	}
	var first []cluster.KV
	for _, m := range ms {
		kvs, rev, err := m.get().Range(ctxT(t), "")
		if err != nil {
			t.Fatalf("%s: %v", m.self.Name, err)
		}
		if first == nil {
			first = kvs
		}
		if !slices.EqualFunc(first, kvs, func(a, b cluster.KV) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && a.ModRev == b.ModRev && a.CreateRev == b.CreateRev
		}) {
			t.Errorf("%s at revision %d differs from %s", m.self.Name, rev, ms[0].self.Name)
		}
	}
	got := map[int64]string{}
	for _, kv := range first {
		if n, ok := cluster.GenerationNumber(kv.Key); ok {
			g, err := cluster.DecodeGeneration(kv.Value)
			if err != nil {
				t.Fatal(err)
			}
			got[n] = g.Hash
		}
	}
	for n, h := range acked {
		if got[n] != h {
			t.Errorf("generation %d: acknowledged with hash %s, found %q", n, h, got[n])
		}
	}
}

func rnd2(i int) int { return (i * 7 / 2) % 3 }

// pushOne pushes generation n the way the API does: it reads the active pointer, pushes, and after an unknown
// outcome finds out by the ID whether the push took effect.
func pushOne(s *Store, n int64, try int) (hash string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	active, err := s.Get(ctx, cluster.KeyActive)
	if err != nil && !errors.Is(err, cluster.ErrNotFound) {
		return "", err
	}
	p, err := cluster.DecodePointer(active.Value)
	if err != nil {
		return "", err
	}
	if p.Number == n {
		return p.Hash, nil // an earlier attempt of unknown outcome had succeeded
	}
	g := cluster.Generation{ID: fmt.Sprint(n, "/", try), Main: "a.conf", Files: map[string]string{"a.conf": fmt.Sprint("! ", n, " try ", try)}}
	if err := g.Prepare(active); err != nil {
		return "", err
	}
	if g.Number != n {
		return "", fmt.Errorf("generation %d is next, not %d", g.Number, n)
	}
	res, err := s.Txn(ctx, cluster.PushTxn(active, g))
	if err != nil {
		return "", err
	}
	if !res.Succeeded {
		return "", errors.New("somebody else pushed")
	}
	return g.Hash, nil
}

// TestTruncatedLog cuts the log at many places. The member must either open, with a prefix of what was written,
// or refuse; it must never open with anything else, and a cut between two records must not be noticed as damage.
func TestTruncatedLog(t *testing.T) {
	l := newLab(t)
	m := l.members(1)[0]
	for i := range 40 {
		if _, err := m.store.Txn(ctxT(t), put(fmt.Sprintf("/k/%03d", i), strings.Repeat("v", i*7))); err != nil {
			t.Fatal(err)
		}
	}
	m.stop()
	b, err := os.ReadFile(lastLog(t, m.dir))
	if err != nil {
		t.Fatal(err)
	}
	end, err := endOfLog(b)
	if err != nil {
		t.Fatal(err)
	}
	opened, refused := 0, 0
	for at := 1; at < end+16; at += 61 {
		dir := filepath.Join(t.TempDir(), "c")
		if err := os.CopyFS(dir, os.DirFS(m.dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(lastLog(t, dir), int64(at)); err != nil {
			t.Fatal(err)
		}
		cfg := m.config()
		cfg.Dir = dir
		s, err := Open(cfg)
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), dir) {
				t.Fatalf("cut at %d: error does not name the place: %v", at, err)
			}
			continue
		}
		opened++
		kvs, _, err := s.Range(ctxT(t), "/k/")
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		for i, kv := range kvs {
			if kv.Key != fmt.Sprintf("/k/%03d", i) || len(kv.Value) != i*7 {
				t.Fatalf("cut at %d: key %d is %s with %d bytes", at, i, kv.Key, len(kv.Value))
			}
		}
		if at >= end && len(kvs) != 40 {
			t.Fatalf("cut at %d, after the end %d: %d keys", at, end, len(kvs))
		}
		if _, err := s.Txn(ctxT(t), put("/again", "1")); err != nil {
			t.Fatalf("cut at %d: cannot write: %v", at, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(cfg); err != nil {
			t.Fatalf("cut at %d: does not open a second time: %v", at, err)
		}
		if kv, _ := s.LocalRange("/again"); len(kv) != 1 {
			t.Fatalf("cut at %d: what was written after the repair is gone", at)
		}
		_ = s.Close()
	}
	if opened < 40 || refused == 0 {
		t.Errorf("%d opened, %d refused: the cuts do not cover what they should", opened, refused)
	}
}

// TestDamagedLog flips bits in the middle of the log: never accepted in silence.
func TestDamagedLog(t *testing.T) {
	l := newLab(t)
	m := l.members(1)[0]
	for i := range 20 {
		if _, err := m.store.Txn(ctxT(t), put(fmt.Sprintf("/k/%03d", i), "value")); err != nil {
			t.Fatal(err)
		}
	}
	m.stop()
	path := lastLog(t, m.dir)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end, err := endOfLog(good)
	if err != nil {
		t.Fatal(err)
	}
	cfg := m.config()
	harmless := 0
	for at := 0; at < end-200; at += 23 {
		b := bytes.Clone(good)
		b[at] ^= 0x10
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(cfg)
		if err == nil {
			// A flip in padding hurts nobody.
			kvs, _ := s.LocalRange("/k/")
			_ = s.Close()
			if len(kvs) != 20 {
				t.Fatalf("flip at %d of %d: opened with %d of 20 keys", at, end, len(kvs))
			}
			harmless++
			continue
		}
		if !strings.Contains(err.Error(), "remove it from the cluster") && !strings.Contains(err.Error(), "unknown header") || !strings.Contains(err.Error(), m.dir) {
			t.Fatalf("flip at %d: the error lacks place or remedy: %v", at, err)
		}
	}
	if harmless > 30 {
		t.Errorf("%d flips did nothing", harmless)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
}

// TestTornTail covers what cutTornTail may and may not cut.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	self := cluster.Member{ID: 1, Name: "a", Address: "a:1"}
	if err := Bootstrap(dir, self, nil); err != nil {
		t.Fatal(err)
	}
	path := lastLog(t, dir)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := cutTornTail(path); n != 0 || err != nil {
		t.Fatalf("clean log: cut %d, %v", n, err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		n := tear(t, path, rnd)
		cut, err := cutTornTail(path)
		if err != nil || cut != int64(n) {
			t.Fatalf("torn by %d: cut %d, %v", n, cut, err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(after, b) {
			t.Fatalf("torn by %d: the file is not as before (%v)", n, err)
		}
	}
	if _, err := cutTornTail(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing file: %v", err)
	}
}

func FuzzEndOfLog(f *testing.F) {
	dir := f.TempDir()
	if err := Bootstrap(dir, cluster.Member{ID: 1, Name: "a", Address: "a:1"}, nil); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(lastLog(f, dir))
	if err != nil {
		f.Fatal(err)
	}
	end, _ := endOfLog(b)
	f.Add(b[:end])
	f.Add(b[:end-5])
	f.Add([]byte{1})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0x87, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := endOfLog(b)
		if err == nil && (n < 0 || n > len(b)) {
			t.Fatalf("end %d of %d bytes", n, len(b))
		}
		if err == nil {
			if again, err := endOfLog(b[:n]); err != nil || again != n {
				t.Fatalf("what is kept does not check: %d, %v", again, err)
			}
		}
	})
}
