package real

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"quorate/config"
	"quorate/sim"
	"quorate/sim/netns"
	"quorate/sim/uml"
	"quorate/sim/wire"
)

// Player plays scenarios in labs of its own, one after the other. It must run inside netns.Enter, or as root.
type Player struct {
	Dir    string // for files and logs; emptied by nobody
	BinDir string // has clusterd
	// Programs are what directors run instead, by name: sim.Keepalived (in PATH or /usr/sbin) or sim.FRR (/usr/lib/frr).
	Programs map[string]string
	// Backend is what results are named after: netns when empty.
	Backend string
	// Agent is a program and its arguments that calls ServeAgent. With it every director has a User Mode Linux guest of its own, in which
	// that program is started; without, its host is a namespace of this kernel.
	Agent  []string
	Record io.Writer // gets a capture, if not nil
	// Slack is added to every bound, on top of a fifth of it: 50 ms when zero. A machine that does other things needs more.
	Slack time.Duration
}

// Outcome is what a scenario came to.
type Outcome struct {
	Failed   error // an expectation that did not hold: a *sim.FailedError
	Skipped  string
	Err      error // the scenario could not be carried out, and it is not the scenario's fault
	Seed     uint64
	Elapsed  time.Duration
	Outages  map[string]time.Duration
	Timeline sim.Timeline
}

// skip ends a scenario that this backend cannot play.
type skip struct{ why string }

func (s skip) Error() string { return s.why }

// slack widens a bound as real time needs it.
func (s *stage) slack(d time.Duration) time.Duration {
	return d + d/5 + max(s.p.Slack, 50*time.Millisecond)
}

// Play plays one scenario.
func (p *Player) Play(ctx context.Context, sc *sim.Scenario) Outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stage{p: p, ctx: ctx, cancel: cancel, cluster: clustered(sc), small: fills(sc)}
	defer s.close()
	var o Outcome
	err := refuse(sc, len(p.Agent) > 0)
	for _, d := range sc.Directives {
		if err != nil {
			break
		}
		if err = ctx.Err(); err == nil {
			err = s.exec(d)
		}
		var sk skip
		switch {
		case errors.Is(err, sim.ErrExpect):
			err = &sim.FailedError{File: sc.Name, Directive: d, Err: err}
		case errors.As(err, &sk), err == nil:
		default:
			err = fmt.Errorf("%s:%d: %s: %w", sc.Name, d.Line, d.Text, err)
		}
	}
	var failed *sim.FailedError
	var sk skip
	gone := error(nil)
	if ctx.Err() == nil {
		gone = s.gone()
	}
	switch {
	case errors.Is(err, uml.ErrUnavailable):
		o.Skipped = err.Error()
	case gone != nil:
		o.Failed = gone
	case errors.As(err, &failed) && s.slow+s.apart != "":
		o.Skipped = fmt.Sprintf("%s (%v)", cmp.Or(s.slow, s.apart), err)
	case errors.As(err, &failed):
		o.Failed = err
	case errors.As(err, &sk):
		o.Skipped = sk.why
	default:
		o.Err = err
		if err == nil && s.missed > 0 {
			o.Skipped = fmt.Sprintf("this kernel has no IPVS: %d claims about tables and connections are not judged; everything else held", s.missed)
		}
	}
	o.Seed = s.seed
	if s.fabric != nil {
		o.Elapsed = s.fabric.now()
		o.Outages = s.outages()
		o.Timeline = s.timeline(sc)
	}
	return o
}

// gone says that a guest has died, whatever was wanted of it.
func (s *stage) gone() error {
	for _, h := range s.hosts {
		if h.guest == nil {
			continue
		}
		select {
		case <-h.guest.ended:
			return h.guest.why
		default:
		}
	}
	return nil
}

// Refuse says why a scenario cannot be played, with guests for its directors or without; empty if it can.
func Refuse(sc *sim.Scenario, guests bool) string {
	if err := refuse(sc, guests); err != nil {
		return err.Error()
	}
	return ""
}

// refuse finds out at once what would be found out only after a minute of playing.
func refuse(sc *sim.Scenario, guests bool) error {
	cluster := clustered(sc)
	for _, d := range sc.Directives {
		verb, args, err := sim.Words(d.Text)
		if err != nil {
			return err
		}
		switch {
		case verb == "stage":
			return skip{"stage: a daemon learns of a configuration that is about to come from a push only, which is played; staging alone is played in virtual time"}
		case verb == "clock" && !guests:
			return skip{"clock: namespaces share the clock of their host, which other programs need"}
		}
		if why := refusePush(cluster, verb, args, d.Input); why != "" {
			return skip{why}
		}
		for _, a := range args {
			if verb == "run" {
				if t, err := time.ParseDuration(a.Key); err == nil && t > 2*time.Minute {
					return skip{"run " + a.Key + ": longer than two minutes of real time"}
				}
			}
		}
	}
	return nil
}

// stage is one scenario being played.
type stage struct {
	p      *Player
	ctx    context.Context
	cancel func()
	lab    *netns.Lab
	fabric *fabric
	hosts  []*host
	seed   uint64
	stp    time.Duration
	// querier counts the verbs igmp, so that a querier knows when it is told to stop.
	querier int
	vips    []netip.Addr
	faults  []sim.Fault
	claims  []sim.Verdict
	mark    time.Duration // of the last fault, where within= counts from; later where that is not the scenario's time
	begun   time.Duration // when it was carried out, where events count from
	from    time.Duration // where the next run begins: with the fault before it, however long that took; -1: now
	watch   watcher
	ipvs    bool          // the kernel has it; judged in worlds with real servers
	sampled time.Duration // when tables were last looked at
	serving sync.Mutex    // of programs of real servers
	slow    string        // why this machine cannot judge what happened
	apart   string        // or what follows the last fault
	missed  int           // claims that this kernel cannot judge
	build   *wire.Builder

	// Of a scenario that pushes, see cluster.go.
	cluster     bool
	small       bool // disks are of a size that can be filled
	members     []*host
	generations map[string]generation // by id of the push
	pushes      int
	pushing     sync.WaitGroup
	onTheirWay  int // pushes
	acked       []acked
	committed   commit
	tokens      int // that were made by put
	news        []sim.Moment
}

// host is a machine and what the scenario did to it.
type host struct {
	machine
	ns       *netns.Host // nil if the machine is a guest
	guest    *guest      // nil if it is none
	s        *stage
	name     string
	index    int    // port number
	program  string // what the director runs instead of clusterd, empty for that
	director bool
	server   bool             // a real server
	member   bool             // of the cluster
	torn     bool             // its last write, when its power fails
	ports    map[int]*program // of it
	tables   []weights        // of a director, as they changed
	cards    []*card
	on       bool // power
	ran      bool
	paused   bool
	daemon   Process
	log      *hostLog      // of its programs
	gone     chan struct{} // closed when the daemon has ended
	conf     *config.Config
	text     string
	scripts  map[string]string // file with the exit code, by vrrp_script
	files    map[string]string // file with the number, by track_file
	macvlans []string          // that were made for FRR
	loads    []*load
	life     []sim.Span
	killed   time.Time // and not started since
	logged   int64     // length of the log when the daemon was started, -1 once it is ready
}

// card is a network card: the host's end of one segment.
type card struct {
	name string
	lan  int // number of the segment
	base netip.Prefix
	six  netip.Prefix // not valid in a world without IPv6
	mac  wire.MAC
	link int  // index of the device
	up   bool // cable
	// forwards is when the port stops being blocked by spanning tree; open makes it so.
	forwards time.Time
	open     *time.Timer
}

// card is the one that an optional last word names, the first without one.
func (h *host) card(words []sim.Word) (*card, error) {
	if len(words) == 0 {
		return h.cards[0], nil
	}
	for _, c := range h.cards {
		if c.name == words[0].Key {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%s has no interface %q", h.name, words[0].Key)
}

func (s *stage) host(name string) (*host, error) {
	i := slices.IndexFunc(s.hosts, func(h *host) bool { return h.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no host %q", name)
	}
	return s.hosts[i], nil
}

func (s *stage) exec(d sim.Directive) error {
	verb, args, err := sim.Words(d.Text)
	if err != nil {
		return err
	}
	f, ok := verbs()[verb]
	if !ok {
		return skip{verb + ": not played on real kernels"}
	}
	if s.fabric == nil && verb != "world" {
		return errors.New("there is no world yet")
	}
	if f.fault || verb != "run" {
		s.from = -1
	}
	if f.fault && verb != "world" {
		s.watch.Lock()
		s.mark = s.fabric.now()
		s.from, s.begun, s.apart = s.mark, s.mark, ""
		s.watch.reset()
		s.watch.Unlock()
		s.faults = append(s.faults, sim.Fault{At: s.mark, Text: d.Text})
	}
	err = f.run(s, args, d.Input)
	if err == nil {
		s.started()
	}
	if verb == "expect" || verb == "check" {
		v := sim.Verdict{At: s.fabric.now(), Text: d.Text, OK: err == nil, Said: "ok"}
		if err != nil {
			v.Said = err.Error()
		}
		s.claims = append(s.claims, v)
	}
	return err
}

func (s *stage) close() {
	s.cancel()
	s.pushing.Wait()
	for _, h := range s.hosts {
		for _, l := range h.loads {
			l.stop()
		}
		s.serving.Lock()
		for _, p := range h.ports {
			if p.end != nil {
				p.end()
			}
			p.end = nil
			p.gen++
		}
		s.serving.Unlock()
	}
	for _, h := range s.hosts {
		if h.guest != nil {
			h.guest.close()
		}
		if h.log != nil {
			_ = h.log.file.Close()
		}
	}
	if s.lab != nil {
		_ = s.lab.Close() // kills what still runs; nothing is left that could fail afterwards
	}
	if s.fabric != nil {
		s.fabric.close()
		if s.fabric.pcap != nil {
			_ = s.fabric.pcap.Flush()
		}
	}
}

// makeWorld opens the lab: the same names, addresses and numbers as in virtual time.
func (s *stage) makeWorld(args []sim.Word) error {
	// The simulator's own reading of the directive decides on names, addresses and delays.
	model := &sim.Session{Programs: s.p.Programs}
	line := "world"
	for _, a := range args {
		line += " " + a.Key + a.Op + a.Value
	}
	if _, err := model.Exec(line, ""); err != nil {
		return err
	}
	w := model.World()
	s.seed = w.Seed()
	s.build = wire.NewBuilder()
	var err error
	if s.lab, err = netns.New(netns.Options{IPv6: w.Hosts()[0].Cards[0].IPv6.IsValid()}); err != nil {
		return err
	}
	infos := w.Hosts()
	var lans []*wire.LAN
	for i := range infos[0].Cards {
		lans = append(lans, wire.NewLAN(fmt.Sprintf("lan%d", i), s.seed, w.Delay()))
	}
	s.fabric = newFabric(lans)
	guests, err := s.bootGuests(infos)
	if err != nil {
		return err
	}
	for i, info := range infos {
		h := &host{s: s, guest: guests[info.Name], name: info.Name, program: w.Program(info.Name), index: i, director: info.Director, server: info.Server, ports: map[int]*program{}, on: true, scripts: map[string]string{}, files: map[string]string{}, logged: -1}
		s.hosts = append(s.hosts, h)
		if err := s.makeMachine(h, info); err != nil {
			return err
		}
		var links []int
		if h.guest != nil {
			if links, err = h.guest.setUp(s.p.Dir, info.Cards); err != nil {
				return err
			}
		}
		for lan, c := range info.Cards {
			var p *port
			if h.guest != nil {
				p = s.fabric.plugGuest(h.guest, lan, c, links[lan])
			} else if p, err = s.fabric.plug(h.ns, lan, c); err != nil {
				return err
			}
			h.cards = append(h.cards, &card{name: c.Name, lan: lan, base: c.Addr, six: c.IPv6, mac: p.mac, link: p.link, up: true})
		}
	}
	for _, h := range s.hosts {
		if !h.server {
			continue
		}
		_, err := s.hosts[0].IPVS() // a director's
		s.ipvs = err == nil
		if err := errors.Join(h.Sysctl("net.ipv4.conf.all.arp_ignore", "1"), h.Sysctl("net.ipv4.conf.all.arp_announce", "2")); err != nil {
			return err
		}
	}
	if s.p.Record != nil {
		if s.fabric.pcap, err = wire.NewPcap(s.p.Record, w.Cards()); err != nil {
			return err
		}
	}
	if err := s.watch.begin(s); err != nil {
		return err
	}
	s.fabric.sight = s.saw
	s.fabric.run()
	if !s.cluster {
		return nil
	}
	return s.form()
}

// bootGuests starts a guest for every director, all at once; none if namespaces will do.
func (s *stage) bootGuests(infos []sim.HostInfo) (guests map[string]*guest, err error) {
	guests = map[string]*guest{}
	if len(s.p.Agent) == 0 {
		return guests, nil
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, info := range infos {
		if !info.Director {
			continue
		}
		wg.Go(func() {
			g, err2 := bootGuest(s.ctx, info.Name, len(info.Cards), s.p.Agent)
			mu.Lock()
			defer mu.Unlock()
			if err = errors.Join(err, err2); err2 == nil {
				guests[info.Name] = g
			}
		})
	}
	wg.Wait()
	if err != nil {
		for _, g := range guests {
			go g.close() // with the stage
		}
	}
	return guests, err
}

// makeMachine makes what a host is: its guest, or a namespace of the lab.
func (s *stage) makeMachine(h *host, info sim.HostInfo) (err error) {
	if h.guest != nil {
		h.machine = h.guest
		return nil
	}
	if h.ns, err = s.lab.AddHost(info.Name, info.Cards[0].Addr.String()); err == nil {
		h.machine = own{h.ns, s.p.Dir}
	}
	return err
}

// parseConf reads the configuration as a director does.
func parseConf(name, text string) (*config.Config, error) {
	c, diags := config.Parse(sim.ConfName, config.Files{sim.ConfName: text}, config.Options{ConfigID: name})
	if diags.HasErrors() {
		var b bytes.Buffer
		_ = diags.Format(&b, nil)
		return nil, errors.New(strings.TrimSpace(b.String()))
	}
	return c, nil
}
