package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/sim/wire"
)

// generation is a configuration that a push has committed, rendered for every member.
type generation struct {
	number  int64
	members []*Host
	confs   []*config.Config // of members
}

// Times of the model of a push. A cluster on one segment stages and activates within this; what
// matters to VRRP is only that members do so at different moments.
const (
	stageWithin    = 50 * time.Millisecond
	activateWithin = 200 * time.Millisecond
	catchUpEvery   = 500 * time.Millisecond
)

// verbStage tells running directors of a configuration that is about to come.
func (s *Session) verbStage(args []arg, input string) (string, error) {
	hosts, confs, err := s.rendered(args, input)
	if err != nil {
		return "", err
	}
	for i, h := range hosts {
		h.feed(node.Stage{Config: confs[i]})
	}
	return "", nil
}

// verbPush models what "clusterctl push" promises; consensus itself is not simulated. With a majority of
// the members in reach of one of them the configuration becomes the next generation: those in reach
// stage it, then each activates it at a moment of its own; others follow when they run and reach one
// that has it. Without a majority nothing happens.
func (s *Session) verbPush(args []arg, input string) (string, error) {
	spread := activateWithin
	if i := slices.IndexFunc(args, func(a arg) bool { return a.key == "spread" && a.op == "=" }); i >= 0 {
		d, err := duration("spread", args[i].val)
		if err != nil {
			return "", err
		}
		spread, args = d, slices.Delete(slices.Clone(args), i, i+1)
	}
	if len(args) == 0 {
		for _, h := range s.w.hosts {
			if h.director {
				args = append(args, arg{key: h.Name})
			}
		}
	}
	hosts, confs, err := s.rendered(args, input)
	if err != nil {
		return "", err
	}
	for _, lead := range hosts {
		if !lead.member() {
			continue
		}
		near := slices.DeleteFunc(slices.Clone(hosts), func(h *Host) bool { return h != lead && (!h.member() || !linked(lead, h)) })
		if 2*len(near) > len(hosts) {
			return s.w.commit(lead, near, generation{int64(len(s.w.pushed)) + 1, hosts, confs}, spread), nil
		}
	}
	s.refused++
	return fmt.Sprintf("refused: no %d of %d members reach each other\n", len(hosts)/2+1, len(hosts)), nil
}

// rendered reads a configuration for several directors.
func (s *Session) rendered(args []arg, input string) ([]*Host, []*config.Config, error) {
	hosts, err := s.hosts(args)
	if err != nil {
		return nil, nil, err
	}
	confs := make([]*config.Config, len(hosts))
	for i, h := range hosts {
		if !h.director {
			return nil, nil, fmt.Errorf("%s is a client: expected nodes", h.Name)
		}
		if confs[i], err = s.readConf(h.Name, input); err != nil {
			return nil, nil, err
		}
	}
	return hosts, confs, nil
}

// ConfError says what is wrong in the configuration that a directive has as input. Lines count from
// the first line of the input.
type ConfError struct {
	Node        string
	Diagnostics []config.Diagnostic // errors only, at least one
}

func (e *ConfError) Error() string {
	var all []string
	for _, d := range e.Diagnostics {
		text := fmt.Sprintf("line %d of it, column %d: %s: %s", d.Line, d.Column, d.Keyword, d.Message)
		if d.Hint != "" {
			text += " (" + d.Hint + ")"
		}
		all = append(all, text)
	}
	return fmt.Sprintf("%s is not valid on %s: %s", ConfName, e.Node, strings.Join(all, "; "))
}

// ConfName is what a scenario's configuration is called in diagnostics.
const ConfName = "keepalived.conf"

// overlay is a configuration that a directive carries and the files it may include.
type overlay struct {
	config.Source
	text string
}

func (o overlay) ReadFile(path string) ([]byte, error) {
	if path == ConfName {
		return []byte(o.text), nil
	}
	return o.Source.ReadFile(path)
}

func (s *Session) readConf(node, input string) (*config.Config, error) {
	includes := s.Includes
	if includes == nil {
		includes = config.Files{}
	}
	c, diags := config.Parse(ConfName, overlay{includes, input}, config.Options{ConfigID: node})
	bad := &ConfError{Node: node}
	for _, d := range diags {
		if d.Severity == config.Error {
			bad.Diagnostics = append(bad.Diagnostics, d)
		}
	}
	switch {
	case len(bad.Diagnostics) > 0:
		return nil, bad
	case len(c.Instances) == 0:
		return nil, fmt.Errorf("%s has no vrrp_instance for %s: nothing to simulate", ConfName, node)
	}
	for _, i := range c.Instances {
		if i.UseVMAC != nil {
			return nil, &ConfError{Node: node, Diagnostics: []config.Diagnostic{{Severity: config.Error, Pos: i.UseVMAC.Pos,
				Keyword: "use_vmac", Message: "the simulator has no virtual Ethernet addresses; elections are the same without them"}}}
		}
		if k := slices.IndexFunc(addresses(i), func(a config.Address) bool { return a.Prefix.Addr().Is6() }); k >= 0 && s.w != nil && len(s.w.opt.Nets6) == 0 {
			a := addresses(i)[k]
			return nil, &ConfError{Node: node, Diagnostics: []config.Diagnostic{{Severity: config.Error, Pos: a.Pos,
				Keyword: "virtual_ipaddress", Message: fmt.Sprintf("%v: this world has no IPv6", a.Prefix), Hint: "add nets6=(2001:db8::/64) to the directive world"}}}
		}
	}
	for _, v := range c.VirtualServers {
		if v.Addr.V.Is6() {
			return nil, &ConfError{Node: node, Diagnostics: []config.Diagnostic{{Severity: config.Error, Pos: v.Addr.Pos,
				Keyword: "virtual_server", Message: fmt.Sprintf("%v: the simulator balances IPv4 only", v.Addr.V)}}}
		}
	}
	return c, nil
}

// addresses are all VIPs of an instance.
func addresses(i *config.Instance) []config.Address { return slices.Concat(i.VIPs, i.ExcludedVIPs) }

// works reports whether a director's daemon runs.
func (h *Host) works() bool { return h.on && h.proc != nil && !h.proc.paused }

// member reports whether a push reaches a director: it works, or waits for its first configuration.
func (h *Host) member() bool { return h.works() || h.on && !h.ran }

// linked reports whether two hosts exchange everything on some segment.
func linked(a, b *Host) bool {
	return slices.ContainsFunc(a.nics, func(n *nic) bool {
		m := b.nics[n.index()]
		return n.lan.Reaches(n.port, m.port, wire.Everything) && n.lan.Reaches(m.port, n.port, wire.Everything)
	})
}

// commit makes g the newest generation.
func (w *World) commit(lead *Host, near []*Host, g generation, spread time.Duration) string {
	w.pushed = append(w.pushed, g)
	when := wire.NewStream(w.opt.Seed, fmt.Sprintf("push/%d", g.number))
	var names []string
	for _, h := range near {
		names = append(names, h.Name)
		conf := g.confs[slices.Index(g.members, h)]
		w.after(when.Between(wire.Range{Max: stageWithin}), func() {
			if h.works() {
				h.feed(node.Stage{Config: conf})
			}
		})
	}
	for _, h := range near {
		w.after(stageWithin+when.Between(wire.Range{Max: spread}), func() { w.activate(h, g) })
	}
	w.after(stageWithin+spread+catchUpEvery, func() { w.catchUp(g) })
	return fmt.Sprintf("generation %d: committed by %s, staged on %s\n", g.number, lead.Name, strings.Join(names, " "))
}

// activate is the moment at which a director switches.
func (w *World) activate(h *Host, g generation) {
	if !h.member() || h.generation >= g.number {
		return
	}
	h.conf, h.generation = g.confs[slices.Index(g.members, h)], g.number
	w.judge.learn()
	if h.proc == nil {
		h.start()
	} else {
		h.reload()
	}
}

// catchUp gives a generation to members that missed it, again and again until all have it.
func (w *World) catchUp(g generation) {
	left := false
	for _, h := range g.members {
		if h.generation >= g.number {
			continue
		}
		left = true
		if h.member() && slices.ContainsFunc(g.members, func(k *Host) bool {
			return k != h && k.works() && k.generation >= g.number && linked(h, k)
		}) {
			w.activate(h, g)
		}
	}
	if left {
		w.after(catchUpEvery, func() { w.catchUp(g) })
	}
}

// expectGeneration: expect generation=2 [node=d3]: that director, or every one that works, runs it.
func expectGeneration(q *query, a arg) (string, error) {
	want, err := number("generation", a.val, 1<<40)
	if err != nil {
		return "", err
	}
	one, err := q.node()
	if err != nil {
		return "", err
	}
	var names []string
	for _, h := range q.s.w.hosts {
		if !h.director || !h.works() || one != nil && h != one {
			continue
		}
		m, ok := h.proc.m.(interface{ Generation() int64 })
		if !ok {
			return "", errors.New("this machine does not tell its generation")
		}
		if m.Generation() != int64(want) {
			return "", failed("%s runs generation %d, not %d", h.Name, m.Generation(), want)
		}
		names = append(names, h.Name)
	}
	if len(names) == 0 {
		return "", failed("nobody runs")
	}
	return fmt.Sprintf("ok: generation %d on %s", want, strings.Join(names, " ")), nil
}
