package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"quorate/api"
	"quorate/config"
	"quorate/internal/console"
)

// configCmds work on files, without a cluster: what a director would run, how a file is laid out, what a change means.
func (c *cli) configCmds() []*cobra.Command {
	return []*cobra.Command{c.renderCmd(), c.fmtCmd(), c.diffCmd(), c.importCmd(), c.lspCmd()}
}

func (c *cli) renderCmd() *cobra.Command {
	var node string
	var po config.PrintOptions
	var schema, fromJSON bool
	cmd := &cobra.Command{
		Use: "render FILE", Short: "show exactly what one director reads; - is standard input", Args: func(cmd *cobra.Command, args []string) error {
			if schema {
				return console.NoArgs(cmd, args)
			}
			return console.OneArg("FILE")(cmd, args)
		},
		Long: "render prints FILE as the director --node reads it: conditions, variables, repetitions and includes carried out,\n" +
			"one statement per line. Passwords are masked unless --show-secrets is given.\n" +
			"-o json prints {node, text, statements, tree, diagnostics}: statements is the text as data, tree the settings as\n" +
			"they are understood, without defaults. --from-json FILE turns statements back into a keepalived.conf, the same as\n" +
			"before; --schema prints the JSON schema of them.",
		Example: "  clusterctl render --node d2 keepalived.conf\n" +
			"  clusterctl render --show-secrets -o json keepalived.conf > tree.json\n" +
			"  clusterctl render --from-json tree.json | clusterctl check -",
		RunE: func(_ *cobra.Command, args []string) error {
			if schema {
				enc := json.NewEncoder(c.Out)
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				return enc.Encode(config.JSONSchema())
			}
			src := &disk{in: c.In}
			main, err := src.open(args[0])
			if err != nil {
				return err
			}
			if fromJSON {
				data, err := src.ReadFile(main)
				if err != nil {
					return console.Usagef("cannot read the configuration: %v", err)
				}
				text, err := config.FromJSON(data)
				if err != nil {
					return &api.Error{Code: api.CodeInvalid, Message: main + ": " + err.Error()}
				}
				_, err = io.WriteString(c.Out, text)
				return err
			}
			opt := config.Options{ConfigID: cmp.Or(node, shortHost())}
			text, _ := config.Print(main, src, opt, po)
			cfg, ds := config.Parse(main, src, opt)
			if c.Output == "json" {
				if !po.ShowSecrets {
					cfg.Mask()
				}
				statements, _ := config.Statements(main, src, opt, po)
				err = c.Print(map[string]any{"node": opt.ConfigID, "text": text, "statements": statements, "tree": written(reflect.ValueOf(*cfg)), "diagnostics": findings(ds)}, nil)
			} else {
				_, err = io.WriteString(c.Out, text)
			}
			if err == nil && ds.HasErrors() {
				if c.Output == "table" {
					c.show(c.Err, onlyErrors(ds), src)
				}
				return console.ExitCode(api.CodeInvalid.ExitCode())
			}
			return err
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "the director (default: the name of this host)")
	cmd.Flags().BoolVar(&po.ShowSecrets, "show-secrets", false, "print passwords and keys")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON schema of what -o json calls statements")
	cmd.Flags().BoolVar(&fromJSON, "from-json", false, "FILE is what -o json printed: print it as keepalived.conf")
	cmd.Flags().BoolVar(&po.Origin, "origin", false, "say behind each line where it comes from")
	return cmd
}

func onlyErrors(ds config.Diagnostics) (out config.Diagnostics) {
	for _, d := range ds {
		if d.Severity == config.Error {
			out = append(out, d)
		}
	}
	return out
}

func (c *cli) fmtCmd() *cobra.Command {
	var write, check bool
	cmd := &cobra.Command{
		Use: "fmt FILE...", Short: "lay out a keepalived.conf; - is standard input", Args: someArgs("FILE"),
		Long: "fmt prints FILE with one layout: four blanks per level, comments in columns. Nothing that is read changes;\n" +
			"comments, conditions, variables and includes stay. --write replaces the files, --check names those that differ (exit code 1).",
		RunE: func(_ *cobra.Command, args []string) error {
			differ := false
			for _, arg := range args {
				src := &disk{in: c.In}
				name, err := src.open(arg)
				if err != nil {
					return err
				}
				b, err := src.ReadFile(name)
				if err != nil {
					return console.Usagef("cannot read the configuration: %v", err)
				}
				text := config.Format(string(b))
				switch same := text == string(b); {
				case check:
					if !same {
						differ = true
						console.Say(c.Out, "%s\n", console.Clean(name))
					}
				case !write || name == stdinName:
					if _, err := io.WriteString(c.Out, text); err != nil {
						return err
					}
				case !same:
					if err := replaceFile(name, text); err != nil {
						return err
					}
				}
			}
			if differ {
				return console.ExitCode(1)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "replace the files")
	cmd.Flags().BoolVar(&check, "check", false, "print the names of files that are laid out differently, change nothing")
	return cmd
}

// replaceFile writes a file so that a reader, or a power failure, sees the old text or the new one. A symbolic link stays one.
func replaceFile(name, text string) (err error) {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	st, err := os.Stat(target)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".fmt-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, werr := io.WriteString(f, text)
	if err := errors.Join(werr, f.Chmod(st.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(f.Name(), target)
}

func (c *cli) diffCmd() *cobra.Command {
	var node string
	var textOnly, planOnly bool
	cmd := &cobra.Command{
		Use: "diff [OLD] NEW", Short: "what a new keepalived.conf changes; without OLD against the running generation",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return console.Usagef("%s: want NEW, or OLD and NEW, got %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		Long: "diff compares two configurations as one director reads them: first what changes for which address, service and\n" +
			"server and what clients may notice, then line by line. Passwords are not printed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			opt := config.Options{ConfigID: cmp.Or(node, shortHost())}
			src := &disk{in: c.In}
			var old side
			if len(args) == 2 {
				name, err := src.open(args[0])
				if err != nil {
					return err
				}
				old = side{name: name, main: name, src: src}
			} else {
				ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
				defer done()
				g, err := cl.Generation(ctx, 0)
				if err != nil {
					return err
				}
				old = side{name: fmt.Sprintf("generation %d", g.Number), main: g.Main, src: config.Files(g.Files)}
			}
			name, err := src.open(args[len(args)-1])
			if err != nil {
				return err
			}
			return c.diff(old, side{name: name, main: name, src: src}, opt, textOnly, planOnly)
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "the director (default: the name of this host)")
	cmd.Flags().BoolVar(&textOnly, "text", false, "the lines only")
	cmd.Flags().BoolVar(&planOnly, "plan", false, "what changes only")
	return cmd
}

// side is one of two configurations being compared.
type side struct {
	name, main string
	src        config.Source
}

func (c *cli) diff(old, now side, opt config.Options, textOnly, planOnly bool) error {
	a, ads := config.Parse(old.main, old.src, opt)
	b, bds := config.Parse(now.main, now.src, opt)
	changes := config.Diff(a, b)
	was, _ := config.Print(old.main, old.src, opt, config.PrintOptions{})
	is, _ := config.Print(now.main, now.src, opt, config.PrintOptions{})
	text := unified(old.name, now.name, was, is)
	if c.Output == "json" {
		if changes == nil {
			changes = []config.Change{}
		}
		return c.Print(map[string]any{"node": opt.ConfigID, "changes": changes, "text": text}, nil)
	}
	for _, x := range []struct {
		side
		ds config.Diagnostics
	}{{old, ads}, {now, bds}} {
		if n := x.ds.Count(config.Error); n > 0 {
			console.Say(c.Err, "clusterctl: %s has %s; what was understood is compared (clusterctl check shows them)\n", console.Clean(x.name), strings.SplitN(api.Findings(x.ds), ",", 2)[0])
		}
	}
	if !textOnly {
		if len(changes) == 0 {
			console.Say(c.Out, "nothing changes for director %s\n", console.Clean(opt.ConfigID))
		}
		for _, x := range changes {
			console.Say(c.Out, "%s\n", console.Clean(x.String()))
		}
	}
	if !planOnly && text != "" {
		if !textOnly {
			console.Say(c.Out, "\n")
		}
		console.Say(c.Out, "%s", console.Clean(text))
	}
	return nil
}

func (c *cli) importCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "import NAME=FILE...", Short: "make one file with @NAME lines out of the files that directors have now", Args: someArgs("NAME=FILE for each director"),
		Long: "import reads the keepalived.conf of each director and writes one file for all: what they share stands once, what\n" +
			"differs gets @NAME prefixes. Differences that look like mistakes are reported. Without NAME= a file's own name is\n" +
			"the director's: d1.conf. Comments are lost; variables and includes are written out. The result holds the passwords.",
		Example: "  clusterctl import d1=/tmp/d1/keepalived.conf d2=/tmp/d2/keepalived.conf --out keepalived.conf",
		RunE: func(_ *cobra.Command, args []string) error {
			src := &disk{in: c.In}
			mains := map[string]string{}
			var nodes []string
			for _, arg := range args {
				name, path, named := strings.Cut(arg, "=")
				if !named {
					path = arg
					name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
				}
				if name == "" || strings.ContainsAny(name, " \t@^{}#!\"") {
					return console.Usagef("%q cannot be the name of a director: write NAME=FILE", console.Clean(name))
				}
				if mains[name] != "" {
					return console.Usagef("director %q is named twice: write NAME=FILE for each", name)
				}
				main, err := src.open(path)
				if err != nil {
					return err
				}
				mains[name] = main
				nodes = append(nodes, name)
			}
			merged := cmp.Or(out, "keepalived.conf")
			text, ds := config.Merge(merged, nodes, mains, func(string) config.Source { return src })
			if text == "" {
				c.show(c.Err, ds, src)
				return console.ExitCode(api.CodeInvalid.ExitCode())
			}
			if c.Output == "json" {
				return c.Print(map[string]any{"text": text, "diagnostics": findings(ds)}, nil)
			}
			c.show(c.Err, ds, config.Files{merged: text})
			if out == "" {
				_, err := io.WriteString(c.Out, text)
				return err
			}
			f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("%w (import replaces no file)", err)
			}
			_, werr := io.WriteString(f, text)
			return errors.Join(werr, f.Close())
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write it to this file, which must not exist (default: standard output)")
	return cmd
}
