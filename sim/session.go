package sim

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/config"
	"quorate/sim/wire"
)

// Session carries out directives one after the other.
type Session struct {
	// Create opens the file that pcap writes to; nil makes pcap an error.
	Create func(name string) (io.Writer, error)
	// Record, if not nil, gets a capture of the whole run as pcapng.
	Record io.Writer
	// NewMachine is handed to New.
	NewMachine func() Machine
	// Programs are further directors that behave as another program does, see Options.
	Programs map[string]string
	// Seed, if not nil, replaces the one that the scenario names.
	Seed *uint64
	// Includes is where configurations find the files they include; nil: nowhere.
	Includes config.Source

	w       *World
	mark    time.Duration // of the last fault verb; within= counts from here
	marked  int           // journal length then
	printed int           // journal events already shown
	// recording: the scenario itself has asked for a capture.
	recording bool
	faults    []Fault
	verdicts  []Verdict
	// wantFrames, frames and framesLeft are RecordFrames'.
	wantFrames bool
	frames     []Moment
	framesLeft int
}

// ErrExpect is wrapped by the error of an expect or check that did not hold.
var ErrExpect = errors.New("expectation failed")

// World is what the session runs; nil before the verb world.
func (s *Session) World() *World { return s.w }

// verb is one word of the language.
type verb struct {
	name  string
	usage string
	what  string
	fault bool // within= and outage count from here
	run   func(s *Session, args []arg, input string) (string, error)
}

// verbs is the language. The functions are one file per subject: verbs.go, expect.go, show.go.
func verbs() []verb {
	return []verb{
		{"world", "world nodes=(d1,d2) [client=c1] [real=(rs1,rs2@10.0.0.50)] [delay=50us..500us] [seed=N] [keepalived=(d2)] [frr=(d3)] [lans=N] [net=10.0.0.0/24] [shuffle] [ifaces=(eth0,eth1)] [nets=(10.0.0.0/24,…)] [nets6=(2001:db8::/64,…)] [first=11]",
			"makes hosts and wires; d1 is 10.0.0.1, the first client 10.0.0.201, rs1 10.0.0.221", true, (*Session).verbWorld},
		{"conf", "conf NODE…  (input: keepalived.conf)", "gives nodes their file: starts a daemon that never ran, reloads a running one; a stopped one reads it when it starts", true, (*Session).verbConf},
		{"stage", "stage NODE…  (input: keepalived.conf)", "tells running daemons which configuration is about to be activated", true, (*Session).verbStage},
		{"push", "push [at=d2] [spread=200ms]  (input: keepalived.conf)", "pushes it, to a director that reaches a majority or to the one named: staged, committed through the replicated store, then activated by each member at its own moment within spread; the time line tells what becomes of it", true, (*Session).verbPush},
		{"put", "put KEY VALUE [at=d2]", "writes a key into the replicated store without any condition; what was acknowledged must never be lost, and whoever is asked after that must have it", false, (*Session).verbPut},
		{"disk", "disk NODE full|ok|slow=500ms|crash=kept|crash=torn|crash=lost|crash=chance", "what a director's disk does from now on: refuses writes, works (a store that has failed is opened again), takes long, or what becomes of the write during which the power fails", true, (*Session).verbDisk},
		{"load", "load CLIENT VIP[:PORT] [every=20ms]", "makes a client ask a VIP for an answer at a steady rate: an echo, or with a port a connection and one question each time", false, (*Session).verbLoad},
		{"run", "run 3s", "lets time pass and prints what happens", false, (*Session).verbRun},
		{"stop", "stop NODE…", "ends daemons in order, as SIGTERM does", true, each((*Session).stop)},
		{"kill", "kill NODE…", "ends daemons as SIGKILL does: the kernel keeps its addresses and answers ARP", true, each((*Session).kill)},
		{"crash", "crash HOST…", "takes the power away", true, each((*Session).crash)},
		{"start", "start HOST…", "boots a crashed host, or starts the daemon of one that runs", true, each((*Session).start)},
		{"restart", "restart NODE…", "stop and start", true, each((*Session).restart)},
		{"pause", "pause NODE [5s]", "stops a daemon between two instructions, as SIGSTOP does; the kernel goes on", true, (*Session).verbPause},
		{"resume", "resume NODE…", "lets it go on", true, each((*Session).resume)},
		{"nic", "nic HOST up|down|deaf|mute [eth0]", "plugs or pulls a cable; deaf or mute is a half-open port: carrier, but nothing arrives or nothing leaves", true, (*Session).verbNIC},
		{"cut", "cut A>B… [proto=vrrp+garp+arp+icmp] [dev=eth1] (A or B may be *)", "loses everything one way, or one kind of traffic; here and below dev= means one segment, without it all", true, (*Session).verbCut},
		{"split", "split {a b}/{c}", "divides all hosts into sides that do not reach each other", true, (*Session).verbSplit},
		{"heal", "heal", "ends cuts, splits, loss, duplication, reordering, corruption, rates and MTUs; delays stay", true, (*Session).verbHeal},
		{"recover", "recover", "heals, plugs in every cable, lets scripts succeed, resumes and starts everything that has a configuration", true, (*Session).verbRecover},
		{"loss", "loss A>B… 1/20 [proto=vrrp]", "loses frames by chance", true, (*Session).verbLoss},
		{"dup", "dup A>B… 1/20", "doubles frames by chance", true, (*Session).verbDup},
		{"reorder", "reorder A>B… 1/20", "holds single frames back by up to 10ms, so that later ones overtake them", true, (*Session).verbReorder},
		{"corrupt", "corrupt A>B… 1/20", "turns over a bit of frames by chance", true, (*Session).verbCorrupt},
		{"rate", "rate A>B… 64kbit|off [queue=100ms]", "lets a direction carry only so much: frames wait, and what would wait longer than queue is dropped", true, (*Session).verbRate},
		{"mtu", "mtu A>B… 1400|off", "drops frames with more octets behind the Ethernet header", true, (*Session).verbMTU},
		{"igmp", "igmp on [age=260s] [querier=125s] · igmp off", "lets switches send adverts only where IGMP reports have asked for them within age; a querier asks for such reports", true, (*Session).verbIGMP},
		{"cam", "cam flush · cam [size=N] [age=300s]", "empties or bounds the switches' address tables; frames to whoever is not in it are flooded", true, (*Session).verbCAM},
		{"stp", "stp 30s", "lets switches block a port that long after its link came up; 0s ends that", true, (*Session).verbSTP},
		{"addr", "addr HOST add|del 10.0.0.100[/24] [eth0]", "changes an address behind the daemon's back, or gives one to a stranger", true, (*Session).verbAddr},
		{"garp", "garp HOST 10.0.0.100 [eth0]", "announces an address from a host", true, (*Session).verbGARP},
		{"advert", "advert HOST vrid=51 prio=200 vips=(10.0.0.100) [version=2] [int=1s] [auth=PASSWORD] [ttl=255] [src=A] [count=1] [every=1s]",
			"sends adverts that no protocol machine is behind", true, (*Session).verbAdvert},
		{"delay", "delay A>B… 1ms..5ms", "delays frames; their order stays", true, (*Session).verbDelay},
		{"clock", "clock HOST 200ppm|step=1h", "lets the host's monotonic clock run fast, or with a minus slow, from now on; step sets the wall clock", true, (*Session).verbClock},
		{"script", "script NODE NAME exit=1 [flap=1s]", "sets what a vrrp_script returns from now on; with flap that and 0 in turn", true, (*Session).verbScript},
		{"track", "track NODE NAME number=7|count=0", "sets the number in a track_file, or how many processes of a vrrp_track_process run", true, (*Session).verbTrack},
		{"server", "server RS up|down|hang|refuse [port=80] [flap=2s]", "sets what a real server's program does with connections: answers, drops them, accepts them and says nothing, has ended; with flap that and up in turn", true, (*Session).verbServer},
		{"mark", "mark", "starts a new count for expect, as a fault does, without a fault", true, (*Session).verbMark},
		{"expect", "expect [vip=A] owner=d2|owners=2|owners=(d1,d2) [within=3s] · expect client=c1 [outage<=3s] [served=d2] [lost<=3] · expect server=rs1 weight=3|0|none [node=d1] [vip=A] [within=15s] · " +
			"expect event=vrrp.master|notify=MASTER [node=d2] [reason=R] [count>=1] [within=3s] · expect rejected=auth node=d1 [count>=1] · expect adverts=d1 [gap<=1s] · expect generation=2 [node=d3]",
			"fails the scenario if it does not hold; within and outage count from the last fault verb", false, (*Session).verbExpect},
		{"check", "check [live] [violated]", "judges the invariants S1, S4, S5, S6 and L1 (live: without S1) on what kernels hold and wires carry", false, (*Session).verbCheck},
		{"show", "show owners|arp|state|switch|counters|ipvs", "prints", false, (*Session).verbShow},
		{"pcap", "pcap FILE", "records every frame from now on, per network card", false, (*Session).verbPcap},
		{"trace", "trace", "prints the fingerprint of the run", false, (*Session).verbTrace},
	}
}

// Help prints the language, a verb per paragraph.
func Help() string {
	var b strings.Builder
	for _, v := range verbs() {
		fmt.Fprintf(&b, "%s\n    %s\n", v.usage, v.what)
	}
	return b.String()
}

// Exec carries out one directive and returns what it prints, lines ending in newlines. An
// error says what was expected; the caller knows the file and line.
func (s *Session) Exec(line, input string) (string, error) {
	name, args, err := words(line)
	if err != nil {
		return "", err
	}
	list := verbs()
	i := slices.IndexFunc(list, func(v verb) bool { return v.name == name })
	if i < 0 {
		if near := nearest(name, list); near != "" {
			return "", fmt.Errorf("unknown verb %q: did you mean %s?", name, near)
		}
		return "", fmt.Errorf("unknown verb %q: expected one of %s", name, verbNames(list))
	}
	v := list[i]
	if s.w == nil && name != "world" {
		return "", fmt.Errorf("%s: there is no world yet: start with %s", name, list[0].usage)
	}
	if input != "" && !v.takesInput() {
		return "", fmt.Errorf("%s: takes no input lines, but %q follows: is a line %q missing?", name, firstLine(input), rule)
	}
	if v.fault && s.w != nil {
		s.setMark()
		s.faults = append(s.faults, Fault{At: s.w.now, Text: line})
	}
	out, err := v.run(s, args, input)
	if (v.name == "expect" || v.name == "check") && (err == nil || errors.Is(err, ErrExpect)) {
		said := out
		if err != nil {
			said = strings.TrimPrefix(err.Error(), ErrExpect.Error()+": ")
		}
		s.verdicts = append(s.verdicts, Verdict{At: s.w.now, Text: line, OK: err == nil, Said: strings.TrimSuffix(said, "\n")})
	}
	if errors.Is(err, ErrExpect) {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w\nusage: %s", name, err, v.usage)
	}
	for _, p := range s.w.pcaps {
		if err := p.Flush(); err != nil {
			return "", fmt.Errorf("%s: cannot write the capture: %w", name, err)
		}
	}
	out = s.fresh() + out
	if s.w.storm != "" {
		return "", failed("%s\n%s", s.w.storm, strings.TrimSuffix(out, "\n"))
	}
	if out == "" {
		out = "ok\n"
	}
	return out, nil
}

// Fault is a directive that did something to the world.
type Fault struct {
	At   time.Duration
	Text string
}

// Faults are the directives so far that did something to the world, in order.
func (s *Session) Faults() []Fault { return s.faults }

func (v verb) takesInput() bool { return v.name == "conf" || v.name == "stage" || v.name == "push" }

func verbNames(list []verb) string {
	names := make([]string, len(list))
	for i, v := range list {
		names[i] = v.name
	}
	return strings.Join(names, " ")
}

// nearest is the verb that a slip of the pen turns into name: one letter wrong, missing, too many, or two changed places.
func nearest(name string, list []verb) string {
	for _, v := range list {
		if slip(name, v.name) {
			return v.name
		}
	}
	return ""
}

func slip(a, b string) bool {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	a, b = a[n:], b[n:]
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

func firstLine(s string) string { first, _, _ := strings.Cut(s, "\n"); return first }

// setMark starts a new count for within=, outage and advert gaps.
func (s *Session) setMark() {
	s.mark, s.marked = s.w.now, len(s.w.journal)
	s.w.disturbed = s.w.now
	for _, h := range s.w.hosts {
		for i := range h.adverts {
			h.adverts[i].maxGap = 0
		}
		for _, l := range h.loads {
			l.longest, l.lostSince, l.reasons, l.marked = 0, 0, nil, s.w.now
		}
	}
}

func (s *Session) verbMark(args []arg, _ string) (string, error) {
	if len(args) > 0 {
		return "", unexpected(args[0])
	}
	return "", nil
}

// Fresh prints what happened since the last directive, for the one that failed.
func (s *Session) Fresh() string { return s.fresh() }

// fresh prints what happened since the last directive.
func (s *Session) fresh() string {
	if s.w == nil {
		return ""
	}
	var b strings.Builder
	for _, e := range s.w.journal[s.printed:] {
		if e.Shown() {
			b.WriteString(e.String() + "\n")
		}
	}
	s.printed = len(s.w.journal)
	return b.String()
}

// each makes a verb of a function that takes one host.
func each(f func(*Session, *Host) error) func(*Session, []arg, string) (string, error) {
	return func(s *Session, args []arg, _ string) (string, error) {
		hosts, err := s.hosts(args)
		for _, h := range hosts {
			if err == nil {
				err = f(s, h)
			}
		}
		return "", err
	}
}

// hosts reads bare words as host names, at least one.
func (s *Session) hosts(args []arg) ([]*Host, error) {
	var list []*Host
	for _, a := range args {
		if a.op != "" {
			return nil, fmt.Errorf("unexpected %s%s%s: expected host names", a.key, a.op, a.val)
		}
		h, err := s.host(a.key)
		if err != nil {
			return nil, err
		}
		list = append(list, h)
	}
	if len(list) == 0 {
		return nil, errors.New("expected at least one host name")
	}
	return list, nil
}

func (s *Session) host(name string) (*Host, error) {
	if h := s.w.Host(name); h != nil {
		return h, nil
	}
	var names []string
	for _, h := range s.w.hosts {
		names = append(names, h.Name)
	}
	return nil, fmt.Errorf("no host %q: expected one of %s", name, strings.Join(names, " "))
}

func (s *Session) daemon(h *Host) error {
	switch {
	case h.server:
		return fmt.Errorf("%s is a real server and runs no daemon", h.Name)
	case !h.director:
		return fmt.Errorf("%s is a client and runs no daemon", h.Name)
	case !h.on:
		return fmt.Errorf("%s has crashed: start it first", h.Name)
	case h.proc == nil:
		return fmt.Errorf("no daemon runs on %s: start it first", h.Name)
	}
	return nil
}

func duration(what, s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s %q is no duration: expected a number with a unit, as 20ms, 1.5s or 2m", what, s)
	}
	return d, nil
}

func number(what, s string, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("%s %q: expected a number from 0 to %d", what, s, most)
	}
	return n, nil
}

func address(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%q is no IP address", s)
	}
	return a, nil
}

func unexpected(a arg) error {
	return fmt.Errorf("unexpected argument %s%s%s", a.key, a.op, a.val)
}

// paths reads A>B words, with * for everybody, up to the first that is none.
func (s *Session) paths(args []arg) ([]*wire.Path, []arg, error) {
	var list []*wire.Path
	dev := ""
	if i := slices.IndexFunc(args, func(a arg) bool { return a.key == "dev" && a.op == "=" }); i >= 0 {
		dev = args[i].val
		args = slices.Delete(slices.Clone(args), i, i+1)
		if !slices.ContainsFunc(s.w.hosts[0].nics, func(n *nic) bool { return n.name == dev }) {
			return nil, nil, fmt.Errorf("no interface %q: expected one of the world's, as %s", dev, s.w.hosts[0].nics[0].name)
		}
	}
	for len(args) > 0 {
		from, to, ok := strings.Cut(args[0].key, ">")
		if !ok || args[0].op != "" {
			break
		}
		for _, end := range []string{from, to} {
			if end != "*" {
				if _, err := s.host(end); err != nil {
					return nil, nil, err
				}
			}
		}
		for n, lan := range s.w.lans {
			if dev != "" && s.w.hosts[0].nics[n].name != dev {
				continue
			}
			for i := range lan.Ports() {
				for k := range lan.Ports() {
					if i != k && (from == "*" || from == lan.Port(i).Host) && (to == "*" || to == lan.Port(k).Host) {
						list = append(list, lan.Path(i, k))
					}
				}
			}
		}
		args = args[1:]
	}
	if len(list) == 0 {
		return nil, nil, errors.New("expected a direction such as d1>d2 or d1>*")
	}
	return list, args, nil
}
