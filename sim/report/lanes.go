package report

import (
	"fmt"
	"html"
	"strings"

	"quorate/sim"
)

// rowH is the height of what belongs to a lane above it.
const rowH = 15

// servers draws for each real server what it did with connections, and below, a row per director, whether that director's checks
// kept it in its table.
func (d *drawing) servers() {
	if len(d.t.Servers) == 0 {
		return
	}
	d.section("REAL SERVERS")
	for _, s := range d.t.Servers {
		d.say(`<text class="name" x="10" y="%d">%s</text>`, d.y+barH/2+4, html.EscapeString(s.Name))
		d.right(s.Addr, d.y+barH/2+4)
		d.lane(barH)
		d.span("good", "", sim.Span{To: d.t.End}, d.y+4, barH-8, "", "", s.Name+" serves")
		for _, c := range s.Condition {
			d.span("none", "", c, d.y, barH, c.What, "plain", fmt.Sprintf("%s %s %s – %s", s.Name, c.What, at(c.From), at(c.To)))
		}
		d.say("</g>\n")
		d.y += barH + 2
		for _, tr := range s.Tables {
			d.dot(tr.Name)
			d.right(tr.Name, d.y+rowH/2+4)
			d.lane(rowH)
			for _, sp := range tr.Spans {
				class, text := "weighed", "plain-on"
				switch sp.What {
				case sim.Out:
					class, text = "none", "plain"
				case "weight 0":
					class = "drained"
				}
				d.span(class, "", sp, d.y, rowH, sp.What, text, fmt.Sprintf("%s in the table of %s: %s %s – %s", s.Name, tr.Name, sp.What, at(sp.From), at(sp.To)))
			}
			d.say("</g>\n")
			d.y += rowH + 1
		}
		d.y += gap
	}
}

// store draws who led the replicated store, and which generation each director ran.
func (d *drawing) store() {
	s := d.t.Store
	if s == nil {
		return
	}
	d.section("STORE")
	d.say(`<text class="name" x="10" y="%d">raft</text>`, d.y+barH/2+4)
	d.lane(barH)
	for _, sp := range s.None {
		d.span("none", "", sp, d.y, barH, "no leader", "plain", fmt.Sprintf("nobody leads the store %s – %s", at(sp.From), at(sp.To)))
	}
	for _, sp := range s.Leaders {
		d.span("", "fill:"+d.colour(sp.What), sp, d.y, barH, sp.What+" · "+sp.Why, "in", fmt.Sprintf("%s leads the store, %s, %s – %s", sp.What, sp.Why, at(sp.From), at(sp.To)))
	}
	d.say("</g>\n")
	d.y += barH + 2
	for _, m := range s.Members {
		d.dot(m.Name)
		d.right(m.Name, d.y+rowH/2+4)
		d.lane(rowH)
		for _, tr := range m.Instances {
			for _, sp := range tr.Spans {
				class := "generation"
				if (sp.What[len(sp.What)-1]-'0')%2 == 1 {
					class += " odd"
				}
				d.span(class, "", sp, d.y, rowH, sp.What, "plain-on", fmt.Sprintf("%s runs %s %s – %s", m.Name, sp.What, at(sp.From), at(sp.To)))
			}
		}
		for _, c := range m.Condition {
			d.span("cond", "", c, d.y, rowH, c.What, "what", fmt.Sprintf("%s: %s %s – %s", m.Name, c.What, at(c.From), at(c.To)))
		}
		d.say("</g>\n")
		d.y += rowH + 1
	}
	d.y += gap
}

// lane draws the ground of a row and opens the group of what is on it.
func (d *drawing) lane(h int) {
	d.say(`<rect class="lane" x="%d" y="%d" width="%d" height="%d"/><g clip-path="url(#plot)">`, left, d.y, width-left-right, h)
}

// dot shows the colour of the director whose name begins a row's.
func (d *drawing) dot(name string) {
	host, _, _ := strings.Cut(name, " ")
	d.say(`<circle cx="16" cy="%d" r="3.5" fill="%s"/>`, d.y+rowH/2, d.colour(host))
}
