package host

import (
	"os"
	"path/filepath"
	"testing"

	"quorate/node"
)

// Somebody who cleans up the run directory keeps no worker from starting, and the list of addresses from being noted no longer than
// until it changes.
func TestMemoryDirectoryRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "quorate")
	for range 2 {
		m, err := openMemory(dir)
		must(t, err)
		must(t, os.RemoveAll(dir))
		must(t, m.save([]node.Held{{Instance: "VI_1", VRID: 51}}))
		m.close()
		next, err := openMemory(dir)
		must(t, err)
		got, err := next.recover()
		must(t, err)
		if len(got.Held) != 1 || got.Held[0].Instance != "VI_1" {
			t.Errorf("%+v", got)
		}
		next.close()
	}
}
