package raftstore

import (
	"context"
	"errors"
	"fmt"
	"net"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
	"quorate/cluster/replica"
)

// change is one of the member list.
type change struct {
	kind   raftpb.ConfChangeType
	member cluster.Member
}

// AddMember makes m a member. It begins as a learner, which counts for no majority; the leader makes it a voter once it
// has caught up. m must run, or soon, with a store made by InitMember. If m is a member already only its
// address and name are brought up to date. Repeating a call does no harm.
func (s *Store) AddMember(ctx context.Context, m cluster.Member) error {
	if err := replica.CheckMember(m); err != nil {
		return err
	}
	err := s.changeMembers(ctx, func(r *replica.Roster) (*change, error) {
		old, known := r.Find(m.ID)
		switch {
		case r.WasRemoved(m.ID):
			return nil, fmt.Errorf("id %d belonged to a removed member and cannot be used again: create the joiner's store anew", m.ID)
		case known && old.Name == m.Name && old.Address == m.Address:
			return nil, nil
		case known:
			n := m
			n.Learner = old.Learner
			return &change{raftpb.ConfChangeUpdateNode, n}, nil
		}
		if o, clash := r.Clash(m); clash {
			return nil, fmt.Errorf("member %d (%s) has the name or the address %s already; remove it first", o.ID, o.Name, m.Address)
		}
		n := m
		n.Learner = true
		return &change{raftpb.ConfChangeAddLearnerNode, n}, nil
	})
	if err != nil {
		return fmt.Errorf("add member %s: %w", m.Name, err)
	}
	return nil
}

// RemoveMember takes the member out. It works also for one that is dead, as long as a majority of the present
// members lives. The removed one learns it when it is connected, and stops.
func (s *Store) RemoveMember(ctx context.Context, id uint64) error {
	err := s.changeMembers(ctx, func(r *replica.Roster) (*change, error) {
		m, known := r.Find(id)
		if !known {
			if r.WasRemoved(id) {
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
		return &change{raftpb.ConfChangeRemoveNode, m}, nil
	})
	if err != nil {
		return fmt.Errorf("remove member %d: %w", id, err)
	}
	return nil
}

// changeMembers proposes what plan wants until plan wants nothing more. Raft silently replaces a change by an empty entry
// while another one is under way, so a proposal that is not heard of is made again.
func (s *Store) changeMembers(ctx context.Context, plan func(*replica.Roster) (*change, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.cfg.RequestTimeout)
	defer cancel()
	for {
		if err := s.readBarrier(ctx); err != nil {
			return err
		}
		s.mu.RLock()
		r := *s.rep.Roster()
		s.mu.RUnlock()
		req, err := plan(&r)
		if err != nil || req == nil {
			return err
		}
		_, err = s.submit(ctx, 20*s.cfg.Tick, func(id cluster.RequestID, live func() bool) replica.Event {
			return replica.Change{ID: id, Kind: req.kind, Member: req.member, Live: live}
		})
		switch {
		case err == nil:
			return nil
		case ctx.Err() == nil && errors.Is(err, cluster.ErrTimeout):
		default:
			return err
		}
	}
}

// The following is what the transport asks, from its own goroutines.

func (s *Store) hello(to uint64) hello {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return hello{Protocol: protocolVersion, Cluster: s.rep.Roster().Cluster, From: s.cfg.Self, To: to, Start: s.ids.prefix, Fresh: s.rep.Fresh()}
}

func (s *Store) admit(h hello) answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := answer{Cluster: s.rep.Roster().Cluster, From: s.cfg.Self, Start: s.ids.prefix, Fresh: s.rep.Fresh()}
	known, isMember := s.rep.Roster().Find(h.From.ID)
	switch {
	case h.Protocol != protocolVersion:
		a.Reason = fmt.Sprintf("protocol version %d, this member speaks %d", h.Protocol, protocolVersion)
	case h.To != s.cfg.Self.ID:
		a.Reason = fmt.Sprintf("this is member %d (%s), not %d", s.cfg.Self.ID, s.cfg.Self.Name, h.To)
	case h.From.ID == 0 || h.From.ID == s.cfg.Self.ID:
		a.Reason = fmt.Sprintf("%d is not an id another member can have", h.From.ID)
	case h.Cluster != 0 && a.Cluster != 0 && h.Cluster != a.Cluster:
		a.Reason = fmt.Sprintf("belongs to cluster %x, this member to %x", h.Cluster, a.Cluster)
	case s.rep.Roster().WasRemoved(h.From.ID):
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
	own := s.rep.Roster().Cluster
	known, isMember := s.rep.Roster().Find(to)
	s.mu.RUnlock()
	switch {
	case a.Removed && a.From.ID == to && (own == 0 || a.Cluster == own):
		s.reported(report{id: to, removed: replica.ErrRemoved.Error()})
		return replica.ErrRemoved
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
