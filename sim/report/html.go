package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
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
		"Proves": strings.TrimSpace(t.Comment),
	})
}
