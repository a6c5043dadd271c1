package api

import (
	"context"
	"os"
	"sync"
	"time"

	"quorate/node"
	"quorate/node/host"
)

// aliveFor is how long after its last message a worker counts as alive; workers repeat their status every 5 s.
const aliveFor = 16 * time.Second

// workerState is what is known of one worker. Server.mu guards it.
type workerState struct {
	name    string
	conn    Worker
	pid     int
	seen    time.Time
	applied int64
	failed  int64
	err     string
	parts   host.Assembler
	report  host.Status
}

func (w *workerState) status(now time.Time) WorkerStatus {
	return WorkerStatus{Worker: w.name, PID: w.pid, Seen: w.seen, Applied: w.applied, Failed: w.failed, Error: w.err, Late: w.report.Late,
		Alive: !w.seen.IsZero() && now.Sub(w.seen) < aliveFor}
}

// runWorker listens to one worker until ctx ends. The pair outlives the worker's process, so an error here is final.
func (s *Server) runWorker(ctx context.Context, w *workerState) {
	// It may have started before this one: it says again what it runs, and learns what it should.
	if err := w.conn.Send(host.Message{Kind: host.KindHello, Worker: "cluster", PID: os.Getpid()}); err != nil {
		s.log.Warn("cannot greet a worker", "worker", w.name, "error", err)
	}
	s.tellWorker(w)
	for {
		m, err := w.conn.Recv(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.log.Error("lost the connection to a worker", "worker", w.name, "error", err)
			}
			return
		}
		s.fromWorker(w, m)
	}
}

func (s *Server) fromWorker(w *workerState, m host.Message) {
	s.mu.Lock()
	w.seen = s.now()
	if m.PID != 0 && w.pid != 0 && m.PID != w.pid || m.Kind == host.KindHello {
		// A new process: it runs what it finds on the disk and says so.
		w.applied, w.failed, w.err, w.parts = 0, 0, "", host.Assembler{}
	}
	if m.PID != 0 {
		w.pid = m.PID
	}
	switch m.Kind {
	case host.KindApplied:
		if m.Error != "" {
			w.failed, w.err = m.Generation, m.Error
		} else {
			w.applied = m.Generation
			if w.failed <= w.applied {
				w.failed, w.err = 0, ""
			}
		}
	case host.KindStatus:
		if st, ok := w.parts.Add(m); ok {
			w.report = st
			w.applied = max(w.applied, st.Generation) // heals a lost KindApplied; an old status must not take one back
		}
	}
	s.mu.Unlock()
	switch {
	case m.Kind == host.KindHello:
		s.log.Info("worker started", "worker", w.name, "pid", m.PID)
		s.tellWorker(w)
	case m.Kind == host.KindEntry && m.Entry != nil:
		e := *m.Entry
		if e.Node == "" {
			e.Node = s.id.Load().Name
		}
		s.journal.add(e)
	case m.Kind == host.KindApplied && m.Error != "":
		s.log.Error("worker cannot run a generation", "worker", w.name, "generation", m.Generation, "error", m.Error)
	}
}

// tellWorker asks a worker to run the generation that is active on this director's disk.
func (s *Server) tellWorker(w *workerState) {
	s.mu.Lock()
	n := s.gen.Saved
	s.mu.Unlock()
	if n == 0 {
		return
	}
	if err := w.conn.Send(host.Message{Kind: host.KindApply, Worker: w.name, Generation: n}); err != nil {
		s.log.Warn("cannot tell a worker about a generation; it is told again", "worker", w.name, "generation", n, "error", err)
	}
}

// nudge repeats KindApply to workers that do not run the saved generation and did not refuse it: the message may have been
// dropped because the worker's queue was full.
func (s *Server) nudge() {
	s.mu.Lock()
	var late []*workerState
	for _, w := range s.workers {
		if s.gen.Saved > 0 && w.applied != s.gen.Saved && w.failed != s.gen.Saved {
			late = append(late, w)
		}
	}
	s.mu.Unlock()
	for _, w := range late {
		s.tellWorker(w)
	}
}

// journal keeps the last entries of this director's workers in memory.
type journal struct {
	mu      sync.Mutex
	entries []node.Entry // ring once full
	next    int
}

const journalSize = 1000

func (j *journal) add(e node.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) < journalSize {
		j.entries = append(j.entries, e)
		return
	}
	j.entries[j.next] = e
	j.next = (j.next + 1) % journalSize
}

// list returns the entries since an instant, oldest first.
func (j *journal) list(since time.Time) []node.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := []node.Entry{}
	for i := range j.entries {
		if e := j.entries[(j.next+i)%len(j.entries)]; !e.Time.Before(since) {
			out = append(out, e)
		}
	}
	return out
}
