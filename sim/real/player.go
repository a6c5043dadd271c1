package real

import (
	"bytes"
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
	Record  io.Writer // gets a capture, if not nil
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
	err := refuse(sc, p.Backend)
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
	switch {
	case errors.As(err, &failed) && s.slow != "":
		o.Skipped = fmt.Sprintf("%s (%v)", s.slow, err)
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

// Refuse says why a backend (netns or uml) cannot play a scenario; empty if it can.
func Refuse(sc *sim.Scenario, backend string) string {
	if err := refuse(sc, backend); err != nil {
		return err.Error()
	}
	return ""
}

// refuse finds out at once what would be found out only after a minute of playing.
func refuse(sc *sim.Scenario, backend string) error {
	cluster := clustered(sc)
	for _, d := range sc.Directives {
		verb, args, err := sim.Words(d.Text)
		if err != nil {
			return err
		}
		why := map[string]string{
			"stage": "stage: a daemon learns of a configuration that is about to come from a push only, which is played; staging alone is played in virtual time",
			"clock": refuseClock(args, backend),
		}[verb]
		if why != "" {
			return skip{why}
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
	mark    time.Duration
	steps   []wallStep // jumps of the wall clock
	watch   watcher
	ipvs    bool          // the kernel has it; judged in worlds with real servers
	sampled time.Duration // when tables were last looked at
	serving sync.Mutex    // of programs of real servers
	slow    string        // why this machine cannot judge what happened
	missed  int           // claims that this kernel cannot judge
	build   *wire.Builder

	// Of a scenario that pushes, see cluster.go.
	cluster     bool
	small       bool // disks are of a size that can be filled
	members     []*host
	generations map[string]generation // by id of the push
	pushes      int
	pushing     sync.WaitGroup
	acked       []acked
	committed   commit
	tokens      int // that were made by put
	news        []sim.Moment
}

// host is a namespace and what the scenario did to it.
type host struct {
	*netns.Host
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
	daemon   *netns.Cmd
	gone     chan struct{} // closed when the daemon has ended
	conf     *config.Config
	text     string
	scripts  map[string]string // file with the exit code, by vrrp_script
	files    map[string]string // file with the number, by track_file
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
	if f.fault && verb != "world" {
		s.watch.Lock()
		s.mark = s.fabric.now()
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
	for i, info := range infos {
		nh, err := s.lab.AddHost(info.Name, info.Cards[0].Addr.String())
		if err != nil {
			return err
		}
		h := &host{Host: nh, s: s, name: info.Name, program: w.Program(info.Name), index: i, director: info.Director, server: info.Server, ports: map[int]*program{}, on: true, scripts: map[string]string{}, files: map[string]string{}, logged: -1}
		for lan, c := range info.Cards {
			p, err := s.fabric.plug(nh, lan, c)
			if err != nil {
				return err
			}
			h.cards = append(h.cards, &card{name: c.Name, lan: lan, base: c.Addr, six: c.IPv6, mac: p.mac, link: p.link, up: true})
		}
		s.hosts = append(s.hosts, h)
	}
	for _, h := range s.hosts {
		if !h.server {
			continue
		}
		s.ipvs = h.hasIPVS()
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
