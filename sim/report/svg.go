package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"quorate/sim"
)

// Measures of the picture in pixels. left is room for names, right for the last label.
const (
	width     = 1240
	left      = 150
	right     = 30
	barH      = 22
	gap       = 8
	maxLevels = 4 // of labels of faults, so that neighbours do not cover each other
	levelH    = 17
)

// Colours of states and of hosts; the latter repeat after eight.
func stateColour(state string) string {
	switch state {
	case "MASTER":
		return "#1a9850"
	case "BACKUP":
		return "#9db8d9"
	case "FAULT":
		return "#f4a259"
	}
	return "#dcdcdc"
}

func hostColours() []string {
	return []string{"#3b6fb6", "#8e5ea2", "#2a9d8f", "#c77d29", "#6b8e23", "#b5577a", "#5c6b7a", "#a0522d"}
}

// SVG draws the time line of a run: faults, a lane of states per director, a bar per VIP with overlaps in red, a strip per
// client, real servers with what the directors' tables say of them, the replicated store, and what was claimed.
func SVG(w io.Writer, t sim.Timeline) error {
	d := newDrawing(t)
	d.all()
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12">
<title>%s</title>
<style>%s</style>
<rect class="paper" width="%d" height="%d"/>
%s</svg>
`, width, d.y, width, d.y, html.EscapeString(t.Scenario), svgStyle, width, d.y, d.b.String())
	return err
}

const svgStyle = `.paper{fill:#fff}.name{fill:#1c2430;font-weight:600}.sub{fill:#5f6b7a;font-size:11px}.grid{stroke:#e3e8ee}.tick{fill:#5f6b7a;font-size:11px}.fault{stroke:#b3261e;stroke-dasharray:2 3}.faultname{fill:#b3261e;font-size:11px}.in{fill:#fff;font-size:11px;pointer-events:none}.dark{fill:#22303f;font-size:11px;pointer-events:none}.clear{fill:none;pointer-events:none}.what{fill:#22303f;font-size:11px;font-weight:600;pointer-events:none;paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}.overlap{fill:#e02020}.none{fill:url(#none)}.cond{fill:url(#hatch)}.hatchline{stroke:#333;opacity:.38}.nonepaper{fill:#fdeaea}.noneline{stroke:#f0a5a5}.plain,.plain-on{fill:#22303f;font-size:11px;pointer-events:none}.weighed{fill:#a8d5ba}.drained{fill:#f4c27a}.generation{fill:#cdd9ea}.generation.odd{fill:#b3c7e0}.good{fill:#58b87a}.out{fill:#e02020}.advert{fill:#33475b;opacity:.55}.garp{fill:#c2185b}.yes{fill:#1a9850}.no{fill:#e02020}.lane{fill:#f3f5f8}.section{paint-order:stroke;stroke:#fff;stroke-width:4px;fill:#5f6b7a;font-size:11px;letter-spacing:.06em;font-weight:600}`

// drawing keeps the place where the next row goes.
type drawing struct {
	t     sim.Timeline
	b     strings.Builder
	y     int
	names []string
}

func newDrawing(t sim.Timeline) *drawing {
	if t.End <= 0 {
		t.End = time.Second
	}
	d := &drawing{t: t}
	for _, h := range t.Hosts {
		d.names = append(d.names, h.Name)
	}
	for _, v := range t.VIPs {
		for _, s := range v.Spans {
			if !slices.Contains(d.names, s.What) {
				d.names = append(d.names, s.What)
			}
		}
	}
	return d
}

func (d *drawing) colour(host string) string {
	c := hostColours()
	return c[max(0, slices.Index(d.names, host))%len(c)]
}

func (d *drawing) x(at time.Duration) float64 {
	return left + float64(at)/float64(d.t.End)*(width-left-right)
}

func (d *drawing) say(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

// span draws a stretch of time; the page moves it when the reader zooms. label is shown where it fits.
func (d *drawing) span(class, style string, s sim.Span, y, h int, label, labelClass, title string) {
	x0, x1 := d.x(s.From), d.x(s.To)
	wide := math.Max(x1-x0, 1)
	d.say(`<g class="span" data-a="%.6f" data-b="%.6f"><rect class="%s" style="%s" x="%.2f" y="%d" width="%.2f" height="%d" rx="2"><title>%s</title></rect>`,
		s.From.Seconds(), s.To.Seconds(), class, style, x0, y, wide, h, html.EscapeString(title))
	if label != "" {
		hidden := ""
		if float64(len([]rune(label)))*6.6+8 > wide {
			hidden = ` visibility="hidden"`
		}
		d.say(`<text class="%s" x="%.2f" y="%d"%s>%s</text>`, labelClass, x0+5, y+h/2+4, hidden, html.EscapeString(label))
	}
	d.say("</g>\n")
}

// mark draws something at an instant.
func (d *drawing) mark(at time.Duration, inner string) {
	d.say(`<g class="mark" data-a="%.6f" transform="translate(%.2f 0)">%s</g>`+"\n", at.Seconds(), d.x(at), inner)
}

func (d *drawing) all() {
	d.say(`<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" class="hatchline" stroke-width="2"/></pattern><pattern id="none" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" class="nonepaper"/><line x1="0" y1="0" x2="0" y2="6" class="noneline" stroke-width="1.5"/></pattern><clipPath id="plot"><rect id="plotarea" x="%d" y="0" width="%d" height="4000"/></clipPath></defs>`+"\n", left-6, width-left+6)
	d.y = 14
	top := d.y + d.levels()*levelH
	var body drawing
	body.t, body.names, body.y = d.t, d.names, top
	body.axis()
	body.lanes()
	body.vips()
	body.clients()
	body.servers()
	body.store()
	body.claims()
	// Lines of faults go behind everything, over the whole height.
	d.grid(top, body.y)
	d.faults(top, body.y)
	d.b.WriteString(body.b.String())
	d.y = body.y + 10
}

// step is a round distance of ticks.
func step(end time.Duration) time.Duration {
	for _, s := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
		10 * time.Second, 20 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 3 * time.Hour, 6 * time.Hour} {
		if end/s <= 14 {
			return s
		}
	}
	return 24 * time.Hour
}

func (d *drawing) grid(top, bottom int) {
	d.say(`<g id="grid" data-top="%d" data-bottom="%d">`, top, bottom)
	for at := time.Duration(0); at <= d.t.End; at += step(d.t.End) {
		d.say(`<line class="grid" x1="%.2f" y1="%d" x2="%.2f" y2="%d"/>`, d.x(at), top+14, d.x(at), bottom)
	}
	d.say("</g>\n")
}

func (d *drawing) axis() {
	d.say(`<g id="axis" data-y="%d">`, d.y+10)
	for at := time.Duration(0); at <= d.t.End; at += step(d.t.End) {
		d.say(`<text class="tick" text-anchor="middle" x="%.2f" y="%d">%s</text>`, d.x(at), d.y+10, tick(at))
	}
	d.say("</g>\n")
	d.y += 20
}

func tick(at time.Duration) string {
	if at >= 2*time.Minute && at%time.Minute == 0 {
		return at.Truncate(time.Minute).String()[:len(at.Truncate(time.Minute).String())-2]
	}
	return fmt.Sprintf("%gs", at.Seconds())
}

// faults writes what was done to the world, above the lanes, each with a line through them.
func (d *drawing) faults(top, bottom int) {
	d.say(`<g clip-path="url(#plot)">`)
	d.place(func(f sim.Fault, text string, level int, fits bool) {
		shown := text
		if !fits {
			shown = "" // its line and its title must do
		}
		y := 14 + level*levelH
		anchor, dx := "start", 4
		if d.leftwards(f.At, text) {
			anchor, dx = "end", -4
		}
		d.mark(f.At, fmt.Sprintf(`<line class="fault" x1="0" y1="%d" x2="0" y2="%d"/><circle r="2.6" cy="%d" class="no"><title>%s</title></circle><text class="faultname" data-label="%s" x="%d" y="%d" text-anchor="%s">%s</text>`,
			y, bottom, y, html.EscapeString(text), html.EscapeString(text), dx, y+4, anchor, html.EscapeString(shown)))
	})
	d.say("</g>\n")
}

// leftwards says that a fault's label has room on the other side of its line only.
func (d *drawing) leftwards(t time.Duration, text string) bool { return d.x(t)+room(text) > width }

func room(text string) float64 { return float64(len([]rune(text)))*6.1 + 12 }

// place finds a level for the label of each fault.
func (d *drawing) place(each func(f sim.Fault, text string, level int, fits bool)) {
	var ends [maxLevels]float64
	for _, f := range d.t.Faults {
		text := label(f.Text)
		if text == "" {
			continue
		}
		from, level := d.x(f.At), 0
		to := from + room(text)
		if d.leftwards(f.At, text) {
			from, to = from-room(text), from+4
		}
		for level < maxLevels-1 && ends[level] > from {
			level++
		}
		fits := ends[level] <= from
		if fits {
			ends[level] = to
		}
		each(f, text, level, fits)
	}
}

// levels is how many are needed.
func (d *drawing) levels() int {
	n := 1
	d.place(func(_ sim.Fault, _ string, level int, _ bool) { n = max(n, level+1) })
	return n
}

// label is a directive as the picture shows it; those that set up the world are left out.
func label(directive string) string {
	words := strings.Fields(directive)
	if len(words) == 0 || words[0] == "world" || words[0] == "mark" {
		return ""
	}
	if r := []rune(directive); len(r) > 44 {
		return string(r[:43]) + "…"
	}
	return directive
}

func (d *drawing) section(name string) {
	d.y += gap
	d.say(`<text class="section" x="10" y="%d">%s</text>`+"\n", d.y+10, name)
	d.y += 16
}

// right writes what a row is, beside it.
func (d *drawing) right(text string, y int) {
	d.say(`<text class="sub beside" x="%d" y="%d" text-anchor="end">%s</text>`, left-10, y, html.EscapeString(text))
}

func (d *drawing) lanes() {
	d.section("DIRECTORS")
	for _, h := range d.t.Hosts {
		top := d.y
		d.say(`<circle cx="16" cy="%d" r="5" fill="%s"/><text class="name" x="28" y="%d">%s</text>`+"\n", d.y+barH/2, d.colour(h.Name), d.y+barH/2+4, html.EscapeString(h.Name))
		tracks := h.Instances
		if len(tracks) == 0 {
			tracks = []sim.Track{{}}
		}
		for _, tr := range tracks {
			d.say(`<rect class="lane" x="%d" y="%d" width="%d" height="%d"/>`, left, d.y, width-left-right, barH)
			if len(tracks) > 1 {
				d.right(tr.Name, d.y+barH/2+4)
			}
			d.say(`<g clip-path="url(#plot)">`)
			for _, s := range tr.Spans {
				d.span("", "fill:"+stateColour(s.What), s, d.y, barH, "", "", fmt.Sprintf("%s %s %s – %s\n%s", h.Name, s.What, at(s.From), at(s.To), s.Why))
			}
			d.say("</g>\n")
			d.y += barH + 2
		}
		d.say(`<g clip-path="url(#plot)">`)
		for _, s := range h.Condition {
			d.span("cond", "", s, top, d.y-top-2, "", "", fmt.Sprintf("%s %s %s – %s", h.Name, s.What, at(s.From), at(s.To)))
		}
		d.states(h, tracks, top)
		for _, f := range d.t.Frames {
			switch {
			case f.Host != h.Name:
			case f.Kind == "garp":
				d.mark(f.At, fmt.Sprintf(`<path class="garp" d="M0 %d l3 4 l-3 4 l-3 -4z"><title>%s %s</title></path>`, d.y-1, at(f.At), html.EscapeString(f.Text)))
			default:
				d.mark(f.At, fmt.Sprintf(`<rect class="advert" x="-.6" y="%d" width="1.2" height="6"><title>%s %s</title></rect>`, d.y, at(f.At), html.EscapeString(f.Text)))
			}
		}
		d.say("</g>\n")
		d.y += gap + 4
	}
}

// states writes names over the hatching: of states, and of what was done to the director, in one label where both begin together.
func (d *drawing) states(h sim.Lane, tracks []sim.Track, top int) {
	said := make([]bool, len(h.Condition))
	for k, tr := range tracks {
		for _, s := range tr.Spans {
			text, class := s.What, "dark"
			if s.What == "MASTER" {
				class = "in"
			}
			for i, c := range h.Condition {
				if c.From == s.From && c.To > c.From {
					text, class, said[i] = s.What+" · "+c.What, "what", true
				}
			}
			d.span("clear", "", s, top+k*(barH+2), barH, text, class, "")
		}
	}
	for i, c := range h.Condition {
		if !said[i] {
			d.span("clear", "", c, top, len(tracks)*(barH+2)-2, c.What, "what", "")
		}
	}
}

func (d *drawing) vips() {
	if len(d.t.VIPs) == 0 {
		return
	}
	d.section("HOLDERS OF VIPS")
	for _, v := range d.t.VIPs {
		d.say(`<text class="name" x="10" y="%d">%s</text><rect class="lane" x="%d" y="%d" width="%d" height="%d"/><g clip-path="url(#plot)">`, d.y+barH/2+4, html.EscapeString(v.VIP), left, d.y, width-left-right, barH)
		for _, s := range v.None {
			d.span("none", "", s, d.y, barH, "nobody", "plain", fmt.Sprintf("%s: nobody %s – %s", v.VIP, at(s.From), at(s.To)))
		}
		for _, s := range v.Spans {
			d.span("", "fill:"+d.colour(s.What), s, d.y, barH, s.What, "in", fmt.Sprintf("%s on %s %s – %s", v.VIP, s.What, at(s.From), at(s.To)))
		}
		for _, s := range v.Shared {
			var who []string
			for _, o := range v.Spans {
				if o.From < s.To && o.To > s.From {
					who = append(who, o.What)
				}
			}
			slices.Sort(who)
			text := strings.Join(slices.Compact(who), " and ")
			d.span("overlap", "", s, d.y, barH, text, "in", fmt.Sprintf("%s on %s at once, %s – %s", v.VIP, text, at(s.From), at(s.To)))
		}
		d.say("</g>\n")
		d.y += barH + gap
	}
}

func (d *drawing) clients() {
	if len(d.t.Clients) == 0 {
		return
	}
	d.section("CLIENTS")
	for _, c := range d.t.Clients {
		if len(d.t.Clients) > 1 {
			d.right(c.VIP, d.y+barH/2+4)
		}
		d.say(`<text class="name" x="10" y="%d">%s</text><rect class="lane" x="%d" y="%d" width="%d" height="%d"/><g clip-path="url(#plot)">`,
			d.y+barH/2+4, html.EscapeString(c.Client), left, d.y, width-left-right, barH)
		title := fmt.Sprintf("%s asks %s; longest time without an answer %.3fs", c.Client, c.VIP, c.Longest.Seconds())
		d.span("good", "", sim.Span{From: c.From, To: d.t.End}, d.y+4, barH-8, "", "", title)
		for _, o := range c.Outages {
			d.span("out", "", o, d.y, barH, fmt.Sprintf("%.2fs", (o.To-o.From).Seconds()), "in", fmt.Sprintf("%s: no answer from %s %s – %s", c.Client, c.VIP, at(o.From), at(o.To)))
		}
		d.say("</g>\n")
		d.y += barH + gap
	}
}

func (d *drawing) claims() {
	if len(d.t.Expects) == 0 {
		return
	}
	d.section("CLAIMS")
	d.say(`<g clip-path="url(#plot)">`)
	for _, e := range d.t.Expects {
		class, sign := "yes", "✓"
		if !e.OK {
			class, sign = "no", "✗"
		}
		d.mark(e.At, fmt.Sprintf(`<text class="%s" text-anchor="middle" font-size="15" font-weight="700" y="%d">%s<title>%s
%s</title></text>`, class, d.y+12, sign, html.EscapeString(e.Text), html.EscapeString(e.Said)))
	}
	d.say("</g>\n")
	d.y += 20
}

func at(t time.Duration) string { return fmt.Sprintf("+%.3fs", t.Seconds()) }
