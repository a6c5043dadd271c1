package checker_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"quorate/checker"
)

// TestCheck runs testdata/*.txt. The verbs:
//
//	new delay_loop=6s retry=3 delay_before_retry=2s alpha offset=1s     a new check; prints its state
//	start at=0s | tick at=5s | stop at=9s                               one event; prints the actions and the state
//	ok at=6.1s | fail at=6.1s                                           a result; the input is its detail
//	run until=60s took=10ms down=0s-23s                                 starts the check against a server that is dead
//	                                                                    for that time, and prints a time line
func TestCheck(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, path := range files {
		var c *checker.Check
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "new":
				cfg := config(t, d)
				if err := cfg.Validate(); err != nil {
					return err.Error() + "\n"
				}
				c = checker.New(cfg)
				return c.String() + "\n"
			case "run":
				return run(t, c, d)
			}
			c.Step(duration(t, d, "at"), event(t, d))
			return actions(c) + c.String() + "\n"
		})
	}
}

func event(t *testing.T, d *datadriven.TestData) checker.Event {
	t.Helper()
	switch d.Cmd {
	case "start":
		return checker.Start{}
	case "tick":
		return checker.Tick{}
	case "stop":
		return checker.Stop{}
	case "ok", "fail":
		return checker.Result{OK: d.Cmd == "ok", Detail: d.Input}
	}
	t.Fatalf("%s: unknown verb %s", d.Pos, d.Cmd)
	return nil
}

func config(t *testing.T, d *datadriven.TestData) checker.Config {
	t.Helper()
	cfg := checker.Config{Alpha: d.HasArg("alpha")}
	d.MaybeScanArgs(t, "retry", &cfg.Retry)
	cfg.DelayLoop = duration(t, d, "delay_loop")
	cfg.DelayBeforeRetry = duration(t, d, "delay_before_retry")
	cfg.Offset = duration(t, d, "offset")
	return cfg
}

func duration(t *testing.T, d *datadriven.TestData, name string) time.Duration {
	t.Helper()
	text := "0s"
	d.MaybeScanArgs(t, name, &text)
	v, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", d.Pos, err)
	}
	return v
}

func actions(c *checker.Check) string {
	var b strings.Builder
	for _, a := range c.Ready() {
		switch a := a.(type) {
		case checker.Probe:
			b.WriteString("probe\n")
		case checker.Verdict:
			fmt.Fprintf(&b, "verdict %s failures=%d detail=%s\n", map[bool]string{true: "UP", false: "DOWN"}[a.Up], a.Failures, strconv.Quote(a.Detail))
		}
	}
	return b.String()
}

// run drives the check in virtual time, as a driver should.
func run(t *testing.T, c *checker.Check, d *datadriven.TestData) string {
	t.Helper()
	until, took := duration(t, d, "until"), duration(t, d, "took")
	var span string
	d.ScanArgs(t, "down", &span)
	from, to, _ := strings.Cut(span, "-")
	downFrom, err1 := time.ParseDuration(from)
	downTo, err2 := time.ParseDuration(to)
	if err1 != nil || err2 != nil {
		t.Fatalf("%s: down=%s is not a span", d.Pos, span)
	}
	var b strings.Builder
	now := time.Duration(0)
	c.Step(now, checker.Start{})
	for now <= until {
		outstanding := false
		for _, a := range c.Ready() {
			switch a := a.(type) {
			case checker.Probe:
				outstanding = true
			case checker.Verdict:
				fmt.Fprintf(&b, "%7.3fs verdict up=%v failures=%d\n", now.Seconds(), a.Up, a.Failures)
			}
		}
		if outstanding {
			ok := now < downFrom || now >= downTo
			fmt.Fprintf(&b, "%7.3fs probe %s\n", now.Seconds(), map[bool]string{true: "answers", false: "fails"}[ok])
			now += took
			c.Step(now, checker.Result{OK: ok})
			continue
		}
		next, waits := c.Deadline()
		if !waits || next <= now {
			t.Fatalf("%s: no deadline after %s: %s", d.Pos, now, c)
		}
		now = next
		c.Step(now, checker.Tick{})
	}
	return b.String()
}
