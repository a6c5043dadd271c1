package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"quorate/cluster"
	"quorate/node/host"
)

// Pauses between attempts to open a store that cannot be opened.
const (
	openRetryMin = time.Second
	openRetryMax = 30 * time.Second
)

// loadActive finds what this director ran before it was restarted.
func (s *Server) loadActive() {
	n, err := s.gens.ActiveNumber()
	if err != nil {
		if !errors.Is(err, host.ErrNone) {
			s.log.Error("saved generations", "error", err)
		}
		return
	}
	s.gen.Saved = n
	if g, err := s.gens.Load(n); err == nil {
		s.gen.Author, s.gen.Time = g.Author, g.Time
	}
}

// runStore keeps the store open until ctx ends: one that cannot be opened, or that the disk failed, is opened again.
func (s *Server) runStore(ctx context.Context) {
	pause := openRetryMin
	for ctx.Err() == nil {
		opened := s.now()
		err := s.openAndFollow(ctx)
		if ctx.Err() != nil {
			return
		}
		if s.now().Sub(opened) > openRetryMax {
			pause = openRetryMin
		}
		s.log.Error("the store is not open; VRRP and checks go on; trying again", "error", err, "in", pause)
		s.mu.Lock()
		s.storeErr = err.Error()
		s.mu.Unlock()
		s.triedOnce.Do(func() { close(s.tried) })
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, openRetryMax)
	}
}

// openAndFollow opens the store and follows the active generation; it returns why it had to stop.
func (s *Server) openAndFollow(ctx context.Context) error {
	id := s.id.Load()
	st, err := storageOr(s.cfg.Storage).Open(StorageConfig{Dir: raftDir(s.cfg.StateDir), Self: id.Self(), Seeds: id.Seeds,
		Dial:   s.dialStore,
		Logger: s.log.With("part", "store")})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.store, s.storeErr = st, ""
	s.mu.Unlock()
	s.triedOnce.Do(func() { close(s.tried) })
	defer func() {
		s.mu.Lock()
		s.store = nil
		s.mu.Unlock()
		if err := st.Close(); err != nil {
			s.log.Warn("close the store", "error", err)
		}
	}()
	return s.follow(ctx, st)
}

// follow brings every newly active generation to this director's disk and workers. It ends with ctx or when the store fails.
func (s *Server) follow(ctx context.Context, st cluster.Store) error {
	for {
		kvs, rev := st.LocalRange(cluster.KeyActive)
		retry := s.take(ctx, st, kvs)
		w := st.Watch(cluster.KeyActive, rev+1)
		err := s.wait(ctx, st, w, retry)
		w.Close()
		if err != nil {
			return err
		}
	}
}

// wait returns nil when the active generation should be looked at again, and an error when the store is of no more use.
func (s *Server) wait(ctx context.Context, st cluster.Store, w cluster.Watcher, retry bool) error {
	const tick = 2 * time.Second
	for {
		tctx, cancel := context.WithTimeout(ctx, tick)
		_, err := w.Next(tctx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil, errors.Is(err, cluster.ErrCompacted):
			return nil
		case !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("follow the store: %w", err)
		}
		if f := st.Status().Failed; f != "" {
			return fmt.Errorf("%s: %w", f, cluster.ErrFailed)
		}
		if retry {
			return nil
		}
		s.nudge()
	}
}

// take saves the active generation if it is new and tells the workers. retry says that it failed in a way that may pass.
func (s *Server) take(ctx context.Context, st cluster.Store, kvs []cluster.KV) (retry bool) {
	var active []byte
	for _, kv := range kvs {
		if kv.Key == cluster.KeyActive { // not a longer key with this prefix
			active = kv.Value
		}
	}
	p, err := cluster.DecodePointer(active)
	if err != nil {
		s.failGeneration(0, err)
		return false
	}
	s.mu.Lock()
	s.gen.Committed = p.Number
	saved := s.gen.Saved
	s.mu.Unlock()
	if p.Number == 0 {
		return false
	}
	if p.Number < saved {
		return s.behind(ctx, st, saved)
	}
	if saved == p.Number {
		if g, err := s.gens.Load(saved); err == nil && g.Hash == p.Hash {
			s.failGeneration(0, nil)
			return false
		}
	}
	g, err := s.save(st, p)
	if err != nil {
		s.failGeneration(p.Number, err)
		return true
	}
	s.mu.Lock()
	s.gen = GenerationStatus{Committed: p.Number, Saved: p.Number, Author: g.Author, Time: g.Time}
	s.mu.Unlock()
	s.log.Info("generation saved", "generation", p.Number)
	for _, w := range s.workers {
		s.tellWorker(w)
	}
	return false
}

// behind: numbers only grow, so a copy of the store in which an older generation is active was just opened and does not have
// everything yet. If it has, what this director runs was acknowledged, and is lost in the cluster: it stays here until the next push.
func (s *Server) behind(ctx context.Context, st cluster.Store, saved int64) (retry bool) {
	ctx, cancel := context.WithTimeout(ctx, catchUpBudget)
	defer cancel()
	if _, err := st.Get(ctx, cluster.KeyActive); err != nil {
		return true // nobody can say
	}
	if n := activeNumber(st); n < saved {
		s.failGeneration(n, fmt.Errorf("it is %d, and generation %d, which runs here, is not known to the others: they were put back to older copies of their state directories", n, saved))
	}
	return true
}

// save writes the generation that p points at to this director's disk and makes it the one to boot from.
func (s *Server) save(st cluster.Store, p cluster.Pointer) (cluster.Generation, error) {
	key := cluster.GenerationKey(p.Number)
	for _, kv := range first(st.LocalRange(key)) {
		if kv.Key != key {
			continue
		}
		g, err := cluster.DecodeGeneration(kv.Value)
		if err != nil {
			return g, err
		}
		if g.Number != p.Number || g.Hash != p.Hash {
			return g, fmt.Errorf("%s holds generation %d with hash %s, the pointer says %d with %s", key, g.Number, g.Hash, p.Number, p.Hash)
		}
		if err := s.gens.Save(g); err != nil {
			return g, err
		}
		return g, s.gens.SetActive(g.Number)
	}
	return cluster.Generation{}, fmt.Errorf("generation %d is active but not in this member's copy of the store", p.Number)
}

func (s *Server) failGeneration(n int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.gen.Failed, s.gen.Error = 0, ""
		return
	}
	if s.gen.Failed == n && s.gen.Error == err.Error() {
		return // said already
	}
	s.gen.Failed, s.gen.Error = n, err.Error()
	s.log.Error("cannot take over the active generation; the previous one stays", "generation", n, "error", err)
}
