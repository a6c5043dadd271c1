package host

import (
	"testing"
	"time"
)

func TestLateness(t *testing.T) {
	var l lateness
	s := func(n int) time.Duration { return time.Hour + time.Duration(n)*time.Second }
	l.note(s(0), 5*time.Millisecond)
	l.note(s(30), 2*time.Millisecond)
	for _, tt := range []struct {
		at   int
		want time.Duration
	}{{30, 5 * time.Millisecond}, {59, 5 * time.Millisecond}, {75, 2 * time.Millisecond}, {110, 0}, {10000, 0}} {
		if got := l.max(s(tt.at)); got != tt.want {
			t.Errorf("at %d s: %v, want %v", tt.at, got, tt.want)
		}
	}
}

// The alarm rings at its instant and not before, at once for one that is over, and a ring of the instant before it was set anew says nothing.
func TestAlarm(t *testing.T) {
	a, err := newAlarm()
	must(t, err)
	defer a.Close()
	ring := func() bool {
		t.Helper()
		select {
		case <-a.C:
			return a.Rang()
		case <-time.After(10 * time.Second):
			t.Fatal("it does not ring")
		}
		return false
	}
	for _, in := range []time.Duration{-time.Second, 0, 30 * time.Millisecond} {
		at := instant() + in
		a.Set(at)
		if !ring() || instant() < at {
			t.Errorf("set to %v from then, it rang %v before", in, at-instant())
		}
	}
	a.Set(1) // long ago
	time.Sleep(50 * time.Millisecond)
	a.Set(instant() + time.Hour)
	if ring() {
		t.Error("it rang for an instant that was replaced")
	}
	a.Set(instant() + 10*time.Millisecond) // sooner than an hour
	if !ring() {
		t.Error("an earlier instant does not replace a later one")
	}
}
