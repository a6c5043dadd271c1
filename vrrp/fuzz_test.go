package vrrp

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// FuzzReceive: any packet, at instances of every kind, in BACKUP and as MASTER. Nothing panics; a refused packet moves no timer
// and changes no state; an accepted one is one whose message decodes.
func FuzzReceive(f *testing.F) {
	text, err := os.ReadFile("testdata/frames.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if frame, err := hex.DecodeString(strings.TrimSpace(line)); err == nil && len(frame) > 14 {
			if p, err := ipPacket(frame); err == nil {
				f.Add(p.Src.AsSlice(), p.Dst.AsSlice(), p.TTL, p.Proto, p.Header, p.Payload)
			}
		}
	}
	d1 := netip.MustParseAddr("10.99.0.11")
	kinds := []Config{
		{Version: 2},
		{Version: 2, AuthType: AuthPass, AuthPass: "s3cr3tpw"},
		{Version: 2, AuthType: AuthAH, AuthPass: "s3cr3tpw"},
		{Version: 3, SkipCheckAddrs: true},
		{Version: 3, Peers: []Peer{{Addr: d1}}, CheckUnicastSrc: true},
		{Version: 3, Addrs: []netip.Addr{netip.MustParseAddr("fe80::99:100"), netip.MustParseAddr("fd00:99::100")}},
	}
	f.Fuzz(func(t *testing.T, src, dst []byte, ttl, proto uint8, header, payload []byte) {
		p := Packet{TTL: ttl, Proto: proto, Header: header, Payload: payload}
		p.Src, _ = netip.AddrFromSlice(src)
		p.Dst, _ = netip.AddrFromSlice(dst)
		p.VRID()
		p.Whole()
		for _, cfg := range kinds {
			cfg.Name, cfg.VRID, cfg.Priority, cfg.AdvertInt = "VI_1", 51, 100, time.Second
			us := netip.MustParseAddr("10.99.0.12")
			if cfg.Addrs == nil {
				cfg.Addrs = []netip.Addr{netip.MustParseAddr("10.99.0.100")}
			} else {
				us = netip.MustParseAddr("fe80::12")
			}
			for _, adopt := range []bool{false, true} {
				i := New(cfg)
				i.Step(0, SetSource{us})
				i.Step(0, Startup{Adopt: adopt})
				i.Ready()
				before := i.String()
				i.Step(time.Millisecond, Receive{p})
				refused := false
				for _, a := range i.Ready() {
					if n, ok := a.(Note); ok && n.Kind == NoteRejected {
						refused = true
					}
				}
				if refused == (i.Counters().AdvertsReceived == 1) {
					t.Fatalf("refused %v, counted %v", refused, i.Counters())
				}
				if refused && i.String() != before {
					t.Fatalf("a refused packet made\n%v\nof\n%v", i, before)
				}
			}
		}
	})
}
