package main

import (
	"bufio"
	"cmp"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quorate/api"
	"quorate/internal/console"
)

// shortHost is this host's name up to the first dot, the default name of a node.
func shortHost() string {
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	h, _, _ = strings.Cut(h, ".")
	return h
}

func (c *cli) initCmd() *cobra.Command {
	var o api.InitOptions
	cmd := &cobra.Command{
		Use: "init --address IP[:PORT]", Short: "make a cluster with this host as its first director", Args: console.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if o.Address == "" {
				return console.Usagef("init: --address is required: where the other directors will reach this one, for example 10.0.0.1:%s", api.DefaultPort)
			}
			o.Address, o.Now = api.WithPort(o.Address), time.Now()
			res, err := api.Init(o)
			if err != nil {
				return err
			}
			id := res.Identity
			return c.Print(map[string]any{"cluster": id.Cluster, "name": id.Name, "address": id.Address, "state_dir": o.StateDir,
				"token": res.Token, "token_expires": res.Expires},
				func(w io.Writer) {
					console.Say(w, "cluster %s: this host is %s at %s (state in %s)\n\n", id.Cluster.Name, id.Name, id.Address, o.StateDir)
					console.Say(w, "start it:                      systemctl start clusterd\n")
					console.Say(w, "on each further director, until %s:\n", res.Expires.Format("2006-01-02 15:04 UTC"))
					console.Say(w, "  clusterctl join %s --name NAME --address IP\n", res.Token)
				})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Cluster, "cluster", "quorate", "name of the cluster")
	f.StringVar(&o.Name, "name", shortHost(), "name of this director; @NAME lines of the configuration are for it")
	f.StringVar(&o.Address, "address", "", "IP[:PORT] where the other directors reach this one")
	f.StringVar(&o.StateDir, "state-dir", defaultStateDir, "where certificates and the store are kept")
	return cmd
}

func (c *cli) joinCmd() *cobra.Command {
	var o api.JoinOptions
	cmd := &cobra.Command{
		Use: "join TOKEN --address IP[:PORT]", Short: "make this host a director of an existing cluster; - reads TOKEN from standard input", Args: console.OneArg("TOKEN (of clusterctl init or token create)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Address == "" {
				return console.Usagef("join: --address is required: where the other directors will reach this one, for example 10.0.0.2:%s", api.DefaultPort)
			}
			token := args[0]
			if token == "-" {
				line, err := bufio.NewReader(io.LimitReader(c.In, 8192)).ReadString('\n')
				if err != nil && line == "" {
					return console.Usagef("join: no token on standard input")
				}
				token = line
			}
			o.Token, o.Address, o.Now, o.Timeout = token, api.WithPort(o.Address), time.Now, cmp.Or(c.Timeout, defaultTimeout)
			id, err := api.Join(cmd.Context(), o)
			if err != nil {
				return err
			}
			return c.Print(map[string]any{"cluster": id.Cluster, "name": id.Name, "address": id.Address, "state_dir": o.StateDir, "members": id.Seeds},
				func(w io.Writer) {
					console.Say(w, "joined cluster %s as %s at %s (%d members; state in %s)\n", id.Cluster.Name, id.Name, id.Address, len(id.Seeds), o.StateDir)
					console.Say(w, "start it:  systemctl start clusterd\n")
				})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", shortHost(), "name of this director; @NAME lines of the configuration are for it")
	f.StringVar(&o.Address, "address", "", "IP[:PORT] where the other directors reach this one")
	f.StringVar(&o.StateDir, "state-dir", defaultStateDir, "where certificates and the store are kept")
	return cmd
}

func (c *cli) tokenCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "join tokens: create, list, revoke", Args: console.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var ttl time.Duration
	create := &cobra.Command{Use: "create", Short: "make a join token", Args: console.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
		defer done()
		t, err := cl.CreateToken(ctx, api.TokenRequest{TTL: ttl, By: author()})
		if err != nil {
			return err
		}
		return c.Print(t, func(w io.Writer) { console.Say(w, "%s\n", t.Token) })
	}}
	create.Flags().DurationVar(&ttl, "ttl", api.TokenLife, "how long it can be used")
	list := &cobra.Command{Use: "list", Short: "list join tokens (never their secrets)", Args: console.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
		defer done()
		ts, err := cl.Tokens(ctx)
		if err != nil {
			return err
		}
		return c.Print(ts, func(w io.Writer) {
			tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
			console.Say(tw, "TOKEN\tCREATED\tEXPIRES\tBY\n")
			for _, t := range ts {
				state := ""
				if time.Now().After(t.Expires) {
					state = " (expired)"
				}
				console.Say(tw, "%.12s\t%s\t%s%s\t%s\n", t.Hash, t.Created.Format(time.RFC3339), t.Expires.Format(time.RFC3339), state, console.Clean(t.By))
			}
			_ = tw.Flush()
		})
	}}
	revoke := &cobra.Command{Use: "revoke TOKEN", Short: "make a join token useless; TOKEN is as listed, or the token itself", Args: console.OneArg("TOKEN"), RunE: func(cmd *cobra.Command, args []string) error {
		ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
		defer done()
		hash := args[0]
		if t, err := api.ParseToken(hash); err == nil {
			hash = t.Hash()
		}
		full, err := cl.RevokeToken(ctx, hash)
		if err != nil {
			return err
		}
		return c.Print(map[string]string{"revoked": full}, func(w io.Writer) { console.Say(w, "revoked %.12s\n", full) })
	}}
	cmd.AddCommand(create, list, revoke)
	return cmd
}

func (c *cli) memberCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "member", Short: "members: remove one that is lost for good", Args: console.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{Use: "remove NAME", Short: "take a director out of the cluster; it can come back only by joining anew", Args: console.OneArg("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
			defer done()
			m, err := cl.RemoveMember(ctx, args[0])
			if err != nil {
				return err
			}
			return c.Print(m, func(w io.Writer) { console.Say(w, "removed %s (%s)\n", m.Name, m.Address) })
		}})
	return cmd
}

// author is who pushes: the person behind sudo, else the user.
func author() string {
	for _, v := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if u := os.Getenv(v); u != "" {
			return u
		}
	}
	return "root"
}
