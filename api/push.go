package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"quorate/cluster"
	"quorate/config"
)

const (
	commitBudget = 10 * time.Second
	defaultWait  = 30 * time.Second
	maxWait      = 10 * time.Minute
	maxRaces     = 5 // lost races for the next number before a push gives up
)

// push is one push on its way.
type push struct {
	s     *Server
	st    Replica
	req   PushRequest
	gen   cluster.Generation
	base  cluster.KV // KeyActive as read
	emit  func(PushEvent)
	must  map[string]bool // directors that answered and so must run it
	warns config.Diagnostics
}

// handlePush reads, renders and checks the file, which may be refused with 422, and then streams the rest as PushEvents, one
// JSON object per line.
func (s *Server) handlePush(r *http.Request) (any, error) {
	p := &push{s: s, must: map[string]bool{}}
	if err := readJSON(r, &p.req); err != nil {
		return nil, err
	}
	q := &p.req
	if q.ID == "" || len(q.ID) > 64 {
		return nil, errf(CodeUsage, "push: an id of 1 to 64 characters is required, so that a retry can find its first attempt")
	}
	if _, ok := q.Files[q.Main]; !ok {
		return nil, errf(CodeUsage, "push: main file %q is not among the %d files sent", q.Main, len(q.Files))
	}
	q.Wait = min(cmp.Or(max(q.Wait, 0), defaultWait), maxWait)
	q.Author = cmp.Or(q.Author, "unknown")
	var names []string
	for _, m := range s.members() {
		names = append(names, m.Name)
	}
	_, p.warns = config.Render(q.Main, config.Files(q.Files), names)
	if p.warns.HasErrors() || q.Strict && p.warns.Count(config.Warning) > 0 {
		return nil, refused(p.warns, "the configuration")
	}
	var err error
	if p.st, err = s.replica(); err != nil {
		return nil, err
	}
	p.gen = cluster.Generation{ID: q.ID, Author: q.Author, Time: s.now().UTC(), Message: q.Message, Main: q.Main, Files: q.Files}
	// This read is linearizable: without quorum it fails here, before anything was proposed.
	if err := p.readBase(r.Context()); err != nil {
		return nil, nothingChanged(err)
	}
	return streamed(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc, rc := json.NewEncoder(w), http.NewResponseController(w)
		p.emit = func(e PushEvent) {
			_ = enc.Encode(e) // a pusher who went away cannot be told
			_ = rc.Flush()
		}
		p.emit(PushEvent{Step: "render", OK: true, Nodes: names, Diagnostics: p.warns, Base: p.baseNumber()})
		if done, err := p.run(r.Context()); err != nil {
			p.emit(PushEvent{Step: "failed", Generation: p.committed(), Base: p.baseNumber(), Error: AsError(err)})
		} else {
			p.emit(done)
		}
	}), nil
}

func refused(ds config.Diagnostics, what string) *Error {
	return &Error{Code: CodeInvalid, Diagnostics: ds,
		Message: fmt.Sprintf("%s is refused: %s", what, Findings(ds)),
		Hint:    "nothing was changed; repair the file and push again"}
}

// nothingChanged adds to an error from before the commit what the pusher most wants to know.
func nothingChanged(err error) error {
	e := *AsError(err)
	if e.Code == CodeNoQuorum || e.Code == CodeTimeout || e.Code == CodeStore {
		if e.Code == CodeTimeout {
			e.Code = CodeNoQuorum // a read that timed out: no majority answered
		}
		e.Message = "nothing was changed: " + strings.TrimSuffix(e.Message, "; the outcome is unknown")
		e.Hint = "a majority of the members must be up and reachable to change the configuration (clusterctl status shows who is missing); VRRP and checks keep working with the active one"
	}
	return &e
}

func (p *push) readBase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitBudget)
	defer cancel()
	kv, err := p.st.Get(ctx, cluster.KeyActive)
	if errors.Is(err, cluster.ErrNotFound) {
		kv, err = cluster.KV{}, nil
	}
	p.base = kv
	return err
}

// pointer is the generation that was active when base was read; a broken value was refused by Prepare or is 0.
func (p *push) pointer() cluster.Pointer {
	ptr, err := cluster.DecodePointer(p.base.Value)
	if err != nil {
		return cluster.Pointer{}
	}
	return ptr
}

func (p *push) baseNumber() int64 { return p.pointer().Number }

// committed is the number that this push has got, 0 while it has none.
func (p *push) committed() int64 { return p.gen.Number }

func (p *push) run(ctx context.Context) (PushEvent, error) {
	if own := p.findOwn(); own != nil {
		p.gen = *own
		p.emit(PushEvent{Step: "commit", OK: true, Generation: own.Number, Detail: "committed by an earlier attempt of the same push"})
		return p.await(ctx)
	}
	if err := p.checkRev(); err != nil {
		return PushEvent{}, err
	}
	if ptr := p.pointer(); ptr.Number > 0 && ptr.Hash == p.gen.ComputeHash() {
		return PushEvent{Step: "done", OK: true, Result: "unchanged", Generation: ptr.Number, Base: ptr.Number}, nil
	}
	if err := p.ask(ctx); err != nil {
		return PushEvent{}, err
	}
	if p.req.DryRun {
		return PushEvent{Step: "done", OK: true, Result: "checked", Base: p.baseNumber()}, nil
	}
	if err := p.commit(ctx); err != nil {
		return PushEvent{}, err
	}
	return p.await(ctx)
}

func (p *push) checkRev() error {
	if want := p.req.IfRev; want != nil && *want != p.baseNumber() {
		return errf(CodeConflict, "generation %d is active, not %d: someone else has pushed", p.baseNumber(), *want).
			withHint("nothing was changed; look at it (clusterctl history, clusterctl get), merge, and push with --if-rev %d", p.baseNumber())
	}
	return nil
}

// findOwn looks for a generation with this push's id among the last ones: an attempt whose answer got lost.
func (p *push) findOwn() *cluster.Generation {
	read := func(n int64) (cluster.Generation, bool) {
		g, err := localGeneration(p.st, n)
		return g, err == nil
	}
	if g, ok := cluster.FindPush(read, p.pointer(), p.req.ID); ok {
		return &g
	}
	return nil
}

// ask has every director check the file on its host. Those that do not answer do not hold it up.
func (p *push) ask(ctx context.Context) error {
	ops := p.s.askAll(ctx, CheckRequest{Main: p.req.Main, Files: p.req.Files, Stage: p.baseNumber() + 1})
	found := mergeDiagnostics(p.warns, ops)
	for _, o := range ops {
		e := PushEvent{Step: "ask", Node: o.name, OK: o.err == nil}
		switch {
		case o.err != nil:
			e.Detail = "does not answer, gets it when it is back: " + AsError(o.err).Message
		default:
			p.must[o.name] = true
			mine := config.Diagnostics{}
			for _, d := range found {
				if len(d.Nodes) == 0 || strings.Contains(" "+strings.Join(d.Nodes, " ")+" ", " "+o.name+" ") {
					mine = append(mine, d)
				}
			}
			e.OK, e.Diagnostics = !mine.HasErrors(), mine
			if !e.OK {
				e.Detail = "refuses it: " + plural(mine.Count(config.Error), "error")
			}
		}
		p.emit(e)
	}
	if found.HasErrors() || p.req.Strict && found.Count(config.Warning) > 0 {
		return refused(found, "the configuration")
	}
	return nil
}

// commit writes the generation and makes it active in one transaction.
func (p *push) commit(ctx context.Context) error {
	for range maxRaces {
		g := p.gen
		if err := g.Prepare(p.base); err != nil {
			return errf(CodeInvalid, "%v", err).withHint("nothing was changed")
		}
		txn := cluster.PushTxn(p.base, g)
		if err := txn.Check(); err != nil {
			return errf(CodeInvalid, "%v", err).withHint("nothing was changed; the files of a configuration must fit into one transaction")
		}
		tctx, cancel := context.WithTimeout(ctx, commitBudget)
		res, err := p.st.Txn(tctx, txn)
		cancel()
		if err != nil {
			return p.unsure(err)
		}
		if res.Succeeded {
			p.gen = g
			p.emit(PushEvent{Step: "commit", OK: true, Generation: g.Number, Base: p.baseNumber()})
			return nil
		}
		// Someone was faster, or an earlier try of this very push was.
		if err := p.readBase(ctx); err != nil {
			return nothingChanged(err)
		}
		if own := p.findOwn(); own != nil {
			p.gen = *own
			p.emit(PushEvent{Step: "commit", OK: true, Generation: own.Number})
			return nil
		}
		if err := p.checkRev(); err != nil {
			return err
		}
	}
	return errf(CodeConflict, "%d other pushes were faster", maxRaces).withHint("nothing was changed; push again")
}

// unsure handles a transaction of which nobody knows whether it was committed: it looks, and says so if it cannot.
func (p *push) unsure(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitBudget/2)
	defer cancel()
	if rerr := p.readBase(ctx); rerr == nil {
		if own := p.findOwn(); own != nil {
			p.gen = *own
			p.emit(PushEvent{Step: "commit", OK: true, Generation: own.Number})
			return nil
		}
	}
	e := *AsError(err)
	if e.Code == CodeTimeout {
		e.Code = CodeNoQuorum
	}
	e.Message = "the commit was not confirmed: " + e.Message
	e.Hint = fmt.Sprintf("quorum was lost during the push, so it may or may not take effect; once clusterctl status shows quorum, repeat it with --id %s: it finds its own attempt", p.req.ID)
	return &e
}

// progress of one director towards the generation.
type progress uint8

const (
	_ progress = iota
	waiting
	running
	failed
	silent
)

// await follows the directors that answered until all of them run the generation or say why not.
func (p *push) await(ctx context.Context) (PushEvent, error) {
	deadline := time.NewTimer(p.req.Wait)
	defer deadline.Stop()
	known := map[string]progress{}
	for {
		var late, bad []string
		live := 0
		for _, r := range p.s.reports(ctx) {
			name := r.Member.Name
			state, detail := p.state(r)
			if state == silent && !p.must[name] {
				continue
			}
			if state != silent {
				live++
			}
			if state != known[name] && state != waiting {
				p.emit(PushEvent{Step: "apply", Node: name, OK: state == running, Detail: detail, Generation: p.gen.Number})
			}
			known[name] = state
			switch state {
			case failed:
				bad = append(bad, name+": "+detail)
			case waiting, silent:
				late = append(late, name+" ("+detail+")")
			}
		}
		if len(late) == 0 && len(bad) == 0 && live > 0 {
			return PushEvent{Step: "done", OK: true, Result: "active", Generation: p.gen.Number, Base: p.baseNumber()}, nil
		}
		if len(late) == 0 && len(bad) > 0 {
			return PushEvent{}, p.rolloutFailed(bad)
		}
		select {
		case <-ctx.Done():
			return PushEvent{}, ctx.Err()
		case <-deadline.C:
			if len(bad) > 0 {
				return PushEvent{}, p.rolloutFailed(bad)
			}
			return PushEvent{}, errf(CodeTimeout, "generation %d is committed, but after %s these do not run it yet: %s", p.gen.Number, p.req.Wait, strings.Join(late, ", ")).
				withHint("they get it as soon as they can; clusterctl status shows when, clusterctl rollback goes back")
		case <-time.After(150 * time.Millisecond):
		}
	}
}

func (p *push) rolloutFailed(bad []string) error {
	return errf(CodeRollout, "generation %d is committed, but cannot be run on %s", p.gen.Number, strings.Join(bad, "; ")).
		withHint("it was not rolled back; go back to the previous generation with: clusterctl rollback")
}

func (p *push) state(r NodeReport) (progress, string) {
	n := p.gen.Number
	if r.Status == nil {
		return silent, "does not answer: " + r.Err
	}
	if g := r.Status.Generation; g.Failed >= n && g.Saved < n {
		return failed, g.Error
	}
	if r.Status.Generation.Saved < n {
		return waiting, "has not got it yet"
	}
	var late []string
	for _, w := range r.Status.Workers {
		if w.Failed >= n && !w.runs(n) {
			return failed, fmt.Sprintf("%s worker: %s", w.Worker, w.Error)
		}
		if !w.runs(n) {
			late = append(late, w.Worker+" worker")
		}
	}
	if len(late) > 0 {
		return waiting, strings.Join(late, " and ") + " not yet"
	}
	return running, "runs it"
}

// Findings counts diagnostics in words: "1 error, 2 warnings".
func Findings(ds config.Diagnostics) string {
	return plural(ds.Count(config.Error), "error") + ", " + plural(ds.Count(config.Warning), "warning")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
