package replica

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRestored: members whose disks are put back to older copies, while others know more, are noticed: no two go on with different
// logs, and nobody answers anybody without pause. With three members raft itself survives it if only one of them was put back to what
// it had confirmed to nobody.
func TestRestored(t *testing.T) {
	for _, tt := range []struct {
		name     string
		restored []uint64 // the others are down meanwhile
		puts     int      // while they are
		stops    map[uint64]string
	}{
		{"one, while the others are up", []uint64{1}, 0, map[uint64]string{1: restoredHere}},
		{"most, whose log stays shorter", []uint64{2, 3}, 3, map[uint64]string{1: restoredOthers}},
		{"most, whose log is as long", []uint64{2, 3}, 20, map[uint64]string{1: restoredOthers}},
		{"most, whose log becomes longer", []uint64{2, 3}, 40, map[uint64]string{1: restoredOthers}},
		{"most, whose log was compacted", []uint64{2, 3}, 200, nil}, // a snapshot replaces what the third has
	} {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(20) {
				l := newLab(t, seed)
				l.run(4 * time.Second)
				put := func(n int) {
					for i := range n {
						l.put(l.leader(), byte(i))
						l.run(20 * time.Millisecond)
					}
				}
				put(3)
				old := slices.Clone(l.disk)
				for i := range old {
					old[i].Entries = slices.Clone(old[i].Entries)
				}
				put(60) // enough for a snapshot
				for i := range l.m {
					if id := uint64(i + 1); len(tt.restored) > 1 || slices.Contains(tt.restored, id) {
						l.m[i] = nil
					}
				}
				if len(tt.restored) == 1 && (l.leader() == 0) {
					continue // it was the leader; the next one has seen nothing confirmed yet, and it may catch up
				}
				l.stops = map[uint64]error{}
				for _, id := range tt.restored {
					l.disk[id-1] = old[id-1]
					l.start(id)
				}
				l.run(4 * time.Second)
				put(tt.puts)
				if len(tt.restored) > 1 {
					l.start(1)
				}
				from := l.delivered
				l.run(10 * time.Second)
				if n := l.delivered - from; n > 1000 {
					t.Fatalf("seed %d: %d messages in 10s", seed, n)
				}
				for id := range uint64(3) {
					err, want := l.stops[id+1], tt.stops[id+1]
					if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
						t.Fatalf("seed %d: member %d: %v, want %q\n%s", seed, id+1, err, want, l.said.String())
					}
				}
				for i, r := range l.m {
					if r != nil && r.Applied() != l.m[l.leader()-1].Applied() {
						t.Fatalf("seed %d: member %d has applied %d, the leader %d", seed, i+1, r.Applied(), l.m[l.leader()-1].Applied())
					}
				}
			}
		})
	}
}
