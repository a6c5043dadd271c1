package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"quorate/cluster"
)

// JoinOptions says where and as whom to join.
type JoinOptions struct {
	Token    string
	Name     string
	Address  string // host:port where the other members will reach this one
	StateDir string
	Storage  Storage // nil: raft
	Timeout  time.Duration
	Now      func() time.Time
}

// joinRequest is the body of POST /api/v1/join. Nonce is what the new member's address answers when the admitting member
// connects back: proof that the address leads to whoever holds the token.
type joinRequest struct {
	Secret  []byte `json:"secret"`
	Name    string `json:"name"`
	Address string `json:"address"`
	CSR     []byte `json:"csr"`
	Nonce   string `json:"nonce"`
}

type joinResponse struct {
	Cluster ClusterInfo      `json:"cluster"`
	ID      uint64           `json:"id,string"`
	CA      []byte           `json:"ca"`
	Cert    []byte           `json:"cert"`
	Members []cluster.Member `json:"members"`
}

// nonceLen is the length of a Nonce in hexadecimal.
const nonceLen = 32

// Join makes this host a member: it asks a member named in the token, which checks the token, connects back to Address,
// signs a certificate and adds the member as a learner. Nothing is written before all of that has succeeded.
func Join(ctx context.Context, o JoinOptions) (*Identity, error) {
	tok, err := ParseToken(o.Token)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(CheckName(o.Name), CheckAddress(o.Address)); err != nil {
		return nil, errf(CodeUsage, "%v", err)
	}
	if err := checkFree(o.StateDir); err != nil {
		return nil, err
	}
	if err := checkWritable(o.StateDir, 64<<10); err != nil {
		return nil, errf(CodeUsage, "the state directory cannot be written: %v", err).withHint("make room or give another --state-dir; nothing was changed")
	}
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	nonce := make([]byte, nonceLen/2)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	req := joinRequest{Secret: tok.Secret[:], Name: o.Name, Address: o.Address, Nonce: hex.EncodeToString(nonce)}
	key, csr, err := newRequest(o.Name)
	if err != nil {
		return nil, err
	}
	req.CSR = csr
	stop, err := answerCallback(ctx, o.Address, req.Nonce)
	if err != nil {
		return nil, err
	}
	defer stop()
	resp, err := askToJoin(ctx, tok, req, o.Now())
	if err != nil {
		return nil, err
	}
	id := &Identity{Cluster: resp.Cluster, ID: resp.ID, Name: o.Name, Address: o.Address, Seeds: resp.Members,
		CA: resp.CA, Cert: resp.Cert, Key: key}
	if err := id.parse(); err != nil {
		return nil, fmt.Errorf("the member's answer is of no use: %w", err)
	}
	if h := sha256.Sum256(id.caCert.Raw); h != tok.CAHash {
		return nil, errf(CodeDenied, "the member's answer names another authority (sha256 %x…) than the token (sha256 %x…)", h[:6], tok.CAHash[:6])
	}
	if err := id.Check(o.Now()); err != nil {
		return nil, err
	}
	st := storageOr(o.Storage)
	if err := id.write(o.StateDir, func(dir string) error { return st.InitMember(dir, id.Self()) }); err != nil {
		return nil, errf(CodeInternal, "%s was admitted, but its state directory could not be written: %v", o.Name, err).
			withHint("make %s writable and run the same command again: the half-made member is replaced", o.StateDir)
	}
	return id, nil
}

// answerCallback listens on address until stop is called and says nonce to whoever connects.
func answerCallback(ctx context.Context, address, nonce string) (stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, errf(CodeUsage, "cannot listen on %s: %v", address, err).
			withHint("--address must be an address of this host, with a free port, that the other members can reach; if clusterd runs here, stop it first")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			_, _ = io.WriteString(c, nonce)
			_ = c.Close()
		}
	}()
	return func() { _ = l.Close(); <-done }, nil
}

// askToJoin tries the token's addresses in turn. Only an address that cannot be reached makes it try the next one:
// an answer, even a refusal, is the cluster's.
func askToJoin(ctx context.Context, tok Token, req joinRequest, now time.Time) (*joinResponse, error) {
	var tried []string
	for _, addr := range tok.Addresses {
		resp, err := askOne(ctx, tok, addr, req, now)
		var unreachable *net.OpError
		if err == nil || !errors.As(err, &unreachable) {
			return resp, err
		}
		tried = append(tried, fmt.Sprintf("%s (%v)", addr, unreachable.Err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errf(CodeUnreachable, "no member of the cluster answers; tried %s", strings.Join(tried, ", ")).
		withHint("check that clusterd runs there and that TCP to that port is open in firewalls, or make a new token on a live member: clusterctl token create")
}

func askOne(ctx context.Context, tok Token, addr string, req joinRequest, now time.Time) (*joinResponse, error) {
	client := pinnedHTTP(tok, addr, now)
	defer client.CloseIdleConnections()
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+"/api/v1/join", bytes.NewReader(mustJSON(req)))
	if err != nil {
		return nil, err
	}
	hr.Header.Set("Content-Type", "application/json")
	res, err := client.Do(hr)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, readError(res)
	}
	var out joinResponse
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&out); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", addr, err)
	}
	return &out, nil
}

func pinnedHTTP(tok Token, addr string, now time.Time) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:     pinnedTLS(tok.CAHash, addr, now),
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
	}}
}

// pinnedTLS trusts exactly the authority whose hash the token carries: the peer must present it above its own certificate.
func pinnedTLS(pin [sha256.Size]byte, addr string, now time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // replaced by VerifyConnection, which checks against the pin
		VerifyConnection: func(cs tls.ConnectionState) error {
			i := slices.IndexFunc(cs.PeerCertificates, func(c *x509.Certificate) bool { return sha256.Sum256(c.Raw) == pin })
			if i < 0 {
				leaf := cs.PeerCertificates[0]
				return errf(CodeDenied, "%s answers with a certificate of %q issued by %q, but the token is for another cluster (its authority has sha256 %x…)",
					addr, leaf.Subject.CommonName, leaf.Issuer.CommonName, pin[:6]).
					withHint("make the token on a member of the cluster you want to join; if the address is right, something between intercepts the connection")
			}
			ca := cs.PeerCertificates[i]
			if err := checkCert(cs.PeerCertificates[0], ca, addr, now); err != nil {
				return err
			}
			roots := x509.NewCertPool()
			roots.AddCert(ca)
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			return err
		},
	}
}

// handleJoin admits a director. It is the one request that needs no client certificate: the token's secret stands for it.
func (s *Server) handleJoin(r *http.Request) (any, error) {
	var req joinRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if err := errors.Join(CheckName(req.Name), CheckAddress(req.Address)); err != nil {
		return nil, errf(CodeUsage, "%v", err)
	}
	st, err := s.replica()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), joinBudget)
	defer cancel()
	if err := s.checkSecret(ctx, st, req.Secret); err != nil {
		return nil, err
	}
	// One admission of a name at a time in the whole cluster: whoever changes this key first goes on.
	claim := "/joins/" + req.Name
	var claimRev int64
	if kv, err := st.Get(ctx, claim); err == nil {
		claimRev = kv.ModRev
	} else if !errors.Is(err, cluster.ErrNotFound) {
		return nil, err
	}
	old, err := s.nameFree(st, req.Name, req.Address)
	if err != nil {
		return nil, err
	}
	if err := callBack(ctx, req.Address, req.Nonce); err != nil {
		return nil, err
	}
	ca, info, err := authority(ctx, st)
	if err != nil {
		return nil, err
	}
	m := cluster.Member{Name: req.Name, Address: req.Address, Learner: true}
	if m.ID, err = newMemberID(); err != nil {
		return nil, err
	}
	cert, err := ca.SignRequest(req.CSR, m, s.now())
	if err != nil {
		return nil, errf(CodeUsage, "%v", err)
	}
	res, err := st.Txn(ctx, cluster.Txn{If: []cluster.Compare{{Key: claim, ModRev: claimRev}},
		Then: []cluster.Op{{Key: claim, Value: mustJSON(m)}}})
	if err != nil {
		return nil, err
	}
	if !res.Succeeded {
		return nil, errf(CodeConflict, "another director is joining as %q at this moment", req.Name).withHint("give each director its own --name")
	}
	if old != nil {
		if err := st.RemoveMember(ctx, old.ID); err != nil {
			return nil, fmt.Errorf("remove the half-joined %s: %w", old.Name, err)
		}
	}
	if err := st.AddMember(ctx, m); err != nil {
		return nil, fmt.Errorf("add %s: %w", m.Name, err)
	}
	s.log.Info("member admitted", "name", m.Name, "address", m.Address, "id", m.ID)
	members := st.Status().Members
	if !slices.ContainsFunc(members, func(x cluster.Member) bool { return x.ID == m.ID }) {
		members = append(slices.Clone(members), m) // admitted by the leader, not applied here yet
	}
	return joinResponse{Cluster: info, ID: m.ID, CA: ca.Cert, Cert: cert, Members: members}, nil
}

const joinBudget = 20 * time.Second

// checkSecret finds the token that a secret belongs to.
func (s *Server) checkSecret(ctx context.Context, st cluster.Store, secret []byte) error {
	var t Token
	if len(secret) != len(t.Secret) {
		return errf(CodeUsage, "join: a secret of %d bytes, want %d", len(secret), len(t.Secret))
	}
	copy(t.Secret[:], secret)
	kv, err := st.Get(ctx, KeyTokens+t.Hash())
	if errors.Is(err, cluster.ErrNotFound) {
		return errf(CodeDenied, "the join token is not known to this cluster: it was revoked, or made by a cluster that was set up anew").
			withHint("make a new one on any member: clusterctl token create")
	}
	if err != nil {
		return err
	}
	var rec TokenRecord
	if err := json.Unmarshal(kv.Value, &rec); err != nil {
		return fmt.Errorf("stored token: %w", err)
	}
	if s.now().After(rec.Expires) {
		return errf(CodeDenied, "the join token expired at %s, %s ago", day(rec.Expires), s.now().Sub(rec.Expires).Round(time.Second)).
			withHint("make a new one on any member: clusterctl token create")
	}
	return nil
}

// nameFree checks that neither name nor address belongs to a member. A learner of the same name and address never got to
// vote and is whoever asks now (the callback proves the address): it is returned to be replaced.
func (s *Server) nameFree(st cluster.Store, name, address string) (replace *cluster.Member, err error) {
	for _, m := range st.Status().Members {
		switch {
		case m.Name == name && m.Address == address && m.Learner:
			return &m, nil
		case m.Name == name:
			return nil, errf(CodeConflict, "the name %q is taken by the member at %s", name, m.Address).
				withHint("choose another --name; if that director is lost for good, remove it first: clusterctl member remove %s", name)
		case m.Address == address:
			return nil, errf(CodeConflict, "the address %s belongs to the member %q", address, m.Name).
				withHint("choose another --address; if that director is lost for good, remove it first: clusterctl member remove %s", m.Name)
		}
	}
	return nil, nil
}

// callBack connects to a joining director's address and expects its nonce.
func callBack(ctx context.Context, address, nonce string) error {
	if len(nonce) != nonceLen {
		return errf(CodeUsage, "join: a nonce of %d characters, want %d", len(nonce), nonceLen)
	}
	fail := func(why any) error {
		return errf(CodeUsage, "this member cannot reach %s, the address the new one gave: %v", address, why).
			withHint("--address must be reachable from every member: check firewalls and routes for TCP to it")
	}
	c, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	b := make([]byte, nonceLen)
	if _, err := io.ReadFull(c, b); err != nil {
		return fail(err)
	}
	if string(b) != nonce {
		return fail("another program answers there")
	}
	return nil
}

// authority reads the cluster's authority and name from the store.
func authority(ctx context.Context, st cluster.Store) (Authority, ClusterInfo, error) {
	var ca Authority
	var info ClusterInfo
	for key, to := range map[string]any{KeyAuthority: &ca, KeyCluster: &info} {
		kv, err := st.Get(ctx, key)
		if err != nil {
			return ca, info, fmt.Errorf("read %s: %w", key, err)
		}
		if err := json.Unmarshal(kv.Value, to); err != nil {
			return ca, info, fmt.Errorf("stored %s: %w", key, err)
		}
	}
	return ca, info, nil
}
