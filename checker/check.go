package checker

import (
	"errors"
	"fmt"
	"time"
)

// minDelay keeps a check with a delay of 0 from probing without pause.
const minDelay = time.Millisecond

// Validate says whether the configuration makes sense; New does not ask.
func (c Config) Validate() error {
	switch {
	case c.DelayLoop < minDelay:
		return fmt.Errorf("delay_loop %s is too short; at least %s", c.DelayLoop, minDelay)
	case c.Retry < 0:
		return fmt.Errorf("retry %d is negative", c.Retry)
	case c.Retry > 0 && c.DelayBeforeRetry < 0:
		return fmt.Errorf("delay_before_retry %s is negative", c.DelayBeforeRetry)
	case c.Offset < 0:
		return errors.New("the first probe lies in the past")
	}
	return nil
}

// phase is what a check is doing.
type phase uint8

const (
	_ phase = iota
	idle
	waiting // for the instant next
	probing // for a Result
	stopped
)

func (p phase) String() string {
	switch p {
	case idle:
		return "idle"
	case waiting:
		return "waiting"
	case probing:
		return "probing"
	case stopped:
		return "stopped"
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// Check is one check of one real server. It is not for several goroutines.
type Check struct {
	cfg      Config
	phase    phase
	next     time.Duration // start of the next attempt, while waiting
	up       bool
	ran      bool // an attempt has been answered
	failures int  // failed attempts of this round
	actions  []Action
}

// New returns a check that waits for Start. It is up at once unless cfg.Alpha. Delays below a millisecond count as one.
func New(cfg Config) *Check {
	cfg.DelayLoop = max(cfg.DelayLoop, minDelay)
	cfg.DelayBeforeRetry = max(cfg.DelayBeforeRetry, minDelay)
	cfg.Offset = max(cfg.Offset, 0)
	return &Check{cfg: cfg, phase: idle, up: !cfg.Alpha}
}

// Up reports whether the server counts as up.
func (c *Check) Up() bool { return c.up }

// Ran reports whether an attempt has been answered, so that Up is a verdict and not where the check began.
func (c *Check) Ran() bool { return c.ran }

// Step takes one event. Events that do not fit (a Result nobody asked for, a second Start, anything after Stop) change nothing.
func (c *Check) Step(now time.Duration, ev Event) {
	if c.phase == stopped {
		return
	}
	switch ev := ev.(type) {
	case Start:
		if c.phase == idle {
			c.wait(now + c.cfg.Offset)
		}
	case Result:
		if c.phase == probing {
			c.result(now, ev)
		}
	case Stop:
		c.phase = stopped
		c.actions = nil
		return
	case Tick:
	}
	if c.phase == waiting && now >= c.next {
		c.phase = probing
		c.actions = append(c.actions, Probe{})
	}
}

// Ready returns what to do now, in order, and forgets it.
func (c *Check) Ready() []Action {
	a := c.actions
	c.actions = nil
	return a
}

// Deadline returns the instant at which a Tick is wanted; false while a Result, a Start or nothing more is.
func (c *Check) Deadline() (time.Duration, bool) { return c.next, c.phase == waiting }

// String returns the state, for example "up, probing, 2 failed".
func (c *Check) String() string {
	s := "down"
	if c.up {
		s = "up"
	}
	s += ", " + c.phase.String()
	if c.phase == waiting {
		s += " until " + c.next.String()
	}
	if c.failures > 0 {
		s += fmt.Sprintf(", %d failed", c.failures)
	}
	return s
}

func (c *Check) wait(until time.Duration) {
	c.phase, c.next = waiting, until
}

func (c *Check) result(now time.Duration, r Result) {
	// The first attempt has no retries (keepalived 2.2.7, measured; with and without alpha).
	retries := c.cfg.Retry
	if !c.ran {
		retries = 0
	}
	c.ran = true
	if r.OK {
		c.failures = 0
		c.verdict(true, r.Detail)
		c.wait(now + c.cfg.DelayLoop)
		return
	}
	c.failures++
	if c.failures <= retries {
		c.wait(now + c.cfg.DelayBeforeRetry)
		return
	}
	c.verdict(false, r.Detail)
	c.failures = 0
	c.wait(now + c.cfg.DelayLoop)
}

func (c *Check) verdict(up bool, detail string) {
	if c.up == up {
		return
	}
	c.up = up
	c.actions = append(c.actions, Verdict{Up: up, Failures: c.failures, Detail: detail})
}
