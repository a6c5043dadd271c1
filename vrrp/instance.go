package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Instance is one virtual router on one host: the machine of RFC 9568 6.4 with a FAULT state.
// It is not safe for concurrent use. Make it with New.
type Instance struct {
	cfg      Config
	password [8]byte
	prio     uint8 // effective
	src      netip.Addr
	causes   []FaultCause // as told by SetFaults
	bad      error        // of Validate

	state      State
	now        time.Duration
	since      time.Duration // of the last transition
	masterInt  time.Duration // Active_Adver_Interval: ours, or learned (v3)
	masterPrio uint8         // in the latest advert of master
	master     netip.Addr

	// BACKUP
	downAt    timer
	downBase  time.Duration // when downAt was armed
	slept     time.Duration // how late downAt was served when it was put off, see overslept
	heard     time.Duration // last accepted advert
	zeroFrom  netip.Addr    // valid: downAt was shortened by this sender's priority 0
	lowerFrom netip.Addr    // valid: a lower priority was discarded since downAt was armed
	lowerSeen time.Duration
	lowerPrio uint8
	preemptAt timer // while on and in the future, a lower priority is accepted

	// MASTER
	advertAt    timer
	secondAt    timer // second block of announcements
	lowerAt     timer // the one after a lower priority was heard
	refreshAt   timer
	lowerGARPAt timer // not before this instant another block for a lower priority

	// two address owners, see masterHearsOwner
	gaveWay              bool // 254 although the configuration says 255
	rivals               int  // adverts of the other since rivalFrom
	rivalFrom, rivalSeen time.Duration

	startAt timer // INIT: the end of a startup delay

	// sync group, see SyncGroup
	grouped    bool
	wants      bool // BACKUP: would be MASTER if the group let it
	wantReason Reason
	wantDetail string
	groupFault string // another member is in FAULT
	refuted    bool   // a lower priority was answered with announcements in this Step

	// unicast and AH
	oldPeers []bool // which of Config.Peers use the old checksum
	key      *AHKey
	seq      uint32 // AH: the highest sequence number seen or sent
	ipID     uint16
	rxAH     AH

	rx            Advert
	out           []outgoing // the periodic advert, nil when it must be encoded again
	cause, ownIDs uint64
	actions, idle []Action
	counters      Counters
	lastReason    Reason
	lastDetail    string
}

// Counters count since New.
type Counters struct {
	AdvertsSent          uint64 // all, priority 0 included
	AdvertsReceived      uint64 // those that passed every check
	BecameMaster         uint64
	ReleasedMaster       uint64
	PriorityZeroSent     uint64
	PriorityZeroReceived uint64
	ChecksumMessageOnly  uint64 // received v3 IPv4 adverts with the RFC 9568 checksum; the others have the pseudo-header
	ChecksumOldUnicast   uint64 // received v3 IPv4 unicast adverts with the old_unicast_checksum
	Rejected             [numRejectReasons]uint64
}

// New returns an instance in Init. Configurations are checked where they are read; should Validate
// refuse this one all the same, the instance stays in FAULT with ReasonBadConfig, for its neighbours
// in the same process must go on.
func New(cfg Config) *Instance {
	i := &Instance{state: Init, prio: cfg.Priority, bad: Validate(cfg)}
	i.setConfig(cfg)
	i.masterInt = cfg.AdvertInt
	return i
}

func (i *Instance) setConfig(cfg Config) {
	old := i.cfg
	i.cfg = cfg.clone()
	i.password = [8]byte{}
	if cfg.AuthType == AuthPass {
		i.password = Password(cfg.AuthPass)
	}
	if cfg.AuthType != AuthAH {
		i.key = nil
	} else if i.key == nil || old.AuthPass != cfg.AuthPass {
		i.key = NewAHKey(cfg.AuthPass)
	}
	i.oldPeers = make([]bool, len(cfg.Peers))
	i.out = nil
}

// State returns the state; it changes only inside Step.
func (i *Instance) State() State { return i.state }

// Priority returns the effective priority.
func (i *Instance) Priority() uint8 { return i.prio }

// Master returns the owner now known: ourselves when MASTER, invalid when nobody was heard.
func (i *Instance) Master() netip.Addr { return i.master }

// MasterPriority returns the priority in the latest advert of the owner that a backup hears; 0 in any other state (keepalived 2.2.7, measured).
func (i *Instance) MasterPriority() uint8 {
	if i.state != Backup || !i.master.IsValid() {
		return 0
	}
	return i.masterPrio
}

// MasterInterval returns the owner's interval: ours, or learned (version 3).
func (i *Instance) MasterInterval() time.Duration { return i.masterInt }

// Config returns the configuration in force; its slices must not be changed.
func (i *Instance) Config() Config { return i.cfg }

// Counters returns a copy.
func (i *Instance) Counters() Counters { return i.counters }

// LastReason returns why the last transition happened, zero before the first; in Fault the cause that holds now.
func (i *Instance) LastReason() Reason { return i.lastReason }

// LastDetail returns the same in words.
func (i *Instance) LastDetail() string { return i.lastDetail }

// Since returns when the last transition happened.
func (i *Instance) Since() time.Duration { return i.since }

// Faults returns what keeps the instance from electing, first the one reported. A missing
// or unfit source address counts as a fault of its own.
func (i *Instance) Faults() []FaultCause {
	if f := i.ownFaults(); len(f) > 0 || i.groupFault == "" {
		return f
	}
	return []FaultCause{{ReasonGroup, i.groupFault}}
}

func (i *Instance) ownFaults() []FaultCause {
	if i.bad != nil {
		return append([]FaultCause{{ReasonBadConfig, oneLine(i.bad)}}, i.causes...)
	}
	if len(i.causes) > 0 {
		return i.causes
	}
	if !i.src.IsValid() {
		return []FaultCause{{ReasonNoAddress, "no source address is known"}}
	}
	if i.src.Is4() == i.cfg.ip6() {
		of := "IPv4"
		if len(i.cfg.Addrs) > 0 {
			of = i.cfg.Addrs[0].String()
		}
		return []FaultCause{{ReasonNoAddress, fmt.Sprintf("source address %v is not of the family of %s", i.src, of)}}
	}
	return nil
}

// Ready returns what to do now, in order, and forgets it. The slice is valid until the next Ready.
func (i *Instance) Ready() []Action {
	out := i.actions
	i.actions, i.idle = i.idle[:0], out
	return out
}

// StepCause is Step with an identity for what caused the event: every Transition in it carries the id, so that the log, a
// notify script and the transitions of other instances can be told to be one story. 0 lets the instance number
// its transitions itself, from 1; a caller gives ids always or never.
func (i *Instance) StepCause(now time.Duration, ev Event, cause uint64) {
	i.cause = cause
	i.Step(now, ev)
	i.cause = 0
}

// Step takes one input. now never runs backwards (an earlier one counts as the latest seen).
// The event comes before the timers that are due: an advert that waited in a socket while the
// process was busy still keeps a BACKUP from taking over.
func (i *Instance) Step(now time.Duration, ev Event) {
	i.now = max(i.now, now)
	i.checkStall()
	switch e := ev.(type) {
	case Tick:
	case Receive:
		i.receive(e.Packet)
	case Startup:
		i.startup(e)
	case Shutdown:
		i.startAt.clear()
		i.leave(Init, ReasonShutdown, "the instance is stopped")
	case SetFaults:
		i.causes = slices.Clone(e.Faults)
		i.updateFaults()
	case SetSource:
		i.setSource(e.Addr)
	case SetPriority:
		i.setPriority(e)
	case SetAlternates:
		i.cfg.AltAddrs = cloneLists(e.Lists)
	case Reconfigure:
		i.reconfigure(e.Config)
	}
	i.runTimers()
}

func (i *Instance) startup(e Startup) {
	if i.state != Init {
		return
	}
	if e.Delay > 0 && !e.Adopt {
		if !i.startAt.on {
			i.startAt.set(i.now + e.Delay)
		}
		return
	}
	i.startAt.clear()
	if f := i.Faults(); len(f) > 0 {
		i.push(Release{}) // what a killed predecessor left behind
		i.transition(Fault, f[0].Reason, f[0].Detail)
		return
	}
	if e.Adopt {
		i.becomeMaster(ReasonStartup, "the addresses are still ours")
		return
	}
	i.elect(ReasonStartup, "")
}

// elect enters MASTER as owner, or BACKUP (RFC 9568 6.4.1).
func (i *Instance) elect(r Reason, detail string) {
	owner := "priority 255"
	if detail != "" {
		owner += ", " + detail
	}
	if i.prio == PriorityOwner && !i.grouped {
		i.becomeMaster(ReasonOwner, owner)
		return
	}
	if i.state == Init {
		i.push(Release{})
	}
	i.enterBackup(r, detail) // also with state MASTER, and in a sync group: keepalived 2.2.7 waits as long (measured)
	if i.prio == PriorityOwner {
		i.claim(ReasonOwner, owner)
	}
}

// leave goes to Init or Fault. A MASTER says priority 0, so that the next one needs to wait
// for a skew time only (RFC 9568 6.4.3).
func (i *Instance) leave(to State, r Reason, detail string) {
	if i.state == to || i.state == Init {
		return
	}
	if i.state == Master {
		i.sendStop()
		i.push(Release{})
	}
	i.master = netip.Addr{}
	i.clearTimers()
	i.masterInt = i.cfg.AdvertInt
	i.ownAgain()
	i.transition(to, r, detail)
}

func (i *Instance) updateFaults() {
	f := i.Faults()
	switch {
	case i.state == Init:
	case i.state == Fault && len(f) > 0:
		i.lastReason, i.lastDetail = f[0].Reason, f[0].Detail // what holds us now
	case i.state == Fault:
		i.elect(ReasonFaultCleared, "after: "+i.lastDetail)
	case len(f) > 0:
		i.leave(Fault, f[0].Reason, f[0].Detail)
	}
}

func (i *Instance) setSource(ip netip.Addr) {
	if ip == i.src {
		return
	}
	i.src = ip
	i.out = nil
	wasMaster := i.state == Master
	i.updateFaults()
	if wasMaster && i.state == Master {
		i.master = ip
		i.advertiseNow()
	}
}

func (i *Instance) setPriority(e SetPriority) {
	p := max(e.Priority, 1)
	if i.gaveWay {
		return // 255 never changes by weights, and is given back in time
	}
	if i.cfg.Priority != PriorityOwner {
		p = min(p, PriorityOwner-1) // 255 is no result of weights
	}
	if p == i.prio {
		return
	}
	detail := fmt.Sprintf("%d -> %d", i.prio, p)
	if e.Detail != "" {
		detail += ": " + e.Detail
	}
	i.changePriority(p)
	i.push(Note{Kind: NotePriority, Detail: detail})
}

// reconsider keeps an owner that was about to be pre-empted when our priority has just fallen to its own or
// below: its last advert counts as accepted. Otherwise we would claim the addresses, only to be refuted.
func (i *Instance) reconsider() {
	if !i.lowerFrom.IsValid() || i.lowerPrio < i.prio || i.zeroFrom.IsValid() {
		return
	}
	i.master, i.heard, i.downBase = i.lowerFrom, i.lowerSeen, i.lowerSeen
	i.lowerFrom, i.wants = netip.Addr{}, false
}

// changePriority recomputes what depends on it. A MASTER keeps its rhythm, the next advert tells.
func (i *Instance) changePriority(p uint8) {
	old := i.prio
	i.prio = p
	i.out = nil
	if i.state == Backup {
		if p == PriorityOwner && old != PriorityOwner {
			i.claim(ReasonOwner, fmt.Sprintf("priority 255, was %d", old))
			return
		}
		i.reconsider()
		i.rearmDown()
	}
}

func (i *Instance) reconfigure(cfg Config) {
	if err := Validate(cfg); err != nil {
		i.push(Note{Kind: NoteConfig, Detail: oneLine(err)})
		return
	}
	if i.bad != nil {
		i.bad = nil
		i.prio, i.masterInt = cfg.Priority, cfg.AdvertInt
		i.setConfig(cfg)
		i.updateFaults()
		return
	}
	old := i.cfg
	prio := cfg.Priority
	switch {
	case i.gaveWay && prio == PriorityOwner:
		prio = i.prio
	case prio != PriorityOwner && old.Priority != PriorityOwner:
		// Keep what weights added or took; SetPriority follows if they changed too.
		prio = uint8(min(max(int(prio)+int(i.prio)-int(old.Priority), 1), PriorityOwner-1))
	default:
		i.gaveWay = false
	}
	if detail := newIdentity(old, cfg); detail != "" && i.state != Init {
		i.leave(Init, ReasonShutdown, detail)
		i.setConfig(cfg)
		i.prio = prio
		i.masterInt = cfg.AdvertInt
		i.startup(Startup{})
		return
	}
	i.setConfig(cfg)
	switch {
	case cfg.Version == 2 || i.state != Backup || i.masterInt == old.AdvertInt:
		i.masterInt = cfg.AdvertInt
	default: // learned; the bound may have moved
		i.masterInt = boundInterval(i.masterInt, cfg.AdvertInt)
	}
	wasMaster := i.state == Master
	i.changePriority(prio)
	if wasMaster {
		i.advertiseNow()
		i.push(Acquire{})
		if !sameAddrs(old.Addrs, cfg.Addrs) {
			i.announceBlock()
		}
		if old.GARP.MasterRefresh != cfg.GARP.MasterRefresh {
			i.armRefresh()
		}
	}
}

// newIdentity says in what the two configurations are different virtual routers to everybody else.
func newIdentity(old, cfg Config) string {
	switch {
	case old.VRID != cfg.VRID:
		return fmt.Sprintf("virtual_router_id %d -> %d", old.VRID, cfg.VRID)
	case old.Version != cfg.Version:
		return fmt.Sprintf("version %d -> %d", old.Version, cfg.Version)
	case old.ip6() != cfg.ip6():
		return "address family changed"
	}
	return ""
}
