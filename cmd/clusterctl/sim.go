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
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quorate/api"
	"quorate/config"
	"quorate/netns-tests/scenarios"
	"quorate/sim"
	"quorate/sim/replay"
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
	// keepalived are the directors of --node NAME=keepalived
	keepalived []string
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
	f.StringVar(&o.backend, "backend", "sim", "sim (virtual time), netns (real daemons on this kernel) or uml (in a guest with a kernel of its own)")
	f.StringArrayVar(&o.nodes, "node", nil, "NODE=keepalived: Debian's keepalived instead of clusterd there, in virtual time a director that behaves as it does; with --conf: the names of the directors")
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
		return usagef("--backend %s: want sim, netns or uml", o.backend)
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
		if o.keepalived, err = keepalivedNodes(o.nodes); err != nil {
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
	if c.output == "table" && !o.quiet && (of == 1 || f.made) {
		show = c.out
		if f.made {
			say(show, "== %s\n", f.name)
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
	lines := bufio.NewReader(c.in)
	return func() {
		say(c.out, "-- Enter goes on")
		_, _ = lines.ReadString('\n') // at its end the rest is played without stopping
		say(c.out, "\n")
	}
}

// simSay prints a result: a line, or a JSON object on a line.
func (c *cli) simSay(r report.Result) {
	if c.output != "table" {
		if b, err := json.Marshal(r); err == nil {
			say(c.out, "%s\n", b)
		}
		return
	}
	line := fmt.Sprintf("%-4s %-26s %s", strings.ToUpper(string(r.Result)), r.Scenario, simFigures(r))
	if r.Result == report.Pass {
		say(c.out, "%s\n", line)
		return
	}
	say(c.out, "%s\n     %s\n", line, strings.ReplaceAll(clean(r.Reason), "\n", "\n     "))
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
	if c.output == "table" && len(results) > 1 {
		say(c.out, "%d passed, %d failed, %d skipped\n", count[report.Pass], count[report.Fail], count[report.Skip])
	}
	if count[report.Fail] > 0 {
		return exitCode(1)
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
		Create:     func(name string) (io.Writer, error) { run.files[name] = &bytes.Buffer{}; return run.files[name], nil },
		Includes:   includes(o.conf),
		Keepalived: o.keepalived,
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
		return r, usagef("%v", err)
	}
	if record {
		run.s.Record = &run.pcap
	}
	if run.o.html != "" || run.o.svg != "" {
		run.s.RecordFrames()
	}
	start := time.Now()
	wrong, err := sc.Play(run.s, func(d sim.Directive, out string) {
		say(show, "> %s\n%s", d.Text, out)
		if pause != nil {
			pause()
		}
	})
	r.Wall = time.Since(start).Seconds()
	var failed *sim.FailedError
	switch {
	case errors.As(err, &failed):
		r.Result, r.Reason = report.Fail, err.Error()
		say(show, "> %s\n%s", failed.Directive.Text, run.s.Fresh())
	case err != nil:
		return r, usagef("%v", err)
	case !run.o.seedSet && len(run.o.keepalived) == 0:
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
		return r, usagef("%s: no verb world: nothing was played", run.f.path)
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

// target is the file for one scenario's picture.
func target(to, name, ext string, of int) string {
	if isDir(to) || of > 1 {
		return filepath.Join(to, name+ext)
	}
	return to
}

// checkTarget makes the directory that several pictures need.
func checkTarget(to string, of int) error {
	if to == "" || of == 1 || isDir(to) {
		return nil
	}
	if _, err := os.Stat(to); err == nil {
		return usagef("%s is a file, and there are %d scenarios: name a directory", to, of)
	}
	return os.MkdirAll(to, 0o755)
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// simFiles finds the scenarios that the arguments name.
func (c *cli) simFiles(o *simOptions, args []string) ([]scenarioFile, error) {
	if o.conf != "" {
		return c.confCases(o, args)
	}
	if len(args) == 0 {
		return nil, usagef("want at least one FILE, a name from clusterctl sim list, or all")
	}
	var files []scenarioFile
	for _, a := range args {
		if a == "all" {
			all, err := builtIn()
			if err != nil {
				return nil, err
			}
			files = append(files, all...)
			continue
		}
		f, err := findScenario(a)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// findScenario reads a file, or the built-in scenario of that name.
func findScenario(name string) (scenarioFile, error) {
	short := strings.TrimSuffix(filepath.Base(name), ".txt")
	b, err := os.ReadFile(name)
	if err == nil {
		return scenarioFile{name: short, path: name, text: string(b)}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || strings.ContainsRune(name, filepath.Separator) {
		return scenarioFile{}, err
	}
	b, err = scenarios.FS.ReadFile(short + ".txt")
	if err != nil {
		return scenarioFile{}, usagef("%s: no such file, and no built-in scenario of that name: see clusterctl sim list", name)
	}
	return scenarioFile{name: short, path: short + ".txt", text: string(b)}, nil
}

func builtIn() ([]scenarioFile, error) {
	names, err := fs.Glob(scenarios.FS, "*.txt")
	if err != nil {
		return nil, err
	}
	var files []scenarioFile
	for _, n := range names {
		b, err := scenarios.FS.ReadFile(n)
		if err != nil {
			return nil, err
		}
		files = append(files, scenarioFile{name: strings.TrimSuffix(n, ".txt"), path: n, text: string(b)})
	}
	return files, nil
}

// confCases makes scenarios for the operator's own file, all or those named.
func (c *cli) confCases(o *simOptions, args []string) ([]scenarioFile, error) {
	b, err := os.ReadFile(o.conf)
	if err != nil {
		return nil, err
	}
	cases, err := sim.ForConfig(o.conf, string(b), includes(o.conf), o.nodes)
	if err != nil {
		var bad *sim.ConfError
		if errors.As(err, &bad) {
			for i := range bad.Diagnostics {
				if d := &bad.Diagnostics[i]; d.File == sim.ConfName {
					d.File = filepath.Base(o.conf)
				}
			}
			showDiagnostics(c.err, bad.Diagnostics, includes(o.conf))
			return nil, exitCode(api.CodeInvalid.ExitCode())
		}
		return nil, usagef("%v", err)
	}
	var files []scenarioFile
	var names []string
	for _, k := range cases {
		names = append(names, k.Name)
		if len(args) == 0 || slices.Contains(args, k.Name) {
			files = append(files, scenarioFile{name: k.Name, path: k.Name + ".txt", text: k.Text, made: true})
		}
	}
	for _, a := range args {
		if !slices.Contains(names, a) {
			return nil, usagef("--conf has no case %q: want some of %s", a, strings.Join(names, " "))
		}
	}
	return files, nil
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

// listed is a built-in scenario as list shows it.
type listed struct {
	Name      string `json:"scenario"`
	Proves    string `json:"proves"`
	Incidents string `json:"incidents"`
}

func (c *cli) simListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the built-in scenarios", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			files, err := builtIn()
			if err != nil {
				return err
			}
			var list []listed
			for _, f := range files {
				sc, err := sim.ParseScenario(f.path, f.text)
				if err != nil {
					return err
				}
				list = append(list, summary(f.name, sc.Comment))
			}
			return c.print(list, func(w io.Writer) {
				for _, l := range list {
					say(w, "%-26s %s\n", l.Name, l.Proves)
				}
				say(w, "\nclusterctl sim explain NAME tells one, clusterctl sim run NAME plays it.\n")
			})
		},
	}
}

// summary takes the first sentence of a comment and the incidents it names.
func summary(name, comment string) listed {
	flat := strings.Join(strings.Fields(comment), " ")
	l := listed{Name: name, Proves: flat}
	if i := strings.Index(flat, "Incidents of this class: "); i >= 0 {
		l.Incidents = flat[i+len("Incidents of this class: "):]
		l.Proves = strings.TrimSpace(flat[:i])
	}
	if i := strings.Index(l.Proves, ". "); i >= 0 {
		l.Proves = l.Proves[:i+1]
	}
	if i := strings.Index(l.Proves, " Proves: "); i >= 0 {
		l.Proves = l.Proves[:i]
	}
	return l
}

func (c *cli) simExplainCmd() *cobra.Command {
	return &cobra.Command{
		Use: "explain FILE", Short: "tell a scenario in sentences", Args: oneArg("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := findScenario(args[0])
			if err != nil {
				return err
			}
			sc, err := sim.ParseScenario(f.path, f.text)
			if err != nil {
				return usagef("%v", err)
			}
			text, err := sim.Explain(sc)
			if err != nil {
				return usagef("%v", err)
			}
			return c.print(map[string]string{"scenario": f.name, "story": text}, func(w io.Writer) { say(w, "%s", text) })
		},
	}
}

func (c *cli) simReplayCmd() *cobra.Command {
	return &cobra.Command{
		Use: "replay FILE", Short: "lay a capture over time: who owned what, when, and why it changed", Args: oneArg("FILE"),
		Long: "replay reads a pcap or pcapng file, from production or written by --pcap, and says who owned what and when, every election\nwith its cause and packet numbers, and conflicts. It is clusterctl vrrp decode -r FILE, which has more flags.",
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }() // only read
			r, err := replay.NewReader(f)
			if err != nil {
				return err
			}
			return c.decode(r.Frames(), replay.Options{}, false)
		},
	}
}

func (c *cli) simVerbsCmd() *cobra.Command {
	return &cobra.Command{
		Use: "verbs", Short: "print the language of scenarios", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { say(c.out, "%s", sim.Help()); return nil },
	}
}

func (c *cli) simShrinkCmd() *cobra.Command {
	var o simOptions
	var write bool
	cmd := &cobra.Command{
		Use: "shrink FILE", Short: "cut a failing scenario down to what is needed for the failure", Args: oneArg("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.seedSet = cmd.Flags().Changed("seed")
			f, err := findScenario(args[0])
			if err != nil {
				return err
			}
			fails := func(text string) error { return simFails(text, o) }
			first := fails(f.text)
			if first == nil {
				return fmt.Errorf("%s does not fail: nothing to shrink", f.path)
			}
			if !errors.Is(first, sim.ErrExpect) {
				return usagef("%v", first)
			}
			short := sim.Shrink(f.text, fails)
			before, after := strings.Count(f.text, "\n"), strings.Count(short, "\n")
			say(c.err, "%v\n%d lines -> %d lines\n", first, before, after)
			if write {
				return os.WriteFile(f.path, []byte(short), 0o644)
			}
			say(c.out, "%s", short)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the result back into FILE")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "replaces the scenario's seed")
	return cmd
}

// simFails plays a text and returns what Play does.
func simFails(text string, o simOptions) error {
	sc, err := sim.ParseScenario("scenario", text)
	if err != nil {
		return err
	}
	s := &sim.Session{Create: func(string) (io.Writer, error) { return io.Discard, nil }}
	if o.seedSet {
		s.Seed = &o.seed
	}
	_, err = sc.Play(s, nil)
	return err
}

// workers is how many processes search at once.
func workers(n int) int { return cmp.Or(n, runtime.NumCPU()) }
