package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/cluster/replica"
	"quorate/config"
	"quorate/node"
	"quorate/sim/wire"
	"quorate/vrrp"
)

// Host is a virtual machine: a kernel, and on directors a process that runs the
// production machine. The two die separately: what a killed process put into the
// kernel stays there, as on Linux.
type Host struct {
	Name     string
	w        *World
	director bool
	on       bool  // the kernel runs
	ran      bool  // a daemon was started once
	clock    clock // its own monotonic one
	nics     []*nic
	ipID     uint16
	drops    map[string]uint64 // frames the kernel refused, by reason

	conf *config.Config
	proc *process
	// held and alive are the file below /run that Remember writes: what the daemon held when it
	// last lived. A reboot empties it.
	held    []node.Held
	alive   time.Duration
	scripts map[string]scriptState // set by the scenario
	tracked map[string]int         // by block and name, set by the scenario
	wall    time.Duration          // how far the wall clock was set
	// generation is the one its disk has; 0 while files come by conf.
	generation int64
	adverts    []advertStat
	igmp       *wire.Stream // when it answers queries
	loads      []*load

	// server: it is a real server. ports is what its programs do, all that is not named like port 0; loopback are the services'
	// addresses on its lo.
	server   bool
	ports    map[uint16]serving
	loopback []netip.Addr
	dials    map[netip.AddrPort]*dial // connections it makes, by local address
	port     uint16                   // the last ephemeral one
	lvs      *lvs                     // nil until somebody wants it
	checks   *worker                  // the checker worker of the daemon, nil without one
	pictured []tableAt                // how the tables looked, all lives long
	did      string                   // what a real server does that is not serving, see timeline_lanes.go
	kept     node.RememberServices    // its file below /run
	knew     int                      // how many workers began with checks that were down

	disk     *disk        // nil: no store
	store    *storeMember // nil: it does not run
	stores   uint64       // lives of it
	storeSeq uint32       // TCP sequence number
}

// process is one life of the daemon.
type process struct {
	m       Machine
	paused  bool
	stopped time.Duration // since when it is paused
	owned   []string      // the instances it was MASTER of then
	slept   time.Duration // how long it was, the last time
	woke    time.Duration // and when that ended
	backlog []node.Event  // what waits in its sockets while it is stopped
	unread  int           // adverts in it
	pending []node.Event  // answers to its own actions, within one feed
	watched []string
	// trackers are the files and processes it wants to hear of.
	trackers node.WatchTrackers
	wake     uint64 // generation of the current wake-up
	wakeAt   time.Duration
	arps     []arpBurst
	feeding  bool
	told     []told // see judge_sync.go
	torn     bool
	claims   map[claim]time.Duration // when it was told of somebody else's claim
}

// claim is a host that says by ARP or neighbour discovery that it has an address.
type claim struct {
	addr netip.Addr
	mac  wire.MAC
}

// claimPause is how often the driver tells of the same claim.
const claimPause = 200 * time.Millisecond

// claimed tells the process that somebody else says it has one of our VIPs, as the driver's packet socket does.
func (h *Host) claimed(n *nic, key claim, what string) {
	p := h.proc
	if p == nil || !n.listening || key.mac == n.mac || h.conf == nil ||
		!slices.ContainsFunc(h.conf.Instances, func(i *config.Instance) bool { return hasVIP(i, key.addr) }) {
		return
	}
	if last, known := p.claims[key]; known && h.w.now-last < claimPause {
		return
	}
	if p.claims == nil {
		p.claims = map[claim]time.Duration{}
	}
	p.claims[key] = h.w.now
	h.feed(node.Claimed{Interface: n.name, Addr: key.addr, MAC: key.mac, What: what})
}

// arpBurst counts the gratuitous ARPs of one feed, so that five show as one command.
type arpBurst struct {
	nic  *nic
	addr netip.Addr
	n    int
}

// advertStat is kept per VRID and family about adverts that left this host.
type advertStat struct {
	vrid   uint8
	ipv6   bool
	sent   uint64
	last   time.Duration
	maxGap time.Duration // between two adverts of one mastership, since the last fault verb
	active bool          // last belongs to the present mastership
	second time.Duration // when the present second of the budget began
	inIt   int           // adverts in it
}

// socketBuffer is how many adverts wait for a stopped process: net.core.rmem_default
// (212992) over the 768 octets the kernel charges for a small packet.
const socketBuffer = 277

// start runs the daemon with the host's configuration.
func (h *Host) start() {
	h.ran = true
	h.openStore()
	h.w.lives(h, "")
	h.proc = &process{m: h.w.opt.NewMachine()}
	h.w.ran(h)
	switch h.w.opt.Programs[h.Name] {
	case Keepalived:
		h.proc.m = newKeepalived(h.proc.m)
	case FRR:
		h.proc.m = newFRR(h.proc.m)
	}
	if len(h.held) > 0 {
		h.feed(node.Recovered{Alive: h.alive, Held: h.held})
	}
	h.reload()
}

// reload hands a running daemon its new configuration (SIGHUP).
func (h *Host) reload() {
	ev := node.Configure{Config: h.conf, Generation: h.generation}
	h.feed(ev)
	h.configureWorker(ev)
}

// stop ends the daemon in order (SIGTERM).
func (h *Host) stop() {
	h.feed(node.Shutdown{})
	h.feedWorker(node.Shutdown{})
	if h.store != nil {
		h.store.feed(replica.Close{}) // a leader hands over
	}
	h.endProcess()
	h.w.lives(h, "stopped")
}

// kill ends it without running a line of code (SIGKILL). Its sockets close with it.
func (h *Host) kill() {
	h.endProcess()
	h.w.lives(h, "killed")
}

// crash takes the power away: kernel, addresses and neighbour table are gone.
func (h *Host) crash() {
	h.on = false
	h.endProcess()
	if h.director {
		h.w.lives(h, "crashed")
	}
	h.picture(nil)
	h.serverLife()
	h.held, h.dials = nil, nil
	for _, n := range h.nics {
		n.lan.SetUp(n.port, false)
		n.addrs = nil
	}
	h.w.judge.look()
}

func (h *Host) endProcess() {
	h.proc = nil
	h.endStore()
	h.w.ran(h)
	if h.director {
		h.endWorker()
	}
	for _, n := range h.nics {
		h.listen(n, false, nil)
	}
	for i := range h.adverts {
		h.adverts[i].active = false
	}
	h.w.judge.look()
}

// pause stops the process between two instructions (SIGSTOP, a VM that is not scheduled).
// The kernel goes on: it answers ARP and fills the socket.
func (h *Host) pause() {
	h.proc.paused, h.proc.stopped, h.proc.owned = true, h.w.now, nil
	for _, st := range h.proc.m.Status() {
		if st.State == vrrp.Master.String() {
			h.proc.owned = append(h.proc.owned, st.Name)
		}
	}
	h.w.lives(h, "paused")
}

// resume lets it run again. It reads its sockets before it looks at its timers, or, under
// shuffle, by the seed's choice the other way round: a real driver that waits for both gets
// them in either order, and then adverts that arrived in time may seem to be missing.
func (h *Host) resume() {
	p := h.proc
	p.paused = false
	p.slept, p.woke = h.w.now-p.stopped, h.w.now
	h.w.lives(h, "")
	waiting := p.backlog
	p.backlog, p.unread = nil, 0
	if h.w.opt.Shuffle && h.w.chance.Below(2) == 0 {
		h.feed(node.Tick{})
	}
	for _, ev := range waiting {
		h.feed(ev)
		if h.proc != p {
			return
		}
	}
	h.feed(node.Tick{})
	h.resumeWorker()
	if h.store != nil {
		h.store.proceed()
		if h.store != nil {
			h.store.arm()
		}
	}
}

// feed gives the machine an event and carries out its actions until it rests.
func (h *Host) feed(ev node.Event) {
	p := h.proc
	if p == nil {
		return
	}
	if p.paused {
		// Wake-ups need no queue: resume looks at the clock.
		switch ev.(type) {
		case node.Tick:
			return
		case node.Received:
			if p.unread == socketBuffer {
				return // what else there is to know comes another way
			}
			p.unread++
		}
		p.backlog = append(p.backlog, ev)
		return
	}
	p.pending = append(p.pending, ev)
	if p.feeding {
		return // an action changed the kernel, which reports it: the loop below will get to it
	}
	p.feeding = true
	for steps := 0; len(p.pending) > 0; steps++ {
		if steps > restingSteps {
			h.w.raiseStorm("%s does not come to rest after %d steps at one instant, its actions cause each other", h.Name, steps)
			break
		}
		ev := p.pending[0]
		p.pending = p.pending[:copy(p.pending, p.pending[1:])] // keeps its memory
		p.m.Step(h.mono(), ev)
		for acts := p.m.Ready(); len(acts) > 0; acts = p.m.Ready() {
			for _, a := range acts {
				h.act(p, a)
			}
		}
	}
	p.feeding = false
	h.w.judge.tear(h)
	h.alive = h.mono()
	h.flushARP(p)
	if h.proc == p {
		h.arm(p)
	}
}

// arm schedules the one wake-up the machine wants next.
func (h *Host) arm(p *process) {
	d, ok := p.m.Deadline()
	if !ok {
		p.wake++ // whatever was scheduled is stale
		p.wakeAt = 0
		return
	}
	at := max(h.clock.when(d), h.w.now)
	if at == p.wakeAt && at > h.w.now {
		return // already on its way
	}
	p.wake++
	p.wakeAt = at
	h.w.queue.push(task{at: at, kind: taskWake, host: h, gen: p.wake})
}

// act carries out one action.
func (h *Host) act(p *process, a node.Action) {
	if _, arp := a.(node.SendARP); !arp {
		h.flushARP(p)
	}
	switch a := a.(type) {
	case node.Listen:
		if n := h.nic(a.Interface); n != nil {
			h.listen(n, !a.Close, a.Sockets)
		}
	case node.Watch:
		if !slices.Contains(p.watched, a.Interface) {
			p.watched = append(p.watched, a.Interface)
		}
		p.pending = append(p.pending, h.linkEvent(a.Interface))
	case node.SendAdvert:
		h.sendAdvert(a)
	case node.AddAddress:
		if n := h.nic(a.Interface); n != nil && n.add(a.Address.Prefix) {
			h.w.note(h.Name, EventKernel, ipAddr("add", a.Address, n.name))
			h.addressChanged(n)
		}
	case node.RemoveAddress:
		if n := h.nic(a.Interface); n != nil && n.remove(a.Address.Prefix) {
			h.w.note(h.Name, EventKernel, ipAddr("del", a.Address, n.name))
			h.addressChanged(n)
		}
	case node.SendARP:
		h.sendARP(p, a)
	case node.Remember:
		h.held = p.m.Held()
	case node.RunScript:
		h.runScript(p, a)
	case node.WatchTrackers:
		p.trackers = a
		p.pending = append(p.pending, h.trackerNews()...)
	case node.Notify:
		h.w.judge.notified(h, a)
		h.w.record(Event{Host: h.Name, Kind: EventNotify, Entry: node.Entry{Instance: a.Name, To: a.State},
			Text: fmt.Sprintf("notify %s %s %s %d", a.Kind, a.Name, a.State, a.Priority)})
	case node.Report:
		h.report(a.Entry)
	default:
		// A configuration may ask for what this kernel has not: mail, routes, virtual MAC addresses. It is said once.
		what := fmt.Sprintf("not simulated: %T", a)
		if h.drops[what]++; h.drops[what] == 1 {
			h.w.note(h.Name, EventKernel, what)
		}
	}
}

func (h *Host) report(en node.Entry) {
	if en.From == vrrp.Master.String() {
		for i := range h.adverts {
			h.adverts[i].active = false
		}
	}
	h.w.judge.transition(h, en)
	h.w.record(Event{Host: h.Name, Kind: EventReport, Entry: en, Text: reportText(en)})
}

// scriptTime is how long a virtual vrrp_script runs.
const scriptTime = time.Millisecond

func (h *Host) runScript(p *process, a node.RunScript) {
	h.w.after(scriptTime, func() {
		if h.proc != p {
			return // the process that wanted to know is gone
		}
		res := node.ScriptResult{Script: a.Script, ExitCode: h.scripts[a.Script].now(h.w.now)}
		if res.ExitCode != 0 {
			res.Detail = fmt.Sprintf("exit %d", res.ExitCode)
		}
		h.feed(res)
	})
}

// addressChanged tells the process, if it watches, and the judge.
func (h *Host) addressChanged(n *nic) {
	h.tellLink(n)
	h.w.judge.look()
}

func (h *Host) tellLink(n *nic) {
	if p := h.proc; p != nil && slices.Contains(p.watched, n.name) {
		h.feed(h.linkEvent(n.name))
	}
}

func (h *Host) linkEvent(name string) node.Link {
	n := h.nic(name)
	if n == nil {
		return node.Link{Name: name}
	}
	l := node.Link{Name: name, Exists: true, Up: n.up, MAC: n.mac}
	for _, p := range n.addrs {
		if p.Addr().Is4() {
			l.Addrs = append(l.Addrs, p)
		} else {
			l.Addrs6 = append(l.Addrs6, p)
		}
	}
	return l
}

// setNIC pulls or plugs the cable of a card.
func (h *Host) setNIC(n *nic, up bool) {
	if n.up == up {
		return
	}
	n.up = up
	h.serverLife()
	if h.proc != nil {
		what := "link down"
		if len(h.nics) > 1 {
			what = n.name + " down"
		}
		if up {
			what = ""
		}
		h.w.lives(h, what)
	}
	n.lan.SetUp(n.port, up && h.on)
	if up && h.on {
		h.plugged(n)
	}
	h.w.judge.look()
	h.tellLink(n)
}

func (h *Host) nic(name string) *nic {
	for _, n := range h.nics {
		if n.name == name {
			return n
		}
	}
	return nil
}

func (h *Host) hasScript(name string) bool {
	return h.conf != nil && slices.ContainsFunc(h.conf.Scripts, func(c *config.Script) bool { return c.Name == name })
}
