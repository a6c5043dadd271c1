package config

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quorate/internal/testenv"
)

// hostJudges lists samples of which keepalived says something that only the host can know.
var hostJudges = map[string]string{
	"keepalived.conf.vrrp.localcheck":  "the commands exist and are run as root without enable_script_security",
	"keepalived.conf.track_interface":  "whether an interface exists (line 16); the rest is compared",
	"keepalived.conf.conditional_conf": "keepalived names the } of the block, we the line that begins it",
}

// The samples that keepalived's package installs, as its own -t judges them (measured,
// testdata/samples.tsv): clean where it is clean, not clean where it is not, and the first
// line it names is one of those we name.
func TestSamples(t *testing.T) {
	testenv.Need(t, "keepalived")
	table, err := os.ReadFile("testdata/samples.tsv")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, row := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		col := strings.Split(row, "\t")
		path, code, first := col[0], col[1], col[2]
		name := path[strings.LastIndexByte(path, '/')+1:]
		data, err := os.ReadFile(path)
		if err != nil {
			testenv.Missing(t, "needs the samples of the Debian package keepalived: "+err.Error())
		}
		compared++
		src := Files{name: string(data)}
		_, ds := Parse(name, src, Options{ConfigID: "nobody"})
		ds = slices.DeleteFunc(ds, func(d Diagnostic) bool { return aboutUs[d.Code] })
		if code == "0" && slices.ContainsFunc(ds, func(d Diagnostic) bool { return !d.Advice() }) {
			t.Errorf("%s: keepalived is content, we are not:\n%s", name, ds.Text(src))
		}
		if code != "0" && ds.Count(Error)+ds.Count(Warning) == 0 && hostJudges[name] == "" {
			t.Errorf("%s: keepalived exits with %s (%s), we find nothing", name, code, col[3])
		}
		line, err := strconv.Atoi(first)
		if err == nil && hostJudges[name] == "" && !slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Line == line }) {
			t.Errorf("%s: keepalived names line %d (%s), we do not:\n%s", name, line, col[3], ds.Text(src))
		}
		// What we print of it reads back as the same tree.
		text, _ := Print(name, src, Options{ConfigID: "nobody"}, PrintOptions{ShowSecrets: true})
		cfg, _ := Parse(name, src, Options{ConfigID: "nobody"})
		again, _ := Parse("p", Files{"p": text}, Options{ConfigID: "nobody"})
		if a, b := places0(dump(cfg)), places0(dump(again)); a != b {
			t.Errorf("%s: printed and read again it is another tree:\n%s\n%s", name, text, firstDifference(a, b))
		}
	}
	if compared != 26 {
		t.Errorf("%d samples compared, want 26", compared)
	}
}

// places0 removes positions from a dump.
func places0(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		if i := strings.LastIndex(line, " @"); i >= 0 {
			line = line[:i] + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func firstDifference(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return la[i] + "\n" + lb[i]
		}
	}
	return "one is longer"
}
