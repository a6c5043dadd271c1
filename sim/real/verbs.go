package real

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/sim"
	"quorate/sim/wire"
)

type verb struct {
	fault bool // within= counts from here
	run   func(s *stage, args []sim.Word, input string) error
}

func verbs() map[string]verb {
	return map[string]verb{
		"world":   {true, func(s *stage, a []sim.Word, _ string) error { return s.makeWorld(a) }},
		"conf":    {true, (*stage).configure},
		"push":    {true, (*stage).push},
		"put":     {false, (*stage).put},
		"disk":    {true, (*stage).disk},
		"load":    {false, (*stage).load},
		"run":     {false, (*stage).runFor},
		"stop":    {true, each((*host).stop)},
		"kill":    {true, each((*host).kill)},
		"crash":   {true, each((*host).crash)},
		"start":   {true, each((*host).start)},
		"restart": {true, each(func(h *host) error { return errors.Join(h.stop(), h.startDaemon()) })},
		"pause":   {true, (*stage).pause},
		"resume":  {true, each((*host).resume)},
		"nic":     {true, (*stage).nic},
		"cut":     {true, (*stage).cut},
		"split":   {true, (*stage).split},
		"heal":    {true, (*stage).heal},
		"recover": {true, (*stage).recover},
		"loss":    {true, chance(func(p *wire.Path, r wire.Ratio, c wire.Class) { p.Loss, p.LossOnly = r, c })},
		"dup":     {true, chance(func(p *wire.Path, r wire.Ratio, _ wire.Class) { p.Dup = r })},
		"reorder": {true, chance(func(p *wire.Path, r wire.Ratio, _ wire.Class) { p.Reorder = r })},
		"corrupt": {true, chance(func(p *wire.Path, r wire.Ratio, _ wire.Class) { p.Corrupt = r })},
		"delay":   {true, (*stage).delay},
		"rate":    {true, shape(sim.SetRate)},
		"mtu":     {true, shape(sim.SetMTU)},
		"igmp":    {true, (*stage).igmp},
		"cam":     {true, (*stage).cam},
		"stp":     {true, (*stage).spanning},
		"clock":   {true, (*stage).clock},
		"addr":    {true, (*stage).addr},
		"garp":    {true, (*stage).garp},
		"advert":  {true, (*stage).advert},
		"script":  {true, (*stage).script},
		"track":   {true, (*stage).track},
		"server":  {true, (*stage).serverVerb},
		"mark":    {true, func(*stage, []sim.Word, string) error { return nil }},
		"expect":  {false, (*stage).expect},
		"check":   {false, (*stage).check},
		"show":    {false, func(*stage, []sim.Word, string) error { return nil }},
		"trace":   {false, func(*stage, []sim.Word, string) error { return nil }},
		"pcap":    {false, func(*stage, []sim.Word, string) error { return nil }}, // Player.Record has it all
	}
}

// each makes a verb of a function of one host, for several at the same time.
func each(f func(*host) error) func(*stage, []sim.Word, string) error {
	return func(s *stage, args []sim.Word, _ string) error {
		var todo []func() error
		for _, a := range args {
			h, err := s.host(a.Key)
			if err != nil {
				return err
			}
			todo = append(todo, func() error { return f(h) })
		}
		return atOnce(todo)
	}
}

func (s *stage) runFor(args []sim.Word, _ string) error {
	d, err := time.ParseDuration(args[0].Key)
	if err != nil {
		return err
	}
	if s.from < 0 {
		s.from = s.fabric.now()
	}
	s.from += d
	for {
		left := s.from - s.fabric.now()
		if left <= 0 {
			return nil
		}
		if err := s.gone(); err != nil {
			return err
		}
		s.judge()
		s.sample()
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(min(left, 10*time.Millisecond)):
		}
	}
}

func (s *stage) recover(args []sim.Word, input string) error {
	if err := s.heal(args, input); err != nil {
		return err
	}
	for _, h := range s.hosts {
		for _, file := range slices.Concat(slices.Collect(maps.Values(h.scripts)), slices.Collect(maps.Values(h.files))) {
			if err := h.Write(file, []byte("0\n"), 0o644); err != nil {
				return err
			}
		}
		for port, p := range h.ports {
			p.gen++
			if err := h.serve(port, "up"); err != nil {
				return err
			}
		}
		for _, c := range h.cards {
			s.half(h, c, false, false)
			if err := h.cable(c, true); err != nil {
				return err
			}
		}
		if h.paused {
			if err := h.resume(); err != nil {
				return err
			}
		}
		if !h.on || h.director && h.daemon == nil && (h.conf != nil || h.member) {
			if err := h.start(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stage) pause(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	if err := h.Kill(unix.SIGSTOP); err != nil {
		return err
	}
	s.set(func() { h.paused = true })
	h.condition("paused")
	if len(args) > 1 {
		d, err := time.ParseDuration(args[1].Key)
		if err != nil {
			return err
		}
		time.AfterFunc(d, func() { _ = h.resume() }) // what it may fail with shows in the next expectation
	}
	return nil
}

func (h *host) resume() error {
	h.s.set(func() { h.paused = false })
	h.condition("")
	return h.Kill(unix.SIGCONT)
}

func (s *stage) nic(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	c, err := h.card(args[2:])
	if err != nil {
		return err
	}
	s.half(h, c, args[1].Key == "deaf", args[1].Key == "mute")
	return h.cable(c, args[1].Key != "down")
}

// half makes a port half open, or whole.
func (s *stage) half(h *host, c *card, deaf, mute bool) {
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	s.fabric.lans[c.lan].SetHalf(h.index, deaf, mute)
}

func (s *stage) spanning(args []sim.Word, _ string) (err error) {
	s.stp, err = time.ParseDuration(args[0].Key)
	return err
}

// cable pulls or plugs the cable of a card; with stp its port is blocked for a while afterwards.
func (h *host) cable(c *card, up bool) error {
	if c.up == up {
		return nil
	}
	h.s.set(func() { c.up = up })
	what := "link down"
	if len(h.cards) > 1 {
		what = c.name + " down"
	}
	if up {
		what = ""
	}
	h.condition(what)
	if !h.on {
		return nil
	}
	return h.carrier(c, up)
}

func (h *host) carrier(c *card, up bool) error {
	f := h.s.fabric
	lan := f.lans[c.lan]
	blocked := up && h.s.stp > 0
	if c.open != nil {
		c.open.Stop()
	}
	f.mu.Lock()
	lan.SetBlocked(h.index, blocked)
	f.mu.Unlock()
	if blocked {
		c.forwards = time.Now().Add(h.s.stp)
		c.open = time.AfterFunc(h.s.stp, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			lan.SetBlocked(h.index, false)
		})
	}
	return f.carrier(c.lan, h.index, up)
}

// blockLonger has ports that are blocked go on so for what is not the scenario's time.
func (h *host) blockLonger(d time.Duration) {
	for _, c := range h.cards {
		if c.open != nil && c.open.Stop() {
			c.forwards = c.forwards.Add(d)
			c.open.Reset(time.Until(c.forwards))
		}
	}
}

// script sets what a vrrp_script returns: its program is one that reads a file.
func (s *stage) script(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	file, ok := h.scripts[args[1].Key]
	if !ok {
		return fmt.Errorf("%s has no vrrp_script %s", h.name, args[1].Key)
	}
	exit, flap := args[2].Value, time.Duration(0)
	for _, a := range args[3:] {
		if flap, err = time.ParseDuration(a.Value); err != nil {
			return err
		}
	}
	var gen int
	s.set(func() { s.watch.flaps++; gen = s.watch.flaps })
	if err := h.Write(file, []byte(exit+"\n"), 0o644); err != nil || flap == 0 {
		return err
	}
	bad := false
	var turn func()
	turn = func() {
		s.watch.Lock()
		old := s.watch.flaps != gen
		s.watch.Unlock()
		if old || s.ctx.Err() != nil {
			return
		}
		text := exit
		if !bad {
			text = "0"
		}
		bad = !bad
		_ = h.Write(file, []byte(text+"\n"), 0o644) // shows in the next expectation
		time.AfterFunc(flap, turn)
	}
	time.AfterFunc(flap, turn)
	return nil
}

// scriptLine finds the program of a vrrp_script block.
var scriptLine = regexp.MustCompile(`(?s)(vrrp_script\s+(\S+)\s*\{[^}]*?\bscript\s+)("[^"]*"|\S+)`)

// guestInterval is the shortest advert interval that a guest keeps, see package sim/uml.
const guestInterval = 50 * time.Millisecond

// configure writes a director's file and starts or reloads its daemon.
func (s *stage) configure(args []sim.Word, input string) error {
	var todo []func() error
	for _, a := range args {
		h, err := s.host(a.Key)
		if err != nil {
			return err
		}
		if h.member {
			return skip{"conf " + h.name + ": a member of a cluster takes its configuration from pushes"}
		}
		c, err := parseConf(h.name, input)
		if err != nil {
			return err
		}
		for _, i := range c.Instances {
			if s.p.Backend == "uml" && i.AdvertInt.V < guestInterval {
				return skip{fmt.Sprintf("advert_int %v: a guest has one slow processor, at least %v are asked of it", i.AdvertInt.V, guestInterval)}
			}
		}
		if err := s.readyServers(c); err != nil {
			return err
		}
		s.set(func() {
			h.conf = c
			s.addVIPs(c)
			s.watch.look(s)
		})
		h.text = scriptLine.ReplaceAllStringFunc(input, func(m string) string {
			parts := scriptLine.FindStringSubmatch(m)
			path, err2 := h.makeScript(parts[2])
			err = errors.Join(err, err2)
			return parts[1] + `"` + path + `"`
		})
		if err != nil {
			return err
		}
		if h.text, err = h.ownFiles(h.text); err != nil {
			return err
		}
		if err := h.Write(h.confPath(), []byte(h.text+"\n"), 0o644); err != nil {
			return err
		}
		todo = append(todo, func() error {
			switch {
			case h.daemon != nil:
				return h.reload()
			case h.on && !h.ran:
				return h.startDaemon()
			}
			return nil
		})
	}
	return atOnce(todo)
}

// atOnce does several things at the same time.
func atOnce(todo []func() error) error {
	errs := make([]error, len(todo))
	var wg sync.WaitGroup
	for i, f := range todo {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// addVIPs has the watcher look at a configuration's VIPs; the lock is held.
func (s *stage) addVIPs(c *config.Config) {
	for _, i := range c.Instances {
		for _, v := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
			if !slices.Contains(s.vips, v.Prefix.Addr()) {
				s.vips = append(s.vips, v.Prefix.Addr())
			}
		}
	}
}

func (h *host) confPath() string { return filepath.Join(h.s.p.Dir, h.name+".conf") }

// makeScript writes a program that ends with what a file says.
func (h *host) makeScript(name string) (string, error) {
	state := filepath.Join(h.s.p.Dir, h.name+"-"+name+".exit")
	path := filepath.Join(h.s.p.Dir, h.name+"-"+name+".sh")
	if _, known := h.scripts[name]; known {
		return path, nil
	}
	h.scripts[name] = state
	return path, errors.Join(h.Write(state, []byte("0\n"), 0o644),
		h.Write(path, []byte("#!/bin/sh\nread code <"+state+"\nexit $code\n"), 0o755))
}
