package node

import (
	"fmt"
	"time"

	"quorate/config"
)

// verdict of a tracked script.
type verdict uint8

const (
	_ verdict = iota
	unknown
	good
	bad
)

func (v verdict) String() string { return [...]string{"invalid", "unknown", "good", "bad"}[v] }

// script runs a vrrp_script at its interval and counts rise and fall.
type script struct {
	cfg     *config.Script
	verdict verdict
	running bool
	due     time.Duration // next start
	streak  int           // consecutive results against the verdict
	detail  string        // of the last result that decided
}

func newScript(c *config.Script, now time.Duration) *script {
	s := &script{cfg: c, verdict: unknown, due: now}
	if c.InitFail {
		s.verdict, s.detail = bad, "init_fail: no success yet"
	}
	return s
}

func (s *script) deadline() (time.Duration, bool) { return s.due, !s.running }

func (s *script) tick(e *Elector) {
	if s.running || s.due > e.now {
		return
	}
	interval := s.cfg.Interval.V
	if interval <= 0 {
		interval = time.Second
	}
	timeout := s.cfg.Timeout.V
	if timeout <= 0 {
		timeout = interval
	}
	s.running = true
	s.due = e.now + interval // from start to start; a run still going at that instant delays the next
	e.emit(RunScript{Script: s.cfg.Name, Command: s.cfg.Command, Timeout: timeout})
}

// result counts one outcome. The first one decides at once; later ones need rise or fall in a row (keepalived 2.2.7, measured).
func (s *script) result(e *Elector, r ScriptResult) {
	s.running = false
	now := good
	if r.ExitCode != 0 {
		now = bad
	}
	if now == s.verdict {
		s.streak = 0
		return
	}
	s.streak++
	need, event := s.cfg.Rise.V, "script.up"
	if now == bad {
		need, event = s.cfg.Fall.V, "script.down"
	}
	if s.verdict != unknown && s.streak < need {
		return
	}
	s.verdict, s.streak, s.detail = now, 0, r.Detail
	detail := r.Detail
	if detail == "" {
		detail = fmt.Sprintf("exit %d", r.ExitCode)
	}
	e.report(Entry{Instance: s.cfg.Name, Event: event, To: now.String(), Detail: detail, Warn: now == bad})
}

// effect is what a track_script line does to an instance: a vote for FAULT, or a change of priority.
// The signs are keepalived's: a positive weight adds while good, a negative one subtracts while bad, reverse turns both round.
func (s *script) effect(t config.Track) (weight int, fault bool) {
	w := s.cfg.Weight.V
	if t.Weight.Set {
		w = t.Weight.V
	}
	reverse := s.cfg.Reverse != t.Reverse
	isGood, isBad := s.verdict == good, s.verdict == bad
	switch {
	case w == 0:
		if reverse {
			return 0, isGood
		}
		return 0, isBad
	case w > 0 && isGood, w < 0 && isBad:
		if reverse {
			return -w, false
		}
		return w, false
	}
	return 0, false
}

// weighted says whether a track_script line changes the priority rather than voting for FAULT.
func (s *script) weighted(t config.Track) bool {
	if t.Weight.Set {
		return t.Weight.V != 0
	}
	return s.cfg.Weight.V != 0
}
