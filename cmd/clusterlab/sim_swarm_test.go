package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"quorate/sim/report"
)

// The search finds nothing, sees everything it should see sometimes, and says how fast it was. In CI it is a large one.
func TestSwarm(t *testing.T) {
	seeds := "400"
	if os.Getenv("CI") == "true" {
		seeds = "2000"
	}
	cmd := exec.CommandContext(t.Context(), "clusterctl", "sim", "swarm", "--seeds", seeds, "--seed", "1", "-o", "json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var r report.Result
	if jerr := json.Unmarshal(out, &r); err != nil || jerr != nil || r.Result != report.Pass {
		t.Fatalf("%v, %v: %s%s", err, jerr, out, stderr.String())
	}
	if r.Backend != "sim" || r.Simulated < 1000 || r.Wall <= 0 {
		t.Errorf("%+v", r)
	}
}

// Equal first seeds find the same, however many processes share the work.
func TestSwarmIsTheSame(t *testing.T) {
	var first string
	for _, jobs := range []string{"1", "3"} {
		out, err := exec.CommandContext(t.Context(), "clusterctl", "sim", "swarm", "--seeds", "30", "--seed", "777", "-j", jobs).Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, coverage, _ := strings.Cut(string(out), "per second\n")
		if first == "" {
			first = coverage
		}
		if coverage == "" || coverage != first {
			t.Errorf("%s processes:\n%s\nnot\n%s", jobs, coverage, first)
		}
	}
}
