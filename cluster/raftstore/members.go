package raftstore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"quorate/cluster"
)

var errRemoved = errors.New("this member was removed from the cluster; to use the host again, move the store's directory away and join as a new member")

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

// AddMember makes m a member. It begins as a learner, which counts for no majority; the leader makes it a voter once it
// has caught up. m must run, or soon, with a store made by InitMember. If m is a member already only its
// address and name are brought up to date. Repeating a call does no harm.
func (s *Store) AddMember(ctx context.Context, m cluster.Member) error {
	if err := checkMember(m); err != nil {
		return err
	}
	err := s.changeMembers(ctx, func(r *roster) (*confRequest, error) {
		old, known := r.find(m.ID)
		switch {
		case r.removed(m.ID):
			return nil, fmt.Errorf("id %d belonged to a removed member and cannot be used again: create the joiner's store anew", m.ID)
		case known && old.Name == m.Name && old.Address == m.Address:
			return nil, nil
		case known:
			n := m
			n.Learner = old.Learner
			return &confRequest{raftpb.ConfChangeUpdateNode, n}, nil
		}
		if o, clash := clashing(r, m); clash {
			return nil, fmt.Errorf("member %d (%s) has the name or the address %s already; remove it first", o.ID, o.Name, m.Address)
		}
		n := m
		n.Learner = true
		return &confRequest{raftpb.ConfChangeAddLearnerNode, n}, nil
	})
	if err != nil {
		return fmt.Errorf("add member %s: %w", m.Name, err)
	}
	return nil
}

// RemoveMember takes the member out. It works also for one that is dead, as long as a majority of the present
// members lives. The removed one learns it when it is connected, and stops.
func (s *Store) RemoveMember(ctx context.Context, id uint64) error {
	err := s.changeMembers(ctx, func(r *roster) (*confRequest, error) {
		m, known := r.find(id)
		if !known {
			if r.removed(id) {
				return nil, nil
			}
			return nil, fmt.Errorf("no member has id %d", id)
		}
		voters := 0
		for _, o := range r.Members {
			if !o.Learner {
				voters++
			}
		}
		if !m.Learner && voters == 1 {
			return nil, fmt.Errorf("%s is the only voter; a cluster cannot do without", m.Name)
		}
		return &confRequest{raftpb.ConfChangeRemoveNode, m}, nil
	})
	if err != nil {
		return fmt.Errorf("remove member %d: %w", id, err)
	}
	return nil
}

// clashing finds another member with the name or address of m.
func clashing(r *roster, m cluster.Member) (cluster.Member, bool) {
	for _, o := range r.Members {
		if o.ID != m.ID && (o.Name == m.Name || o.Address == m.Address) {
			return o, true
		}
	}
	return cluster.Member{}, false
}

// changeMembers proposes what plan wants until plan wants nothing more. Raft silently replaces a change by an empty entry
// while another one is under way, so a proposal that is not heard of is made again.
func (s *Store) changeMembers(ctx context.Context, plan func(*roster) (*confRequest, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.RequestTimeout)
	defer cancel()
	for {
		if err := s.readBarrier(ctx); err != nil {
			return err
		}
		s.mu.RLock()
		r := s.roster
		s.mu.RUnlock()
		req, err := plan(&r)
		if err != nil || req == nil {
			return err
		}
		_, err = s.submit(&waiter{id: s.ids.next(), ctx: ctx, ch: make(chan outcome, 1), conf: req}, 20*s.cfg.Tick)
		switch {
		case err == nil:
			return nil
		case ctx.Err() == nil && errors.Is(err, cluster.ErrTimeout):
		default:
			return err
		}
	}
}

// applyConfChange executes a change of the member list. Its judgement depends on nothing but the log, so that all
// members come to the same.
func (s *Store) applyConfChange(e *raftpb.Entry) error {
	ls := &s.loop
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
	r := s.roster
	refused := refuseChange(&r, &cc, m)
	if refused != nil {
		cc.NodeId = new(raft.None) // raft's way of saying that the change does not happen
	} else {
		switch cc.GetType() {
		case raftpb.ConfChangeRemoveNode:
			r.remove(m.ID)
		default:
			if old, known := r.find(m.ID); known && cc.GetType() == raftpb.ConfChangeUpdateNode {
				m.Learner = old.Learner
			}
			r.put(m)
		}
	}
	ls.conf = ls.rn.ApplyConfChange(&cc)
	s.setRoster(r)
	if refused == nil {
		s.log.Info("member list changed", "change", cc.GetType().String(), "member", m.ID, "name", m.Name, "address", m.Address)
	}
	var id cluster.RequestID
	if b, err := hex.DecodeString(ctx.Request); err == nil && len(b) == len(id) {
		copy(id[:], b)
		if w := s.take(id); w != nil {
			w.ch <- outcome{err: refused}
		}
	}
	if refused == nil && cc.GetType() == raftpb.ConfChangeRemoveNode && m.ID == s.cfg.Self.ID {
		// A leader that goes at once would leave the others not knowing that its removal is committed.
		ls.leaving = ls.ticks + uint64(s.cfg.ElectionTicks)/2
	}
	return nil
}

// refuseChange says why a committed change does not happen.
func refuseChange(r *roster, cc *raftpb.ConfChange, m cluster.Member) error {
	old, known := r.find(m.ID)
	switch {
	case m.ID != cc.GetNodeId() || m.ID == 0:
		return fmt.Errorf("change of member %d names member %d", cc.GetNodeId(), m.ID)
	case cc.GetType() == raftpb.ConfChangeRemoveNode:
		if !known {
			return fmt.Errorf("no member has id %d", m.ID)
		}
		return nil
	case r.removed(m.ID):
		return fmt.Errorf("id %d belonged to a removed member", m.ID)
	case cc.GetType() == raftpb.ConfChangeAddLearnerNode && known:
		return fmt.Errorf("%s is a member already", old.Name)
	case cc.GetType() != raftpb.ConfChangeAddLearnerNode && !known:
		return fmt.Errorf("no member has id %d", m.ID)
	}
	if o, clash := clashing(r, m); clash {
		return fmt.Errorf("member %d (%s) has the name or address already", o.ID, o.Name)
	}
	return nil
}

// setRoster makes r current and tells the transport.
func (s *Store) setRoster(r roster) {
	s.mu.Lock()
	old := s.roster
	s.roster = r
	s.mu.Unlock()
	for _, m := range r.Members {
		if m.ID != s.cfg.Self.ID {
			s.tr.setPeer(m.ID, m.Address)
		}
	}
	for _, m := range old.Members {
		if _, still := r.find(m.ID); !still && m.ID != s.cfg.Self.ID {
			s.tr.removePeer(m.ID)
		}
	}
}

// maintainMembers runs every tick: it promotes learners that have caught up, and tells the others if this member's
// address or name has changed since they last heard.
func (s *Store) maintainMembers() {
	ls := &s.loop
	if ls.leader == 0 || ls.ticks%uint64(max(s.cfg.ElectionTicks/2, 1)) != 0 {
		return
	}
	if me, ok := s.roster.find(s.cfg.Self.ID); ok && (me.Address != s.cfg.Self.Address || me.Name != s.cfg.Self.Name) {
		m := s.cfg.Self
		m.Learner = me.Learner
		s.proposeSilently(&confRequest{raftpb.ConfChangeUpdateNode, m})
		return
	}
	if ls.leader != s.cfg.Self.ID {
		return
	}
	commit := ls.rn.BasicStatus().HardState.GetCommit()
	var ready uint64
	ls.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if typ == raft.ProgressTypeLearner && pr.State == tracker.StateReplicate && pr.RecentActive && pr.Match+promoteLag >= commit {
			if ready == 0 || id < ready {
				ready = id
			}
		}
	})
	if m, ok := s.roster.find(ready); ok && ready != 0 {
		m.Learner = false
		s.proposeSilently(&confRequest{raftpb.ConfChangeAddNode, m})
	}
}

// promoteLag is how many entries a learner may be behind when it becomes a voter.
const promoteLag = 64

// proposeSilently proposes without anybody waiting; maintainMembers repeats it if it comes to nothing.
func (s *Store) proposeSilently(c *confRequest) {
	if err := s.loop.rn.ProposeConfChange(c.change(s.ids.next())); err != nil && !errors.Is(err, raft.ErrProposalDropped) {
		s.log.Warn("cannot propose a member change", "error", err)
	}
}

// The following is what the transport asks, from its own goroutines.

func (s *Store) hello(to uint64) hello {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return hello{Protocol: protocolVersion, Cluster: s.roster.Cluster, From: s.cfg.Self, To: to, Start: s.ids.prefix, Fresh: s.fresh}
}

func (s *Store) admit(h hello) answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := answer{Cluster: s.roster.Cluster, From: s.cfg.Self, Start: s.ids.prefix, Fresh: s.fresh}
	known, isMember := s.roster.find(h.From.ID)
	switch {
	case h.Protocol != protocolVersion:
		a.Reason = fmt.Sprintf("protocol version %d, this member speaks %d", h.Protocol, protocolVersion)
	case h.To != s.cfg.Self.ID:
		a.Reason = fmt.Sprintf("this is member %d (%s), not %d", s.cfg.Self.ID, s.cfg.Self.Name, h.To)
	case h.From.ID == 0 || h.From.ID == s.cfg.Self.ID:
		a.Reason = fmt.Sprintf("%d is not an id another member can have", h.From.ID)
	case h.Cluster != 0 && a.Cluster != 0 && h.Cluster != a.Cluster:
		a.Reason = fmt.Sprintf("belongs to cluster %x, this member to %x", h.Cluster, a.Cluster)
	case s.roster.removed(h.From.ID):
		a.Reason, a.Removed = "was removed from the cluster", true
	case isMember && !known.Learner && h.Fresh:
		a.Reason = fmt.Sprintf("%s is a voter but comes with an empty store: it has lost its log and must be removed and join with a new id", known.Name)
	default:
		a.OK = true
	}
	return a
}

func (s *Store) authorize(conn net.Conn, h hello) error { return s.cfg.Authorize(conn, h.From) }

func (s *Store) vet(to uint64, a answer) error {
	s.mu.RLock()
	own := s.roster.Cluster
	known, isMember := s.roster.find(to)
	s.mu.RUnlock()
	switch {
	case a.Removed && a.From.ID == to && (own == 0 || a.Cluster == own):
		s.reported(report{id: to, removed: errRemoved.Error()})
		return errRemoved
	case !a.OK:
		return fmt.Errorf("refused: %s", a.Reason)
	case a.From.ID != to:
		return fmt.Errorf("member %d (%s) answers", a.From.ID, a.From.Name)
	case own != 0 && a.Cluster != 0 && own != a.Cluster:
		return fmt.Errorf("it belongs to cluster %x, this member to %x", a.Cluster, own)
	case isMember && !known.Learner && a.Fresh:
		return fmt.Errorf("%s is a voter but has an empty store: remove it and let it join with a new id", known.Name)
	}
	return nil
}

func (s *Store) received(m *raftpb.Message) bool {
	select {
	case s.recv <- m:
		return true
	case <-s.done:
		return false
	}
}

func (s *Store) reported(r report) {
	if r.failure && !r.snap {
		select {
		case s.reports <- r:
		default: // one more or less does not matter
		}
		return
	}
	select {
	case s.reports <- r:
	case <-s.done:
	}
}

var _ identity = (*Store)(nil)
