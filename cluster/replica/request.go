package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"

	"quorate/cluster"
)

// request is a proposal or a read on its way.
type request struct {
	id   cluster.RequestID
	data []byte // an encoded command, or
	conf *confRequest
	term uint64 // in which it was handed to raft
	live func() bool
}

func (q *request) waiting() bool { return q.live == nil || q.live() }

// readBatch is a set of reads that share one ReadIndex request.
type readBatch struct {
	id      cluster.RequestID
	readers []*request
	at      uint64 // tick of the request
	index   uint64 // once granted: serve when this is applied
}

// ownID makes the id of a request of the replica's own: those of its callers never have that bit.
func (r *Replica) ownID() (id cluster.RequestID) {
	r.ids++
	binary.BigEndian.PutUint64(id[:8], r.cfg.Start|1<<63)
	binary.BigEndian.PutUint64(id[8:], r.ids)
	return id
}

// proposeHeld hands waiting proposals to raft. Without a leader, or with too much uncommitted, they stay.
func (r *Replica) proposeHeld() {
	for len(r.held) > 0 {
		q := r.held[0]
		if q.waiting() {
			if !r.leaderAlive() {
				return
			}
			q.term = r.rn.BasicStatus().HardState.GetTerm()
			var err error
			if q.conf != nil {
				err = r.rn.ProposeConfChange(q.conf.change(q.id))
			} else {
				err = r.rn.Propose(q.data)
			}
			switch {
			case errors.Is(err, raft.ErrProposalDropped):
				return
			case err != nil:
				r.push(Answer{ID: q.id, Err: err})
			default:
				q.data = nil
				r.open = append(r.open, q)
			}
		}
		r.held[0] = nil
		r.held = r.held[1:]
	}
	r.held = nil
}

// askReads sends one ReadIndex for all reads that wait. Reads that come while it is on its way wait for the next one:
// its answer may be older than they are.
func (r *Replica) askReads() {
	if !r.leaderAlive() {
		return
	}
	if r.asked.readers != nil {
		if r.ticks-r.asked.at < uint64(r.cfg.ElectionTicks)/2 {
			return
		}
		// The request or its answer was lost, or the leader changed: ask again with a new id.
		r.reads = append(r.asked.readers, r.reads...)
		r.asked = readBatch{}
	}
	live := slices.DeleteFunc(r.reads, func(q *request) bool { return !q.waiting() })
	r.reads = nil
	if len(live) == 0 {
		return
	}
	r.asked = readBatch{id: r.ownID(), readers: live, at: r.ticks}
	r.rn.ReadIndex(r.asked.id[:])
}

// serveReads answers the granted reads whose index is applied.
func (r *Replica) serveReads() {
	later := r.granted[:0]
	for _, b := range r.granted {
		if b.index > r.applied {
			later = append(later, b)
			continue
		}
		r.answerAll(b.readers, nil)
	}
	r.granted = later
}

func (r *Replica) answerAll(qs []*request, err error) {
	for _, q := range qs {
		r.push(Answer{ID: q.id, Err: err})
	}
}

// giveUp fails every request: there has been no leader for too long.
func (r *Replica) giveUp(err error) {
	for _, qs := range [][]*request{r.held, r.open, r.reads, r.asked.readers} {
		r.answerAll(qs, err)
	}
	r.held, r.open, r.reads, r.asked = nil, nil, nil, readBatch{}
}

// answer ends the proposal of that id, if it is one of ours.
func (r *Replica) answer(a Answer) {
	// They are committed in the order they were proposed, mostly.
	i := slices.IndexFunc(r.open, func(q *request) bool { return q.id == a.ID })
	if i < 0 {
		return
	}
	r.push(a)
	if i == 0 {
		r.open[0] = nil
		r.open = r.open[1:]
		return
	}
	r.open = slices.Delete(r.open, i, i+1)
}

// forget drops proposals that nobody waits for any more.
func (r *Replica) forget() {
	r.open = slices.DeleteFunc(r.open, func(q *request) bool { return !q.waiting() })
}

// failOlder gives up what was handed to leaders before the one of this term, of which an entry has just been applied:
// all that it took over from them precedes that entry. Only a proposal still on its way from one to
// the other could come later, which is why the outcome is called unknown.
func (r *Replica) failOlder(term uint64, why string) {
	r.open = slices.DeleteFunc(r.open, func(q *request) bool {
		if q.term >= term {
			return false
		}
		r.push(Answer{ID: q.id, Err: fmt.Errorf("%w: %s", cluster.ErrTimeout, why)})
		return true
	})
}
