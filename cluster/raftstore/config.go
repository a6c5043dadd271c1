package raftstore

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"quorate/cluster"
	"quorate/cluster/replica"
)

// Config says where a member's store is and how it reaches the others. Zero values of the optional fields mean the
// defaults named with them.
type Config struct {
	// Dir is where Bootstrap or InitMember has created the store.
	Dir string
	// Self is this member. The ID must be the one the store was created with; name and address may have changed
	// since, and the store tells the others of a new address by itself.
	Self cluster.Member
	// Seeds are members a joiner may reach before it knows the cluster. Without any it waits to be called by the
	// leader, which is what AddMember makes it do.
	Seeds []cluster.Member
	// Dial opens an authenticated connection to the cluster listener at addr, whose owner hands it to HandleConn there.
	// A store with one member never calls it; otherwise it is required.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Authorize, if set, judges whether whoever is at the other end of conn may speak for the member it claims to be,
	// e.g. by the names in its certificate. The connection itself was authenticated before HandleConn.
	Authorize func(conn net.Conn, claimed cluster.Member) error
	// Logger: nil discards.
	Logger *slog.Logger

	// Tick is the unit of raft's time, 100 ms. The leader sends a heartbeat every tick.
	Tick time.Duration
	// ElectionTicks, 10: a follower that hears nothing for one to two times as long calls an election.
	ElectionTicks int
	// NoQuorumAfter, 2 s: requests fail with ErrNoQuorum once no leader was known for so long, and at once from then on.
	NoQuorumAfter time.Duration
	// RequestTimeout, 5 s: bounds requests whose context has no earlier deadline.
	RequestTimeout time.Duration
	// SnapshotEvery, 10,000: applied entries between snapshots.
	SnapshotEvery uint64
	// SnapshotBytes, 64 MiB: as much log makes a snapshot as well, since all of it is in memory.
	SnapshotBytes int
	// KeepEntries, 5,000, but not more than a quarter of SnapshotBytes: entries before a snapshot that stay in memory, so that a member that was away for a
	// short time is sent those and not the whole state.
	KeepEntries uint64
	// History bounds what watches can look back to.
	History cluster.HistoryLimit

	// Disk replaces the one in Dir.
	Disk Disk
	// Filter, for tests and simulators, is asked before a message is sent and after it was received; false drops it.
	// It is called from several goroutines.
	Filter func(m *raftpb.Message) bool
}

func (c Config) withDefaults() (Config, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Tick == 0 {
		c.Tick = 100 * time.Millisecond
	}
	if c.ElectionTicks == 0 {
		c.ElectionTicks = 10
	}
	if c.NoQuorumAfter == 0 {
		c.NoQuorumAfter = 2 * time.Second
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 5 * time.Second
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 10_000
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = 64 << 20
	}
	if c.KeepEntries == 0 {
		c.KeepEntries = 5_000
	}
	if c.History == (cluster.HistoryLimit{}) {
		c.History = cluster.DefaultHistory()
	}
	if c.Authorize == nil {
		c.Authorize = func(net.Conn, cluster.Member) error { return nil }
	}
	if c.Filter == nil {
		c.Filter = func(*raftpb.Message) bool { return true }
	}
	if c.Dial == nil {
		c.Dial = func(context.Context, string) (net.Conn, error) {
			return nil, errors.New("this store was opened without a way to reach others")
		}
	}
	if c.Disk == nil {
		if c.Dir == "" {
			return c, errors.New("no directory for the store")
		}
		c.Disk = OpenDisk(c.Dir, c.Logger)
	}
	return c, replica.CheckMember(c.Self)
}
