package bench

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// conf is one virtual router, fifty points apart.
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

// cycle starts a and b and does something to the owner a, again and again; event tells what it measured.
func cycle(p *pair, event func(round int) float64) (out []float64) {
	p.start("b")
	for round := range *rounds {
		if list, _ := p.lab.Host("a").Processes(); len(list) == 0 {
			p.start("a")
		}
		p.holds("a", 20*time.Second)
		time.Sleep(400 * time.Millisecond) // until b has given way
		out = append(out, event(round))
	}
	return out
}

// BenchmarkFailover is what a client sees of the end of an owner, by a question every 2 ms. The owner is killed, loses
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
				unwatch := p.watch(probeFinely)
				time.Sleep(100 * time.Millisecond) // some answers of the owner come first
				p.between(tt.interval)
				p.try(end("a"))
				at := time.Now()
				took := p.answeredBy('b', at, 10*time.Second).Sub(p.advertised())
				unwatch()
				p.wipe("a")
				p.try(p.lab.Host("a").Link(true))
				p.try(p.interfaceUp("a", true))
				return ms(took)
			})
		}
		masterDown := 3*tt.interval + tt.interval*(256-100)/256 // RFC 9568 6.1; b has priority 100
		limit := masterDown + 5*time.Millisecond
		end := func(name, what string, f func(p *pair, a string) error) {
			b.Run(name+"/"+tt.name, func(b *testing.B) {
				both(b, what+", "+tt.name, "ms", limit, text, func(p *pair) []float64 {
					return silent(p, func(a string) error { return f(p, a) })
				})
			})
		}
		end("killed", "owner killed", func(p *pair, a string) error { return p.lab.Host(a).Kill(syscall.SIGKILL) })
		end("unplugged", "owner's cable pulled", func(p *pair, a string) error { return p.lab.Host(a).Link(false) })
		end("down", "owner's interface set down", func(p *pair, a string) error { return p.interfaceUp(a, false) })
		b.Run("stopped/"+tt.name, func(b *testing.B) {
			skew := tt.interval * (256 - 100) / 256
			both(b, "owner stopped (gap), "+tt.name, "ms", skew+5*time.Millisecond, text, func(p *pair) []float64 {
				return cycle(p, func(int) float64 {
					end := p.watch(probeFinely)
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
	both(b, "worker of the owner killed (gap)", "ms", 2*probeEvery, conf(2, "1"), func(p *pair) []float64 {
		return cycle(p, func(int) float64 {
			end := p.watch(probeEvery)
			time.Sleep(100 * time.Millisecond)
			p.try(syscall.Kill(p.worker("a"), syscall.SIGKILL))
			time.Sleep(4500 * time.Millisecond) // longer than any takeover
			seen := end()
			p.wipe("a") // a second death within a minute would be answered with a pause
			return ms(gap(seen))
		})
	})
}
