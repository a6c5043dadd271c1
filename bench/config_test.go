package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/config"
	"quorate/internal/testenv"
)

// servicesFile is a configuration of n virtual servers with 4 real servers each, every one
// checked by a TCP connection.
func servicesFile(n int) string {
	var b strings.Builder
	b.WriteString("global_defs {\n    router_id LVS\n}\n\n")
	for i := range n {
		fmt.Fprintf(&b, "virtual_server 10.%d.%d.%d 80 {\n    delay_loop 6\n    lb_algo wlc\n    lb_kind DR\n    persistence_timeout 60\n    protocol TCP\n\n", i/62500, i/250%250, i%250+1)
		for k := range 4 {
			fmt.Fprintf(&b, "    real_server 172.%d.%d.%d 80 {\n        weight 3\n        TCP_CHECK {\n            connect_port 80\n            connect_timeout 3\n            retry 3\n            delay_before_retry 3\n        }\n    }\n", 16+k, i/250, i%250+1)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// cost is the best wall time and the largest memory of several runs of one command.
type cost struct {
	wall, cpu time.Duration
	peak      int64 // kB
}

// run measures one run. GNU time starts the command when it is installed: the kernel counts
// the memory of the process that forks as the least peak of its child, and this one is large.
func (c *cost) run(b *testing.B, name string, args ...string) {
	b.Helper()
	peak := filepath.Join(b.TempDir(), "peak")
	cmd := exec.Command(name, args...)
	timer, have := testenv.Find("time")
	if have {
		cmd = exec.Command(timer, append([]string{"-q", "-f", "%M", "-o", peak, name}, args...)...)
	}
	var out bytes.Buffer
	cmd.Stderr = &out
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		b.Fatalf("%s %s: %v\n%.2000s", name, strings.Join(args, " "), err, out.String())
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if c.wall == 0 || wall < c.wall {
		c.wall = wall
	}
	if c.cpu == 0 || cpu < c.cpu {
		c.cpu = cpu
	}
	if text, err := os.ReadFile(peak); err == nil {
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			b.Fatalf("%s: %v", timer, err)
		}
		c.peak = max(c.peak, n)
	} else if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.peak = max(c.peak, ru.Maxrss)
	}
}

// BenchmarkConfigCheck runs "clusterctl check", "clusterd -t" and "keepalived -t" in turn on the
// same generated files: the wall time of the best run, CPU time and the peak memory of each, and
// the ratios. Both of ours fail when they are slower than keepalived at any size, less than three times
// as fast at 10,000 services, or need more than twice its memory.
func BenchmarkConfigCheck(b *testing.B) {
	testenv.Need(b, "keepalived")
	keepalived, _ := testenv.Find("keepalived")
	dir := b.TempDir()
	ours := filepath.Join(dir, "clusterctl")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", ours, "../cmd/clusterctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	daemon := filepath.Join(dir, "clusterd")
	build = exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", daemon, "../cmd/clusterd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			file := filepath.Join(dir, fmt.Sprintf("%d.conf", n))
			if err := os.WriteFile(file, []byte(servicesFile(n)), 0o600); err != nil {
				b.Fatal(err)
			}
			var we, test, peer cost
			rounds := max(5, 2000/n)
			for b.Loop() {
				for range rounds {
					we.run(b, ours, "check", file)
					test.run(b, daemon, "-t", "-f", file)
					peer.run(b, keepalived, "-t", "-f", file)
				}
			}
			faster, memory := float64(peer.wall)/float64(we.wall), float64(we.peak)/float64(peer.peak)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(we.wall.Microseconds())/1000, "check-ms")
			b.ReportMetric(float64(peer.wall.Microseconds())/1000, "keepalived-ms")
			testFaster, testMemory := float64(peer.wall)/float64(test.wall), float64(test.peak)/float64(peer.peak)
			b.ReportMetric(float64(test.wall.Microseconds())/1000, "clusterd-ms")
			b.ReportMetric(testFaster, "clusterd-times-as-fast")
			b.ReportMetric(testMemory, "clusterd-memory-ratio")
			b.ReportMetric(faster, "times-as-fast")
			b.ReportMetric(float64(peer.cpu)/float64(we.cpu), "cpu-ratio")
			b.ReportMetric(float64(we.peak)/1024, "check-MB")
			b.ReportMetric(float64(peer.peak)/1024, "keepalived-MB")
			b.ReportMetric(memory, "memory-ratio")
			want := 1.0
			if n == 10_000 {
				want = 3
			}
			for _, r := range []struct {
				what           string
				faster, memory float64
			}{{"clusterctl check", faster, memory}, {"clusterd -t", testFaster, testMemory}} {
				if r.faster < want || r.memory > 2 {
					b.Errorf("%s, %d services: %.2f times as fast with %.2f times the memory, want %.0f and 2", r.what, n, r.faster, r.memory, want)
				}
			}
		})
	}
}

// BenchmarkConfigRecheck reads a file of 10,000 services again after one of its lines was
// changed, inside the process: what an editor or a push waits for. All of it is read again;
// that is what makes the finding about the line right whatever the rest says.
func BenchmarkConfigRecheck(b *testing.B) {
	text := servicesFile(10_000)
	changed := strings.Replace(text, "weight 3", "weight x", 1)
	files := []config.Files{{"k.conf": text}, {"k.conf": changed}}
	best := time.Duration(0)
	i := 0
	for b.Loop() {
		start := time.Now()
		ds := config.Lint("k.conf", files[i%2], config.Options{ConfigID: "d1"})
		if d := time.Since(start); best == 0 || d < best {
			best = d
		}
		if ds.HasErrors() != (i%2 == 1) {
			b.Fatal(ds.Text(nil))
		}
		i++
	}
	b.ReportMetric(float64(best.Microseconds())/1000, "best-ms")
	if best > 100*time.Millisecond {
		b.Errorf("%v, want at most 100ms", best)
	}
}
