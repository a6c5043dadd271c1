package api

import (
	"context"
	"log/slog"
	"net"

	"quorate/cluster"
)

// Storage makes and opens a member's replicated store. Raft is the one of production.
type Storage interface {
	// Bootstrap makes, offline, the store of a cluster's first member with initial content.
	Bootstrap(dir string, self cluster.Member, initial []cluster.Op) error
	// InitMember makes, offline, the empty store of a member that was admitted to an existing cluster.
	InitMember(dir string, self cluster.Member) error
	Open(StorageConfig) (Replica, error)
}

// StorageConfig says what a store needs to run.
type StorageConfig struct {
	Dir    string
	Self   cluster.Member
	Seeds  []cluster.Member
	Dial   func(ctx context.Context, address string) (net.Conn, error) // to another member, authenticated
	Logger *slog.Logger
}

// Replica is a member's open store.
type Replica interface {
	cluster.Store
	// HandleConn takes over an authenticated connection another member made for the store.
	HandleConn(net.Conn)
	AddMember(ctx context.Context, m cluster.Member) error
	RemoveMember(ctx context.Context, id uint64) error
	Close() error
}
