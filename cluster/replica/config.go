package replica

import (
	"errors"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
)

// Config says who a replica is and how patient. Every field is required but History.
type Config struct {
	Self cluster.Member
	// Start tells this life of the member from its earlier ones: half of the ids of its own requests. Its top bit is not used.
	Start uint64
	// Tick is the unit of raft's time; the leader sends a heartbeat every tick.
	Tick time.Duration
	// ElectionTicks: a follower that hears nothing for one to two times as long calls an election.
	ElectionTicks int
	// Jitter returns a number in [0, n): the chance that keeps two members from calling an election at the same time.
	Jitter func(n int) int
	// NoQuorumAfter: Lost is true once no leader was known for so long.
	NoQuorumAfter time.Duration
	// SnapshotEvery applied entries, or SnapshotBytes of them, make a snapshot.
	SnapshotEvery uint64
	SnapshotBytes int
	// KeepEntries, but not more than a quarter of SnapshotBytes, stay in memory before a snapshot.
	KeepEntries uint64
	// History bounds what watches can look back to; zero: cluster.DefaultHistory.
	History cluster.HistoryLimit
	// Verbose asks for what raft says about every vote and probe, as reports of LevelDebug.
	Verbose bool
}

// State is what a disk held.
type State struct {
	Snapshot  *raftpb.Snapshot  // nil: none yet
	HardState *raftpb.HardState // never nil
	Entries   []*raftpb.Entry   // those after the snapshot
}

// ErrRemoved is the Stop of a member that has been taken out of the cluster.
var ErrRemoved = errors.New("this member was removed from the cluster; to use the host again, move the store's directory away and join as a new member")

// Remedy is what to do about data that contradict themselves.
const Remedy = "this member's copy is damaged; if other members are well, remove it from the cluster, move the directory away and join again"

// First is the snapshot that a new cluster begins with: its id, its first members and the keys that it never exists without.
func First(id uint64, members []cluster.Member, initial []cluster.Op) (*raftpb.Snapshot, error) {
	m := cluster.NewMachine()
	m.Apply(cluster.Txn{Then: initial})
	r, conf := Roster{Cluster: id}, &raftpb.ConfState{}
	for _, o := range members {
		o.Learner = false
		r.put(o)
		conf.Voters = append(conf.Voters, o.ID)
	}
	data, err := encodeState(&r, m)
	if err != nil {
		return nil, err
	}
	return &raftpb.Snapshot{
		Data:     data,
		Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(1)), Term: new(uint64(1)), ConfState: conf},
	}, nil
}
