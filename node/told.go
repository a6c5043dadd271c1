package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/vrrp"
)

// subject is what a report is about. Of subjects that differ only in who sent what they are about, the packets of a minute can have as
// many as somebody likes to forge.
type subject struct {
	kind  string // of report
	where string // interface or instance
	vrid  uint8
	note  vrrp.NoteKind
	why   vrrp.RejectReason
	src   netip.Addr
	mac   [6]byte
}

// forged is the part of a subject that no sender can choose.
func (s subject) forged() subject {
	s.src, s.mac = netip.Addr{}, [6]byte{}
	return s
}

const (
	reportEvery   = time.Minute // for the same subject
	reportSenders = 8           // in that time for subjects that differ in their sender
	reportRows    = 256         // and in all
)

// told keeps reports from being repeated, and forged packets from filling the log: whoever reports counts by reason as well.
type told struct{ rows []toldRow }

type toldRow struct {
	subject
	at    time.Duration
	quiet int // packets since
}

// due says whether to report something now; more is what to add to it.
func (t *told) due(now time.Duration, s subject) (more string, ok bool) {
	for k := range t.rows {
		r := &t.rows[k]
		if r.subject != s {
			continue
		}
		if now-r.at < reportEvery {
			r.quiet++
			return "", false
		}
		if r.quiet > 0 {
			more = fmt.Sprintf(" (and %d more in the last %v)", r.quiet, (now - r.at).Round(time.Second))
		}
		r.quiet, r.at = 0, now
		return more, true
	}
	n := 0
	for _, r := range t.rows {
		if r.forged() == s.forged() && now-r.at < reportEvery {
			n++
		}
	}
	if n >= reportSenders {
		return "", false
	}
	if n == reportSenders-1 && s != s.forged() {
		more = " (the next minute's other senders of such packets are only counted)"
	}
	if len(t.rows) >= reportRows {
		t.rows = slices.DeleteFunc(t.rows, func(r toldRow) bool { return now-r.at > reportEvery })
	}
	if len(t.rows) >= reportRows {
		return "", false
	}
	t.rows = append(t.rows, toldRow{subject: s, at: now})
	return more, true
}
