package replay

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
)

// Style says how times are shown: since the first frame, or with In as date and time of that place.
type Style struct{ In *time.Location }

// dateTime is how tshark and tcpdump show it.
const dateTime = "2006-01-02 15:04:05.000000"

func (s Style) time(since time.Duration, t time.Time) string {
	if s.In == nil || t.IsZero() {
		return fmt.Sprintf("%+.6f", since.Seconds())
	}
	return t.In(s.In).Format(dateTime)
}

// String is the line as people read it, with the time since the first frame.
func (l Line) String() string { return l.Format(Style{}) }

// Format is the line as people read it. Text of foreign origin is not in it, apart from interface names.
func (l Line) Format(s Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%5d %12s ", l.N, s.time(l.Since, l.Time))
	if l.Interface != "" {
		fmt.Fprintf(&b, "%s ", l.Interface)
	}
	fmt.Fprintf(&b, "%-4v ", l.Proto)
	switch {
	case l.Proto == ProtoARP:
		fmt.Fprintf(&b, "%v", l.MAC)
	case l.Src.IsValid():
		fmt.Fprintf(&b, "%v > %v", l.Src, l.Dst)
	}
	if l.VRID != 0 {
		fmt.Fprintf(&b, " vrid %d", l.VRID)
	}
	if l.Version != 0 {
		fmt.Fprintf(&b, " v%d", l.Version)
	}
	fmt.Fprintf(&b, "  %s  %s", l.Verdict(), l.Reason())
	return b.String()
}

// writer prints a summary.
type writer struct {
	strings.Builder
	Style
	begin time.Time
	ports int // of the capture
}

func (w *writer) say(format string, args ...any) { fmt.Fprintf(w, format, args...) }

func (w *writer) section(title string, n int) {
	if n == 0 {
		w.say("\n%s: none\n", title)
		return
	}
	w.say("\n%s:\n", title)
}

func (w *writer) at(i Instant) string {
	return fmt.Sprintf("%s (packet %d)", w.time(sinceOf(w.begin, i.Time), i.Time), i.N)
}

// id names a virtual router, behind the port it was seen on. Several ports go to the end of the line: see where.
func id(ports string, vrid uint8, family string) string {
	s := fmt.Sprintf("VRID %d", vrid)
	if family == "ipv6" {
		s += " IPv6"
	}
	if ports == "" || strings.Contains(ports, ", ") {
		return s
	}
	return ports + " " + s
}

// where names the ports when there are several, but not all.
func (w *writer) where(ports string) string {
	if n := strings.Count(ports, ", ") + 1; n == 1 || n >= w.ports {
		return ""
	}
	return " (seen on " + ports + ")"
}

// span is one packet, or from one to another.
func (w *writer) span(a, b Instant) string {
	if a.N == b.N {
		return w.at(a)
	}
	return w.at(a) + " .. " + w.at(b)
}

// Write prints the summary for people: what matters most comes last, where a terminal stops.
func (s Summary) Write(out io.Writer, style Style) error {
	w := &writer{Style: style, begin: s.begin, ports: s.ports}
	w.say("\n%s, %s, %d rejected; %s\n", count(s.Frames, "frame"), count(s.Packets, "packet"), s.Refused, s.span())
	w.section("Owners", len(s.Owners))
	for _, o := range s.Owners {
		w.say("  %s: %v priority %d owned %s\n      %s, %s, ended: %s", id(o.Interface, o.VRID, o.Family),
			Party{Src: o.Src, MAC: o.MAC}, o.Priority, vipList(o.VIPs), w.span(o.From, o.To), count(o.Adverts, "advert"), o.Ended)
		if o.Foreign {
			w.say(", foreign")
		}
		w.say("%s\n", w.where(o.Interface))
	}
	w.section("Elections", len(s.Elections))
	for _, e := range s.Elections {
		w.say("  %s: %s %s, cause %s: %s%s\n", id(e.Interface, e.VRID, e.Family), w.at(e.At), e.Owner, e.Cause, e.Detail, w.where(e.Interface))
	}
	if len(s.Refusals) > 0 {
		w.section("Rejected, apart from conflicts", len(s.Refusals))
	}
	for _, f := range s.Refusals {
		who := cmp.Or(f.Src, f.MAC.text(), "unknown")
		if f.Src != "" {
			who = Party{Src: f.Src, MAC: f.MAC.text()}.String()
		}
		what := strings.ToUpper(f.Proto.String())
		if f.VRID != 0 {
			what = id(f.Interface, f.VRID, "") + " " + what
		} else if f.Interface != "" {
			what = f.Interface + " " + what
		}
		w.say("  %s from %s: %s, %s\n      %s: %s\n", what, who, count(f.Packets, "packet"), w.span(f.First, f.Last), f.Word, f.Text)
	}
	w.section("Conflicts", len(s.Conflicts))
	for _, c := range s.Conflicts {
		w.say("  %s: %v against %v, %s, %s%s\n      %s: %s\n      meaning: %s\n      remedy: %s\n",
			id(c.Interface, c.VRID, c.Family), c.Foreign, c.Owner, count(c.Packets, "packet"), w.span(c.First, c.Last), w.where(c.Interface),
			strings.Join(c.Reasons, ", "), c.Detail, c.Meaning, c.Remedy)
	}
	w.section("Two owners", len(s.TwoOwners))
	for _, t := range s.TwoOwners {
		vips := vipList(t.VIPs)
		if vips == "" {
			vips = "different addresses"
		}
		w.say("  %s: %s of %s: %s, %.6f s%s\n      %s\n", id(t.Interface, t.VRID, t.Family), strings.Join(t.Owners, " and "), vips,
			w.span(t.From, t.To), t.Seconds, w.where(t.Interface), t.Meaning)
	}
	if len(s.Notes) > 0 {
		w.section("Notes", len(s.Notes))
	}
	for _, n := range s.Notes {
		w.say("  %s\n", n)
	}
	w.say("\nIn short: %s\n", s.short())
	_, err := io.WriteString(out, w.String())
	return err
}

// short is the answer for whoever reads one line only.
func (s Summary) short() string {
	if s.Adverts == 0 {
		return "no VRRP seen"
	}
	parts := []string{none(len(s.Conflicts), "conflict")}
	longest := 0.0
	for _, t := range s.TwoOwners {
		longest = max(longest, t.Seconds)
	}
	switch n := len(s.TwoOwners); n {
	case 0:
		parts = append(parts, "never two owners")
	default:
		parts = append(parts, fmt.Sprintf("two owners %s, for %s at most", times(n), human(time.Duration(longest*float64(time.Second)))))
	}
	changes := 0
	for _, e := range s.Elections {
		if e.Previous != "" {
			changes++
		}
	}
	parts = append(parts, none(changes, "change")+" of owner")
	return strings.Join(parts, "; ")
}

// vipList does not fill the screen with addresses.
func vipList(list []string) string {
	if len(list) > 9 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:8], ", "), len(list)-8)
	}
	return strings.Join(list, ", ")
}

// count is "1 packet", "2 packets".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func none(n int, what string) string {
	if n == 0 {
		return "no " + what
	}
	return count(n, what)
}
