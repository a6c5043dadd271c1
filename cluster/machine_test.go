package cluster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestMachine runs the scripts in testdata/machine. Its commands:
//
//	txn               one line each: "if KEY REV", "put KEY VALUE", "del KEY", "else put …", "else del …"
//	range PREFIX      keys with value and revisions
//	since PREFIX REV  what a watch from REV delivers, to the end
//	snapshot          the encoded state in hex
//	restore           into a new machine, with the state as printed by snapshot
//	history N         a new machine that remembers N revisions
func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata/machine", func(t *testing.T, path string) {
		m := NewMachine()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			arg := func(i int) string { return d.CmdArgs[i].Key }
			num := func(i int) int64 {
				n, err := strconv.ParseInt(arg(i), 10, 64)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				return n
			}
			switch d.Cmd {
			case "txn":
				r := m.Apply(parseTxn(t, d.Input))
				return fmt.Sprintf("succeeded=%v rev=%d\n", r.Succeeded, r.Rev)
			case "range":
				var b strings.Builder
				for _, kv := range m.Range(arg(0)) {
					fmt.Fprintf(&b, "%s=%s created %d changed %d\n", kv.Key, kv.Value, kv.CreateRev, kv.ModRev)
				}
				return b.String() + fmt.Sprintf("at %d\n", m.Rev())
			case "since":
				var b strings.Builder
				for rev := num(1); ; {
					evs, next, err := m.Since(arg(0), rev)
					if err != nil {
						return err.Error() + "\n"
					}
					if evs == nil {
						return b.String() + fmt.Sprintf("next %d\n", next)
					}
					for _, e := range evs {
						fmt.Fprintf(&b, "%d: %s=%s deleted=%v created %d\n", e.ModRev, e.Key, e.Value, e.Deleted, e.CreateRev)
					}
					rev = next
				}
			case "snapshot":
				return hex.Dump(m.Snapshot())
			case "restore":
				n := NewMachine()
				if err := n.Restore(m.Snapshot()); err != nil {
					return err.Error() + "\n"
				}
				m = n
				return "ok\n"
			case "history":
				m = NewMachineHistory(HistoryLimit{Revisions: int(num(0)), Bytes: 1 << 20})
				return "ok\n"
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func parseTxn(t *testing.T, in string) Txn {
	var x Txn
	for line := range strings.Lines(in) {
		f := strings.Fields(line)
		ops := &x.Then
		if f[0] == "else" {
			ops, f = &x.Else, f[1:]
		}
		switch f[0] {
		case "if":
			rev, err := strconv.ParseInt(f[2], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			x.If = append(x.If, Compare{f[1], rev})
		case "put":
			*ops = append(*ops, Op{f[1], []byte(strings.Join(f[2:], " "))})
		case "del":
			*ops = append(*ops, Op{Key: f[1]})
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	return x
}

// drawTxn draws transactions on few keys, so that they meet.
func drawTxn(t *rapid.T, rev int64) Txn {
	key := rapid.SampledFrom([]string{"/a", "/a/b", "/b", "/c", "/c/\x00", "/d"})
	op := rapid.Custom(func(t *rapid.T) Op {
		o := Op{Key: key.Draw(t, "key")}
		if rapid.IntRange(0, 3).Draw(t, "del") > 0 {
			o.Value = append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "value")...)
		}
		return o
	})
	return Txn{
		If: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Compare {
			return Compare{key.Draw(t, "key"), rapid.Int64Range(0, rev+1).Draw(t, "rev")}
		}), 0, 2).Draw(t, "if"),
		Then: rapid.SliceOfN(op, 0, 4).Draw(t, "then"),
		Else: rapid.SliceOfN(op, 0, 2).Draw(t, "else"),
	}
}

// simple is a machine in the plainest words: a full copy of the keys for every revision.
type simple struct{ revs []map[string]KV }

func (s *simple) now() map[string]KV { return s.revs[len(s.revs)-1] }

func (s *simple) apply(t Txn) TxnResult {
	ok := true
	for _, c := range t.If {
		ok = ok && s.now()[c.Key].ModRev == c.ModRev
	}
	ops, rev, changed := t.Then, int64(len(s.revs)), false
	if !ok {
		ops = t.Else
	}
	next := map[string]KV{}
	for k, v := range s.now() {
		next[k] = v
	}
	final := map[string][]byte{}
	for _, o := range ops {
		final[o.Key] = o.Value
	}
	for k, v := range final {
		old, had := next[k]
		switch {
		case v == nil && had:
			delete(next, k)
			changed = true
		case v != nil && had:
			next[k] = KV{k, v, old.CreateRev, rev}
			changed = true
		case v != nil:
			next[k] = KV{k, v, rev, rev}
			changed = true
		}
	}
	if changed {
		s.revs = append(s.revs, next)
	}
	return TxnResult{ok, int64(len(s.revs)) - 1}
}

// TestMachineAgainstModel compares the machine with simple, and with a second machine that goes through
// snapshots, encodings and watches.
func TestMachineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, twin, s := NewMachine(), NewMachine(), &simple{revs: []map[string]KV{{}}}
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			txn := drawTxn(t, m.Rev())
			c, err := DecodeCommand(Command{ID: RequestID{1, 2}, Txn: txn}.Encode())
			if err != nil {
				t.Fatal(err)
			}
			got, want := m.Apply(txn), s.apply(txn)
			if got != want {
				t.Fatalf("Apply(%+v) = %+v, want %+v", txn, got, want)
			}
			twin.Apply(c.Txn)
			if !bytes.Equal(m.Snapshot(), twin.Snapshot()) {
				t.Fatalf("the decoded command %+v has another effect than %+v", c.Txn, txn)
			}
			if rapid.IntRange(0, 9).Draw(t, "restore") == 0 {
				n := NewMachine()
				if err := n.Restore(twin.Snapshot()); err != nil {
					t.Fatal(err)
				}
				twin = n
			}
		}
		for _, p := range []string{"", "/", "/a", "/c/", "/x"} {
			var want []KV
			for k, kv := range s.now() {
				if strings.HasPrefix(k, p) {
					want = append(want, kv)
				}
			}
			slices.SortFunc(want, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
			if d := cmp.Diff(want, m.Range(p)); d != "" {
				t.Fatalf("Range(%q): %s", p, d)
			}
			replay(t, m, s, p)
		}
	})
}

// replay builds the keys with the prefix from the events alone and compares them at each revision.
func replay(t *rapid.T, m *Machine, s *simple, prefix string) {
	state := map[string]KV{}
	rev := int64(1)
	for {
		evs, next, err := m.Since(prefix, rev)
		if err != nil {
			t.Fatal(err)
		}
		if evs == nil {
			return
		}
		for _, e := range evs {
			if e.Deleted {
				delete(state, e.Key)
			} else {
				state[e.Key] = e.KV
			}
		}
		want := map[string]KV{}
		for k, kv := range s.revs[evs[0].ModRev] {
			if strings.HasPrefix(k, prefix) {
				want[k] = kv
			}
		}
		if d := cmp.Diff(want, state); d != "" {
			t.Fatalf("prefix %q at revision %d: %s", prefix, evs[0].ModRev, d)
		}
		rev = next
	}
}

func TestTxnCheck(t *testing.T) {
	long := strings.Repeat("k", MaxKeyBytes+1)
	for _, c := range []struct {
		txn  Txn
		want string
	}{
		{Txn{}, ""},
		{Txn{Then: []Op{{Key: "/a"}}}, ""},
		{Txn{Then: []Op{{}}}, "operation without a key"},
		{Txn{Else: []Op{{}}}, "operation without a key"},
		{Txn{If: []Compare{{}}}, "compare without a key"},
		{Txn{If: []Compare{{"/a", -1}}}, `compare of key "/a" with revision -1`},
		{Txn{Then: []Op{{Key: long}}}, "key has 513 bytes, at most 512"},
		{Txn{Then: []Op{{"/a", make([]byte, MaxTxnBytes)}}}, "transaction has 16777218 bytes; at most 16777216"},
		{Txn{Then: make([]Op, MaxTxnOps+1)}, "4097 compares and operations; at most 4096"},
	} {
		err := c.txn.Check()
		if c.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check = %v, want %q", err, c.want)
		}
	}
}

func TestHistoryBytes(t *testing.T) {
	m := NewMachineHistory(HistoryLimit{Revisions: 1000, Bytes: 100})
	for range 50 {
		m.Apply(Txn{Then: []Op{{"/k", make([]byte, 30)}}})
	}
	if _, _, err := m.Since("/", 40); !errors.Is(err, ErrCompacted) {
		t.Errorf("Since(40) = %v", err)
	}
	if evs, next, err := m.Since("/", 50); err != nil || len(evs) != 1 || next != 51 {
		t.Errorf("Since(50) = %v, %d, %v", evs, next, err)
	}
	// One batch larger than the limit stays until the next.
	m.Apply(Txn{Then: []Op{{"/k", make([]byte, 300)}}})
	if evs, _, err := m.Since("/", 51); err != nil || len(evs) != 1 {
		t.Errorf("Since(51) = %v, %v", evs, err)
	}
}
