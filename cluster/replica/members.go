package replica

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"quorate/cluster"
)

// confRequest is a change of the member list.
type confRequest struct {
	kind   raftpb.ConfChangeType
	member cluster.Member
}

// confContext travels with the change in the log.
type confContext struct {
	Request string         `json:"request"` // RequestID of who proposed it
	Member  cluster.Member `json:"member"`
}

func (c *confRequest) change(id cluster.RequestID) *raftpb.ConfChange {
	b, err := json.Marshal(confContext{Request: id.String(), Member: c.member})
	if err != nil {
		panic(err) // strings and numbers
	}
	return &raftpb.ConfChange{Type: c.kind.Enum(), NodeId: new(c.member.ID), Context: b}
}

// applyConfChange executes a change of the member list. Its judgement depends on nothing but the log, so that all
// members come to the same.
func (rep *Replica) applyConfChange(e *raftpb.Entry) error {
	if e.GetType() != raftpb.EntryConfChange {
		return fmt.Errorf("member change of type %v: %w", e.GetType(), cluster.ErrVersion)
	}
	var cc raftpb.ConfChange
	var ctx confContext
	if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
		return fmt.Errorf("member change: %w", err)
	}
	if err := json.Unmarshal(cc.GetContext(), &ctx); err != nil {
		return fmt.Errorf("member change: %w", err)
	}
	m := ctx.Member
	r := rep.roster
	refused := refuseChange(&r, &cc, m)
	if refused != nil {
		cc.NodeId = new(raft.None) // raft's way of saying that the change does not happen
	} else {
		switch cc.GetType() {
		case raftpb.ConfChangeRemoveNode:
			r.remove(m.ID)
		default:
			if old, known := r.Find(m.ID); known && cc.GetType() == raftpb.ConfChangeUpdateNode {
				m.Learner = old.Learner
			}
			r.put(m)
		}
	}
	rep.conf = rep.rn.ApplyConfChange(&cc)
	rep.setRoster(r)
	if refused == nil {
		rep.report(LevelInfo, "member list changed", "change", cc.GetType().String(), "member", m.ID, "name", m.Name, "address", m.Address)
	}
	var id cluster.RequestID
	if b, err := hex.DecodeString(ctx.Request); err == nil && len(b) == len(id) {
		copy(id[:], b)
		rep.answer(Answer{ID: id, Err: refused})
	}
	if refused == nil && cc.GetType() == raftpb.ConfChangeRemoveNode && m.ID == rep.cfg.Self.ID {
		// A leader that goes at once would leave the others not knowing that its removal is committed.
		rep.leaving = rep.ticks + uint64(rep.cfg.ElectionTicks)/2
	}
	return nil
}

// refuseChange says why a committed change does not happen.
func refuseChange(r *Roster, cc *raftpb.ConfChange, m cluster.Member) error {
	old, known := r.Find(m.ID)
	switch {
	case m.ID != cc.GetNodeId() || m.ID == 0:
		return fmt.Errorf("change of member %d names member %d", cc.GetNodeId(), m.ID)
	case cc.GetType() == raftpb.ConfChangeRemoveNode:
		if !known {
			return fmt.Errorf("no member has id %d", m.ID)
		}
		return nil
	case r.WasRemoved(m.ID):
		return fmt.Errorf("id %d belonged to a removed member", m.ID)
	case cc.GetType() == raftpb.ConfChangeAddLearnerNode && known:
		return fmt.Errorf("%s is a member already", old.Name)
	case cc.GetType() != raftpb.ConfChangeAddLearnerNode && !known:
		return fmt.Errorf("no member has id %d", m.ID)
	}
	if o, clash := r.Clash(m); clash {
		return fmt.Errorf("member %d (%s) has the name or address already", o.ID, o.Name)
	}
	return nil
}

// setRoster makes r current and tells the driver.
func (rep *Replica) setRoster(r Roster) {
	p := Peers{Members: r.Members}
	for _, m := range rep.roster.Members {
		if _, still := r.Find(m.ID); !still {
			p.Gone = append(p.Gone, m.ID)
		}
	}
	rep.roster = r
	rep.push(p)
}

// maintainMembers runs every tick: it promotes learners that have caught up, and tells the others if this member's
// address or name has changed since they last heard.
func (r *Replica) maintainMembers() {
	if r.leader == 0 || r.ticks%uint64(max(r.cfg.ElectionTicks/2, 1)) != 0 {
		return
	}
	if me, ok := r.roster.Find(r.cfg.Self.ID); ok && (me.Address != r.cfg.Self.Address || me.Name != r.cfg.Self.Name) {
		m := r.cfg.Self
		m.Learner = me.Learner
		r.proposeSilently(&confRequest{raftpb.ConfChangeUpdateNode, m})
		return
	}
	if r.leader != r.cfg.Self.ID {
		return
	}
	commit := r.rn.BasicStatus().HardState.GetCommit()
	var ready uint64
	r.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if typ == raft.ProgressTypeLearner && pr.State == tracker.StateReplicate && pr.RecentActive && pr.Match+promoteLag >= commit {
			if ready == 0 || id < ready {
				ready = id
			}
		}
	})
	if m, ok := r.roster.Find(ready); ok && ready != 0 {
		m.Learner = false
		r.proposeSilently(&confRequest{raftpb.ConfChangeAddNode, m})
	}
}

// promoteLag is how many entries a learner may be behind when it becomes a voter.
const promoteLag = 64

// proposeSilently proposes without anybody waiting; maintainMembers repeats it if it comes to nothing.
func (r *Replica) proposeSilently(c *confRequest) {
	if err := r.rn.ProposeConfChange(c.change(r.ownID())); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
		r.report(LevelWarn, "cannot propose a member change", "error", err)
	}
}
