package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

func (i *Instance) push(a Action) { i.actions = append(i.actions, a) }

// transition is the last thing pushed on a change of state.
func (i *Instance) transition(to State, r Reason, detail string) {
	if i.state == Master {
		i.counters.ReleasedMaster++
	}
	if to == Master {
		i.counters.BecameMaster++
	}
	cause := i.cause
	if cause == 0 {
		i.ownIDs++
		cause = i.ownIDs
	}
	i.push(Transition{From: i.state, To: to, Reason: r, Detail: detail, Priority: i.prio, Master: i.master, Cause: cause})
	i.state, i.since = to, i.now
	i.lastReason, i.lastDetail = r, detail
}

func (i *Instance) clearTimers() {
	for _, t := range [...]*timer{&i.downAt, &i.advertAt, &i.secondAt, &i.lowerAt, &i.refreshAt, &i.preemptAt, &i.lowerGARPAt} {
		t.clear()
	}
	i.zeroFrom, i.lowerFrom = netip.Addr{}, netip.Addr{}
	i.wants = false
}

// claim becomes MASTER, or says that it would: the members of a sync group wait for each other.
func (i *Instance) claim(r Reason, detail string) {
	if !i.grouped {
		i.becomeMaster(r, detail)
		return
	}
	if !i.wants {
		i.wants, i.wantReason, i.wantDetail = true, r, detail
	}
	i.armDown()
}

// becomeMaster: advert, addresses, announcements, in this order (RFC 9568 6.4.2). The
// interval is our own again; keepalived 2.2.7 forgets that and keeps a learned one.
func (i *Instance) becomeMaster(r Reason, detail string) {
	i.clearTimers()
	i.masterInt = i.cfg.AdvertInt
	i.master = i.src
	i.advertiseNow()
	i.push(Acquire{})
	i.announceBlock()
	i.armRefresh()
	i.transition(Master, r, detail)
}

func (i *Instance) announceBlock() {
	i.announce(i.cfg.GARP.MasterRepeat)
	i.secondAt.clear()
	if i.cfg.GARP.MasterRepeat > 0 && i.cfg.GARP.MasterDelay > 0 {
		i.secondAt.set(i.now + i.cfg.GARP.MasterDelay)
	}
}

func (i *Instance) armRefresh() {
	i.refreshAt.clear()
	if i.cfg.GARP.MasterRefresh > 0 && i.cfg.GARP.MasterRefreshRepeat > 0 {
		i.refreshAt.set(i.now + i.cfg.GARP.MasterRefresh)
	}
}

func (i *Instance) announce(repeat int) {
	if repeat > 0 {
		i.push(Announce{Repeat: repeat})
	}
}

// enterBackup waits for a full master-down interval, with the interval in force.
func (i *Instance) enterBackup(r Reason, detail string) {
	i.clearTimers()
	i.heard = i.now
	i.armDown()
	i.transition(Backup, r, detail)
}

func (i *Instance) armDown() {
	i.downBase, i.slept = i.now, 0
	i.zeroFrom, i.lowerFrom = netip.Addr{}, netip.Addr{}
	i.downAt.set(i.now + i.masterDown(i.masterInt))
}

// rearmDown recomputes the running timer from the instant it was armed at.
func (i *Instance) rearmDown() {
	wait := i.masterDown(i.masterInt)
	if i.zeroFrom.IsValid() {
		wait = i.skew(i.masterInt)
	}
	i.downAt.set(i.downBase + wait)
}

// checkStall demotes a MASTER that slept so long that another one must be thought to be there:
// it says nothing before it has heard for a master-down interval what the others say. An owner is
// spared, nobody outranks it.
func (i *Instance) checkStall() {
	if i.state != Master || i.prio == PriorityOwner {
		return
	}
	// The others count from the advert before the one that is due. (They count with their own priority, so a better
	// backup may be there a little sooner: it wins by its priority then.)
	late := i.now - i.advertAt.at
	if late+i.cfg.AdvertInt <= i.masterDown(i.cfg.AdvertInt) {
		return
	}
	i.master = netip.Addr{}
	i.push(Release{})
	i.enterBackup(ReasonStall, fmt.Sprintf("advert due %s ago, others have taken over after %s",
		inWords(late), inWords(i.masterDown(i.cfg.AdvertInt))))
}

func (i *Instance) runTimers() {
	if i.state == Init && i.startAt.due(i.now) {
		i.startup(Startup{})
	}
	if i.state == Backup && i.downAt.due(i.now) && !i.overslept() {
		i.masterDownFired()
	}
	if i.state != Master {
		return
	}
	if i.advertAt.due(i.now) {
		i.sendAdvert()
		i.advertAt.next(i.now, i.cfg.AdvertInt)
	}
	if i.secondAt.due(i.now) {
		i.secondAt.clear()
		i.announce(i.cfg.GARP.MasterRepeat)
	}
	if i.lowerAt.due(i.now) {
		i.lowerAt.clear()
		i.announce(i.cfg.GARP.LowerPrioRepeat)
	}
	if i.refreshAt.due(i.now) {
		i.announce(i.cfg.GARP.MasterRefreshRepeat)
		i.refreshAt.next(i.now, i.cfg.GARP.MasterRefresh)
	}
}

// overslept gives the owner one interval more, once, when the wait for its adverts ends more than an interval late: this host
// stood still meanwhile, so what is missing may not have been delivered yet, and an owner on the same machine
// stood still with us. A priority 0 has been heard, nothing is missing then.
func (i *Instance) overslept() bool {
	late := i.now - i.downAt.at
	if late <= i.masterInt || i.slept > 0 || i.zeroFrom.IsValid() {
		return false
	}
	i.slept = late
	i.downAt.set(i.now + i.masterInt)
	return true
}

func (i *Instance) masterDownFired() {
	i.ownAgain()
	silence := inWords(i.now - i.heard)
	if i.slept > 0 {
		silence += ", of which this host stood still for " + inWords(i.slept)
	}
	switch {
	case i.zeroFrom.IsValid():
		i.claim(ReasonPriorityZero, fmt.Sprintf("%v said priority 0, skew time %s is over", i.zeroFrom, inWords(i.SkewTime())))
	case i.lowerFrom.IsValid() && i.now-i.lowerSeen < i.masterDown(i.masterInt):
		i.claim(ReasonPreempt, fmt.Sprintf("priority %d > %d from %v, nothing better for %s",
			i.prio, i.lowerPrio, i.lowerFrom, silence))
	case i.master.IsValid():
		i.claim(ReasonMasterDown, fmt.Sprintf("no advert from %v for %s", i.master, silence))
	default:
		i.claim(ReasonMasterDown, fmt.Sprintf("no advert from anyone for %s", silence))
	}
}

// receive handles a packet. Init and Fault hear nothing (RFC 9568 6.4.1).
func (i *Instance) receive(p Packet) {
	if i.state != Backup && i.state != Master {
		return
	}
	if err := i.check(p); err != nil {
		i.rejected(p, err)
		return
	}
	i.counters.AdvertsReceived++
	i.noteForm(p.Src)
	if i.rx.Priority == PriorityStop {
		i.counters.PriorityZeroReceived++
	}
	if i.state == Backup {
		i.backupReceives(p.Src)
	} else {
		i.masterReceives(p.Src)
	}
	if i.master == p.Src {
		i.masterPrio = i.rx.Priority
	}
}

func (i *Instance) rejected(p Packet, err error) {
	n := Note{Kind: NoteRejected, Src: p.Src, Detail: err.Error()}
	var r *RejectError
	if errors.As(err, &r) {
		n.Reject, n.Detail = r.Reason, r.Detail
	}
	i.counters.Rejected[n.Reject]++
	i.push(n)
}

// backupReceives is RFC 9568 6.4.2.
func (i *Instance) backupReceives(src netip.Addr) {
	switch {
	case i.rx.Priority == PriorityStop:
		i.backupHearsStop(src)
	case i.rx.Priority >= i.prio || i.cfg.NoPreempt || i.preemptDelayed():
		if i.rx.Priority >= i.prio {
			i.preemptAt.clear()
		}
		i.learn(src)
		i.wants = false
		i.master, i.heard = src, i.now
		i.armDown()
	default:
		// Discarded: the timer runs on, and we take over when it fires.
		// It is the owner as far as we know, unless a better one was heard just now.
		if !i.master.IsValid() || i.master == i.lowerFrom || i.now-i.heard > 2*i.masterInt {
			i.master = src
		}
		i.lowerFrom, i.lowerPrio, i.lowerSeen = src, i.rx.Priority, i.now
		i.push(Note{Kind: NoteLowerPriority, Src: src,
			Detail: fmt.Sprintf("priority %d < %d, discarded", i.rx.Priority, i.prio)})
	}
}

// backupHearsStop shortens the wait to a skew time, never lengthens it. A priority 0 from somebody
// else than the owner we hear is the last word of a second owner that lost; it says
// nothing about ours, and to act on it would make one more transition for nothing.
func (i *Instance) backupHearsStop(src netip.Addr) {
	if i.master.IsValid() && i.master != src {
		i.push(Note{Kind: NotePriorityZero, Src: src, Detail: fmt.Sprintf("ignored, the owner is %v", i.master)})
		return
	}
	skew := i.SkewTime()
	i.push(Note{Kind: NotePriorityZero, Src: src, Detail: "the owner leaves, waiting " + inWords(skew)})
	i.master = src
	if at := i.now + skew; at < i.downAt.at {
		i.downBase, i.zeroFrom = i.now, src
		i.downAt.set(at)
	}
}

// preemptDelayed says whether a lower priority is accepted because preempt_delay has not passed
// since the first one was heard.
func (i *Instance) preemptDelayed() bool {
	if i.cfg.PreemptDelay <= 0 {
		return false
	}
	if !i.preemptAt.on {
		i.preemptAt.set(i.now + i.cfg.PreemptDelay)
	}
	return i.now < i.preemptAt.at
}

// learn takes over the owner's interval (v3, RFC 9568 6.4.2); v2 demands equality before.
func (i *Instance) learn(src netip.Addr) {
	if i.cfg.Version != 3 {
		return
	}
	interval := boundInterval(i.rx.Interval, i.cfg.AdvertInt)
	if interval == i.masterInt {
		return
	}
	i.masterInt = interval
	if i.rx.Interval == i.cfg.AdvertInt {
		return
	}
	detail := fmt.Sprintf("interval %v, ours %v", i.rx.Interval, i.cfg.AdvertInt)
	if interval != i.rx.Interval {
		detail += fmt.Sprintf(", reckoned as %v", interval)
	}
	i.push(Note{Kind: NoteInterval, Src: src, Detail: detail})
}

// masterReceives is RFC 9568 6.4.3.
func (i *Instance) masterReceives(src netip.Addr) {
	theirs := i.rx.Priority
	switch {
	case i.prio == PriorityOwner && i.cfg.OwnerIgnoreAdverts:
	case theirs == PriorityOwner && i.prio == PriorityOwner:
		i.masterHearsOwner(src)
	case theirs == PriorityStop:
		i.push(Note{Kind: NotePriorityZero, Src: src, Detail: "answered, the addresses are ours"})
		i.advertiseNow()
	case theirs > i.prio:
		i.yield(src, ReasonHigherPriority, fmt.Sprintf("priority %d > %d from %v", theirs, i.prio, src))
	case theirs == i.prio && src.Compare(i.src) > 0:
		i.yield(src, ReasonHigherAddress, fmt.Sprintf("priority %d from %v, address above our %v", theirs, src, i.src))
	default:
		i.refuteLower(src)
	}
}

// yield steps down. One last advert, where that is configured, tells the better one that there were two, so that it
// announces its addresses again.
func (i *Instance) yield(src netip.Addr, r Reason, detail string) {
	if i.cfg.HigherPrioSendAdvert {
		i.sendAdvert()
	}
	i.push(Release{})
	i.learn(src)
	i.master = src
	i.enterBackup(r, detail)
}

// refuteLower answers a second owner of lower priority at once (RFC 9568 6.4.3) and takes the
// addresses back from the neighbours' ARP tables. As many announcements as we like may be provoked
// by an advert, so not more than one block in half an advert interval.
func (i *Instance) refuteLower(src netip.Addr) {
	detail := fmt.Sprintf("priority %d, ours %d: ", i.rx.Priority, i.prio)
	if i.rx.Priority == i.prio {
		detail = fmt.Sprintf("priority %d like ours, address below our %v: ", i.prio, i.src)
	}
	if i.cfg.LowerPrioNoAdvert {
		i.push(Note{Kind: NoteLowerPriority, Src: src, Detail: detail + "ignored"})
		return
	}
	i.push(Note{Kind: NoteLowerPriority, Src: src, Detail: detail + "answered"})
	if i.key != nil {
		i.seq++ // keepalived 2.2.7 goes on one above what it heard
	}
	i.advertiseNow()
	if i.cfg.GARP.LowerPrioRepeat == 0 || i.lowerGARPAt.on && i.now < i.lowerGARPAt.at {
		return
	}
	i.lowerGARPAt.set(i.now + i.cfg.AdvertInt/2)
	i.refuted = true
	i.announceLower()
}

// announceLower takes the addresses back from the neighbours' ARP tables, now and a little later.
func (i *Instance) announceLower() {
	i.announce(i.cfg.GARP.LowerPrioRepeat)
	if i.cfg.GARP.LowerPrioDelay > 0 {
		i.lowerAt.set(i.now + i.cfg.GARP.LowerPrioDelay)
	}
}

// inWords rounds to what a reader can compare.
func inWords(d time.Duration) string { return d.Round(time.Millisecond).String() }
