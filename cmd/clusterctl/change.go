package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quorate/api"
	"quorate/config"
	"quorate/internal/console"
	"quorate/node/host"
)

// stdinName is what a configuration read from standard input is called.
const stdinName = "stdin.conf"

// readBundle reads a configuration with everything it includes, as each of nodes reads it.
func (c *cli) readBundle(path string, nodes []string) (main string, files config.Files, ds config.Diagnostics, err error) {
	rec := &config.Recorder{Source: host.OSFiles{}, Files: config.Files{}}
	main = path
	if path == "-" {
		b, err := io.ReadAll(io.LimitReader(c.In, 16<<20))
		if err != nil {
			return "", nil, nil, fmt.Errorf("standard input: %w", err)
		}
		main = stdinName
		rec.Source = overlay{Files: config.Files{main: string(b)}, Source: host.OSFiles{}}
	}
	if _, err := rec.ReadFile(main); err != nil {
		return "", nil, nil, console.Usagef("cannot read the configuration: %v", err)
	}
	if len(nodes) == 0 {
		_, ds = config.Parse(main, rec, config.Options{ConfigID: shortHost()})
	} else {
		_, ds = config.Render(main, rec, nodes)
	}
	return main, rec.Files, ds, nil
}

// overlay is a Source with a few files in memory over another.
type overlay struct {
	config.Files
	config.Source
}

func (o overlay) ReadFile(p string) ([]byte, error) {
	if b, ok := o.Files[p]; ok {
		return []byte(b), nil
	}
	return o.Source.ReadFile(p)
}

func (o overlay) Glob(p string) ([]string, error) { return o.Source.Glob(p) }

// invalid reports findings that make a file unusable: carets in a table, an object otherwise; exit code 4.
func (c *cli) invalid(ds config.Diagnostics, src config.Source, hint string) error {
	e := &api.Error{Code: api.CodeInvalid, Diagnostics: ds, Hint: hint,
		Message: api.Findings(ds)}
	if c.Output == "table" {
		showDiagnostics(c.Err, ds, src)
	}
	return e
}

// pushFlags are those that push and rollback share.
type pushFlags struct {
	req   api.PushRequest
	ifRev int64
}

func (p *pushFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&p.req.Message, "message", "m", "", "why; shown in history")
	f.Int64Var(&p.ifRev, "if-rev", -1, "only if this generation is active (0: none yet); else exit code 7")
	f.BoolVar(&p.req.Strict, "strict", false, "warnings are errors")
	f.BoolVar(&p.req.DryRun, "dry-run", false, "check on every director, change nothing")
	f.StringVar(&p.req.ID, "id", "", "of a push to repeat: finds its own attempt instead of pushing twice")
}

func (c *cli) pushCmd() *cobra.Command {
	var p pushFlags
	cmd := &cobra.Command{
		Use: "push FILE", Short: "make a keepalived.conf the configuration of the cluster; - is standard input", Args: console.OneArg("FILE"),
		Long: "push reads FILE with everything it includes, has every director check it, commits it as the next generation and\n" +
			"waits until every director that answers runs it. A file with errors changes nothing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cl, done := c.clientFor(cmd.Context(), c.waitFor()+defaultTimeout)
			defer done()
			st, err := cl.Status(ctx)
			if err != nil {
				return err
			}
			var names []string
			for _, n := range st.Nodes {
				names = append(names, n.Name)
			}
			main, files, ds, err := c.readBundle(args[0], names)
			if err != nil {
				return err
			}
			if ds.HasErrors() || p.req.Strict && ds.Count(config.Warning) > 0 {
				return c.invalid(ds, files, "nothing was changed")
			}
			p.req.Main, p.req.Files = main, files
			return c.push(ctx, cl, &p)
		},
	}
	p.add(cmd)
	return cmd
}

func (c *cli) rollbackCmd() *cobra.Command {
	var p pushFlags
	var to int64
	cmd := &cobra.Command{
		Use: "rollback", Short: "push the previous generation again, or the one given with --to", Args: console.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cl, done := c.clientFor(cmd.Context(), c.waitFor()+defaultTimeout)
			defer done()
			active, err := cl.Generation(ctx, 0)
			if err != nil {
				return err
			}
			n := to
			if n == 0 {
				n = active.Number - 1
			}
			if n < 1 {
				return console.Usagef("generation %d is the first one: there is nothing to go back to", active.Number)
			}
			g, err := cl.Generation(ctx, n)
			if err != nil {
				return err
			}
			if p.ifRev < 0 {
				p.ifRev = active.Number // what was looked at is what is replaced
			}
			p.req.Main, p.req.Files = g.Main, g.Files
			p.req.Message = cmp.Or(p.req.Message, fmt.Sprintf("rollback to generation %d", n))
			return c.push(ctx, cl, &p)
		},
	}
	p.add(cmd)
	cmd.Flags().Int64Var(&to, "to", 0, "generation to go back to (default: the one before the active)")
	return cmd
}

// waitFor is how long a push waits for the directors.
func (c *cli) waitFor() time.Duration { return cmp.Or(c.Timeout, defaultTimeout) }

// push sends a bundle and shows how it goes.
func (c *cli) push(ctx context.Context, cl *api.Client, p *pushFlags) error {
	req := p.req
	if p.ifRev >= 0 {
		req.IfRev = &p.ifRev
	}
	req.ID, req.Author, req.Wait = cmp.Or(req.ID, rand.Text()), author(), c.waitFor()
	began := time.Now()
	events := []api.PushEvent{}
	last, err := cl.Push(ctx, req, func(e api.PushEvent) {
		events = append(events, e)
		switch c.Output {
		case "table":
			c.showStep(e, config.Files(req.Files))
		case "jsonl":
			_ = json.NewEncoder(c.Out).Encode(e)
		}
	})
	if err != nil {
		if e := api.AsError(err); e.Code == api.CodeInvalid && c.Output == "table" {
			showDiagnostics(c.Err, e.Diagnostics, config.Files(req.Files))
		}
		return err
	}
	switch c.Output {
	case "jsonl":
		return json.NewEncoder(c.Out).Encode(last)
	case "json":
		return c.Print(map[string]any{"id": req.ID, "result": last.Result, "generation": last.Generation, "base": last.Base, "steps": events}, nil)
	}
	switch last.Result {
	case "unchanged":
		console.Say(c.Out, "unchanged  generation %d has the same content\n", last.Generation)
	case "checked":
		console.Say(c.Out, "checked    nothing was changed (--dry-run); active is generation %d\n", last.Base)
	default:
		n := 0
		for _, e := range events {
			if e.Step == "apply" && e.OK {
				n++
			}
		}
		console.Say(c.Out, "active     generation %d runs on %d directors  %.1f s\n", last.Generation, n, time.Since(began).Seconds())
	}
	return nil
}

// showStep prints one line of a push.
func (c *cli) showStep(e api.PushEvent, src config.Source) {
	ds := config.Diagnostics(e.Diagnostics)
	switch e.Step {
	case "render":
		console.Say(c.Out, "render     for %s   %s\n", strings.Join(e.Nodes, " "), api.Findings(ds))
		showDiagnostics(c.Out, ds, src)
	case "ask", "apply":
		word := "ok"
		if e.Detail != "" {
			word = e.Detail
		}
		console.Say(c.Out, "%-10s %s  %s\n", e.Step, e.Node, console.Clean(word))
		if e.OK {
			showDiagnostics(c.Out, ds, src)
		}
	case "commit":
		console.Say(c.Out, "commit     generation %d%s\n", e.Generation, dash(e.Detail))
	}
}

func dash(s string) string {
	if s == "" {
		return ""
	}
	return "  " + console.Clean(s)
}
