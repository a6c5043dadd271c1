package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"quorate/api"
	"quorate/config"
	"quorate/internal/buildinfo"
	"quorate/internal/console"
)

// cli is the state that all commands share.
type cli struct {
	console.Console
	socket string
}

// Defaults of flags.
const (
	defaultStateDir = "/var/lib/quorate"
	defaultTimeout  = 30 * time.Second
)

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, s console.Streams) int {
	c := &cli{Console: console.Console{Streams: s}}
	return c.Execute(ctx, c.root(), args)
}

// root makes the command tree.
func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "clusterctl",
		Short: "operate a cluster of LVS directors",
		Long:  "clusterctl operates a cluster of LVS directors that share one keepalived.conf.",
	}
	c.Flags(root, map[string]string{"push": "jsonl", "rollback": "jsonl", "check": "sarif"})
	root.PersistentFlags().StringVar(&c.socket, "socket", cmp.Or(os.Getenv("QUORATE_SOCKET"), api.DefaultSocket), "control socket of the local clusterd (env QUORATE_SOCKET)")
	groups := []struct {
		id, title string
		cmds      []*cobra.Command
	}{
		{"look", "Look", []*cobra.Command{c.statusCmd(), c.eventsCmd(), c.whyCmd(), c.historyCmd(), c.getCmd(), c.vridCmd(), c.labCmd("vrrp", "look at VRRP on the wire")}},
		{"change", "Change", []*cobra.Command{c.pushCmd(), c.rollbackCmd()}},
		{"check", "Check", append([]*cobra.Command{c.checkCmd()}, c.configCmds()...)},
		{"cluster", "Cluster", []*cobra.Command{c.initCmd(), c.joinCmd(), c.tokenCmd(), c.memberCmd()}},
		{"lab", "Lab", []*cobra.Command{
			c.labCmd("demo", "show a failover in a private lab on this machine; nothing of its network is touched"),
			c.labCmd("sim", "play failovers, split brains and conflicts, in virtual time or on real kernels"),
		}},
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
	return &cobra.Command{Use: "version", Short: "print the version", Args: console.NoArgs, RunE: func(*cobra.Command, []string) error {
		return c.Print(map[string]string{"version": buildinfo.Version}, func(w io.Writer) { console.Say(w, "clusterctl %s\n", buildinfo.Version) })
	}}
}

// client is for the local clusterd; the context ends with --timeout, or after def. The returned function frees both.
func (c *cli) client(ctx context.Context, def time.Duration) (context.Context, *api.Client, func()) {
	return c.clientFor(ctx, cmp.Or(c.Timeout, def))
}

// clientFor does not look at --timeout: a push hands that to the server, which then has something to say.
func (c *cli) clientFor(ctx context.Context, limit time.Duration) (context.Context, *api.Client, func()) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	cl := api.NewClient(c.socket)
	return ctx, cl, func() { cl.Close(); cancel() }
}

// showDiagnostics prints findings with the lines they are about.
func showDiagnostics(w io.Writer, ds []config.Diagnostic, src config.Source) {
	_ = config.Diagnostics(ds).Format(w, src) // a terminal that is gone cannot be told
}
