package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"quorate/sim"
)

// world plays directives, which must succeed.
func world(b *testing.B, lines ...string) *sim.Session {
	b.Helper()
	s := &sim.Session{}
	for _, l := range lines {
		line, input, _ := strings.Cut(l, "\n")
		if _, err := s.Exec(line, input); err != nil {
			b.Fatalf("%s: %v", line, err)
		}
	}
	return s
}

const three = "conf d1 d2 d3\nvrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n @d1 priority 150\n @d2 priority 100\n @d3 priority 90\n" +
	" virtual_ipaddress {\n 10.0.0.100\n }\n}"

// BenchmarkSimVRRP is three directors, adverts every second, nothing else: 24 simulated hours per
// round. The target is 500,000 simulated seconds per second on one core.
func BenchmarkSimVRRP(b *testing.B) {
	simulate(b, 24*time.Hour, "")
}

// BenchmarkSimClients adds two clients that ask ten times a second each.
func BenchmarkSimClients(b *testing.B) {
	simulate(b, time.Hour, "load c1 10.0.0.100 every=100ms", "load c2 10.0.0.100 every=100ms")
}

// BenchmarkSimLossy adds one lost frame in fifty everywhere, so that neighbours and elections have work.
func BenchmarkSimLossy(b *testing.B) {
	simulate(b, time.Hour, "load c1 10.0.0.100 every=100ms", "load c2 10.0.0.100 every=100ms", "loss *>* 1/50", "dup *>* 1/50", "reorder *>* 1/50")
}

// BenchmarkSimStore is three directors with VRRP and the replicated store, a heartbeat every 100 ms, and two clients that ask once
// a second. The target is 10,000 simulated seconds per second on one core.
func BenchmarkSimStore(b *testing.B) {
	simulate(b, time.Hour, "load c1 10.0.0.100 every=1s", "load c2 10.0.0.100 every=1s", "put /key value")
}

func simulate(b *testing.B, length time.Duration, more ...string) {
	clients := ""
	if len(more) > 1 {
		clients = " client=(c1,c2)"
	}
	s := world(b, "world nodes=(d1,d2,d3)"+clients+" seed=1", three, "run 10s")
	for _, l := range more {
		if l == "" {
			continue
		}
		if _, err := s.Exec(l, ""); err != nil {
			b.Fatal(err)
		}
	}
	begin := s.World().Now()
	for b.Loop() {
		if _, err := s.Exec("run "+length.String(), ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((s.World().Now()-begin).Seconds()/b.Elapsed().Seconds(), "sim-s/s")
	if _, err := s.Exec("expect owners=1", ""); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSimFaults is a random failure every ten seconds, in turn on every director: power, cable, daemon.
func BenchmarkSimFaults(b *testing.B) {
	s := world(b, "world nodes=(d1,d2,d3) client=c1 seed=1", three, "run 10s", "load c1 10.0.0.100 every=100ms")
	begin := s.World().Now()
	n := 0
	for b.Loop() {
		node := fmt.Sprintf("d%d", n%3+1)
		for _, l := range [][2]string{{"crash", "start"}, {"kill", "start"}, {"nic", "nic"}, {"pause", "resume"}}[n%4:][:1] {
			for i, verb := range l {
				line := verb + " " + node
				if verb == "nic" {
					line += []string{" down", " up"}[i]
				}
				for _, step := range []string{line, "run 10s"} {
					if _, err := s.Exec(step, ""); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		n++
	}
	b.ReportMetric((s.World().Now()-begin).Seconds()/b.Elapsed().Seconds(), "sim-s/s")
}

// BenchmarkSimSeeds is what "clusterctl sim swarm" does with a seed, in one process.
func BenchmarkSimSeeds(b *testing.B) {
	seed := uint64(1)
	for b.Loop() {
		sc, err := sim.ParseScenario("seed", sim.Random(seed))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := sc.Play(&sim.Session{}, nil); err != nil {
			b.Fatalf("seed %d: %v", seed, err)
		}
		seed++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "seeds/s")
}
