package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// perInterface is how many virtual routers an interface has room for.
const perInterface = 255

// many is n virtual routers, as many on one interface as go there; the first has the address that the client asks.
func many(n, version int, interval string) string {
	var s strings.Builder
	for k := range n {
		addr := fmt.Sprintf("10.%d.%d.%d", 9+k/perInterface, 100+k%perInterface/250, 1+k%perInterface%250)
		if k == 0 {
			addr = vip
		}
		fmt.Fprintf(&s, `vrrp_instance V%d {
    interface eth%d
    virtual_router_id %d
    @a priority 150
    @b priority 100
    version %d
    advert_int %s
    virtual_ipaddress {
        %s
    }
}
`, k, k/perInterface, k%perInterface+1, version, interval, addr)
	}
	return s.String()
}

// cables lays cables between a and b until both have the interfaces that n virtual routers need.
func (p *pair) cables(n int) (devices []string) {
	p.Helper()
	devices = []string{"eth0"}
	a, b := p.lab.Host("a"), p.lab.Host("b")
	for k := 1; k*perInterface < n; k++ {
		name := fmt.Sprintf("eth%d", k)
		var other int
		p.try(b.Do(func() (err error) {
			other, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return err
		}))
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		p.try(a.Do(func() error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(other)})
		}))
		_ = unix.Close(other)
		for i, h := range []string{"a", "b"} {
			p.try(p.lab.Host(h).AddAddress(name, fmt.Sprintf("10.%d.0.%d/16", 9+k, i+1)))
			p.try(p.setUp(h, name, true))
		}
		devices = append(devices, name)
	}
	return devices
}

func (p *pair) setUp(host, device string, up bool) error {
	return p.lab.Host(host).Do(func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(l)
		}
		return netlink.LinkSetDown(l)
	})
}

// interfaceUp is what an administrator does with "ip link set eth0 up" or "down".
func (p *pair) interfaceUp(host string, up bool) error { return p.setUp(host, "eth0", up) }

// BenchmarkScale is the processor time and the memory of many virtual routers, as owner and as backup, and how far apart their
// takeovers are when the owner dies.
func BenchmarkScale(b *testing.B) {
	for _, tt := range []struct {
		n        int
		version  int
		interval time.Duration
		spread   time.Duration
	}{{255, 2, time.Second, 50 * time.Millisecond}, {255, 3, 100 * time.Millisecond, 50 * time.Millisecond}, {1000, 2, time.Second, 200 * time.Millisecond}} {
		interval := strconv.FormatFloat(tt.interval.Seconds(), 'f', -1, 64)
		name := fmt.Sprintf("%d instances, v%d %s s", tt.n, tt.version, interval)
		b.Run(strings.NewReplacer(" ", "-", ",", "").Replace(name), func(b *testing.B) {
			all(b, many(tt.n, tt.version, interval), func(p *pair) []row {
				devices := p.cables(tt.n)
				p.start("a")
				p.holds("a", time.Minute)
				time.Sleep(4 * time.Second) // the first announcements, and for keepalived the last of its takeovers
				p.start("b")
				time.Sleep(12 * time.Second) // past the second announcements
				var cpu [2][]float64
				for range *rounds {
					used := p.cpu(4*time.Second, "a", "b")
					cpu[0], cpu[1] = append(cpu[0], used[0]), append(cpu[1], used[1])
				}
				rows := []row{
					{what: name + ": CPU as owner", unit: "%", got: [2][]float64{cpu[0]}},
					{what: name + ": CPU as backup", unit: "%", got: [2][]float64{cpu[1]}},
					{what: name + ": memory as owner", unit: "MB", got: [2][]float64{{p.memory("a")}}},
					{what: name + ": memory as backup", unit: "MB", got: [2][]float64{{p.memory("b")}}},
				}
				var apart []float64
				times := *rounds
				if tt.n > perInterface && p.name == peer.name {
					times = 1 // keepalived with a thousand may not get its addresses back within a minute
				}
				for k := range times {
					apart = append(apart, ms(p.takeover(tt.n, tt.interval, k > 0, devices)))
				}
				return append(rows, row{what: name + ": spread of the takeover", unit: "ms", limit: ms(tt.spread), got: [2][]float64{apart}})
			})
		})
	}
}

// oneAtATime keeps the takeovers of the two daemons apart: addresses are changed under one lock of the whole kernel, and a daemon that
// changes a thousand would be measured in the other's figures.
var oneAtATime sync.Mutex

// takeover kills a and returns how far apart b's takeovers are. Again means that a comes back and takes its addresses before.
func (p *pair) takeover(n int, interval time.Duration, again bool, devices []string) time.Duration {
	p.Helper()
	oneAtATime.Lock()
	defer oneAtATime.Unlock()
	if again {
		p.wipe("a")
		p.start("a")
		p.holds("a", time.Minute)
		time.Sleep(3 * time.Second)
	}
	p.between(interval) // all of a's instances speak at once: not in the middle of that
	p.try(p.lab.Host("a").Kill(syscall.SIGKILL))
	p.listen("a", devices...) // its kernel lives on
	p.mark()
	return p.spread(n, 20*time.Second)
}

// BenchmarkFalseElections has the owner of fifty virtual routers advertise a hundred times a second while every processor is kept
// busy, and counts how often the backup took one of them. One daemon after the other: together they would be the load.
func BenchmarkFalseElections(b *testing.B) {
	d := 20 * time.Second
	if *long {
		d = 10 * time.Minute
	}
	for _, tt := range []struct{ name, more string }{{"", ""}, {", vrrp_rt_priority 10", "global_defs {\n    vrrp_rt_priority 10\n}\n"}} {
		b.Run("v3-0.01s"+strings.NewReplacer(", ", "-", " ", "-").Replace(tt.name), func(b *testing.B) {
			r := row{what: fmt.Sprintf("false elections in %v, 50 instances, v3 0.01 s, processors busy%s", d, tt.name), unit: "-"}
			for k, program := range []daemon{ours, peer} {
				p := newPair(b, program, tt.more+many(50, 3, "0.01"))
				p.start("a")
				p.holds("a", time.Minute)
				time.Sleep(2 * time.Second)
				p.start("b")
				time.Sleep(8 * time.Second)
				idle := p.keepBusy()
				time.Sleep(100 * time.Millisecond)
				p.mark()
				time.Sleep(d)
				p.mu.Lock()
				r.got[k] = []float64{float64(p.wrested)}
				p.mu.Unlock()
				idle()
				_ = p.lab.Close()
			}
			table = append(table, r)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(r.got[0][0], "ours")
			b.ReportMetric(r.got[1][0], "keepalived")
		})
	}
}

// keepBusy has a process spin for each processor until the returned function is called. They have a session of their own, as
// other services have: the scheduler shares a processor between sessions first.
func (p *pair) keepBusy() func() {
	p.Helper()
	var end []func()
	for range runtime.NumCPU() {
		busy := exec.Command("sh", "-c", "while :; do :; done")
		busy.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
		started, stop := make(chan error), make(chan struct{})
		go func() { // the signal comes when the thread ends that started it: keep that
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started <- busy.Start()
			<-stop
			_ = busy.Process.Kill()
			_ = busy.Wait()
		}()
		p.try(<-started)
		end = append(end, func() { close(stop) })
	}
	return func() {
		for _, f := range end {
			f()
		}
	}
}

// cpu is the processor time of all processes of hosts, in percent of one processor.
func (p *pair) cpu(d time.Duration, hosts ...string) (percent []float64) {
	p.Helper()
	began := time.Now()
	before := p.used(hosts)
	time.Sleep(d)
	after, took := p.used(hosts), time.Since(began)
	for i := range hosts {
		percent = append(percent, float64(after[i]-before[i])/float64(took)*100)
	}
	return percent
}

// used reads the processor clocks of the processes of hosts. They count nanoseconds; /proc has ticks of ten milliseconds.
func (p *pair) used(hosts []string) (sum []time.Duration) {
	p.Helper()
	for _, h := range hosts {
		list, err := p.lab.Host(h).Processes()
		p.try(err)
		var all time.Duration
		for _, q := range list {
			const sched = 2 // CPUCLOCK_SCHED of the whole process, see clock_getcpuclockid(3)
			var ts unix.Timespec
			p.try(unix.ClockGettime(int32(^q.PID<<3|sched), &ts))
			all += time.Duration(ts.Nano())
		}
		sum = append(sum, all)
	}
	return sum
}

// memory of all processes of a host, in MB, with pages that they share counted once (proc(5), smaps_rollup).
func (p *pair) memory(host string) float64 {
	p.Helper()
	kB := 0
	list, err := p.lab.Host(host).Processes()
	p.try(err)
	for _, q := range list {
		b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(q.PID), "smaps_rollup"))
		if _, rest, ok := strings.Cut(string(b), "\nPss:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			p.try(err)
			kB += n
		}
	}
	return float64(kB) * 1024 / 1e6
}
