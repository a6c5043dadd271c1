package config

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// notYet lists the probes whose keywords or reader features are not carried out yet, so
// that being clean or not cannot be compared. The list may only get shorter.
var notYet = map[string]string{
	"P37": "~SEQ",
	"P38": "~SEQ, ~LST",
	"P67": "unicast_peer",
}

// noComparison lists probes that ask about something a reader without a host cannot know.
var noComparison = map[string]string{
	"P04": "no file at all, under -e",
	"P17": "whether an interface exists",
	"P43": "-e makes every include strict",
	"P46": "whether the user keepalived_script exists",
	"P47": "whether a script exists",
	"P82": "whether an interface exists",
}

// ourLine says where our finding stands when it is not on the line keepalived reports,
// and why.
var ourLine = map[string]string{
	"P10": "we report the block that is not closed, keepalived every line behind it",
	"P32": "we report the variable, keepalived the braces it breaks at; the line is the same",
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
	compared, gaps := 0, 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		col := strings.Split(sc.Text(), "\t")
		name := col[0]
		if name == "case" {
			continue
		}
		if notYet[name] != "" {
			gaps++
			continue
		}
		if noComparison[name] != "" {
			continue
		}
		compared++
		id := strings.TrimPrefix(col[1], "-i ")
		_, ds := Parse(name+".conf", files, Options{ConfigID: id})
		clean := strings.HasSuffix(col[3], "=0")
		reported := 0
		onLine := map[int]bool{}
		for _, d := range ds {
			if d.Severity >= Warning {
				reported++
			}
			onLine[d.Line] = true
		}
		if clean && ds.HasErrors() {
			t.Errorf("%s (%s): keepalived is content, we are not:\n%s", name, col[2], ds.Text(files))
		}
		if !clean && reported == 0 {
			t.Errorf("%s (%s): keepalived exits with %s, we find nothing", name, col[2], col[3])
		}
		first := col[5]
		if first == "" && col[4] != "" {
			first, _, _ = strings.Cut(col[4], ",")
		}
		if line, err := strconv.Atoi(first); err == nil && !onLine[line] && ourLine[name] == "" {
			t.Errorf("%s (%s): keepalived names line %d, we do not:\n%s", name, col[2], line, ds.Text(files))
		}
	}
	if compared < 45 {
		t.Errorf("only %d probes compared", compared)
	}
	if gaps != 3 {
		t.Errorf("%d known gaps, want 3: lower the number when one is closed, never raise it", gaps)
	}
	if all, err := filepath.Glob("testdata/probes/P*.conf"); err != nil || len(all) < compared {
		t.Errorf("%d probe files for %d cases (%v)", len(all), compared, err)
	}
}
