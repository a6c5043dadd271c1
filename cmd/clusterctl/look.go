package main

import (
	"encoding/json"
	"io"
	"maps"
	"reflect"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quorate/api"
	"quorate/config"
	"quorate/internal/console"
)

func (c *cli) statusCmd() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use: "status", Short: "who owns what, is anything wrong, and what to do about it", Args: console.NoArgs,
		Long: "status asks every director and works without quorum. With --check it prints the verdict only and exits with\n0 HEALTHY, 1 DEGRADED, 2 CRITICAL, 3 unknown, as monitoring plug-ins do.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cl, done := c.client(cmd.Context(), 10*time.Second)
			defer done()
			st, err := cl.Status(ctx)
			if check {
				if err != nil {
					console.Say(c.Out, "UNKNOWN %s\n", console.Clean(err.Error()))
					return console.ExitCode(3)
				}
				console.Say(c.Out, "%s\n", verdictLine(st))
				return console.ExitCode(slices.Index([]api.Verdict{api.Healthy, api.Degraded, api.Critical}, st.Verdict))
			}
			if err != nil {
				return err
			}
			return c.Print(st, func(w io.Writer) { showStatus(w, st, view{relative: c.TTY, color: c.UseColor()}) })
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "one line and an exit code for monitoring")
	return cmd
}

func (c *cli) historyCmd() *cobra.Command {
	return &cobra.Command{Use: "history", Short: "every generation that was pushed, newest first", Args: console.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
		defer done()
		gens, err := cl.Generations(ctx)
		if err != nil {
			return err
		}
		return c.Print(gens, func(w io.Writer) {
			tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
			console.Say(tw, "GENERATION\tTIME\tAUTHOR\tHASH\tMESSAGE\n")
			for _, g := range gens {
				mark := ""
				if g.Active {
					mark = " active"
				}
				console.Say(tw, "%d%s\t%s\t%s\t%.10s\t%s\n", g.Number, mark, g.Time.UTC().Format(time.RFC3339), console.Clean(g.Author), g.Hash, console.Clean(g.Message))
			}
			_ = tw.Flush()
		})
	}}
}

func (c *cli) getCmd() *cobra.Command {
	var n int64
	var node string
	var secrets bool
	cmd := &cobra.Command{
		Use: "get", Short: "print the active configuration, or another generation", Args: console.NoArgs,
		Long: "get prints the files as they were pushed. With --node it prints, as JSON, what that director makes of them:\nthe settings that are written for it, without defaults.\n" +
			"Passwords and keys are masked; a push of the masked text is refused. --show-secrets prints them: who may open the\n" +
			"control socket, which is root's, may see them. Take it to edit what runs: clusterctl get --show-secrets > FILE.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
			defer done()
			g, err := cl.Generation(ctx, n)
			if err != nil {
				return err
			}
			if node != "" {
				if err := api.CheckName(node); err != nil {
					return console.Usagef("--node: %v", err)
				}
				cfg, ds := config.Parse(g.Main, config.Files(g.Files), config.Options{ConfigID: node})
				if ds.HasErrors() {
					return c.invalid(ds, config.Files(g.Files), "")
				}
				if !secrets {
					cfg.Mask()
				}
				enc := json.NewEncoder(c.Out)
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				return enc.Encode(written(reflect.ValueOf(cfg)))
			}
			if !secrets {
				g.Files = config.MaskSecrets(g.Files)
			}
			return c.Print(g, func(w io.Writer) {
				if len(g.Files) == 1 {
					_, _ = io.WriteString(w, g.Files[g.Main])
					return
				}
				names := slices.DeleteFunc(slices.Sorted(maps.Keys(g.Files)), func(f string) bool { return f == g.Main })
				for _, name := range append([]string{g.Main}, names...) {
					console.Say(w, "# ---- %s\n", name)
					_, _ = io.WriteString(w, g.Files[name])
				}
			})
		},
	}
	cmd.Flags().Int64Var(&n, "gen", 0, "generation (default: the active one)")
	cmd.Flags().StringVar(&node, "node", "", "as this director reads it")
	cmd.Flags().BoolVar(&secrets, "show-secrets", false, "print passwords and keys")
	return cmd
}

func (c *cli) eventsCmd() *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{Use: "events", Short: "what happened on this director lately", Args: console.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
		defer done()
		es, err := cl.Entries(ctx, time.Now().Add(-since))
		if err != nil {
			return err
		}
		return c.Print(es, func(w io.Writer) {
			tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
			console.Say(tw, "TIME(UTC)\tNODE\tCAUSE\tINSTANCE\tEVENT\tDETAIL\n")
			for _, e := range es {
				console.Say(tw, "%s\t%s\t%d\t%s\t%s\t%s\n", e.Time.UTC().Format("15:04:05.000"), e.Node, e.Cause, console.Clean(e.Instance), e.Event, console.Clean(entryText(e)))
			}
			_ = tw.Flush()
		})
	}}
	cmd.Flags().DurationVar(&since, "since", time.Hour, "how far back")
	return cmd
}
