package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// RequestID names one proposal so that the member that made it recognises it when it is applied.
// It must be unique among all members and all their restarts.
type RequestID [16]byte

func (id RequestID) String() string { return hex.EncodeToString(id[:]) }

// Command is what the replicated log carries: a transaction and who waits for it.
type Command struct {
	ID  RequestID
	Txn Txn
}

// commandVersion is the first byte of an encoded command. A member that reads a version it does not know
// must stop instead of skipping it, or its state would part from that of the others.
const commandVersion = 1

// ErrVersion is returned for bytes of a version this program does not know.
var ErrVersion = errors.New("written by a newer version of this program")

// Encode returns the bytes of the command:
//
//	version  1 byte
//	id       16 bytes
//	compares uvarint count, each: key, uvarint mod_rev
//	then     uvarint count, each: key, 0 (delete) or 1 and the value
//	else     as then
//
// Keys and values are a uvarint length and that many bytes.
func (c Command) Encode() []byte {
	b := make([]byte, 0, 64)
	b = append(b, commandVersion)
	b = append(b, c.ID[:]...)
	b = binary.AppendUvarint(b, uint64(len(c.Txn.If)))
	for _, cmp := range c.Txn.If {
		b = appendBytes(b, cmp.Key)
		b = binary.AppendUvarint(b, uint64(cmp.ModRev))
	}
	for _, ops := range [][]Op{c.Txn.Then, c.Txn.Else} {
		b = binary.AppendUvarint(b, uint64(len(ops)))
		for _, op := range ops {
			b = appendBytes(b, op.Key)
			if op.Value == nil {
				b = append(b, 0)
			} else {
				b = append(b, 1)
				b = appendBytes(b, op.Value)
			}
		}
	}
	return b
}

// DecodeCommand reads what Encode wrote. The values are copies.
func DecodeCommand(b []byte) (Command, error) {
	var c Command
	r := reader{b: b}
	if v := r.byte(); r.err == nil && v != commandVersion {
		return c, fmt.Errorf("command version %d: %w; this one reads up to %d", v, ErrVersion, commandVersion)
	}
	copy(c.ID[:], r.take(len(c.ID)))
	for range r.count() {
		c.Txn.If = append(c.Txn.If, Compare{Key: string(r.bytes()), ModRev: r.rev()})
	}
	for _, ops := range []*[]Op{&c.Txn.Then, &c.Txn.Else} {
		for range r.count() {
			op := Op{Key: string(r.bytes())}
			switch kind := r.byte(); kind {
			case 0:
			case 1:
				op.Value = append([]byte{}, r.bytes()...)
			default:
				r.fail("operation kind %d", kind)
			}
			*ops = append(*ops, op)
		}
	}
	if err := r.end(); err != nil {
		return Command{}, fmt.Errorf("command: %w", err)
	}
	return c, nil
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// reader takes values off a byte slice and remembers the first error, after which it returns zero values.
type reader struct {
	b   []byte
	off int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %s", r.off, fmt.Sprintf(format, args...))
	}
}

func (r *reader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)-r.off) {
		r.fail("%d bytes wanted, %d left", n, len(r.b)-r.off)
	}
	if r.err != nil {
		return nil
	}
	r.off += n
	return r.b[r.off-n : r.off]
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.off:])
	if n <= 0 {
		r.fail("bad number")
		return 0
	}
	r.off += n
	return v
}

func (r *reader) rev() int64 {
	v := r.uvarint()
	if v > 1<<62 {
		r.fail("revision %d is too large", v)
		return 0
	}
	return int64(v)
}

// count reads a number of elements, each of which takes at least two bytes, so that a forged count
// cannot make the caller allocate more than the input is long.
func (r *reader) count() int {
	v := r.uvarint()
	if v > uint64(len(r.b)-r.off)/2 {
		r.fail("count %d is too large for %d bytes", v, len(r.b)-r.off)
		return 0
	}
	return int(v)
}

func (r *reader) bytes() []byte {
	v := r.uvarint()
	if r.err == nil && v > uint64(len(r.b)-r.off) {
		r.fail("length %d, %d bytes left", v, len(r.b)-r.off)
	}
	return r.take(int(v))
}

func (r *reader) end() error {
	if r.err == nil && r.off != len(r.b) {
		r.fail("%d bytes too many", len(r.b)-r.off)
	}
	return r.err
}
