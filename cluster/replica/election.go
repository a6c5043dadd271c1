package replica

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// patience is when this member calls an election: raft's own way (raft.go, tickElection), with a time-out that is drawn from
// Config.Jitter and not from crypto/rand.
type patience struct {
	leads  bool
	term   uint64
	vote   uint64
	waited int // ticks since the last sign of a leader, vote or change of state
	limit  int // of waited
}

// rewait begins to wait for a leader anew.
func (r *Replica) rewait() {
	r.patience.waited, r.patience.limit = 0, r.cfg.ElectionTicks+r.cfg.Jitter(r.cfg.ElectionTicks)
}

// tickRaft lets raft count a tick.
func (r *Replica) tickRaft() {
	p := &r.patience
	if p.leads {
		r.rn.Tick()
		return
	}
	r.rn.TickQuiesced() //nolint:staticcheck // deprecated since it hides time from raft, which is the point
	if p.waited++; p.waited < p.limit || !slices.Contains(r.conf.GetVoters(), r.cfg.Self.ID) {
		return
	}
	r.rewait()
	if err := r.rn.Campaign(); err != nil {
		r.report(LevelWarn, "cannot call an election", "error", err)
	}
}

// heard notes a message that only a leader sends.
func (r *Replica) heard(m *raftpb.Message) {
	r.heardAt = r.ticks
	if m.GetTerm() >= r.patience.term {
		r.patience.waited = 0
	}
}

// follow notes what raft has become: another state, term or vote begins a new wait.
func (r *Replica) follow(rd *raft.Ready) {
	p := &r.patience
	if s := rd.SoftState; s != nil {
		p.leads = s.RaftState == raft.StateLeader
		r.rewait()
	}
	if hs := rd.HardState; !raft.IsEmptyHardState(hs) && (hs.GetTerm() != p.term || hs.GetVote() != p.vote) {
		p.term, p.vote = hs.GetTerm(), hs.GetVote()
		r.rewait()
	}
}
