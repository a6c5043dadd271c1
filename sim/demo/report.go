package demo

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// report is what came of it.
type report struct {
	level      Level
	why        string
	fault      Fault
	began      time.Time
	hit        time.Duration // when the fault happened, since began
	from, to   string        // owners before and after
	believed   string        // owner in the new owner's status
	verdict    string        // of that status
	measure    measure
	moves      []move
	entries    []entry
	recovered  bool
	pcap, logs string
}

// line is one line of the time line.
type line struct {
	at   time.Duration
	text string
}

// timeline puts everything in order; instants are relative to the fault.
func (r *report) timeline() []line {
	var out []line
	add := func(at time.Duration, format string, args ...any) {
		out = append(out, line{at - r.hit, fmt.Sprintf(format, args...)})
	}
	for _, m := range r.moves {
		if m.has {
			add(m.at, "%s: kernel has %s", m.host, vip)
		} else {
			add(m.at, "%s: kernel no longer has %s", m.host, vip)
		}
	}
	for _, e := range r.entries {
		text := fmt.Sprintf("%s: %s %s -> %s", e.Node, e.Instance, e.From, e.To)
		if e.Reason != "" {
			text += ", " + e.Reason
		}
		if e.Detail != "" {
			text += ": " + e.Detail
		}
		add(e.Time.Sub(r.began), "%s", text)
	}
	switch r.fault {
	case Cable:
		add(r.hit, "%s: cable pulled", r.from)
	default:
		add(r.hit, "%s: kill -9", r.from)
	}
	if r.measure.Lost > 0 {
		add(r.measure.FirstLost, "client: first lost request sent (%v)", r.measure.LastError)
		add(r.measure.LastLost, "client: last lost request sent")
	}
	if r.measure.FirstGood >= 0 {
		add(r.measure.FirstGood, "client: first good answer after that")
	}
	slices.SortStableFunc(out, func(a, b line) int { return int(a.at - b.at) })
	return out
}

// write prints the report and returns nil if the client was served again.
func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nlevel      %s (%s)\n", r.level, r.why)
	fmt.Fprintf(&b, "time line  seconds from the fault\n")
	for _, l := range r.timeline() {
		fmt.Fprintf(&b, "  %+8.2f  %s\n", l.at.Seconds(), l.text)
	}
	m := r.measure
	fmt.Fprintf(&b, "owner      %s -> %s", r.from, r.to)
	if r.believed != "" {
		fmt.Fprintf(&b, "   (status on %s: %s, %s)", r.to, r.believed, r.verdict)
	}
	fmt.Fprintf(&b, "\nrequests   %d sent, %d lost", m.Sent, m.Lost)
	if m.Lost == 0 && r.fault == Kill {
		fmt.Fprintf(&b, " (the kernel of %s went on answering until %s announced itself)", r.from, r.to)
	}
	b.WriteString("\n")
	fmt.Fprintf(&b, "gap        %.2f s without an answer, the longest, from %+.2f s\n", m.Gap.Seconds(), (m.GapFrom - r.hit).Seconds())
	fmt.Fprintf(&b, "served by ")
	for _, s := range m.Served {
		fmt.Fprintf(&b, " %s %d", s.Server, s.Count)
	}
	fmt.Fprintf(&b, "\ncapture    %s   (tshark -r FILE -Y 'vrrp || arp')\nlogs       %s\n", r.pcap, r.logs)
	problem := r.problem()
	if problem == nil {
		fmt.Fprintf(&b, "result     ok: the client was served again\n")
	} else {
		fmt.Fprintf(&b, "result     FAILED: %v\n", problem)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return problem
}

// problem says what is wrong, nil if the job was done.
func (r *report) problem() error {
	switch {
	case !r.recovered:
		return errors.New("the client still loses requests")
	case r.from == r.to:
		return fmt.Errorf("%s was hit and is still the owner", r.from)
	case r.believed != "" && r.believed != r.to:
		return fmt.Errorf("the kernel of %s has the address, its status says %s", r.to, r.believed)
	case len(r.measure.Served) == 0:
		return errors.New("no request was served")
	}
	return nil
}
