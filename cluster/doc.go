// Package cluster is what the directors of a cluster agree on, apart from how they agree.
//
// # Store
//
// Store is the contract: keys with values, one revision that counts changes, transactions that compare and write
// whole or not at all, linearizable reads, and watches. Package raftstore keeps it with an embedded raft,
// clustertest holds its tests and a model. A caller that gets ErrTimeout or ErrNoQuorum from a Txn does not know whether it
// took effect and must make a retry harmless with a Compare; everything else the contract hides.
//
// # Machine
//
// Machine is the state every member holds. It applies transactions one after the other and has no clock, lock or
// goroutine, so members that applied the same transactions hold the same bytes:
//
//	m := cluster.NewMachine()
//	res := m.Apply(txn)                    // revision grows by one if a key changed
//	kv, ok := m.Get("/config/active")
//	evs, next, err := m.Since("/", rev)    // what a watch delivers
//	b := m.Snapshot(); err = m.Restore(b)
//
// Events of the recent past are kept within HistoryLimit; asking for older ones fails with ErrCompacted, upon
// which a watcher reads anew and goes on from there. A snapshot has no history, so a restored machine has none either.
//
// A store's obligations towards the machine: check a transaction (Txn.Check) before it is replicated, apply every
// committed Command exactly once and in order, and stop rather than skip one it cannot decode (ErrVersion).
//
// # Bytes
//
// Command.Encode is what the log carries, Machine.Snapshot what is kept of the state. Both begin with a version;
// the layout stands beside the code and golden tests pin it, because old members and old disks have to read it.
//
// # Configuration
//
// A pushed configuration is a Generation under GenerationKey(number); it is never changed. KeyActive and KeyNext hold
// Pointers to the one that runs and the one that is being staged:
//
//	read KeyActive -> Generation.Prepare -> StageTxn -> members report that they are ready -> ActivateTxn
//	                                                 \  one cannot run it or the pusher gives up -> AbandonTxn
//
// PushTxn does both steps at once. All of them compare the pointers with what was read, so of two pushers one
// is told that the other was faster.
package cluster
