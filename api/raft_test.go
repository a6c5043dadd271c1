package api

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/cluster"
	"quorate/node/host"
)

// failInit is raft on a host whose disk fills up at the worst moment.
type failInit struct{ Raft }

func (failInit) InitMember(string, cluster.Member) error {
	return errors.New("no space left on device")
}

// With the real store: a half-made member is replaced by the second attempt, a push survives the restart of all, and a log that
// the store cannot read leaves the director with what it ran.
func TestRealStore(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	res, err := Init(InitOptions{Name: "d1", Address: freeAddress(t), StateDir: filepath.Join(base, "d1"), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	d1 := startMember(t, nil, filepath.Join(base, "d1"), nil)
	o := JoinOptions{Token: res.Token, Name: "d2", Address: freeAddress(t), StateDir: filepath.Join(base, "d2"), Now: time.Now,
		Storage: failInit{}, Timeout: 20 * time.Second}
	eventually(t, "d1 admits d2", func() error {
		_, err := Join(t.Context(), o)
		if e := AsError(err); e == nil || !strings.Contains(e.Message, "was admitted, but") {
			return err
		}
		return nil
	})
	o.Storage = nil
	if _, err := Join(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	d2 := startMember(t, nil, o.StateDir, nil)
	eventually(t, "push", func() error {
		last, _, err := d2.push(t, request("a", "10.0.0.100"))
		if err == nil && last.Generation != 1 {
			t.Errorf("%+v", last)
		}
		return err
	})
	d1.stop()
	d2.stop()
	// Every log file of d2 is overwritten: nothing in it can be read any more.
	err = filepath.WalkDir(raftDir(d2.dir), func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = io.WriteString(f, strings.Repeat("garbage ", 4096))
		return errors.Join(err, f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	d1 = startMember(t, nil, d1.dir, nil)
	d2 = startDamaged(t, d2.dir)
	eventually(t, "d2 runs what it ran and says what is wrong", func() error {
		n, err := d2.Node(t.Context())
		if err != nil || n.StoreError == "" || n.Generation.Saved != 1 || !n.Workers[0].runs(1) {
			return fmt.Errorf("%+v %w", n, err)
		}
		return nil
	})
	s, err := d1.Status(t.Context())
	if err != nil || s.Verdict == Healthy || s.Generation != 1 {
		t.Errorf("%+v %v", s, err)
	}
	if g, err := (&host.Generations{Dir: generationsDir(d2.dir)}).Active(); err != nil || g.Number != 1 {
		t.Errorf("%+v %v", g, err)
	}
}

func startDamaged(t *testing.T, dir string) *member {
	t.Helper()
	return startMember(t, nil, dir, func(_ *Config, m *member) { m.damaged = true })
}
