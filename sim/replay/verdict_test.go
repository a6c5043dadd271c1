package replay

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quorate/vrrp"
)

func decode(t testing.TB, file []byte, o Options) ([]Line, Summary) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var lines []Line
	s, err := Decode(r.Frames(), o, func(l Line) error { lines = append(lines, l); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return lines, s
}

// TestInjected: the crafted adverts, in the order in which they were sent, get the verdict keepalived 2.2.7 logged for
// them. Where keepalived said nothing (VRID 99, VRID 0, AH, unicast and bad IPv6 checksums never reach it) we say why.
func TestInjected(t *testing.T) {
	for _, tc := range []struct {
		capture, src string // crafted ones come from these addresses
		want         string
	}{
		{"25-inject-v2-invalid", "10.99.0.200", "ttl checksum version version version type length length length auth_type auth_type ok interval addr_list " +
			"addr_list addr_list foreign_owner vrid destination ok auth_type ok ok ok"},
		{"26-inject-v3-invalid", "10.99.0.200", "checksum ok ok ttl version type addr_list length addr_list ok"},
		{"27-inject-v3-ipv6-invalid", "fe80::99:ff:fe00:c8", "ttl checksum ok addr_list addr_list ok"},
		{"27-inject-v3-ipv6-invalid", "fd00:99::c8", "ok"},
	} {
		lines, _ := decode(t, readFile(t, tc.capture+".pcap"), Options{})
		var got []string
		for _, l := range lines {
			if (l.Proto == ProtoVRRP || l.Proto == ProtoAH) && l.Src.String() == tc.src {
				got = append(got, strings.TrimSpace(map[bool]string{true: "ok"}[l.OK]+l.Word))
			}
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s from %s:\n got %s\nwant %s", tc.capture, tc.src, s, tc.want)
		}
	}
}

// TestNothingRefused: captures of daemons that understand each other have no refused packet, with AH checked too.
func TestNothingRefused(t *testing.T) {
	for _, name := range []string{"01-v2-noauth", "02-v2-pass", "03-v2-ah", "04-v3-ipv4", "05-v3-ipv6", "06-unicast-v2", "06c-unicast-v3-old-checksum",
		"07-multi-vip-24", "10-preempt-return", "11-nopreempt", "15-split-brain-br0", "16-frr-frr-v3-ipv4", "16b-frr-master-keepalived-backup-v3-ipv4",
		"16e-keepalived-frr-v3-ipv6-linklocal-first", "16f-frr-keepalived-v2", "17-use-vmac-ipv4", "18-address-owner-255", "19-track-script", "22-reload-priority"} {
		_, s := decode(t, readFile(t, name+".pcap"), Options{AuthPass: "s3cr3tpw", CheckAH: true})
		if s.Refused != 0 || s.Packets == 0 || len(s.Conflicts) != 0 {
			t.Errorf("%s: %d of %d refused, conflicts %+v", name, s.Refused, s.Packets, s.Conflicts)
		}
	}
}

// TestAH: the check value covers every octet that counts; a replayed packet is noticed.
func TestAH(t *testing.T) {
	file := readFile(t, "03-v2-ah.pcap")
	word := func(file []byte, o Options) (words []string) {
		lines, _ := decode(t, file, o)
		for _, l := range lines {
			if l.Proto == ProtoAH {
				words = append(words, l.Word)
			}
		}
		return words
	}
	if got := word(file, Options{AuthPass: "another", CheckAH: true}); len(got) != 18 || slices.ContainsFunc(got, func(w string) bool { return w != "auth" }) {
		t.Errorf("wrong password: %q", got)
	}
	if got := word(file, Options{}); len(got) != 18 || slices.ContainsFunc(got, func(w string) bool { return w != "" }) {
		t.Errorf("no password: %q", got)
	}
	first := file[24 : 24+16+78] // the first record
	again := slices.Concat(file[:24], first, first)
	if got := word(again, Options{AuthPass: "s3cr3tpw", CheckAH: true}); !slices.Equal(got, []string{"", "sequence"}) {
		t.Errorf("replay: %q", got)
	}
	for _, n := range []int{14 + 4, 14 + 8 /* identification, TTL */, 14 + 20 + 11 /* sequence */, 14 + 44 + 9 /* address */} {
		bad := slices.Clone(again[:24+16+78])
		bad[24+16+n] ^= 1
		fixIP(bad[24+16+14:])
		if got := word(bad, Options{AuthPass: "s3cr3tpw", CheckAH: true}); got[0] == "" {
			t.Errorf("octet %d altered unnoticed", n)
		}
	}
}

func fixIP(ip []byte) {
	ip[10], ip[11] = 0, 0
	sum := checksum(ip[:20])
	ip[10], ip[11] = byte(sum>>8), byte(sum)
}

// TestJSON: the keys, all of them and no other, in both kinds of object.
func TestJSON(t *testing.T) {
	lines, s := decode(t, readFile(t, "14-vrid-conflict-vips.pcap"), Options{})
	keys := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]any{}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		var k []string
		for key := range m {
			k = append(k, key)
		}
		slices.Sort(k)
		return strings.Join(k, " ")
	}
	for _, l := range lines {
		if got := keys(l); got != "kind n proto reason src time verdict version vrid" {
			t.Fatal(got)
		}
	}
	if got := keys(s); got != "conflicts elections kind owners two_owners" {
		t.Error(got)
	}
	b, _ := json.Marshal(New(Options{}).Summary())
	if want := `{"kind":"summary","owners":[],"elections":[],"conflicts":[],"two_owners":[]}`; string(b) != want {
		t.Errorf("%s", b)
	}
	b, _ = json.Marshal(lines[0])
	if want := `{"kind":"packet","n":1,"time":"2026-11-20T21:58:`; !strings.HasPrefix(string(b), want[:30]) {
		t.Errorf("%s", b)
	}
}

// TestEncodeAgain: every advert of every capture that decodes encodes to the same octets, authentication header included.
func TestEncodeAgain(t *testing.T) {
	files, _ := filepath.Glob("testdata/captures/*.pcap")
	adverts, headers := 0, 0
	for _, name := range files {
		r, err := NewReader(bytes.NewReader(readFile(t, filepath.Base(name))))
		if err != nil {
			t.Fatal(err)
		}
		for f, err := range r.Frames() {
			if err != nil {
				t.Fatal(err)
			}
			p, ok := read(f)
			if !ok || p.fault != nil || p.proto != ProtoVRRP && p.proto != ProtoAH {
				continue
			}
			message := p.ip.payload
			if p.proto == ProtoAH {
				if !bytes.Equal(p.ah.Append(nil), message[:vrrp.AHLen]) {
					t.Errorf("%s frame %d: authentication header differs", name, f.N)
				}
				message = message[vrrp.AHLen:]
				headers++
			}
			again, err := p.advert.AppendForm(nil, p.ip.src, p.ip.dst, p.advert.Checksum)
			if err != nil || !bytes.Equal(again, message) {
				t.Errorf("%s frame %d: %x encodes as %x, %v", name, f.N, message, again, err)
			}
			adverts++
		}
	}
	if adverts < 550 || headers != 27 {
		t.Errorf("only %d adverts, %d authentication headers", adverts, headers)
	}
}
