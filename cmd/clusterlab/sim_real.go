package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// simGuest is set in a guest in which a whole scenario is played, see simInGuest.
const simGuest = "QUORATE_SIM_GUEST"

// simReal plays on real kernels: in private namespaces, with a guest for each director if the backend is uml.
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
	inside, status, err := netns.Enter(ctx, netns.EnterOptions{})
	if refused := (*netns.BlockedError)(nil); o.backend == "uml" && errors.As(err, &refused) {
		return c.simInGuest(ctx, o, files)
	}
	if err != nil {
		return err
	}
	if !inside {
		if status != 0 {
			return console.ExitCode(status)
		}
		return nil
	}
	return c.simAtOnce(ctx, o, files, func(f scenarioFile) (report.Result, error) {
		return c.realPlay(ctx, o, programs, f, len(files))
	})
}

// simAtOnce plays as many scenarios at once as --jobs says.
func (c *cli) simAtOnce(ctx context.Context, o simOptions, files []scenarioFile, play func(scenarioFile) (report.Result, error)) error {
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
			if results[i], errs[i] = play(f); errs[i] == nil {
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
	if o.backend == "uml" && os.Getenv(simGuest) == "" {
		self, err := os.Executable()
		if err != nil {
			return r, err
		}
		p.Agent = []string{self}
	}
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
		r.Result, r.Reason = report.Fail, out.Failed.Error()+pushesSaid(out.Timeline)+realLogs(dir)
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

// pushesSaid is what operators were told, for the reader of a failure.
func pushesSaid(t sim.Timeline) (text string) {
	for _, m := range t.Events {
		if m.Kind == "store" && m.Host == "-" {
			text += fmt.Sprintf("\n+%.3f %s", m.At.Seconds(), m.Text)
		}
	}
	return text
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

// simInGuest plays each scenario as a whole on a kernel of its own, which the next one finds new: for where this user may make no
// namespaces. Its directors share that kernel's clock then.
func (c *cli) simInGuest(ctx context.Context, o simOptions, files []scenarioFile) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sim")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return c.simAtOnce(ctx, o, files, func(f scenarioFile) (report.Result, error) {
		own, err := os.MkdirTemp(dir, "") // files of two directories may have one name
		if err != nil {
			return report.Result{}, err
		}
		file := filepath.Join(own, f.name+".txt")
		if err := os.WriteFile(file, []byte(f.text), 0o644); err != nil {
			return report.Result{}, err
		}
		argv := []string{self, "sim", "run", file, "--backend", "uml", "-o", "json", "--bin-dir", o.binDir, "--slack", o.slack.String()}
		for _, n := range o.nodes {
			argv = append(argv, "--node", n)
		}
		for _, t := range []struct{ flag, to, ext string }{{"--html", o.html, ".html"}, {"--svg", o.svg, ".svg"}, {"--pcap", o.pcap, ".pcapng"}} {
			if t.to == "" {
				continue
			}
			to, err := filepath.Abs(target(t.to, f.name, t.ext, len(files)))
			if err != nil {
				return report.Result{}, err
			}
			argv = append(argv, t.flag, to)
		}
		r, err := c.guestPlay(ctx, argv, f)
		r.Reason = strings.ReplaceAll(r.Reason, file, f.path)
		return r, err
	})
}

// guestPlay has a guest play one scenario. A guest that dies is the failure of that scenario.
func (c *cli) guestPlay(ctx context.Context, argv []string, f scenarioFile) (report.Result, error) {
	r := report.Result{Scenario: f.name, Backend: "uml", OutageMS: map[string]int64{}}
	sc, err := sim.ParseScenario(f.path, f.text)
	if err != nil {
		return r, console.Usagef("%v", err)
	}
	limit := 3 * time.Minute // for a boot, daemons that start, pushes
	for _, d := range sc.Directives {
		if verb, args, err := sim.Words(d.Text); err == nil && verb == "run" && len(args) == 1 {
			if t, err := time.ParseDuration(args[0].Key); err == nil {
				limit += 2 * t
			}
		}
	}
	var out, screen bytes.Buffer
	answer := func() []byte { // it is the last line
		b := bytes.TrimSpace(out.Bytes())
		return b[bytes.LastIndexByte(b, '\n')+1:]
	}
	code, err := uml.Run(ctx, uml.Job{Argv: argv, Env: []string{simGuest + "=1"}, Timeout: cmp.Or(c.Timeout, limit), Stdout: &out, Console: &screen})
	switch {
	case errors.Is(err, uml.ErrUnavailable):
		r.Result, r.Reason = report.Skip, err.Error()
		return r, nil
	case ctx.Err() != nil:
		return r, ctx.Err()
	case err == nil && json.Unmarshal(answer(), &r) == nil:
		return r, nil
	case err == nil:
		err = fmt.Errorf("it ended with status %d and said %q", code, out.String())
	}
	lines := strings.Split(strings.TrimSpace(screen.String()), "\n")
	r.Result, r.Reason = report.Fail, fmt.Sprintf("the guest: %v\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	return r, nil
}
