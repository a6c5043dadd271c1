package vrrp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// ipPacket cuts a captured Ethernet frame down to the VRRP message.
func ipPacket(frame []byte) (Packet, error) {
	if len(frame) < 14+20 {
		return Packet{}, errors.New("frame too short")
	}
	ip := frame[14:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		p := Packet{Src: netip.AddrFrom4([4]byte(ip[12:])), Dst: netip.AddrFrom4([4]byte(ip[16:])), TTL: ip[8]}
		head := int(ip[0]&0xf) * 4
		p.Header, p.Payload = ip[:head], ip[head:binary.BigEndian.Uint16(ip[2:])]
		if ip[9] == ProtocolAH {
			p.Proto = ProtocolAH
		}
		return p, nil
	case 0x86dd:
		p := Packet{Src: netip.AddrFrom16([16]byte(ip[8:])), Dst: netip.AddrFrom16([16]byte(ip[24:])), TTL: ip[7]}
		p.Payload = ip[40 : 40+binary.BigEndian.Uint16(ip[4:])]
		return p, nil
	}
	return Packet{}, errors.New("neither IPv4 nor IPv6")
}

func TestCapturedFrames(t *testing.T) {
	datadriven.RunTest(t, "testdata/frames.txt", func(t *testing.T, d *datadriven.TestData) string {
		frame, err := hex.DecodeString(d.Input)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		p, err := ipPacket(frame)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		head := fmt.Sprintf("%v > %v ttl=%d", p.Src, p.Dst, p.TTL)
		var a Advert
		message := p.Payload
		if p.Proto == ProtocolAH {
			var h AH
			if message, err = h.Decode(p.Payload); err != nil {
				d.Fatalf(t, "%v", err)
			}
			if err := NewAHKey("s3cr3tpw").Verify(&h, p.Header, p.Payload); err != nil {
				t.Error(err)
			}
			if !slices.Equal(h.Append(nil), p.Payload[:AHLen]) {
				t.Errorf("authentication header encoded again as %x", h.Append(nil))
			}
			head += fmt.Sprintf(" ah seq=%d", h.Sequence)
		}
		if err := a.Decode(message, p.Src, p.Dst); err != nil {
			return head + "\nrejected " + err.Error()
		}
		if vrid, version, ok := p.VRID(); !ok || vrid != a.VRID || version != a.Version {
			t.Errorf("VRIDOf = %d, %d, %v", vrid, version, ok)
		}
		again, err := a.AppendForm(nil, p.Src, p.Dst, a.Checksum)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		text := "same octets again"
		if !slices.Equal(again, message) {
			t.Errorf("%s: encoded again as %x, captured %x", d.Pos, again, message)
			text = "DIFFERENT octets"
		}
		if a.AuthType == AuthPass {
			text += fmt.Sprintf(", password %q", strings.TrimRight(string(a.AuthData[:]), "\x00"))
		}
		return head + "\n" + a.String() + "\n" + text
	})
}

// seeds are the captured messages, and some that once would have been read wrongly.
func seeds(f *testing.F) {
	text, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if frame, err := hex.DecodeString(strings.TrimSpace(line)); err == nil && len(frame) > 14 {
			if p, err := ipPacket(frame); err == nil {
				f.Add(p.Payload, p.Src.AsSlice(), p.Dst.AsSlice())
			}
		}
	}
	v4 := []byte{10, 0, 0, 1}
	f.Add([]byte{}, v4, v4)
	f.Add([]byte{0x31, 1, 1, 255, 0, 0, 0, 0}, v4, v4)        // count without addresses
	f.Add([]byte{0x31, 1, 1, 0, 0, 1, 0xce, 0xfd}, v4, v4)    // no address at all
	f.Add([]byte{0x21, 1, 1, 0, 0, 0, 0xff, 0xff}, v4, v4)    // version 2 without authentication data
	f.Add([]byte{0x41, 1, 1, 1, 0, 1, 0, 0, 1}, v4, v4)       // version 4
	f.Add([]byte{0x31, 1, 1, 1, 0, 1, 0, 0}, []byte{}, v4)    // no source
	f.Add([]byte{0x31, 1, 1, 1, 0, 1, 0, 0, 1, 2, 3}, v4, v4) // odd length
}

// FuzzDecode: any octets decode or are refused with a reason; what decodes encodes to the same
// octets, apart from the second representation of zero in the checksum, and a part of it reads as that part.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, payload, srcBytes, dstBytes []byte) {
		src, _ := netip.AddrFromSlice(srcBytes)
		dst, _ := netip.AddrFromSlice(dstBytes)
		var a Advert
		if err := a.Decode(payload, src, dst); err != nil {
			var r *RejectError
			if !errors.As(err, &r) || r.Reason == 0 || r.Detail == "" {
				t.Fatalf("no reason: %#v", err)
			}
			return
		}
		if a.Checksum == 0 || a.Interval <= 0 || a.VRID == 0 || len(a.Addrs) != int(payload[3]) {
			t.Fatalf("accepted %+v", a)
		}
		for n := range payload { // a capture may have the begin only
			var part Advert
			count, err := part.DecodePart(payload[:n], src)
			if (err == nil) != (n >= 8) || err == nil && (count != len(a.Addrs) || part.VRID != a.VRID || part.Priority != a.Priority ||
				part.Interval != a.Interval || !slices.Equal(part.Addrs, a.Addrs[:len(part.Addrs)])) {
				t.Fatalf("%d octets: %+v, %d addresses, %v", n, part, count, err)
			}
		}
		out, err := a.AppendForm(nil, src, dst, a.Checksum)
		if err != nil {
			if a.Addrs[0].Is6() { // mapped addresses in an IPv6 advert are read, never sent
				return
			}
			t.Fatal(err)
		}
		want := slices.Clone(payload)
		clear(want[6:8])
		clear(out[6:8])
		if !slices.Equal(out, want) {
			t.Fatalf("%x encodes as %x", want, out)
		}
	})
}

// FuzzRoundTrip: whatever Append accepts, Decode gives back, and one flipped bit is noticed.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(2), uint8(51), uint8(100), uint8(1), uint16(1), []byte("s3cr3tpw"), []byte{10, 0, 0, 100}, false, uint16(3))
	f.Add(uint8(3), uint8(1), uint8(255), uint8(0), uint16(4095), []byte{}, []byte{10, 0, 0, 100, 10, 0, 0, 101}, true, uint16(70))
	f.Add(uint8(3), uint8(255), uint8(0), uint8(0), uint16(1), []byte{}, []byte{0, 0, 0, 0, 255, 255, 255, 255}, false, uint16(0))
	f.Fuzz(func(t *testing.T, version, vrid, prio, auth uint8, interval uint16, data, ips []byte, messageOnly bool, bit uint16) {
		a := Advert{Version: version, VRID: vrid, Priority: prio}
		if version == 2 {
			a.Interval = time.Duration(interval) * time.Second
			a.AuthType = AuthType(auth)
			a.AuthData = Password(string(data))
		} else {
			a.Interval = time.Duration(interval) * 10 * time.Millisecond
		}
		for ; len(ips) >= 4; ips = ips[4:] {
			a.Addrs = append(a.Addrs, netip.AddrFrom4([4]byte(ips)))
		}
		prefix := []byte("before")
		out, err := a.Append(prefix, own, Group(false), messageOnly)
		if err != nil {
			if string(out) != "before" {
				t.Fatalf("error left %q", out)
			}
			return
		}
		msg := out[len(prefix):]
		var b Advert
		if err := b.Decode(msg, own, Group(false)); err != nil {
			t.Fatal(err)
		}
		a.Type, a.Checksum = TypeAdvert, b.Checksum
		if a.String() != b.String() || a.AuthData != b.AuthData {
			t.Fatalf("%v became %v", &a, &b)
		}
		n := int(bit) % (8 * len(msg))
		msg[n/8] ^= 1 << (n % 8)
		if err := b.Decode(msg, own, Group(false)); err == nil {
			t.Fatalf("bit %d flipped unnoticed: %x", n, msg)
		}
	})
}

func TestAppendRefuses(t *testing.T) {
	ip4, ip6 := netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("fe80::1")
	good := func() Advert {
		return Advert{Version: 3, VRID: 1, Priority: 1, Interval: time.Second, Addrs: []netip.Addr{ip4}}
	}
	for _, tc := range []struct {
		want string
		edit func(*Advert)
	}{
		{"version 4", func(a *Advert) { a.Version = 4 }},
		{"VRID 0", func(a *Advert) { a.VRID = 0 }},
		{"type 16", func(a *Advert) { a.Type = 16 }},
		{"not 0", func(a *Advert) { a.Addrs = nil }},
		{"not 256", func(a *Advert) { a.Addrs = make([]netip.Addr, 256) }},
		{"same family", func(a *Advert) { a.Addrs = append(a.Addrs, ip6) }},
		{"same family", func(a *Advert) { a.Addrs = append(a.Addrs, netip.Addr{}) }},
		{"use version 3", func(a *Advert) { a.Version, a.Addrs = 2, []netip.Addr{ip6} }},
		{"not 41s", func(a *Advert) { a.Interval = 41 * time.Second }},
		{"not 5ms", func(a *Advert) { a.Interval = 5 * time.Millisecond }},
		{"not 15ms", func(a *Advert) { a.Interval = 15 * time.Millisecond }},
		{"not 1.5s", func(a *Advert) { a.Version, a.Interval = 2, 1500*time.Millisecond }},
		{"not 4m16s", func(a *Advert) { a.Version, a.Interval = 2, 256*time.Second }},
		{"addresses' family", func(a *Advert) { a.Addrs = []netip.Addr{ip6} }},
	} {
		a := good()
		tc.edit(&a)
		out, err := a.Append(nil, own, Group(false), false)
		if err == nil || !strings.Contains(err.Error(), tc.want) || len(out) != 0 {
			t.Errorf("%q: got %v, %x", tc.want, err, out)
		}
	}
	a := good()
	if _, err := a.Append(nil, own, Group(false), false); err != nil {
		t.Error("the unedited one is refused, too:", err)
	}
}

// An advert carries at most 255 addresses; a full one fits into one frame.
func TestFullAdvert(t *testing.T) {
	a := Advert{Version: 2, VRID: 1, Priority: 1, Interval: time.Second}
	for n := range 255 {
		a.Addrs = append(a.Addrs, netip.AddrFrom4([4]byte{10, 0, 1, byte(n)}))
	}
	out, err := a.Append(nil, own, Group(false), false)
	if err != nil || len(out) != 8+255*4+8 || len(out)+20 > 1500 {
		t.Fatal(len(out), err)
	}
	var b Advert
	if err := b.Decode(out, own, Group(false)); err != nil || len(b.Addrs) != 255 {
		t.Fatal(err, len(b.Addrs))
	}
}

func TestWords(t *testing.T) {
	seen := map[string]bool{}
	check := func(s string) {
		t.Helper()
		if s == "" || strings.ContainsAny(s, "() ") || seen[s] {
			t.Errorf("word %q is empty, repeated or without a name", s)
		}
		seen[s] = true
	}
	for s := Init; s <= Fault; s++ {
		check(s.String())
	}
	for r := ReasonStartup; r <= ReasonGroup; r++ {
		check(r.String())
	}
	clear(seen)
	for _, r := range RejectReasons() {
		check(r.String())
	}
	clear(seen)
	for k := NoteRejected; k <= NoteConfig; k++ {
		check(k.String())
	}
	if got := Reason(200).String(); got != "Reason(200)" {
		t.Error(got)
	}
}
