package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"quorate/internal/console"
	"quorate/sim"
	"quorate/sim/netns"
	"quorate/sim/real"
	"quorate/sim/report"
	"quorate/sim/uml"
)

// simGuest is set in a guest, where the same command runs with the netns backend.
const simGuest = "QUORATE_SIM_GUEST"

// simReal plays on real kernels: in private namespaces, of a guest if the backend is uml.
func (c *cli) simReal(ctx context.Context, o simOptions, files []scenarioFile) error {
	if o.seedSet {
		return console.Usagef("--seed is for --backend sim: a real kernel has none")
	}
	programs, err := nodePrograms(o.nodes)
	if err != nil {
		return err
	}
	if o.binDir == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		o.binDir = filepath.Dir(self)
	}
	if o.binDir, err = filepath.Abs(o.binDir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.binDir, "clusterd")); err != nil {
		return console.Usagef("no clusterd in %s: name its directory with --bin-dir", o.binDir)
	}
	if o.backend == "uml" && os.Getenv(simGuest) == "" {
		return c.simInGuest(ctx, o, files)
	}
	inside, status, err := netns.Enter(ctx, netns.EnterOptions{})
	if err != nil {
		return err
	}
	if !inside {
		if status != 0 {
			return console.ExitCode(status)
		}
		return nil
	}
	results := make([]report.Result, len(files))
	errs := make([]error, len(files))
	var wg sync.WaitGroup
	var mu sync.Mutex // of the output
	free := make(chan struct{}, max(1, o.jobs))
	for i, f := range files {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			if errs[i] = ctx.Err(); errs[i] != nil {
				return
			}
			if results[i], errs[i] = c.realPlay(ctx, o, programs, f, len(files)); errs[i] == nil {
				mu.Lock()
				defer mu.Unlock()
				c.simSay(results[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.simFinish(o, results)
}

// nodePrograms reads --node NODE=PROGRAM.
func nodePrograms(nodes []string) (map[string]string, error) {
	programs := map[string]string{}
	for _, n := range nodes {
		name, program, _ := strings.Cut(n, "=")
		switch program {
		case sim.Keepalived, sim.FRR:
			programs[name] = program
		case "clusterd":
		default:
			return nil, console.Usagef("--node %s: want NODE=keepalived, NODE=frr or NODE=clusterd", n)
		}
	}
	return programs, nil
}

// realPlay plays one scenario in a lab of its own.
func (c *cli) realPlay(ctx context.Context, o simOptions, programs map[string]string, f scenarioFile, of int) (report.Result, error) {
	r := report.Result{Scenario: f.name, Backend: o.backend, Result: report.Pass, OutageMS: map[string]int64{}}
	sc, err := sim.ParseScenario(f.path, f.text)
	if err != nil {
		return r, console.Usagef("%v", err)
	}
	base := netns.Scratch // memory; paths of sockets must be short
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "s")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // below Scratch it goes with the namespace anyway
	var pcap bytes.Buffer
	p := real.Player{Dir: dir, BinDir: o.binDir, Programs: programs, Backend: o.backend, Slack: o.slack}
	if o.pcap != "" {
		p.Record = &pcap
	}
	start := time.Now()
	out := p.Play(ctx, sc)
	r.Wall, r.Simulated, r.Seed = time.Since(start).Seconds(), out.Elapsed.Seconds(), out.Seed
	if out.Outages != nil {
		r.OutageMS = report.Outages(out.Outages)
	}
	switch {
	case out.Err != nil:
		return r, out.Err
	case out.Failed != nil:
		r.Result, r.Reason = report.Fail, out.Failed.Error()+realLogs(dir)
	case out.Skipped != "":
		r.Result, r.Reason = report.Skip, out.Skipped
		return r, nil
	}
	if o.pcap != "" {
		if err := os.WriteFile(target(o.pcap, f.name, ".pcapng", of), pcap.Bytes(), 0o644); err != nil {
			return r, err
		}
	}
	out.Timeline.Scenario = f.name
	return r, writePictures(o, out.Timeline, f.name, of)
}

// realLogs is the end of every daemon's log, for the reader of a failure.
func realLogs(dir string) string {
	var b strings.Builder
	names, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, n := range names {
		text, err := os.ReadFile(n)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&b, "\n---- %s\n%s", filepath.Base(n), strings.Join(lines[max(0, len(lines)-12):], "\n"))
	}
	return b.String()
}

// simInGuest runs this very command on a kernel of its own.
func (c *cli) simInGuest(ctx context.Context, o simOptions, files []scenarioFile) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var total time.Duration // of virtual time, which is real time there
	for _, f := range files {
		sc, err := sim.ParseScenario(f.path, f.text)
		if err != nil {
			return console.Usagef("%v", err)
		}
		for _, d := range sc.Directives {
			if verb, args, err := sim.Words(d.Text); err == nil && verb == "run" && len(args) == 1 {
				if t, err := time.ParseDuration(args[0].Key); err == nil {
					total += t
				}
			}
		}
		total += 15 * time.Second
	}
	args := slices.Concat([]string{self}, os.Args[1:], []string{"--bin-dir", o.binDir})
	job := uml.Job{Argv: args, Env: []string{simGuest + "=1"}, Timeout: cmp.Or(c.Timeout, time.Minute+2*total), Stdout: c.Out}
	var screen bytes.Buffer
	job.Console = &screen
	code, err := uml.Run(ctx, job)
	if errors.Is(err, uml.ErrUnavailable) {
		var results []report.Result
		for _, f := range files {
			results = append(results, report.Result{Scenario: f.name, Backend: "uml", Result: report.Skip, Reason: err.Error(), OutageMS: map[string]int64{}})
			c.simSay(results[len(results)-1])
		}
		return c.simFinish(o, results)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, screen.String())
	}
	if code != 0 {
		return console.ExitCode(code)
	}
	return nil
}
