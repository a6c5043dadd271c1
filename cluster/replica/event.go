package replica

import (
	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
)

// Event is an input of Step.
type Event interface{ event() }

// Tick says that time has passed; Deadline tells when it is wanted.
type Tick struct{}

// Received is a message of another member.
type Received struct{ Message *raftpb.Message }

// Propose asks for a command to be committed. Answer has its outcome; none comes if Live has become false before.
type Propose struct {
	ID   cluster.RequestID
	Data []byte      // cluster.Command.Encode, with the same ID
	Live func() bool // whether somebody still waits; nil: always
}

// Change asks for a change of the member list, see Propose.
type Change struct {
	ID     cluster.RequestID
	Kind   raftpb.ConfChangeType
	Member cluster.Member
	Live   func() bool
}

// Read asks for an Answer once everything is applied here that was acknowledged anywhere before.
type Read struct {
	ID   cluster.RequestID
	Live func() bool
}

// Unreachable says that a message to a member got lost.
type Unreachable struct{ ID uint64 }

// SnapshotSent says what became of a snapshot that was to be sent to a member.
type SnapshotSent struct {
	ID     uint64
	Failed bool
}

// Saved says that the disk has done the last Save.
type Saved struct{}

// GiveUp fails every request that waits, with Err: the driver does so while Lost, unless it sees that a leader may soon be there.
type GiveUp struct{ Err error }

// Close asks for an end in order: a leader hands over first. Stop follows.
type Close struct{}

func (Tick) event()         {}
func (Received) event()     {}
func (Propose) event()      {}
func (Change) event()       {}
func (Read) event()         {}
func (Unreachable) event()  {}
func (SnapshotSent) event() {}
func (Saved) event()        {}
func (GiveUp) event()       {}
func (Close) event()        {}

// Action is something to be done, in the order in which Ready returns them.
type Action interface{ action() }

// Save is to be put on stable storage, the snapshot before the rest; what is not there must not be promised to anybody. Ready returns nothing
// more until Saved says that it is done. If the disk cannot, the replica must not be used any more.
type Save struct {
	Snapshot  *raftpb.Snapshot  // nil: none
	HardState *raftpb.HardState // nil: as it was. If only its commit index differs it may be written later
	Entries   []*raftpb.Entry
}

// Send is a message to another member. One of type MsgSnap wants a SnapshotSent, others an Unreachable if they are lost.
type Send struct{ Message *raftpb.Message }

// Answer is the outcome of a Propose, Change or Read.
type Answer struct {
	ID     cluster.RequestID
	Result cluster.TxnResult
	Err    error
}

// Applied says that the revision of KV has grown.
type Applied struct{}

// Peers says that the member list has changed; Gone are ids that were in it and are no longer.
type Peers struct {
	Members []cluster.Member
	Gone    []uint64
}

// Compact says that a snapshot was saved and the disk may forget what came before it.
type Compact struct{}

// Level says who wants to read a Report.
type Level uint8

// Levels.
const (
	_ Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// Report is for the log. Args are names and values in turn.
type Report struct {
	Level Level
	Text  string
	Args  []any
}

// Stop is the last action: because of Err or, if that is nil, of Close. Requests that wait get no Answer.
type Stop struct{ Err error }

func (Save) action()    {}
func (Send) action()    {}
func (Answer) action()  {}
func (Applied) action() {}
func (Peers) action()   {}
func (Compact) action() {}
func (Report) action()  {}
func (Stop) action()    {}
