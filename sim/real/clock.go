package real

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"quorate/sim"
)

// refuseClock says why a clock verb cannot be carried out; empty if it can.
func refuseClock(args []sim.Word, backend string) string {
	switch {
	case backend != "uml":
		return "clock: namespaces share the clock of their host, which other programs need"
	case len(args) == 2 && args[1].Key == "step" && args[1].Op == "=":
		return ""
	}
	return "clock: the directors of a guest share its clock; none of them drifts alone"
}

// wallStep is a jump of the wall clock.
type wallStep struct {
	at time.Duration // after the start
	by time.Duration
}

// clock has the wall clock of the guest jump. All directors in it share that clock: the others see the jump as well.
func (s *stage) clock(args []sim.Word, _ string) error {
	if _, err := s.host(args[0].Key); err != nil {
		return err
	}
	by, err := time.ParseDuration(args[1].Value)
	if err != nil {
		return fmt.Errorf("step %q is no duration: expected one such as 1h or -30s", args[1].Value)
	}
	tv := unix.NsecToTimeval(time.Now().Add(by).UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("settimeofday: %w", err)
	}
	s.steps = append(s.steps, wallStep{s.fabric.now(), by})
	return nil
}

// since is the time after the start at which a wall clock showed this, as in a log: of the times between two jumps, the one that fits.
func (s *stage) since(wall time.Time) time.Duration {
	at := wall.Sub(s.fabric.start)
	fits, from := at, -time.Hour
	for _, j := range s.steps {
		if from <= fits && fits <= j.at {
			return fits
		}
		fits, from = fits-j.by, j.at
	}
	if from <= fits && fits <= s.fabric.now()+time.Hour {
		return fits
	}
	return at
}
