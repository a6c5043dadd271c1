package sim

import (
	"time"

	"quorate/sim/wire"
)

// task is something that happens at an instant.
type task struct {
	at    time.Duration
	kind  taskKind
	host  *Host
	nic   int    // taskFrame
	frame []byte // taskFrame
	gen   uint64 // taskWake: stale unless it is the process's current one
	run   func() // taskFunc
}

type taskKind uint8

// Kinds of tasks. Frames and wake-ups are by far the most frequent and need no closure.
const (
	_         taskKind = iota
	taskFrame          // a frame reaches a card
	taskWake           // the deadline a machine asked for
	taskFunc           // anything else: scripts, neighbour timers, requests, checks
	taskTick           // the deadline a store asked for
)

// describe says what it is, for people.
func (t *task) describe() string {
	switch t.kind {
	case taskFrame:
		return "a frame to " + t.host.Name
	case taskWake:
		return "a timer of " + t.host.Name
	case taskTick:
		return "a tick of the store of " + t.host.Name
	}
	return "a task of the world"
}

// place is a task's in the heap: its order, and where it is kept. It holds no pointer, so that moving it costs the garbage collector nothing.
type place struct {
	at       time.Duration
	tie, seq uint64 // order among tasks of one instant
	slot     int
}

func (t *place) before(u *place) bool {
	if t.at != u.at {
		return t.at < u.at
	}
	if t.tie != u.tie {
		return t.tie < u.tie
	}
	return t.seq < u.seq
}

// queue is a binary heap; written out because container/heap would box every task.
type queue struct {
	heap    []place
	tasks   []task // by slot
	free    []int  // slots
	seq     uint64
	shuffle bool
	seed    uint64
}

// push adds a task. Tasks of one instant run in the order they were added, or, under
// shuffle, in an order that depends on the seed alone.
func (q *queue) push(t task) {
	q.seq++
	p := place{at: t.at, seq: q.seq}
	if q.shuffle {
		p.tie = wire.NewStream(q.seed^p.seq, "tie").Uint64()
	}
	if n := len(q.free); n > 0 {
		p.slot, q.free = q.free[n-1], q.free[:n-1]
		q.tasks[p.slot] = t
	} else {
		p.slot = len(q.tasks)
		q.tasks = append(q.tasks, t)
	}
	q.heap = append(q.heap, p)
	h := q.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// pop removes the earliest task if it is due by limit.
func (q *queue) pop(limit time.Duration) (task, bool) {
	if len(q.heap) == 0 || q.heap[0].at > limit {
		return task{}, false
	}
	h := q.heap
	slot := h[0].slot
	first := q.tasks[slot]
	q.tasks[slot] = task{} // let go of the frame
	q.free = append(q.free, slot)
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	q.heap = h
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < last && h[c].before(&h[least]) {
				least = c
			}
		}
		if least == i {
			return first, true
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
