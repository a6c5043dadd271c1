// Package replica is one member of the replicated store as a machine: what raft decides, what is applied, who belongs to the
// cluster, and who gets which answer. It has no disk, no network, no clock and no goroutine. Package raftstore drives it on a
// director, package sim in virtual time.
//
//	r, err := replica.New(now, cfg, state)   from what the disk held
//	r.Step(now, event)                       Tick, Received, Propose, Change, Read, Saved, …
//	for _, a := range r.Ready() { … }        Save, Send, Answer, Applied, Peers, …, Stop
//	at, ok := r.Deadline()                   when the next Tick is wanted
//
// # Order
//
// Ready returns actions in the only order that is safe: a Save comes last, and what depends on it is returned only after
// Saved. So no message promises what is not on disk, and no Answer comes before the command is on a majority of disks and applied
// here. A driver may go on with Step while the disk works, or wait for it, as raftstore does.
//
// # Requests
//
// A Propose waits (held) until there is a leader that was heard lately, is handed to raft (open), and is answered when the command
// of its id is applied. A Read asks the leader for its commit index, which a majority confirms, and is answered once that is
// applied. Reads that come meanwhile share the next question.
//
// # Members
//
// Roster is the member list, changed by the log only (applyConfChange). A new member begins as a learner; the leader makes it a voter once it
// has caught up (maintainMembers). One that is removed ends with ErrRemoved.
//
// # Disks that go back
//
// raft relies on disks that keep what was synced. restored.go notices a leader's message that shows otherwise, as when a virtual machine
// went back to a snapshot, and ends the replica with what to do.
//
// # Chance
//
// raft draws its election time-outs from crypto/rand and offers no other way. So raft is not told that time passes while it does not lead
// (TickQuiesced), and the replica calls the election itself, after one to two election time-outs as raft would: see election.go.
// Config.Jitter is the only chance there is; equal inputs and jitter give equal actions.
package replica
