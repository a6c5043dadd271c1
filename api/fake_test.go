package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"net/netip"
	"quorate/cluster"
	"quorate/node"
	"quorate/node/host"
)

// memStorage is a Storage whose replicas share one machine in memory: a cluster with perfect consensus, and a switch to lose it.
type memStorage struct {
	mu      sync.Mutex
	m       *cluster.Machine
	members []cluster.Member
	changed chan struct{} // closed and replaced on every change
	down    bool          // no quorum
	openErr error
	failed  string // why every open store has failed
	opened  int
	lossy   int              // so many transactions are applied without their callers learning of it
	behind  *cluster.Machine // what LocalRange knows until the next linearizable read; nil: everything
}

func newMemStorage() *memStorage {
	return &memStorage{m: cluster.NewMachine(), changed: make(chan struct{})}
}

func (s *memStorage) notify() { close(s.changed); s.changed = make(chan struct{}) }

func (s *memStorage) Bootstrap(dir string, self cluster.Member, initial []cluster.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m.Apply(cluster.Txn{Then: initial})
	s.members = []cluster.Member{self}
	return os.MkdirAll(dir, 0o700)
}

func (s *memStorage) InitMember(dir string, _ cluster.Member) error { return os.MkdirAll(dir, 0o700) }

func (s *memStorage) Open(c StorageConfig) (Replica, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openErr != nil {
		return nil, s.openErr
	}
	if _, err := os.Stat(c.Dir); err != nil {
		return nil, err
	}
	s.opened++
	return &memReplica{s: s, self: c.Self}, nil
}

func (s *memStorage) set(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f(); s.notify() }

type memReplica struct {
	s    *memStorage
	self cluster.Member
}

func (r *memReplica) Get(_ context.Context, key string) (cluster.KV, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.down {
		return cluster.KV{}, cluster.ErrNoQuorum
	}
	r.s.behind = nil
	kv, ok := r.s.m.Get(key)
	if !ok {
		return kv, fmt.Errorf("%s: %w", key, cluster.ErrNotFound)
	}
	return kv, nil
}

func (r *memReplica) Range(_ context.Context, prefix string) ([]cluster.KV, int64, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.down {
		return nil, 0, cluster.ErrNoQuorum
	}
	r.s.behind = nil
	return r.s.m.Range(prefix), r.s.m.Rev(), nil
}

func (r *memReplica) LocalRange(prefix string) ([]cluster.KV, int64) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.behind != nil {
		return r.s.behind.Range(prefix), r.s.behind.Rev()
	}
	return r.s.m.Range(prefix), r.s.m.Rev()
}

func (r *memReplica) Txn(_ context.Context, t cluster.Txn) (cluster.TxnResult, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.down {
		return cluster.TxnResult{}, cluster.ErrNoQuorum
	}
	res := r.s.m.Apply(t)
	r.s.notify()
	if r.s.lossy > 0 {
		r.s.lossy--
		return cluster.TxnResult{}, cluster.ErrTimeout
	}
	return res, nil
}

func (r *memReplica) Watch(prefix string, rev int64) cluster.Watcher {
	return &memWatcher{r.s, prefix, rev}
}

type memWatcher struct {
	s      *memStorage
	prefix string
	rev    int64
}

func (w *memWatcher) Next(ctx context.Context) ([]cluster.Event, error) {
	for {
		w.s.mu.Lock()
		evs, next, err := w.s.m.Since(w.prefix, w.rev)
		changed := w.s.changed
		w.s.mu.Unlock()
		w.rev = next
		if err != nil || evs != nil {
			return evs, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

func (w *memWatcher) Close() {}

func (r *memReplica) Status() cluster.Status {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	st := cluster.Status{Self: r.self, Members: slices.Clone(r.s.members), Term: 3, HasQuorum: !r.s.down, Rev: r.s.m.Rev(), Failed: r.s.failed}
	slices.SortFunc(st.Members, func(a, b cluster.Member) int { return cmpString(a.Name, b.Name) })
	if st.HasQuorum && len(r.s.members) > 0 {
		st.Leader = r.s.members[0].ID
	}
	return st
}

func cmpString(a, b string) int {
	if a < b {
		return -1
	} else if a > b {
		return 1
	}
	return 0
}

func (r *memReplica) HandleConn(c net.Conn) { _ = c.Close() }

func (r *memReplica) AddMember(_ context.Context, m cluster.Member) error {
	r.s.set(func() { r.s.members = append(r.s.members, m) })
	return nil
}

func (r *memReplica) RemoveMember(_ context.Context, id uint64) error {
	r.s.set(func() {
		r.s.members = slices.DeleteFunc(r.s.members, func(m cluster.Member) bool { return m.ID == id })
	})
	return nil
}

func (r *memReplica) Close() error { return nil }

// fakeWorker runs whatever it is told to, unless refuse says why not, and reports instances.
type fakeWorker struct {
	name string
	out  chan host.Message

	mu     sync.Mutex
	refuse string
	deaf   bool
	insts  []node.InstanceStatus
	got    []int64
}

func newFakeWorker(name string) *fakeWorker {
	return &fakeWorker{name: name, out: make(chan host.Message, 100)}
}

func (w *fakeWorker) Recv(ctx context.Context) (host.Message, error) {
	select {
	case <-ctx.Done():
		return host.Message{}, ctx.Err()
	case m := <-w.out:
		return m, nil
	}
}

func (w *fakeWorker) Send(m host.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf {
		return host.ErrFull
	}
	w.got = append(w.got, m.Generation)
	if m.Kind != host.KindApply {
		return nil
	}
	if w.refuse != "" {
		w.out <- host.Message{Kind: host.KindApplied, Worker: w.name, Generation: m.Generation, Error: w.refuse}
		return nil
	}
	w.out <- host.Message{Kind: host.KindApplied, Worker: w.name, Generation: m.Generation}
	for _, p := range host.SplitStatus(host.Message{Worker: w.name, PID: 42, Generation: m.Generation}, w.insts, nil, nil) {
		w.out <- p
	}
	return nil
}

func (w *fakeWorker) set(f func()) { w.mu.Lock(); defer w.mu.Unlock(); f() }

// member is one running server of a test.
type member struct {
	*Client
	name, dir, addr string
	vrrp, checker   *fakeWorker
	damaged         bool // its store will not open
	stop            func()
}

// addresses counts what freeAddress has given out.
var addresses atomic.Uint32

// freeAddress is an address that nobody listens on. Each has an IP address of its own, since a port of 127.0.0.1 found free may be
// taken by some connection before it is listened on.
func freeAddress(t testing.TB) string {
	t.Helper()
	pid, n := os.Getpid(), addresses.Add(1)
	return fmt.Sprintf("127.%d.%d.%d:8470", 1+pid%250, pid/250%250, 1+n%250)
}

// startMember runs a server on a state directory; it ends with the test at the latest.
func startMember(t *testing.T, st Storage, dir string, tune func(*Config, *member)) *member {
	t.Helper()
	id, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{name: id.Name, dir: dir, addr: id.Address, vrrp: newFakeWorker("vrrp"), checker: newFakeWorker("checker")}
	cfg := Config{StateDir: dir, RunDir: shortDir(t), Version: "test", VRRP: m.vrrp, Checker: m.checker, Storage: st,
		Interfaces: func(string) (map[string][]netip.Prefix, error) {
			return map[string][]netip.Prefix{"eth0": nil, "lo": nil}, nil
		}}
	if tune != nil {
		tune(&cfg, m)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	m.Client = NewClient(filepath.Join(cfg.RunDir, "ctl.sock"))
	m.stop = sync.OnceFunc(func() {
		cancel()
		m.Close()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	})
	t.Cleanup(m.stop)
	eventually(t, m.name+" answers", func() error {
		n, err := m.Node(ctx)
		if ms, ok := st.(*memStorage); err == nil && n.StoreError != "" && !m.damaged && (!ok || ms.openErr == nil) {
			return errors.New(n.StoreError)
		}
		return err
	})
	return m
}

// shortDir is a temporary directory whose path leaves room for a socket's (108 bytes).
func shortDir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp("", "q")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	return d
}

func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within 20 s: %v", what, err)
}

// testCluster makes a cluster of members d1, d2, … that share one memStorage.
func testCluster(t *testing.T, n int) (*memStorage, []*member) {
	t.Helper()
	st := newMemStorage()
	var ms []*member
	dir := filepath.Join(t.TempDir(), "d1")
	res, err := Init(InitOptions{Cluster: "lab", Name: "d1", Address: freeAddress(t), StateDir: dir, Storage: st, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	ms = append(ms, startMember(t, st, dir, nil))
	for i := 2; i <= n; i++ {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("d", i))
		o := JoinOptions{Token: res.Token, Name: fmt.Sprint("d", i), Address: freeAddress(t), StateDir: dir, Storage: st, Now: time.Now}
		if _, err := Join(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		ms = append(ms, startMember(t, st, dir, nil))
	}
	return st, ms
}
