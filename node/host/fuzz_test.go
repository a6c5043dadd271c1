package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"quorate/vrrp"
)

// Whatever a raw socket delivers: no panic, and what is accepted lies within the packet.
func FuzzParseIPv4(f *testing.F) {
	good := []byte{0x45, 0xc0, 0, 28, 0, 1, 0, 0, 255, 112, 0, 0, 10, 9, 0, 1, 224, 0, 0, 18, 0x31, 51, 100, 1, 0, 10, 0, 0}
	f.Add(good)
	f.Add(good[:20])
	f.Add(append([]byte{0x4f}, good[1:]...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parseIPv4(b)
		if !ok {
			return
		}
		head := int(b[0]&15) * 4
		total := int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 20 || head < 20 || !bytes.Equal(p.Payload, b[head:total]) || p.TTL != b[8] || !p.Src.Is4() || !p.Dst.Is4() {
			t.Errorf("%x gives %+v", b, p)
		}
	})
}

// Whatever is found on a disk: an error, or a generation whose own hash holds.
func FuzzGenerationFile(f *testing.F) {
	g := generation(3)
	text, err := json.Marshal(g)
	if err != nil {
		f.Fatal(err)
	}
	file := func(text []byte) []byte {
		sum := sha256.Sum256(text)
		return fmt.Appendf(nil, `{"sum":%q,"generation":%s}`, hex.EncodeToString(sum[:]), text)
	}
	f.Add(file(text))
	f.Add(file([]byte(`{"number":3}`)))
	f.Add(file([]byte(`null`)))
	f.Add([]byte(`{"sum":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := decodeGeneration("gen-3.json", 3, b)
		switch {
		case err == nil && (g.Number != 3 || g.Hash != g.ComputeHash()):
			t.Errorf("accepted %+v", g)
		case err != nil && !errors.Is(err, ErrDamaged):
			t.Errorf("%v is no ErrDamaged", err)
		}
	})
}

// Whatever another process writes into the pair: no panic, no error, no message without a kind.
func FuzzRecv(f *testing.F) {
	f.Add([]byte(`{"kind":"status","instances":[{"name":"VI_1","master":"10.0.0.1"}],"last":true}`))
	f.Add([]byte(`{"kind":5}`))
	f.Add([]byte(`{"kind":"status","instances":[{"master":"x"}]}`))
	fa, fb, err := NewPair()
	if err != nil {
		f.Fatal(err)
	}
	c, err := OpenConn(fb)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = fa.Close(); _ = c.Close() })
	fd := int(fa.Fd())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > MaxMessage {
			return
		}
		if err := unix.Send(fd, b, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Send(fd, []byte(`{"kind":"hello","pid":77}`), 0); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			m, err := c.Recv(t.Context())
			if err != nil || m.Kind == "" {
				t.Fatalf("%q: %+v, %v", b, m, err)
			}
			var a Assembler
			a.Add(m)
			if m.Kind == KindHello && m.PID == 77 {
				return
			}
		}
		t.Fatalf("%q made two messages", b)
	})
}

// Whatever a packet socket delivers: no panic; what is accepted lies within the frame, and goes out again as it came in but for
// what nobody judges.
func FuzzParseFrame(f *testing.F) {
	src4, src6 := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fe80::1")
	for _, p := range []vrrp.Packet{
		{Src: src4, Dst: vrrp.Group(false), TTL: vrrp.TTL, Payload: []byte{0x31, 51, 100, 1, 0, 10, 0, 0}},
		{Src: src6, Dst: vrrp.Group(true), TTL: vrrp.TTL, Payload: []byte{0x31, 51, 100, 1, 0, 10, 0, 0}},
	} {
		frame := appendFrame(nil, [6]byte{0, 0, 0x5e, 0, 1, 51}, p)
		f.Add(frame, p.Src.Is6())
		f.Add(frame[:20], p.Src.Is6())
		f.Add(append(frame, 0, 0, 0, 0), p.Src.Is6()) // padded
	}
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		p, ok := parseFrame(b, six)
		if !ok {
			return
		}
		if p.Src.Is6() != six || p.Dst.Is6() != six || len(p.Payload) > len(b)-14-20 {
			t.Fatalf("%x gives %+v", b, p)
		}
		again, ok := parseFrame(appendFrame(nil, [6]byte{2}, p), six)
		if p.TTL == vrrp.TTL && p.Proto == 0 && (!ok || again.Src != p.Src || again.Dst != p.Dst || again.TTL != p.TTL || !bytes.Equal(again.Payload, p.Payload)) {
			t.Errorf("%+v came back as %+v, %t", p, again, ok)
		}
	})
}

// Whatever a netlink socket delivers: no panic, and an end.
func FuzzDeletes(f *testing.F) {
	b := binary.NativeEndian.AppendUint32(nil, 16)
	b = binary.NativeEndian.AppendUint16(b, unix.RTM_NEWROUTE)
	b = append(b, make([]byte, 10)...)
	f.Add(b)
	f.Add(append(b, b...))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, b []byte) { deletes(b) })
}
