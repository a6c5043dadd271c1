package cluster

import (
	"encoding/json"
	"fmt"
)

// Pointer is the value of KeyActive and KeyNext: which generation, and its hash so that a reader can tell
// at once whether it already runs those files.
type Pointer struct {
	Number int64  `json:"number"`
	Hash   string `json:"hash"`
}

// Encode returns the value to store.
func (p Pointer) Encode() []byte {
	return fmt.Appendf(nil, `{"number":%d,"hash":%q}`, p.Number, p.Hash)
}

// DecodePointer reads the value of KeyActive or KeyNext. No bytes, the value of a missing key, is generation 0.
func DecodePointer(b []byte) (Pointer, error) {
	var p Pointer
	if len(b) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return Pointer{}, fmt.Errorf("pointer to a generation: %w", err)
	}
	if p.Number < 1 || p.Hash == "" {
		return Pointer{}, fmt.Errorf("pointer to a generation: %q names none", b)
	}
	return p, nil
}

// Pointer returns the pointer to g.
func (g *Generation) Pointer() Pointer { return Pointer{Number: g.Number, Hash: g.Hash} }

// genOp writes the generation. A generation that passed Check can be encoded; one that did not must never get here.
func genOp(gen Generation) Op {
	b, err := gen.Encode()
	if err != nil {
		panic(fmt.Sprintf("cluster: unchecked generation in a transaction: %v", err))
	}
	return Op{Key: GenerationKey(gen.Number), Value: b}
}

// Prepare fills in the number that follows the active generation and the hash, and checks the rest.
// active is KeyActive as it was read, the zero KV if it does not exist.
func (g *Generation) Prepare(active KV) error {
	p, err := DecodePointer(active.Value)
	if err != nil {
		return fmt.Errorf("key %s: %w", KeyActive, err)
	}
	g.Number, g.Hash = p.Number+1, g.ComputeHash()
	return g.Check()
}

// FindPush looks for a generation with a push's id among the last ones up to the active one: an attempt whose answer got lost. read returns a
// generation by its number.
func FindPush(read func(n int64) (Generation, bool), active Pointer, id string) (Generation, bool) {
	for n := active.Number; n > 0 && n > active.Number-10; n-- {
		if g, ok := read(n); ok && g.ID == id {
			return g, true
		}
	}
	return Generation{}, false
}

// PushTxn writes gen (which passed Check) and makes it active, provided that the active pointer is still the one the pusher has
// seen and nobody has written this number. active is KeyActive as it was read, the zero KV if it does not exist.
// A push that is repeated after an unknown outcome therefore cannot take effect twice; the pusher finds out
// what happened by comparing Generation.ID of the stored one with its own.
func PushTxn(active KV, gen Generation) Txn {
	return Txn{
		If: []Compare{
			{Key: KeyActive, ModRev: active.ModRev},
			{Key: GenerationKey(gen.Number)},
		},
		Then: []Op{genOp(gen), {Key: KeyActive, Value: gen.Pointer().Encode()}},
	}
}

// StageTxn writes gen (which passed Check) and points KeyNext at it without activating it. It fails if another generation was
// activated since active was read, or if one is being staged.
func StageTxn(active KV, gen Generation) Txn {
	return Txn{
		If: []Compare{
			{Key: KeyActive, ModRev: active.ModRev},
			{Key: KeyNext},
			{Key: GenerationKey(gen.Number)},
		},
		Then: []Op{genOp(gen), {Key: KeyNext, Value: gen.Pointer().Encode()}},
	}
}

// ActivateTxn makes the staged generation the active one. It fails if either pointer has changed since.
func ActivateTxn(active, next KV) Txn {
	return Txn{
		If: []Compare{
			{Key: KeyActive, ModRev: active.ModRev},
			{Key: KeyNext, ModRev: next.ModRev},
		},
		Then: []Op{{Key: KeyActive, Value: next.Value}, {Key: KeyNext}},
	}
}

// AbandonTxn gives up the staged generation p, whose KeyNext was read as next. Its record goes too, so that
// the next push can have the number.
func AbandonTxn(next KV, p Pointer) Txn {
	return Txn{
		If:   []Compare{{Key: KeyNext, ModRev: next.ModRev}},
		Then: []Op{{Key: KeyNext}, {Key: GenerationKey(p.Number)}},
	}
}
