package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"quorate/internal/console"
	"quorate/sim"
	"quorate/sim/corpus"
	"quorate/sim/report"
)

// swarmOptions are the flags of swarm. A worker gets them on its command line.
type swarmOptions struct {
	seed    uint64
	seeds   int
	minutes float64
	jobs    int
	step    int // of a worker: seed, seed+step, …
	worker  bool
	corpus  bool
	sample  int
	out     string
	junit   string
	goOn    bool
}

// coverFrom is how many seeds make a search large: from then on every one of sim.Sometimes must have happened.
const coverFrom = 2000

// swarmNote is a line that a worker prints: a failure, or how far it is.
type swarmNote struct {
	Seed     uint64         `json:"seed"`
	Done     int            `json:"done"` // seeds since the last note
	Virtual  float64        `json:"virtual_s"`
	Failed   string         `json:"failed,omitempty"`
	Coverage map[string]int `json:"coverage,omitempty"`
}

func (c *cli) simSwarmCmd() *cobra.Command {
	o := swarmOptions{corpus: true}
	cmd := &cobra.Command{
		Use:   "swarm",
		Short: "search for a failure in random worlds; a failing seed is cut down to a small scenario",
		Long: `swarm plays what past searches have found, then random scenarios: a random cluster, random faults, pushes and forged adverts, then a
liveness phase in which some directors may stay broken for ever and the others must find one owner. It works in several
processes, plays every twentieth seed twice to see that equal seeds give equal runs, and stops at the first failure, which it
prints as a scenario. Exit status 1: something was found, or a large search never saw what it must see sometimes.`,
		Args: console.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.worker {
				return c.swarmWork(cmd.Context(), o)
			}
			switch {
			case o.seeds < 1:
				return console.Usagef("--seeds %d: expected at least 1", o.seeds)
			case o.minutes < 0:
				return console.Usagef("--minutes %v: expected a time", o.minutes)
			case o.sample < 0:
				return console.Usagef("--sample %d: expected 0 for none, or n for every n-th", o.sample)
			case o.minutes > 0 && !cmd.Flags().Changed("seeds"):
				o.seeds = 0 // as many as there is time for
			}
			return c.swarm(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&o.seed, "seed", 1, "first seed")
	f.IntVar(&o.seeds, "seeds", 500, "how many seeds")
	f.Float64Var(&o.minutes, "minutes", 0, "stop after this many minutes (without --seeds: as many seeds as fit)")
	f.IntVarP(&o.jobs, "jobs", "j", 0, "processes (default: one per CPU)")
	f.BoolVar(&o.goOn, "keep-going", false, "do not stop at the first failure")
	f.StringVar(&o.out, "out", "", "directory for the scenarios of failures")
	f.StringVar(&o.junit, "junit", "", "write the result as JUnit XML")
	f.BoolVar(&o.corpus, "corpus", true, "play what past searches have found first")
	f.IntVar(&o.sample, "sample", 20, "play every n-th seed twice; 0: none")
	f.BoolVar(&o.worker, "worker", false, "")
	f.IntVar(&o.step, "step", 1, "")
	for _, hidden := range []string{"worker", "step"} {
		_ = f.MarkHidden(hidden)
	}
	return cmd
}

// swarmWork is one process of a search: its share of the seeds, one after the other.
func (c *cli) swarmWork(ctx context.Context, o swarmOptions) error {
	enc := json.NewEncoder(c.Out)
	note := swarmNote{Coverage: map[string]int{}}
	last := time.Now()
	for i := 0; i < o.seeds && ctx.Err() == nil; i++ {
		note.Seed = o.seed + uint64(i*o.step)
		text := sim.Random(note.Seed)
		s, trace, err := swarmPlay(text)
		if err == nil && o.sample > 0 && note.Seed%uint64(o.sample) == 0 {
			if _, again, _ := swarmPlay(text); again != trace {
				err = fmt.Errorf("trace %016x, then %016x: the same seed gave two different runs", trace, again)
			}
		}
		note.Done++
		if w := s.World(); w != nil {
			note.Virtual += w.Now().Seconds()
		}
		sim.AddCoverage(note.Coverage, s.Coverage())
		if err != nil {
			note.Failed = err.Error()
		}
		if err != nil || time.Since(last) > 200*time.Millisecond || i == o.seeds-1 {
			if e := enc.Encode(note); e != nil {
				return e // nobody listens any more
			}
			note = swarmNote{Coverage: map[string]int{}}
			last = time.Now()
		}
		if err != nil && !o.goOn {
			return nil
		}
	}
	return nil
}

func swarmPlay(text string) (s *sim.Session, trace uint64, err error) {
	s = &sim.Session{Create: func(string) (io.Writer, error) { return io.Discard, nil }}
	sc, err := sim.ParseScenario("random", text)
	if err == nil {
		_, err = sc.Play(s, nil)
	}
	if w := s.World(); w != nil {
		trace, _, _ = w.Trace()
	}
	return s, trace, err
}

// search is what the processes have found together.
type search struct {
	mu       sync.Mutex
	done     int
	virtual  float64
	coverage map[string]int
	failed   []swarmNote
}

// swarm shares the seeds out, collects and reports.
func (c *cli) swarm(ctx context.Context, o swarmOptions) error {
	begin := time.Now()
	if o.corpus {
		n, err := c.swarmCorpus()
		if err != nil {
			return err
		}
		if c.Output == "table" {
			console.Say(c.Out, "%d scenarios of past searches hold\n", n)
		}
	}
	jobs := workers(o.jobs)
	if o.seeds > 0 {
		jobs = min(jobs, o.seeds)
	}
	found := &search{coverage: map[string]int{}}
	whole := ctx
	if o.minutes > 0 {
		var stop func()
		ctx, stop = context.WithTimeout(ctx, time.Duration(o.minutes*float64(time.Minute)))
		defer stop()
	}
	if err := c.swarmFork(ctx, o, jobs, found); err != nil {
		return err
	}
	wall := time.Since(begin)
	slices.SortFunc(found.failed, func(a, b swarmNote) int { return int(int64(a.Seed) - int64(b.Seed)) })
	r := report.Result{Scenario: "swarm", Backend: "sim", Seed: o.seed, Result: report.Pass,
		Simulated: found.virtual, Wall: wall.Seconds(), OutageMS: map[string]int64{}}
	never := sim.Never(found.coverage)
	switch {
	case len(found.failed) > 0:
		r.Result, r.Seed = report.Fail, found.failed[0].Seed
		r.Reason = fmt.Sprintf("seed %d: %s", r.Seed, found.failed[0].Failed)
	case found.done >= coverFrom && len(never) > 0:
		r.Result = report.Fail
		r.Reason = "never happened: " + strings.Join(never, "; ")
	case whole.Err() != nil || found.done == 0:
		r.Result = report.Fail
		r.Reason = fmt.Sprintf("interrupted after %d seeds, none of which failed", found.done)
	}
	if c.Output == "table" {
		console.Say(c.Out, "%d seeds in %.1fs by %d processes: %.0f seeds/s, %.0f virtual seconds per second\n", found.done, wall.Seconds(), jobs,
			float64(found.done)/wall.Seconds(), found.virtual/wall.Seconds())
		for _, k := range slices.Sorted(maps.Keys(found.coverage)) {
			console.Say(c.Out, "  %8d  %s\n", found.coverage[k], k)
		}
		if len(never) > 0 && found.done < coverFrom {
			console.Say(c.Out, "  not seen in so few seeds: %s\n", strings.Join(never, "; "))
		}
	}
	for _, f := range found.failed {
		if err := c.swarmShow(o, f); err != nil {
			return err
		}
	}
	if c.Output != "table" || r.Result != report.Pass {
		c.simSay(r)
	}
	return c.simFinish(simOptions{junit: o.junit}, []report.Result{r})
}

// swarmCorpus replays what past searches have found.
func (c *cli) swarmCorpus() (int, error) {
	names, err := fs.Glob(corpus.FS, "*.txt")
	if err != nil {
		return 0, err
	}
	for _, n := range names {
		b, err := corpus.FS.ReadFile(n)
		if err != nil {
			return 0, err
		}
		if _, _, err := swarmPlay(string(b)); err != nil {
			return 0, fmt.Errorf("a mistake of the past is back: corpus/%s: %w", n, err)
		}
	}
	return len(names), nil
}

// swarmFork runs the processes until all are through, or one has found something.
func (c *cli) swarmFork(ctx context.Context, o swarmOptions, jobs int, found *search) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, jobs)
	for k := range jobs {
		share := 1 << 40
		if o.seeds > 0 {
			share = (o.seeds - k + jobs - 1) / jobs
		}
		args := []string{"sim", "swarm", "--worker", fmt.Sprintf("--seed=%d", o.seed+uint64(k)), fmt.Sprintf("--seeds=%d", share),
			fmt.Sprintf("--step=%d", jobs), fmt.Sprintf("--sample=%d", o.sample), fmt.Sprintf("--keep-going=%v", o.goOn)}
		wg.Go(func() {
			errs[k] = found.listen(ctx, exec.CommandContext(ctx, self, args...), func() {
				if !o.goOn {
					cancel()
				}
			})
		})
	}
	wg.Wait()
	if len(found.failed) > 0 || ctx.Err() != nil {
		return nil
	}
	return errors.Join(errs...)
}

// listen reads the notes of one process.
func (s *search) listen(ctx context.Context, cmd *exec.Cmd, failed func()) error {
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var n swarmNote
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			continue // cut off when the time was over
		}
		s.mu.Lock()
		s.done += n.Done
		s.virtual += n.Virtual
		sim.AddCoverage(s.coverage, n.Coverage)
		if n.Failed != "" {
			s.failed = append(s.failed, n)
		}
		s.mu.Unlock()
		if n.Failed != "" {
			failed()
		}
	}
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("a process of the search ended: %w\n%s", err, complaint.String())
	}
	return nil
}

// swarmShow cuts a failing seed down and shows it, or leaves it in a directory.
func (c *cli) swarmShow(o swarmOptions, f swarmNote) error {
	if o.out == "" && c.Output != "table" {
		return nil // nobody would see it
	}
	text := sim.Random(f.Seed)
	fails := func(text string) error { _, _, err := swarmPlay(text); return err }
	if errors.Is(fails(text), sim.ErrExpect) {
		text = fmt.Sprintf("# Found by a search, seed %d: %s\n", f.Seed, strings.ReplaceAll(f.Failed, "\n", "\n# ")) + sim.Shrink(text, fails)
	}
	if o.out != "" {
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return err
		}
		path := filepath.Join(o.out, fmt.Sprintf("seed-%d.txt", f.Seed))
		console.Say(c.Err, "seed %d fails: %s\n", f.Seed, path)
		return os.WriteFile(path, []byte(text), 0o644)
	}
	console.Say(c.Out, "\n---- seed %d, cut down; save it and play it with clusterctl sim run FILE\n%s----\n", f.Seed, text)
	return nil
}
