package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"quorate/internal/console"
	"quorate/sim"
)

// listed is a built-in scenario as list shows it.
type listed struct {
	Name      string `json:"scenario"`
	Proves    string `json:"proves"`
	Incidents string `json:"incidents"`
}

func (c *cli) simListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "list the built-in scenarios", Args: console.NoArgs,
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
			return c.Print(list, func(w io.Writer) {
				for _, l := range list {
					console.Say(w, "%-33s %s\n", l.Name, l.Proves)
				}
				console.Say(w, "\nclusterctl sim explain NAME tells one, clusterctl sim run NAME plays it.\n")
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
		Use: "explain FILE", Short: "tell a scenario in sentences", Args: console.OneArg("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := findScenario(args[0])
			if err != nil {
				return err
			}
			sc, err := sim.ParseScenario(f.path, f.text)
			if err != nil {
				return console.Usagef("%v", err)
			}
			text, err := sim.Explain(sc)
			if err != nil {
				return console.Usagef("%v", err)
			}
			return c.Print(map[string]string{"scenario": f.name, "story": text}, func(w io.Writer) { console.Say(w, "%s", text) })
		},
	}
}

func (c *cli) simReplayCmd() *cobra.Command {
	return &cobra.Command{
		Use: "replay FILE", Short: "lay a capture over time: who owned what, when, and why it changed", Args: console.OneArg("FILE"),
		Long: "replay reads a pcap or pcapng file, from production or written by --pcap, and says who owned what and when, every election\nwith its cause and packet numbers, and conflicts. It is clusterctl vrrp decode -r FILE, which has more flags.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.decodeFile(cmd.Context(), decodeOptions{file: args[0]})
		},
	}
}

func (c *cli) simVerbsCmd() *cobra.Command {
	return &cobra.Command{
		Use: "verbs", Short: "print the language of scenarios", Args: console.NoArgs,
		RunE: func(*cobra.Command, []string) error { console.Say(c.Out, "%s", sim.Help()); return nil },
	}
}

func (c *cli) simShrinkCmd() *cobra.Command {
	var o simOptions
	var write bool
	cmd := &cobra.Command{
		Use: "shrink FILE", Short: "cut a failing scenario down to what is needed for the failure", Args: console.OneArg("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.seedSet = cmd.Flags().Changed("seed")
			f, err := findScenario(args[0])
			if err != nil {
				return err
			}
			fails := func(text string) error { return simFails(f.path, text, o) }
			first := fails(f.text)
			if first == nil {
				return fmt.Errorf("%s does not fail: nothing to shrink", f.path)
			}
			if !errors.Is(first, sim.ErrExpect) {
				return console.Usagef("%v", first)
			}
			short := sim.Shrink(f.text, fails)
			before, after := strings.Count(f.text, "\n"), strings.Count(short, "\n")
			console.Say(c.Err, "%v\n%d lines -> %d lines\n", first, before, after)
			if write {
				return os.WriteFile(f.path, []byte(short), 0o644)
			}
			console.Say(c.Out, "%s", short)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the result back into FILE")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "replaces the scenario's seed")
	return cmd
}

// simFails plays a text and returns what Play does.
func simFails(path, text string, o simOptions) error {
	sc, err := sim.ParseScenario(path, text)
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
