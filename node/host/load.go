package host

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"quorate/config"
)

// Kept is where a standalone worker notes what it runs, so that the next one does not depend on what has become of the file: somebody may be
// in the middle of a change, or has written what is refused, when a worker dies.
type Kept struct {
	Path  string // empty: nothing is noted or looked for
	First Inheritance
}

// Inheritance says where the first reading of a worker looks.
type Inheritance string

const (
	InheritNothing Inheritance = ""       // at the file: it is the first worker of a daemon
	InheritAll     Inheritance = "all"    // at what was noted, as a worker died or an upgrade replaces it; at the file if that is not possible
	InheritReload  Inheritance = "reload" // at the file, as a reload came while there was no worker; at what was noted if the file is refused
)

// LoadFile returns a Load for standalone mode: it reads the file, and what that includes, each time it is called, but for the first
// reading of a worker that inherits. Warnings go to the log, once per reading; errors make the reading fail with all of them. A file
// that had something in it and is empty now is being written by somebody, and no wish to give up every address: that is an error as well.
func LoadFile(path, nodeName string, kept Kept, log *slog.Logger) func() (*config.Config, int64, error) {
	full := false
	parse := func(src config.Source) (*config.Config, config.Diagnostics, error) {
		cfg, found := config.Parse(path, src, config.Options{ConfigID: nodeName})
		if found.HasErrors() {
			bad := slices.DeleteFunc(found, func(d config.Diagnostic) bool { return d.Severity != config.Error })
			return nil, nil, fmt.Errorf("%s is refused:\n%s", path, strings.TrimSpace(bad.Text(src)))
		}
		return cfg, found, nil
	}
	return func() (*config.Config, int64, error) {
		before, first := config.Files(nil), kept.First
		if kept.First = InheritNothing; first != InheritNothing {
			before = kept.read()
			full = some(before)
		}
		goOn := func() *config.Config {
			if before == nil {
				return nil
			}
			cfg, _, err := parse(remembered{before})
			if err != nil {
				log.Warn("what ran before is not accepted any more; reading the file", "error", err)
			}
			return cfg
		}
		if first == InheritAll {
			if cfg := goOn(); cfg != nil {
				log.Info("what ran before goes on; a reload reads the file")
				return cfg, 0, nil
			}
			before = nil
		}
		files := config.Files{}
		cfg, found, err := parse(recorder{OSFiles{}, files})
		if err == nil && full && !some(files) {
			err = fmt.Errorf("%s is refused: it is empty now, as a file is while it is written: reload again when it is complete; to give everything up stop the daemon", path)
		}
		if err != nil {
			cfg := goOn()
			if cfg == nil {
				return nil, 0, err
			}
			log.Error("the file cannot be used; what ran before goes on", "error", err, "remedy", "repair it and reload")
			return cfg, 0, nil
		}
		full = full || some(files)
		for _, d := range found {
			log.Warn(d.Message, "file", d.File, "line", d.Line, "keyword", d.Keyword, "hint", d.Hint)
		}
		if err := kept.write(files); err != nil {
			log.Warn("what runs is not noted: if a worker dies, the next one reads the file", "error", err)
		}
		return cfg, 0, nil
	}
}

// recorder is this host's files and notes what was read, as it was at that moment.
type recorder struct {
	OSFiles
	files config.Files
}

func (r recorder) ReadFile(path string) ([]byte, error) {
	text, err := r.OSFiles.ReadFile(path)
	if err == nil {
		r.files[path] = string(text)
	}
	return text, err
}

// remembered is what was noted, with the environment of this process.
type remembered struct{ config.Files }

func (remembered) Env(name string) (string, bool) { return OSFiles{}.Env(name) }

var _ config.Environment = remembered{}

// some says whether there is anything in files.
func some(files config.Files) bool {
	for _, text := range files {
		if strings.TrimSpace(text) != "" {
			return true
		}
	}
	return false
}

func (k Kept) write(files config.Files) error {
	if k.Path == "" {
		return nil
	}
	octets := map[string][]byte{} // a comment or a password may be no UTF-8
	for name, text := range files {
		octets[name] = []byte(text)
	}
	err := replaceJSON(k.Path, octets)
	if err != nil {
		_ = os.Remove(k.Path) // older than what runs: the file is a better guess
	}
	return err
}

// read returns nil if there is nothing that could be read.
func (k Kept) read() config.Files {
	var octets map[string][]byte
	b, err := os.ReadFile(k.Path)
	if err != nil || json.Unmarshal(b, &octets) != nil {
		return nil
	}
	files := config.Files{}
	for name, text := range octets {
		files[name] = string(text)
	}
	return files
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
