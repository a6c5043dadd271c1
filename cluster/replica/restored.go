package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// What is said when the disks of members were put back to older copies, as of a virtual machine that goes back to its snapshot.
const (
	restoredHere   = "the disk has lost it, or was put back to an older copy: " + Remedy
	restoredOthers = "most members were put back to older copies, and what was acknowledged since then is here only: note what is to be kept, then remove this " +
		"member from the cluster, move its directory away and join again"
)

// contradiction is a leader's message that cannot be true if all disks kept what was synced to them, which raft relies on. It would
// abort over the first kind, and leave the second alone: two members would go on with different logs, or answer each other without pause.
func (r *Replica) contradiction(m *raftpb.Message) error {
	hs := r.rn.BasicStatus().HardState
	if m.GetTerm() < hs.GetTerm() {
		return nil // of a leader that was replaced; raft ignores it
	}
	last, _ := r.storage.LastIndex() // MemoryStorage has no errors
	switch m.GetType() {
	case raftpb.MsgHeartbeat:
		// A leader counts as committed for a member only what that member has confirmed (raft 5.3), which is after it was saved.
		if c := m.GetCommit(); c > last {
			return fmt.Errorf("member %d has had entry %d confirmed from here, whose log ends at %d: %s", m.GetFrom(), c, last, restoredHere)
		}
	case raftpb.MsgApp:
		commit := hs.GetCommit()
		deny := func(index, term uint64) error {
			// What is committed is in every later leader's log (raft 5.4.3). Of what was compacted, terms are known to be no higher.
			known := max(index, r.Kept()-1)
			if index > commit || known > last {
				return nil
			}
			mine, err := r.storage.Term(known) // an error: it is still being saved
			if err == nil && (term > mine || term < mine && known == index) {
				return fmt.Errorf("member %d leads with an entry of term %d at %d, where one of term %d is committed: %s", m.GetFrom(), term, index, mine, restoredOthers)
			}
			return nil
		}
		if err := deny(m.GetIndex(), m.GetLogTerm()); err != nil {
			return err
		}
		for _, e := range m.GetEntries() {
			if err := deny(e.GetIndex(), e.GetTerm()); err != nil {
				return err
			}
		}
	}
	return nil
}
