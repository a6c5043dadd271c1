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
