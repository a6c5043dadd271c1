package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

var (
	own  = netip.MustParseAddr("10.0.0.1")
	peer = netip.MustParseAddr("10.0.0.2")
)

func testConfig() Config {
	return Config{
		Name: "VI_1", Version: 2, VRID: 51, Priority: 100, AdvertInt: time.Second,
		AuthType: AuthPass, AuthPass: "s3cr3tpw",
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("10.0.0.101")},
		GARP:  DefaultGARP(),
	}
}

// packetOf is what a peer with the same configuration and this priority sends.
func packetOf(t testing.TB, cfg Config, src netip.Addr, prio uint8) Packet {
	t.Helper()
	a := Advert{Version: cfg.Version, VRID: cfg.VRID, Priority: prio, AuthType: cfg.AuthType,
		Interval: cfg.AdvertInt, Addrs: cfg.Addrs}
	if cfg.AuthType == AuthPass {
		a.AuthData = Password(cfg.AuthPass)
	}
	b, err := a.Append(nil, src, Group(false), false)
	if err != nil {
		t.Fatal(err)
	}
	return Packet{Src: src, Dst: Group(false), TTL: TTL, Payload: b}
}

func startedBackup(cfg Config) *Instance {
	i := New(cfg)
	i.Step(0, SetSource{own})
	i.Step(0, Startup{})
	i.Ready()
	return i
}

// The paths that run for ever allocate nothing: a garbage collection must never delay an advert.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, version := range []uint8{2, 3} {
		cfg := testConfig()
		if cfg.Version = version; version == 3 {
			cfg.AuthType = AuthNone
		}
		t.Run("backup accepts", func(t *testing.T) {
			i, p, now := startedBackup(cfg), packetOf(t, cfg, peer, 150), time.Duration(0)
			run := func() {
				now += time.Second
				i.Step(now, Receive{p})
				if len(i.Ready()) != 0 || i.State() != Backup {
					t.Fatal("not accepted silently")
				}
			}
			run()
			if n := testing.AllocsPerRun(100, run); n != 0 {
				t.Errorf("version %d: %v allocations per accepted advert", version, n)
			}
			if i.Counters().AdvertsReceived < 100 {
				t.Error("the adverts were not accepted:", i.Counters())
			}
		})
		t.Run("master sends", func(t *testing.T) {
			i := startedBackup(cfg)
			run := func() {
				at, _ := i.Deadline()
				i.Step(at, Tick{})
				i.Ready()
			}
			for range 10 { // takes over, second block of announcements, both action buffers grown
				run()
			}
			before := i.Counters().AdvertsSent
			if n := testing.AllocsPerRun(100, run); n != 0 {
				t.Errorf("version %d: %v allocations per advert sent", version, n)
			}
			if i.Counters().AdvertsSent-before < 100 {
				t.Error("nothing was sent:", i.Counters())
			}
		})
	}
}

func TestCodecAllocatesNothing(t *testing.T) {
	p := packetOf(t, testConfig(), peer, 150)
	var a Advert
	buf := make([]byte, 0, 64)
	n := testing.AllocsPerRun(100, func() {
		if err := a.Decode(p.Payload, p.Src, p.Dst); err != nil {
			t.Fatal(err)
		}
		var err error
		if buf, err = a.Append(buf[:0], p.Src, p.Dst, false); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per decode and encode", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	p := packetOf(b, testConfig(), peer, 150)
	var a Advert
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Decode(p.Payload, p.Src, p.Dst); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	p := packetOf(b, testConfig(), peer, 150)
	var a Advert
	if err := a.Decode(p.Payload, p.Src, p.Dst); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = a.Append(buf[:0], p.Src, p.Dst, false)
	}
}

func BenchmarkBackupReceive(b *testing.B) {
	i, p, now := startedBackup(testConfig()), packetOf(b, testConfig(), peer, 150), time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += time.Second
		i.Step(now, Receive{p})
		i.Ready()
	}
}

func BenchmarkMasterSend(b *testing.B) {
	i := startedBackup(testConfig())
	b.ReportAllocs()
	for b.Loop() {
		at, _ := i.Deadline()
		i.Step(at, Tick{})
		i.Ready()
	}
}
