package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Outcome of a run.
type Outcome string

// Outcomes.
const (
	Pass Outcome = "pass"
	Fail Outcome = "fail"
	Skip Outcome = "skip" // the backend cannot do what the scenario needs; Reason says what
)

// Result is what one run of one scenario came to; its JSON is what -o json prints.
type Result struct {
	Scenario  string           `json:"scenario"`
	Backend   string           `json:"backend"`
	Seed      uint64           `json:"seed"`
	Result    Outcome          `json:"result"`
	Reason    string           `json:"reason"`
	Trace     string           `json:"trace"` // sixteen hexadecimal digits; empty on real kernels
	Simulated float64          `json:"simulated_s"`
	Wall      float64          `json:"wall_s"`
	OutageMS  map[string]int64 `json:"outage_ms"` // longest time without an answer, by client
}

// Outages converts durations to what Result holds.
func Outages(by map[string]time.Duration) map[string]int64 {
	ms := make(map[string]int64, len(by))
	for name, d := range by {
		ms[name] = d.Milliseconds()
	}
	return ms
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the results as CI servers read them.
func JUnit(w io.Writer, results []Result) error {
	suite := junitSuite{Name: "clusterctl sim", Tests: len(results)}
	var wall float64
	for _, r := range results {
		c := junitCase{Name: r.Scenario, Class: "sim." + r.Backend, Time: fmt.Sprintf("%.3f", r.Wall)}
		first, _, _ := strings.Cut(r.Reason, "\n")
		switch r.Result {
		case Fail:
			suite.Failures++
			c.Failure = &junitMessage{Message: first, Text: r.Reason}
		case Skip:
			suite.Skipped++
			c.Skipped = &junitMessage{Message: first}
		}
		wall += r.Wall
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = fmt.Sprintf("%.3f", wall)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
