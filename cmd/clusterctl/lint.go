package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"quorate/api"
	"quorate/config"
	"quorate/internal/buildinfo"
	"quorate/internal/console"
	"quorate/node/host"
)

// maxConfig bounds one configuration file.
const maxConfig = 16 << 20

// disk reads configuration files of this host, each into one buffer of its size.
type disk struct {
	host.OSFiles
	in io.Reader // what "-" and stdinName mean
	// text is standard input once it was read.
	text []byte
	read bool
}

var _ config.Modes = (*disk)(nil)

func (d *disk) ReadFile(path string) ([]byte, error) {
	if path == stdinName {
		if !d.read {
			d.read = true
			b, err := io.ReadAll(io.LimitReader(d.in, maxConfig+1))
			if err != nil {
				return nil, fmt.Errorf("standard input: %w", err)
			}
			d.text = b
		}
		return d.text, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxConfig {
		return d.OSFiles.ReadFile(path) // a pipe, or the error that says what is wrong
	}
	b := make([]byte, st.Size())
	n, err := io.ReadFull(f, b)
	if err != nil && n < len(b) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b[:n], nil
}

// Mode returns the permissions of a file.
func (d *disk) Mode(path string) (fs.FileMode, error) {
	if path == stdinName {
		return 0o600, nil
	}
	return d.OSFiles.Mode(path)
}

// open returns the name under which a file given on the command line is read, or a usage error.
func (d *disk) open(arg string) (string, error) {
	if arg == "-" {
		return stdinName, nil
	}
	st, err := os.Stat(arg)
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%s is a directory", arg)
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open(arg); err == nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return "", console.Usagef("cannot read the configuration: %v", err)
	}
	return arg, nil
}

// finding is a diagnostic as programs read it.
type finding struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Keyword  string `json:"keyword"`
	Message  string `json:"message"`
	Hint     string `json:"hint"`
}

func findings(ds config.Diagnostics) []finding {
	out := make([]finding, 0, len(ds))
	for _, d := range ds {
		msg := d.Message
		if len(d.Nodes) > 0 {
			msg += " (for " + strings.Join(d.Nodes, ", ") + ")"
		}
		out = append(out, finding{d.Severity.String(), d.Code, d.File, d.Line, d.Column, d.Keyword, msg, d.Hint})
	}
	return out
}

func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return console.Usagef("%s: name a %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

func (c *cli) checkCmd() *cobra.Command {
	var nodes []string
	var node string
	var strict bool
	cmd := &cobra.Command{
		Use: "check FILE...", Short: "check a keepalived.conf offline; - is standard input", Args: someArgs("FILE"),
		Long: "check reads each FILE with everything it includes and says what is wrong with it, once and all of it.\n" +
			"It needs no cluster. Exit code 0: no errors (with --strict: no warnings either); 4: there are; 2: no such file.\n" +
			"-o json prints {\"diagnostics\":[{severity,code,file,line,column,keyword,message,hint}]}, -o sarif what code\n" +
			"hosting sites show beside the lines.",
		Example: "  clusterctl check keepalived.conf --nodes d1,d2,d3\n" +
			"  git diff --cached --name-only -- '*.conf' | xargs -r clusterctl check --strict    # as .git/hooks/pre-commit",
		RunE: func(_ *cobra.Command, args []string) error {
			// What is live at any moment is the file and one service: collecting less often costs little memory.
			defer debug.SetGCPercent(debug.SetGCPercent(400))
			src := &disk{in: c.In}
			var all config.Diagnostics
			bad := false
			for _, arg := range args {
				main, err := src.open(arg)
				if err != nil {
					return err
				}
				ds, as := lint(main, src, node, nodes)
				who := ""
				if len(as) > 0 {
					who = " for " + console.Clean(strings.Join(as, ", "))
				}
				failed := ds.HasErrors() || strict && ds.Count(config.Warning) > 0
				bad = bad || failed
				all = append(all, ds...)
				if c.Output != "table" {
					continue
				}
				if failed {
					c.show(c.Err, ds, src)
					console.Say(c.Err, "clusterctl: %s%s: %s\n", console.Clean(main), who, api.Findings(ds))
				} else {
					c.show(c.Out, ds, src)
					console.Say(c.Out, "%s: good%s, %s\n", console.Clean(main), who, strings.TrimPrefix(api.Findings(ds), "0 errors, "))
				}
			}
			var err error
			switch c.Output {
			case "json":
				err = c.Print(map[string]any{"diagnostics": findings(all)}, nil)
			case "sarif":
				err = c.Print(sarif(all, src), nil)
			}
			if err == nil && bad {
				return console.ExitCode(api.CodeInvalid.ExitCode())
			}
			return err
		},
	}
	cmd.Flags().StringSliceVar(&nodes, "nodes", nil, "read it as each of these directors does, and compare")
	cmd.Flags().StringVar(&node, "node", "", "config-id that @NAME lines compare with (default: this host's name, or all that the file names)")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	return cmd
}

// lint reads a file as one director does, or as several do. When nobody says as which, and the file has lines for directors of
// which this host is none, it is read as all of them do: as this host it would lack what those lines say.
func lint(main string, src config.Source, node string, nodes []string) (ds config.Diagnostics, as []string) {
	if len(nodes) == 0 {
		id := cmp.Or(node, shortHost())
		cfg, ds, ids := config.LintTree(main, src, config.Options{ConfigID: id})
		if node != "" && len(ids) > 0 && !slices.Contains(ids, node) {
			slices.Sort(ids)
			ds = append(ds, config.Diagnostic{Severity: config.Info, Code: "unknown-config-id", Pos: config.Pos{File: main},
				Message: fmt.Sprintf("no line is for %s; the file names %s", node, strings.Join(ids, ", "))})
		}
		if node != "" || len(ids) == 0 || len(ids) > maxGuessed || slices.Contains(ids, id) {
			return withPrograms(ds, cfg), nil
		}
		slices.Sort(ids)
		nodes, as = ids, ids
	}
	trees, ds := config.Render(main, src, nodes)
	for _, n := range nodes {
		ds = withPrograms(ds, trees[n])
	}
	return ds, as
}

// withPrograms adds what is wrong with programs that are on this host. It need not be the host that will run them, so those
// that are not here say nothing.
func withPrograms(ds config.Diagnostics, cfg *config.Config) config.Diagnostics {
	for _, d := range host.JudgePrograms(cfg, "this host") {
		known := slices.ContainsFunc(ds, func(k config.Diagnostic) bool { return k.Pos == d.Pos && k.Code == d.Code })
		if d.Code != host.CodeNoProgram && d.Code != host.CodeNoUser && d.Code != host.CodeNoSecurity && !known {
			ds = append(ds, d)
		}
	}
	ds.Sort()
	return ds
}

// maxGuessed is how many directors a file may name to be read as each of them without being asked to.
const maxGuessed = 9

// show prints findings as a compiler does, many of them quickly.
func (c *cli) show(w io.Writer, ds config.Diagnostics, src config.Source) {
	b := bufio.NewWriter(w)
	_ = ds.Format(b, src) // a terminal that is gone cannot be told
	_ = b.Flush()
}

// sarif is the Static Analysis Results Interchange Format 2.1.0 (OASIS), as far as code hosting sites read it. Its columns count
// UTF-16 units (3.14.17), its places are URIs.
func sarif(ds config.Diagnostics, src config.Source) any {
	texts := map[string][]string{}
	column := func(d config.Diagnostic) int {
		lines, ok := texts[d.File]
		if !ok {
			if b, err := src.ReadFile(d.File); err == nil {
				lines = strings.Split(string(b), "\n")
			}
			texts[d.File] = lines
		}
		if d.Line > len(lines) || d.Column-1 > len(lines[d.Line-1]) {
			return d.Column
		}
		return 1 + units(lines[d.Line-1][:d.Column-1])
	}
	type object = map[string]any
	rules, seen := []object{}, map[string]bool{}
	results := []object{}
	level := map[config.Severity]string{config.Error: "error", config.Warning: "warning", config.Info: "note"}
	for _, f := range findings(ds) {
		if !seen[f.Code] {
			seen[f.Code] = true
			rules = append(rules, object{"id": f.Code, "shortDescription": object{"text": strings.ReplaceAll(f.Code, "-", " ")}})
		}
	}
	for i, f := range findings(ds) {
		text := f.Message
		if f.Hint != "" {
			text += "; " + f.Hint
		}
		place := object{"artifactLocation": object{"uri": (&url.URL{Path: f.File}).String()}}
		if f.Line > 0 {
			region := object{"startLine": f.Line}
			if f.Column > 0 {
				region["startColumn"] = column(ds[i])
			}
			place["region"] = region
		}
		results = append(results, object{"ruleId": f.Code, "level": level[ds[i].Severity], "message": object{"text": text},
			"locations": []object{{"physicalLocation": place}}})
	}
	return object{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs": []object{{
			"columnKind": "utf16CodeUnits",
			"tool":       object{"driver": object{"name": "clusterctl check", "version": buildinfo.Version, "rules": rules}},
			"results":    results,
		}},
	}
}
