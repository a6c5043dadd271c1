package checker

import "time"

// Config is one check of one real server. Durations are as in keepalived.conf.
type Config struct {
	DelayLoop        time.Duration // from the end of one probe to the start of the next
	Retry            int           // extra attempts after a failure before DOWN
	DelayBeforeRetry time.Duration
	Alpha            bool          // start DOWN, UP only after the first success
	Offset           time.Duration // delay of the first probe (warm-up spread), chosen by the caller
}

// Event is an input of Check.Step: Start, Result, Tick or Stop.
type Event interface{ event() }

// Start begins checking.
type Start struct{}

// Result answers a Probe action. A result that answers no outstanding probe is ignored.
type Result struct {
	OK     bool
	Detail string // "connection refused", "connect timeout after 3s"
}

// Tick says only that time has passed.
type Tick struct{}

// Stop ends checking; no further action follows.
type Stop struct{}

func (Start) event()  {}
func (Result) event() {}
func (Tick) event()   {}
func (Stop) event()   {}

// Action is an output of Check.Ready: Probe or Verdict.
type Action interface{ action() }

// Probe asks for one attempt; exactly one Result must follow.
type Probe struct{}

// Verdict says that the real server goes up or down, exactly once per change.
// A check that is not Alpha starts UP without a Verdict.
type Verdict struct {
	Up       bool
	Failures int    // consecutive failed attempts that led to DOWN
	Detail   string // of the deciding result
}

func (Probe) action()   {}
func (Verdict) action() {}
