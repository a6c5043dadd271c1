package replica

import (
	"encoding/json"
	"testing"

	"quorate/cluster"
)

// FuzzState: whatever a snapshot holds, it is read whole or refused whole.
func FuzzState(f *testing.F) {
	m := cluster.NewMachine()
	m.Apply(cluster.Txn{Then: []cluster.Op{{Key: "/a", Value: []byte("b")}}})
	b, err := encodeState(&Roster{Cluster: 7, Members: []cluster.Member{{ID: 1, Name: "a", Address: "a:1"}}, Removed: []uint64{3}}, m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		m := cluster.NewMachine()
		r, err := decodeState(b, m)
		if err != nil {
			if m.Rev() != 0 || m.Len() != 0 {
				t.Fatal("a refused snapshot changed the machine")
			}
			return
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
	})
}
