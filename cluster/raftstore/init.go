package raftstore

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"quorate/cluster"
	"quorate/cluster/replica"
)

// Bootstrap creates the store of the first member of a new cluster below dir, which must not hold one. The store
// begins with a snapshot that has this one voter and the initial keys, so that the cluster never exists without them.
// It touches nothing but the disk; Open starts the member.
func Bootstrap(dir string, self cluster.Member, initial []cluster.Op) error {
	if err := replica.CheckMember(self); err != nil {
		return err
	}
	t := cluster.Txn{Then: initial}
	if err := t.Check(); err != nil {
		return fmt.Errorf("initial keys: %w", err)
	}
	id, err := randomUint64()
	if err != nil {
		return err
	}
	self.Learner = false
	first, err := replica.First(id, []cluster.Member{self}, initial)
	if err != nil {
		return err
	}
	return createStore(dir, self, first)
}

// InitMember creates the empty store of a member that is to join. Once it is open and a present member has called
// AddMember for it, the leader sends it everything. self.ID must never have been used in the cluster.
func InitMember(dir string, self cluster.Member) error {
	if err := replica.CheckMember(self); err != nil {
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
