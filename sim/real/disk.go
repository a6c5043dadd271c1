package real

import (
	"fmt"
	"path/filepath"
	"slices"

	"quorate/sim"
)

// disk is the verb: full, ok, or what a crash does to the last write.
func (s *stage) disk(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	if !h.member {
		return fmt.Errorf("%s has no store", h.name)
	}
	ballast := filepath.Join(h.stateDir(), "ballast")
	switch a := args[1]; {
	case a.Key == "full":
		// It ends with an error, which is the point.
		_, _ = run(s.ctx, h, nil, "dd", "if=/dev/zero", "of="+ballast, "bs=64k")
		_, _ = run(s.ctx, h, nil, "dd", "if=/dev/zero", "of="+ballast+"2", "bs=512")
	case a.Key == "ok":
		_, err := run(s.ctx, h, nil, "rm", "-f", ballast, ballast+"2") // in its mount namespace
		return err
	case a.Key == "crash":
		h.torn = a.Value == "torn"
	}
	return nil
}

// fills reports whether a scenario fills a disk.
func fills(sc *sim.Scenario) bool {
	return slices.ContainsFunc(sc.Directives, func(d sim.Directive) bool {
		verb, args, _ := sim.Words(d.Text)
		return verb == "disk" && len(args) > 1 && args[1].Key == "full"
	})
}
