package sim

import (
	"fmt"
	"slices"
	"time"

	"quorate/ipvs"
	"quorate/node"
)

// worker is the checker worker of a director's daemon: node.Services, the machine that clusterd runs, on this host's probes and
// IPVS. It begins with the first configuration that has a virtual server; one without decides nothing.
type worker struct {
	m       *node.Services
	pending []node.Event
	backlog []node.Event // while it is stopped
	feeding bool
	wake    uint64
	verdict oracle // what this worker has to find
}

// startWorker begins, or goes on with what is left of the worker before.
func (h *Host) startWorker() {
	h.checks = &worker{m: node.NewServices(), verdict: oracle{}}
	if len(h.kept.Keys) > 0 || len(h.kept.Down) > 0 {
		if len(h.kept.Down) > 0 {
			h.knew++
		}
		h.feedWorker(node.RecoveredServices{Keys: h.kept.Keys, Down: h.kept.Down})
	}
}

// configureWorker hands on what the daemon was given.
func (h *Host) configureWorker(ev node.Configure) {
	if ev.Config == nil || h.w.opt.Programs[h.Name] == FRR || h.proc == nil {
		return
	}
	if h.checks == nil {
		if len(ev.Config.VirtualServers) == 0 && len(h.kept.Keys) == 0 {
			return
		}
		h.startWorker()
	}
	h.w.readyServers(ev.Config)
	h.w.disturbed = h.w.now
	h.feedWorker(ev)
}

// endWorker: the process is gone, and so are its connections; what it put into the kernel stays.
func (h *Host) endWorker() {
	if h.checks != nil {
		h.checks.wake++
	}
	h.checks, h.dials = nil, nil
}

// feedWorker gives the machine an event and carries out its actions until it rests.
func (h *Host) feedWorker(ev node.Event) {
	c := h.checks
	if c == nil {
		return
	}
	if h.proc.paused {
		if _, tick := ev.(node.Tick); !tick {
			c.backlog = append(c.backlog, ev)
		}
		return
	}
	c.pending = append(c.pending, ev)
	if c.feeding {
		return
	}
	c.feeding = true
	for steps := 0; len(c.pending) > 0; steps++ {
		if steps > restingSteps {
			h.w.raiseStorm("the checker of %s does not come to rest after %d steps at one instant, its actions cause each other", h.Name, steps)
			break
		}
		ev := c.pending[0]
		c.pending = c.pending[:copy(c.pending, c.pending[1:])]
		c.verdict.saw(ev)
		c.m.Step(h.mono(), ev)
		for acts := c.m.Ready(); len(acts) > 0; acts = c.m.Ready() {
			for _, a := range acts {
				h.actWorker(c, a)
			}
		}
	}
	c.feeding = false
	if h.checks == c {
		h.w.judge.services(h, c)
		h.armWorker(c)
	}
}

// resumeWorker lets it go on after a stop.
func (h *Host) resumeWorker() {
	c := h.checks
	if c == nil {
		return
	}
	waiting := c.backlog
	c.backlog = nil
	for _, ev := range append(waiting, node.Tick{}) {
		if h.checks == c {
			h.feedWorker(ev)
		}
	}
}

// armWorker schedules the wake-up that the machine wants next.
func (h *Host) armWorker(c *worker) {
	c.wake++
	d, ok := c.m.Deadline()
	if !ok {
		return
	}
	gen := c.wake
	h.w.after(max(h.clock.when(d)-h.w.now, 0), func() {
		if h.checks == c && c.wake == gen {
			h.feedWorker(node.Tick{})
		}
	})
}

func (h *Host) actWorker(c *worker, a node.Action) {
	switch a := a.(type) {
	case node.RunProbe:
		c.verdict.asked(a.ID)
		h.probe(c, a)
	case node.ReadTable:
		c.pending = append(c.pending, node.TableRead{Table: h.kernelIPVS().table.Clone()})
	case node.ApplyOps:
		l := h.kernelIPVS()
		for _, op := range a.Ops {
			h.w.note(h.Name, EventKernel, op.String())
		}
		if err := l.mem.Apply(a.Ops); err != nil {
			h.w.note(h.Name, EventKernel, err.Error())
			c.pending = append(c.pending, node.TableFailed{Err: err.Error()})
		}
		l.changed(h.w.now)
		h.picture(append(ipvs.Table{}, l.table...))
	case node.RememberServices:
		h.kept = node.RememberServices{Keys: slices.Clone(a.Keys), Down: slices.Clone(a.Down)}
	case node.Report:
		h.w.record(Event{Host: h.Name, Kind: EventReport, Entry: a.Entry, Text: reportText(a.Entry)})
	default:
		what := fmt.Sprintf("not simulated: %T", a)
		if h.drops[what]++; h.drops[what] == 1 {
			h.w.note(h.Name, EventKernel, what)
		}
	}
}

// scriptProbe is how long a probe lasts that is no connection.
const scriptProbe = time.Millisecond

// probe is one attempt of a check. Checks that ask a question over TCP need its answer, a TCP_CHECK needs the connection; what is
// no connection succeeds, which is said once.
func (h *Host) probe(c *worker, a node.RunProbe) {
	tell := func(ans answer) {
		if h.checks == c {
			h.feedWorker(node.ProbeResult{ID: a.ID, OK: ans.ok, Detail: ans.detail})
		}
	}
	d := dial{again: true, done: tell}
	switch a.Kind {
	case "TCP_CHECK":
	case "HTTP_GET", "SSL_GET", "SMTP_CHECK":
		d.question = true
	default:
		if what := "not simulated: " + a.Kind; h.drops[what] == 0 {
			h.drops[what]++
			h.w.note(h.Name, EventKernel, what+", it always succeeds")
		}
		h.w.after(scriptProbe, func() { tell(answer{ok: true, detail: "not simulated"}) })
		return
	}
	h.dial(a.Target, a.Source, a.Timeout, d)
}
