package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/cluster"
)

func TestCertificates(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	ca, err := NewAuthority("lab", now)
	if err != nil {
		t.Fatal(err)
	}
	_, csr, err := newRequest("ignored") // names come from the caller
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.SignRequest(csr, cluster.Member{ID: 7, Name: "d2", Address: "10.0.0.2:8470"}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := parseCert(p)
	root, _ := parseCert(ca.Cert)
	if c.Subject.CommonName != "d2" || c.Subject.SerialNumber != "7" || c.VerifyHostname("10.0.0.2") != nil || c.VerifyHostname("d2") != nil {
		t.Errorf("names: %v %v %v", c.Subject, c.DNSNames, c.IPAddresses)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			t.Errorf("usage %v: %v", use, err)
		}
	}
	if got := c.NotAfter.Sub(now); got != memberLife {
		t.Errorf("life %s", got)
	}
	for _, tc := range []struct {
		at   time.Time
		ca   Authority
		want string
	}{
		{now, ca, ""},
		{now.Add(memberLife + time.Hour), ca, "the certificate of d2 (node.crt) expired: it was valid from 2026-11-20 11:00 UTC to 2027-11-20 12:00 UTC, now is 2027-11-20 13:00 UTC"},
		{now.Add(-2 * time.Hour), ca, "is not valid yet"},
		{now, mustAuthority(t, "other", now), `was issued by "quorate lab", which is not the authority of this cluster ("quorate other"`},
	} {
		root, _ := parseCert(tc.ca.Cert)
		err := checkCert(c, root, "node.crt", tc.at)
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("at %s: got %v, want %q", tc.at, err, tc.want)
		}
		if e := AsError(err); e != nil && e.Hint == "" {
			t.Errorf("%v: no remedy", err)
		}
	}
}

func mustAuthority(t *testing.T, name string, now time.Time) Authority {
	t.Helper()
	ca, err := NewAuthority(name, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestSignRequestRefuses(t *testing.T) {
	ca := mustAuthority(t, "lab", time.Now())
	_, good, _ := newRequest("d2")
	k, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	der, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "d2"}}, k)
	b, _ := pem.Decode(good)
	forged := append([]byte{}, b.Bytes...)
	forged[len(forged)-1] ^= 1
	for _, tc := range []struct {
		name string
		csr  []byte
	}{
		{"empty", nil}, {"not PEM", []byte("hello")}, {"a certificate", ca.Cert}, {"two", append(append([]byte{}, good...), good...)},
		{"another curve", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})},
		{"forged signature", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged})},
	} {
		if _, err := ca.SignRequest(tc.csr, cluster.Member{ID: 7, Name: "d2", Address: "10.0.0.2:1"}, time.Now()); err == nil {
			t.Errorf("%s: signed", tc.name)
		}
	}
}

func TestInitStateDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	st := newMemStorage()
	o := InitOptions{Name: "d1", Address: "127.0.0.1:8470", StateDir: dir, Storage: st, Now: time.Now()}
	if _, err := LoadIdentity(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before init: %v", err)
	}
	res, err := Init(o)
	if err != nil {
		t.Fatal(err)
	}
	id, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != res.Identity.ID || id.ID == 0 || id.Name != "d1" || id.Cluster.Name != "quorate" || id.Check(time.Now()) != nil {
		t.Errorf("identity %+v", id)
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "node.json": 0o600, "ca.crt": 0o600, "node.crt": 0o600, "node.key": 0o600, "raft": 0o700} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want mode %o", name, fi.Mode(), err, want)
		}
	}
	if es, _ := os.ReadDir(dir); len(es) != 5 {
		t.Errorf("left over: %v", es)
	}
	for _, key := range []string{KeyAuthority, KeyCluster, KeyTokens + mustParse(t, res.Token).Hash()} {
		if _, ok := st.m.Get(key); !ok {
			t.Errorf("no %s in the store", key)
		}
	}
	_, err = Init(o)
	if e := AsError(err); e == nil || e.Code != CodeConflict || !strings.Contains(e.Message, "is in use: it is d1 (127.0.0.1:8470) of cluster quorate") {
		t.Errorf("second init: %v", err)
	}
}

func mustParse(t *testing.T, s string) Token {
	t.Helper()
	tok, err := ParseToken(s)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

type brokenStorage struct{ Storage }

func (brokenStorage) Bootstrap(string, cluster.Member, []cluster.Op) error {
	return errors.New("no space left on device")
}

// An init that fails, or was killed half-way, leaves nothing that hinders the next.
func TestInitFailureLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	o := InitOptions{Name: "d1", Address: "127.0.0.1:8470", StateDir: dir, Storage: brokenStorage{}, Now: time.Now()}
	if _, err := Init(o); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("state directory: %v", err)
	}
	// Killed while staging and after some parts were moved: no node.json, so not a member.
	for _, p := range []string{"raft/old", ".new/raft/x"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Storage = newMemStorage()
	if _, err := Init(o); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "raft/old")); err == nil {
		t.Error("the old attempt's store is still there")
	}
}

func TestLoadIdentityDamaged(t *testing.T) {
	for _, tc := range []struct {
		file, content, want string
	}{
		{"node.json", "{", "node.json: unexpected end"},
		{"node.crt", "", "node.crt: not a PEM certificate"},
		{"node.key", "", "node.key: not a PEM private key"},
		{"ca.crt", "\x00", "ca.crt: not a PEM certificate"},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if _, err := Init(InitOptions{Name: "d1", Address: "127.0.0.1:8470", StateDir: dir, Storage: newMemStorage(), Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, tc.file), []byte(tc.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.file, err, tc.want)
		}
		if err := checkFree(dir); err == nil {
			t.Errorf("%s: a damaged state directory counts as free", tc.file)
		}
	}
}
