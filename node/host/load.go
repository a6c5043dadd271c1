package host

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"quorate/config"
)

// LoadFile returns a Load for standalone mode: it reads the file, and what that includes, each time it is called.
// Warnings go to the log, once per reading; errors make the reading fail with all of them. A file that had something in it
// and is empty now is being written by somebody, and no wish to give up every address: that is an error as well.
func LoadFile(path, nodeName string, log *slog.Logger) func() (*config.Config, int64, error) {
	full := false
	return func() (*config.Config, int64, error) {
		files := watchedFiles{full: new(bool)}
		cfg, found := config.Parse(path, files, config.Options{ConfigID: nodeName})
		if found.HasErrors() {
			bad := slices.DeleteFunc(found, func(d config.Diagnostic) bool { return d.Severity != config.Error })
			return nil, 0, fmt.Errorf("%s is refused:\n%s", path, strings.TrimSpace(bad.Text(OSFiles{})))
		}
		if full && !*files.full {
			return nil, 0, fmt.Errorf("%s is refused: it is empty now, as a file is while it is written: reload again when it is complete; to give everything up stop the daemon", path)
		}
		full = full || *files.full
		for _, d := range found {
			log.Warn(d.Message, "file", d.File, "line", d.Line, "keyword", d.Keyword, "hint", d.Hint)
		}
		return cfg, 0, nil
	}
}

// watchedFiles notes whether there was anything in what was read, at the moment it was read.
type watchedFiles struct {
	OSFiles
	full *bool
}

func (f watchedFiles) ReadFile(path string) ([]byte, error) {
	text, err := f.OSFiles.ReadFile(path)
	*f.full = *f.full || len(bytes.TrimSpace(text)) > 0
	return text, err
}

// LoadActive returns a Load for a member of a cluster: the generation this director ran last. With an ErrNone there is
// none yet; with an error beside a configuration the active one cannot be read, or no longer parses (an older
// clusterd was installed), and the newest that does is returned: an old configuration serves, none does not.
func LoadActive(gens *Generations, nodeName string) func() (*config.Config, int64, error) {
	parse := parseAs(nodeName)
	return func() (*config.Config, int64, error) {
		g, active := gens.Active()
		if g.Number == 0 {
			return nil, 0, active
		}
		cfg, err := parse(g)
		if err == nil {
			return cfg, g.Number, active
		}
		numbers, _ := gens.List()
		for _, n := range slices.Backward(numbers) {
			if older, lerr := gens.Load(n); n < g.Number && lerr == nil {
				if cfg, perr := parse(older); perr == nil {
					return cfg, n, fmt.Errorf("generation %d runs in its place: %w", n, err)
				}
			}
		}
		return nil, g.Number, err
	}
}
