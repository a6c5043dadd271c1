package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"quorate/cluster"
	"quorate/cluster/replica"
	"quorate/config"
	"quorate/node"
	"quorate/sim/wire"
)

// Times of what is not simulated: asking every director whether its host can run a configuration, which is when it stages it, and writing a
// generation to the files that the workers read. What matters to VRRP is that members do so at different moments.
const (
	stageWithin    = 50 * time.Millisecond
	activateWithin = 200 * time.Millisecond
	askBudget      = 5 * time.Second // api's, for a director that does not answer
)

// pushTries is how many directors an operator tries with one push, pushPause how long he waits between them.
const (
	pushTries = 4
	pushPause = time.Second
	maxRaces  = 5 // as api's
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

// verbPush is "clusterctl push": the directors in reach stage the configuration, then it is committed through the replicated store, and each member
// activates it at a moment of its own once it has been applied there. What becomes of it is told in the time line.
func (s *Session) verbPush(args []arg, input string) (string, error) {
	p := &push{w: s.w, spread: activateWithin}
	var at *Host
	for _, a := range args {
		var err error
		switch {
		case a.key == "spread" && a.op == "=":
			p.spread, err = duration("spread", a.val)
		case a.key == "at" && a.op == "=":
			at, err = s.host(a.val)
		default:
			err = unexpected(a)
		}
		if err != nil {
			return "", err
		}
	}
	s.w.form()
	s.w.includes = s.Includes
	if len(s.w.members) == 0 {
		return "", errors.New("no director here has a store: keepalived and FRR have none")
	}
	for _, h := range s.w.members {
		if _, err := s.readConf(h.Name, input); err != nil {
			return "", err
		}
	}
	if at != nil && at.disk == nil {
		return "", fmt.Errorf("%s is no member of the cluster", at.Name)
	}
	s.w.pushes++
	p.gen = cluster.Generation{ID: fmt.Sprintf("push-%d", s.w.pushes), Author: "operator", Time: time.Unix(0, 0).UTC(), Main: ConfName, Files: map[string]string{ConfName: input}}
	if s.w.spread == nil {
		s.w.spread = map[string]time.Duration{}
	}
	s.w.spread[p.gen.ID] = p.spread
	s.w.after(0, func() { p.begin(at) })
	return "", nil
}

// push is one on its way, as package api does it.
type push struct {
	w      *World
	gen    cluster.Generation
	spread time.Duration
	m      *storeMember // whom the operator talks to
	base   cluster.KV
	tries  int
	races  int
	unsure bool // a transaction may have been committed
}

// begin talks to a director: the one named, or the first that reaches a majority, or the first.
func (p *push) begin(at *Host) {
	p.m = nil
	if at != nil {
		p.m = at.store
	} else {
		for _, h := range p.w.members {
			if h.store != nil && !h.store.paused() && (p.m == nil || !p.m.electing() && h.store.electing()) {
				p.m = h.store
			}
		}
	}
	if p.tries++; p.m == nil {
		p.again("no director answers")
		return
	}
	p.watch(p.m)
	p.read()
}

// watch notices that the director or its store is gone, whose answer then never comes.
func (p *push) watch(m *storeMember) {
	p.w.after(pushPause, func() {
		switch {
		case p.m != m:
		case m.h.store != m:
			p.again(m.h.Name + " does not answer any more")
		default:
			p.watch(m)
		}
	})
}

// end tells what became of the push.
func (p *push) end(format string, args ...any) {
	host := ""
	if p.m != nil {
		host = p.m.h.Name
	}
	p.m = nil
	p.w.note(host, EventStore, p.gen.ID+": "+fmt.Sprintf(format, args...))
}

// again tries another director, with the same id.
func (p *push) again(why string) {
	if p.tries < pushTries {
		p.m = nil
		p.w.after(pushPause, func() { p.begin(nil) })
		return
	}
	p.w.refused++
	if p.unsure {
		p.end("not confirmed: %s", why)
		return
	}
	p.end("refused, nothing was changed: %s", why)
}

// read learns which generation is active, with a majority's word.
func (p *push) read() {
	m := p.m
	m.ask(func(id cluster.RequestID) replica.Event { return replica.Read{ID: id} }, func(a replica.Answer) {
		if p.m != m {
			return
		}
		if a.Err != nil {
			if errors.Is(a.Err, cluster.ErrNoQuorum) && !p.unsure {
				p.tries = pushTries // clusterctl says so at once
			}
			p.again(a.Err.Error())
			return
		}
		p.base, _ = m.rep.KV().Get(cluster.KeyActive)
		active, err := cluster.DecodePointer(p.base.Value)
		if err != nil {
			p.end("refused: %v", err)
			return
		}
		if own, ok := cluster.FindPush(func(n int64) (cluster.Generation, bool) { return m.generation(n) }, active, p.gen.ID); ok {
			p.w.found++
			p.committed(own.Number)
			return
		}
		if active.Number > 0 && active.Hash == p.gen.ComputeHash() {
			p.end("unchanged: generation %d has these files", active.Number)
			return
		}
		p.stage()
	})
}

// stage has the members in reach accept the adverts of what is about to come.
func (p *push) stage() {
	m, when := p.m, wire.NewStream(p.w.opt.Seed, "stage/"+p.gen.ID)
	all, refuses := stageWithin, ""
	for _, h := range p.w.members {
		took := when.Between(wire.Range{Max: stageWithin})
		if h != m.h && (!h.on || h.store != nil && h.store.paused() || !linked(m.h, h)) {
			all = askBudget
			continue
		}
		if h.disk.full && h.works() {
			refuses = h.Name
		}
		conf := p.w.render(h, p.gen)
		p.w.after(took, func() {
			if h.works() && conf != nil {
				h.feed(node.Stage{Config: conf})
			}
		})
	}
	p.w.after(all, func() {
		switch {
		case p.m != m || m.h.store != m:
		case refuses != "":
			p.w.refused++
			p.end("refused, nothing was changed: %s cannot save a configuration: its disk is full", refuses)
		default:
			p.commit()
		}
	})
}

func (p *push) commit() {
	m, g := p.m, p.gen
	if err := g.Prepare(p.base); err != nil {
		p.end("refused: %v", err)
		return
	}
	p.unsure = true
	m.txn(cluster.PushTxn(p.base, g), func(a replica.Answer) {
		switch {
		case p.m != m:
			return
		case a.Err != nil:
			p.again(a.Err.Error())
		case a.Result.Succeeded:
			p.committed(g.Number)
		default:
			p.unsure = false
			if p.races++; p.races == maxRaces {
				p.end("refused: %d other pushes were faster", maxRaces)
				return
			}
			p.read()
		}
	})
}

func (p *push) committed(n int64) {
	p.w.judge.acknowledged(p.m, cluster.GenerationKey(n), p.gen.ID)
	p.end("generation %d committed", n)
}

// generation reads generation n from what is applied here.
func (m *storeMember) generation(n int64) (cluster.Generation, bool) {
	kv, ok := m.rep.KV().Get(cluster.GenerationKey(n))
	if !ok {
		return cluster.Generation{}, false
	}
	g, err := cluster.DecodeGeneration(kv.Value)
	return g, err == nil
}

// applied follows the active generation, as a director's cluster worker does.
func (m *storeMember) applied() {
	kv, _ := m.rep.KV().Get(cluster.KeyActive)
	active, err := cluster.DecodePointer(kv.Value)
	if err != nil || active.Number <= m.seen {
		return
	}
	g, ok := m.generation(active.Number)
	if !ok {
		return
	}
	m.seen = active.Number
	h, life := m.h, m
	when := wire.NewStream(h.w.opt.Seed, fmt.Sprintf("activate/%s/%d/%d", h.Name, g.Number, h.stores))
	h.w.after(when.Between(wire.Range{Max: h.w.spread[g.ID]}), func() { life.activate(g) })
}

// activate is the moment at which a director switches. One whose process is paused does when it goes on.
func (m *storeMember) activate(g cluster.Generation) {
	h := m.h
	switch {
	case h.store != m || h.generation >= g.Number:
		return
	case m.paused():
		h.w.after(stageWithin, func() { m.activate(g) })
		return
	}
	conf := h.w.render(h, g)
	if conf == nil {
		return
	}
	h.w.judge.activates(m, g)
	h.conf, h.generation = conf, g.Number
	h.w.judge.learn()
	if h.proc == nil {
		h.start()
	} else {
		h.w.ran(h)
		h.reload()
	}
}

// render is what a generation means to a host; nil if it cannot be read, which the pusher has seen to.
func (w *World) render(h *Host, g cluster.Generation) *config.Config {
	c, err := parseConf(h.Name, g.Files[g.Main], w.includes, len(w.opt.Nets6) > 0)
	if err != nil {
		w.note(h.Name, EventViolation, "S3 VIOLATED: a committed generation cannot be read: "+err.Error())
		return nil
	}
	return c
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
	return parseConf(node, input, s.Includes, s.w == nil || len(s.w.opt.Nets6) > 0)
}

// parseConf reads a configuration as a node does; v6 says whether its world has IPv6.
func parseConf(node, input string, includes config.Source, v6 bool) (*config.Config, error) {
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
		if k := slices.IndexFunc(addresses(i), func(a config.Address) bool { return a.Prefix.Addr().Is6() }); k >= 0 && !v6 {
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

// linked reports whether the stores of two directors exchange messages, both ways.
func linked(a, b *Host) bool {
	n, m := a.nics[0], b.nics[0]
	return n.lan.Reaches(n.port, m.port, wire.ClassRaft) && n.lan.Reaches(m.port, n.port, wire.ClassRaft)
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
