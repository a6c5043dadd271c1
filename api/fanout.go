package api

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"quorate/cluster"
)

// statusBudget is how long status waits for another member: an operator in an incident must not.
const statusBudget = time.Second

// NodeReport is what asking one member for its status gave.
type NodeReport struct {
	Member cluster.Member
	Status *NodeStatus // nil: it did not answer
	Err    string      // why not
	Denied bool        // it answered that the asking member is none
}

// peer is a client for another member's API.
func (s *Server) peer(m cluster.Member) *Client {
	tr := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.dialMember(ctx, m.Address, protoHTTP)
		},
		DisableKeepAlives: true, // each call notices at once that a member is gone
	}
	return &Client{base: "https://" + m.Address, http: &http.Client{Transport: tr}, what: m.Name + " at " + m.Address}
}

// reports asks every member at once, itself included, and returns the answers in the order of the members.
func (s *Server) reports(ctx context.Context) []NodeReport {
	members := s.members()
	out := make([]NodeReport, len(members))
	self := s.id.Load()
	ctx, cancel := context.WithTimeout(ctx, statusBudget)
	defer cancel()
	var wg sync.WaitGroup
	for i, m := range members {
		out[i].Member = m
		if m.ID == self.ID {
			st := s.nodeStatus()
			out[i].Status = &st
			continue
		}
		wg.Go(func() {
			st, err := s.peer(m).Node(ctx)
			if err != nil {
				e := AsError(err)
				out[i].Err, out[i].Denied = e.Message, e.Code == CodeDenied && strings.Contains(e.Message, notMember)
				return
			}
			out[i].Status = st
		})
	}
	wg.Wait()
	return out
}

// clusterStatus merges what all members say; it needs no quorum.
func (s *Server) clusterStatus(ctx context.Context) *Status {
	self := s.id.Load()
	reports := s.reports(ctx)
	return Merge(self.Name, reports, s.now())
}
