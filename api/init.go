package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"quorate/cluster"
)

// DefaultPort is the TCP port of a member's listener when an address is given without one.
const DefaultPort = "8470"

// WithPort completes an address written without a port.
func WithPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil || address == "" {
		return address
	}
	if ip := net.ParseIP(address); ip != nil {
		return net.JoinHostPort(address, DefaultPort)
	}
	if host, port, err := net.SplitHostPort(address + ":" + DefaultPort); err == nil {
		return net.JoinHostPort(host, port)
	}
	return address
}

// InitOptions says what cluster to make.
type InitOptions struct {
	Cluster  string // name for people; "quorate" when empty
	Name     string // of the first member = its config-id
	Address  string // host:port where the other members will reach it
	StateDir string
	Storage  Storage // nil: raft
	Now      time.Time
}

// InitResult is what init made.
type InitResult struct {
	Identity *Identity
	Token    string // admits further directors until Expires
	Expires  time.Time
}

// Init makes a cluster of one member, offline: its authority, the member's certificate, its store, and a first join token.
func Init(o InitOptions) (*InitResult, error) {
	if err := CheckName(o.Name); err != nil {
		return nil, errf(CodeUsage, "%v", err)
	}
	if err := CheckAddress(o.Address); err != nil {
		return nil, errf(CodeUsage, "%v", err)
	}
	if o.Cluster == "" {
		o.Cluster = "quorate"
	}
	if err := CheckName(o.Cluster); err != nil {
		return nil, errf(CodeUsage, "cluster name: %v", err)
	}
	if err := checkFree(o.StateDir); err != nil {
		return nil, err
	}
	ca, err := NewAuthority(o.Cluster, o.Now)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	id := &Identity{Name: o.Name, Address: o.Address, CA: ca.Cert,
		Cluster: ClusterInfo{Name: o.Cluster, Created: o.Now.UTC().Truncate(time.Second)}}
	if id.Key, err = encodeKey(key); err != nil {
		return nil, err
	}
	if id.ID, err = newMemberID(); err != nil {
		return nil, err
	}
	if id.Cert, err = ca.Sign(id.Self(), key.Public(), o.Now); err != nil {
		return nil, err
	}
	var cid [8]byte
	if _, err := rand.Read(cid[:]); err != nil {
		return nil, err
	}
	id.Cluster.ID = hex.EncodeToString(cid[:])
	id.Seeds = []cluster.Member{id.Self()}
	if err := id.parse(); err != nil {
		return nil, err
	}
	tok, err := NewToken([]string{o.Address}, ca.Cert)
	if err != nil {
		return nil, err
	}
	rec := TokenRecord{Created: o.Now.UTC().Truncate(time.Second), Expires: o.Now.Add(TokenLife).UTC().Truncate(time.Second), By: "clusterctl init"}
	ops := []cluster.Op{
		{Key: KeyCluster, Value: mustJSON(id.Cluster)},
		{Key: KeyAuthority, Value: mustJSON(ca)},
		{Key: KeyTokens + tok.Hash(), Value: mustJSON(rec)},
	}
	st := storageOr(o.Storage)
	if err := id.write(o.StateDir, func(dir string) error { return st.Bootstrap(dir, id.Self(), ops) }); err != nil {
		return nil, fmt.Errorf("init %s: %w", o.StateDir, err)
	}
	return &InitResult{Identity: id, Token: tok.String(), Expires: rec.Expires}, nil
}

// mustJSON marshals a value of this package, whose types always marshal.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v; only plain structs are stored", v, err))
	}
	return b
}
