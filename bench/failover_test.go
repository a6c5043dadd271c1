package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// rounds of each measurement; BENCH_ROUNDS changes it.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 10
}

// conf is one virtual router, twenty or a hundred and fifty points apart.
func conf(version int, interval string) string {
	return fmt.Sprintf(`vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    @a priority 150
    @b priority 100
    version %d
    advert_int %s
    virtual_ipaddress {
        %s
    }
}
`, version, interval, vip)
}

// both measures ours and the peer at the same time on the same machine, each in a lab of its own, and prints medians.
func both(b *testing.B, unit string, conf string, measure func(p *pair) []float64) {
	b.Helper()
	for range b.N {
		var got [2][]float64
		pairs := [2]*pair{newPair(b, ours, conf), newPair(b, peer, conf)}
		var wg sync.WaitGroup
		for k, p := range pairs {
			wg.Go(func() { got[k] = measure(p) })
		}
		wg.Wait()
		for _, p := range pairs {
			_ = p.lab.Close()
		}
		if b.Failed() || len(got[0]) == 0 || len(got[1]) == 0 {
			b.FailNow()
		}
		o, k := median(got[0]), median(got[1])
		b.ReportMetric(o, "ours-"+unit)
		b.ReportMetric(k, "keepalived-"+unit)
		ratio := "-"
		if k > 0 {
			ratio = fmt.Sprintf("%.2f", o/k)
			b.ReportMetric(o/k, "ratio")
		}
		fmt.Printf("\n%-44s ours %8.1f %s (%.1f .. %.1f)   keepalived %8.1f %s (%.1f .. %.1f)   ratio %s, n %d\n", b.Name(),
			o, unit, slices.Min(got[0]), slices.Max(got[0]), k, unit, slices.Min(got[1]), slices.Max(got[1]), ratio, len(got[0]))
	}
	b.ReportMetric(0, "ns/op") // means nothing here
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// cycle starts a and b and does something to the owner a, again and again; event tells what it measured.
func cycle(p *pair, event func(round int) float64) (out []float64) {
	p.start("b")
	for round := range rounds() {
		if list, _ := p.lab.Host("a").Processes(); len(list) == 0 {
			p.start("a")
		}
		p.holds("a", 20*time.Second)
		time.Sleep(400 * time.Millisecond) // until b has given way
		out = append(out, event(round))
	}
	return out
}

// BenchmarkFailover is what a client sees of the end of an owner, by a question every 5 ms. The owner is killed, loses
// its link or is stopped half an interval after an advert: at a random phase the rounds of one daemon could not be
// compared with those of the other.
func BenchmarkFailover(b *testing.B) {
	for _, tt := range []struct {
		name     string
		version  int
		interval time.Duration
	}{{"v2-1s", 2, time.Second}, {"v3-0.1s", 3, 100 * time.Millisecond}, {"v3-0.05s", 3, 50 * time.Millisecond}, {"v3-0.01s", 3, 10 * time.Millisecond}} {
		text := conf(tt.version, strconv.FormatFloat(tt.interval.Seconds(), 'f', -1, 64))
		// From the last advert: the kernel of a killed daemon goes on to answer, so what counts is the new owner's first answer.
		silent := func(p *pair, end func(a string) error) []float64 {
			return cycle(p, func(int) float64 {
				unwatch := p.watch()
				time.Sleep(100 * time.Millisecond) // some answers of the owner come first
				p.between(tt.interval)
				p.try(end("a"))
				at := time.Now()
				took := p.answeredBy('b', at, 10*time.Second).Sub(p.advertised())
				unwatch()
				p.wipe("a")
				p.try(p.lab.Host("a").Link(true))
				return ms(took)
			})
		}
		masterDown := 3*tt.interval + tt.interval*(256-100)/256 // RFC 9568 6.1; b has priority 100
		name := func(what string) string { return fmt.Sprintf("%s/%s-formula-%gms", what, tt.name, ms(masterDown)) }
		b.Run(name("killed"), func(b *testing.B) {
			both(b, "ms", text, func(p *pair) []float64 {
				return silent(p, func(a string) error { return p.lab.Host(a).Kill(syscall.SIGKILL) })
			})
		})
		b.Run(name("unplugged"), func(b *testing.B) {
			both(b, "ms", text, func(p *pair) []float64 {
				return silent(p, func(a string) error { return p.lab.Host(a).Link(false) })
			})
		})
		b.Run("stopped/"+tt.name, func(b *testing.B) {
			both(b, "ms", text, func(p *pair) []float64 {
				return cycle(p, func(int) float64 {
					end := p.watch()
					time.Sleep(100 * time.Millisecond) // some answers of the owner come first
					p.between(tt.interval)
					at := time.Now()
					p.try(p.lab.Host("a").Kill(syscall.SIGTERM))
					p.answeredBy('b', at, 10*time.Second)
					g := gap(end())
					p.wipe("a")
					return ms(g)
				})
			})
		})
	}
}

// BenchmarkWorkerKilled is the gap a client sees when only the vrrp worker of the owner dies, and its watchdog starts another.
func BenchmarkWorkerKilled(b *testing.B) {
	both(b, "ms", conf(2, "1"), func(p *pair) []float64 {
		return cycle(p, func(int) float64 {
			end := p.watch()
			time.Sleep(100 * time.Millisecond)
			p.try(syscall.Kill(p.worker("a"), syscall.SIGKILL))
			time.Sleep(4500 * time.Millisecond) // longer than any takeover
			seen := end()
			p.wipe("a") // a second death within a minute would be answered with a pause
			return ms(gap(seen))
		})
	})
}

// many is n virtual routers on one interface.
func many(n, version int, interval string) string {
	var s strings.Builder
	for k := 1; k <= n; k++ {
		addr := fmt.Sprintf("10.9.%d.%d", 100+k/250, 1+k%250)
		if k == 1 {
			addr = vip
		}
		fmt.Fprintf(&s, `vrrp_instance V%d {
    interface eth0
    virtual_router_id %d
    @a priority 150
    @b priority 100
    version %d
    advert_int %s
    virtual_ipaddress {
        %s
    }
}
`, k, k, version, interval, addr)
	}
	return s.String()
}

// BenchmarkScale is the processor time of 255 instances, as owner and as backup, and how far apart their takeovers
// are when the owner dies.
func BenchmarkScale(b *testing.B) {
	const n = 255
	for _, tt := range []struct {
		name     string
		version  int
		interval string
	}{{"v2-1s", 2, "1"}, {"v3-0.1s", 3, "0.1"}} {
		for _, what := range []string{"owner-cpu", "backup-cpu", "owner-rss", "takeover-spread"} {
			unit := map[bool]string{true: "%", false: "ms"}[strings.HasSuffix(what, "cpu")]
			if what == "owner-rss" {
				unit = "MB"
			}
			b.Run(what+"/"+tt.name, func(b *testing.B) {
				both(b, unit, many(n, tt.version, tt.interval), func(p *pair) []float64 {
					p.start("a")
					p.holds("a", 30*time.Second)
					p.start("b")
					time.Sleep(12 * time.Second) // past the second announcements
					switch what {
					case "owner-cpu":
						return []float64{p.cpu("a", 10*time.Second)}
					case "backup-cpu":
						return []float64{p.cpu("b", 10*time.Second)}
					case "owner-rss":
						return []float64{p.rss("a")}
					}
					p.mu.Lock()
					clear(p.first)
					p.mu.Unlock()
					p.try(p.lab.Host("a").Kill(syscall.SIGKILL))
					for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
						p.mu.Lock()
						var first, last time.Time
						for _, at := range p.first {
							if first.IsZero() || at.Before(first) {
								first = at
							}
							if at.After(last) {
								last = at
							}
						}
						k := len(p.first)
						p.mu.Unlock()
						if k == n {
							return []float64{ms(last.Sub(first))}
						}
						if time.Now().After(end) {
							p.Errorf("%s: only %d of %d instances were taken over", p.name, k, n)
							return nil
						}
					}
				})
			})
		}
	}
}

// cpu is the processor time of all processes of a host, in percent of one processor.
func (p *pair) cpu(host string, d time.Duration) float64 {
	before := p.ticks(host)
	time.Sleep(d)
	return float64(p.ticks(host)-before) / 100 / d.Seconds() * 100 // USER_HZ is 100
}

func (p *pair) ticks(host string) (sum int) {
	p.eachStat(host, "stat", func(b string) {
		_, rest, _ := strings.Cut(b, ") ")
		f := strings.Fields(rest)
		if len(f) > 12 {
			u, _ := strconv.Atoi(f[11])
			s, _ := strconv.Atoi(f[12])
			sum += u + s
		}
	})
	return sum
}

// rss is the memory of all processes of a host, in MB.
func (p *pair) rss(host string) float64 {
	pages := 0
	p.eachStat(host, "statm", func(b string) {
		if f := strings.Fields(b); len(f) > 1 {
			n, _ := strconv.Atoi(f[1])
			pages += n
		}
	})
	return float64(pages) * float64(os.Getpagesize()) / 1e6
}

func (p *pair) eachStat(host, file string, f func(string)) {
	p.Helper()
	list, err := p.lab.Host(host).Processes()
	p.try(err)
	for _, q := range list {
		if b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(q.PID), file)); err == nil {
			f(string(b))
		}
	}
}
