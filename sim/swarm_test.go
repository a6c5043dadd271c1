package sim

import (
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"quorate/node"
)

var (
	firstSeed = flag.Uint64("seed", 1, "first seed of the random scenarios")
	seeds     = flag.Int("seeds", 100, "number of random scenarios")
)

// attempt plays a scenario and returns its error, if any, and what it printed.
func attempt(text string, machine func() Machine) (printed string, err error) {
	sc, err := ParseScenario("random", text)
	if err != nil {
		return "", err
	}
	s, _ := newSession()
	s.NewMachine = machine
	var b strings.Builder
	_, err = sc.Play(s, func(d Directive, out string) { fmt.Fprintf(&b, "> %s\n%s", d.Text, out) })
	b.WriteString(s.fresh())
	return b.String(), err
}

// TestRandomScenarios searches: go test ./sim -run Random -seeds 100000. A failing seed is shrunk
// and printed as a scenario; fixed, it belongs into corpus.
func TestRandomScenarios(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		text := Random(seed)
		_, err := attempt(text, nil)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrExpect) {
			t.Fatalf("seed %d is no valid scenario: %v\n%s", seed, err, text)
		}
		short := Shrink(text, func(text string) error { _, err := attempt(text, nil); return err })
		printed, err := attempt(short, nil)
		t.Fatalf("seed %d: %v\n\n%s\n--- it prints\n%s", seed, err, short, printed)
	}
}

// mutant is a machine with one thing wrong.
type mutant struct {
	Machine
	drop func(node.Action) bool
}

func (m *mutant) Ready() []node.Action {
	var out []node.Action
	for _, a := range m.Machine.Ready() {
		if m.drop == nil || !m.drop(a) {
			out = append(out, a)
		}
	}
	return out
}

// The search must bite: each of these mistakes has to be found within a few seeds.
func TestRandomScenariosFindMistakes(t *testing.T) {
	tests := []struct {
		name string
		m    mutant
	}{
		{"addresses are never removed", mutant{drop: func(a node.Action) bool { _, is := a.(node.RemoveAddress); return is }}},
		{"addresses are never added", mutant{drop: func(a node.Action) bool { _, is := a.(node.AddAddress); return is }}},
		{"adverts are never sent", mutant{drop: func(a node.Action) bool { _, is := a.(node.SendAdvert); return is }}},
		{"no announcements", mutant{drop: func(a node.Action) bool { _, is := a.(node.SendARP); return is }}},
		{"the socket is never opened", mutant{drop: func(a node.Action) bool { _, is := a.(node.Listen); return is }}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 60; seed++ {
				_, err := attempt(Random(seed), func() Machine { return &mutant{Machine: node.NewElector(), drop: tt.m.drop} })
				if errors.Is(err, ErrExpect) {
					t.Logf("found by seed %d: %v", seed, err)
					return
				}
			}
			t.Error("60 random scenarios found nothing wrong")
		})
	}
}

// Shrink keeps what is needed and nothing else.
func TestShrink(t *testing.T) {
	text := "world nodes=(d1,d2) client=c1\n----\n\nconf d1 d2\n" + oneVIP + "\n----\n\nrun 5s\n----\n\n" +
		"cut d2>c1\n----\n\nrun 1s\n----\n\nheal\n----\n\nkill d1\n----\n\nrun 10s\n----\n\nshow owners\n----\n\ncheck\n----\n"
	fails := func(text string) error { _, err := attempt(text, nil); return err }
	if !errors.Is(fails(text), ErrExpect) {
		t.Fatal("a killed owner does not break S1")
	}
	short := Shrink(text, fails)
	if !errors.Is(fails(short), ErrExpect) {
		t.Errorf("the shrunk scenario does not fail:\n%s", short)
	}
	if n := strings.Count(short, "----"); n > 6 || strings.Contains(short, "cut") || strings.Contains(short, "show") {
		t.Errorf("%d directives left:\n%s", n, short)
	}
}

// A claim keeps the time it waits for: without that it fails whatever happened before.
func TestShrinkKeepsTheWait(t *testing.T) {
	text := "world nodes=(d1,d2)\n----\n\nconf d1 d2\n" + oneVIP + "\n----\n\nrun 5s\n----\n\n" +
		"cut d1>d2\n----\n\nrun 1s\n----\n\nheal\n----\n\ncrash d1\n----\n\ncrash d2\n----\n\nrun 1s\n----\n\nshow owners\n----\n\nrun 9s\n----\n\nexpect owner=d2\n----\n"
	short := Shrink(text, func(text string) error { _, err := attempt(text, nil); return err })
	for word, want := range map[string]bool{"crash d2": true, "run 1s\n----\n\nrun 9s": true, "cut": false, "show": false, "heal": false} {
		if strings.Contains(short, word) != want {
			t.Errorf("%q: %v\n%s", word, !want, short)
		}
	}
}

// Equal seeds give equal runs, to the last octet on a wire, also on a machine that is busy: with the store, its disks and real servers.
func TestSeedsAreTheSameUnderLoad(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	for _, features := range [][]string{{"push", "\ndisk ", " crash=lost", "\nput "}, {"virtual_server", "push"}, {"virtual_server", "\ndisk "}, {"\nput ", "shuffle"}} {
		seed := uint64(1)
		for slices.ContainsFunc(features, func(f string) bool { return !strings.Contains(Random(seed), f) }) {
			seed++
		}
		var traces [6]string
		play := func(i int) {
			sc, err := ParseScenario("random", Random(seed))
			if err == nil {
				s, _ := newSession()
				_, err = sc.Play(s, nil)
				hash, tasks, frames := s.World().Trace()
				traces[i] = fmt.Sprintf("%016x after %d tasks, %d frames", hash, tasks, frames)
			}
			if err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
		play(0) // alone, then all at once
		var wg sync.WaitGroup
		for i := 1; i < len(traces); i++ {
			wg.Go(func() { play(i) })
		}
		wg.Wait()
		for _, trace := range traces {
			if trace != traces[0] {
				t.Errorf("seed %d with %q: one run is %s, another one %s", seed, features, traces[0], trace)
			}
		}
	}
}
