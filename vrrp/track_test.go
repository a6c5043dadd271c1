package vrrp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestScriptTracker: the sequences of results (s success, f failure) and the verdict after each (g, b, ? none yet), as
// keepalived 2.2.7 counts them.
func TestScriptTracker(t *testing.T) {
	for _, tc := range []struct {
		cfg           TrackerConfig
		results, want string
	}{
		{TrackerConfig{}, "sffs", "?gbbg"},
		{TrackerConfig{Rise: 2, Fall: 3}, "sffsfffss", "?gggggg" + "bbg"},
		{TrackerConfig{Rise: 2, Fall: 3}, "fsfss", "?bbbbg"},               // the first one decides at once
		{TrackerConfig{Rise: 3, InitFail: true}, "ssfsss", "bbbbbb" + "g"}, // unless it starts failed
		{TrackerConfig{Fall: 2, InitFail: true}, "sff", "bggb"},
	} {
		tc.cfg.Kind, tc.cfg.Name = TrackScript, "chk"
		tr := NewTracker(tc.cfg)
		letter := func() string {
			return map[Health]string{HealthUnknown: "?", HealthGood: "g", HealthBad: "b"}[tr.Health()]
		}
		got := letter()
		for n, r := range tc.results {
			before := tr.Health()
			if changed := tr.Result(time.Duration(n), r == 's', ""); changed != (tr.Health() != before) {
				t.Errorf("%+v: result %d: changed %v", tc.cfg, n, changed)
			}
			got += letter()
		}
		if got != tc.want {
			t.Errorf("rise %d fall %d init_fail %v: %s gives %s, want %s", tc.cfg.Rise, tc.cfg.Fall, tc.cfg.InitFail, tc.results, got, tc.want)
		}
	}
}

func TestProcessTracker(t *testing.T) {
	tr := NewTracker(TrackerConfig{Kind: TrackProcess, Name: "nginx", MinCount: 2, MaxCount: 4, Limited: true, UpDelay: 3 * time.Second, DownDelay: time.Second})
	if !tr.Count(0, 2) || tr.Health() != HealthGood {
		t.Fatal("the first count decides at once")
	}
	for _, step := range []struct {
		at   time.Duration
		n    int // -1: only a tick
		want Health
		due  time.Duration
	}{
		{1 * time.Second, 1, HealthGood, 2 * time.Second},
		{1500 * time.Millisecond, 2, HealthGood, 0}, // back in time
		{2 * time.Second, 5, HealthGood, 3 * time.Second},
		{2500 * time.Millisecond, 0, HealthGood, 3 * time.Second}, // still bad: the delay goes on
		{3 * time.Second, -1, HealthBad, 0},
		{4 * time.Second, 3, HealthBad, 7 * time.Second},
		{7 * time.Second, 4, HealthGood, 0},
	} {
		if step.n < 0 {
			tr.Tick(step.at)
		} else {
			tr.Count(step.at, step.n)
		}
		due, on := tr.Deadline()
		if tr.Health() != step.want || on != (step.due != 0) || on && due != step.due {
			t.Errorf("at %v with %d: %v, due %v %v", step.at, step.n, tr.Health(), due, on)
		}
	}
	none := NewTracker(TrackerConfig{Kind: TrackProcess, MaxCount: 1, Limited: true}) // must not run twice, may not run at all
	if none.Count(0, 0); none.Health() != HealthGood {
		t.Error("0 of at most 1:", none.Health())
	}
	never := NewTracker(TrackerConfig{Kind: TrackProcess, Limited: true}) // quorum_max 0: must not run
	if never.Count(0, 0); never.Health() != HealthGood {
		t.Error("0 of at most 0:", never.Health())
	}
	if never.Count(1, 1); never.Health() != HealthBad {
		t.Error("1 of at most 0:", never.Health())
	}
	one := NewTracker(TrackerConfig{Kind: TrackProcess, MinCount: 1})
	if one.Count(0, 0); one.Health() != HealthBad {
		t.Error("0 of at least 1:", one.Health())
	}
}

// TestEvaluate: weights, votes, reverse, files and the limits (keepalived 2.2.7).
func TestEvaluate(t *testing.T) {
	script := func(name string, h Health) *Tracker {
		tr := NewTracker(TrackerConfig{Kind: TrackScript, Name: name})
		if h != HealthUnknown {
			tr.Result(0, h == HealthGood, "exit")
		}
		return tr
	}
	file := func(n int) *Tracker {
		tr := NewTracker(TrackerConfig{Kind: TrackFile, Name: "load"})
		tr.Number(n)
		return tr
	}
	eth := NewTracker(TrackerConfig{Kind: TrackInterface, Name: "eth1"})
	eth.Result(0, false, "is down")
	good, bad, none := script("g", HealthGood), script("b", HealthBad), script("n", HealthUnknown)
	for _, tc := range []struct {
		base  uint8
		lines []Tracked
		want  string
	}{
		{100, nil, "100"},
		{100, []Tracked{{good, 20, false}, {bad, 20, false}}, "120 [g good +20]"},
		{100, []Tracked{{good, -20, false}, {bad, -20, false}}, "80 [b bad -20]"},
		{100, []Tracked{{good, 20, true}, {bad, -20, true}}, "100 [g good -20, b bad +20]"},
		{100, []Tracked{{none, 20, false}, {none, -20, false}}, "100"},
		{100, []Tracked{{good, 0, false}, {bad, 0, false}}, "100 track-failed(b: exit)"},
		{100, []Tracked{{good, 0, true}, {bad, 0, true}}, "100 track-failed(g: exit)"},
		{100, []Tracked{{none, 0, false}}, "100 waiting"},
		{100, []Tracked{{eth, 0, false}, {bad, 0, false}}, "100 interface-down(eth1 is down) track-failed(b: exit)"},
		{200, []Tracked{{good, 253, false}}, "254 [g good +253]"},
		{10, []Tracked{{bad, -253, false}}, "1 [b bad -253]"},
		{255, []Tracked{{good, 20, false}, {bad, -20, false}}, "255"},
		{255, []Tracked{{bad, 0, false}}, "255 track-failed(b: exit)"},
		{100, []Tracked{{file(0), 0, false}, {file(0), 1, false}}, "100"},
		{100, []Tracked{{file(7), 0, false}}, "100 track-failed(load: 7)"},
		{100, []Tracked{{file(0), 0, true}}, "100 track-failed(load: 0)"},
		{100, []Tracked{{file(-7), 2, false}}, "86 [load -7 -14]"},
		{100, []Tracked{{file(-7), 2, true}}, "114 [load -7 +14]"},
		{100, []Tracked{{file(1 << 40), 2, false}}, fmt.Sprintf("254 [load %d +253]", 1<<40)},
		{100, []Tracked{{file(-253), 1, false}}, "1 [load -253 -253]"},
		{100, []Tracked{{file(-254), 1, false}}, "1 [load -254 -254] track-failed(load: -254)"},
	} {
		e := Evaluate(tc.base, tc.lines)
		got := []string{fmt.Sprint(e.Priority)}
		if e.Detail != "" {
			got = append(got, "["+e.Detail+"]")
		}
		for _, f := range e.Faults {
			got = append(got, fmt.Sprintf("%v(%s)", f.Reason, f.Detail))
		}
		if e.Waiting {
			got = append(got, "waiting")
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%d: %s, want %s", tc.base, s, tc.want)
		}
	}
}

func TestTrackingInGroup(t *testing.T) {
	eth := NewTracker(TrackerConfig{Kind: TrackInterface, Name: "eth1"})
	chk := NewTracker(TrackerConfig{Kind: TrackScript, Name: "chk"})
	kept, said := InGroup([]Tracked{{eth, -20, false}, {chk, 20, false}, {chk, 0, false}, {eth, 0, false}})
	if len(kept) != 3 || kept[0].Weight != 0 || kept[1].Tracker != chk || kept[1].Weight != 0 || len(said) != 2 {
		t.Errorf("%+v %q", kept, said)
	}
}
