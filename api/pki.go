package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"time"

	"quorate/cluster"
)

// Lifetimes of certificates. A member renews its own when less than a third is left.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	memberLife    = 365 * 24 * time.Hour
	// backdate lets a member whose clock is a little behind accept a fresh certificate.
	backdate = time.Hour
)

// Authority is the cluster's certificate authority. It lives in the replicated store under KeyAuthority, so that any member
// can admit another; both parts are PEM.
type Authority struct {
	Cert []byte `json:"cert"`
	Key  []byte `json:"key"`
}

// NewAuthority makes an ECDSA P-256 authority for the cluster, valid for ten years from now.
func NewAuthority(cluster string, now time.Time) (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, fmt.Errorf("make the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return Authority{}, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "quorate " + cluster, Organization: []string{"quorate"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return Authority{}, fmt.Errorf("make the authority's certificate: %w", err)
	}
	pemKey, err := encodeKey(key)
	if err != nil {
		return Authority{}, err
	}
	return Authority{Cert: encodeCert(der), Key: pemKey}, nil
}

// Sign issues a member's certificate for the public key pub: the subject is the node's name and, as its serial number, the member's
// id; the alternative names are the node's name and the host of its address. It serves as client and as server certificate.
func (a Authority) Sign(m cluster.Member, pub any, now time.Time) ([]byte, error) {
	name := m.Name
	ca, err := parseCert(a.Cert)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate: %w", err)
	}
	key, err := parseKey(a.Key)
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	if now.After(ca.NotAfter) {
		return nil, fmt.Errorf("the cluster's authority %q expired on %s and can sign nothing any more", ca.Subject.CommonName, day(ca.NotAfter))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	end := now.Add(memberLife)
	if end.After(ca.NotAfter) {
		end = ca.NotAfter
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, SerialNumber: strconv.FormatUint(m.ID, 10), Organization: []string{"quorate"}},
		NotBefore: now.Add(-backdate), NotAfter: end, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{name},
	}
	host, _, err := net.SplitHostPort(m.Address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", m.Address, err)
	}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else if host != name {
		tmpl.DNSNames = append(tmpl.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, pub, key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	return encodeCert(der), nil
}

// SignRequest issues a certificate for a PEM certificate request. Only its key is taken from the request, which must
// carry a valid signature made with that key; for whom it is, is the caller's decision.
func (a Authority) SignRequest(csr []byte, m cluster.Member, now time.Time) ([]byte, error) {
	b, rest := pem.Decode(csr)
	if b == nil || b.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return nil, errors.New("the certificate request is not one PEM block of type CERTIFICATE REQUEST")
	}
	req, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if pub, ok := req.PublicKey.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		return nil, fmt.Errorf("certificate request: want an ECDSA P-256 key, got %T", req.PublicKey)
	}
	return a.Sign(m, req.PublicKey, now)
}

// newRequest makes a key and a request for it, both PEM.
func newRequest(name string) (key, csr []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, k)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(k)
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), err
}

// certHash is the sha256 of a PEM certificate's DER: what a token pins.
func certHash(certPEM []byte) ([sha256.Size]byte, error) {
	c, err := parseCert(certPEM)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(c.Raw), nil
}

// checkCert explains in an operator's words why a certificate is of no use now, or returns nil. where names the file or peer.
func checkCert(c, ca *x509.Certificate, where string, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return errf(CodeDenied, "the certificate of %s (%s) expired: it was valid from %s to %s, now is %s", c.Subject.CommonName, where, day(c.NotBefore), day(c.NotAfter), day(now)).
			withHint("start clusterd on %s: it renews its own certificate from its copy of the store; compare the clocks of the members if the date of today looks wrong", c.Subject.CommonName)
	case now.Before(c.NotBefore):
		return errf(CodeDenied, "the certificate of %s (%s) is not valid yet: it is valid from %s to %s, now is %s", c.Subject.CommonName, where, day(c.NotBefore), day(c.NotAfter), day(now)).
			withHint("set the clock of this host (timedatectl)")
	}
	if err := c.CheckSignatureFrom(ca); err != nil {
		return errf(CodeDenied, "the certificate of %s (%s, valid from %s to %s) was issued by %q, which is not the authority of this cluster (%q, sha256 %x…)",
			c.Subject.CommonName, where, day(c.NotBefore), day(c.NotAfter), c.Issuer.CommonName, ca.Subject.CommonName, shortHash(ca.Raw)).
			withHint("a member of another cluster answers, or the state directory was mixed from two clusters: join it again with a token of this cluster (clusterctl token create)")
	}
	return nil
}

// explainTLS turns what crypto/tls says about a peer's certificate into the same words.
func explainTLS(err error, ca *x509.Certificate, where string, now time.Time) error {
	var cv *tls.CertificateVerificationError
	if errors.As(err, &cv) && len(cv.UnverifiedCertificates) > 0 {
		if e := checkCert(cv.UnverifiedCertificates[0], ca, where, now); e != nil {
			return e
		}
	}
	return err
}

func shortHash(der []byte) []byte { h := sha256.Sum256(der); return h[:6] }

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 4.1.2.2: at most 20 octets
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseCert(p []byte) (*x509.Certificate, error) {
	b, _ := pem.Decode(p)
	if b == nil || b.Type != "CERTIFICATE" {
		return nil, errors.New("not a PEM certificate")
	}
	return x509.ParseCertificate(b.Bytes)
}

func parseKey(p []byte) (*ecdsa.PrivateKey, error) {
	b, _ := pem.Decode(p)
	if b == nil || b.Type != "PRIVATE KEY" {
		return nil, errors.New("not a PEM private key")
	}
	k, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("want an ECDSA key, got %T", k)
	}
	return ec, nil
}
