package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"strings"
	"time"
)

const (
	tokenPrefix = "quorate1."
	// TokenLife is how long a join token can be used when nothing else is said; until then it admits any number of directors.
	TokenLife = 24 * time.Hour
	// maxToken bounds what ParseToken looks at: a token with ten addresses is about 600 characters.
	maxToken  = 4096
	secretLen = 16
)

// Token is what a director needs to join: where to ask, whom to trust, and a secret. Its text is one line without blanks:
// "quorate1." and the base64url of JSON followed by its CRC-32, so that a line cut short by copy and paste is recognised as such.
type Token struct {
	Addresses []string          // host:port of members
	CAHash    [sha256.Size]byte // sha256 of the authority's certificate (DER)
	Secret    [secretLen]byte
}

type tokenJSON struct {
	Addresses []string `json:"a"`
	CAHash    []byte   `json:"h"`
	Secret    []byte   `json:"s"`
}

// NewToken makes a token with a fresh secret.
func NewToken(addresses []string, caPEM []byte) (Token, error) {
	t := Token{Addresses: addresses}
	var err error
	if t.CAHash, err = certHash(caPEM); err != nil {
		return t, err
	}
	if _, err = rand.Read(t.Secret[:]); err != nil {
		return t, err
	}
	return t, nil
}

func (t Token) String() string {
	b, err := json.Marshal(tokenJSON{t.Addresses, t.CAHash[:], t.Secret[:]})
	if err != nil {
		panic(fmt.Sprintf("strings and bytes always marshal, got %v", err))
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads the text of a token. The error says how the text differs from one.
func ParseToken(s string) (Token, error) {
	var t Token
	bad := func(format string, args ...any) (Token, error) {
		return Token{}, errf(CodeUsage, "join token: "+format, args...).withHint("copy the whole line that clusterctl init or clusterctl token create printed")
	}
	s = strings.TrimSpace(s)
	body, ok := strings.CutPrefix(s, tokenPrefix)
	switch {
	case s == "":
		return bad("empty")
	case len(s) > maxToken:
		return bad("%d characters is too long", len(s))
	case !ok:
		return bad("does not begin with %q", tokenPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return bad("not base64url (%v)", err)
	}
	if len(b) < 4 {
		return bad("cut short")
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(b) != sum {
		return bad("cut short or mistyped (its checksum does not match)")
	}
	var j tokenJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return bad("%v", err)
	}
	if len(j.CAHash) != len(t.CAHash) || len(j.Secret) != len(t.Secret) {
		return bad("a hash of %d bytes and a secret of %d, want %d and %d", len(j.CAHash), len(j.Secret), len(t.CAHash), len(t.Secret))
	}
	if len(j.Addresses) == 0 {
		return bad("names no address")
	}
	for _, a := range j.Addresses {
		if err := CheckAddress(a); err != nil {
			return bad("%v", err)
		}
	}
	t.Addresses = j.Addresses
	copy(t.CAHash[:], j.CAHash)
	copy(t.Secret[:], j.Secret)
	return t, nil
}

// Hash is what the store keeps of a token's secret: KeyTokens + Hash is its key. Since the hash of what a stranger sends is
// compared, nothing can be learned from how long the comparison takes.
func (t Token) Hash() string {
	h := sha256.Sum256(t.Secret[:])
	return hex.EncodeToString(h[:])
}

// TokenRecord is what the store keeps of a token.
type TokenRecord struct {
	Hash    string    `json:"hash,omitempty"` // filled in by lists; the key in the store
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by"`
}

// CheckAddress says what is wrong with a member's address, which must be host:port with a port that can be dialled.
func CheckAddress(a string) error {
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("address %q: want HOST:PORT, for example 10.0.0.1:8470", a)
	}
	if host == "" {
		return fmt.Errorf("address %q: no host; the other members must know where to find this one", a)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("address %q: no one can connect to %s; give the address of this host that the other members use", a, host)
	}
	if strings.ContainsAny(host, " \t\r\n/%\\\"'") || len(host) > 253 {
		return fmt.Errorf("address %q: not a host name or IP address", a)
	}
	var n int
	if _, err := fmt.Sscanf(port, "%d", &n); err != nil || n < 1 || n > 65535 || fmt.Sprint(n) != port {
		return fmt.Errorf("address %q: port %q is not a number from 1 to 65535", a, port)
	}
	return nil
}

// CheckName says what is wrong with a node's name: it is a config-id, a word in keys of the store and in a certificate.
func CheckName(n string) error {
	if n == "" {
		return errors.New("a node needs a name")
	}
	if len(n) > 63 {
		return fmt.Errorf("node name %q: longer than 63 characters", n)
	}
	for _, r := range n {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
		if !ok {
			return fmt.Errorf("node name %q: %q is not a letter, digit, '-', '_' or '.'", n, r)
		}
	}
	if n[0] == '-' || n[0] == '.' {
		return fmt.Errorf("node name %q: must begin with a letter or digit", n)
	}
	return nil
}
