package raftstore

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"

	"quorate/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTick is short, so that elections take a fifth of a second, and long enough for a busy machine.
const testTick = 20 * time.Millisecond

// lab is a set of members in this process. Each has a TLS listener on loopback; links between them can be cut.
type lab struct {
	t   testing.TB
	tls *tls.Config
	cfg func(*Config) // adjusts what members are opened with

	mu  sync.Mutex
	cut map[[2]uint64]bool // from, to
	m   map[uint64]*labMember
}

// labMember is one of them, running or not.
type labMember struct {
	lab   *lab
	self  cluster.Member
	dir   string
	ln    net.Listener
	mu    sync.Mutex
	store *Store // nil: stopped
	mute  bool   // stopped, but accepts connections and answers the hello, then reads nothing
	wg    sync.WaitGroup
}

func newLab(t testing.TB) *lab {
	l := &lab{t: t, tls: labTLS(t), cut: map[[2]uint64]bool{}, m: map[uint64]*labMember{}, cfg: func(*Config) {}}
	t.Cleanup(l.close)
	return l
}

func labTLS(t testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, DNSNames: []string{"lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13,
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, ServerName: "lab",
	}
}

// member makes member number id with a listener and an empty directory.
func (l *lab) member(id uint64) *labMember {
	l.t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", l.tls)
	if err != nil {
		l.t.Fatal(err)
	}
	m := &labMember{lab: l, dir: filepath.Join(l.t.TempDir(), "m"), ln: ln,
		self: cluster.Member{ID: id, Name: fmt.Sprintf("lb%d", id), Address: ln.Addr().String()}}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	l.m[id] = m
	l.mu.Unlock()
	m.wg.Go(m.accept)
	return m
}

func (m *labMember) accept() {
	for {
		c, err := m.ln.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		s, mute := m.store, m.mute
		m.mu.Unlock()
		if s == nil && mute {
			var h hello
			if readJSON(c, kindHello, &h) == nil {
				_ = writeJSON(bufio.NewWriter(c), kindAnswer, answer{OK: true, Cluster: h.Cluster, From: m.self})
			}
			defer func() { _ = c.Close() }()
			continue
		}
		if s == nil {
			_ = c.Close()
			continue
		}
		m.wg.Go(func() { s.HandleConn(c) })
	}
}

func (m *labMember) config() Config {
	c := Config{
		Dir: m.dir, Self: m.self, Tick: testTick, NoQuorumAfter: 600 * time.Millisecond, RequestTimeout: 10 * time.Second,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: m.lab.tls}).DialContext(ctx, "tcp", addr)
		},
		Filter: func(msg *raftpb.Message) bool { return !m.lab.isCut(msg.GetFrom(), msg.GetTo()) },
	}
	if testing.Verbose() && os.Getenv("LABLOG") != "" {
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("on", m.self.Name)
	}
	m.lab.cfg(&c)
	return c
}

func (m *labMember) open() error {
	s, err := Open(m.config())
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.store = s
	m.mu.Unlock()
	return nil
}

func (m *labMember) start() *labMember {
	m.lab.t.Helper()
	if err := m.open(); err != nil {
		m.lab.t.Fatalf("open %s: %v", m.self.Name, err)
	}
	return m
}

func (m *labMember) get() *Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store
}

// stop closes the store in the orderly way.
func (m *labMember) stop() {
	m.mu.Lock()
	s := m.store
	m.store = nil
	m.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}

func (l *lab) isCut(from, to uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut[[2]uint64{from, to}]
}

// isolate cuts a member off in both directions, or joins it again.
func (l *lab) isolate(id uint64, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for o := range l.m {
		l.cut[[2]uint64{id, o}] = cut && o != id
		l.cut[[2]uint64{o, id}] = cut && o != id
	}
}

func (l *lab) close() {
	for _, m := range l.m {
		m.stop()
		_ = m.ln.Close()
		m.wg.Wait()
	}
}

// members makes a running cluster of n members with ids 1 to n, all voters.
func (l *lab) members(n int) []*labMember {
	l.t.Helper()
	first := l.member(1)
	if err := Bootstrap(first.dir, first.self, []cluster.Op{{Key: "/boot", Value: []byte("1")}}); err != nil {
		l.t.Fatal(err)
	}
	ms := []*labMember{first.start()}
	for id := 2; id <= n; id++ {
		m := l.member(uint64(id))
		if err := InitMember(m.dir, m.self); err != nil {
			l.t.Fatal(err)
		}
		ms = append(ms, m.start())
		if err := first.store.AddMember(ctxT(l.t), m.self); err != nil {
			l.t.Fatal(err)
		}
	}
	l.eventually("all members are voters", func() error {
		for _, m := range ms {
			st := m.store.Status()
			if len(st.Members) != n || !st.HasQuorum {
				return fmt.Errorf("%s sees %+v", m.self.Name, st)
			}
			for _, o := range st.Members {
				if o.Learner {
					return fmt.Errorf("%s sees learner %s", m.self.Name, o.Name)
				}
			}
		}
		return nil
	})
	return ms
}

func (l *lab) eventually(what string, f func() error) {
	l.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// leader waits for a running member that leads and returns it.
func (l *lab) leader(ms []*labMember) *labMember {
	l.t.Helper()
	var found *labMember
	l.eventually("a leader", func() error {
		for _, m := range ms {
			if s := m.get(); s != nil {
				if st := s.Status(); st.Leader == m.self.ID && st.HasQuorum {
					found = m
					return nil
				}
			}
		}
		return errors.New("none")
	})
	return found
}

func ctxT(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func put(key, value string) cluster.Txn {
	return cluster.Txn{Then: []cluster.Op{{Key: key, Value: []byte(value)}}}
}
