package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"quorate/cluster"
	"quorate/config"
)

// request asks for a configuration: a generation, or whatever load gives.
type request struct {
	apply bool
	gen   int64
}

type loaded struct {
	cfg    *config.Config
	gen    int64
	err    error
	usable bool // err is only worth a report
}

// loader reads and parses in the background. Of several requests the latest counts.
type loader struct {
	w    *worker
	mu   sync.Mutex
	next *request
	kick chan struct{}
	out  chan loaded
}

func (l *loader) ask(r request) {
	l.mu.Lock()
	l.next = &r
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *loader) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
		}
		l.mu.Lock()
		r := l.next
		l.next = nil
		l.mu.Unlock()
		if r == nil {
			continue
		}
		got := l.read(*r)
		select {
		case <-ctx.Done():
			return
		case l.out <- got:
		}
	}
}

func (l *loader) read(r request) (got loaded) {
	if !r.apply {
		got.cfg, got.gen, got.err = l.w.load()
		got.usable = got.cfg != nil && got.err != nil
		if got.cfg == nil && got.err == nil {
			got.err = errors.New("no configuration")
		}
		return got
	}
	got.gen = r.gen
	if l.w.gens == nil {
		got.err = fmt.Errorf("generation %d: this worker has no directory of generations", r.gen)
		return got
	}
	// A message that waited while this worker was being restarted may be about a generation that
	// is active no more.
	if n, err := l.w.gens.ActiveNumber(); err == nil && n != r.gen {
		got.gen = n
	}
	g, err := l.w.gens.Load(got.gen)
	if err == nil {
		got.cfg, err = l.w.parse(g)
	}
	got.err = err
	return got
}

// parseAs returns the reader of generations as one node sees them. Its error is the list of
// everything that makes the reader refuse the file.
func parseAs(nodeName string) func(cluster.Generation) (*config.Config, error) {
	return func(g cluster.Generation) (*config.Config, error) {
		src := config.Files(g.Files)
		cfg, found := config.Parse(g.Main, src, config.Options{ConfigID: nodeName})
		if found.HasErrors() {
			bad := slices.DeleteFunc(found, func(d config.Diagnostic) bool { return d.Severity != config.Error })
			return nil, fmt.Errorf("generation %d does not parse for node %s:\n%s", g.Number, nodeName, strings.TrimSpace(bad.Text(src)))
		}
		return cfg, nil
	}
}
