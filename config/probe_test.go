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

// lineNotYet lists probes that we refuse as keepalived does, but for the block as a whole,
// because it is not carried out yet; the line inside it is not judged. May only get shorter.
var lineNotYet = map[string]string{
	"P52": "track_file",
	"P55": "vrrp_track_process",
	"P62": "interface_up_down_delays, linkbeat_interfaces, garp_group",
	"P65": "unicast_peer",
	"P70": "static_ipaddress, static_routes, static_rules",
}

// ourLine says why our finding stands on another line than keepalived's, on purpose.
var ourLine = map[string]string{
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
		line, err := strconv.Atoi(first)
		switch {
		case err != nil:
		case onLine[line] && ourLine[name]+lineNotYet[name] != "":
			t.Errorf("%s (%s): we name line %d as keepalived does; take it out of the list", name, col[2], line)
		case !onLine[line] && ourLine[name]+lineNotYet[name] == "":
			t.Errorf("%s (%s): keepalived names line %d, we do not:\n%s", name, col[2], line, ds.Text(files))
		}
	}
	if compared < 45 {
		t.Errorf("only %d probes compared", compared)
	}
	if gaps != 3 || len(lineNotYet) != 5 {
		t.Errorf("%d and %d known gaps, want 3 and 5: lower the numbers when one is closed, never raise them", gaps, len(lineNotYet))
	}
	if all, err := filepath.Glob("testdata/probes/P*.conf"); err != nil || len(all) < compared {
		t.Errorf("%d probe files for %d cases (%v)", len(all), compared, err)
	}
}
