package real

import (
	"fmt"
	"testing"
	"time"
)

// What a client counts as an outage: only questions that were asked and got no answer.
func TestLoad(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		play   func(l *load)
		longer time.Duration // the outage afterwards, at 1 s
	}{
		{"answered at once", func(l *load) {
			for n := range uint64(50) {
				l.asked(time.Duration(n)*20*ms, n)
				l.answered(time.Duration(n)*20*ms+ms, n, "d1")
			}
		}, 0},
		{"the asking process was not scheduled", func(l *load) {
			l.asked(0, 1)
			l.answered(ms, 1, "d1")
			l.asked(999*ms, 2)
			l.answered(1000*ms, 2, "d1")
		}, 0},
		{"two lost", func(l *load) {
			l.asked(0, 1)
			l.asked(20*ms, 2)
			l.asked(100*ms, 3)
			l.answered(101*ms, 3, "d2")
			l.answered(102*ms, 1, "d1") // too late to matter
		}, 101 * ms},
		{"answered late, all at once", func(l *load) {
			for n := range uint64(10) {
				l.asked(time.Duration(n)*20*ms, n)
			}
			for n := range uint64(10) {
				l.answered(300*ms, n, "d2")
			}
		}, 300 * ms},
		{"not over", func(l *load) {
			l.asked(0, 1)
			l.answered(ms, 1, "d1")
			l.asked(400*ms, 2)
		}, 600 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &load{every: 20 * ms}
			tt.play(l)
			if got := l.outage(time.Second); got != tt.longer {
				t.Errorf("outage %v, want %v", got, tt.longer)
			}
			var total time.Duration
			for _, g := range l.gaps {
				total = max(total, g.To-g.From)
			}
			if max(total, l.gap(time.Second)) != tt.longer {
				t.Errorf("gaps %v", fmt.Sprint(l.gaps))
			}
		})
	}
}
