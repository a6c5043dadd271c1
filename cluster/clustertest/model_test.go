package clustertest

import (
	"errors"
	"testing"

	"quorate/cluster"
)

func TestModel(t *testing.T) {
	s := NewModel(cluster.Member{ID: 1, Name: "a", Address: "a:1"})
	Conformance(t, func(*testing.T) cluster.Store { return s })
	s.SetFault(cluster.ErrNoQuorum)
	if _, err := s.Txn(t.Context(), puts(put("/x", "y"))); !errors.Is(err, cluster.ErrNoQuorum) {
		t.Errorf("with a fault: %v", err)
	}
	if st := s.Status(); st.HasQuorum {
		t.Errorf("with a fault: %+v", st)
	}
}
