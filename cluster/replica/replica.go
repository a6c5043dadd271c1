package replica

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"quorate/cluster"
)

// Replica is one member of a replicated store. It has one caller.
type Replica struct {
	cfg     Config
	rn      *raft.RawNode
	storage *logStorage
	kv      *cluster.Machine
	roster  Roster
	conf    *raftpb.ConfState
	fresh   bool // nothing was ever stored: no log, no vote

	applied, snapIndex uint64
	termSeen           uint64 // highest term of an applied entry
	logBytes           int    // applied since the last snapshot

	now        time.Duration
	tickAt     time.Duration // of the next tick
	ticks      uint64        // since New
	heardAt    uint64        // tick of the last message from the leader
	noLeaderAt uint64        // tick since which there has been none; 0: there is one
	lost       bool
	patience   patience
	leader     uint64

	held    []*request // to be proposed once there is a leader
	open    []*request // handed to raft and not answered, in that order
	reads   []*request // not asked for yet
	asked   readBatch  // on its way to the leader
	granted []readBatch
	ids     uint64 // of its own requests so far

	leaving  uint64 // tick at which this removed member stops; 0: it is none
	stopping uint64 // tick at which this closing leader stops even if nobody has taken over; 0: it is none

	saving saving
	rd     raft.Ready // being saved
	next   struct {   // what its snapshot holds
		kv     *cluster.Machine
		roster Roster
	}
	actions []Action
	ended   bool
}

// saving says what the disk is busy with.
type saving uint8

const (
	savingNothing  saving = iota
	savingReady           // what raft wants stored
	savingSnapshot        // the state as applied
)

// New brings a replica to where its disk says it was. now is the time as Step gets it. What the disk knows to be committed is applied by the first
// actions.
func New(now time.Duration, cfg Config, from State) (r *Replica, err error) {
	if cfg.History == (cluster.HistoryLimit{}) {
		cfg.History = cluster.DefaultHistory()
	}
	r = &Replica{cfg: cfg, kv: cluster.NewMachineHistory(cfg.History), now: now, tickAt: now + cfg.Tick}
	r.fresh = from.Snapshot == nil && len(from.Entries) == 0 && raft.IsEmptyHardState(from.HardState)
	r.storage = &logStorage{MemoryStorage: raft.NewMemoryStorage(), r: r}
	if from.Snapshot != nil {
		md := from.Snapshot.GetMetadata()
		roster, err := decodeState(from.Snapshot.GetData(), r.kv)
		if err != nil {
			return nil, fmt.Errorf("snapshot at index %d: %w: %s", md.GetIndex(), err, Remedy)
		}
		if err := r.storage.ApplySnapshot(from.Snapshot); err != nil {
			return nil, err
		}
		r.applied, r.snapIndex, r.conf = md.GetIndex(), md.GetIndex(), md.GetConfState()
		r.setRoster(roster)
	}
	if err := r.storage.SetHardState(from.HardState); err != nil {
		return nil, err
	}
	if err := r.storage.Append(from.Entries); err != nil {
		return nil, err
	}
	r.patience.term, r.patience.vote = from.HardState.GetTerm(), from.HardState.GetVote()
	r.rewait()
	defer recovered(&err)
	r.rn, err = raft.NewRawNode(&raft.Config{
		ID: cfg.Self.ID, ElectionTick: cfg.ElectionTicks, HeartbeatTick: 1,
		Storage: r.storage, Applied: r.applied,
		MaxSizePerMsg: 1 << 20, MaxCommittedSizePerReady: 16 << 20, MaxUncommittedEntriesSize: 128 << 20, MaxInflightMsgs: 256,
		CheckQuorum: true, PreVote: true, StepDownOnRemoval: true, Logger: raftLogger{r},
	})
	return r, err
}

// Campaign calls an election if there is nobody to wait for. It is for the moment when the first actions are done.
func (r *Replica) Campaign() (err error) {
	defer recovered(&err)
	if v := r.conf.GetVoters(); len(v) == 1 && v[0] == r.cfg.Self.ID {
		return r.rn.Campaign()
	}
	return nil
}

// KV is what has been applied. It changes in Step and Ready only, and may be another one after them.
func (r *Replica) KV() *cluster.Machine { return r.kv }

// Roster is the member list as applied.
func (r *Replica) Roster() *Roster { return &r.roster }

// Fresh reports that nothing was ever stored: neither a log nor a vote.
func (r *Replica) Fresh() bool { return r.fresh }

// Lost reports that there has been no leader for NoQuorumAfter.
func (r *Replica) Lost() bool { return r.lost }

// Kept is the index of the first log entry in memory.
func (r *Replica) Kept() uint64 {
	first, _ := r.storage.FirstIndex() // MemoryStorage has no errors
	return first
}

// Applied is the index of the last entry that KV has.
func (r *Replica) Applied() uint64 { return r.applied }

// Leads reports whether this member is the leader, and the term as last saved or about to be.
func (r *Replica) Leads() (term uint64, leads bool) { return r.patience.term, r.patience.leads }

// Deadline is when the next Tick is due.
func (r *Replica) Deadline() (time.Duration, bool) { return r.tickAt, !r.ended }

// Status is the present view of consensus.
func (r *Replica) Status() cluster.Status {
	b := r.rn.BasicStatus()
	st := cluster.Status{
		Leader: r.leader, Term: b.HardState.GetTerm(), Commit: b.HardState.GetCommit(), Applied: r.applied,
		HasQuorum: r.hasQuorum(), Rev: r.kv.Rev(), Members: r.roster.byName(), Self: r.cfg.Self,
	}
	if m, ok := r.roster.Find(r.cfg.Self.ID); ok {
		st.Self = m
	}
	return st
}

func (r *Replica) push(a Action) { r.actions = append(r.actions, a) }

// end stops the replica.
func (r *Replica) end(err error) {
	if !r.ended {
		r.ended = true
		r.push(Stop{err})
	}
}

// Step takes one input.
func (r *Replica) Step(now time.Duration, ev Event) {
	if r.ended {
		return
	}
	r.now = now
	if err := r.step(ev); err != nil {
		r.end(err)
	}
}

func (r *Replica) step(ev Event) (err error) {
	defer recovered(&err)
	switch ev := ev.(type) {
	case Tick:
		return r.tick()
	case Received:
		return r.receive(ev.Message)
	case Propose:
		r.held = append(r.held, &request{id: ev.ID, data: ev.Data, live: ev.Live})
	case Change:
		r.held = append(r.held, &request{id: ev.ID, conf: &confRequest{ev.Kind, ev.Member}, live: ev.Live})
	case Read:
		r.reads = append(r.reads, &request{id: ev.ID, live: ev.Live})
	case Unreachable:
		r.rn.ReportUnreachable(ev.ID)
	case SnapshotSent:
		status := raft.SnapshotFinish
		if ev.Failed {
			status = raft.SnapshotFailure
		}
		r.rn.ReportSnapshot(ev.ID, status)
	case Saved:
		return r.saved()
	case GiveUp:
		r.giveUp(ev.Err)
	case Close:
		if !r.handOver() {
			r.end(nil)
		}
	}
	return nil
}

// Ready returns what is to be done now; nothing: the replica rests until the next event.
func (r *Replica) Ready() []Action {
	if !r.ended && r.saving == savingNothing {
		if err := r.work(); err != nil {
			r.end(err)
		}
	}
	acts := r.actions
	r.actions = nil
	return acts
}

// work does everything that follows from the inputs, until something has to be saved.
func (r *Replica) work() (err error) {
	defer recovered(&err)
	for {
		r.proposeHeld()
		r.askReads()
		if !r.rn.HasReady() {
			break
		}
		r.rd = r.rn.Ready()
		r.follow(&r.rd)
		if s := r.rd.SoftState; s != nil && s.Lead != r.leader {
			r.leaderChanged(s.Lead)
		}
		save := Save{Entries: r.rd.Entries}
		if !raft.IsEmptyHardState(r.rd.HardState) {
			save.HardState = r.rd.HardState
		}
		if !raft.IsEmptySnap(r.rd.Snapshot) {
			// Read before it is saved: one that cannot be must not replace what can.
			r.next.kv = cluster.NewMachineHistory(r.cfg.History)
			if r.next.roster, err = decodeState(r.rd.Snapshot.GetData(), r.next.kv); err != nil {
				return fmt.Errorf("snapshot at index %d from the leader: %w", r.rd.Snapshot.GetMetadata().GetIndex(), err)
			}
			save.Snapshot = r.rd.Snapshot
		}
		if save.Snapshot != nil || save.HardState != nil || len(save.Entries) > 0 {
			r.saving = savingReady
			r.push(save)
			return nil
		}
		if err := r.perform(); err != nil {
			return err
		}
	}
	if err := r.snapshotIfDue(); err != nil {
		return err
	}
	if r.stopping != 0 && (r.leader != r.cfg.Self.ID || r.ticks >= r.stopping) {
		r.end(nil)
	}
	return nil
}

func (r *Replica) saved() error {
	was := r.saving
	r.saving = savingNothing
	if was == savingSnapshot {
		return r.snapshotSaved()
	}
	r.fresh = false
	return r.perform()
}

// perform does what raft wants after its data are safe, in the order that makes it safe: messages, then the machine, then answers.
func (r *Replica) perform() error {
	rd := r.rd
	r.rd = raft.Ready{}
	if !raft.IsEmptySnap(rd.Snapshot) {
		if err := r.install(rd.Snapshot); err != nil {
			return err
		}
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := r.storage.SetHardState(rd.HardState); err != nil {
			return err
		}
	}
	if err := r.storage.Append(rd.Entries); err != nil {
		return err
	}
	for _, m := range rd.Messages {
		if m.GetTo() != 0 {
			r.push(Send{m})
		}
	}
	if err := r.apply(rd.CommittedEntries); err != nil {
		return err
	}
	for _, rs := range rd.ReadStates {
		if r.asked.readers != nil && string(rs.RequestCtx) == string(r.asked.id[:]) {
			r.asked.index = rs.Index
			r.granted = append(r.granted, r.asked)
			r.asked = readBatch{}
		}
	}
	r.serveReads()
	r.rn.Advance(rd)
	return nil
}

func (r *Replica) receive(m *raftpb.Message) error {
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		r.heard(m)
	}
	if err := r.contradiction(m); err != nil {
		return err
	}
	if err := r.rn.Step(m); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
		r.report(LevelDebug, "raft refused a message", "from", m.GetFrom(), "type", m.GetType().String(), "error", err)
	}
	return nil
}

// hasQuorum is Status.HasQuorum. CheckQuorum makes a leader step down that lost its majority; a follower
// must look itself, because a learner never doubts its leader.
func (r *Replica) hasQuorum() bool {
	return r.leader != 0 && (r.leader == r.cfg.Self.ID || r.ticks-r.heardAt <= uint64(2*r.cfg.ElectionTicks))
}

// leaderAlive is stricter: what is handed to a leader that has missed a few heartbeats is probably lost and its fate
// unknown, so it is better kept until there is a sign of life or another leader.
func (r *Replica) leaderAlive() bool {
	return r.leader != 0 && (r.leader == r.cfg.Self.ID || r.ticks-r.heardAt <= 3)
}

// tick counts one unit of time, if it is due. A replica that was held up does not make up for what it slept through: it would
// call an election before it has read what waits for it.
func (r *Replica) tick() error {
	if r.now < r.tickAt {
		return nil
	}
	r.tickAt += r.cfg.Tick
	if r.tickAt <= r.now {
		r.tickAt += (r.now - r.tickAt) / r.cfg.Tick * r.cfg.Tick
		if r.tickAt <= r.now {
			r.tickAt += r.cfg.Tick
		}
	}
	r.ticks++
	r.tickRaft()
	if r.leaving != 0 && r.ticks >= r.leaving {
		return ErrRemoved
	}
	if r.hasQuorum() {
		r.noLeaderAt, r.lost = 0, false
	} else {
		if r.noLeaderAt == 0 {
			r.noLeaderAt = r.ticks
		}
		r.lost = time.Duration(r.ticks-r.noLeaderAt)*r.cfg.Tick >= r.cfg.NoQuorumAfter
	}
	r.forget()
	r.maintainMembers()
	return nil
}

// handOver makes the most advanced other voter the leader, so that a member that is closed in order costs the cluster
// no election time-out. It reports whether there is something to wait for.
func (r *Replica) handOver() bool {
	if r.leader != r.cfg.Self.ID {
		return false
	}
	var best, match uint64
	r.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if id == r.cfg.Self.ID || typ != raft.ProgressTypePeer || !pr.RecentActive {
			return
		}
		if pr.Match > match || pr.Match == match && id < best {
			best, match = id, pr.Match
		}
	})
	if best == 0 {
		return false
	}
	r.stopping = r.ticks + uint64(max(r.cfg.ElectionTicks/2, 1))
	r.rn.TransferLeader(best)
	return true
}

func (r *Replica) leaderChanged(to uint64) {
	r.leader, r.heardAt = to, r.ticks
	term := r.rn.BasicStatus().HardState.GetTerm()
	if to == 0 {
		r.report(LevelWarn, "cluster has no leader", "term", term)
		return
	}
	m, _ := r.roster.Find(to)
	r.report(LevelInfo, "cluster leader", "member", to, "name", m.Name, "term", term, "self", to == r.cfg.Self.ID)
}
