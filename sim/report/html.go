package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"quorate/sim"
)

//go:embed page.html
var page string

// HTML writes the picture of SVG into a page that needs nothing from outside: it can be zoomed, a cursor shows the state of
// everything at an instant, and the lists of events and frames go along with it.
func HTML(w io.Writer, t sim.Timeline) error {
	d := newDrawing(t)
	d.all()
	tmpl, err := template.New("page").Funcs(template.FuncMap{
		"seconds": at,
		"class":   func(kind string) string { return strings.ReplaceAll(kind, " ", "-") },
	}).Parse(page)
	if err != nil {
		return err
	}
	failed := 0
	for _, e := range t.Expects {
		if !e.OK {
			failed++
		}
	}
	return tmpl.Execute(w, map[string]any{
		"T": t, "Width": width, "Height": d.y, "Left": left, "Right": right, "End": t.End.Seconds(), "Failed": failed,
		"Style": template.CSS(svgStyle), "Drawing": template.HTML(d.b.String()), // every text in it is escaped where it is written
		"Claims": len(t.Expects), "Simulated": fmt.Sprintf("%.3f s", t.End.Seconds()),
		"Proves": paragraphs(t.Comment), "Events": withFaults(t),
	})
}

// paragraphs takes a scenario's comment out of its lines; what it proves and which incidents it stands for begin new ones.
func paragraphs(comment string) string {
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(comment), "\n") {
		line = strings.TrimSpace(line)
		n := len(out)
		if n == 0 || line == "" || out[n-1] == "" || strings.HasPrefix(line, "Proves") || strings.HasPrefix(line, "Incident") {
			out = append(out, line)
			continue
		}
		out[n-1] += " " + line
	}
	return strings.Join(out, "\n")
}

// withFaults are the events and what was done to the world, in order.
func withFaults(t sim.Timeline) []sim.Moment {
	all := slices.Clone(t.Events)
	for _, f := range t.Faults {
		if label(f.Text) != "" {
			all = append(all, sim.Moment{At: f.At, Host: "-", Kind: "fault", Text: f.Text})
		}
	}
	// A fault comes before what it brings about.
	slices.SortStableFunc(all, func(a, b sim.Moment) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(rank(a), rank(b)))
	})
	return all
}

func rank(m sim.Moment) int {
	if m.Kind == "fault" {
		return 0
	}
	return 1
}
