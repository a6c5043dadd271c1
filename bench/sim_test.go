package bench

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"syscall"
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

// BenchmarkSimVRRP is three directors, adverts every second, nothing else. The target is 500,000 simulated seconds per second of one core.
func BenchmarkSimVRRP(b *testing.B) {
	simulate(b, false, "")
}

// BenchmarkSimClients adds two clients that ask ten times a second each.
func BenchmarkSimClients(b *testing.B) {
	simulate(b, false, "client=(c1,c2)", "load c1 10.0.0.100 every=100ms", "load c2 10.0.0.100 every=100ms")
}

// BenchmarkSimLossy adds one lost frame in fifty everywhere, so that neighbours and elections have work.
func BenchmarkSimLossy(b *testing.B) {
	simulate(b, false, "client=(c1,c2)", "load c1 10.0.0.100 every=100ms", "load c2 10.0.0.100 every=100ms", "loss *>* 1/50", "dup *>* 1/50", "reorder *>* 1/50")
}

// store is the full cluster: the replicated store with a heartbeat every 100 ms, and two clients that ask once a second.
var store = []string{"load c1 10.0.0.100 every=1s", "load c2 10.0.0.100 every=1s", "put /key value"}

// BenchmarkSimStore is three directors with VRRP and the replicated store, and two clients, without faults. The target is 10,000
// simulated seconds per second of one core.
func BenchmarkSimStore(b *testing.B) {
	simulate(b, false, "client=(c1,c2)", store...)
}

// BenchmarkSimStoreFaults is the same with a random failure every ten seconds. The target is the same.
func BenchmarkSimStoreFaults(b *testing.B) {
	simulate(b, true, "client=(c1,c2)", store...)
}

// BenchmarkSimFaults is random failures without the store.
func BenchmarkSimFaults(b *testing.B) {
	simulate(b, true, "client=(c1,c2)", store[:2]...)
}

// day is what a round simulates; with -short a twelfth, at the same rate.
func day() time.Duration {
	if testing.Short() {
		return 2 * time.Hour
	}
	return 24 * time.Hour
}

// simulate lets a day pass and reports how many simulated seconds fit into one second of CPU time, which load of the machine does
// not change much, and garbage collection is part of.
func simulate(b *testing.B, disturb bool, hosts string, more ...string) {
	s := world(b, append([]string{"world nodes=(d1,d2,d3) " + hosts + " seed=1", three, "run 10s"}, more...)...)
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as clusterlab does
	begin := s.World().Now()
	used := cpuTime(b)
	n := uint64(0)
	for b.Loop() {
		steps := []string{"run " + day().String()}
		if disturb {
			n++
			steps = faults(n, day())
		}
		for _, l := range steps {
			if _, err := s.Exec(l, ""); err != nil {
				b.Fatalf("%s: %v", l, err)
			}
		}
	}
	used = cpuTime(b) - used
	b.ReportMetric((s.World().Now()-begin).Seconds()/used.Seconds(), "sim-s/cpu-s")
	for _, l := range []string{"recover", "run 20s", "expect vip=10.0.0.100 owners=1"} {
		if _, err := s.Exec(l, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// faults draws a failure every ten seconds and what ends it after one to nine: power, daemon, cable, a stopped process, a partition, a one-way
// cut, the store cut off, loss.
func faults(seed uint64, length time.Duration) (steps []string) {
	dice := rand.New(rand.NewPCG(seed, 0))
	for range int(length / (10 * time.Second)) {
		d := dice.Perm(3)
		node, other := fmt.Sprintf("d%d", d[0]+1), fmt.Sprintf("d%d", d[1]+1)
		third := fmt.Sprintf("d%d", d[2]+1)
		f := [][2]string{
			{"crash " + node, "start " + node}, {"kill " + node, "start " + node}, {"stop " + node, "start " + node},
			{"nic " + node + " down", "nic " + node + " up"}, {"pause " + node, "resume " + node},
			{"split {" + node + " c1}/{" + other + " " + third + " c2}", "heal"}, {"cut " + node + ">" + other, "heal"},
			{"cut *>" + node + " proto=raft", "heal"}, {"loss *>* 1/5", "heal"},
		}[dice.IntN(9)]
		lasts := time.Duration(1+dice.IntN(9)) * time.Second
		steps = append(steps, f[0], "run "+lasts.String(), f[1], "run "+(10*time.Second-lasts).String())
	}
	return steps
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
