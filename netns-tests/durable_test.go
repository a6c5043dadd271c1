package netnstests

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// generation is a line of "clusterctl history -o json".
type generation struct {
	Number  int64
	ID      string
	Message string
	Hash    string
	Active  bool
}

func (w *world) history(host string) []generation {
	w.Helper()
	var out []generation
	text := w.ctl(host, "history", "-o", "json")
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		w.Fatalf("history -o json: %v: %q", err, text)
	}
	return out
}

// seed is QUORATE_TEST_SEED, or a new one, which the log names.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("QUORATE_TEST_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("QUORATE_TEST_SEED=%d", s)
	return s
}

// disturb kills members at random and starts them again, one at a time, until ctx ends; all run when it returns.
func (w *world) disturb(ctx context.Context, r *rand.Rand, members []string) (kills int) {
	wait := func(low, high int) {
		select {
		case <-time.After(time.Duration(low+r.IntN(high-low)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
	for {
		wait(500, 3000)
		if ctx.Err() != nil {
			return kills
		}
		victim := members[r.IntN(len(members))]
		w.kill(victim)
		kills++
		wait(50, 800)
		w.startClusterd(victim)
	}
}

// Every push that was acknowledged is there at the end, on every member, as the generation it was told, though members
// were killed all the time. One whose outcome stayed unknown is repeated with its id and is there once.
func TestPushesSurviveKills(t *testing.T) {
	const pushes = 200
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	r := rand.New(rand.NewPCG(seed(t), 1))
	w.form(directors...)
	text := string(readFile(t, w.example("lvs-dr.conf")))

	ctx, cancel := context.WithCancel(t.Context())
	var disturbing sync.WaitGroup
	kills := 0
	disturbing.Go(func() { kills = w.disturb(ctx, rand.New(rand.NewPCG(r.Uint64(), 2)), directors) })
	acknowledged := map[string]int64{} // message to generation
	attempts := 0
	began := time.Now()
	for i := range pushes {
		name := fmt.Sprintf("push %d", i)
		conf := w.write("push.conf", fmt.Sprintf("%s\n# %s\n", text, name))
		for try := 0; acknowledged[name] == 0; try++ {
			if try == 40 {
				cancel()
				disturbing.Wait()
				t.Fatalf("%s was not acknowledged in %d attempts", name, try)
			}
			attempts++
			res := w.tryCtl(directors[r.IntN(len(directors))], "push", conf, "-m", name, "--id", "id-"+strconv.Itoa(i), "-o", "json", "--timeout", "10s")
			if res.code != 0 {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			var done struct{ Generation int64 }
			if err := json.Unmarshal([]byte(res.out), &done); err != nil || done.Generation == 0 {
				t.Fatalf("push -o json: %v: %v", err, res)
			}
			acknowledged[name] = done.Generation
		}
	}
	cancel()
	disturbing.Wait()
	t.Logf("%d pushes in %v, %d attempts, %d kills", pushes, time.Since(began).Round(time.Second), attempts, kills)
	if kills < 3 {
		t.Errorf("only %d kills: this proves little", kills)
	}

	// Some member may have been killed a moment ago: it answers with what was acknowledged all the same.
	w.ready("d1", directors...)
	want := w.history("d1")
	for _, d := range directors[1:] {
		if got := w.history(d); !slices.Equal(got, want) {
			t.Errorf("history of %s differs from that of d1:\n%+v\n%+v", d, got, want)
		}
	}
	seen := map[string]int64{}
	for _, g := range want {
		if seen[g.Message] != 0 {
			t.Errorf("%s is there twice, as generation %d and %d", g.Message, seen[g.Message], g.Number)
		}
		seen[g.Message] = g.Number
	}
	for name, number := range acknowledged {
		if seen[name] != number {
			t.Errorf("%s was acknowledged as generation %d, history has it as %d (0: not at all)", name, number, seen[name])
		}
	}
	w.runs(want[0].Number, directors...)
	if !want[0].Active || want[0].Number != pushes {
		t.Errorf("newest of %d generations: %+v, want number %d, active", len(want), want[0], pushes)
	}
}
