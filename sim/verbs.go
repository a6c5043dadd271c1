package sim

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/sim/wire"
)

func (s *Session) verbWorld(args []arg, _ string) (string, error) {
	if s.w != nil {
		return "", errors.New("there is a world already: one per scenario")
	}
	opt := Options{NewMachine: s.NewMachine, Programs: map[string]string{}}
	for _, a := range args {
		var err error
		var n uint64
		switch a.key {
		case "nodes":
			opt.Nodes = a.list()
		case "client", "clients":
			opt.Clients = a.list()
		case "real":
			opt.Real = a.list()
		case "delay":
			opt.Delay, err = wire.ParseRange(a.val)
		case "seed":
			opt.Seed, err = number("seed", a.val, 1<<63)
		case "lans":
			n, err = number("lans", a.val, maxLANs)
			opt.LANs = int(n)
		case "net":
			if opt.Net, err = netip.ParsePrefix(a.val); err != nil {
				err = fmt.Errorf("net %q: expected a /24, as 10.0.0.0/24", a.val)
			}
		case "ifaces":
			opt.Ifaces = a.list()
		case "nets", "nets6":
			for _, text := range a.list() {
				net, err := netip.ParsePrefix(text)
				switch {
				case err != nil:
					return "", fmt.Errorf("%s %q: expected a network, as 10.0.0.0/24 or 2001:db8::/64", a.key, text)
				case a.key == "nets":
					opt.Nets = append(opt.Nets, net)
				default:
					opt.Nets6 = append(opt.Nets6, net)
				}
			}
		case "first":
			n, err = number("first", a.val, maxNodes)
			opt.First = int(n)
		case Keepalived, FRR:
			for _, name := range a.list() {
				if _, twice := opt.Programs[name]; twice {
					return "", fmt.Errorf("%s runs two programs", name)
				}
				opt.Programs[name] = a.key
			}
		case "shuffle":
			opt.Shuffle = true
		default:
			err = unexpected(a)
		}
		if err != nil {
			return "", err
		}
	}
	if s.Seed != nil {
		opt.Seed = *s.Seed
	}
	maps.Copy(opt.Programs, s.Programs)
	w, err := New(opt)
	if err != nil {
		return "", err
	}
	s.w = w
	if s.wantFrames {
		w.Watch(s.sawFrame)
	}
	if s.Record != nil {
		p, err := wire.NewPcap(s.Record, w.Cards())
		if err != nil {
			return "", err
		}
		w.Capture(p)
	}
	return "", nil
}

func (s *Session) verbConf(args []arg, input string) (string, error) {
	hosts, confs, err := s.rendered(args, input)
	if err != nil {
		return "", err
	}
	for i, h := range hosts {
		h.conf = confs[i]
	}
	s.w.judge.learn()
	for _, h := range hosts {
		switch {
		case h.proc != nil:
			h.reload()
		case h.on && !h.ran:
			h.start()
		}
	}
	return "", nil
}

func (s *Session) verbLoad(args []arg, _ string) (string, error) {
	if len(args) < 2 {
		return "", errors.New("expected a client and a VIP")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	if h.director || h.server {
		return "", fmt.Errorf("%s is a %s: expected a client", h.Name, map[bool]string{true: "real server", false: "director"}[h.server])
	}
	host, portText, withPort := args[1].key, "", false
	if at := strings.LastIndexByte(host, ':'); at >= 0 && strings.Count(host, ":") == 1 { // an IPv6 address is asked by ping only
		host, portText, withPort = host[:at], host[at+1:], true
	}
	vip, err := address(host)
	if err != nil {
		return "", err
	}
	var port uint64
	if withPort {
		if port, err = number("port", portText, 65535); err != nil || port == 0 {
			return "", fmt.Errorf("%q: expected a port from 1 to 65535 behind the address", args[1].key)
		}
	}
	every := 20 * time.Millisecond
	for _, a := range args[2:] {
		if a.key != "every" || a.op != "=" {
			return "", unexpected(a)
		}
		if every, err = duration("every", a.val); err != nil {
			return "", err
		}
		if every < time.Millisecond {
			return "", fmt.Errorf("every %v: at least 1ms", every)
		}
	}
	if slices.ContainsFunc(h.loads, func(l *load) bool { return l.vip == vip && l.port == uint16(port) }) {
		return "", fmt.Errorf("%s asks %v already", h.Name, vip)
	}
	h.startLoad(vip, uint16(port), every)
	return "", nil
}

func (s *Session) verbRun(args []arg, _ string) (string, error) {
	if len(args) != 1 || args[0].op != "" {
		return "", errors.New("expected how long")
	}
	d, err := duration("time", args[0].key)
	if err != nil {
		return "", err
	}
	s.w.Run(s.w.now + d)
	return "", nil
}

func (s *Session) stop(h *Host) error {
	if err := s.daemon(h); err != nil {
		return err
	}
	if h.proc.paused {
		return fmt.Errorf("%s is paused and would not see SIGTERM: resume or kill it", h.Name)
	}
	h.stop()
	return nil
}

func (s *Session) kill(h *Host) error {
	if err := s.daemon(h); err != nil {
		return err
	}
	h.kill()
	return nil
}

func (s *Session) crash(h *Host) error {
	if !h.on {
		return fmt.Errorf("%s has crashed already", h.Name)
	}
	h.crash()
	return nil
}

func (s *Session) start(h *Host) error {
	if h.on && (h.proc != nil || !h.director) {
		return fmt.Errorf("%s runs already", h.Name)
	}
	if !h.on {
		h.boot()
		s.w.judge.look()
	}
	if !h.director {
		return nil
	}
	if h.conf == nil && h.disk != nil {
		h.openStore() // which brings it one
		return nil
	}
	if h.conf == nil {
		return fmt.Errorf("%s has no configuration: give it one with conf", h.Name)
	}
	h.start()
	return nil
}

func (s *Session) restart(h *Host) error {
	if err := s.stop(h); err != nil {
		return err
	}
	h.start()
	return nil
}

func (s *Session) verbPause(args []arg, _ string) (string, error) {
	if len(args) == 0 || len(args) > 2 {
		return "", errors.New("expected a node and perhaps how long")
	}
	h, err := s.host(args[0].key)
	if err == nil {
		err = s.daemon(h)
	}
	if err != nil {
		return "", err
	}
	if h.proc.paused {
		return "", fmt.Errorf("%s is paused already", h.Name)
	}
	if len(args) == 2 {
		d, err := duration("time", args[1].key)
		if err != nil {
			return "", err
		}
		p := h.proc
		s.w.after(d, func() {
			if h.proc == p && p.paused {
				h.resume()
			}
		})
	}
	h.pause()
	return "", nil
}

func (s *Session) resume(h *Host) error {
	if err := s.daemon(h); err != nil {
		return err
	}
	if !h.proc.paused {
		return fmt.Errorf("%s is not paused", h.Name)
	}
	h.resume()
	return nil
}

func (s *Session) verbNIC(args []arg, _ string) (string, error) {
	if len(args) < 2 || len(args) > 3 {
		return "", errors.New("expected a host, up, down, deaf or mute, and perhaps an interface")
	}
	deaf, mute, half := halves(args[1].key)
	if !half && args[1].key != "up" && args[1].key != "down" {
		return "", fmt.Errorf("nic %q: expected up, down, deaf or mute", args[1].key)
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	name := "eth0"
	if len(args) == 3 {
		name = args[2].key
	}
	n := h.nic(name)
	if n == nil {
		return "", fmt.Errorf("%s has no interface %q", h.Name, name)
	}
	h.setHalf(n, deaf, mute)
	h.setNIC(n, args[1].key != "down")
	return "", nil
}

func (s *Session) verbSplit(args []arg, _ string) (string, error) {
	var all string
	for _, a := range args {
		if a.op != "" {
			return "", unexpected(a)
		}
		all += a.key
	}
	side := make([]int, len(s.w.hosts))
	for i := range side {
		side[i] = -1
	}
	groups := strings.Split(all, "/")
	if len(groups) < 2 {
		return "", fmt.Errorf("expected at least two sides, got %q", all)
	}
	for n, g := range groups {
		if !strings.HasPrefix(g, "{") || !strings.HasSuffix(g, "}") {
			return "", fmt.Errorf("side %q is not in curly brackets", g)
		}
		for _, name := range splitList(g[1 : len(g)-1]) {
			h, err := s.host(name)
			if err != nil {
				return "", err
			}
			i := slices.Index(s.w.hosts, h)
			if side[i] >= 0 {
				return "", fmt.Errorf("%s is on two sides", name)
			}
			side[i] = n
		}
	}
	if i := slices.Index(side, -1); i >= 0 {
		return "", fmt.Errorf("%s is on no side: every host must be named, clients too", s.w.hosts[i].Name)
	}
	for _, lan := range s.w.lans {
		lan.Split(side)
	}
	s.w.judge.look()
	return "", nil
}

func (s *Session) verbHeal(args []arg, _ string) (string, error) {
	if len(args) > 0 {
		return "", unexpected(args[0])
	}
	for _, lan := range s.w.lans {
		lan.Heal()
	}
	s.w.judge.look()
	return "", nil
}

func (s *Session) verbRecover(args []arg, input string) (string, error) {
	if _, err := s.verbHeal(args, input); err != nil {
		return "", err
	}
	for _, h := range s.w.hosts {
		h.scripts, h.tracked, h.ports = nil, nil, nil
		h.serverLife()
		if h.proc != nil {
			for _, ev := range h.trackerNews() {
				h.feed(ev)
			}
		}
		for _, n := range h.nics {
			h.setHalf(n, false, false)
			h.setNIC(n, true)
		}
		if h.proc != nil && h.proc.paused {
			h.resume()
		}
		if !h.on || h.proc == nil && h.conf != nil {
			if err := s.start(h); err != nil {
				return "", err
			}
		}
	}
	for _, h := range s.w.members {
		h.repair()
	}
	return "", nil
}

func (s *Session) verbDup(args []arg, _ string) (string, error) {
	return s.chance(args, func(p *wire.Path, r wire.Ratio) { p.Dup = r })
}

func (s *Session) verbReorder(args []arg, _ string) (string, error) {
	return s.chance(args, func(p *wire.Path, r wire.Ratio) { p.Reorder = r })
}

func (s *Session) chance(args []arg, set func(*wire.Path, wire.Ratio)) (string, error) {
	paths, rest, err := s.paths(args)
	if err != nil {
		return "", err
	}
	if len(rest) != 1 {
		return "", errors.New("expected a probability as the last word, as 1/20")
	}
	r, err := wire.ParseRatio(rest[0].key)
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		set(p, r)
	}
	s.w.judge.look()
	return "", nil
}

func (s *Session) verbDelay(args []arg, _ string) (string, error) {
	paths, rest, err := s.paths(args)
	if err != nil {
		return "", err
	}
	if len(rest) != 1 {
		return "", errors.New("expected a delay as the last word, as 1ms..5ms")
	}
	r, err := wire.ParseRange(rest[0].key)
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		p.Delay = r
	}
	return "", nil
}

// maxDrift is far beyond any quartz (some 100 ppm) and any NTP slew (500 ppm).
const maxDrift = 100_000

// partsPerMillion reads 200ppm.
func partsPerMillion(a arg) (int64, error) {
	text, ok := strings.CutSuffix(a.key, "ppm")
	ppm, err := strconv.ParseInt(text, 10, 64)
	if !ok || a.op != "" || err != nil || ppm < -maxDrift || ppm > maxDrift {
		return 0, fmt.Errorf("drift %q: expected parts per million from -%d to %d, as 200ppm or -50ppm", a.key+a.op+a.val, maxDrift, maxDrift)
	}
	return ppm, nil
}
