package api

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"quorate/cluster"
)

// Keys of the replicated store that this package owns. The keys of generations are the cluster package's.
const (
	KeyAuthority = "/pki/ca"  // Authority, JSON
	KeyCluster   = "/cluster" // ClusterInfo, JSON
	KeyTokens    = "/tokens/" // + Token.Hash: TokenRecord, JSON
)

// ClusterInfo is what the store keeps about the cluster as a whole.
type ClusterInfo struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

// Identity is what a director is in its cluster: the content of its state directory except for the store itself.
//
//	node.json   who this is: cluster, member id, name, address, and the members it knew when it joined
//	ca.crt      the authority of the cluster
//	node.crt    this member's certificate      node.key   its private key
//	raft/       the store      generations/   configurations saved for the workers
type Identity struct {
	Cluster ClusterInfo      `json:"cluster"`
	ID      uint64           `json:"id,string"`
	Name    string           `json:"name"`
	Address string           `json:"address"`
	Seeds   []cluster.Member `json:"seeds"`

	Dir    string `json:"-"`
	CA     []byte `json:"-"` // PEM
	Cert   []byte `json:"-"` // PEM
	Key    []byte `json:"-"` // PEM
	caCert *x509.Certificate
	leaf   *x509.Certificate
}

// Self is the identity as the store names it.
func (id *Identity) Self() cluster.Member {
	return cluster.Member{ID: id.ID, Name: id.Name, Address: id.Address}
}

// Expires is the end of the certificate's life.
func (id *Identity) Expires() time.Time { return id.leaf.NotAfter }

// Check says why the certificate cannot be used now.
func (id *Identity) Check(now time.Time) error {
	return checkCert(id.leaf, id.caCert, filepath.Join(id.Dir, "node.crt"), now)
}

// Certificate is the pair for crypto/tls.
func (id *Identity) Certificate() (tls.Certificate, error) { return tls.X509KeyPair(id.Cert, id.Key) }

// Pool holds the cluster's authority.
func (id *Identity) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(id.caCert)
	return p
}

// LoadIdentity reads a state directory. fs.ErrNotExist in the error means that nobody ran init or join here.
func LoadIdentity(dir string) (*Identity, error) {
	b, err := os.ReadFile(filepath.Join(dir, "node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state directory %s belongs to no cluster yet (no node.json): run clusterctl init or clusterctl join on this host first: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	id := &Identity{}
	if err := json.Unmarshal(b, id); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "node.json"), err)
	}
	id.Dir = dir
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{"ca.crt", &id.CA}, {"node.crt", &id.Cert}, {"node.key", &id.Key}} {
		if *f.to, err = os.ReadFile(filepath.Join(dir, f.name)); err != nil {
			return nil, fmt.Errorf("state directory is incomplete; restore it from a backup, or empty it and join again: %w", err)
		}
	}
	if err := id.parse(); err != nil {
		return nil, fmt.Errorf("state directory %s: %w", dir, err)
	}
	return id, nil
}

// parse checks that the parts belong together.
func (id *Identity) parse() error {
	var err error
	if id.caCert, err = parseCert(id.CA); err != nil {
		return fmt.Errorf("ca.crt: %w", err)
	}
	if id.leaf, err = parseCert(id.Cert); err != nil {
		return fmt.Errorf("node.crt: %w", err)
	}
	key, err := parseKey(id.Key)
	if err != nil {
		return fmt.Errorf("node.key: %w", err)
	}
	if pub, ok := id.leaf.PublicKey.(*ecdsa.PublicKey); !ok || !key.PublicKey.Equal(pub) {
		return errors.New("node.crt and node.key do not belong together")
	}
	if id.leaf.Subject.CommonName != id.Name {
		return fmt.Errorf("node.crt is the certificate of %q, node.json says this is %q", id.leaf.Subject.CommonName, id.Name)
	}
	if id.ID == 0 {
		return errors.New("node.json: no member id")
	}
	return CheckAddress(id.Address)
}

// checkFree says whether a state directory may be filled: it must not hold an identity.
func checkFree(dir string) error {
	if id, err := LoadIdentity(dir); err == nil {
		return errf(CodeConflict, "state directory %s is in use: it is %s (%s) of cluster %s", dir, id.Name, id.Address, id.Cluster.Name).
			withHint("give another --state-dir; to start anew, stop clusterd and remove the directory (what is only there is lost)")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return errf(CodeConflict, "state directory %s is in use and damaged: %v", dir, err).withHint("give another --state-dir, or remove the directory")
	}
	return nil
}

// checkWritable tries whether so many bytes can be written to a state directory, which is made if need be, and leaves nothing
// behind. It is better to know before the cluster has admitted this host, or committed a generation.
func checkWritable(dir string, bytes int) error {
	_, serr := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	probe := filepath.Join(dir, ".probe")
	err := writeSynced(probe, make([]byte, bytes))
	if rerr := os.Remove(probe); err == nil {
		err = rerr
	}
	if errors.Is(serr, fs.ErrNotExist) {
		_ = os.Remove(dir) // only if empty
	}
	return err
}

// stagingName is where an identity is put together inside the state directory before its parts are moved into place.
const stagingName = ".new"

// write fills a state directory so that a crash at any point leaves either no identity or a whole one: everything is written
// to a staging directory, synced and renamed, node.json last. makeStore makes the store's directory at the given path.
func (id *Identity) write(dir string, makeStore func(dir string) error) (err error) {
	made := false
	if _, serr := os.Stat(dir); errors.Is(serr, fs.ErrNotExist) {
		made = true
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	stage := filepath.Join(dir, stagingName)
	defer func() {
		if err != nil {
			_ = os.RemoveAll(stage)
			if made {
				_ = os.Remove(dir) // only if empty
			}
		}
	}()
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(stage); err != nil { // of an attempt that was killed
		return err
	}
	if err := os.Mkdir(stage, 0o700); err != nil {
		return err
	}
	if err := makeStore(filepath.Join(stage, "raft")); err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	node, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	parts := []struct {
		name string
		data []byte
	}{{"ca.crt", id.CA}, {"node.key", id.Key}, {"node.crt", id.Cert}, {"node.json", append(node, '\n')}}
	for _, p := range parts {
		if err := writeSynced(filepath.Join(stage, p.name), p.data); err != nil {
			return err
		}
	}
	// Without node.json whatever lies here is of an attempt that failed half-way.
	if err := os.RemoveAll(filepath.Join(dir, "raft")); err != nil {
		return err
	}
	for _, name := range []string{"raft", "ca.crt", "node.key", "node.crt", "node.json"} {
		if name == "node.json" {
			if err := syncDir(dir); err != nil {
				return err
			}
		}
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(dir, name)); err != nil {
			return errors.Join(err, removeParts(dir))
		}
	}
	_ = os.Remove(stage)
	id.Dir = dir
	return syncDir(dir)
}

// removeParts takes back what an interrupted write has moved into place.
func removeParts(dir string) error {
	var errs []error
	for _, name := range []string{"node.json", "node.crt", "node.key", "ca.crt", "raft"} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// replaceCert puts a renewed certificate for the same key into place.
func (id *Identity) replaceCert(cert []byte) (*Identity, error) {
	n := *id
	n.Cert = cert
	if err := n.parse(); err != nil {
		return nil, err
	}
	path := filepath.Join(id.Dir, "node.crt")
	if err := writeSynced(path+".new", cert); err != nil {
		return nil, err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return nil, err
	}
	return &n, syncDir(id.Dir)
}

// writeSynced writes a private file and has it on disk before it returns.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// newMemberID draws an id that no member has had: a removed id must never come back (raft forbids it).
func newMemberID() (uint64, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if id := binary.BigEndian.Uint64(b[:]) >> 1; id != 0 {
			return id, nil
		}
	}
}
