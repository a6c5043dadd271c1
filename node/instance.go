package node

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"quorate/config"
	"quorate/vrrp"
)

// instance is one vrrp_instance: the protocol machine and what belongs to it on this host.
type instance struct {
	cfg     *config.Instance
	names   vmacNames
	extraAt time.Duration // of garp_extra_if, never for none
	group   *group        // nil: it is in none
	global  *config.Global
	m       *vrrp.Instance
	at      int              // its place in Elector.instances, -1 when it is no more there
	all     []config.Address // what it holds while MASTER
	ifaces  []string         // its own, those of its addresses and those it tracks without a weight: one that is down is a fault; sorted
	static  []string         // of lines of static_ipaddress and the like that have it in their track_group; these are in ifaces too
	watched []string         // and those with a weight, and of addresses with no_track
	started bool
	// own are virtual addresses that are this host's own: of an address owner (priority 255), on the interface
	// before this instance came. They are neither added nor removed.
	own []netip.Addr
	// held is what was added to the host and not yet removed.
	held []config.Address
	// leftover are addresses that may be on the host although this instance never added them: an
	// earlier configuration had them, and a predecessor process may have left them behind.
	leftover []config.Address
	// heldPaths and leftPaths are the same of virtual_routes and virtual_rules.
	heldPaths, leftPaths paths
	refused              []netip.Addr // while it does not accept packets for them
	// inherited: leftover is what the worker before this one held, see adopt.
	inherited, adopting bool
	// previous and staged are address lists other members may send instead of ours: they run the
	// generation before, or the one about to be activated.
	previous, staged []netip.Addr
	source           netip.Addr
	gotAt            time.Duration // the last packet
	faults           []vrrp.FaultCause
	changed          time.Duration // of the last transition
	reason           string
	detail           string
	cause            uint64
	trigger          string
	told             told
	missed           map[vrrp.RejectReason]uint64 // adverts for it that came another way, see deafTo
}

func newInstance(c *config.Instance, g *config.Global, n vmacNames, static []string, probation bool) *instance {
	i := &instance{m: vrrp.New(vrrpConfig(c, g, probation)), at: -1, names: n, extraAt: never, static: static}
	i.setConfig(c, g)
	return i
}

// setConfig takes a configuration and what is often asked of it.
func (i *instance) setConfig(c *config.Instance, g *config.Global) {
	i.cfg, i.global = c, g
	i.all = slices.Concat(c.VIPs, c.ExcludedVIPs)
	for k := range i.all {
		if i.all[k].Dev == c.Interface.V {
			i.all[k].Dev = "" // the same, written out
		}
	}
	i.ifaces = []string{c.Interface.V}
	for _, v := range i.all {
		if !v.NoTrack {
			i.ifaces = append(i.ifaces, i.dev(v))
		}
	}
	for _, t := range c.TrackIfaces {
		i.ifaces = append(i.ifaces, t.V)
	}
	i.ifaces = slices.Concat(i.ifaces, i.paths().interfaces(), i.static)
	slices.Sort(i.ifaces)
	i.ifaces = slices.Compact(i.ifaces)
	i.watched = slices.Clone(i.ifaces)
	for _, v := range i.all {
		i.watched = append(i.watched, i.dev(v))
	}
	for _, t := range c.WeightedIfaces {
		i.watched = append(i.watched, t.Name)
	}
	slices.Sort(i.watched)
	i.watched = slices.Compact(i.watched)
}

// paths are the routes and rules to have while MASTER.
func (i *instance) paths() paths { return paths{i.cfg.VirtualRoutes, i.cfg.VirtualRules} }

// vips are the addresses to add while MASTER.
func (i *instance) vips() []config.Address {
	if len(i.own) == 0 {
		return slices.Clone(i.all)
	}
	return slices.DeleteFunc(slices.Clone(i.all), func(v config.Address) bool { return i.owns(v.Prefix.Addr()) })
}

func (i *instance) owns(a netip.Addr) bool { return slices.Contains(i.own, a) }

// findOwn tells the host's own addresses from those a killed predecessor left. What that one noted is not the host's own;
// neither is an address just as it would have been added, unless the interface has no other to live with.
func (i *instance) findOwn(e *Elector) {
	i.own = nil
	if i.cfg.Priority.V != vrrp.PriorityOwner {
		return
	}
	for _, v := range i.all {
		l := e.links[i.dev(v)]
		if l == nil || containsAddress(i.leftover, v) || containsAddress(i.held, v) {
			continue
		}
		for _, p := range l.all() {
			alone := !slices.ContainsFunc(l.all(), func(p netip.Prefix) bool { return !e.vips[p.Addr()] })
			if p.Addr() == v.Prefix.Addr() && (p != v.Prefix || alone) {
				i.own = append(i.own, p.Addr())
				break
			}
		}
	}
}

func (i *instance) dev(a config.Address) string { return i.names.dev(i.cfg, a) }

// reconfigure keeps the state. Members that run the generation before for a moment longer still send its
// address list; it stays accepted until the next change.
func (i *instance) reconfigure(e *Elector, c *config.Instance, g *config.Global) {
	prev, next := vrrpConfig(i.cfg, i.global, e.onProbation), vrrpConfig(c, g, e.onProbation)
	if !i.started {
		i.leftover = append(i.leftover, i.all...)
		i.leftPaths = i.leftPaths.and(i.paths())
	}
	if !slices.Equal(prev.Addrs, next.Addrs) {
		i.previous = prev.Addrs
	}
	i.setConfig(c, g)
	i.staged = nil
	i.findOwn(e)
	next.AltAddrs = i.alternates()
	held, was := i.held, i.m.State()
	defer func() {
		if was == vrrp.Master && i.m.State() == vrrp.Master && slices.Equal(prev.Addrs, next.Addrs) { // else the machine has all announced
			i.announceNew(e, held)
		}
	}()
	if prev.AltAddrs = next.AltAddrs; reflect.DeepEqual(prev, next) {
		if i.m.State() == vrrp.Master {
			i.acquire(e) // labels, excluded addresses and the like are no business of the protocol
		}
		return
	}
	i.step(e, vrrp.Reconfigure{Config: next})
}

// announceNew announces what a reload has added to the addresses that are not advertised.
func (i *instance) announceNew(e *Elector, before []config.Address) {
	for range i.cfg.GARPMasterRepeat.V {
		for _, v := range i.held {
			if !containsAddress(before, v) {
				e.emit(SendARP{Interface: i.dev(v), Addr: v.Prefix.Addr()})
			}
		}
	}
}

// stage accepts the address list of a generation that some members will activate before this one.
func (i *instance) stage(e *Elector, c *config.Instance) {
	i.staged = addrs(c.VIPs)
	i.step(e, vrrp.SetAlternates{Lists: i.alternates()})
}

func (i *instance) alternates() [][]netip.Addr {
	var lists [][]netip.Addr
	for _, l := range [][]netip.Addr{i.previous, i.staged} {
		if len(l) > 0 {
			lists = append(lists, l)
		}
	}
	return lists
}

// evaluate tells the protocol machine of faults, priority and source address.
func (i *instance) evaluate(e *Elector) {
	if !i.linksKnown(e) {
		return
	}
	if !i.started {
		i.findOwn(e)
	}
	adopt := !i.started && i.adoptable(e)
	sum := vrrp.Evaluate(uint8(i.cfg.Priority.V), i.tracks(e))
	if !adopt && !i.started && sum.Waiting {
		return // it might have to start in FAULT
	}
	if src := e.source(i); src.IsValid() && src != i.source {
		i.source = src
		i.step(e, vrrp.SetSource{Addr: src})
	}
	if faults := append(i.currentFaults(e), sum.Faults...); !slices.Equal(faults, i.faults) {
		i.faults = faults
		i.step(e, vrrp.SetFaults{Faults: faults})
	}
	if sum.Priority != i.m.Priority() {
		i.step(e, vrrp.SetPriority{Priority: sum.Priority, Detail: sum.Detail})
	}
	if !i.started {
		i.started = true
		if i.adopting = adopt && len(i.faults) == 0; i.adopting {
			i.held, i.leftover = i.leftover, nil // it never stopped being held
			i.heldPaths, i.leftPaths = i.leftPaths, paths{}
		}
		joins := i.group != nil && i.group.othersMaster(i) && len(i.faults) == 0
		i.step(e, vrrp.Startup{Adopt: i.adopting || joins, Delay: i.global.StartupDelay.V})
		i.adopting = false
	}
}

// adoptable says whether this host never stopped being the owner: the worker before this one held all addresses, they
// are still there, and it was silent for less than the others wait. Its scripts were good then, so
// their first result is not waited for.
func (i *instance) adoptable(e *Elector) bool {
	silent := e.now - e.recovered.Alive
	if !i.inherited || silent >= i.m.MasterDownInterval()-i.cfg.AdvertInt.V {
		return false // one interval earlier: its last advert may be that much older than its last sign of life
	}
	return !slices.ContainsFunc(i.vips(), func(v config.Address) bool {
		onHost := func(p netip.Prefix) bool { return p.Addr() == v.Prefix.Addr() }
		return !containsAddress(i.leftover, v) || !slices.ContainsFunc(e.links[i.dev(v)].all(), onHost)
	})
}

func (i *instance) linksKnown(e *Elector) bool {
	unknown := func(n string) bool { l := e.links[n]; return l == nil || !l.known }
	if slices.ContainsFunc(i.watched, unknown) {
		return false
	}
	return i.group == nil || !slices.ContainsFunc(i.group.cfg.TrackIfaces, func(t config.Track) bool { return unknown(t.Name) })
}

func (i *instance) currentFaults(e *Elector) []vrrp.FaultCause {
	var faults []vrrp.FaultCause
	for _, name := range i.ifaces {
		switch l := e.links[name]; {
		case !l.Exists:
			faults = append(faults, vrrp.FaultCause{Reason: vrrp.ReasonInterfaceDown, Detail: name + " does not exist"})
		case !l.up() && name == i.cfg.Interface.V && i.cfg.DontTrackPrimary.V:
		case !l.up():
			faults = append(faults, vrrp.FaultCause{Reason: vrrp.ReasonInterfaceDown, Detail: name + " is down"})
		case name == i.cfg.Interface.V && l.deaf[i.socket().plain()] != "":
			faults = append(faults, vrrp.FaultCause{Reason: vrrp.ReasonNoSocket, Detail: l.deaf[i.socket().plain()]})
		case name == i.cfg.Interface.V && !e.source(i).IsValid():
			faults = append(faults, vrrp.FaultCause{Reason: vrrp.ReasonNoAddress, Detail: i.noSource()})
		}
	}
	return faults
}

func (i *instance) noSource() string {
	name := i.cfg.Interface.V
	if set, ok := i.configuredSource(); ok {
		return fmt.Sprintf("%s has no address %s", name, set)
	}
	if i.is6() {
		return name + " has no link-local IPv6 address of its own"
	}
	return name + " has no IPv4 address of its own"
}

// step feeds the protocol machine and turns its actions into the host's.
func (i *instance) step(e *Elector, ev vrrp.Event) {
	if i.group != nil {
		i.group.step(e, i, ev)
		return
	}
	i.m.StepCause(e.now, ev, e.last)
	for _, a := range i.m.Ready() {
		i.handle(e, a)
	}
	i.updateDue(e)
}

func (i *instance) handle(e *Elector, a vrrp.Action) {
	switch a := a.(type) {
	case vrrp.Send:
		e.emit(SendAdvert{Interface: i.cfg.Interface.V, Packet: a.Packet, MAC: i.transmitMAC()})
	case vrrp.Acquire:
		i.acquire(e)
	case vrrp.Release:
		i.release(e)
	case vrrp.Announce:
		for range a.Repeat {
			for _, v := range i.all { // also those that are the host's own
				e.emit(SendARP{Interface: i.dev(v), Addr: v.Prefix.Addr()})
			}
		}
	case vrrp.Transition:
		i.transition(e, a)
	case vrrp.Note:
		i.note(e, a)
	}
}

// acquire makes held equal to the configured addresses: the ones that are gone go first.
func (i *instance) acquire(e *Elector) {
	want := i.vips()
	i.heldPaths.without(i.paths()).remove(e)
	for _, v := range i.held {
		if !containsAddress(want, v) {
			i.remove(e, v)
		}
	}
	i.refuse(e, want, i.held)
	for _, v := range want {
		if !containsAddress(i.held, v) {
			e.emit(AddAddress{Interface: i.dev(v), Address: v})
		}
	}
	i.paths().without(i.heldPaths).add(e)
	i.held, i.heldPaths = want, i.paths().keeping(i.heldPaths)
	i.armExtra(e)
	i.refuse(e, want)
	e.emit(Remember{})
}

// release removes every address, also one that a killed predecessor may have left behind.
func (i *instance) release(e *Elector) {
	all := i.vips()
	for _, v := range slices.Concat(i.held, i.leftover) {
		if !containsAddress(all, v) {
			all = append(all, v)
		}
	}
	i.paths().and(i.heldPaths).and(i.leftPaths).remove(e)
	for _, v := range all {
		i.remove(e, v)
	}
	i.refuse(e)
	if i.held != nil || i.leftover != nil || !i.heldPaths.empty() || !i.leftPaths.empty() {
		e.emit(Remember{})
	}
	i.held, i.leftover, i.extraAt = nil, nil, never
	i.heldPaths, i.leftPaths = paths{}, paths{}
}

// remove takes an address from the host, unless it now is another instance's: a reload may have moved it.
func (i *instance) remove(e *Elector, v config.Address) {
	dev := i.dev(v)
	for _, o := range e.instances {
		if o != i && slices.ContainsFunc(o.held, func(h config.Address) bool { return h.Prefix == v.Prefix && o.dev(h) == dev && h.SameAs(v) }) {
			return
		}
	}
	e.emit(RemoveAddress{Interface: dev, Address: v})
}

func containsAddress(list []config.Address, a config.Address) bool {
	return slices.ContainsFunc(list, a.SameAs)
}

// repair puts back a virtual address somebody took away. had and has are the addresses of the interface before and now.
func (i *instance) repair(e *Elector, now Link, had, has map[netip.Addr]bool) {
	if !now.Exists {
		return
	}
	for _, v := range i.held {
		a := v.Prefix.Addr()
		if has[a] || !had[a] || i.dev(v) != now.Name || v.NoTrack { // with no_track: at the next takeover (keepalived 2.2.7, measured)
			continue
		}
		e.emit(AddAddress{Interface: now.Name, Address: v})
		e.emit(SendARP{Interface: now.Name, Addr: a})
		e.report(Entry{Instance: i.cfg.Name, Event: "vrrp.repair", Warn: true,
			Detail: fmt.Sprintf("%s was removed from %s by someone else, added again", a, now.Name)})
	}
}

// stop ends the instance; state is what notify scripts are told, STOP or FAULT.
func (i *instance) stop(e *Elector, state string) {
	if !i.started {
		if i.cfg.Priority.V == vrrp.PriorityOwner { // whose own they are was not found out: only what was noted goes
			for _, v := range i.all {
				if !containsAddress(i.leftover, v) {
					i.own = append(i.own, v.Prefix.Addr())
				}
			}
		}
		i.release(e) // it held nothing, but a predecessor may have
		return
	}
	i.started = false
	i.step(e, vrrp.Shutdown{})
	i.notify(e, state)
}

func (i *instance) heldText() []string {
	out := []string{}
	for _, v := range i.held {
		out = append(out, v.Prefix.Addr().String())
	}
	return out
}

func (i *instance) status() InstanceStatus {
	c := i.m.Counters()
	s := InstanceStatus{
		Name: i.cfg.Name, Interface: i.cfg.Interface.V, VRID: i.cfg.VRID.V,
		State: i.m.State().String(), ChangedAt: i.changed,
		Base: i.cfg.Priority.V, Priority: int(i.m.Priority()), Master: i.m.Master(),
		Reason: i.reason, Detail: i.detail, Cause: i.cause, Trigger: i.trigger, Preempt: !i.cfg.NoPreempt.V,
		AdvertsSent: c.AdvertsSent, AdvertsReceived: c.AdvertsReceived, BecameMaster: c.BecameMaster,
	}
	if i.m.State() == vrrp.Master {
		s.Master = i.source
	}
	for _, v := range i.all {
		s.VIPs = append(s.VIPs, v.Prefix.Addr().String())
	}
	for r, n := range c.Rejected {
		n += i.missed[vrrp.RejectReason(r)]
		if n > 0 {
			if s.Rejected == nil {
				s.Rejected = map[string]uint64{}
			}
			s.Rejected[vrrp.RejectReason(r).String()] = n
		}
	}
	return s
}
