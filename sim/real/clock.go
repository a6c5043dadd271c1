package real

import "quorate/sim"

// clock sets the clock of a director, which has one of its own in a guest.
func (s *stage) clock(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	if h.guest == nil {
		return skip{"clock " + h.name + ": it shares its clock with others"}
	}
	step, ppm, err := sim.ParseClock(args)
	if err != nil {
		return err
	}
	return h.Clock(step, ppm)
}
