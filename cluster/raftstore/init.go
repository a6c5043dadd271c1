package raftstore

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
)

// Bootstrap creates the store of the first member of a new cluster below dir, which must not hold one. The store
// begins with a snapshot that has this one voter and the initial keys, so that the cluster never exists without them.
// It touches nothing but the disk; Open starts the member.
func Bootstrap(dir string, self cluster.Member, initial []cluster.Op) error {
	if err := checkMember(self); err != nil {
		return err
	}
	t := cluster.Txn{Then: initial}
	if err := t.Check(); err != nil {
		return fmt.Errorf("initial keys: %w", err)
	}
	m := cluster.NewMachine()
	m.Apply(t)
	id, err := randomUint64()
	if err != nil {
		return err
	}
	self.Learner = false
	r := roster{Cluster: id}
	r.put(self)
	data, err := encodeState(&r, m)
	if err != nil {
		return err
	}
	return createStore(dir, self, &raftpb.Snapshot{
		Data: data,
		Metadata: &raftpb.SnapshotMetadata{
			Index: new(uint64(1)), Term: new(uint64(1)), ConfState: &raftpb.ConfState{Voters: []uint64{self.ID}},
		},
	})
}

// InitMember creates the empty store of a member that is to join. Once it is open and a present member has called
// AddMember for it, the leader sends it everything. self.ID must never have been used in the cluster.
func InitMember(dir string, self cluster.Member) error {
	if err := checkMember(self); err != nil {
		return err
	}
	self.Learner = true
	return createStore(dir, self, nil)
}

func randomUint64() (uint64, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if v := binary.BigEndian.Uint64(b[:]) >> 1; v != 0 {
			return v, nil
		}
	}
}
