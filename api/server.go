package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"quorate/cluster"
	"quorate/node/host"
)

// maxBody bounds what is read of a request or an answer: a configuration of a thousand services is about a megabyte.
const maxBody = 16 << 20

// Worker is the cluster worker's end of the pair to another worker; *host.Conn is one.
type Worker interface {
	Send(host.Message) error
	Recv(context.Context) (host.Message, error)
}

// Config says what a cluster worker needs.
type Config struct {
	StateDir string // of init or join
	RunDir   string // the socket ctl.sock is made here
	Version  string
	VRRP     Worker // nil: that part does not run on this host
	Checker  Worker
	Storage  Storage // nil: raft
	Logger   *slog.Logger

	// For tests; nil means the real thing.
	Now          func() time.Time
	Interfaces   func(namespace string) (map[string][]netip.Prefix, error) // host.NetworksIn
	OpenPatience time.Duration
}

// Server is one member's cluster worker: it owns the store, follows the active generation and serves the API.
type Server struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	id      atomic.Pointer[Identity]
	gens    host.Generations
	started time.Time
	journal journal
	probing sync.Mutex // one probe of the state directory at a time: they share a file name

	mu        sync.Mutex
	store     Replica
	storeErr  string
	tried     chan struct{} // closed when opening the store has succeeded or failed once
	triedOnce sync.Once
	certErr   string
	gen       GenerationStatus
	workers   []*workerState
	workerFor map[string]*workerState
}

// newServer reads the identity and prepares a server; nothing runs yet.
func newServer(cfg Config) (*Server, error) {
	id, err := LoadIdentity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger, now: cfg.Now, storeErr: "not open yet", tried: make(chan struct{}), workerFor: map[string]*workerState{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.cfg.Interfaces == nil {
		s.cfg.Interfaces = host.NetworksIn
	}
	s.started = s.now()
	s.id.Store(id)
	s.gens = host.Generations{Dir: generationsDir(cfg.StateDir)}
	for name, w := range map[string]Worker{"vrrp": cfg.VRRP, "checker": cfg.Checker} {
		if !isNil(w) {
			s.workerFor[name] = &workerState{name: name, conn: w}
		}
	}
	for _, name := range []string{"vrrp", "checker"} {
		if w := s.workerFor[name]; w != nil {
			s.workers = append(s.workers, w)
		}
	}
	return s, nil
}

// isNil also recognises a nil *host.Conn in the interface, which is what a caller without that worker hands in.
func isNil(w Worker) bool {
	c, ok := w.(*host.Conn)
	return w == nil || ok && c == nil
}

// openPatience is how long a request waits for a store that is being opened for the first time: an operator who has just
// started clusterd should not be told to come back.
const openPatience = 5 * time.Second

// replica is the open store, or why there is none.
func (s *Server) replica() (Replica, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store == nil {
		s.mu.Unlock()
		select {
		case <-s.tried:
		case <-time.After(cmp.Or(s.cfg.OpenPatience, openPatience)):
		}
		s.mu.Lock()
	}
	if s.store == nil {
		return nil, errf(CodeStore, "the store of %s is not open: %s", s.id.Load().Name, s.storeErr).
			withHint("VRRP and health checks go on with the last configuration; the store is opened again by itself once the cause is gone")
	}
	return s.store, nil
}

// handler serves the API. admin says whether a request comes from someone who may change things.
func (s *Server) handler(admin func(*http.Request) bool) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !admin(r) {
				writeError(w, errf(CodeDenied, "%s", notMember).
					withHint("use clusterctl on a director: it talks to the socket in /run/quorate"))
				return
			}
			answer(w, r, f)
		})
	}
	mux.HandleFunc("POST /api/v1/join", func(w http.ResponseWriter, r *http.Request) { answer(w, r, s.handleJoin) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	handle("GET /api/v1/node", func(*http.Request) (any, error) { return s.nodeStatus(), nil })
	handle("GET /api/v1/status", func(r *http.Request) (any, error) { return s.clusterStatus(r.Context()), nil })
	handle("POST /api/v1/check", s.handleCheck)
	handle("GET /api/v1/generations", s.handleGenerations)
	handle("GET /api/v1/generations/{n}", s.handleGeneration)
	handle("GET /api/v1/entries", s.handleEntries)
	handle("GET /api/v1/tokens", s.handleTokens)
	handle("POST /api/v1/tokens", s.handleTokenCreate)
	handle("DELETE /api/v1/tokens/{hash}", s.handleTokenRevoke)
	handle("DELETE /api/v1/members/{name}", s.handleMemberRemove)
	handle("POST /api/v1/push", s.handlePush)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, errf(CodeNotFound, "no such request: %s %s", r.Method, r.URL.Path))
	})
	return mux
}

// notMember is what a stranger is told, and a member that was removed.
const notMember = "the certificate of a present member of this cluster is required"

// streamed is a result that a handler wants to write itself.
type streamed func(w http.ResponseWriter)

func answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v, err := f(r)
	if err != nil {
		writeError(w, AsError(err))
		return
	}
	if st, ok := v.(streamed); ok {
		st(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone, there is no one to tell
}

func writeError(w http.ResponseWriter, e *Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Code.httpStatus())
	_ = json.NewEncoder(w).Encode(e)
}

// readError reads the Error that an answer other than 200 carries.
func readError(res *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return err
	}
	e := &Error{}
	if json.Unmarshal(b, e) != nil || e.Message == "" {
		return errf(CodeInternal, "%s answers %s: %.200q", res.Request.URL.Host, res.Status, b)
	}
	return e
}

func readJSON(r *http.Request, to any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return errf(CodeUsage, "the request is larger than %d bytes", big.Limit)
		}
		return errf(CodeUsage, "request body: %v", err)
	}
	return nil
}

// nodeStatus is this director's own view; it never waits.
func (s *Server) nodeStatus() NodeStatus {
	id := s.id.Load()
	now := s.now()
	st := NodeStatus{Name: id.Name, Address: id.Address, Cluster: id.Cluster, Version: s.cfg.Version, PID: os.Getpid(),
		Started: s.started, Time: now, CertExpires: id.Expires()}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Generation, st.StoreError, st.CertError = s.gen, s.storeErr, s.certErr
	if s.store != nil {
		st.Store = s.store.Status()
		st.StoreError = st.Store.Failed
	} else {
		st.Store = cluster.Status{Self: id.Self(), Members: id.Seeds}
	}
	for _, w := range s.workers {
		st.Workers = append(st.Workers, w.status(now))
		st.Instances = append(st.Instances, w.report.Instances...)
		st.Services = append(st.Services, w.report.Services...)
		st.Missing = append(st.Missing, w.report.Missing...)
		st.Heard = append(st.Heard, w.report.Heard...)
	}
	return st
}

// members are the cluster's members as far as this one knows, itself included.
func (s *Server) members() []cluster.Member {
	s.mu.Lock()
	st := s.store
	s.mu.Unlock()
	if st != nil {
		if m := st.Status().Members; len(m) > 0 {
			return m
		}
	}
	id := s.id.Load()
	for _, m := range id.Seeds {
		if m.ID == id.ID {
			return id.Seeds
		}
	}
	return append([]cluster.Member{id.Self()}, id.Seeds...)
}
