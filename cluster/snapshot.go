package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// snapshotMagic opens a snapshot; its last byte is the version.
const snapshotMagic = "quorateKV\x01"

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// ErrCorrupt is returned for a snapshot whose checksum or structure is wrong.
var ErrCorrupt = errors.New("snapshot is corrupt")

// Snapshot returns the whole state as bytes: magic, revision, the keys in order, CRC-32C over all of it.
// Members with equal state return equal bytes. The history for watches is not part of it.
func (m *Machine) Snapshot() []byte {
	b := []byte(snapshotMagic)
	b = binary.AppendUvarint(b, uint64(m.rev))
	b = binary.AppendUvarint(b, uint64(len(m.keys)))
	for _, k := range m.keys {
		kv := m.vals[k]
		b = appendBytes(b, kv.Key)
		b = binary.AppendUvarint(b, uint64(kv.CreateRev))
		b = binary.AppendUvarint(b, uint64(kv.ModRev))
		b = appendBytes(b, kv.Value)
	}
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

// Restore replaces the state by that of a snapshot. On an error the machine is unchanged. Watches that need
// revisions up to the snapshot's get ErrCompacted from then on.
func (m *Machine) Restore(b []byte) error {
	if len(b) < len(snapshotMagic)+4 {
		return fmt.Errorf("%w: only %d bytes", ErrCorrupt, len(b))
	}
	if v := len(snapshotMagic) - 1; string(b[:v]) == snapshotMagic[:v] && b[v] > snapshotMagic[v] {
		return fmt.Errorf("snapshot version %d: %w; this one reads up to %d", b[v], ErrVersion, snapshotMagic[v])
	}
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return fmt.Errorf("%w: it does not begin with %q", ErrCorrupt, snapshotMagic)
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if got := checksum(body); got != sum {
		return fmt.Errorf("%w: checksum %08x, %08x recorded", ErrCorrupt, got, sum)
	}
	r := reader{b: body, off: len(snapshotMagic)}
	rev := r.rev()
	n := r.count()
	keys, vals := make([]string, 0, n), make(map[string]KV, n)
	prev := ""
	for range n {
		kv := KV{Key: string(r.bytes()), CreateRev: r.rev(), ModRev: r.rev()}
		kv.Value = append([]byte{}, r.bytes()...)
		switch {
		case kv.Key <= prev:
			r.fail("key %q follows %q", kv.Key, prev)
		case kv.CreateRev < 1 || kv.CreateRev > kv.ModRev || kv.ModRev > rev:
			r.fail("key %q has revisions %d, %d in a snapshot of revision %d", kv.Key, kv.CreateRev, kv.ModRev, rev)
		}
		if r.err != nil {
			break
		}
		prev = kv.Key
		keys = append(keys, kv.Key)
		vals[kv.Key] = kv
	}
	if err := r.end(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	m.rev, m.keys, m.vals = rev, keys, vals
	m.hist.reset(rev)
	return nil
}
