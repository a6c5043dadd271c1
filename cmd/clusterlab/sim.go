package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quorate/config"
	"quorate/internal/console"
	"quorate/sim"
	"quorate/sim/report"
)

// simOptions are the flags of the commands below sim.
type simOptions struct {
	backend string
	nodes   []string // --node d2=keepalived
	conf    string
	seed    uint64
	seedSet bool
	html    string
	svg     string
	pcap    string
	junit   string
	quiet   bool
	binDir  string
	jobs    int
	slack   time.Duration
	step    bool
	// programs are the directors of --node NAME=PROGRAM
	programs map[string]string
}

// scenarioFile is a scenario to play and where it came from.
type scenarioFile struct {
	name string // without directory and .txt
	path string // for messages
	text string
	made bool // by --conf: its output is of interest even if all is well
}

func (c *cli) simCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "play failovers, split brains and conflicts, in virtual time or on real kernels",
		Long: `sim plays scenarios: text files that say what happens to a cluster and what must hold then. FILE is a file, or the name of a
built-in scenario (clusterctl sim list). docs/simulator.md explains the language.`,
		Args: console.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.simRunCmd(), c.simVerifyCmd(), c.simListCmd(), c.simExplainCmd(), c.simShrinkCmd(), c.simSwarmCmd(), c.simReplayCmd(), c.simVerbsCmd())
	return cmd
}

func (c *cli) simRunCmd() *cobra.Command {
	var o simOptions
	cmd := &cobra.Command{
		Use:   "run FILE…",
		Short: "play scenarios and judge them; exit status 1 if one fails",
		Example: `  clusterctl sim run owner-crash                       a built-in one
  clusterctl sim run all -o json                       all of them, an object per line
  clusterctl sim run my.txt --html my.html             see it
  clusterctl sim run --conf keepalived.conf            what would happen with your own file
  clusterctl sim run --backend netns owner-crash --node d2=keepalived`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.seedSet = cmd.Flags().Changed("seed")
			return c.simRun(cmd.Context(), o, args)
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *simOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.backend, "backend", "sim", "sim (virtual time), netns (real daemons on this kernel) or uml (every director in a guest with a kernel, clocks and IPVS of its own)")
	f.StringArrayVar(&o.nodes, "node", nil, "NODE=keepalived or NODE=frr: Debian's program instead of clusterd there, in virtual time a director that behaves as it does; with --conf: the names of the directors")
	f.StringVar(&o.conf, "conf", "", "your keepalived.conf: plays what can happen to its owner; FILE… then chooses among those cases")
	f.Uint64Var(&o.seed, "seed", 0, "replaces the scenario's seed")
	f.StringVar(&o.html, "html", "", "write a picture of the run (a directory if there are several)")
	f.StringVar(&o.svg, "svg", "", "the same as SVG")
	f.StringVar(&o.pcap, "pcap", "", "write every frame as pcapng (a directory if there are several)")
	f.StringVar(&o.junit, "junit", "", "write the results as JUnit XML")
	f.BoolVar(&o.step, "step", false, "stop after each verb until Enter is pressed")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print results, no time lines")
	f.IntVarP(&o.jobs, "jobs", "j", 1, "netns, uml: how many labs at once; more than the machine can bear shows as late failovers")
	f.DurationVar(&o.slack, "slack", 50*time.Millisecond, "netns, uml: added to every bound, on top of a fifth of it")
	f.StringVar(&o.binDir, "bin-dir", "", "where clusterd is, for netns and uml (default: beside this program)")
}

// simRun plays every scenario and prints what came of it.
func (c *cli) simRun(ctx context.Context, o simOptions, args []string) error {
	if !slices.Contains([]string{"sim", "netns", "uml"}, o.backend) {
		return console.Usagef("--backend %s: want sim, netns or uml", o.backend)
	}
	files, err := c.simFiles(&o, args)
	if err != nil {
		return err
	}
	for _, target := range []string{o.html, o.svg, o.pcap} {
		if err := checkTarget(target, len(files)); err != nil {
			return err
		}
	}
	if o.backend != "sim" {
		return c.simReal(ctx, o, files)
	}
	if o.conf == "" {
		var err error
		if o.programs, err = nodePrograms(o.nodes); err != nil {
			return err
		}
	}
	var results []report.Result
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := c.simPlay(o, f, len(files))
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	return c.simFinish(o, results)
}

// simPlay plays one scenario in virtual time.
func (c *cli) simPlay(o simOptions, f scenarioFile, of int) (report.Result, error) {
	run := newSimRun(o, f)
	show := io.Discard
	if c.Output == "table" && !o.quiet && (of == 1 || f.made) {
		show = c.Out
		if f.made {
			console.Say(show, "== %s\n", f.name)
		}
	}
	r, err := run.play(show, o.pcap != "" || o.html != "", c.stepper(o))
	if err != nil {
		return r, err
	}
	if err := run.write(o, of); err != nil {
		return r, err
	}
	c.simSay(r)
	return r, nil
}

// stepper waits for the reader's Enter, with --step.
func (c *cli) stepper(o simOptions) func() {
	if !o.step {
		return nil
	}
	lines := bufio.NewReader(c.In)
	return func() {
		console.Say(c.Out, "-- Enter goes on")
		_, _ = lines.ReadString('\n') // at its end the rest is played without stopping
		console.Say(c.Out, "\n")
	}
}

// simSay prints a result: a line, or a JSON object on a line.
func (c *cli) simSay(r report.Result) {
	if c.Output != "table" {
		if b, err := json.Marshal(r); err == nil {
			console.Say(c.Out, "%s\n", b)
		}
		return
	}
	line := fmt.Sprintf("%-4s %-26s %s", strings.ToUpper(string(r.Result)), r.Scenario, simFigures(r))
	if r.Result == report.Pass {
		console.Say(c.Out, "%s\n", line)
		return
	}
	console.Say(c.Out, "%s\n     %s\n", line, strings.ReplaceAll(console.Clean(r.Reason), "\n", "\n     "))
}

func simFigures(r report.Result) string {
	text := fmt.Sprintf("%9.3fs", r.Simulated)
	if r.Backend == "sim" {
		text += fmt.Sprintf(" simulated in %.3fs  trace %s", r.Wall, r.Trace)
	}
	names := make([]string, 0, len(r.OutageMS))
	for n := range r.OutageMS {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		text += fmt.Sprintf("  %s without service %.3fs", n, float64(r.OutageMS[n])/1000)
	}
	return text
}

// simFinish writes the JUnit file, sums up and sets the exit status.
func (c *cli) simFinish(o simOptions, results []report.Result) error {
	if o.junit != "" {
		var b bytes.Buffer
		if err := report.JUnit(&b, results); err != nil {
			return err
		}
		if err := os.WriteFile(o.junit, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	count := map[report.Outcome]int{}
	for _, r := range results {
		count[r.Result]++
	}
	if c.Output == "table" && len(results) > 1 {
		console.Say(c.Out, "%d passed, %d failed, %d skipped\n", count[report.Pass], count[report.Fail], count[report.Skip])
	}
	if count[report.Fail] > 0 {
		return console.ExitCode(1)
	}
	return nil
}

// simRunner is one play of one scenario.
type simRunner struct {
	o        simOptions
	f        scenarioFile
	s        *sim.Session
	pcap     bytes.Buffer
	files    map[string]*bytes.Buffer // what the scenario's own pcap verb wrote
	timeline sim.Timeline
}

func newSimRun(o simOptions, f scenarioFile) *simRunner {
	run := &simRunner{o: o, f: f, files: map[string]*bytes.Buffer{}}
	run.s = &sim.Session{
		Create:   func(name string) (io.Writer, error) { run.files[name] = &bytes.Buffer{}; return run.files[name], nil },
		Includes: includes(o.conf),
		Programs: o.programs,
	}
	if o.seedSet {
		run.s.Seed = &o.seed
	}
	return run
}

// includes lets a configuration find what it includes, beside itself.
func includes(conf string) config.Source {
	if conf == "" {
		return nil
	}
	return besideSource{filepath.Dir(conf)}
}

// besideSource reads files relative to a directory.
type besideSource struct{ dir string }

func (b besideSource) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(b.dir, p)
}

func (b besideSource) ReadFile(p string) ([]byte, error) { return os.ReadFile(b.path(p)) }

func (b besideSource) Glob(pattern string) ([]string, error) { return filepath.Glob(b.path(pattern)) }

// play returns an error only for what is no result: a scenario that cannot be carried out.
// pause, if not nil, is called after each directive.
func (run *simRunner) play(show io.Writer, record bool, pause func()) (report.Result, error) {
	r := report.Result{Scenario: run.f.name, Backend: "sim", Result: report.Pass, OutageMS: map[string]int64{}}
	sc, err := sim.ParseScenario(run.f.path, run.f.text)
	if err != nil {
		return r, console.Usagef("%v", err)
	}
	if record {
		run.s.Record = &run.pcap
	}
	if run.o.html != "" || run.o.svg != "" {
		run.s.RecordFrames()
	}
	start := time.Now()
	wrong, err := sc.Play(run.s, func(d sim.Directive, out string) {
		console.Say(show, "> %s\n%s", d.Text, out)
		if pause != nil {
			pause()
		}
	})
	r.Wall = time.Since(start).Seconds()
	var failed *sim.FailedError
	switch {
	case errors.As(err, &failed):
		r.Result, r.Reason = report.Fail, err.Error()
		console.Say(show, "> %s\n%s", failed.Directive.Text, run.s.Fresh())
	case err != nil:
		return r, console.Usagef("%v", err)
	case !run.o.seedSet && len(run.o.programs) == 0:
		// The lines of the file count as well, where it has any.
		wrong = slices.DeleteFunc(wrong, func(m sim.Mismatch) bool { return m.Directive.Expected == "" })
		if len(wrong) > 0 {
			m := wrong[0]
			r.Result = report.Fail
			r.Reason = fmt.Sprintf("%s:%d: %s prints\n%snot\n%s", run.f.path, m.Directive.Line, m.Directive.Text, m.Got, m.Directive.Expected)
		}
	}
	w := run.s.World()
	if w == nil {
		return r, console.Usagef("%s: no verb world: nothing was played", run.f.path)
	}
	hash, _, _ := w.Trace()
	r.Trace, r.Seed = fmt.Sprintf("%016x", hash), w.Seed()
	r.Simulated = w.Now().Seconds()
	r.OutageMS = report.Outages(run.s.ClientOutages())
	run.timeline = run.s.Timeline()
	run.timeline.Scenario, run.timeline.Comment, run.timeline.Trace = run.f.name, sc.Comment, r.Trace
	return r, nil
}

// write leaves pictures and captures where they are wanted.
func (run *simRunner) write(o simOptions, of int) error {
	if o.pcap != "" {
		if err := os.WriteFile(target(o.pcap, run.f.name, ".pcapng", of), run.pcap.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return writePictures(o, run.timeline, run.f.name, of)
}

func writePictures(o simOptions, t sim.Timeline, name string, of int) error {
	for _, p := range []struct {
		to, ext string
		draw    func(io.Writer, sim.Timeline) error
	}{{o.html, ".html", report.HTML}, {o.svg, ".svg", report.SVG}} {
		if p.to == "" {
			continue
		}
		var b bytes.Buffer
		if err := p.draw(&b, t); err != nil {
			return err
		}
		if err := os.WriteFile(target(p.to, name, p.ext, of), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (c *cli) simVerifyCmd() *cobra.Command {
	var o simOptions
	cmd := &cobra.Command{
		Use:   "verify FILE…",
		Short: "play scenarios twice and compare the fingerprints: equal seeds give equal runs",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.seedSet = cmd.Flags().Changed("seed")
			files, err := c.simFiles(&o, args)
			if err != nil {
				return err
			}
			var results []report.Result
			for _, f := range files {
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				r, err := newSimRun(o, f).play(io.Discard, false, nil)
				if err != nil {
					return err
				}
				again, err := newSimRun(o, f).play(io.Discard, false, nil)
				if err != nil {
					return err
				}
				if r.Trace != again.Trace {
					r.Result, r.Reason = report.Fail, fmt.Sprintf("trace %s, then %s: this build of the simulator is not deterministic", r.Trace, again.Trace)
				}
				results = append(results, r)
				c.simSay(r)
			}
			return c.simFinish(o, results)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&o.seed, "seed", 0, "replaces the scenario's seed")
	f.StringVar(&o.conf, "conf", "", "verify the cases made for this keepalived.conf")
	f.StringVar(&o.junit, "junit", "", "write the results as JUnit XML")
	return cmd
}

// workers is how many processes search at once.
func workers(n int) int { return cmp.Or(n, runtime.NumCPU()) }
