package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"quorate/api"
	"quorate/internal/console"
)

// view says how a status is drawn.
type view struct {
	relative bool // times as "2d4h" instead of instants
	color    bool
}

// verdictLine is the first line of a status: the verdict and, unless all is well, the worst problem.
func verdictLine(s *api.Status) string {
	v := string(s.Verdict)
	if problems := grouped(s.Problems); s.Verdict != api.Healthy && len(problems) > 0 {
		v += ": " + problems[0].Text
		if n := len(problems) - 1; n > 0 {
			v += fmt.Sprintf(" (and %d more)", n)
		}
	}
	return console.Clean(v)
}

// showStatus draws the whole cluster: the verdict first, the problems last, next to the prompt.
func showStatus(w io.Writer, s *api.Status, v view) {
	console.Say(w, "%s\n", v.paint(s.Verdict, verdictLine(s)))
	ready := 0
	for _, n := range s.Nodes {
		if n.State == "ready" {
			ready++
		}
	}
	quorum := "NO QUORUM"
	if s.Quorum {
		quorum = fmt.Sprintf("quorum ok   leader %s (term %d)", s.Leader, s.Term)
	}
	gen := "no configuration yet"
	if s.Generation > 0 {
		run := 0
		for _, n := range s.Nodes {
			if n.State != "unreachable" && n.Generation >= s.Generation && (n.Generation == s.Generation || n.State == "ready") { // ahead of who was asked, for a moment
				run++
			}
		}
		gen = fmt.Sprintf("generation %d on %d/%d", s.Generation, run, len(s.Nodes))
		if !s.PushedAt.IsZero() {
			when := "at " + s.PushedAt.UTC().Format(time.RFC3339)
			if v.relative {
				when = ago(s.Time.Sub(s.PushedAt)) + " ago"
			}
			gen += fmt.Sprintf(" (%s, by %s)", when, console.Clean(s.PushedBy))
		}
	}
	console.Say(w, "cluster  %s   %d/%d nodes ready   %s   %s\n", s.Cluster, ready, len(s.Nodes), quorum, gen)
	if !s.Quorum {
		console.Say(w, "%s\n", v.paint(api.Degraded, fmt.Sprintf("NO QUORUM: showing what %s knows and hears; VRRP keeps working, the configuration is read-only", s.From)))
	}
	v.vips(w, s)
	v.services(w, s)
	v.nodes(w, s)
	if len(s.Problems) > 0 {
		console.Say(w, "\n")
	}
	for _, p := range grouped(s.Problems) {
		todo := ""
		if p.Todo != "" {
			todo = "   -> " + p.Todo
		}
		mark := "!"
		if p.Verdict == api.Critical {
			mark = "!!"
		} else if p.Verdict == api.Healthy {
			mark = "-"
		}
		console.Say(w, "%s\n", v.paint(p.Verdict, mark+" "+console.Clean(p.Text)+console.Clean(todo)))
	}
}

func (v view) vips(w io.Writer, s *api.Status) {
	if len(s.VIPs) == 0 {
		return
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	console.Say(tw, "\nVIPS\tINSTANCE\tVRID\tOWNER\tSINCE\tNEXT IN LINE\tLAST MOVE\n")
	for _, x := range s.VIPs {
		owner := x.Owner + " MASTER"
		switch {
		case len(x.Owners) > 1:
			owner = "!! TWO OWNERS " + strings.Join(x.Owners, " + ")
		case len(x.Owners) == 0 && x.Owner != "":
			owner = x.Owner + " (heard)"
		case len(x.Owners) == 0 && x.Heard != "":
			owner = x.Heard + " (heard)"
		case len(x.Owners) == 0:
			owner = "!! NONE"
		}
		var next []string
		for _, c := range x.Next {
			if c.State == "BACKUP" {
				next = append(next, fmt.Sprintf("%s (%d)", c.Node, c.Priority))
			} else {
				next = append(next, fmt.Sprintf("%s !%s", c.Node, c.State))
			}
		}
		why := x.Reason
		if x.Detail != "" && x.Detail != x.Reason {
			why = strings.TrimPrefix(why+": "+x.Detail, ": ")
		}
		console.Say(tw, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", console.Clean(x.VIP), console.Clean(x.Instance), x.VRID, owner, v.since(x.Since, s.Time), cmp.Or(strings.Join(next, "  "), "-"), cmp.Or(console.Clean(why), "-"))
	}
	_ = tw.Flush()
}

func (v view) services(w io.Writer, s *api.Status) {
	if len(s.Services) == 0 {
		return
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	console.Say(tw, "\nSERVICES\tSCHED\tFWD\tREAL SERVERS\tON\tDOWN\n")
	for _, x := range s.Services {
		var down []string
		for _, rs := range x.Servers {
			if !rs.Up {
				d := rs.Server
				if v.relative && !rs.Since.IsZero() {
					d += " " + v.since(rs.Since, s.Time)
				}
				down = append(down, d)
			}
		}
		console.Say(tw, "%s\t%s\t%s\t%d/%d up\t%s\t%s\n", console.Clean(x.Service), x.Scheduler, x.Forward, x.Up, x.Total, x.On, cmp.Or(strings.Join(down, "  "), "-"))
	}
	_ = tw.Flush()
}

func (v view) nodes(w io.Writer, s *api.Status) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	console.Say(tw, "\nNODES\tSTATE\tVRRP\tGENERATION\tRAFT\tADDRESS\tMISSING\n")
	for _, n := range s.Nodes {
		if n.State == "unreachable" {
			console.Say(tw, "%s\t%s\t-\t-\t-\t%s\t-\n", n.Name, n.State, n.Address)
			continue
		}
		gen := fmt.Sprint(n.Generation)
		if n.Generation != n.Saved {
			gen = fmt.Sprintf("%d (saved %d)", n.Generation, n.Saved)
		}
		console.Say(tw, "%s\t%s\tM:%d B:%d F:%d\t%s\t%s\t%s\t%s\n", n.Name, n.State, n.Masters, n.Backups, n.Faults, gen, n.Role, n.Address,
			cmp.Or(console.Clean(strings.Join(nouns(n.Missing), " ")), "-"))
	}
	_ = tw.Flush()
}

// nouns is what is missing without the explanation behind the colon, which stands among the problems.
func nouns(missing []string) []string {
	var out []string
	for _, m := range missing {
		noun, _, _ := strings.Cut(m, ":")
		out = append(out, noun)
	}
	return out
}

// grouped joins problems that several subjects have in the same words, so that one line tells them.
func grouped(all []api.Problem) []api.Problem {
	var out []api.Problem
	at := map[string]int{} // by what is said of the subject
	for _, p := range all {
		said, ofSubject := strings.CutPrefix(p.Text, p.Subject+": ")
		key := fmt.Sprint(p.Verdict, "|", said, "|", p.Todo)
		if k, again := at[key]; again && ofSubject {
			out[k].Subject += ", " + p.Subject
			out[k].Text = out[k].Subject + ": " + said
			continue
		}
		if ofSubject {
			at[key] = len(out)
		}
		out = append(out, p)
	}
	return out
}

// since is an instant, or how long ago it was.
func (v view) since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	if !v.relative {
		return t.UTC().Format(time.RFC3339)
	}
	return ago(now.Sub(t))
}

// ago is a duration in at most two units: 2d4h, 9m, 12s.
func ago(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// paint colours a line by its verdict; the words say the same without.
func (v view) paint(verdict api.Verdict, s string) string {
	if !v.color {
		return s
	}
	return map[api.Verdict]string{api.Healthy: "\x1b[32m", api.Degraded: "\x1b[33m", api.Critical: "\x1b[1;31m"}[verdict] + s + "\x1b[0m"
}
