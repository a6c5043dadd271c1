package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Limits that every store enforces before a transaction is proposed. They keep one transaction well below the
// size of a raft message and one key printable on a line.
const (
	MaxKeyBytes = 512
	MaxTxnBytes = 16 << 20 // keys and values of the whole transaction
	MaxTxnOps   = 4096     // compares and operations of the whole transaction
)

// Check reports whether a store may propose t. It is the only refusal a transaction can meet before it is
// replicated; afterwards Machine.Apply accepts everything.
func (t Txn) Check() error {
	if n := len(t.If) + len(t.Then) + len(t.Else); n > MaxTxnOps {
		return fmt.Errorf("transaction has %d compares and operations; at most %d are allowed: split it", n, MaxTxnOps)
	}
	size := 0
	check := func(what, key string, value []byte) error {
		if key == "" {
			return fmt.Errorf("transaction: %s without a key", what)
		}
		if len(key) > MaxKeyBytes {
			return fmt.Errorf("transaction: %s of key %q…: key has %d bytes, at most %d are allowed", what, key[:32], len(key), MaxKeyBytes)
		}
		size += len(key) + len(value)
		return nil
	}
	for _, c := range t.If {
		if c.ModRev < 0 {
			return fmt.Errorf("transaction: compare of key %q with revision %d; 0 means the key must not exist", c.Key, c.ModRev)
		}
		if err := check("compare", c.Key, nil); err != nil {
			return err
		}
	}
	for _, ops := range [][]Op{t.Then, t.Else} {
		for _, op := range ops {
			if err := check("operation", op.Key, op.Value); err != nil {
				return err
			}
		}
	}
	if size > MaxTxnBytes {
		return fmt.Errorf("transaction has %d bytes; at most %d are allowed", size, MaxTxnBytes)
	}
	return nil
}

// Machine is the replicated state: what every member holds after it has applied the same transactions in the
// same order. It has no clock, lock or goroutine, so equal inputs give equal bytes on every member.
//
// Values handed out share memory with the machine; callers must not write to them. The machine itself never
// writes to a value after it has stored it.
type Machine struct {
	rev  int64
	keys []string // sorted
	vals map[string]KV
	hist history
}

// NewMachine returns an empty machine that keeps the default amount of history for watches.
func NewMachine() *Machine { return NewMachineHistory(DefaultHistory()) }

// NewMachineHistory is NewMachine with other bounds on the history.
func NewMachineHistory(limit HistoryLimit) *Machine {
	return &Machine{vals: make(map[string]KV), hist: history{limit: limit}}
}

// Rev is the revision of the last transaction that changed something, 0 for an empty machine.
func (m *Machine) Rev() int64 { return m.rev }

// Len is the number of keys.
func (m *Machine) Len() int { return len(m.keys) }

// Get returns the key's present value.
func (m *Machine) Get(key string) (KV, bool) {
	kv, ok := m.vals[key]
	return kv, ok
}

// Range returns the keys with the prefix in order. The empty prefix means all.
func (m *Machine) Range(prefix string) []KV {
	from, _ := slices.BinarySearch(m.keys, prefix)
	var out []KV
	for _, k := range m.keys[from:] {
		if !strings.HasPrefix(k, prefix) {
			break
		}
		out = append(out, m.vals[k])
	}
	return out
}

// Apply executes t whole. The revision grows by one if at least one key was written or removed; removing a
// missing key is no change, writing an equal value is one. If t writes a key twice the last write counts and
// one event tells it.
func (m *Machine) Apply(t Txn) TxnResult {
	ok := true
	for _, c := range t.If {
		if m.vals[c.Key].ModRev != c.ModRev { // a missing key has ModRev 0
			ok = false
			break
		}
	}
	ops := t.Then
	if !ok {
		ops = t.Else
	}
	if evs := m.write(ops); len(evs) > 0 {
		m.hist.add(evs)
	}
	return TxnResult{Succeeded: ok, Rev: m.rev}
}

// write applies the operations at the next revision and returns one event per changed key in the order in
// which the keys were first named.
func (m *Machine) write(ops []Op) []Event {
	last := make(map[string]int, len(ops))
	for i, op := range ops {
		last[op.Key] = i
	}
	var evs []Event
	rev := m.rev + 1
	for _, op := range ops {
		i, todo := last[op.Key]
		if !todo {
			continue // a later operation on this key was already taken
		}
		delete(last, op.Key)
		old, existed := m.vals[op.Key]
		if ops[i].Value == nil {
			if existed {
				m.remove(op.Key)
				evs = append(evs, Event{KV: KV{Key: op.Key, CreateRev: old.CreateRev, ModRev: rev}, Deleted: true})
			}
			continue
		}
		kv := KV{Key: op.Key, Value: ops[i].Value, CreateRev: rev, ModRev: rev}
		if existed {
			kv.CreateRev = old.CreateRev
		}
		m.put(kv)
		evs = append(evs, Event{KV: kv})
	}
	if len(evs) > 0 {
		m.rev = rev
	}
	return evs
}

func (m *Machine) put(kv KV) {
	if _, existed := m.vals[kv.Key]; !existed {
		at, _ := slices.BinarySearch(m.keys, kv.Key)
		m.keys = slices.Insert(m.keys, at, kv.Key)
	}
	m.vals[kv.Key] = kv
}

func (m *Machine) remove(key string) {
	at, found := slices.BinarySearch(m.keys, key)
	if found {
		m.keys = slices.Delete(m.keys, at, at+1)
	}
	delete(m.vals, key)
}

// Since returns the first batch of events (all of one revision) with the prefix and a revision >= rev, and the
// revision from which to ask next. Without such a batch the events are nil and next is Rev()+1 or rev, whichever
// is later. It fails with ErrCompacted when revisions that may hold such events are no longer in the history.
func (m *Machine) Since(prefix string, rev int64) (evs []Event, next int64, err error) {
	if rev <= m.hist.compacted {
		return nil, 0, fmt.Errorf("revision %d: %w: the oldest one kept is %d", rev, ErrCompacted, m.hist.compacted+1)
	}
	evs, next = m.hist.since(prefix, rev)
	if evs == nil {
		next = max(rev, m.rev+1)
	}
	return evs, next, nil
}
