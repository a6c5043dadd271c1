package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quorate/internal/console"
	"quorate/node"
)

// story is a transition of an instance or group with what has the same cause and what went before it.
type story struct {
	Transition node.Entry   `json:"transition"`
	Before     []node.Entry `json:"before"` // what else was news shortly before: scripts, priorities, errors, other transitions
	Same       []node.Entry `json:"same"`   // all that followed from the same event, the transition included
}

// why finds the last transition of an instance or sync group in a journal, oldest first.
func why(es []node.Entry, name string, before time.Duration) (story, error) {
	at := -1
	var names []string
	for k, e := range es {
		if e.From == "" || !strings.HasPrefix(e.Event, "vrrp.") {
			continue
		}
		if !slices.Contains(names, e.Instance) {
			names = append(names, e.Instance)
		}
		if e.Instance == name {
			at = k
		}
	}
	if at < 0 {
		hint := "there was no transition at all; try a longer --since"
		if len(names) > 0 {
			hint = "there were transitions of " + strings.Join(names, ", ")
		}
		return story{}, fmt.Errorf("no transition of %q in this director's journal: %s", name, hint)
	}
	s := story{Transition: es[at], Before: []node.Entry{}, Same: []node.Entry{}}
	t := s.Transition
	for k, e := range es {
		switch {
		case e.Node == t.Node && e.Cause == t.Cause && e.Cause != 0 && strings.HasPrefix(e.Event, "check.") == strings.HasPrefix(t.Event, "check."):
			s.Same = append(s.Same, e)
		case k == at:
			s.Same = append(s.Same, e)
		case e.Time.Before(t.Time) && t.Time.Sub(e.Time) <= before:
			s.Before = append(s.Before, e)
		}
	}
	return s, nil
}

func (c *cli) whyCmd() *cobra.Command {
	var since, before time.Duration
	cmd := &cobra.Command{
		Use: "why INSTANCE|GROUP|VIP", Short: "why a virtual address moved last: the transition, its cause and what went before", Args: cobra.ExactArgs(1),
		Long: "why looks for the last change of state in this director's journal. Every event of a director has a number, the cause; all that\nfollowed from one event has the same one, in the journal and in the log (cause=N).",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cl, done := c.client(cmd.Context(), defaultTimeout)
			defer done()
			name := args[0]
			if own, err := cl.Node(ctx); err == nil {
				for _, i := range own.Instances {
					if slices.Contains(i.VIPs, name) {
						name = i.Name
						break
					}
				}
			}
			es, err := cl.Entries(ctx, time.Now().Add(-since))
			if err != nil {
				return err
			}
			s, err := why(es, name, before)
			if err != nil {
				return err
			}
			return c.Print(s, func(w io.Writer) { s.show(w) })
		},
	}
	cmd.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back to look for the transition")
	cmd.Flags().DurationVar(&before, "before", 10*time.Second, "how much of what went before it to show")
	return cmd
}

func (s story) show(w io.Writer) {
	t := s.Transition
	console.Say(w, "%s %s -> %s on %s at %s: %s%s\n", console.Clean(t.Instance), t.From, t.To, t.Node, t.Time.UTC().Format("2006-01-02 15:04:05.000 UTC"), t.Reason, dash(console.Clean(t.Detail)))
	console.Say(w, "cause %d: %s\n", t.Cause, cmp.Or(console.Clean(t.Trigger), "not known"))
	for _, part := range []struct {
		title string
		list  []node.Entry
	}{{"before it", s.Before}, {"of the same cause", s.Same}} {
		if len(part.list) == 0 {
			continue
		}
		console.Say(w, "\n%s:\n", part.title)
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, e := range part.list {
			console.Say(tw, "  %s\t%d\t%s\t%s\t%s\n", e.Time.UTC().Format("15:04:05.000"), e.Cause, console.Clean(e.Instance), e.Event, console.Clean(entryText(e)))
		}
		_ = tw.Flush()
	}
}

// entryText is what happened, in one line.
func entryText(e node.Entry) string {
	if e.From != "" {
		return e.From + " -> " + e.To + ", " + e.Reason + dash(e.Detail)
	}
	return e.Detail
}
