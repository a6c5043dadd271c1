package vrrp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkInterval steps many instances through one advert interval: as owners, each sends one advert; as backups, each
// decodes and accepts one. What is measured is the machines alone, without sockets. The extra figure is the share
// of one core at an advert_int of 1 s.
func BenchmarkInterval(b *testing.B) {
	for _, n := range []int{255, 1000} {
		for _, auth := range []AuthType{AuthNone, AuthPass, AuthAH} {
			cfg := testConfig()
			cfg.AuthType = auth
			if auth == AuthNone {
				cfg.AuthPass = ""
			}
			b.Run(fmt.Sprintf("owner/%v/%d", auth, n), func(b *testing.B) { owners(b, cfg, n) })
			b.Run(fmt.Sprintf("backup/%v/%d", auth, n), func(b *testing.B) { backups(b, cfg, n) })
		}
	}
}

func share(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e7, "%core@1s")
}

func many(cfg Config, n int, start Startup) []*Instance {
	all := make([]*Instance, n)
	for k := range all {
		c := cfg
		c.VRID = uint8(k%255 + 1) // 1,000 live on several interfaces
		all[k] = New(c)
		all[k].Step(0, SetSource{own})
		all[k].Step(0, start)
		all[k].Ready()
	}
	return all
}

func owners(b *testing.B, cfg Config, n int) {
	all := many(cfg, n, Startup{Adopt: true})
	now, sent := time.Duration(0), 0
	b.ReportAllocs()
	for b.Loop() {
		now += cfg.AdvertInt
		for _, i := range all {
			i.Step(now, Tick{})
			for _, a := range i.Ready() {
				if _, ok := a.(Send); ok {
					sent++
				}
			}
		}
	}
	if sent < b.N*n {
		b.Fatalf("%d adverts in %d intervals of %d", sent, b.N, n)
	}
	share(b)
}

// backups hear the same second over and over; a replayed AH must be new each time, so the owners take part.
func backups(b *testing.B, cfg Config, n int) {
	better := cfg
	better.Priority = 150
	all := many(cfg, n, Startup{})
	var sources []*Instance
	if cfg.AuthType == AuthAH {
		sources = many(better, n, Startup{Adopt: true})
		for _, s := range sources {
			s.Step(0, SetSource{peer})
			s.Ready()
		}
	}
	packets := make([]Packet, n)
	if cfg.AuthType != AuthAH {
		for k := range packets {
			c := better
			c.VRID = uint8(k%255 + 1)
			packets[k] = packetOf(b, c, peer, 150)
		}
	}
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += cfg.AdvertInt
		for k, i := range all {
			if sources != nil {
				sources[k].Step(now, Tick{})
				for _, a := range sources[k].Ready() {
					if s, ok := a.(Send); ok {
						packets[k] = s.Packet
					}
				}
			}
			i.Step(now, Receive{packets[k]})
			if len(i.Ready()) != 0 {
				b.Fatal("not accepted silently")
			}
		}
	}
	for _, i := range all {
		if i.State() != Backup || i.Counters().AdvertsReceived < uint64(b.N) {
			b.Fatal(i, i.Counters())
		}
	}
	share(b)
}

// BenchmarkTakeover is the loss of the owner of many instances: all become MASTER in one go.
func BenchmarkTakeover(b *testing.B) {
	for _, n := range []int{255, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				all := many(testConfig(), n, Startup{})
				b.StartTimer()
				for _, i := range all {
					at, _ := i.Deadline()
					i.Step(at, Tick{})
					if i.Ready(); i.State() != Master {
						b.Fatal(i)
					}
				}
			}
		})
	}
}

// BenchmarkUnicast sends to four peers.
func BenchmarkUnicast(b *testing.B) {
	cfg := testConfig()
	for k := range 4 {
		cfg.Peers = append(cfg.Peers, Peer{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + k)})})
	}
	owners(b, cfg, 1)
}
