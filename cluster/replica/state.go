package replica

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"quorate/cluster"
)

// Roster is who belongs to the cluster. It is replicated: it changes by configuration changes in the log and
// travels in snapshots.
type Roster struct {
	Cluster uint64           `json:"cluster,string"` // 0: not learned yet
	Members []cluster.Member `json:"members"`        // sorted by ID
	Removed []uint64         `json:"removed"`        // sorted; an ID is never used again
}

// Find returns the member with that id.
func (r *Roster) Find(id uint64) (cluster.Member, bool) {
	for _, m := range r.Members {
		if m.ID == id {
			return m, true
		}
	}
	return cluster.Member{}, false
}

// WasRemoved reports whether the id belonged to a member that is none any more.
func (r *Roster) WasRemoved(id uint64) bool {
	_, ok := slices.BinarySearch(r.Removed, id)
	return ok
}

// Clash finds another member with the name or address of m.
func (r *Roster) Clash(m cluster.Member) (cluster.Member, bool) {
	for _, o := range r.Members {
		if o.ID != m.ID && (o.Name == m.Name || o.Address == m.Address) {
			return o, true
		}
	}
	return cluster.Member{}, false
}

// put adds or replaces a member. It never writes to a slice that was handed out.
func (r *Roster) put(m cluster.Member) {
	ms := slices.DeleteFunc(slices.Clone(r.Members), func(o cluster.Member) bool { return o.ID == m.ID })
	ms = append(ms, m)
	slices.SortFunc(ms, func(a, b cluster.Member) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	r.Members = ms
}

func (r *Roster) remove(id uint64) {
	r.Members = slices.DeleteFunc(slices.Clone(r.Members), func(o cluster.Member) bool { return o.ID == id })
	if at, found := slices.BinarySearch(r.Removed, id); !found {
		r.Removed = slices.Insert(slices.Clone(r.Removed), at, id)
	}
}

// byName returns the members as Status shows them.
func (r *Roster) byName() []cluster.Member {
	ms := slices.Clone(r.Members)
	slices.SortFunc(ms, func(a, b cluster.Member) int { return strings.Compare(a.Name, b.Name) })
	return ms
}

// CheckMember refuses what could never work as a member.
func CheckMember(m cluster.Member) error {
	switch {
	case m.ID == 0 || m.ID > 1<<63:
		return fmt.Errorf("member %q: id %d is not allowed: choose one in 1..2^63", m.Name, m.ID)
	case m.Name == "":
		return fmt.Errorf("member %d has no name", m.ID)
	case m.Address == "":
		return fmt.Errorf("member %q has no address", m.Name)
	}
	return nil
}

// The data of a raft snapshot: magic, length and JSON of the roster, the machine's snapshot, CRC-32C over all.
const stateMagic = "quorateRS\x01"

func encodeState(r *Roster, m *cluster.Machine) ([]byte, error) {
	js, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	b := []byte(stateMagic)
	b = binary.AppendUvarint(b, uint64(len(js)))
	b = append(b, js...)
	b = append(b, m.Snapshot()...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), nil
}

// decodeState restores m, which is unchanged on an error.
func decodeState(b []byte, m *cluster.Machine) (Roster, error) {
	var r Roster
	if len(b) < len(stateMagic)+4 || string(b[:len(stateMagic)]) != stateMagic {
		return r, fmt.Errorf("%w: it does not begin with %q", cluster.ErrCorrupt, stateMagic)
	}
	body := b[:len(b)-4]
	if got, sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), binary.BigEndian.Uint32(b[len(b)-4:]); got != sum {
		return r, fmt.Errorf("%w: checksum %08x, %08x recorded", cluster.ErrCorrupt, got, sum)
	}
	rest := body[len(stateMagic):]
	n, k := binary.Uvarint(rest)
	if k <= 0 || n > uint64(len(rest)-k) {
		return r, fmt.Errorf("%w: bad length of the member list", cluster.ErrCorrupt)
	}
	if err := json.Unmarshal(rest[k:k+int(n)], &r); err != nil {
		return r, fmt.Errorf("%w: member list: %w", cluster.ErrCorrupt, err)
	}
	return r, m.Restore(rest[k+int(n):])
}
