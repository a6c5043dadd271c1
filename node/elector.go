package node

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/config"
	"quorate/vrrp"
)

// Elector is the machine of the vrrp worker: all instances of one director, the
// scripts they track, the addresses they hold.
type Elector struct {
	causes
	now         time.Duration
	generation  int64
	instances   []*instance
	due         []time.Duration       // deadline of each instance, never for none
	byVRID      map[vridKey]*instance // whom a packet is for
	vips        map[netip.Addr]bool   // every virtual address of ours, held or not
	groups      []*group
	trackers    []*tracker
	watching    bool // files or processes
	links       map[string]*link
	delayed     []*link // those of interface_up_down_delays
	unknown     uint64  // packets for a VRID nobody here runs
	logUnknown  bool    // log_unknown_vrids
	recovered   Recovered
	probation   time.Duration // its end
	onProbation bool
	static      static
	refusing    []netip.Addr // as last told to the driver
	refuseTold  bool
	vmacs       []VMAC
	census      census
	answers     []answer // to claims of our addresses
	stopped     bool
	out         []Action
}

// vridKey finds the instance a packet is for.
type vridKey struct {
	iface string
	vrid  uint8
	v6    bool
}

const never = time.Duration(math.MaxInt64)

// NewElector returns a machine that does nothing until its first Configure.
func NewElector() *Elector {
	return &Elector{links: map[string]*link{}}
}

// Step takes one input. now never decreases.
func (e *Elector) Step(now time.Duration, ev Event) {
	e.now = max(e.now, now)
	if e.stopped {
		return
	}
	e.begin(e.now, ev)
	switch ev := ev.(type) {
	case Configure:
		e.configure(ev)
	case Recovered:
		e.recovered = ev
	case Probation:
		e.onProbation, e.probation = true, e.now+ev.For
		e.report(Entry{Event: "vrrp.probation", Warn: true, Detail: fmt.Sprintf(
			"the worker before this one crashed, and those before it: for %v no address is taken from another owner, only those that nobody has", ev.For)})
	case Stage:
		for _, ci := range ev.Config.Instances {
			for _, i := range e.instances {
				if i.matches(ci) {
					i.stage(e, ci)
				}
			}
		}
	case Link:
		e.link(ev)
	case Deaf:
		e.deaf(ev)
	case Received:
		e.received(ev)
	case Heard:
		e.heard(ev)
	case Claimed:
		e.claimed(ev)
	case Looped:
		e.looped(ev)
	case ScriptResult:
		e.scriptResult(ev)
	case FileNumber:
		e.tracked(vrrp.TrackFile, ev.File, func(t *tracker) bool { return t.Number(ev.Number) })
	case ProcessCount:
		e.tracked(vrrp.TrackProcess, ev.Process, func(t *tracker) bool { return t.Count(e.now, ev.Running) })
	case Shutdown:
		e.shutdown()
		return
	}
	_, looked := ev.(Tick)
	e.tick(looked)
}

// Ready returns what to do now, in order, and forgets it.
func (e *Elector) Ready() []Action {
	out := e.out
	e.out = nil
	return out
}

// Deadline is the next instant at which Step(now, Tick{}) is wanted.
func (e *Elector) Deadline() (time.Duration, bool) {
	var next time.Duration
	found := false
	consider := func(t time.Duration, ok bool) {
		if ok && (!found || t < next) {
			next, found = t, true
		}
	}
	if e.stopped {
		return 0, false
	}
	for _, at := range e.due { // asked after every step: with a thousand instances this has to be cheap
		if at != never && (!found || at < next) {
			next, found = at, true
		}
	}
	for _, t := range e.trackers {
		consider(t.deadline())
	}
	for _, l := range e.delayed {
		consider(l.tracker.Deadline())
	}
	for _, a := range e.answers {
		consider(a.due, a.due != never)
	}
	consider(e.probation, e.onProbation)
	return next, found
}

// Waited says whether a Tick at now would end an instance's wait for adverts, so that it takes an address. What has arrived should be
// told before.
func (e *Elector) Waited(now time.Duration) bool {
	for k, at := range e.due {
		if at <= now && e.instances[k].m.State() == vrrp.Backup {
			return true
		}
	}
	return false
}

// tick gives every part whose deadline has come its turn. A wait for adverts ends only if the driver has looked whether some lie unread, as it does
// before a Tick and not before anything else: a process that has slept takes what it finds one by one, and the first event must not end the
// waits of other instances, whose adverts come next. Their deadline stays, so that a Tick follows.
func (e *Elector) tick(looked bool) {
	if len(e.answers) > 0 {
		e.answerClaims()
	}
	if e.onProbation && e.now >= e.probation {
		e.endProbation()
	}
	for _, t := range e.trackers {
		t.tick(e)
	}
	for _, l := range e.delayed {
		if l.tracker.Tick(e.now) {
			e.timer(e.now)
			e.linkSettled(l)
			e.evaluate()
		}
	}
	for k, at := range e.due {
		if at <= e.now && (looked || e.instances[k].m.State() != vrrp.Backup) {
			e.timer(e.now)
			e.instances[k].extra(e)
			e.instances[k].step(e, vrrp.Tick{})
		}
	}
}

// index brings what is derived from the list of instances up to date.
func (e *Elector) index() {
	e.due = make([]time.Duration, len(e.instances))
	e.byVRID = map[vridKey]*instance{}
	e.vips = map[netip.Addr]bool{}
	for k, i := range e.instances {
		i.at = k
		i.updateDue(e)
		key := i.key()
		if e.byVRID[key] == nil {
			e.byVRID[key] = i
		}
		for _, v := range slices.Concat(i.all, i.held) {
			e.vips[v.Prefix.Addr()] = true
		}
	}
}

func (e *Elector) emit(a Action) { e.out = append(e.out, a) }

// notify passes on what somebody is to hear of.
func (e *Elector) notify(n Notify) {
	if len(n.Commands) > 0 || n.Fifo || n.Mail {
		e.emit(n)
	}
}

func (e *Elector) report(en Entry) {
	e.mark(&en)
	e.emit(Report{Entry: en})
}

// configure matches instances by interface and VRID, as keepalived does at a reload, so that
// renaming one keeps its state; what did not change goes on undisturbed.
func (e *Elector) configure(c Configure) {
	from := len(e.out)
	defer func() { e.keepWanted(from) }()
	e.generation = c.Generation
	e.logUnknown = c.Config.Global.LogUnknownVRIDs.V
	e.configureTrackers(c.Config)

	e.configureStatic(c.Config, e.leftStatic())
	names, vmacs := nameVMACs(c.Config)
	groups := trackedStatic(c.Config)
	old := slices.Clone(e.instances)
	var next []*instance
	kept := map[*instance]*config.Instance{}
	for _, ci := range c.Config.Instances {
		at := slices.IndexFunc(old, func(i *instance) bool { return i.matches(ci) && i.names.equal(names[ci]) })
		if at < 0 {
			next = append(next, newInstance(ci, &c.Config.Global, names[ci], groups[ci.Name], e.onProbation))
			continue
		}
		i := old[at]
		old = slices.Delete(old, at, at+1)
		next = append(next, i)
		kept[i] = ci
	}
	e.instances = next
	for _, i := range old {
		i.at = -1
	}
	e.index()
	for _, i := range next {
		if ci := kept[i]; ci != nil {
			i.static = groups[ci.Name]
			i.reconfigure(e, ci, &c.Config.Global)
		}
	}
	e.index() // now with the new addresses
	e.configureGroups(c.Config)
	e.inherit()
	e.refuseInherited()
	for _, i := range old {
		state := "FAULT" // keepalived: a deleted instance notifies FAULT unless it has notify_deleted
		if i.cfg.NotifyDeleted != nil {
			state = "DELETED"
		}
		i.stop(e, state)
	}
	e.configureVMACs(vmacs)

	wanted := map[string]bool{}
	for _, a := range e.static.addrs {
		wanted[a.Dev] = true
	}
	for _, i := range e.instances {
		for _, name := range i.watched {
			wanted[name] = true
		}
	}
	for _, g := range e.groups {
		for _, t := range g.cfg.TrackIfaces {
			wanted[t.Name] = true
		}
	}
	for _, name := range sortedKeys(wanted) {
		if e.links[name] == nil {
			e.links[name] = &link{Link: Link{Name: name}, tracker: vrrp.NewTracker(vrrp.TrackerConfig{Kind: vrrp.TrackInterface, Name: name})}
			e.emit(Watch{Interface: name})
		}
	}
	e.delayed = nil
	for _, name := range sortedKeys(e.links) {
		l := e.links[name]
		e.delays(l, c.Config.Global.LinkDelays)
		e.listen(l)
		if !wanted[name] {
			delete(e.links, name)
		}
	}
	e.evaluate()
	e.report(Entry{Event: "config.applied", Detail: fmt.Sprintf("%s: %d vrrp instances, %s", c, len(e.instances), e.trackersText())})
}

// keepWanted takes back the removals of what a configuration has only moved, from one instance or static line to another: it
// stays where it is all the while. from is where the actions of the configuration begin.
func (e *Elector) keepWanted(from int) {
	type place struct{ dev, what string }
	addrs, lines := map[place][]config.Address{}, map[string]bool{}
	want := func(dev string, a config.Address) {
		at := place{dev, a.Prefix.String()}
		addrs[at] = append(addrs[at], a)
	}
	all := e.static.paths
	for _, a := range e.static.addrs {
		want(a.Dev, a)
	}
	for _, i := range e.instances {
		for _, a := range i.held {
			want(i.dev(a), a)
		}
		all.routes, all.rules = slices.Concat(all.routes, i.heldPaths.routes), slices.Concat(all.rules, i.heldPaths.rules)
	}
	for _, r := range all.routes {
		lines["route "+r.Text] = true
	}
	for _, r := range all.rules {
		lines["rule "+r.Key()] = true
	}
	begun := e.out[from:]
	e.out = append(e.out[:from:from], slices.DeleteFunc(slices.Clone(begun), func(a Action) bool {
		switch a := a.(type) {
		case RemoveAddress:
			same := func(b config.Address) bool {
				a.Address.Dev, b.Dev = "", "" // the place says
				return a.Address.SameAs(b)
			}
			return slices.ContainsFunc(addrs[place{a.Interface, a.Address.Prefix.String()}], same)
		case RemoveRoute:
			return lines["route "+a.Route.Text]
		case RemoveRule:
			return lines["rule "+a.Rule.Key()]
		}
		return false
	})...)
}

// listen tells the driver which sockets an interface needs, if that has changed.
func (e *Elector) listen(l *link) {
	var want []Socket
	tap := slices.ContainsFunc(e.vmacs, func(v VMAC) bool { return v.Parent == l.Name && v.IPVLAN == "" })
	for _, i := range e.instances {
		s := i.socket()
		s.Tap = s.Group.IsValid() && tap
		if l.Exists && !e.stopped && i.cfg.Interface.V == l.Name && !slices.Contains(want, s) {
			want = append(want, s)
		}
	}
	if !slices.Equal(want, l.sockets) {
		l.sockets = want
		e.emit(Listen{Interface: l.Name, Close: len(want) == 0, Sockets: want})
	}
}

// evaluate brings faults, priorities and source addresses of every instance up to date and
// starts those that were waiting for the first news of their interface or scripts.
func (e *Elector) evaluate() {
	for _, i := range e.instances {
		i.evaluate(e)
	}
}

func (e *Elector) received(ev Received) {
	vrid, _, ok := ev.Packet.VRID()
	if ok {
		if i := e.byVRID[vridKey{ev.Interface, vrid, ev.Packet.Src.Is6()}]; i != nil {
			i.gotAt = e.now
			i.step(e, vrrp.Receive{Packet: ev.Packet})
			return
		}
	}
	e.unknown++
	if e.logUnknown && ok {
		if more, ok := e.census.told.due(e.now, subject{kind: "unknown", where: ev.Interface, vrid: vrid}); ok {
			detail := fmt.Sprintf("Unknown VRID(%d) received on interface(%s) from %s, ignored%s", vrid, ev.Interface, ev.Packet.Src, more)
			e.report(Entry{Event: "vrrp.unknown-vrid", Detail: detail})
		}
	}
}

// shutdown releases everything; nothing happens after it.
func (e *Elector) shutdown() {
	for _, g := range e.groups {
		g.g.Shutdown(e.now, e.last)
		g.carryOut(e)
	}
	for _, i := range e.instances {
		i.stop(e, "STOP")
	}
	e.removeStatic()
	for _, g := range e.groups { // keepalived tells of groups last
		g.notify(e, "STOP")
	}
	e.configureVMACs(nil)
	e.stopped = true
	for _, name := range sortedKeys(e.links) {
		e.listen(e.links[name])
	}
}

// source is the address an instance sends from: the configured one, else the primary IPv4 address of the interface,
// which is the first that is no VIP of ours, or its link-local IPv6 address.
// After a takeover the kernel may list a VIP first if the primary was removed and added again. Where there is none but
// the one an address owner (priority 255) has of its own, it is that one (RFC 9568 6.1).
func (e *Elector) source(i *instance) netip.Addr {
	l := e.links[i.cfg.Interface.V]
	if set, ok := i.configuredSource(); ok {
		if i.cfg.TrackSrcIP.V && !addressSet(l.all())[set] {
			return netip.Addr{}
		}
		return set
	}
	list := l.Addrs
	if i.is6() {
		list = l.Addrs6
	}
	usable := func(a netip.Addr) bool { return a.Is4() || a.IsLinkLocalUnicast() }
	for _, p := range list {
		if usable(p.Addr()) && !e.vips[p.Addr()] {
			return p.Addr()
		}
	}
	for _, p := range list {
		owns := func(o *instance) bool { return o.cfg.Interface.V == l.Name && o.owns(p.Addr()) }
		if usable(p.Addr()) && slices.ContainsFunc(e.instances, owns) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// Status returns one row per instance, in file order.
func (e *Elector) Status() []InstanceStatus {
	rows := make([]InstanceStatus, 0, len(e.instances))
	for _, i := range e.instances {
		rows = append(rows, i.status())
	}
	return rows
}

// State is that of the instance with a VRID on an interface in a family, without all that Status has to gather; "" without one.
func (e *Elector) State(iface string, vrid int, ipv6 bool) (instance string, state vrrp.State) {
	for _, i := range e.instances {
		if i.cfg.VRID.V == vrid && i.cfg.Interface.V == iface && i.is6() == ipv6 {
			return i.cfg.Name, i.m.State()
		}
	}
	return "", 0
}

// Generation is the number of the configuration that runs; 0 before the first or standalone.
func (e *Elector) Generation() int64 { return e.generation }

// String prints the whole state, a line each, for golden tests.
func (e *Elector) String() string {
	var b strings.Builder
	for _, t := range e.trackers {
		fmt.Fprintf(&b, "%s %s %s\n", t.Config().Kind, t.Config().Name, t.Health())
	}
	for _, i := range e.instances {
		fmt.Fprintf(&b, "instance %s %s priority %d held %v\n", i.cfg.Name, i.m.State(), i.m.Priority(), i.heldText())
	}
	return b.String()
}

// sortedKeys makes iteration over a map independent of Go's map order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
