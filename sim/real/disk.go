package real

import (
	"fmt"
	"os"
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
		_ = h.Command(s.ctx, "dd", "if=/dev/zero", "of="+ballast, "bs=64k").Run()
		_ = h.Command(s.ctx, "dd", "if=/dev/zero", "of="+ballast+"2", "bs=512").Run()
	case a.Key == "ok":
		return h.Command(s.ctx, "rm", "-f", ballast, ballast+"2").Run()
	case a.Key == "crash":
		h.torn = a.Value == "torn"
	}
	return nil
}

// tear does to the end of the write-ahead log what a power failure in the middle of a write does: a record that says it has 64 octets
// and has nine.
func (h *host) tear() error {
	files, err := filepath.Glob(filepath.Join(h.stateDir(), "raft", "*", "wal", "*.wal"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s has no write-ahead log to tear: %w", h.name, err)
	}
	slices.Sort(files)
	path := files[len(files)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	end = (end + 7) / 8 * 8 // records are padded; the rest is allocated ahead
	copy(b[min(end, len(b)):], []byte{64, 0, 0, 0, 0, 0, 0, 0, 8, 2, 16, 0, 0, 0, 0, 0, 0})
	return os.WriteFile(path, b, 0o600)
}

// fills reports whether a scenario fills a disk.
func fills(sc *sim.Scenario) bool {
	return slices.ContainsFunc(sc.Directives, func(d sim.Directive) bool {
		verb, args, _ := sim.Words(d.Text)
		return verb == "disk" && len(args) > 1 && args[1].Key == "full"
	})
}
