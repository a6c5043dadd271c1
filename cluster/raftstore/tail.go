package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"google.golang.org/protobuf/proto"
)

// The log is a sequence of frames in files that are preallocated with zeros:
//
//	length   8 bytes little endian: size of the record in the lower 56 bits; if the top bit is set, bits 56-58 are the padding
//	record   protobuf walpb.Record{type, crc, data}; crc is that of all data from the start of the log
//	padding  to a multiple of 8
//
// A crash in the middle of a write leaves the last frame incomplete: the file ends in it, or the rest of it is still zero.
// Nobody was told that it is stored, so it may be cut off. Anything else that does not check is damage to data that
// other members may count on, and cutting there would lose it silently.

// maxRecord is more than any record can have; a length beyond it is no length.
const maxRecord = 256 << 20

// zeroRun is how many zero bytes at the end of a record tell that its end was never written.
const zeroRun = 8

var walTable = crc32.MakeTable(crc32.Castagnoli)

// cutTornTail removes an incomplete last record from the newest file of the log and returns how many
// bytes of it there were.
func cutTornTail(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	good, err := endOfLog(b)
	if err != nil {
		return 0, fmt.Errorf("log file %s: %w: %s", path, err, remedy)
	}
	cut := int64(max(lastNonZero(b)-good, 0))
	// A rest of less than a length at the end of the file would be taken for a torn length by etcd's reader.
	size := max(int64(len(b)&^7), int64(good))
	if cut == 0 && size == int64(len(b)) {
		return 0, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	// Shrinking and growing again leaves zeros in place of the record and keeps the size of the file.
	err = errors.Join(f.Truncate(int64(good)), f.Truncate(size), f.Sync(), f.Close())
	return cut, err
}

// endOfLog returns where the last complete record ends. It fails if what follows is not merely the torn rest of one write.
func endOfLog(b []byte) (int, error) {
	end := lastNonZero(b)
	off, crc := 0, uint32(0)
	for off < end {
		rec, size, why := frameAt(b, off)
		if why == "" {
			if rec.GetType() == wal.CrcType {
				if crc != 0 && rec.GetCrc() != crc {
					return 0, fmt.Errorf("byte %d: checksum of the previous file is %08x, recorded %08x", off, crc, rec.GetCrc())
				}
				crc = rec.GetCrc()
			} else if crc = crc32.Update(crc, walTable, rec.GetData()); crc != rec.GetCrc() {
				why = "checksum mismatch"
			}
		}
		if why == "" {
			off += size
			continue
		}
		if at := laterRecord(b, off+8); at > 0 {
			return 0, fmt.Errorf("byte %d: %s, but a record follows at byte %d", off, why, at)
		}
		if off+size <= len(b) && !torn(b[off:off+size]) {
			return 0, fmt.Errorf("byte %d: %s in a completely written record", off, why)
		}
		return off, nil
	}
	return off, nil
}

// frameAt reads the frame at off. Without a valid one it says why and how large it claims to be.
func frameAt(b []byte, off int) (rec *walpb.Record, size int, why string) {
	if len(b)-off < 8 {
		return nil, 8, "the file ends in a length"
	}
	l := binary.LittleEndian.Uint64(b[off:])
	n, pad := int64(l&^(0xff<<56)), int64(0)
	if int64(l) < 0 {
		pad = int64(l >> 56 & 7)
	}
	if n == 0 {
		return nil, 8, "zeros in place of a record"
	}
	if n > maxRecord {
		return nil, 8, fmt.Sprintf("impossible length %d", n)
	}
	size = int(8 + n + pad)
	if off+size > len(b) {
		return nil, size, "the file ends in a record"
	}
	rec = new(walpb.Record)
	if err := proto.Unmarshal(b[off+8:off+8+int(n)], rec); err != nil {
		return nil, size, "not a record"
	}
	if t := rec.GetType(); t < wal.MetadataType || t > wal.SnapshotType || rec.Crc == nil {
		return nil, size, fmt.Sprintf("record of unknown type %d", t)
	}
	return rec, size, ""
}

// laterRecord returns where a whole record begins at or after off, 0 if nowhere.
func laterRecord(b []byte, off int) int {
	for off = (off + 7) &^ 7; off < len(b); off += 8 {
		if _, _, why := frameAt(b, off); why == "" {
			return off
		}
	}
	return 0
}

// torn reports whether the end of a frame was never written, or one of its sectors was not.
func torn(frame []byte) bool {
	pad := 0
	if l := binary.LittleEndian.Uint64(frame); int64(l) < 0 {
		pad = int(l >> 56 & 7)
	}
	body := frame[8:]
	if len(body)-lastNonZero(body) >= min(zeroRun+pad, len(body)) {
		return true
	}
	const sector = 512
	for ; len(body) >= sector; body = body[sector:] {
		if lastNonZero(body[:sector]) == 0 {
			return true
		}
	}
	return false
}

// lastNonZero returns the length of b without the zeros at its end.
func lastNonZero(b []byte) int {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}
