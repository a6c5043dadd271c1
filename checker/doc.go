// Package checker decides whether a real server is up, from the results of single probes.
//
// A [Check] is one check of one real server. It is a machine: no clock, no socket, no goroutine. Its driver tells it
// what happened and when, asks what to do now, and asks when it wants to hear from the driver again:
//
//	c := checker.New(cfg)
//	c.Step(now, checker.Start{})
//	for _, a := range c.Ready() {
//		// Probe: start one attempt, and later Step(now, Result{...}), exactly once
//		// Verdict: put the server in or take it out
//	}
//	if at, ok := c.Deadline(); ok {
//		// Step(at, Tick{}) when that instant has come; later is harmless
//	}
//
// Instants are durations since an origin of the driver's choice that never jumps. The attempts themselves are made by
// package checker/probe.
//
// # Rounds
//
// Attempts come in rounds, with the timing that keepalived 2.2.7 was measured to have:
//
//	  delay_loop     delay_before_retry
//	|------------|       |---|
//	P            P   P   P   P            P
//	ok           fail    retry 3 fails    the next round
//	                         DOWN
//
// A round is one attempt and, while they fail, up to Retry more, DelayBeforeRetry apart. A success ends it at once: the
// server is up. When the last one fails the server is down. The next round begins DelayLoop after the end of the last
// attempt, whether the server is up or down, so a dead server is probed with retries too.
//
// The very first attempt after Start is a round of its own, without retries: a server that is put in unchecked, because
// the check is not [Config.Alpha], is taken out again after one failure.
//
// # Where a verdict goes
//
// A real server is up when none of its checks is down. What follows from that for the virtual service (weights, quorum,
// the sorry server) is decided elsewhere, by whoever reads the verdicts.
package checker
