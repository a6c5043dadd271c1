package api

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func testToken(t testing.TB) Token {
	t.Helper()
	ca, err := NewAuthority("lab", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := NewToken([]string{"10.0.0.1:8470", "d2.example:8470", "[fd00::3]:8470"}, ca.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTokenText(t *testing.T) {
	tok := testToken(t)
	text := tok.String()
	if strings.ContainsAny(text, " \n\t'\"$") {
		t.Errorf("token %q needs quoting in a shell", text)
	}
	got, err := ParseToken(" " + text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if got.CAHash != tok.CAHash || got.Secret != tok.Secret || strings.Join(got.Addresses, " ") != strings.Join(tok.Addresses, " ") {
		t.Errorf("got %+v, want %+v", got, tok)
	}
	if strings.Contains(tok.Hash(), text) || len(tok.Hash()) != 64 {
		t.Errorf("hash %q", tok.Hash())
	}
}

// Whatever a copy-and-paste accident does to a token is recognised before anything is sent.
func TestTokenDamaged(t *testing.T) {
	text := testToken(t).String()
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "  ", "empty"},
		{"foreign", "abcdef.0123456789abcdef", `does not begin with "quorate1."`},
		{"cut at the end", text[:len(text)-8], "cut short"},
		{"cut to the prefix", "quorate1.", "cut short"},
		{"one letter", strings.Replace(text, text[20:21], string(text[20]^1), 1), "mistyped"},
		{"blank inside", text[:30] + " " + text[31:], "not base64url"},
		{"too long", "quorate1." + strings.Repeat("A", maxToken), "too long"},
	} {
		_, err := ParseToken(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("quorate1.")
	f.Add("quorate1.AAAA")
	f.Add("quorate1.eyJhIjpbIjEwLjAuMC4xOjg0NzAiXX0AAAA")
	f.Add(Token{Addresses: []string{"10.0.0.1:8470"}}.String())
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			return
		}
		again, err := ParseToken(tok.String())
		if err != nil || !bytes.Equal(again.Secret[:], tok.Secret[:]) || again.CAHash != tok.CAHash {
			t.Fatalf("%q parses to %+v, whose text does not: %v", s, tok, err)
		}
		for _, a := range tok.Addresses {
			if err := CheckAddress(a); err != nil {
				t.Fatalf("%q was accepted: %v", s, err)
			}
		}
	})
}

func TestCheckAddress(t *testing.T) {
	for a, want := range map[string]string{
		"10.0.0.1:8470": "", "[fd00::1]:8470": "", "d1.example:1": "",
		"10.0.0.1": "want HOST:PORT", ":8470": "no host", "0.0.0.0:8470": "no one can connect", "[::]:8470": "no one can connect",
		"10.0.0.1:0": "not a number from 1", "10.0.0.1:65536": "not a number", "10.0.0.1:http": "not a number", "10.0.0.1:08": "not a number",
		"a b:8470": "not a host name", "[fe80::1%eth0]:8470": "not a host name",
	} {
		err := CheckAddress(a)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", a, err, want)
		}
	}
	for a, want := range map[string]string{"10.0.0.1": "10.0.0.1:8470", "fd00::1": "[fd00::1]:8470", "d1": "d1:8470", "d1:99": "d1:99", "[fd00::1]": "[fd00::1]:8470"} {
		if got := WithPort(a); got != want {
			t.Errorf("WithPort(%q) = %q, want %q", a, got, want)
		}
	}
}

func TestCheckName(t *testing.T) {
	for n, ok := range map[string]bool{"d1": true, "lb-1.fra_2": true, "": false, "-x": false, "a b": false, "a/b": false, "é": false, strings.Repeat("x", 64): false} {
		if err := CheckName(n); (err == nil) != ok {
			t.Errorf("%q: %v", n, err)
		}
	}
}
