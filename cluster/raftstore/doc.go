// Package raftstore keeps cluster.Store among the directors themselves: go.etcd.io/raft/v3 decides, etcd's wal and snap
// packages keep what must not be forgotten, and framed messages travel over connections that the caller makes (mutual TLS).
//
// # A cluster's life
//
//	Bootstrap(dir, self, initial)     on the first director: a store with one voter and the initial keys
//	s, err := Open(cfg)               starts the member; what it knows to be committed is applied when it returns
//	go s.HandleConn(conn)             for each connection that the cluster listener has accepted and authenticated
//
//	InitMember(dir, self)             on another director: an empty store
//	Open(cfg)
//	s.AddMember(ctx, member)          on a present one: a learner, which counts for no majority
//	                                  … the leader sends it a snapshot and the log, and makes it a voter
//	s.RemoveMember(ctx, id)           the removed one learns it and stops; its id is never used again
//
// Creating a store touches nothing but the disk and is one rename: a store exists whole or not at all.
//
// # What one goroutine does
//
// What is decided is decided by package replica, a machine. run drives it: it takes time, messages, requests and reports, as many as there are,
// and then does what the machine wants done (rest), always in this order:
//
//	snapshot, entries, term and vote   to disk, synced                Disk
//	messages                           into the queues of the peers   transport
//	answers                            to those who wait              waiter
//
// So nothing is promised to another member before it is on disk, and nothing acknowledged before it is on a majority of
// disks and applied here. Proposals that arrive during a sync share the next one: that is all the batching there is.
// Heartbeats wait for the disk as well; a member whose disk hangs loses the lead, as it should.
//
// A write is recognised by its request id when it is applied. A read (Get, Range) asks the leader for its commit index,
// which the leader confirms with a majority (ReadIndex), and waits until that is applied here; reads that arrive
// meanwhile share the next question.
//
// # What a request gets
//
//	ErrNoQuorum  no leader for NoQuorumAfter; then at once, until there is one. The text names who is missing and why.
//	ErrTimeout   handed to a leader and not heard of again, or that leader lost the lead. It may still happen.
//	ErrFailed    this member has stopped: Status.Failed says why. LocalRange still works.
//
// While the leader is silent for a few heartbeats a request is kept and not handed to it, so that most requests
// survive a change of leader.
//
// # When things break
//
// Any error of the disk (full, read-only, failed sync) ends the store: no retry can tell what a failed sync has written.
// It leaves the network at once, so that the others elect a new leader. Open again, after space was freed, continues
// with everything that was acknowledged.
//
// A crash leaves at most one write unfinished at the end of the log. Open cuts it off and logs how much (cutTornTail).
// Whatever else does not check is damage: Open refuses and names the file and the remedy, because cutting there would
// silently lose what this member has promised to remember. A voter that comes back with an empty store under its old
// id is refused by the others for the same reason. Not recognised is damage that looks exactly like a
// torn write: in the very last record, with zeros at its end.
//
// If raft finds its data contradictory it panics; the replica turns that into a failed store with the same remedy.
//
// # Connections
//
// Each member dials each other and sends on that connection only (frame.go has the layout). A queue that is full drops:
// raft repeats. A peer that stops reading is dropped after a write deadline, one that says nothing, not even a ping,
// after a read deadline. The hello carries the sender's address, which is how a joiner can answer, and how a member
// that has moved is found.
package raftstore
