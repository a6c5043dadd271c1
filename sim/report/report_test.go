package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"quorate/sim"
)

// played runs a small scenario in which everything a picture shows happens.
func played(t *testing.T) sim.Timeline {
	t.Helper()
	const text = `# Shows <everything> a picture has.
world nodes=(d1,d2) client=c1 seed=1
----

conf d1 d2
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    @d1 priority 150
    virtual_ipaddress { 10.0.0.100 }
}
----

load c1 10.0.0.100
----

run 6s
----

cut d1>d2
----

run 6s
----

heal
----

run 2s
----

crash d1
----

run 6s
----

expect owner=d2
----

check
----
`
	sc, err := sim.ParseScenario("x", text)
	if err != nil {
		t.Fatal(err)
	}
	s := &sim.Session{Record: io.Discard}
	s.RecordFrames()
	if _, err := sc.Play(s, nil); err != nil {
		t.Fatal(err)
	}
	tl := s.Timeline()
	tl.Scenario, tl.Comment = "x", sc.Comment
	return tl
}

// The time line says what happened: states that end with the power, both owners at once, an outage.
func TestTimeline(t *testing.T) {
	tl := played(t)
	d1 := tl.Hosts[0]
	last := d1.Instances[0].Spans[len(d1.Instances[0].Spans)-1]
	if last.What != "MASTER" || last.To != 14*time.Second {
		t.Errorf("d1's last state: %+v", last)
	}
	if len(d1.Condition) != 1 || d1.Condition[0] != (sim.Span{From: 14 * time.Second, To: 20 * time.Second, What: "crashed"}) {
		t.Errorf("d1's condition: %+v", d1.Condition)
	}
	v := tl.VIPs[0]
	if len(v.Shared) != 1 || v.Shared[0].To-v.Shared[0].From < 2*time.Second || len(v.None) < 2 {
		t.Errorf("VIP: %+v", v)
	}
	if c := tl.Clients[0]; c.Longest < 3*time.Second || len(c.Outages) == 0 {
		t.Errorf("client: %+v", c)
	}
	if len(tl.Frames) == 0 || tl.Frames[0].Frame == 0 || len(tl.Expects) != 2 || !tl.Expects[0].OK {
		t.Errorf("%d frames, claims %+v", len(tl.Frames), tl.Expects)
	}
}

// Both pictures are well-formed, hold every part, and nothing of a scenario's text gets out of its place.
func TestPictures(t *testing.T) {
	tl := played(t)
	tl.Faults = append(tl.Faults, sim.Fault{At: time.Second, Text: "</script><b>"})
	var svg, page bytes.Buffer
	if err := SVG(&svg, tl); err != nil {
		t.Fatal(err)
	}
	if err := HTML(&page, tl); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(bytes.NewReader(svg.Bytes()))
	for {
		if _, err := dec.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"d1 and d2", "crashed", "MASTER", "nobody", "10.0.0.100", "cut d1&gt;d2", "✓"} {
		if !strings.Contains(svg.String(), want) || !strings.Contains(page.String(), want) {
			t.Errorf("no %q in a picture", want)
		}
	}
	if strings.Count(page.String(), "</script>") != 1 || strings.Contains(page.String(), "<everything>") {
		t.Error("text of the scenario became part of the page")
	}
	for _, outside := range []string{"http://", "https://", "src="} {
		if strings.Contains(strings.ReplaceAll(page.String(), "http://www.w3.org", ""), outside) {
			t.Errorf("the page needs something from outside: %s", outside)
		}
	}
	// A run without anything must not divide by its length.
	if err := SVG(io.Discard, sim.Timeline{}); err != nil {
		t.Error(err)
	}
}

func TestResult(t *testing.T) {
	b, err := json.Marshal(Result{Scenario: "s", Backend: "sim", Seed: 1, Result: Pass, Trace: "00", Simulated: 1.5, Wall: .25,
		OutageMS: Outages(map[string]time.Duration{"c1": 3640 * time.Millisecond})})
	const want = `{"scenario":"s","backend":"sim","seed":1,"result":"pass","reason":"","trace":"00","simulated_s":1.5,"wall_s":0.25,"outage_ms":{"c1":3640}}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	var out bytes.Buffer
	err = JUnit(&out, []Result{{Scenario: "a", Backend: "sim", Result: Pass}, {Scenario: "b", Backend: "netns", Result: Fail, Reason: "x < 1\nmore"}, {Scenario: "c", Backend: "uml", Result: Skip, Reason: "no kernel"}})
	for _, want := range []string{`tests="3" failures="1" skipped="1"`, `<failure message="x &lt; 1">x &lt; 1&#xA;more</failure>`, `classname="sim.netns"`, `<skipped message="no kernel">`} {
		if err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s, %v", want, out.String(), err)
		}
	}
}
