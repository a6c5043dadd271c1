package api

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/cluster"
)

func joinOptions(t *testing.T, st Storage, token, name string) JoinOptions {
	t.Helper()
	return JoinOptions{Token: token, Name: name, Address: freeAddress(t), StateDir: filepath.Join(t.TempDir(), name), Storage: st,
		Now: time.Now, Timeout: 20 * time.Second}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 3)
	eventually(t, "three nodes answer", func() error {
		s, err := ms[2].Status(t.Context())
		if err != nil {
			return err
		}
		for _, n := range s.Nodes {
			if n.State == "unreachable" {
				return errors.New(n.Error)
			}
		}
		if len(s.Nodes) != 3 || !s.Quorum || s.Cluster != "lab" {
			t.Errorf("%+v", s)
		}
		return nil
	})
	if n := len(st.members); n != 3 || !st.members[1].Learner {
		t.Errorf("members %+v", st.members)
	}
}

// Each refusal says what is wrong and what to do, and a failed join leaves nothing behind, here or in the cluster.
func TestJoinRefused(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 2)
	create := func(ttl time.Duration) Token {
		c, err := ms[0].CreateToken(t.Context(), TokenRequest{TTL: ttl, By: "test"})
		if err != nil {
			t.Fatal(err)
		}
		return mustParse(t, c.Token)
	}
	good := create(0)
	if !slices.Contains(good.Addresses, ms[0].addr) || !slices.Contains(good.Addresses, ms[1].addr) {
		t.Errorf("token names %v", good.Addresses)
	}
	wrong, pin, gone, half := good, good, good, good
	wrong.Secret[0] ^= 1
	pin.CAHash[0] ^= 1
	gone.Addresses = []string{freeAddress(t), freeAddress(t)}
	half.Addresses = []string{freeAddress(t), ms[1].addr}
	revoked := create(0)
	if h, err := ms[1].RevokeToken(t.Context(), revoked.Hash()[:12]); err != nil || h != revoked.Hash() {
		t.Fatal(h, err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	used := filepath.Join(t.TempDir(), "used")
	if _, err := Init(InitOptions{Name: "x", Address: "127.0.0.1:8470", StateDir: used, Storage: newMemStorage(), Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name       string
		token      string
		tune       func(*JoinOptions)
		code       Code
		want, hint string
	}{
		{"no token", "hello", nil, CodeUsage, `does not begin with "quorate1."`, "copy the whole line"},
		{"wrong secret", wrong.String(), nil, CodeDenied, "not known to this cluster", "clusterctl token create"},
		{"revoked", revoked.String(), nil, CodeDenied, "not known to this cluster", "clusterctl token create"},
		{"another authority", pin.String(), nil, CodeDenied, `issued by "quorate lab", but the token is for another cluster`, "intercepts"},
		{"nobody there", gone.String(), nil, CodeUnreachable, "tried " + gone.Addresses[0] + " (", "firewalls"},
		{"name taken", good.String(), func(o *JoinOptions) { o.Name = "d1" }, CodeConflict, `the name "d1" is taken by the member at ` + ms[0].addr, "member remove d1"},
		{"bad name", good.String(), func(o *JoinOptions) { o.Name = "d 3" }, CodeUsage, `' ' is not a letter`, ""},
		{"address in use", good.String(), func(o *JoinOptions) { o.Address = busy.Addr().String() }, CodeUsage, "cannot listen on", "free port"},
		{"foreign address", good.String(), func(o *JoinOptions) { o.Address = "203.0.113.1:8470" }, CodeUsage, "cannot listen on 203.0.113.1:8470", "address of this host"},
		{"state directory in use", good.String(), func(o *JoinOptions) { o.StateDir = used }, CodeConflict, "is in use: it is x (127.0.0.1:8470)", "--state-dir"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := joinOptions(t, st, tc.token, "d3")
			if tc.tune != nil {
				tc.tune(&o)
			}
			_, err := Join(t.Context(), o)
			e := AsError(err)
			if e == nil {
				t.Fatal("joined")
			}
			if e.Code != tc.code || !strings.Contains(e.Message, tc.want) || !strings.Contains(e.Hint, tc.hint) {
				t.Errorf("got %s: %s\nhint: %s\nwant %s: … %s\nhint: … %s", e.Code, e.Message, e.Hint, tc.code, tc.want, tc.hint)
			}
			if _, err := os.Stat(o.StateDir); o.StateDir != used && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("state directory: %v", err)
			}
			if len(st.members) != 2 {
				t.Errorf("members %+v", st.members)
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		c, err := ms[0].CreateToken(t.Context(), TokenRequest{TTL: time.Nanosecond})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		_, err = Join(t.Context(), joinOptions(t, st, c.Token, "d3"))
		if e := AsError(err); e == nil || e.Code != CodeDenied || !strings.Contains(e.Message, "the join token expired at") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("first address is dead", func(t *testing.T) {
		if _, err := Join(t.Context(), joinOptions(t, st, half.String(), "d3")); err != nil {
			t.Error(err)
		}
	})
}

// A director whose disk refused after it was admitted can repeat the command: it replaces the learner that never ran.
func TestJoinAgainAfterHalfJoin(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 1)
	c, err := ms[0].CreateToken(t.Context(), TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	o := joinOptions(t, diskFull{st}, c.Token, "d2")
	_, err = Join(t.Context(), o)
	if e := AsError(err); e == nil || !strings.Contains(e.Message, "was admitted, but") || !strings.Contains(e.Hint, "the same command again") {
		t.Fatalf("got %v", err)
	}
	before := st.members[1].ID
	o.Storage = st
	id, err := Join(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(st.members) != 2 || st.members[1].ID != id.ID || id.ID == before {
		t.Errorf("members %+v, this is %d, was %d", st.members, id.ID, before)
	}
	// Once it votes, its name is its own.
	st.set(func() { st.members[1].Learner = false })
	o.StateDir = filepath.Join(t.TempDir(), "other")
	if _, err := Join(t.Context(), o); AsError(err) == nil || AsError(err).Code != CodeConflict {
		t.Errorf("got %v", err)
	}
}

type diskFull struct{ *memStorage }

func (diskFull) InitMember(string, cluster.Member) error {
	return errors.New("no space left on device")
}

// Without a certificate of the cluster nothing but join and healthz is answered.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	st, ms := testCluster(t, 1)
	tok, err := ms[0].CreateToken(t.Context(), TokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	stranger := &Client{base: "https://" + ms[0].addr, http: pinnedHTTP(mustParse(t, tok.Token), ms[0].addr, time.Now()), what: "d1"}
	for _, f := range []func() error{
		func() error { _, err := stranger.Node(t.Context()); return err },
		func() error { _, err := stranger.CreateToken(t.Context(), TokenRequest{}); return err },
		func() error {
			_, err := stranger.Push(t.Context(), PushRequest{ID: "1", Main: "a", Files: map[string]string{"a": ""}}, nil)
			return err
		},
	} {
		if e := AsError(f()); e == nil || e.Code != CodeDenied {
			t.Errorf("got %v", e)
		}
	}
	// A certificate of another cluster does not even get through the handshake.
	other := filepath.Join(t.TempDir(), "other")
	res, err := Init(InitOptions{Name: "d1", Address: "127.0.0.1:8470", StateDir: other, Storage: newMemStorage(), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{now: time.Now, cfg: Config{Storage: st}}
	s.id.Store(res.Identity)
	_, err = s.dialMember(t.Context(), ms[0].addr, protoHTTP)
	if err == nil || !strings.Contains(err.Error(), "is not the authority of this cluster") {
		t.Errorf("got %v", err)
	}
}

// A member whose certificate is about to end, or has ended, gets a new one from its own copy of the store.
func TestCertificateRenewsItself(t *testing.T) {
	t.Parallel()
	st := newMemStorage()
	dir := filepath.Join(t.TempDir(), "d1")
	long := time.Now().Add(-memberLife - time.Hour)
	res, err := Init(InitOptions{Name: "d1", Address: freeAddress(t), StateDir: dir, Storage: st, Now: long})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Identity.Check(time.Now()); err == nil {
		t.Fatal("not expired")
	}
	m := startMember(t, st, dir, nil)
	eventually(t, "renewal", func() error {
		n, err := m.Node(t.Context())
		if err != nil || time.Until(n.CertExpires) < memberLife-time.Hour {
			return errors.Join(err, errors.New("not renewed"))
		}
		return nil
	})
	id, err := LoadIdentity(dir)
	if err != nil || id.Check(time.Now()) != nil {
		t.Errorf("on disk: %v %v", id, err)
	}
}
