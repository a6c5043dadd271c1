package api

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quorate/cluster"
	"quorate/config"
	"quorate/node/host"
)

// conf is a configuration for the directors d1 to d3; content makes one differ from the next.
func conf(vip string) map[string]string {
	return map[string]string{"k.conf": fmt.Sprintf(`vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    @d1 priority 110
    @d2 priority 100
    @d3 priority 90
    virtual_ipaddress {
        %s
    }
}
`, vip)}
}

func request(id, vip string) PushRequest {
	return PushRequest{ID: id, Author: "alice", Main: "k.conf", Files: conf(vip), Wait: 10 * time.Second}
}

// push pushes and returns the last event and all steps as lines.
func (m *member) push(t *testing.T, r PushRequest) (PushEvent, []string, error) {
	t.Helper()
	var steps []string
	last, err := m.Push(t.Context(), r, func(e PushEvent) {
		steps = append(steps, strings.TrimSpace(fmt.Sprintf("%s %s %t %s", e.Step, e.Node, e.OK, e.Detail)))
	})
	return last, steps, err
}

func wantCode(t *testing.T, err error, code Code, text string) {
	t.Helper()
	e := AsError(err)
	if e == nil || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("got %v, want %s: … %s", err, code, text)
	} else if e.Hint == "" {
		t.Errorf("%v: no hint", e)
	}
}

func TestPushReachesEveryDirector(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 3)
	last, steps, err := ms[1].push(t, request("a", "10.0.0.100"))
	if err != nil || last.Result != "active" || last.Generation != 1 {
		t.Fatalf("%+v %v\n%s", last, err, strings.Join(steps, "\n"))
	}
	for _, want := range []string{"render  true", "ask d1 true", "ask d2 true", "ask d3 true", "commit  true", "apply d1 true runs it", "apply d3 true runs it"} {
		if !strings.Contains(strings.Join(steps, "\n"), want) {
			t.Errorf("no %q in\n%s", want, strings.Join(steps, "\n"))
		}
	}
	for _, m := range ms {
		g, err := (&host.Generations{Dir: generationsDir(m.dir)}).Active()
		if err != nil || g.Number != 1 || g.Author != "alice" || g.Files["k.conf"] != conf("10.0.0.100")["k.conf"] {
			t.Errorf("%s: on disk %+v %v", m.name, g, err)
		}
	}
	// The same again, from elsewhere and with another id, is no change.
	if last, _, err := ms[2].push(t, request("b", "10.0.0.100")); err != nil || last.Result != "unchanged" || last.Generation != 1 {
		t.Errorf("%+v %v", last, err)
	}
	rev := st.m.Rev()
	zero := request("c", "10.0.0.101")
	zero.IfRev = new(int64)
	_, _, err = ms[0].push(t, zero)
	wantCode(t, err, CodeConflict, "generation 1 is active, not 0")
	dry := request("d", "10.0.0.101")
	dry.DryRun = true
	if last, _, err := ms[0].push(t, dry); err != nil || last.Result != "checked" {
		t.Errorf("%+v %v", last, err)
	}
	if st.m.Rev() != rev {
		t.Error("a refused or dry push changed the store")
	}
}

// A push whose answer is lost, at the store or on the way to the pusher, takes effect once.
func TestPushRetryFindsItsOwn(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 2)
	st.set(func() { st.lossy = 1 })
	last, _, err := ms[0].push(t, request("a", "10.0.0.100"))
	if err != nil || last.Generation != 1 {
		t.Fatalf("%+v %v", last, err)
	}
	// The pusher did not see that and repeats, at another member, after someone else has pushed too.
	if _, _, err := ms[0].push(t, request("x", "10.0.0.101")); err != nil {
		t.Fatal(err)
	}
	last, steps, err := ms[1].push(t, request("a", "10.0.0.100"))
	if err != nil || last.Generation != 1 || !strings.Contains(strings.Join(steps, "\n"), "earlier attempt") {
		t.Errorf("%+v %v\n%s", last, err, strings.Join(steps, "\n"))
	}
	if gens, err := ms[1].Generations(t.Context()); err != nil || len(gens) != 2 || !gens[0].Active || gens[0].ID != "x" {
		t.Errorf("%+v %v", gens, err)
	}
}

func TestPushRefused(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 2)
	rev := st.m.Rev()
	bad := request("a", "10.0.0.100")
	bad.Files = map[string]string{"k.conf": "vrrp_instance VI_1 {\n  bogus 1\n}\n"}
	_, _, err := ms[0].push(t, bad)
	wantCode(t, err, CodeInvalid, "is refused")
	e := AsError(err)
	if !slices.ContainsFunc(e.Diagnostics, func(d config.Diagnostic) bool { return d.Line == 2 && strings.Contains(d.Message, "bogus") }) {
		t.Errorf("diagnostics %+v", e.Diagnostics)
	}
	iface := request("b", "10.0.0.100")
	iface.Files = map[string]string{"k.conf": strings.Replace(conf("10.0.0.100")["k.conf"], "interface eth0", "interface eth7", 1)}
	_, steps, err := ms[0].push(t, iface)
	wantCode(t, err, CodeInvalid, "is refused")
	if !strings.Contains(strings.Join(steps, "\n"), "ask d2 false refuses it: 1 error") {
		t.Errorf("steps\n%s", strings.Join(steps, "\n"))
	}
	script := request("c", "10.0.0.100")
	script.Strict = true
	script.Files = map[string]string{"k.conf": strings.Replace(conf("10.0.0.100")["k.conf"], "    virtual_ipaddress", "    notify /no/such/script\n    virtual_ipaddress", 1)}
	_, _, err = ms[0].push(t, script)
	wantCode(t, err, CodeInvalid, "is refused")
	for name, r := range map[string]PushRequest{
		"no id":      {Main: "k.conf", Files: conf("10.0.0.100")},
		"no main":    {ID: "a", Main: "other.conf", Files: conf("10.0.0.100")},
		"no content": {ID: "a"},
		"not UTF-8":  {ID: "a", Main: "k.conf", Files: map[string]string{"k.conf": "# caf\xe9\n"}},
	} {
		_, _, err := ms[0].push(t, r)
		if e := AsError(err); e == nil || e.Code != CodeUsage && e.Code != CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
		// Nor does the server rely on its clients.
		if err := ms[0].call(t.Context(), "POST", "/api/v1/push", r, new(any)); name != "not UTF-8" && (AsError(err) == nil || AsError(err).Code != CodeUsage) {
			t.Errorf("%s, sent all the same: %v", name, err)
		}
	}
	if st.m.Rev() != rev {
		t.Error("a refused push changed the store")
	}
	st.set(func() { st.down = true })
	_, _, err = ms[0].push(t, request("d", "10.0.0.100"))
	wantCode(t, err, CodeNoQuorum, "nothing was changed: no quorum")
	if st.m.Rev() != rev {
		t.Error("a push without quorum changed the store")
	}
}

// Members that are away do not hold a push up and get it when they are back.
func TestPushPastAnAbsentMember(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 3)
	ms[2].stop()
	last, steps, err := ms[0].push(t, request("a", "10.0.0.100"))
	if err != nil || last.Result != "active" {
		t.Fatalf("%+v %v", last, err)
	}
	if !strings.Contains(strings.Join(steps, "\n"), "ask d3 false does not answer, gets it when it is back") {
		t.Errorf("steps\n%s", strings.Join(steps, "\n"))
	}
	back := startMember(t, st, ms[2].dir, nil)
	eventually(t, "d3 runs generation 1", func() error {
		n, err := back.Node(t.Context())
		if err != nil || n.Generation.Saved != 1 || len(n.Workers) != 2 || !n.Workers[0].runs(1) || !n.Workers[1].runs(1) {
			return fmt.Errorf("%+v %w", n, err)
		}
		return nil
	})
}

// A director that cannot run what was committed, or says nothing, is named; nothing is rolled back behind the pusher's back.
func TestPushThatDoesNotArrive(t *testing.T) {
	t.Parallel()
	_, ms := testCluster(t, 2)
	ms[1].checker.set(func() { ms[1].checker.refuse = "ipvs: no memory" })
	last, _, err := ms[0].push(t, request("a", "10.0.0.100"))
	wantCode(t, err, CodeRollout, "generation 1 is committed, but cannot be run on d2: checker worker: ipvs: no memory")
	if last.Generation != 1 || !strings.Contains(AsError(err).Hint, "clusterctl rollback") {
		t.Errorf("%+v %v", last, err)
	}
	ms[1].checker.set(func() { ms[1].checker.refuse = "" })
	ms[1].vrrp.set(func() { ms[1].vrrp.deaf = true })
	r := request("b", "10.0.0.101")
	r.Wait = 500 * time.Millisecond
	_, _, err = ms[0].push(t, r)
	wantCode(t, err, CodeTimeout, "generation 2 is committed, but after 500ms these do not run it yet: d2 (vrrp worker not yet)")
	// The message was dropped, not the order: it is repeated.
	ms[1].vrrp.set(func() { ms[1].vrrp.deaf = false })
	eventually(t, "d2 runs generation 2", func() error {
		n, err := ms[1].Node(t.Context())
		if err != nil || !n.Workers[0].runs(2) || !n.Workers[1].runs(2) {
			return fmt.Errorf("%+v %w", n, err)
		}
		return nil
	})
}

// A store that cannot be opened costs the API its store, nothing else; it is opened once the cause is gone.
func TestStoreThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	st := newMemStorage()
	dir := filepath.Join(t.TempDir(), "d1")
	if _, err := Init(InitOptions{Name: "d1", Address: freeAddress(t), StateDir: dir, Storage: st, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	gens := host.Generations{Dir: generationsDir(dir)}
	g := cluster.Generation{Number: 4, Main: "k.conf", Files: conf("10.0.0.100")}
	g.Hash = g.ComputeHash()
	if err := errors.Join(gens.Save(g), gens.SetActive(4)); err != nil {
		t.Fatal(err)
	}
	st.openErr = errors.New("write raft/wal: no space left on device")
	m := startMember(t, st, dir, nil)
	eventually(t, "d1 says why", func() error {
		n, err := m.Node(t.Context())
		if err != nil || !strings.Contains(n.StoreError, "no space left") || n.Generation.Saved != 4 || !n.Workers[0].runs(4) {
			return fmt.Errorf("%+v %w", n, err)
		}
		return nil
	})
	s, err := m.Status(t.Context())
	if err != nil || s.Verdict != Degraded || s.Quorum || s.Generation != 4 {
		t.Errorf("%+v %v", s, err)
	}
	if got, err := m.Generation(t.Context(), 0); err != nil || got.Number != 4 {
		t.Errorf("the configuration that runs cannot be read: %+v %v", got, err)
	}
	_, _, err = m.push(t, request("a", "10.0.0.101"))
	wantCode(t, err, CodeStore, "the store of d1 is not open: write raft/wal: no space left on device")
	// It opens, but is behind what this director ran: that stays.
	st.set(func() { st.openErr = nil })
	old := cluster.Generation{ID: "old", Main: "k.conf", Files: conf("10.0.0.99")}
	if err := old.Prepare(cluster.KV{}); err != nil {
		t.Fatal(err)
	}
	st.set(func() { st.m.Apply(cluster.PushTxn(cluster.KV{}, old)) })
	eventually(t, "the store is open", func() error {
		n, err := m.Node(t.Context())
		if err != nil || n.StoreError != "" || n.Generation.Committed != 1 {
			return fmt.Errorf("%+v %w", n, err)
		}
		return nil
	})
	if n, err := gens.ActiveNumber(); err != nil || n != 4 {
		t.Errorf("active on disk: %d %v", n, err)
	}
}

// Pushes that race, at different members, all take effect, one after the other.
func TestPushesRace(t *testing.T) {
	t.Parallel()
	_, ms := testCluster(t, 3)
	var wg sync.WaitGroup
	got := make([]PushEvent, 6)
	for i := range got {
		wg.Go(func() {
			last, _, err := ms[i%3].push(t, request(fmt.Sprint("p", i), fmt.Sprintf("10.0.0.%d", 100+i)))
			if err != nil {
				t.Error(err)
			}
			got[i] = last
		})
	}
	wg.Wait()
	gens, err := ms[0].Generations(t.Context())
	if err != nil || len(gens) != len(got) {
		t.Fatalf("%+v %v", gens, err)
	}
	for i, e := range got {
		if want := fmt.Sprint("p", i); gens[int64(len(gens))-e.Generation].ID != want {
			t.Errorf("%s was told %d, which is %s", want, e.Generation, gens[int64(len(gens))-e.Generation].ID)
		}
	}
}

// A store that fails while it is open is opened again, and meanwhile the status says why.
func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 1)
	before := st.opened
	st.set(func() { st.failed, st.openErr = "wal: input/output error", errors.New("still: input/output error") })
	eventually(t, "d1 says why", func() error {
		n, err := ms[0].Node(t.Context())
		if err != nil || !strings.Contains(n.StoreError, "still: input/output error") {
			return fmt.Errorf("%+v %w", n, err)
		}
		return nil
	})
	st.set(func() { st.failed, st.openErr = "", nil })
	eventually(t, "the store is open again", func() error {
		n, err := ms[0].Node(t.Context())
		if err != nil || n.StoreError != "" {
			return fmt.Errorf("%+v %w", n, err)
		}
		return nil
	})
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.opened == before {
		t.Error("it was not opened again")
	}
}

// A director whose disk is full says so, keeps what it has and takes the generation over when there is room again.
func TestGenerationThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	_, ms := testCluster(t, 1)
	block := generationsDir(ms[0].dir)
	if err := os.WriteFile(block, nil, 0o600); err != nil { // a file where the directory should be
		t.Fatal(err)
	}
	_, _, err := ms[0].push(t, request("a", "10.0.0.100"))
	wantCode(t, err, CodeRollout, "not a directory")
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	eventually(t, "generation 1 saved", func() error {
		n, err := ms[0].Node(t.Context())
		if err != nil || n.Generation.Saved != 1 || n.Generation.Error != "" {
			return fmt.Errorf("%+v %w", n, err)
		}
		return nil
	})
}

// A director that has no room for the file refuses it before it is committed, and can be gone past.
func TestPushThatWouldNotFit(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 2)
	rev := st.m.Rev()
	if err := os.Mkdir(filepath.Join(ms[1].dir, ".probe"), 0o700); err != nil { // stands for a full disk: the probe fails
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(ms[1].dir, ".probe", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := ms[0].push(t, request("a", "10.0.0.100"))
	wantCode(t, err, CodeInvalid, "is refused")
	if e := AsError(err); e != nil && !slices.ContainsFunc(e.Diagnostics, func(d config.Diagnostic) bool {
		return strings.HasPrefix(d.Message, "d2 cannot save a configuration: ") && strings.Contains(d.Hint, "clusterd stopped on d2")
	}) {
		t.Errorf("%v", e.Diagnostics)
	}
	if st.m.Rev() != rev {
		t.Error("the store was changed")
	}
	ms[1].stop()
	if last, _, err := ms[0].push(t, request("a", "10.0.0.100")); err != nil || last.Generation != 1 {
		t.Errorf("%+v %v", last, err)
	}
}

// One who was removed keeps a valid certificate, which is of no use.
func TestRemovedMemberIsRefused(t *testing.T) {
	t.Parallel()
	_, ms := testCluster(t, 3)
	if _, err := ms[0].RemoveMember(t.Context(), "d3"); err != nil {
		t.Fatal(err)
	}
	id, err := LoadIdentity(ms[2].dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{now: time.Now}
	s.id.Store(id)
	_, err = s.peer(cluster.Member{Name: "d1", Address: ms[0].addr}).Node(t.Context())
	if e := AsError(err); e == nil || e.Code != CodeDenied {
		t.Errorf("got %v", err)
	}
	_, err = ms[0].RemoveMember(t.Context(), "d9")
	if e := AsError(err); e == nil || e.Code != CodeNotFound {
		t.Errorf("got %v", err)
	}
}

func TestMergeDiagnostics(t *testing.T) {
	d := func(line int, nodes ...string) config.Diagnostic {
		return config.Diagnostic{Severity: config.Warning, Code: "c", Pos: config.Pos{File: "f", Line: line}, Message: "m", Nodes: nodes}
	}
	ops := []opinion{
		{name: "d1", result: &CheckResult{Diagnostics: []config.Diagnostic{d(1), d(2, "d1")}}},
		{name: "d2", result: &CheckResult{Diagnostics: []config.Diagnostic{d(1), d(2, "d2"), d(3, "d2")}}},
		{name: "d3", err: errors.New("away")},
	}
	got := mergeDiagnostics(config.Diagnostics{d(1)}, ops)
	if len(got) != 2 || strings.Join(got[0].Nodes, " ") != "d1 d2" || strings.Join(got[1].Nodes, " ") != "d2" {
		t.Errorf("got %v", got)
	}
}
