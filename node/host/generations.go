package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/cluster"
)

// keepGenerations is how many generations stay on this director's disk. The store keeps all of them.
const keepGenerations = 20

// Errors of Generations. Test with errors.Is.
var (
	// ErrNone means that this director has never been given a configuration.
	ErrNone = errors.New("no generation on this director yet")
	// ErrDamaged means that a file is there but is not what was written.
	ErrDamaged = errors.New("damaged")
)

// FallbackError comes together with a usable generation: the active one could not be
// read, the newest intact one was taken instead.
type FallbackError struct {
	Active int64 // 0 when even the number is unreadable
	Used   int64
	Err    error // what is wrong with the active one
}

func (e *FallbackError) Error() string {
	return fmt.Sprintf("active generation %d is unreadable (%v); using generation %d", e.Active, e.Err, e.Used)
}

// Unwrap returns what is wrong with the active generation.
func (e *FallbackError) Unwrap() error { return e.Err }

// Generations is the directory of configurations this director was given, so that it
// boots without quorum. Files: gen-N.json, and active with the number of the one to run.
// Every file is written under another name, synced and renamed: a crash at any moment
// leaves the old or the new file, never half of one.
type Generations struct{ Dir string }

// onDisk is the file: the generation as JSON text and the sum of exactly that text, which
// covers what Hash does not (author, time, message).
type onDisk struct {
	Sum        string          `json:"sum"`
	Generation json.RawMessage `json:"generation"`
}

// Save writes a generation and returns once it is on the disk.
func (s *Generations) Save(g cluster.Generation) error {
	if err := g.Check(); err != nil {
		return fmt.Errorf("not saved: %w", err)
	}
	text, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("generation %d: %w", g.Number, err)
	}
	sum := sha256.Sum256(text)
	b, err := json.Marshal(onDisk{Sum: hex.EncodeToString(sum[:]), Generation: text})
	if err != nil {
		return fmt.Errorf("generation %d: %w", g.Number, err)
	}
	if err := s.write(s.name(g.Number), append(b, '\n')); err != nil {
		return fmt.Errorf("save generation %d: %w", g.Number, err)
	}
	s.prune(g.Number)
	return nil
}

// Load reads one generation and verifies it. A missing one is os.ErrNotExist, a torn or altered one ErrDamaged.
func (s *Generations) Load(n int64) (cluster.Generation, error) {
	path := s.name(n)
	b, err := os.ReadFile(path)
	if err != nil {
		return cluster.Generation{}, fmt.Errorf("generation %d: %w", n, err)
	}
	return decodeGeneration(path, n, b)
}

func decodeGeneration(path string, n int64, b []byte) (cluster.Generation, error) {
	var d onDisk
	if err := json.Unmarshal(b, &d); err != nil {
		return cluster.Generation{}, fmt.Errorf("%s: %w: %d bytes are not a whole file: %w", path, ErrDamaged, len(b), err)
	}
	if sum := sha256.Sum256(d.Generation); hex.EncodeToString(sum[:]) != d.Sum {
		return cluster.Generation{}, fmt.Errorf("%s: %w: its check sum does not match", path, ErrDamaged)
	}
	var g cluster.Generation
	if err := json.Unmarshal(d.Generation, &g); err != nil {
		return cluster.Generation{}, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	if g.Number != n {
		return cluster.Generation{}, fmt.Errorf("%s: %w: it holds generation %d", path, ErrDamaged, g.Number)
	}
	if err := g.Check(); err != nil {
		return cluster.Generation{}, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return g, nil
}

// SetActive makes an intact, saved generation the one Active returns.
func (s *Generations) SetActive(n int64) error {
	if _, err := s.Load(n); err != nil {
		return fmt.Errorf("activate: %w", err)
	}
	if err := s.write(filepath.Join(s.Dir, "active"), fmt.Appendf(nil, "%d\n", n)); err != nil {
		return fmt.Errorf("activate generation %d: %w", n, err)
	}
	return nil
}

// ActiveNumber is the number in the file active, ErrNone when there is no such file.
func (s *Generations) ActiveNumber() (int64, error) {
	path := filepath.Join(s.Dir, "active")
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, ErrNone
	}
	if err != nil {
		return 0, err
	}
	text, whole := bytes.CutSuffix(b, []byte("\n")) // without it the number may be cut short
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 1 || !whole {
		return 0, fmt.Errorf("%s: %w: %.40q is no generation number", path, ErrDamaged, b)
	}
	return n, nil
}

// Active returns the generation to run. With a *FallbackError the returned generation is usable
// all the same. ErrNone means that there is nothing to run.
func (s *Generations) Active() (cluster.Generation, error) {
	n, err := s.ActiveNumber()
	if errors.Is(err, ErrNone) {
		return cluster.Generation{}, ErrNone // staged generations are not for running
	}
	if err == nil {
		var g cluster.Generation
		if g, err = s.Load(n); err == nil {
			return g, nil
		}
	}
	numbers, lerr := s.List()
	if lerr != nil {
		return cluster.Generation{}, errors.Join(err, lerr)
	}
	slices.Reverse(numbers)
	// The newest below the active one was active before it; newer ones may only have been staged.
	for _, older := range []bool{true, false} {
		for _, m := range numbers {
			if older != (n == 0 || m < n) {
				continue
			}
			if g, lerr := s.Load(m); lerr == nil {
				return g, &FallbackError{Active: n, Used: m, Err: err}
			}
		}
	}
	return cluster.Generation{}, fmt.Errorf("no intact generation in %s: %w", s.Dir, err)
}

// List returns the numbers that are on the disk, ascending, intact or not.
func (s *Generations) List() ([]int64, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []int64
	for _, e := range entries {
		num, ok := strings.CutPrefix(e.Name(), "gen-")
		num, ok2 := strings.CutSuffix(num, ".json")
		if n, err := strconv.ParseInt(num, 10, 64); ok && ok2 && err == nil && n > 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// prune removes all but the last generations, never the active one or the one just saved. Failing to
// remove costs only space, and is tried again with the next Save.
func (s *Generations) prune(saved int64) {
	// What crashed writers left behind; a young one may belong to a living writer.
	if left, err := filepath.Glob(filepath.Join(s.Dir, ".tmp-*")); err == nil {
		for _, p := range left {
			if st, err := os.Stat(p); err == nil && time.Since(st.ModTime()) > time.Hour {
				_ = os.Remove(p)
			}
		}
	}
	numbers, err := s.List()
	if err != nil || len(numbers) <= keepGenerations {
		return
	}
	active, err := s.ActiveNumber()
	if err != nil && !errors.Is(err, ErrNone) {
		return // which one to spare is unknown
	}
	for _, n := range numbers[:len(numbers)-keepGenerations] {
		if n != active && n != saved {
			_ = os.Remove(s.name(n))
		}
	}
}

func (s *Generations) name(n int64) string {
	return filepath.Join(s.Dir, fmt.Sprintf("gen-%d.json", n))
}

// write replaces a file whole and durably. The files hold passwords: mode 0600.
func (s *Generations) write(path string, b []byte) (err error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.Dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(s.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
