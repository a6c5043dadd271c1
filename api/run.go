package api

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"quorate/cluster"
	"quorate/node/host"
)

// Protocols that share a member's port, told apart by ALPN.
const (
	protoRaft = "quorate-raft/1"
	protoHTTP = "http/1.1"
)

func generationsDir(state string) string { return filepath.Join(state, "generations") }

func raftDir(state string) string { return filepath.Join(state, "raft") }

// Run is the cluster worker: it opens the store and serves until ctx ends. It fails at once when the state directory is of no
// use or an address cannot be listened on; a store that cannot be opened is no reason to fail, it is tried again.
func Run(ctx context.Context, cfg Config) error {
	s, err := newServer(cfg)
	if err != nil {
		return err
	}
	s.loadActive()
	id := s.id.Load()
	tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", id.Address)
	if err != nil {
		return fmt.Errorf("listen for members on %s (from %s): %w", id.Address, filepath.Join(cfg.StateDir, "node.json"), err)
	}
	sock, err := listenUnix(cfg.RunDir)
	if err != nil {
		_ = tcp.Close()
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	start := func(f func()) { wg.Go(f) }
	for _, w := range s.workers {
		start(func() { s.runWorker(ctx, w) })
	}
	start(func() { s.runStore(ctx) })
	start(func() { s.runRenewal(ctx) })

	httpConns := newConnQueue(tcp.Addr())
	member := s.httpServer(s.handler(s.isMember))
	member.ConnState = limitStrangers()
	local := s.httpServer(s.handler(func(*http.Request) bool { return true })) // the socket's permissions are the right
	start(func() { s.acceptMembers(ctx, tcp, httpConns, start) })
	start(func() { _ = member.Serve(httpConns) }) // ends with ErrServerClosed
	start(func() { _ = local.Serve(sock) })
	if err := host.NotifyReady(); err != nil {
		s.log.Warn("cannot tell the watchdog that this worker is up", "error", err)
	}
	s.log.Info("cluster worker runs", "node", id.Name, "address", id.Address, "socket", filepath.Join(cfg.RunDir, "ctl.sock"))

	<-ctx.Done()
	_ = tcp.Close()
	_ = httpConns.Close()
	_ = member.Close()
	_ = local.Close()
	_ = os.Remove(filepath.Join(cfg.RunDir, "ctl.sock"))
	wg.Wait()
	return nil
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10}
}

// isMember says whether a request came with the certificate of a present member. The handshake has verified it against the
// authority; a member that was removed still has one. While the store is not open nobody knows who was removed.
func (s *Server) isMember(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return false
	}
	st, err := s.replica()
	if err != nil {
		return true
	}
	id := r.TLS.VerifiedChains[0][0].Subject.SerialNumber
	return slices.ContainsFunc(st.Status().Members, func(m cluster.Member) bool { return strconv.FormatUint(m.ID, 10) == id })
}

// maxStrangers bounds the connections of peers without a certificate, who can do no more than join.
const maxStrangers = 64

// limitStrangers closes connections of strangers beyond maxStrangers.
func limitStrangers() func(net.Conn, http.ConnState) {
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	return func(c net.Conn, st http.ConnState) {
		t, ok := c.(*tls.Conn)
		if !ok || len(t.ConnectionState().VerifiedChains) > 0 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch st {
		case http.StateNew:
			open[c] = true
			if len(open) > maxStrangers {
				_ = c.Close()
			}
		case http.StateClosed, http.StateHijacked:
			delete(open, c)
		}
	}
}

// listenUnix opens RunDir/ctl.sock. What a killed predecessor left behind is removed, a living one is not disturbed.
func listenUnix(dir string) (net.Listener, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	path := filepath.Join(dir, "ctl.sock")
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s: another clusterd answers there", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// The socket must never be open to others, not for an instant: it gets its mode where nobody else can look.
	tmp, err := os.MkdirTemp(dir, ".ctl-")
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(tmp, "s"), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it would look for the old name
	if err := errors.Join(os.Chmod(filepath.Join(tmp, "s"), 0o660), os.Rename(filepath.Join(tmp, "s"), path)); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

// serverTLS asks for a client certificate and verifies it if there is one; a joining director has none yet.
func (s *Server) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protoRaft, protoHTTP},
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  s.id.Load().Pool(),
		Time:       s.now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			id := s.id.Load()
			c, err := id.Certificate()
			if err != nil {
				return nil, err
			}
			c.Certificate = append(c.Certificate, id.caCert.Raw) // a joining director looks for it, see pinnedTLS
			return &c, nil
		},
	}
}

// clientTLS is how this member talks to others: both sides show a certificate.
func (s *Server) clientTLS(proto string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{proto},
		RootCAs:    s.id.Load().Pool(),
		Time:       s.now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := s.id.Load().Certificate()
			return &c, err
		},
	}
}

// dialMember connects to another member and explains what is wrong with its certificate, or with ours.
func (s *Server) dialMember(ctx context.Context, address, proto string) (net.Conn, error) {
	id := s.id.Load()
	if err := id.Check(s.now()); err != nil {
		return nil, err
	}
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	cfg := s.clientTLS(proto)
	cfg.ServerName = name
	c, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 3 * time.Second}, Config: cfg}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, explainTLS(err, id.caCert, address, s.now())
	}
	return c, nil
}

func (s *Server) dialStore(ctx context.Context, address string) (net.Conn, error) {
	return s.dialMember(ctx, address, protoRaft)
}

const (
	handshakeBudget = 5 * time.Second
	maxHandshakes   = 128 // at once; more are refused, so that strangers cannot use up memory
)

// acceptMembers does the TLS handshakes and hands each connection to the store or to HTTP.
func (s *Server) acceptMembers(ctx context.Context, l net.Listener, q *connQueue, start func(func())) {
	cfg := s.serverTLS()
	slots := make(chan struct{}, maxHandshakes)
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.log.Warn("accept", "error", err)
			select { // out of file descriptors, for example
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		start(func() { s.welcome(ctx, tls.Server(c, cfg), q, func() { <-slots }) })
	}
}

// welcome does one handshake, frees its slot, and passes the connection on.
func (s *Server) welcome(ctx context.Context, c *tls.Conn, q *connQueue, free func()) {
	hctx, cancel := context.WithTimeout(ctx, handshakeBudget)
	err := c.HandshakeContext(hctx)
	cancel()
	free()
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			s.log.Debug("refused a connection", "peer", c.RemoteAddr().String(), "error", explainTLS(err, s.id.Load().caCert, c.RemoteAddr().String(), s.now()))
		}
		_ = c.Close()
		return
	}
	cs := c.ConnectionState()
	if cs.NegotiatedProtocol != protoRaft {
		q.push(ctx, c)
		return
	}
	st, err := s.replica()
	if err != nil || len(cs.VerifiedChains) == 0 {
		_ = c.Close()
		return
	}
	st.HandleConn(c)
}

// connQueue is a net.Listener fed with connections that are already authenticated.
type connQueue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func newConnQueue(addr net.Addr) *connQueue {
	return &connQueue{conns: make(chan net.Conn), done: make(chan struct{}), addr: addr}
}

func (q *connQueue) push(ctx context.Context, c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		_ = c.Close()
	case <-ctx.Done():
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *connQueue) Close() error { q.once.Do(func() { close(q.done) }); return nil }

// Addr implements net.Listener.
func (q *connQueue) Addr() net.Addr { return q.addr }

// runRenewal renews this member's certificate when less than a third of its life is left, or its address has changed. The authority is read from this
// member's own copy of the store, so that it needs no quorum and works even after the certificate has expired.
func (s *Server) runRenewal(ctx context.Context) {
	for wait := time.Second; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = time.Hour
		if err := s.renew(); err != nil {
			s.log.Error("cannot renew the certificate; trying again", "error", err)
			wait = 10 * time.Second
		}
	}
}

func (s *Server) renew() (err error) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.certErr = ""
		if err != nil {
			s.certErr = err.Error()
		}
	}()
	id := s.id.Load()
	now := s.now()
	left, life := id.leaf.NotAfter.Sub(now), id.leaf.NotAfter.Sub(id.leaf.NotBefore)
	fresh := left > life/3 || id.leaf.NotAfter.Equal(id.caCert.NotAfter)
	name, _, err := net.SplitHostPort(id.Address)
	if err != nil {
		return err
	}
	if fresh && id.leaf.VerifyHostname(name) == nil {
		return nil
	}
	st, err := s.replica()
	if err != nil {
		return err
	}
	for _, kv := range first(st.LocalRange(KeyAuthority)) {
		if kv.Key != KeyAuthority {
			continue
		}
		var ca Authority
		if err := json.Unmarshal(kv.Value, &ca); err != nil {
			return fmt.Errorf("stored %s: %w", KeyAuthority, err)
		}
		cert, err := ca.Sign(id.Self(), id.leaf.PublicKey, now)
		if err != nil {
			return err
		}
		n, err := id.replaceCert(cert)
		if err != nil {
			return err
		}
		s.id.Store(n)
		s.log.Info("certificate renewed", "until", day(n.Expires()))
		return nil
	}
	return errors.New("the authority has not reached this member's copy of the store yet")
}

func first[A, B any](a A, _ B) A { return a }
