package host

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"quorate/ipvs"
	"quorate/node"
)

// memory is what a vrrp worker leaves for the one that is started after it was killed: the addresses it
// held (vrrp-held.json), and when it was last alive (vrrp-alive, eight bytes). Both lie in the run directory, which
// a reboot empties; the boot id is for those whose run directory it does not.
type memory struct {
	dir    string
	alive  *os.File
	dirty  bool
	beaten time.Duration
	table  atomic.Pointer[string] // of the firewall, noted with the list
	left   string                 // that of the worker before this one
}

// beatEvery is how old the last sign of life may be at least: with thousands of adverts a second it would cost more than they do.
const beatEvery = 2 * time.Millisecond

type heldFile struct {
	Boot  string      `json:"boot"`
	Held  []node.Held `json:"held"`
	Table string      `json:"firewall,omitempty"` // nftables table
}

// untold is what a vrrp worker leaves of its notify scripts: whose have not ended.
type untold struct {
	Boot     string   `json:"boot"`
	Subjects []string `json:"subjects"`
}

func untoldPath(dir string) string { return filepath.Join(dir, "vrrp-untold.json") }

// recoverUntold reads that. What cannot be read is nothing: it was all told, then.
func recoverUntold(dir string) []string {
	var u untold
	b, err := os.ReadFile(untoldPath(dir))
	if err != nil || json.Unmarshal(b, &u) != nil || u.Boot != bootID() {
		return nil
	}
	return u.Subjects
}

func openMemory(dir string) (*memory, error) {
	_ = os.MkdirAll(dir, 0o755) // somebody may have cleaned up; without it no worker could start any more
	f, err := os.OpenFile(filepath.Join(dir, "vrrp-alive"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("memory of held addresses: %w", err)
	}
	return &memory{dir: dir, alive: f}, nil
}

// recollect opens the memory of a worker that does not live and reads it.
func recollect(dir string) (*memory, node.Recovered, error) {
	m, err := openMemory(dir)
	if err != nil {
		return nil, node.Recovered{}, err
	}
	found, err := m.recover()
	if err != nil {
		m.close()
	}
	return m, found, err
}

// recover reads what a predecessor left. Nothing, or something unreadable, is no reason not to
// start: without it the worker elects as after a boot.
func (m *memory) recover() (node.Recovered, error) {
	var none node.Recovered
	b, err := os.ReadFile(m.path())
	if errors.Is(err, os.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	var h heldFile
	if err := json.Unmarshal(b, &h); err != nil {
		return none, fmt.Errorf("%s: %w", m.path(), err)
	}
	if h.Boot != bootID() {
		return none, nil // addresses do not outlive their kernel
	}
	m.left = h.Table
	var at [8]byte
	if n, _ := m.alive.ReadAt(at[:], 0); n < len(at) {
		return node.Recovered{Held: h.Held}, nil // it died before its first sign of life
	}
	return node.Recovered{Alive: time.Duration(binary.LittleEndian.Uint64(at[:])), Held: h.Held}, nil
}

// beat notes that the worker lives; it costs one write to memory.
func (m *memory) beat(now time.Duration) {
	if now-m.beaten < beatEvery {
		return
	}
	m.beaten = now
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(now))
	_, _ = m.alive.WriteAt(at[:], 0) // an old sign of life only means an election
}

// save replaces the list.
func (m *memory) save(held []node.Held) error {
	f := heldFile{Boot: bootID(), Held: held}
	if name := m.table.Load(); name != nil {
		f.Table = *name
	}
	return replaceJSON(m.path(), f)
}

// replaceJSON writes a file anew. A rename is atomic; the file need not survive the kernel, so it is not synced.
func replaceJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	err = os.WriteFile(tmp, b, 0o600)
	if errors.Is(err, os.ErrNotExist) && os.MkdirAll(filepath.Dir(path), 0o755) == nil { // somebody has cleaned up
		err = os.WriteFile(tmp, b, 0o600)
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// servicesFile is what a checker worker leaves for the next one: the services it may have put into the kernel, and the
// checks that have failed.
type servicesFile struct {
	Boot     string         `json:"boot"`
	Services []ipvs.Key     `json:"services"`
	Down     []node.ProbeID `json:"down,omitempty"`
}

func servicesPath(dir string) string { return filepath.Join(dir, "checker-services.json") }

// recoverServices reads what a predecessor left, if it ran on this kernel.
func recoverServices(dir string) (node.RecoveredServices, error) {
	var f servicesFile
	b, err := os.ReadFile(servicesPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return node.RecoveredServices{}, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil || f.Boot != bootID() {
		return node.RecoveredServices{}, err
	}
	return node.RecoveredServices{Keys: f.Services, Down: f.Down}, nil
}

func (m *memory) path() string { return filepath.Join(m.dir, "vrrp-held.json") }

func (m *memory) close() { _ = m.alive.Close() }

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
