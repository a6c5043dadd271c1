package sim

import (
	"fmt"
	"strings"
	"time"

	"quorate/node"
)

// Event is one thing that happened and that somebody may want to read.
type Event struct {
	At   time.Duration
	Host string // empty for the world's own
	Kind EventKind
	// Entry is what the director reported, for EventReport.
	Entry node.Entry
	Text  string
}

// EventKind says what an Event is.
type EventKind uint8

// The zero EventKind is invalid.
const (
	_              EventKind = iota
	EventReport              // a director's journal entry: transitions, rejects, scripts
	EventKernel              // a kernel changed, as the shell command that would do it
	EventClient              // what a client saw
	EventOwners              // several kernels hold a VIP, or no longer do
	EventViolation           // an invariant is broken
	EventNotify              // a notify script would have run
	EventStore               // of the replicated store: who leads, what became of a push
)

func (k EventKind) String() string {
	switch k {
	case EventReport:
		return "report"
	case EventKernel:
		return "kernel"
	case EventClient:
		return "client"
	case EventOwners:
		return "owners"
	case EventViolation:
		return "violation"
	case EventStore:
		return "store"
	case EventNotify:
		return "notify"
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Shown reports whether run prints the event; the rest is for expect and the trace.
func (e Event) Shown() bool {
	return e.Kind != EventNotify && (e.Kind != EventReport || e.Entry.Event != "config.applied")
}

// String is the line of a golden file: time, host, what.
func (e Event) String() string {
	host := e.Host
	if host == "" {
		host = "-"
	}
	return fmt.Sprintf("%-9s %-3s %s", stamp(e.At), host, e.Text)
}

// stamp prints an instant to the millisecond, cut off rather than rounded: nothing is
// shown later than it was.
func stamp(d time.Duration) string {
	ms := d.Milliseconds()
	return fmt.Sprintf("+%d.%03d", ms/1000, ms%1000)
}

func (w *World) note(host string, kind EventKind, text string) {
	w.record(Event{Host: host, Kind: kind, Text: text})
}

func (w *World) record(e Event) {
	e.At = w.now
	w.journal = append(w.journal, e)
	w.hash.String(e.Host)
	w.hash.Uint64(uint64(e.Kind))
	if e.Kind != EventReport {
		w.hash.String(e.Text)
		return
	}
	// Of a report the vocabulary counts, not the wording: a clearer sentence is no other run.
	for _, s := range []string{e.Entry.Instance, e.Entry.Event, e.Entry.From, e.Entry.To, e.Entry.Reason} {
		w.hash.String(s)
		w.hash.Uint64(uint64(len(s)))
	}
}

// reportText puts an entry of a director's journal into one line.
func reportText(en node.Entry) string {
	var b strings.Builder
	if en.Instance != "" {
		b.WriteString(en.Instance + " ")
	}
	if en.From != "" {
		fmt.Fprintf(&b, "%s→%s", en.From, en.To)
	} else {
		b.WriteString(en.Event)
	}
	if en.Reason != "" {
		b.WriteString(" reason=" + en.Reason)
	}
	if en.Detail != "" {
		b.WriteString(": " + en.Detail)
	}
	return b.String()
}
