package report

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/netns-tests/scenarios"
	"quorate/sim"
)

// builtIn plays a built-in scenario.
func builtIn(t *testing.T, name string) (sim.Timeline, string) {
	t.Helper()
	text, err := scenarios.FS.ReadFile(name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	sc, err := sim.ParseScenario(name, string(text))
	if err != nil {
		t.Fatal(err)
	}
	s := &sim.Session{Record: io.Discard}
	if _, err := sc.Play(s, nil); err != nil {
		t.Fatal(err)
	}
	tl := s.Timeline()
	var page bytes.Buffer
	if err := HTML(&page, tl); err != nil {
		t.Fatal(err)
	}
	return tl, page.String()
}

// words are what a list of spans says, in order.
func words(spans []sim.Span) (list []string) {
	for _, s := range spans {
		list = append(list, s.What)
	}
	return list
}

// A real server's lane has what it did, and what each director's table said of it: until its check has failed it stays there,
// and a director without power has no table.
func TestServerLanes(t *testing.T) {
	tl, page := builtIn(t, "real-server-fails")
	if len(tl.Servers) != 2 {
		t.Fatalf("%d lanes", len(tl.Servers))
	}
	rs1 := tl.Servers[0]
	if got := words(rs1.Condition); !slices.Equal(got, []string{"refuses", "crashed"}) {
		t.Errorf("rs1 did %q", got)
	}
	if len(rs1.Tables) != 2 || rs1.Tables[0].Name != "d1" || rs1.Tables[1].Name != "d2" {
		t.Fatalf("tables %+v", rs1.Tables)
	}
	if got := words(rs1.Tables[0].Spans); !slices.Equal(got, []string{"weight 3", sim.Out, "weight 3"}) {
		t.Errorf("d1's table said %q", got)
	}
	if got := words(rs1.Tables[1].Spans); !slices.Equal(got, []string{"weight 3", sim.Out, "weight 3", sim.Out, "weight 3"}) {
		t.Errorf("d2's table said %q", got)
	}
	d1 := rs1.Tables[0].Spans
	if late := d1[1].From - rs1.Condition[0].From; late < time.Second || late > 3*time.Second {
		t.Errorf("taken out %v after it failed", late)
	}
	if d1[1].To != 18*time.Second || d1[2].From < 40*time.Second {
		t.Errorf("d1's power was away from 18s to 40s: %+v", d1)
	}
	for _, want := range []string{"REAL SERVERS", "refuses", "weight 3", "10.0.0.221"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the picture", want)
		}
	}
}

// The store's lanes have the leader of each term, the time without one, and the generations as each director came to run them.
func TestStoreLanes(t *testing.T) {
	tl, page := builtIn(t, "push-leader-dies")
	s := tl.Store
	if s == nil || len(s.Leaders) != 2 || len(s.None) == 0 || len(s.Members) != 3 {
		t.Fatalf("%+v", s)
	}
	first, second := s.Leaders[0], s.Leaders[1]
	if first.What != "d1" || first.Why == second.Why || second.From <= first.To || second.To != tl.End {
		t.Errorf("leaders %+v", s.Leaders)
	}
	gap := s.None[len(s.None)-1]
	if gap.From != first.To || gap.To != second.From {
		t.Errorf("nobody led %+v", s.None)
	}
	for _, m := range s.Members {
		if got := words(m.Instances[0].Spans); got[0] != "generation 1" || got[len(got)-1] != "generation 2" {
			t.Errorf("%s ran %q", m.Name, got)
		}
	}
	full, _ := builtIn(t, "store-disk-full")
	if c := full.Store.Members[0].Condition; len(c) != 1 || !strings.Contains(c[0].What, "disk full") || c[0].To >= full.End {
		t.Errorf("d1's store: %+v", c)
	}
	for _, want := range []string{"STORE", first.Why, "generation 2"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the picture", want)
		}
	}
	if none, _ := builtIn(t, "graceful-stop"); none.Store != nil {
		t.Error("a store in a world without one")
	}
}
