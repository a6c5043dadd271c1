package netnstests

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"quorate/api"
)

// What an operator reads when something is wrong, word by word: testdata/messages.txt. The commands of the file are
//
//	push [host=d1] [flags=(…)]   push lvs-dr.conf with the replacements "OLD => NEW" of the input made in it (\n is a line end; NEW may be empty)
//	ctl [host=d1] args=(…)       any clusterctl command; TOKEN stands for the join token, WRONG for one with another secret
//	kill host=d3 · start host=d3
//	cut host=d3 · plug host=d3   pull the cable and put it back
//	fill host=d3 · free host=d3  use up, and give back, the space of the state directory
//	runs generation=2            wait until all directors run it
//
// Directories, times and other words that differ from run to run are replaced.
func TestMessages(t *testing.T) {
	w := newWorld(t, "d1", "d2", "d3", "rs1", "client")
	// d3's disk is small. The mount is one of the host's own, like its /run.
	if err := os.MkdirAll(w.stateDir("d3"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := w.lab.Host("d3").Command(t.Context(), "mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", w.stateDir("d3")).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	token := w.form("d1", "d2", "d3")
	text := string(readFile(t, w.example("lvs-dr.conf")))
	// Without what is only warned about.
	text = regexp.MustCompile(`(?s)    notification_email \{.*?smtp_connect_timeout[^\n]*\n`).ReplaceAllString(text, "")
	wrong, err := api.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	wrong.Secret[0] ^= 1

	datadriven.RunTest(t, "testdata/messages.txt", func(t *testing.T, d *datadriven.TestData) string {
		host := "d1"
		d.MaybeScanArgs(t, "host", &host)
		switch d.Cmd {
		case "push":
			conf := text
			for _, line := range strings.Split(strings.Trim(d.Input, "\n"), "\n") {
				from, to, ok := strings.Cut(line, " =>")
				if line == "" {
					continue
				}
				if !ok || !strings.Contains(conf, from) {
					d.Fatalf(t, "%q: not of the form OLD => NEW, or OLD is not in the file", line)
				}
				conf = strings.Replace(conf, from, strings.ReplaceAll(strings.TrimPrefix(to, " "), `\n`, "\n"), 1)
			}
			args := append([]string{"push", w.write("lvs-dr.conf", conf)}, words(d, "flags")...)
			return w.normal(token, w.tryCtl(host, args...))
		case "ctl":
			args := words(d, "args")
			for i, a := range args {
				args[i] = strings.NewReplacer("TOKEN", token, "WRONG", wrong.String(), "DIR", w.dir).Replace(a)
			}
			return w.normal(token, w.tryCtl(host, args...))
		case "kill":
			w.kill(host)
		case "cut", "plug":
			if err := w.lab.Host(host).Link(d.Cmd == "plug"); err != nil {
				t.Fatal(err)
			}
		case "runs":
			var g int64
			d.ScanArgs(t, "generation", &g)
			w.runs(g, "d1", "d2", "d3")
		case "start":
			w.clusterd(host)
			w.ready(host, host)
		case "fill":
			w.sh(host, "dd if=/dev/zero of="+w.stateDir(host)+"/ballast bs=1M 2>&1; true")
		case "free":
			w.sh(host, "rm "+w.stateDir(host)+"/ballast")
		default:
			d.Fatalf(t, "unknown command %q", d.Cmd)
		}
		return "ok\n"
	})
}

// words returns the values of an argument.
func words(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

// sh runs a shell command on a host.
func (w *world) sh(host, script string) {
	w.Helper()
	if out, err := w.lab.Host(host).Command(w.ctx, "sh", "-c", script).CombinedOutput(); err != nil {
		w.Fatalf("on %s: %s: %v: %s", host, script, err, out)
	}
}

// variable is what differs from run to run, and what stands for it.
var variable = []struct {
	what *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?( ?UTC|Z)?`), "TIME"},
	{regexp.MustCompile(`\.tmp-\d+`), ".tmp-N"},
	{regexp.MustCompile(`\d+(\.\d+)?(ms|µs| s\b|s\b)`), "DURATION"},
}

// normal is a result without what differs from run to run.
func (w *world) normal(token string, r result) string {
	text := fmt.Sprintf("exit status %d\n%s%s", r.code, r.out, r.err)
	text = strings.NewReplacer(token, "TOKEN", w.dir, "DIR").Replace(text)
	for _, v := range variable {
		text = v.what.ReplaceAllString(text, v.word)
	}
	// Directors answer in any order.
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		j := i
		for j < len(lines) && strings.HasPrefix(lines[j], "apply ") {
			j++
		}
		slices.Sort(lines[i:j])
		i = max(i, j)
	}
	return strings.Join(lines, "")
}

// A member whose certificate has expired does not run silently: clusterd says so, with the date.
func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2")
	past := time.Now().AddDate(-20, 0, 0)
	made, err := api.Init(api.InitOptions{Name: "d1", Address: w.address("d1"), StateDir: w.stateDir("d1"), Now: past})
	if err != nil {
		t.Fatal(err)
	}
	w.clusterd("d1")
	out := w.ctl("d1", "status")
	if !strings.Contains(out, "expire") {
		t.Errorf("status of a member whose certificate is of %s says nothing about it:\n%s", past.Format(time.DateOnly), out)
	}
	r := w.tryCtl("d2", "join", made.Token, "--name", "d2", "--address", w.address("d2"), "--state-dir", w.stateDir("d2"))
	if r.code == 0 || !strings.Contains(r.err, "expired") {
		t.Errorf("join of a cluster that has expired: %v", r)
	}
	t.Logf("status:\n%s\njoin: %v", out, r)
}
