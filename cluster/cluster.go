package cluster

import (
	"context"
	"errors"
	"time"
)

// KV is one key with its value. Revisions count committed transactions that changed something; the first is 1.
type KV struct {
	Key       string `json:"key"`
	Value     []byte `json:"value"`
	CreateRev int64  `json:"create_rev"`
	ModRev    int64  `json:"mod_rev"`
}

// Compare is a condition of a transaction. With ModRev 0 the key must not exist.
type Compare struct {
	Key    string `json:"key"`
	ModRev int64  `json:"mod_rev"`
}

// Op is a write. A nil Value deletes the key.
type Op struct {
	Key   string `json:"key"`
	Value []byte `json:"value"` // nil: delete
}

// Txn is applied whole or not at all: if every Compare holds, Then, else Else.
type Txn struct {
	If   []Compare `json:"if,omitempty"`
	Then []Op      `json:"then,omitempty"`
	Else []Op      `json:"else,omitempty"`
}

// TxnResult is the outcome of an applied Txn.
type TxnResult struct {
	Succeeded bool  // the Compares held
	Rev       int64 // store revision after it
}

// Event is one change seen by a Watch. A deletion has a nil Value and the ModRev of the deletion.
type Event struct {
	KV
	Deleted bool
}

// Watcher delivers events in revision order.
type Watcher interface {
	// Next blocks for the next batch: all events of one revision. It fails with ErrCompacted when the
	// history it needs is gone (the caller reads anew and watches from there), ErrClosed, ErrFailed, or ctx's error.
	Next(ctx context.Context) ([]Event, error)
	Close()
}

// Store is the contract of the replicated store; raftstore, etcdstore and the model keep it alike.
// All methods may be called from several goroutines.
type Store interface {
	// Get is linearizable. A missing key is ErrNotFound.
	Get(ctx context.Context, key string) (KV, error)
	// Range is linearizable and returns the keys with the prefix, sorted, and the revision it was read at.
	Range(ctx context.Context, prefix string) ([]KV, int64, error)
	// LocalRange is what this member has applied so far: it needs no quorum and may be old.
	LocalRange(prefix string) ([]KV, int64)
	// Txn commits and returns once this member has applied it. After ErrTimeout or ErrNoQuorum its outcome is unknown:
	// it may still commit. Callers make retries harmless with a Compare.
	Txn(ctx context.Context, t Txn) (TxnResult, error)
	// Watch delivers changes of keys with the prefix and a revision >= rev; with rev 0 those after what this
	// member has applied now.
	Watch(prefix string, rev int64) Watcher
	Status() Status
}

// Member is one director of the cluster as the store knows it.
type Member struct {
	ID      uint64 `json:"id,string"`
	Name    string `json:"name"`    // node name = config-id
	Address string `json:"address"` // host:port of its cluster listener (raft and API over mTLS)
	Learner bool   `json:"learner,omitempty"`
}

// Status is this member's view of consensus; it needs no quorum.
type Status struct {
	Self      Member   `json:"self"`
	Members   []Member `json:"members"`       // sorted by name
	Leader    uint64   `json:"leader,string"` // 0: none known
	Term      uint64   `json:"term"`
	Commit    uint64   `json:"commit"`
	Applied   uint64   `json:"applied"`
	HasQuorum bool     `json:"has_quorum"` // a leader is known and was heard within an election time-out
	Rev       int64    `json:"rev"`
	Failed    string   `json:"failed,omitempty"` // why the store stopped: "disk full: …"
}

// Errors of a Store. Test with errors.Is.
var (
	ErrNotFound  = errors.New("key not found")
	ErrNoQuorum  = errors.New("no quorum")                         // no leader answered in time
	ErrTimeout   = errors.New("timed out; the outcome is unknown") // proposed, not seen committed
	ErrCompacted = errors.New("history was compacted")
	ErrClosed    = errors.New("store is closed")
	ErrFailed    = errors.New("store has failed") // the disk refused a write; nothing more is accepted
)

// Generation is one pushed configuration. Files holds everything the reader opened, by the path it used.
type Generation struct {
	Number  int64             `json:"number"`
	ID      string            `json:"id"` // chosen by the pusher, so that a retry finds its own
	Author  string            `json:"author"`
	Time    time.Time         `json:"time"`
	Message string            `json:"message,omitempty"`
	Main    string            `json:"main"`
	Files   map[string]string `json:"files"`
	Hash    string            `json:"hash"` // sha256 over Main and Files, hex
}
