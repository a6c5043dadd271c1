package host

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"quorate/config"
	"quorate/node"
)

// Limits of notify scripts.
const (
	notifyLimit = 30 * time.Second // then the script is ended and the next one starts
	notifyQueue = 100              // batches of one instance that wait; beyond, the oldest is dropped
	stopLimit   = time.Second      // what is left for STOP scripts at the end
)

// scripts runs track scripts and notify scripts. None of its methods waits for a script.
type scripts struct {
	log   *slog.Logger
	spawn *spawner
	out   func(node.ScriptResult)
	told  func(notified) // how each notify script ended; nil: it is logged
	note  chan struct{}  // something about whose notify scripts have not ended has changed; nil: nobody writes that down

	mu     sync.Mutex
	id     identity
	tracks map[string]*track
	queues map[string]*queue
	closed bool
	wg     sync.WaitGroup
}

// track is a running vrrp_script.
type track struct {
	argv []string
	stop chan struct{}
}

// queue is the notify batches of one instance that wait, and the one that runs.
type queue struct {
	batches []node.Notify
	running string        // state of the running batch; empty: none yet
	stop    chan struct{} // closed to end the running batch
}

// newScripts delivers results to out, which must not block for ever.
func newScripts(log *slog.Logger, out func(node.ScriptResult)) *scripts {
	return &scripts{log: log, spawn: newSpawner(), out: out, tracks: map[string]*track{}, queues: map[string]*queue{}}
}

// SetIdentity changes whom scripts run as.
func (s *scripts) SetIdentity(id identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = id
}

// Start runs a command that lives beside the rest, as the identity of scripts.
func (s *scripts) Start(c config.Command, extra []string) (*process, error) {
	s.mu.Lock()
	id := s.id
	s.mu.Unlock()
	return s.spawn.run(c, extra, id)
}

// Track starts a vrrp_script; its result follows on the channel. While the same command still
// runs it is not started again: that run's result answers both. A run of another
// command under that name is ended, and its result dropped.
func (s *scripts) Track(a node.RunScript) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if old := s.tracks[a.Script]; old != nil {
		if slices.Equal(old.argv, a.Command.Argv) {
			return
		}
		close(old.stop)
	}
	t := &track{argv: a.Command.Argv, stop: make(chan struct{})}
	s.tracks[a.Script] = t
	id := s.id
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		r := s.trackOnce(a, id, t.stop)
		s.mu.Lock()
		current := s.tracks[a.Script] == t
		if current {
			delete(s.tracks, a.Script)
		}
		s.mu.Unlock()
		if current {
			s.out(r)
		}
	}()
}

func (s *scripts) trackOnce(a node.RunScript, id identity, stop <-chan struct{}) node.ScriptResult {
	r := node.ScriptResult{Script: a.Script, ExitCode: -1}
	p, err := s.spawn.run(a.Command, nil, id)
	if err != nil {
		r.Detail = err.Error()
		return r
	}
	if p.wait(a.Timeout, stop) {
		r.ExitCode, r.Detail = p.outcome()
	} else {
		r.Detail = fmt.Sprintf("timed out after %v", a.Timeout)
	}
	return r
}

// Notify queues a batch behind the others of its instance.
func (s *scripts) Notify(n node.Notify) {
	if len(n.Commands) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	key := n.Subject()
	q := s.queues[key]
	if q != nil {
		if len(q.batches) >= notifyQueue {
			s.log.Warn("notify scripts cannot keep up, one is dropped", "instance", n.Name, "state", q.batches[0].State)
			q.batches = q.batches[1:]
		}
		q.batches = append(q.batches, n)
		return
	}
	q = &queue{batches: []node.Notify{n}, stop: make(chan struct{})}
	s.queues[key] = q
	s.changed()
	s.wg.Add(1)
	go s.work(key, q)
}

// work runs a queue until it is empty.
func (s *scripts) work(key string, q *queue) {
	defer s.wg.Done()
	for {
		s.mu.Lock()
		if len(q.batches) == 0 {
			delete(s.queues, key)
			s.changed()
			s.mu.Unlock()
			return
		}
		n, id, stop := q.batches[0], s.id, q.stop
		q.batches, q.running = q.batches[1:], n.State
		s.mu.Unlock()
		for _, c := range n.Commands {
			s.notifyOnce(n, c, id, stop)
		}
	}
}

// changed asks for a note; the lock is held.
func (s *scripts) changed() {
	if s.note != nil {
		select {
		case s.note <- struct{}{}:
		default: // one is due already
		}
	}
}

// NoteIn writes into a file, until ctx ends, whose notify scripts have not ended: they end with this process, and the next one runs
// them again. Errors are reported as trouble.
func (s *scripts) NoteIn(ctx context.Context, path string, trouble func(error)) {
	s.mu.Lock()
	s.note = make(chan struct{}, 1)
	s.mu.Unlock()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.note:
			}
			s.mu.Lock()
			u := untold{Boot: bootID(), Subjects: sortedKeys(s.queues)}
			s.mu.Unlock()
			trouble(replaceJSON(path, u))
		}
	}()
}

// notified is how a notify script ended.
type notified struct {
	instance, state, script string
	detail                  string
	failed                  bool
	took                    time.Duration
}

// result passes on how a notify script ended, as long as somebody listens.
func (s *scripts) result(r notified) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	switch {
	case s.told != nil && !closed:
		s.told(r)
	case r.failed:
		s.log.Warn("notify script failed", "instance", r.instance, "state", r.state, "script", r.script, "detail", r.detail, "ran", r.took)
	}
}

func (s *scripts) notifyOnce(n node.Notify, c node.NotifyCommand, id identity, stop <-chan struct{}) {
	select {
	case <-stop:
		return
	default:
	}
	began := time.Now()
	r := notified{instance: n.Name, state: n.State, script: name(c.Command), failed: true}
	defer func() {
		r.took = time.Since(began).Round(time.Millisecond)
		s.result(r)
	}()
	p, err := s.spawn.run(c.Command, c.Extra, id)
	if err != nil {
		r.detail = "cannot be started: " + err.Error()
		return
	}
	if !p.wait(notifyLimit, stop) {
		r.detail = fmt.Sprintf("was ended before it was done, limit %v", notifyLimit)
		return
	}
	code, detail := p.outcome()
	r.failed, r.detail = code != 0, detail
}

func name(c config.Command) string {
	if len(c.Argv) == 0 {
		return ""
	}
	return c.Argv[0]
}

// Close ends track scripts, drops the notify batches that wait, except those for STOP, and gives
// what runs half a second, then STOP scripts a second. What is left is ended.
func (s *scripts) Close() {
	s.mu.Lock()
	s.closed = true
	for _, t := range s.tracks {
		close(t.stop)
	}
	s.tracks = map[string]*track{}
	busy := false
	for _, q := range s.queues {
		busy = busy || q.running != "" && q.running != "STOP"
		q.batches = slices.DeleteFunc(slices.Clone(q.batches), func(n node.Notify) bool { return n.State != "STOP" })
	}
	s.mu.Unlock()
	idle := make(chan struct{})
	go func() { s.wg.Wait(); close(idle) }()
	ended := func(limit time.Duration) bool {
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-idle:
			return true
		case <-t.C:
			return false
		}
	}
	if busy && !ended(stopLimit/2) {
		s.end(func(q *queue) bool { return q.running != "STOP" })
	}
	if !ended(stopLimit) {
		s.end(func(*queue) bool { return true })
		ended(stopLimit) // for SIGTERM to work; what ignores it outlives us
	}
	s.spawn.close()
}

// end stops the running batch of the queues it is asked to.
func (s *scripts) end(which func(*queue) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		if which(q) {
			close(q.stop)
			q.stop = make(chan struct{}) // of the next batch
		}
	}
}
