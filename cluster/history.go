package cluster

import "strings"

// HistoryLimit bounds what a machine remembers for watches; the older half goes when either is exceeded.
type HistoryLimit struct {
	Revisions int // batches of events
	Bytes     int // keys and values
}

// DefaultHistory keeps enough for a watcher that was away for minutes, and little enough that large
// configurations pushed in a row do not fill the memory of a director.
func DefaultHistory() HistoryLimit { return HistoryLimit{Revisions: 8192, Bytes: 32 << 20} }

// history is the recent past, one batch per revision, revisions without a gap.
type history struct {
	limit     HistoryLimit
	compacted int64 // batches up to and including this revision are gone
	batches   [][]Event
	bytes     int
}

func batchBytes(evs []Event) int {
	n := 0
	for _, e := range evs {
		n += len(e.Key) + len(e.Value)
	}
	return n
}

func (h *history) add(evs []Event) {
	h.batches = append(h.batches, evs)
	h.bytes += batchBytes(evs)
	if len(h.batches) <= h.limit.Revisions && h.bytes <= h.limit.Bytes {
		return
	}
	// Dropping half at a time makes the copy cheap on average. The newest batch always stays.
	drop := 0
	for drop < len(h.batches)-1 && (drop < len(h.batches)/2 || h.bytes > h.limit.Bytes) {
		h.bytes -= batchBytes(h.batches[drop])
		drop++
	}
	h.compacted += int64(drop)
	h.batches = append([][]Event(nil), h.batches[drop:]...)
}

// reset forgets everything up to rev: after a snapshot only its outcome is known, not how it came about.
func (h *history) reset(rev int64) {
	h.compacted, h.batches, h.bytes = rev, nil, 0
}

// since requires rev > h.compacted.
func (h *history) since(prefix string, rev int64) ([]Event, int64) {
	for i := rev - h.compacted - 1; i < int64(len(h.batches)); i++ {
		var out []Event
		for _, e := range h.batches[i] {
			if strings.HasPrefix(e.Key, prefix) {
				out = append(out, e)
			}
		}
		if out != nil {
			return out, h.compacted + i + 2
		}
	}
	return nil, 0
}
