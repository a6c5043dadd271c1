package checker_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/checker"
)

// TestAnyOrder proves of any sequence of events at any instants: at most one probe is outstanding, verdicts alternate and
// agree with Up, a deadline lies ahead unless a result is awaited, and nothing follows a stop.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		second := func(label string) time.Duration {
			return time.Duration(rapid.IntRange(0, 8).Draw(t, label)) * time.Second
		}
		c := checker.New(checker.Config{
			DelayLoop: second("delay_loop"), Retry: rapid.IntRange(0, 3).Draw(t, "retry"),
			DelayBeforeRetry: second("delay_before_retry"), Alpha: rapid.Bool().Draw(t, "alpha"), Offset: second("offset"),
		})
		up, outstanding, started, stopped := c.Up(), 0, false, false
		now := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += second("pause")
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0:
				c.Step(now, checker.Start{})
				started = true
			case 1, 2, 3:
				c.Step(now, checker.Tick{})
			case 4, 5, 6:
				c.Step(now, checker.Result{OK: true})
				outstanding = 0
			case 7, 8:
				c.Step(now, checker.Result{OK: false})
				outstanding = 0
			case 9:
				if rapid.IntRange(0, 9).Draw(t, "really") != 0 {
					c.Step(now, checker.Tick{})
					break
				}
				c.Step(now, checker.Stop{})
				stopped = true
			}
			for _, a := range c.Ready() {
				if stopped {
					t.Fatalf("%T after the stop", a)
				}
				switch a := a.(type) {
				case checker.Probe:
					outstanding++
				case checker.Verdict:
					if a.Up == up {
						t.Fatalf("verdict %v twice", up)
					}
					up = a.Up
				}
			}
			if outstanding > 1 || up != c.Up() {
				t.Fatalf("%d probes outstanding, verdicts say %v, Up says %v", outstanding, up, c.Up())
			}
			at, waits := c.Deadline()
			if waits && at <= now {
				t.Fatalf("deadline %s at %s", at, now)
			}
			if started && !stopped && waits == (outstanding == 1) {
				t.Fatalf("a deadline: %v, while %d probes are outstanding: %s", waits, outstanding, c)
			}
		}
	})
}
