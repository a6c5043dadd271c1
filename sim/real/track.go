package real

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"

	"quorate/sim"
)

// fileLine finds the path in a track_file block.
var fileLine = regexp.MustCompile(`(?s)(track_file\s+(\S+)\s*\{[^}]*?\bfile\s+)("[^"]*"|\S+)`)

// ownFiles puts a file of this run in the place of every track_file: what a scenario says must not depend on this host.
func (h *host) ownFiles(text string) (string, error) {
	var errs []error
	text = fileLine.ReplaceAllStringFunc(text, func(m string) string {
		parts := fileLine.FindStringSubmatch(m)
		path := filepath.Join(h.s.p.Dir, h.name+"-"+parts[2]+".number")
		if _, known := h.files[parts[2]]; !known {
			h.files[parts[2]] = path
			errs = append(errs, h.Write(path, []byte("0\n"), 0o644))
		}
		return parts[1] + `"` + path + `"`
	})
	return text, errors.Join(errs...)
}

func (s *stage) track(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	if args[2].Key == "count" {
		return skip{"track count=: processes are not started on real kernels"}
	}
	file, ok := h.files[args[1].Key]
	if !ok {
		return fmt.Errorf("%s has no track_file %s", h.name, args[1].Key)
	}
	return h.Write(file, []byte(args[2].Value+"\n"), 0o644)
}
