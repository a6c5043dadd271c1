package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"quorate/api"
	"quorate/config"
	"quorate/internal/buildinfo"
)

// streams is what a command reads and writes; tty says that out is a terminal.
type streams struct {
	in       io.Reader
	out, err io.Writer
	tty      bool
}

// cli is the state that all commands share.
type cli struct {
	streams
	socket  string
	output  string
	timeout time.Duration
	color   string
}

// Defaults of flags.
const (
	defaultStateDir = "/var/lib/quorate"
	defaultTimeout  = 30 * time.Second
)

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// exitCode ends the process with a code after everything has been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, s streams) int {
	c := &cli{streams: s}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	return c.complain(err)
}

// root makes the command tree.
func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "clusterctl",
		Short:         "operate a cluster of LVS directors",
		Long:          "clusterctl operates a cluster of LVS directors that share one keepalived.conf.",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			allowed := []string{"table", "json"}
			if cmd.Name() == "push" || cmd.Name() == "rollback" {
				allowed = append(allowed, "jsonl")
			}
			if cmd.Name() == "check" {
				allowed = append(allowed, "sarif")
			}
			if !slices.Contains(allowed, c.output) {
				return usagef("-o %s: want %s", c.output, strings.Join(allowed, " or "))
			}
			if !slices.Contains([]string{"auto", "always", "never"}, c.color) {
				return usagef("--color %s: want auto, always or never", c.color)
			}
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&c.socket, "socket", cmp.Or(os.Getenv("QUORATE_SOCKET"), api.DefaultSocket), "control socket of the local clusterd (env QUORATE_SOCKET)")
	f.StringVarP(&c.output, "output", "o", "table", "table or json; push also jsonl: one object per step")
	f.DurationVar(&c.timeout, "timeout", 0, "give up after this long (default: 30s, a push also waits 30s for the directors)")
	f.StringVar(&c.color, "color", "auto", "auto, always or never (NO_COLOR is honoured)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%v; see %s --help", err, cmd.CommandPath())
	})
	groups := []struct {
		id, title string
		cmds      []*cobra.Command
	}{
		{"look", "Look", append([]*cobra.Command{c.statusCmd(), c.eventsCmd(), c.historyCmd(), c.getCmd(), c.vridCmd()}, c.vrrpCmds()...)},
		{"change", "Change", []*cobra.Command{c.pushCmd(), c.rollbackCmd()}},
		{"check", "Check", append([]*cobra.Command{c.checkCmd()}, c.configCmds()...)},
		{"cluster", "Cluster", []*cobra.Command{c.initCmd(), c.joinCmd(), c.tokenCmd(), c.memberCmd()}},
		{"lab", "Lab", c.labCmds()},
	}
	for _, g := range groups {
		if len(g.cmds) == 0 {
			continue
		}
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title + ":"})
		for _, cmd := range g.cmds {
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(c.versionCmd())
	return root
}

func (c *cli) versionCmd() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "print the version", Args: noArgs, RunE: func(*cobra.Command, []string) error {
		return c.print(map[string]string{"version": buildinfo.Version}, func(w io.Writer) { say(w, "clusterctl %s\n", buildinfo.Version) })
	}}
}

// usagef is an error of the command line: exit code 2.
func usagef(format string, args ...any) error {
	return &api.Error{Code: api.CodeUsage, Message: fmt.Sprintf(format, args...)}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s: want one %s, got %d arguments", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

// client is for the local clusterd; the context ends with --timeout, or after def. The returned function frees both.
func (c *cli) client(ctx context.Context, def time.Duration) (context.Context, *api.Client, func()) {
	return c.clientFor(ctx, cmp.Or(c.timeout, def))
}

// clientFor does not look at --timeout: a push hands that to the server, which then has something to say.
func (c *cli) clientFor(ctx context.Context, limit time.Duration) (context.Context, *api.Client, func()) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	cl := api.NewClient(c.socket)
	return ctx, cl, func() { cl.Close(); cancel() }
}

// print writes a result: as JSON, or by the table function.
func (c *cli) print(v any, table func(io.Writer)) error {
	if c.output == "table" {
		table(c.out)
		return nil
	}
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// say prints to a stream whose failure cannot be reported anywhere.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// complain prints an error with its remedy and returns the exit code that goes with it.
func (c *cli) complain(err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) {
		say(c.err, "clusterctl: interrupted\n")
		return 130
	}
	e := api.AsError(err)
	if strings.HasPrefix(e.Message, "unknown command") { // cobra's own
		e = &api.Error{Code: api.CodeUsage, Message: e.Message, Hint: "clusterctl --help lists the commands"}
	}
	if c.output == "json" || c.output == "jsonl" {
		if b, jerr := json.Marshal(e); jerr == nil {
			say(c.err, "%s\n", b)
			return e.Code.ExitCode()
		}
	}
	say(c.err, "clusterctl: %s\n", clean(e.Message))
	if e.Hint != "" {
		say(c.err, "  %s\n", clean(e.Hint))
	}
	return e.Code.ExitCode()
}

// showDiagnostics prints findings with the lines they are about.
func showDiagnostics(w io.Writer, ds []config.Diagnostic, src config.Source) {
	_ = config.Diagnostics(ds).Format(w, src) // a terminal that is gone cannot be told
}

// clean keeps foreign text from steering the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// useColor says whether escape sequences are wanted.
func (c *cli) useColor() bool {
	return c.color == "always" || c.color == "auto" && c.tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
