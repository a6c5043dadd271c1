package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"quorate/internal/testenv"
	"quorate/sim/netns"
)

// daemon is one of the two that are compared.
type daemon struct {
	name string
	argv func(conf, host string) []string
}

var (
	ours = daemon{"clusterd", func(conf, host string) []string {
		return []string{filepath.Join(os.Getenv(binEnv), "clusterd"), "-n", "-P", "-f", conf, "-i", host, "--run-dir", netns.Scratch + "/" + host}
	}}
	peer = daemon{"keepalived", func(conf, host string) []string {
		keepalived, _ := testenv.Find("keepalived")
		return []string{keepalived, "-n", "-l", "-P", "-f", conf, "-i", host}
	}}
)

const vip = "10.9.0.100"

// pair is two directors of one kind, a (150) and b (100), and a client that asks the virtual address all the time.
type pair struct {
	testing.TB
	daemon
	lab  *netns.Lab
	conf string

	mu        sync.Mutex
	probes    []probe
	takeovers map[router]time.Time // first advert of b for each virtual router since the last mark
	wrested   int                  // times b began to advertise while a was there, see [pair.listen]
	spoke     map[router]time.Time // last advert of b
	owner     time.Time            // last advert of a with a priority
}

// router is a virtual router on an interface of the host that listens.
type router struct {
	ifindex int
	vrid    uint8
}

// probe is one question and who answered.
type probe struct {
	sent time.Time
	who  byte // 'a', 'b', 0: nobody
}

// How often the client asks: seldom enough to cost little, often enough for intervals of ten milliseconds.
const (
	probeEvery  = 5 * time.Millisecond
	probeFinely = 2 * time.Millisecond
)

func newPair(tb testing.TB, d daemon, conf string) *pair {
	tb.Helper()
	testenv.Need(tb, "keepalived")
	lab, err := netns.New(netns.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = lab.Close() })
	p := &pair{TB: tb, daemon: d, lab: lab, takeovers: map[router]time.Time{}, spoke: map[router]time.Time{}}
	p.conf = filepath.Join(tb.TempDir(), "keepalived.conf")
	p.try(os.WriteFile(p.conf, []byte(conf), 0o644))
	for k, name := range []string{"a", "b", "client"} {
		h, err := lab.AddHost(name, fmt.Sprintf("10.9.0.%d/24", k+1))
		p.try(err)
		if name != "client" {
			p.echo(h)
		}
	}
	p.listen("client", "eth0")
	return p
}

func (p *pair) try(err error) {
	if err != nil {
		p.Helper()
		p.Fatal(err)
	}
}

// echo answers with the name of the host, whoever holds the address there.
func (p *pair) echo(h *netns.Host) {
	var c net.PacketConn
	p.try(h.Do(func() (err error) { c, err = net.ListenPacket("udp4", "0.0.0.0:7"); return err }))
	p.Cleanup(func() { _ = c.Close() })
	who := h.Name()[0]
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if n == 8 {
				_, _ = c.WriteTo(append(buf[:8], who), from)
			}
		}
	}()
}

// listen notes the adverts of both, as a host hears them.
func (p *pair) listen(host string, devices ...string) {
	p.Helper()
	var c net.PacketConn
	var pc *ipv4.PacketConn
	p.try(p.lab.Host(host).Do(func() (err error) {
		if c, err = net.ListenPacket("ip4:112", "0.0.0.0"); err != nil {
			return err
		}
		pc = ipv4.NewPacketConn(c)
		if err := pc.SetControlMessage(ipv4.FlagInterface, true); err != nil {
			return err
		}
		if err := c.(*net.IPConn).SetReadBuffer(4 << 20); err != nil {
			return err
		}
		for _, name := range devices {
			ifi, err := net.InterfaceByName(name)
			if err != nil {
				return err
			}
			if err := pc.JoinGroup(ifi, &net.IPAddr{IP: net.IPv4(224, 0, 0, 18)}); err != nil {
				return err
			}
		}
		return nil
	}))
	p.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 2000)
		for {
			n, cm, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 8 || buf[2] == 0 || cm == nil {
				continue
			}
			now, r := time.Now(), router{cm.IfIndex, buf[1]}
			p.mu.Lock()
			if last := from.(*net.IPAddr).IP.To4()[3]; last == 1 {
				p.owner = now
			} else {
				if now.Sub(p.spoke[r]) > 25*time.Millisecond {
					p.wrested++
				}
				p.spoke[r] = now
				if _, known := p.takeovers[r]; !known {
					p.takeovers[r] = now
				}
			}
			p.mu.Unlock()
		}
	}()
}

// mark forgets what b has said so far.
func (p *pair) mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.takeovers)
	p.wrested = 0
}

// spread waits until b has taken over n virtual routers and returns how far apart the first and the last were.
func (p *pair) spread(n int, limit time.Duration) time.Duration {
	p.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		var first, last time.Time
		for _, at := range p.takeovers {
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
		}
		k := len(p.takeovers)
		p.mu.Unlock()
		if k == n {
			return last.Sub(first)
		}
		if time.Now().After(end) {
			p.Fatalf("%s: only %d of %d virtual routers were taken over", p.name, k, n)
		}
	}
}

// start runs the daemon on a host.
func (p *pair) start(host string) {
	p.Helper()
	argv := p.argv(p.conf, host)
	c := p.lab.Host(host).Command(context.Background(), argv[0], argv[1:]...)
	var out strings.Builder
	if testing.Verbose() && os.Getenv("BENCH_LOG") != "" {
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
	} else {
		c.Stderr = &out
	}
	p.try(c.Start())
	go func() { _ = c.Wait() }()
}

// wipe kills what runs on a host and takes away what that left behind.
func (p *pair) wipe(host string) {
	p.Helper()
	h := p.lab.Host(host)
	p.try(h.Kill(syscall.SIGKILL))
	list, err := h.Addresses("eth0")
	p.try(err)
	for _, a := range list {
		if a.Addr() != h.Addr() {
			p.try(h.DeleteAddress("eth0", a.String()))
		}
	}
}

// holds waits until the kernel of a host has the address.
func (p *pair) holds(host string, limit time.Duration) {
	p.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		ok, err := p.lab.Host(host).HasAddress(netip.MustParseAddr(vip))
		p.try(err)
		if ok {
			return
		}
		if time.Now().After(end) {
			p.Fatalf("%s: %s does not hold %s after %v", p.name, host, vip, limit)
		}
	}
}

// watch probes from now on until the returned function is called, which gives what was seen.
func (p *pair) watch(every time.Duration) func() []probe {
	var c net.PacketConn
	p.try(p.lab.Host("client").Do(func() (err error) { c, err = net.ListenPacket("udp4", "0.0.0.0:0"); return err }))
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(vip + ":7"))
	p.mu.Lock()
	p.probes = nil
	p.mu.Unlock()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		buf := make([]byte, 64)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if n == 9 {
				p.mu.Lock()
				if k := binary.BigEndian.Uint64(buf); k < uint64(len(p.probes)) && p.probes[k].who == 0 {
					p.probes[k].who = buf[8]
				}
				p.mu.Unlock()
			}
		}
	}()
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			p.mu.Lock()
			k := len(p.probes)
			p.probes = append(p.probes, probe{sent: time.Now()})
			p.mu.Unlock()
			_, _ = c.WriteTo(binary.BigEndian.AppendUint64(nil, uint64(k)), to)
		}
	}()
	return func() []probe {
		time.Sleep(100 * time.Millisecond) // answers on their way
		close(stop)
		<-done
		_ = c.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Clone(p.probes[:max(0, len(p.probes)-int(50*time.Millisecond/every))])
	}
}

// answeredBy waits for an answer of a host to a question asked after t and returns when that was asked.
func (p *pair) answeredBy(who byte, t time.Time, limit time.Duration) time.Time {
	p.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		p.mu.Lock()
		for _, q := range p.probes {
			if q.who == who && q.sent.After(t) {
				p.mu.Unlock()
				return q.sent
			}
		}
		p.mu.Unlock()
		if time.Now().After(end) {
			p.Fatalf("%s: no answer from %c within %v", p.name, who, limit)
		}
	}
}

// advertised is when a sent its last advert so far.
func (p *pair) advertised() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.owner
}

// between waits for an advert of a and then half an interval, so that what follows has the same phase in every round
// and for both daemons.
func (p *pair) between(interval time.Duration) {
	p.Helper()
	for before, end := p.advertised(), time.Now().Add(10*time.Second); p.advertised().Equal(before); time.Sleep(interval / 20) {
		if time.Now().After(end) {
			p.Fatalf("%s: a has not advertised for 10 s", p.name)
		}
	}
	time.Sleep(time.Until(p.advertised().Add(interval / 2)))
}

// gap is the longest time without an answer: from a question that got none to the next that got one.
func gap(probes []probe) time.Duration {
	var since time.Time
	var longest time.Duration
	for _, q := range probes {
		switch {
		case q.who == 0 && since.IsZero():
			since = q.sent
		case q.who != 0 && !since.IsZero():
			longest, since = max(longest, q.sent.Sub(since)), time.Time{}
		}
	}
	return longest
}

// worker is the process that runs VRRP below its watchdog.
func (p *pair) worker(host string) int {
	p.Helper()
	list, err := p.lab.Host(host).Processes()
	p.try(err)
	for k, q := range list {
		if slices.Contains(q.Args, "--worker=vrrp") || p.name == "keepalived" && k > 0 {
			return q.PID
		}
	}
	p.Fatalf("%s: no worker on %s among %v", p.name, host, list)
	return 0
}
