package api

import (
	"context"
	"net"

	"quorate/cluster"
	"quorate/cluster/raftstore"
)

// Raft is the Storage of production: the embedded raft store.
type Raft struct{}

var (
	_ Storage = Raft{}
	_ Replica = (*raftstore.Store)(nil)
)

// storageOr is s, or raft when nothing was chosen.
func storageOr(s Storage) Storage {
	if s == nil {
		return Raft{}
	}
	return s
}

// Bootstrap implements Storage.
func (Raft) Bootstrap(dir string, self cluster.Member, initial []cluster.Op) error {
	return raftstore.Bootstrap(dir, self, initial)
}

// InitMember implements Storage.
func (Raft) InitMember(dir string, self cluster.Member) error { return raftstore.InitMember(dir, self) }

// Open implements Storage.
func (Raft) Open(c StorageConfig) (Replica, error) {
	st, err := raftstore.Open(raftstore.Config{Dir: c.Dir, Self: c.Self, Seeds: c.Seeds, Logger: c.Logger,
		Dial: func(ctx context.Context, address string) (net.Conn, error) { return c.Dial(ctx, address) }})
	if err != nil {
		return nil, err // not a nil *Store in a non-nil Replica
	}
	return st, nil
}
