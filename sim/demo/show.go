package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"quorate/sim/netns"
)

// Names and addresses of examples/lvs-dr.conf and examples/vip-only.conf.
const (
	exampleLVS = "lvs-dr.conf"
	exampleVIP = "vip-only.conf"
	network    = "192.168.2.0/24"
	clientName = "client"
)

var (
	vip       = netip.MustParseAddr("192.168.2.240")
	directors = []hostSpec{{"d1", "192.168.2.210/24"}, {"d2", "192.168.2.211/24"}, {"d3", "192.168.2.212/24"}}
	servers   = []hostSpec{{"rs1", "192.168.2.221/24"}, {"rs2", "192.168.2.222/24"}}
	// Users behind one cable; IPVS sees eight of them.
	users = []string{"192.168.2.10/24", "192.168.2.11/24", "192.168.2.12/24", "192.168.2.13/24",
		"192.168.2.14/24", "192.168.2.15/24", "192.168.2.16/24", "192.168.2.17/24"}
)

type hostSpec struct{ name, cidr string }

// How long things may take and are watched. VRRP with advert_int 1 elects in 3.6 s; a guest or a loaded machine is slower.
const (
	electLimit  = 30 * time.Second
	serveLimit  = 30 * time.Second
	steadyOwner = 1500 * time.Millisecond // more than one advert
	watchBefore = 3 * time.Second
	watchAfter  = 7 * time.Second // beyond the second block of gratuitous ARPs, 5 s after the takeover
	settled     = 3 * time.Second // without a lost request: served again
	ownerPoll   = 20 * time.Millisecond
)

// stage is a show in progress.
type stage struct {
	Options
	level     Level
	began     time.Time
	lab       *netns.Lab
	directors []director
	client    *client

	mu     sync.Mutex // guards Out and moves
	moves  []move
	broken map[string]bool // directors hit by the fault
}

// move is a change of what one director's kernel has.
type move struct {
	at   time.Duration
	host string
	has  bool
}

// show runs the whole job at a level and takes everything down again.
func show(ctx context.Context, o Options, level Level, why string) (err error) {
	s := &stage{Options: o, level: level, began: time.Now(), broken: map[string]bool{}}
	s.say("demo", "a private cluster on this machine; nothing on its own network is touched")
	s.say("level", "%s (%s)", level, why)
	if s.lab, err = netns.New(netns.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	if err := s.build(); err != nil {
		return err
	}
	pcap := filepath.Join(s.Keep, "lan.pcapng")
	stop, err := s.lab.CaptureFile(pcap)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }() // again, for the paths that end early
	if err := s.serve(); err != nil {
		return err
	}
	s.say("lab", "%s and %s on %s", names(s.lab.Hosts()[:len(s.lab.Hosts())-1]), clientName, network)
	rep, err := s.play(ctx)
	err = errors.Join(err, stop())
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("everything is taken down: %w", ctx.Err())
		}
		return fmt.Errorf("%w\n  logs and capture: %s", err, s.Keep)
	}
	rep.level, rep.why, rep.pcap, rep.logs = level, why, pcap, s.Keep
	s.mu.Lock()
	defer s.mu.Unlock()
	return rep.write(s.Out)
}

// play is the sequence of events.
func (s *stage) play(ctx context.Context) (*report, error) {
	if err := s.form(ctx); err != nil {
		return nil, err
	}
	file, err := s.example()
	if err != nil {
		return nil, err
	}
	if err := s.push(ctx, file); err != nil {
		return nil, err
	}
	watching, stopWatching := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() { s.watch(watching) })
	defer watched.Wait()
	defer stopWatching()

	old, err := s.waitOwner(ctx, steadyOwner)
	if err != nil {
		return nil, err
	}
	s.say("vip", "%s is on %s", vip, old)

	loading, stopLoading := context.WithCancel(ctx)
	var loaded sync.WaitGroup
	loaded.Go(func() { s.client.run(loading) })
	defer loaded.Wait()
	defer stopLoading()
	from, err := s.waitServed(ctx)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, watchBefore); err != nil {
		return nil, err
	}
	sent, lost := s.client.lostSince(from)
	s.say("traffic", "%d requests/s, each a new connection: %d sent, %d lost", rate, sent, lost)

	hit := s.clock()
	if err := s.hit(old); err != nil {
		return nil, err
	}
	owner, err := s.waitOwner(ctx, 0)
	if err != nil {
		return nil, err
	}
	s.say("vip", "%s is on %s, %.1f s after the fault", vip, owner, (s.clock() - hit).Seconds())
	if err := sleep(ctx, watchAfter); err != nil {
		return nil, err
	}
	served := s.waitSettled(ctx)
	if owner, err = s.waitOwner(ctx, 0); err != nil {
		return nil, err
	}
	stopLoading()
	loaded.Wait()
	stopWatching()
	watched.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	rep := &report{fault: s.Fault, hit: hit, began: s.began, from: old, to: owner,
		measure: measured(s.client.finished(from)), moves: s.moves, entries: s.transitions(), recovered: served}
	if st, err := s.status(ctx, s.director(owner)); err == nil {
		rep.verdict, rep.believed = st.Verdict, st.owner(vip.String())
	} else {
		rep.verdict = "unknown: " + err.Error()
	}
	return rep, nil
}

// build adds the hosts and gives each what its part needs.
func (s *stage) build() error {
	hosts := slices.Clone(directors)
	if s.level != VIP {
		hosts = append(hosts, servers...)
	}
	for _, h := range append(hosts, hostSpec{clientName, users[0]}) {
		if _, err := s.lab.AddHost(h.name, h.cidr); err != nil {
			return err
		}
	}
	for _, d := range directors {
		base := filepath.Join(netns.Scratch, d.name)
		s.directors = append(s.directors, director{
			name: d.name, state: filepath.Join(base, "state"), run: filepath.Join(base, "run"),
			log: filepath.Join(s.Keep, d.name+".log"),
		})
	}
	user := s.lab.Host(clientName)
	s.client = &client{host: user, url: "http://" + vip.String() + "/", clock: s.clock, sources: []netip.Addr{user.Addr()}}
	for _, cidr := range users[1:] {
		if err := user.AddAddress("eth0", cidr); err != nil {
			return err
		}
		s.client.sources = append(s.client.sources, netip.MustParsePrefix(cidr).Addr())
	}
	if s.level == VIP {
		return nil
	}
	for _, rs := range servers {
		// Direct routing: the real server has the VIP too, and says nothing about it on the wire.
		h := s.lab.Host(rs.name)
		err := errors.Join(
			h.Sysctl("net.ipv4.conf.all.arp_ignore", "1"),
			h.Sysctl("net.ipv4.conf.all.arp_announce", "2"),
			h.AddAddress("lo", vip.String()+"/32"))
		if err != nil {
			return err
		}
	}
	return nil
}

// serve starts the web servers: on the real servers, or on the directors where nothing balances.
func (s *stage) serve() error {
	where := servers
	if s.level == VIP {
		where = directors
	}
	for _, h := range where {
		ln, err := s.lab.Host(h.name).Listen("tcp4", ":80")
		if err != nil {
			return fmt.Errorf("web server on %s: %w", h.name, err)
		}
		web := &http.Server{
			ReadHeaderTimeout: 5 * time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, h.name+"\n")
			}),
		}
		go func() { _ = web.Serve(ln) }() // until this process ends
	}
	return nil
}

// example writes the level's example file to where clusterctl can read it.
func (s *stage) example() (string, error) {
	name := exampleLVS
	if s.level == VIP {
		name = exampleVIP
	}
	b, err := fs.ReadFile(s.Examples, name)
	if err != nil {
		return "", fmt.Errorf("example: %w", err)
	}
	path := filepath.Join(netns.Scratch, name)
	return path, os.WriteFile(path, b, 0o644)
}

// hit does the fault to a director.
func (s *stage) hit(name string) error {
	h := s.lab.Host(name)
	s.mu.Lock()
	s.broken[name] = true
	s.mu.Unlock()
	if s.Fault == Cable {
		s.say("fault", "pull the cable of %s", name)
		return h.Link(false)
	}
	list, err := h.Processes()
	if err != nil {
		return err
	}
	var pids []string
	for _, p := range list {
		pids = append(pids, fmt.Sprint(p.PID))
	}
	if err := h.Kill(syscall.SIGKILL); err != nil {
		return err
	}
	s.say("fault", "kill -9 %s: the watchdog and every worker of %s", strings.Join(pids, " "), name)
	return nil
}

// watch records what the directors' kernels have, until ctx ends.
func (s *stage) watch(ctx context.Context) {
	has := map[string]bool{}
	for ctx.Err() == nil {
		for _, d := range s.directors {
			now, err := s.lab.Host(d.name).HasAddress(vip)
			if err != nil || now == has[d.name] {
				continue // the next round asks again
			}
			has[d.name] = now
			s.mu.Lock()
			s.moves = append(s.moves, move{s.clock(), d.name, now})
			s.mu.Unlock()
		}
		_ = sleep(ctx, ownerPoll)
	}
}

// owners are the directors whose kernel has the address, without those the fault hit: nobody
// takes addresses off a killed director.
func (s *stage) owners() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	has := map[string]bool{}
	for _, m := range s.moves {
		has[m.host] = m.has
	}
	var out []string
	for _, d := range s.directors {
		if has[d.name] && !s.broken[d.name] {
			out = append(out, d.name)
		}
	}
	return out
}

// waitOwner waits until exactly one director has had the address for a while: where directors
// start one after the other, a lower priority may be first and yield.
func (s *stage) waitOwner(ctx context.Context, steady time.Duration) (owner string, err error) {
	var since time.Duration
	err = s.poll(ctx, electLimit, "one owner of "+vip.String(), func() error {
		now := s.owners()
		if len(now) != 1 {
			owner = ""
			return fmt.Errorf("owners now: %v", now)
		}
		if now[0] != owner {
			owner, since = now[0], s.clock()
		}
		if s.clock()-since < steady {
			return fmt.Errorf("owner now: %s, since a moment", owner)
		}
		return nil
	})
	return owner, err
}

// waitServed waits until the client is answered, and returns from when on it counts.
func (s *stage) waitServed(ctx context.Context) (time.Duration, error) {
	err := s.poll(ctx, serveLimit, "the client to be served", func() error {
		since := s.clock() - time.Second
		sent, lost := s.client.lostSince(since)
		if sent >= rate/2 && lost == 0 {
			return nil
		}
		m := measured(s.client.finished(0))
		return fmt.Errorf("%d of %d requests lost, last: %v", m.Lost, m.Sent, m.LastError)
	})
	return s.clock(), err
}

// waitSettled says whether the client was served without a loss for a while.
func (s *stage) waitSettled(ctx context.Context) bool {
	return s.poll(ctx, serveLimit, "the client to be served", func() error {
		// A request is known to be lost only when its timeout has passed.
		sent, lost := s.client.lostSince(s.clock() - settled - requestTimeout)
		if sent < int(settled.Seconds()*rate/2) || lost > 0 {
			return fmt.Errorf("%d of %d lost", lost, sent)
		}
		return nil
	}) == nil
}

// poll calls ok until it returns nil, the limit has passed or ctx ends.
func (s *stage) poll(ctx context.Context, limit time.Duration, what string, ok func() error) error {
	for end := time.Now().Add(limit); ; {
		err := ok()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %v for %s: %w", limit, what, err)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (s *stage) director(name string) director {
	i := slices.IndexFunc(s.directors, func(d director) bool { return d.name == name })
	return s.directors[i]
}

// clock is the time since the show began.
func (s *stage) clock() time.Duration { return time.Since(s.began) }

// say prints one line of progress.
func (s *stage) say(topic, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.Out, "%6.1f s  %-8s %s\n", s.clock().Seconds(), topic, fmt.Sprintf(format, args...))
}

func names(hosts []*netns.Host) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name())
	}
	return strings.Join(out, " ")
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
