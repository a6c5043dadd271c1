package cluster

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestCommandBytes pins the encoding: disks and members of other versions have to read it.
func TestCommandBytes(t *testing.T) {
	c := Command{
		ID: RequestID{0xaa, 15: 0xbb},
		Txn: Txn{
			If:   []Compare{{"/a", 300}},
			Then: []Op{{"/a", []byte("xy")}, {Key: "/b"}, {"/e", []byte{}}},
			Else: []Op{{Key: "/c"}},
		},
	}
	const want = "01" + "aa0000000000000000000000000000bb" +
		"01" + "022f61" + "ac02" +
		"03" + "022f61" + "01" + "027879" + "022f62" + "00" + "022f65" + "01" + "00" +
		"01" + "022f63" + "00"
	if got := hex.EncodeToString(c.Encode()); got != want {
		t.Fatalf("Encode = %s\nwant     %s", got, want)
	}
	d, err := DecodeCommand(c.Encode())
	if err != nil || !bytes.Equal(d.Encode(), c.Encode()) || d.Txn.Then[1].Value != nil || d.Txn.Then[2].Value == nil {
		t.Fatalf("Decode = %+v, %v", d, err)
	}
	for n := range c.Encode() {
		if _, err := DecodeCommand(c.Encode()[:n]); err == nil {
			t.Errorf("decoded from %d of its bytes", n)
		}
	}
	if _, err := DecodeCommand(append(c.Encode(), 0)); err == nil {
		t.Error("decoded with a byte too many")
	}
	b := c.Encode()
	b[0] = 2
	if _, err := DecodeCommand(b); !errors.Is(err, ErrVersion) {
		t.Errorf("newer version: %v", err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	m := NewMachine()
	m.Apply(Txn{Then: []Op{{"/a", []byte("1")}, {"/b", []byte("2")}}})
	good := m.Snapshot()
	n := NewMachine()
	n.Apply(Txn{Then: []Op{{"/old", []byte("1")}}})
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		if err := n.Restore(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Errorf("flip in byte %d: %v", i, err)
		}
		if err := n.Restore(good[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("only %d bytes: %v", i, err)
		}
	}
	if _, ok := n.Get("/old"); !ok || n.Rev() != 1 {
		t.Error("a refused snapshot changed the machine")
	}
	newer := bytes.Clone(good)
	newer[len(snapshotMagic)-1] = 2
	if err := n.Restore(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("newer version: %v", err)
	}
	if err := n.Restore(good); err != nil || !bytes.Equal(n.Snapshot(), good) {
		t.Errorf("Restore: %v", err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	f.Add(Command{}.Encode())
	f.Add(Command{Txn: Txn{If: []Compare{{"/a", 1}}, Then: []Op{{"/a", []byte("x")}}, Else: []Op{{Key: "/b"}}}}.Encode())
	f.Add([]byte("\x01aaaaaaaaaaaaaaaa\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			return
		}
		d, err := DecodeCommand(c.Encode())
		if err != nil || !bytes.Equal(c.Encode(), d.Encode()) {
			t.Fatalf("%+v became %+v, %v", c, d, err)
		}
		NewMachine().Apply(c.Txn) // accepts whatever was decoded
	})
}

func FuzzRestore(f *testing.F) {
	m := NewMachine()
	f.Add(m.Snapshot()[:len(m.Snapshot())-4])
	m.Apply(Txn{Then: []Op{{"/a", []byte("1")}, {"/b", []byte{}}}})
	f.Add(m.Snapshot()[:len(m.Snapshot())-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		// With the right checksum, or nothing beyond it would be reached.
		sum := checksum(b)
		b = append(bytes.Clone(b), byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
		m := NewMachine()
		if m.Restore(b) != nil {
			return
		}
		n := NewMachine()
		if err := n.Restore(m.Snapshot()); err != nil || !bytes.Equal(m.Snapshot(), n.Snapshot()) {
			t.Fatalf("what was restored cannot be saved: %v", err)
		}
	})
}

func FuzzDecodeGeneration(f *testing.F) {
	g := testGeneration(f)
	b, err := g.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"number":1,"main":"a","files":{"a":""}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := DecodeGeneration(b)
		if err != nil {
			return
		}
		e, err := g.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if h, err := DecodeGeneration(e); err != nil || h.Hash != g.Hash {
			t.Fatalf("%+v, %v", h, err)
		}
	})
}

func testGeneration(t testing.TB) Generation {
	g := Generation{
		ID: "id", Author: "ann", Time: time.Date(2026, 11, 20, 23, 0, 0, 0, time.FixedZone("x", 3600)), Message: "first",
		Main: "keepalived.conf", Files: map[string]string{"keepalived.conf": "include b.conf\n", "b.conf": "! b\n"},
	}
	if err := g.Prepare(KV{}); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGeneration(t *testing.T) {
	g := testGeneration(t)
	const hash = "36e5e97a7704857ca2698d4ee4543b2e5e9d0fe5a8bc58f267fa0b1245c6bac6"
	if g.Number != 1 || g.Hash != hash {
		t.Errorf("prepared: number %d, hash %s", g.Number, g.Hash)
	}
	b, err := g.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"number":1,"id":"id","author":"ann","time":"2026-11-20T22:00:00Z","message":"first","main":"keepalived.conf",` +
		`"files":{"b.conf":"! b\n","keepalived.conf":"include b.conf\n"},"hash":"` + hash + `"}`
	if string(b) != want {
		t.Errorf("Encode = %s", b)
	}
	if d, err := DecodeGeneration(b); err != nil || d.Hash != g.Hash || !d.Time.Equal(g.Time) {
		t.Errorf("Decode = %+v, %v", d, err)
	}
	// What is not in the files does not count, what is does; and a border between name and content does.
	h := g
	h.Author, h.Message, h.Number = "bob", "", 9
	if h.ComputeHash() != g.Hash {
		t.Error("the author changes the hash")
	}
	x := Generation{Main: "a", Files: map[string]string{"a": "b", "c": "d"}}
	y := Generation{Main: "a", Files: map[string]string{"a": "bc", "": "d"}}
	if x.ComputeHash() == y.ComputeHash() {
		t.Error("different files, same hash")
	}
	for _, c := range []struct {
		change func(*Generation)
		want   string
	}{
		{func(g *Generation) { g.Number = 0 }, "the first is 1"},
		{func(g *Generation) { g.Main = "x" }, `main file "x" is not among its 2 files`},
		{func(g *Generation) { g.Hash = "00" }, `hash is "00", its files have`},
		{func(g *Generation) { g.Files = map[string]string{g.Main: "ok\n! M\xfcnchen"} }, "keepalived.conf:2: byte 0xfc is not UTF-8; convert the file"},
		{func(g *Generation) { g.Files = map[string]string{g.Main: "", "\xff": ""} }, `file name "\xff" is not UTF-8`},
		{func(g *Generation) { g.Time = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) }, "year 12026 cannot be stored"},
	} {
		bad := testGeneration(t)
		c.change(&bad)
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check = %v, want %q", err, c.want)
		}
	}
}

func TestPointer(t *testing.T) {
	p := Pointer{7, "abc"}
	if got := string(p.Encode()); got != `{"number":7,"hash":"abc"}` {
		t.Errorf("Encode = %s", got)
	}
	if q, err := DecodePointer(p.Encode()); err != nil || q != p {
		t.Errorf("Decode = %+v, %v", q, err)
	}
	if q, err := DecodePointer(nil); err != nil || q != (Pointer{}) {
		t.Errorf("Decode of nothing = %+v, %v", q, err)
	}
	for _, bad := range []string{"x", "{}", `{"number":-1,"hash":"a"}`, `{"number":1}`} {
		if _, err := DecodePointer([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	var g Generation
	if err := g.Prepare(KV{Value: []byte("x")}); err == nil || !strings.Contains(err.Error(), KeyActive) {
		t.Errorf("Prepare on a bad pointer: %v", err)
	}
}

func TestKeys(t *testing.T) {
	if k := GenerationKey(12); k != "/config/gen/0000000012" {
		t.Error(k)
	}
	for k, want := range map[string]int64{
		GenerationKey(12): 12, GenerationKey(12345678901): 12345678901,
		"/config/gen/12": 0, "/config/gen/": 0, "/config/active": 0, "/config/gen/-000000001": 0, "/config/gen/0000000000": 0, "/config/gen/000000001x": 0,
	} {
		if n, ok := GenerationNumber(k); n != want || ok != (want != 0) {
			t.Errorf("GenerationNumber(%s) = %d, %v", k, n, ok)
		}
	}
	if NodeKey("lb1") != "/nodes/lb1" || EventKey(3) != "/events/00000000000000000003" {
		t.Error(NodeKey("lb1"), EventKey(3))
	}
}

// TestPushTransactions: see clustertest for their course on a store; here that each compares what it must.
func TestPushTransactions(t *testing.T) {
	m := NewMachine()
	active := func() KV { kv, _ := m.Get(KeyActive); return kv }
	next := func() KV { kv, _ := m.Get(KeyNext); return kv }
	prepare := func() Generation {
		g := Generation{Main: "m", Files: map[string]string{"m": ""}}
		if err := g.Prepare(active()); err != nil {
			t.Fatal(err)
		}
		return g
	}
	base := active()
	g1 := prepare()
	if !m.Apply(PushTxn(base, g1)).Succeeded || m.Apply(PushTxn(base, g1)).Succeeded {
		t.Fatal("a first push succeeds exactly once")
	}
	g2 := prepare()
	if g2.Number != 2 {
		t.Fatalf("number %d follows 1", g2.Number)
	}
	if !m.Apply(StageTxn(active(), g2)).Succeeded {
		t.Fatal("stage")
	}
	staged := next()
	if m.Apply(PushTxn(active(), g2)).Succeeded {
		t.Error("a push over a staged generation of the same number")
	}
	if !m.Apply(ActivateTxn(active(), staged)).Succeeded || next().ModRev != 0 {
		t.Error("activate")
	}
	if m.Apply(AbandonTxn(staged, g2.Pointer())).Succeeded {
		t.Error("abandoned what is active")
	}
	if p, err := DecodePointer(active().Value); err != nil || p.Number != 2 {
		t.Errorf("active %+v, %v", p, err)
	}
}
