package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"net/netip"
	"quorate/cluster"
	"quorate/node"
)

// offlineServer has an identity and, if st is not nil, an open store, but runs nothing.
func offlineServer(t testing.TB, st *memStorage) *Server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d1")
	ms := st
	if ms == nil {
		ms = newMemStorage()
	}
	if _, err := Init(InitOptions{Cluster: "lab", Name: "d1", Address: "127.0.0.1:8470", StateDir: dir, Storage: ms, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(Config{StateDir: dir, OpenPatience: time.Millisecond, Interfaces: func(string) (map[string][]netip.Prefix, error) { return map[string][]netip.Prefix{"eth0": nil}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if st != nil {
		s.store = &memReplica{s: st, self: s.id.Load().Self()}
	}
	return s
}

func everyone(*http.Request) bool { return true }

// TestRequests sends what clients get wrong: every answer is JSON with a code, and a hint where there is something to do.
func TestRequests(t *testing.T) {
	st := newMemStorage()
	h := offlineServer(t, st).handler(everyone)
	g := cluster.Generation{ID: "a", Author: "alice", Main: "k.conf", Files: conf("10.0.0.100")}
	if err := g.Prepare(cluster.KV{}); err != nil {
		t.Fatal(err)
	}
	closed := offlineServer(t, nil).handler(everyone)
	for _, tc := range []struct {
		h            http.Handler
		method, path string
		body         string
		status       int
		want         string
	}{
		{h, "GET", "/healthz", "", 200, "ok"},
		{h, "GET", "/api/v1/nothing", "", 404, `"code":"not_found"`},
		{h, "PUT", "/api/v1/push", "", 404, `no such request: PUT /api/v1/push`},
		{h, "GET", "/api/v1/generations", "", 200, "[]"},
		{h, "GET", "/api/v1/generations/active", "", 404, "no configuration has been pushed yet"},
		{h, "GET", "/api/v1/generations/x", "", 400, `want a number from 1, or active`},
		{h, "GET", "/api/v1/generations/-1", "", 400, `want a number from 1`},
		{h, "GET", "/api/v1/generations/7", "", 404, "there is no generation 7"},
		{h, "GET", "/api/v1/entries", "", 200, "[]"},
		{h, "GET", "/api/v1/entries?since=yesterday", "", 400, "since: "},
		{h, "GET", "/api/v1/tokens", "", 200, `"by":"clusterctl init"`},
		{h, "POST", "/api/v1/tokens", `{"ttl_ns":-1}`, 400, "a token's life of -1ns"},
		{h, "POST", "/api/v1/tokens", `{"ttl_ns":1e99}`, 400, "request body: "},
		{h, "DELETE", "/api/v1/tokens/ffff", "", 404, "no token whose hash begins with"},
		{h, "DELETE", "/api/v1/members/d9", "", 404, `no member is named \"d9\"`},
		{h, "DELETE", "/api/v1/members/d1", "", 400, "d1 is the only member"},
		{h, "POST", "/api/v1/push", "", 400, "request body: EOF"},
		{h, "POST", "/api/v1/push", `{"id":"a","bogus":1}`, 400, `unknown field \"bogus\"`},
		{h, "POST", "/api/v1/push", `{"id":"` + strings.Repeat("x", 65) + `"}`, 400, "an id of 1 to 64 characters"},
		{h, "POST", "/api/v1/push", `{"id":"` + strings.Repeat("x", maxBody) + `"}`, 400, "the request is larger than"},
		{h, "POST", "/api/v1/check", `{"main":"k.conf","files":{}}`, 200, `"severity":3`},
		{h, "POST", "/api/v1/join", `{}`, 400, "a node needs a name"},
		{h, "POST", "/api/v1/join", `{"name":"d2","address":"10.0.0.2:1","secret":"AAAA"}`, 400, "a secret of 3 bytes, want 16"},
		{h, "POST", "/api/v1/join", `{"name":"d2","address":"10.0.0.2:1","secret":"AAAAAAAAAAAAAAAAAAAAAA=="}`, 403, "not known to this cluster"},
		{closed, "GET", "/api/v1/node", "", 200, `"store_error":"not open yet"`},
		{closed, "GET", "/api/v1/status", "", 200, `"verdict":"DEGRADED"`},
		{closed, "GET", "/api/v1/generations", "", 503, `"code":"store_failed"`},
		{closed, "GET", "/api/v1/generations/active", "", 503, `"code":"store_failed"`},
		{closed, "GET", "/api/v1/tokens", "", 503, `"code":"store_failed"`},
		{closed, "POST", "/api/v1/join", `{"name":"d2","address":"10.0.0.2:1"}`, 503, `"code":"store_failed"`},
	} {
		w := httptest.NewRecorder()
		tc.h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, strings.NewReader(tc.body)))
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s %s %.80s: got %d %s, want %d … %s", tc.method, tc.path, tc.body, w.Code, w.Body, tc.status, tc.want)
		}
		if w.Code >= 400 {
			var e Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Message == "" || e.Code == "" || e.Code.httpStatus() != w.Code {
				t.Errorf("%s %s: not an error as documented: %s", tc.method, tc.path, w.Body)
			}
		}
	}
	st.set(func() { st.down = true })
	for _, path := range []string{"/api/v1/tokens"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if w.Code != 503 || !strings.Contains(w.Body.String(), `"code":"no_quorum"`) {
			t.Errorf("%s without quorum: %d %s", path, w.Code, w.Body)
		}
	}
}

// A director that has just started knows less than was acknowledged: it asks before it answers what was pushed, and shows
// what it has when nobody answers.
func TestGenerationsCatchUp(t *testing.T) {
	st := newMemStorage()
	h := offlineServer(t, st).handler(everyone)
	g := cluster.Generation{ID: "a", Author: "alice", Main: "k.conf", Files: conf("10.0.0.100")}
	if err := g.Prepare(cluster.KV{}); err != nil {
		t.Fatal(err)
	}
	st.m.Apply(cluster.PushTxn(cluster.KV{}, g))
	for _, path := range []string{"", "/active", "/1"} {
		for _, down := range []bool{true, false} {
			st.behind, st.down = cluster.NewMachine(), down
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/generations"+path, nil))
			if has := strings.Contains(rec.Body.String(), `"alice"`); has == down {
				t.Errorf("GET generations%s, quorum lost: %v: %d %s", path, down, rec.Code, rec.Body)
			}
		}
	}
}

func TestEntries(t *testing.T) {
	s := offlineServer(t, newMemStorage())
	t0 := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		s.journal.add(node.Entry{Time: t0.Add(time.Duration(i) * time.Minute), Event: "vrrp.master", Detail: fmt.Sprint(i)})
	}
	w := httptest.NewRecorder()
	s.handler(everyone).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/entries?since="+t0.Add(time.Minute).Format(time.RFC3339), nil))
	var es []node.Entry
	if err := json.Unmarshal(w.Body.Bytes(), &es); err != nil || len(es) != 2 || es[0].Detail != "1" {
		t.Errorf("%s %v", w.Body, err)
	}
}

// Every kind of error has an exit code of its own meaning and an HTTP status.
func TestCodes(t *testing.T) {
	for c, want := range map[Code][2]int{
		CodeUsage: {2, 400}, CodeInvalid: {4, 422}, CodeNoQuorum: {6, 503}, CodeUnreachable: {6, 503}, CodeStore: {6, 503}, CodeConflict: {7, 409},
		CodeRollout: {8, 500}, CodeTimeout: {9, 504}, CodeDenied: {1, 403}, CodeNotFound: {1, 404}, CodeInternal: {1, 500},
	} {
		if got := [2]int{c.ExitCode(), c.httpStatus()}; got != want {
			t.Errorf("%s: %v, want %v", c, got, want)
		}
	}
	for err, want := range map[error]Code{cluster.ErrNoQuorum: CodeNoQuorum, cluster.ErrTimeout: CodeTimeout, cluster.ErrFailed: CodeStore,
		cluster.ErrClosed: CodeStore, cluster.ErrNotFound: CodeNotFound, io.EOF: CodeInternal} {
		if e := AsError(fmt.Errorf("context: %w", err)); e.Code != want || !strings.HasPrefix(e.Message, "context: ") {
			t.Errorf("%v: %+v", err, e)
		}
	}
}

// FuzzRequests: no body, however odd, makes a handler panic or answer something else than JSON.
func FuzzRequests(f *testing.F) {
	s := offlineServer(f, nil)
	h := s.handler(everyone)
	paths := []string{"/api/v1/join", "/api/v1/push", "/api/v1/check", "/api/v1/tokens"}
	f.Add(0, []byte(`{"name":"d2","address":"10.0.0.2:1","secret":"AAAAAAAAAAAAAAAAAAAAAA==","csr":"","nonce":""}`))
	f.Add(1, mustJSON(request("a", "10.0.0.100")))
	f.Add(2, mustJSON(CheckRequest{Main: "k.conf", Files: conf("10.0.0.100")}))
	f.Add(3, []byte(`{"ttl_ns":5}`))
	f.Add(2, []byte(`{"main":"a","files":{"a":"include a"}}`))
	f.Fuzz(func(t *testing.T, path int, body []byte) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", paths[uint(path)%uint(len(paths))], bytes.NewReader(body)))
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d %q", w.Code, w.Body)
		}
	})
}
