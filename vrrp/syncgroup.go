package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// SyncGroup is a sync group (vrrp_sync_group, a thing of keepalived): its members are MASTER together or not at all.
//
//   - A member whose master-down timer fires says so and waits, with its timer armed anew. When all members
//     want to be MASTER, they all become it at once, the one that completed the set first.
//   - A member that leaves MASTER for BACKUP takes the others with it; they send nothing, as the winner is about to speak for them.
//   - A member in FAULT keeps the others in FAULT. Those that were MASTER say priority 0, once each, so that their
//     peers wait a skew time only; whether the peers' group takes over is up to its slowest member.
//   - When a MASTER member answers a lower priority, the others announce their addresses too.
//
// All that, and that nothing is sent on a demotion, is as measured on keepalived 2.2.7. Feed every event of a member through
// the group; carry out what Ready returns in order. The members must not be stepped directly any more.
type SyncGroup struct {
	name          string
	members       []*Instance
	state         State
	ownIDs        uint64
	cause         uint64
	actor         int // the member stepped last
	actions, idle []GroupAction
}

// GroupAction is an action of one member, or a GroupTransition.
type GroupAction struct {
	Member int // index, -1 for the group itself
	Action Action
}

// GroupTransition reports that the group as a whole changed, exactly once each. It comes after the actions of its members.
type GroupTransition struct {
	From, To State
	Reason   Reason // of the member that caused it
	Detail   string // begins with that member's name
	Cause    uint64 // the same as in the members' transitions
}

func (GroupTransition) action() {}

func (t GroupTransition) String() string {
	return fmt.Sprintf("group %v -> %v %v (%s)", t.From, t.To, t.Reason, t.Detail)
}

// NewSyncGroup ties instances together, which are in INIT or have run alone or in another group before. Those that are of
// one mind go on undisturbed, the others are made to agree by the first event. A member that joins while
// the rest is MASTER is best started with Startup.Adopt: as a BACKUP it would take the others down with it.
func NewSyncGroup(name string, members []*Instance) *SyncGroup {
	g := &SyncGroup{name: name, members: members, state: Init}
	for _, m := range members {
		m.grouped = true
	}
	if to, ok := g.whole(); ok {
		g.state = to
	}
	return g
}

// Dissolve lets the members go their own ways from now on, in the state they are in; those that were in FAULT
// because of another member leave it. Take what Ready has before anything else.
func (g *SyncGroup) Dissolve(now time.Duration, cause uint64) {
	g.begin(cause)
	for _, m := range g.members {
		m.grouped = false
		if m.groupFault != "" {
			m.groupFault = ""
			g.direct(now, m, m.updateFaults)
		}
		m.wants = false
	}
	g.collect()
	g.members = nil
}

// Name returns the name.
func (g *SyncGroup) Name() string { return g.name }

// State is MASTER when all members are, FAULT when one is, INIT until all have been started.
func (g *SyncGroup) State() State { return g.state }

// Members returns the instances; they must not be stepped.
func (g *SyncGroup) Members() []*Instance { return g.members }

// Step gives an event to one member, and to the others what follows from it. cause is as in
// Instance.StepCause; all transitions that follow from one event have the same one. A Shutdown of one member alone
// stops that one; the others go on without it only after the group was made anew. See also Shutdown.
func (g *SyncGroup) Step(now time.Duration, member int, ev Event, cause uint64) {
	g.begin(cause)
	g.stepMember(now, member, ev)
	g.sync(now)
}

// Tick steps every member whose deadline has come.
func (g *SyncGroup) Tick(now time.Duration, cause uint64) {
	g.begin(cause)
	for k, m := range g.members {
		if at, ok := m.Deadline(); ok && at <= now {
			g.stepMember(now, k, Tick{})
		}
	}
	g.sync(now)
}

// Startup starts all members.
func (g *SyncGroup) Startup(now time.Duration, ev Startup, cause uint64) {
	g.begin(cause)
	for k := range g.members {
		g.stepMember(now, k, ev)
	}
	g.sync(now)
}

// Shutdown stops all members; those that are MASTER say priority 0.
func (g *SyncGroup) Shutdown(now time.Duration, cause uint64) {
	g.begin(cause)
	for k := range g.members {
		g.stepMember(now, k, Shutdown{})
	}
	g.sync(now)
}

// Deadline is the earliest of the members'.
func (g *SyncGroup) Deadline() (first time.Duration, ok bool) {
	for _, m := range g.members {
		if at, is := m.Deadline(); is && (!ok || at < first) {
			first, ok = at, true
		}
	}
	return first, ok
}

// Ready returns what to do now, in order, and forgets it. The slice is valid until the next Ready.
func (g *SyncGroup) Ready() []GroupAction {
	out := g.actions
	g.actions, g.idle = g.idle[:0], out
	return out
}

func (g *SyncGroup) begin(cause uint64) {
	if cause == 0 {
		g.ownIDs++
		cause = g.ownIDs
	}
	g.cause = cause
}

func (g *SyncGroup) stepMember(now time.Duration, k int, ev Event) {
	g.actor = k
	m := g.members[k]
	m.StepCause(now, ev, g.cause)
	if m.refuted {
		m.refuted = false
		for _, o := range g.members {
			if o != m && o.state == Master && o.cfg.GARP.LowerPrioRepeat > 0 {
				o.now = max(o.now, now)
				o.announceLower()
			}
		}
	}
	g.collect()
}

// collect takes over what the members have to do; the one that acted first.
func (g *SyncGroup) collect() {
	g.take(g.actor)
	for k := range g.members {
		g.take(k)
	}
}

func (g *SyncGroup) take(k int) {
	for _, a := range g.members[k].Ready() {
		g.actions = append(g.actions, GroupAction{k, a})
	}
}

// direct does something to a member outside of its own Step.
func (g *SyncGroup) direct(now time.Duration, m *Instance, do func()) {
	m.now = max(m.now, now)
	m.cause = g.cause
	do()
	m.cause = 0
}

// sync makes the members agree: faults first, then a promotion that all want, then demotions.
func (g *SyncGroup) sync(now time.Duration) {
	g.spreadFaults(now)
	n := g.count()
	switch {
	case n[Init] == 0 && n[Fault] == 0 && g.wanting() > 0 && n[Master]+g.wanting() == len(g.members):
		g.promote(now)
	case n[Master] > 0 && n[Backup] > 0:
		why := g.reasonFor(Backup)
		for _, m := range g.members {
			if m.state == Master {
				g.direct(now, m, func() {
					m.push(Release{})
					m.master = netip.Addr{} // nobody was heard here
					m.enterBackup(ReasonGroup, why)
				})
			}
		}
	}
	g.collect()
	g.settle()
}

// spreadFaults tells every member whether another one has a fault of its own. Two that have one keep each other down,
// so that the first to recover does not go up and down again.
func (g *SyncGroup) spreadFaults(now time.Duration) {
	for _, m := range g.members {
		fault := ""
		for _, o := range g.members {
			if f := o.ownFaults(); o != m && o.state != Init && len(f) > 0 {
				fault = fmt.Sprintf("%s: %s", o.cfg.Name, f[0].Detail)
				break
			}
		}
		if fault != m.groupFault {
			m.groupFault = fault
			g.direct(now, m, m.updateFaults)
		}
	}
}

func (g *SyncGroup) promote(now time.Duration) {
	up := func(m *Instance) {
		if m.state == Backup {
			g.direct(now, m, func() { m.becomeMaster(m.wantReason, m.wantDetail) })
		}
	}
	up(g.members[g.actor])
	for _, m := range g.members {
		up(m)
	}
}

func (g *SyncGroup) count() (n [Fault + 1]int) {
	for _, m := range g.members {
		n[m.state]++
	}
	return n
}

func (g *SyncGroup) wanting() (n int) {
	for _, m := range g.members {
		if m.state == Backup && m.wants {
			n++
		}
	}
	return n
}

// reasonFor says in words which member brought the group to a state.
func (g *SyncGroup) reasonFor(to State) string {
	m := g.culprit(to)
	if m == nil {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf("%s: %s", m.cfg.Name, m.lastDetail), ": ")
}

// culprit is a member in that state for a reason of its own, the one that acted if possible.
func (g *SyncGroup) culprit(to State) *Instance {
	if m := g.members[g.actor]; m.state == to && m.lastReason != ReasonGroup {
		return m
	}
	for _, m := range g.members {
		if m.state == to && m.lastReason != ReasonGroup {
			return m
		}
	}
	return nil
}

// settle reports a change of the whole.
func (g *SyncGroup) settle() {
	to, ok := g.whole()
	if !ok || to == g.state {
		return
	}
	t := GroupTransition{From: g.state, To: to, Reason: ReasonGroup, Detail: g.reasonFor(to), Cause: g.cause}
	if m := g.culprit(to); m != nil {
		t.Reason = m.lastReason
	}
	g.state = to
	g.actions = append(g.actions, GroupAction{-1, t})
}

// whole is the state of all together; not ok while they are started or stopped one by one.
func (g *SyncGroup) whole() (State, bool) {
	switch n := g.count(); {
	case n[Init] == len(g.members):
		return Init, true
	case n[Init] > 0:
		return 0, false
	case n[Fault] > 0:
		return Fault, true
	case n[Master] == len(g.members):
		return Master, true
	}
	return Backup, true
}

// String lists the members, one per line.
func (g *SyncGroup) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", g.name, g.state)
	for _, m := range g.members {
		fmt.Fprintf(&b, "\n  %v", m)
	}
	return b.String()
}
