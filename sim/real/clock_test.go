package real

import (
	"testing"
	"time"
)

// What a log says after its clock jumped, forward and far back, is put where it belongs in the time line.
func TestSinceWithJumps(t *testing.T) {
	s := &stage{fabric: &fabric{start: time.Now().Add(-30 * time.Second)}}
	s.steps = []wallStep{{10 * time.Second, 24 * time.Hour}, {20 * time.Second, -8760 * time.Hour}}
	for at, ahead := range map[time.Duration]time.Duration{
		5 * time.Second: 0, 15 * time.Second: 24 * time.Hour, 25 * time.Second: -8736 * time.Hour,
	} {
		if got := s.since(s.fabric.start.Add(at + ahead)); got != at {
			t.Errorf("%v: got %v", at, got)
		}
	}
}
