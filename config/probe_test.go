package config

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// aboutUs are findings about what quorate carries out, not about the file: keepalived
// cannot have them, and they say nothing about whether it is content.
var aboutUs = map[string]bool{"not-supported-yet": true, "no-effect-yet": true, "no-effect": true}

// noComparison lists probes that ask about something a reader without a host cannot know.
var noComparison = map[string]string{
	"P04": "no file at all, under -e",
	"P17": "whether an interface exists",
	"P43": "-e makes every include strict",
	"P46": "whether the user keepalived_script exists",
	"P47": "whether a script exists",
	"P82": "whether an interface exists",
}

// ourLine says why our finding stands on another line than keepalived's, on purpose.
var ourLine = map[string]string{
	"P52": "keepalived names the } of the block, we the line that begins it",
	"P62": "keepalived's first line is an interface that does not exist, which the host judges; the second is ours",
	"P70": "keepalived's first line is an interface that does not exist, which the host judges; the second is ours",
	"P28": "keepalived counts one line less",
	"P29": "keepalived counts one line less",
	"P76": "we report the keyword whose brace is missing, keepalived what follows it",
	"P83": "we report the keyword whose brace is missing, keepalived what follows it",
}

// Each probe is a small file that was given to keepalived 2.2.7 and 2.4.3 (measured):
// expected.tsv has the exit code of -t and the lines it named. A file that keepalived finds
// clean must have no error here; one that it complains about must have a finding, and one
// on the first line it named.
func TestProbes(t *testing.T) {
	files := probeFiles(t)
	f, err := os.Open("testdata/probes/expected.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	compared := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		col := strings.Split(sc.Text(), "\t")
		name := col[0]
		if name == "case" {
			continue
		}
		if noComparison[name] != "" {
			continue
		}
		compared++
		id := strings.TrimPrefix(col[1], "-i ")
		_, ds := Parse(name+".conf", files, Options{ConfigID: id})
		clean := strings.HasSuffix(col[3], "=0")
		reported, errs := 0, 0
		onLine := map[int]bool{}
		for _, d := range ds {
			if aboutUs[d.Code] {
				continue
			}
			if d.Severity >= Warning {
				reported++
			}
			if clean && d.Severity == Warning && !d.Advice() {
				t.Errorf("%s (%s): keepalived is content, clusterd -t would fail: %s", name, col[2], d)
			}
			if d.Severity == Error {
				errs++
			}
			onLine[d.Line] = true
		}
		if clean && errs > 0 {
			t.Errorf("%s (%s): keepalived is content, we are not:\n%s", name, col[2], ds.Text(files))
		}
		if !clean && reported == 0 {
			t.Errorf("%s (%s): keepalived exits with %s, we find nothing", name, col[2], col[3])
		}
		first := col[5]
		if first == "" && col[4] != "" {
			first, _, _ = strings.Cut(col[4], ",")
		}
		line, err := strconv.Atoi(first)
		switch {
		case err != nil:
		case onLine[line] && ourLine[name] != "":
			t.Errorf("%s (%s): we name line %d as keepalived does; take it out of the list", name, col[2], line)
		case !onLine[line] && ourLine[name] == "":
			t.Errorf("%s (%s): keepalived names line %d, we do not:\n%s", name, col[2], line, ds.Text(files))
		}
	}
	if compared < 50 {
		t.Errorf("only %d probes compared", compared)
	}
	if all, err := filepath.Glob("testdata/probes/P*.conf"); err != nil || len(all) < compared {
		t.Errorf("%d probe files for %d cases (%v)", len(all), compared, err)
	}
}
