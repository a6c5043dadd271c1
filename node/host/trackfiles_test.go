package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/config"
	"quorate/internal/testenv"
	"quorate/node"
)

// As strtol with base 0, and keepalived 2.2.7 with it.
func TestLeadingNumber(t *testing.T) {
	for text, want := range map[string]string{
		"": "0", "abc": "0", "7": "7", " \n-3\n": "-3", "+4": "4", "0x10": "16", "-0X1f": "-31", "010": "8", "08": "0", "0x": "0", "12 x": "12", "7x": "7", "-": "0", "--1": "0",
		"2147483647": "2147483647", "2147483648": "number 2147483648 is outside the range of a number, ignored",
		"99999999999999999999999": "number 99999999999999999999 is outside the range of a number, ignored",
	} {
		n, err := leadingNumber(text)
		got := fmt.Sprint(n)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzLeadingNumber(f *testing.F) {
	f.Add(" -0x7fffffff\n")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := leadingNumber(text); err == nil && int(int32(n)) != n {
			t.Errorf("%q: %d", text, n)
		}
	})
}

func TestInitFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, tt := range []struct {
		init   []string
		before string // "-": there is none
		want   string
	}{
		{nil, "-", ""}, {[]string{}, "-", "0\n"}, {[]string{"5"}, "-", "5\n"}, {[]string{"5"}, "7", "7"},
		{[]string{"5", "overwrite"}, "1234567", "5\n"}, {[]string{"overwrite"}, "7", "0\n"},
	} {
		_ = os.Remove(path)
		if tt.before != "-" {
			must(t, os.WriteFile(path, []byte(tt.before), 0o600))
		}
		must(t, initFile(&config.TrackFile{Name: "f", File: config.Value[string]{V: path}, Init: tt.init}))
		if got := readAll(path); got != tt.want {
			t.Errorf("%q on %q: %q, want %q", tt.init, tt.before, got, tt.want)
		}
	}
	must(t, os.Remove(path))
	must(t, os.Symlink("/dev/null", path))
	if err := initFile(&config.TrackFile{File: config.Value[string]{V: path}, Init: []string{"1", "overwrite"}}); err == nil {
		t.Error("wrote through a link")
	}
}

// However the file changes: in place, by rename, removed, in a directory that comes later.
func TestFollowFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "f")
	out, errs := make(chan node.FileNumber, 10), make(chan string, 10)
	known := map[string]string{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go followFiles(ctx, []*config.TrackFile{{Name: "f", File: config.Value[string]{V: path}}}, nil, func(n node.FileNumber) { out <- n }, func(key string, err error) {
		if text := fmt.Sprint(err); known[key] != text {
			known[key] = text
			errs <- text
		}
	})
	next := func(want int) {
		t.Helper()
		select {
		case n := <-out:
			if n != (node.FileNumber{File: "f", Number: want}) {
				t.Fatalf("%+v, want %d", n, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing, want %d", want)
		}
	}
	next(0) // missing
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(path, []byte("3\n"), 0o600))
	next(3)
	time.Sleep(lookAgain + 100*time.Millisecond) // now the directory is watched
	began := time.Now()
	must(t, os.WriteFile(path+".new", []byte("-4"), 0o600))
	must(t, os.Rename(path+".new", path))
	next(-4)
	if took := time.Since(began); took > lookAgain/2 {
		t.Errorf("took %v: inotify did not tell", took)
	}
	must(t, os.WriteFile(path, []byte("99999999999"), 0o600)) // cut first: that it is empty for a moment must not be seen
	for text := ""; !strings.Contains(text, "ignored"); {
		select {
		case text = <-errs:
		case n := <-out:
			t.Fatalf("%+v", n)
		case <-time.After(10 * time.Second):
			t.Fatal("no error")
		}
	}
	must(t, os.WriteFile(path, []byte("8"), 0o600))
	next(8)
	must(t, os.WriteFile(path, nil, 0o600))
	next(0)
	must(t, os.WriteFile(path, []byte("9"), 0o600))
	next(9)
	must(t, os.Remove(path))
	next(0)
}

// TestTrackersAgainstKeepalived: the same lines and the same files give the same priorities and faults.
func TestTrackersAgainstKeepalived(t *testing.T) {
	testenv.Need(t, "keepalived")
	if !inNetns(t) {
		return
	}
	bridge(t)
	dir := t.TempDir()
	conf := func(vrid int) string {
		path := filepath.Join(dir, fmt.Sprintf("%d.conf", vrid))
		must(t, os.WriteFile(path, fmt.Appendf(nil, `track_file w {
 file %[1]s/w
 weight 2
 init_file 5
}
track_file u {
 file %[1]s/u
 weight 0
}
vrrp_instance VI_1 {
 interface eth0
 virtual_router_id %[2]d
 priority 100
 version 3
 advert_int 0.1
 virtual_ipaddress {
  10.9.0.%[2]d
 }
 track_file {
  w
  u
 }
}
`, dir, vrid), 0o600))
		return path
	}
	theirs := startKeepalived(t, "10.9.0.2/24", conf(52))
	ours := startDirector(t, "o", "10.9.0.1/24", conf(51))
	why := func() string { return "ours:\n" + ours.log.String() + "\nkeepalived:\n" + theirs.log.String() }
	eventually(t, 20*time.Second, func() bool { return ours.holds("10.9.0.51") && theirs.holds("10.9.0.52") }, why)
	put := func(name, text string) { // at once, so that nobody sees an empty file
		must(t, os.WriteFile(filepath.Join(dir, "new"), []byte(text), 0o600))
		must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, name)))
	}
	for _, step := range []struct {
		name, text string // "" : removed
		fault      bool
		priority   string // as it is told; empty: no change is
	}{
		{"w", "-3", false, "94"}, {"w", "0x10\n", false, "132"}, {"w", "12 x", false, "124"}, {"w", "junk", false, "100"}, {"w", "300", false, "254"},
		{"w", "", false, "100"}, {"w", "-127", true, ""}, {"w", "1", false, "102"},
		{"u", "1", true, ""}, {"u", "", false, ""}, {"w", "0", false, "100"},
	} {
		var before [2]int
		for k, d := range []*director{ours, theirs} {
			before[k] = len(d.log.String())
		}
		if step.text != "" {
			put(step.name, step.text)
		} else {
			must(t, os.Remove(filepath.Join(dir, step.name)))
		}
		for k, d := range []*director{ours, theirs} {
			eventually(t, 10*time.Second, func() bool {
				told := priorities.FindAllStringSubmatch(d.log.String()[before[k]:], -1)
				right := step.priority == "" || slices.ContainsFunc(told, func(m []string) bool { return m[1] == step.priority })
				return right && d.holds([]string{"10.9.0.51", "10.9.0.52"}[k]) != step.fault
			}, func() string { return fmt.Sprintf("%+v of %d\n%s", step, k, why()) })
		}
	}
}

var priorities = regexp.MustCompile(`ing effective priority (?:from \d+ )?to (\d+)`)

func TestMatchesCommand(t *testing.T) {
	for _, tt := range []struct {
		process, match string
		yes, no        string // command lines, separated by ;
	}{
		{"nginx", "none", "nginx", "nginx -g x;/usr/sbin/nginx"},
		{"nginx -g x", "", "nginx -g x", "nginx;nginx -g;nginx -g xy;nginx -g x y"},
		{"nginx -g x", "partial", "nginx -g x;nginx -g x y", "nginx -g;nginx -g xy"},
		{"nginx -g x", "initial", "nginx -g x;nginx -g xy", "nginx -g;nginx -g x y;nginx -h xy"},
	} {
		p := &config.TrackProcess{Process: strings.Fields(tt.process)}
		p.ParamMatch.Set = true
		if tt.match != "none" {
			p.ParamMatch.V = tt.match
		}
		for want, lines := range map[bool]string{true: tt.yes, false: tt.no} {
			for _, line := range strings.Split(lines, ";") {
				var argv [][]byte
				for _, w := range strings.Fields(line) {
					argv = append(argv, []byte(w))
				}
				if got := matchesCommand(p, argv); got != want {
					t.Errorf("%s %s: %q %v", tt.process, tt.match, line, got)
				}
			}
		}
	}
	if comm, state := commAndState([]byte("12 (a) b (c) S 1 2")); comm != "a) b (c" || state != 'S' {
		t.Errorf("%q %c", comm, state)
	}
}

// A real process: a new one is seen by the next scan, the end of one at once.
func TestFollowProcesses(t *testing.T) {
	t.Parallel()
	out := make(chan node.ProcessCount, 10)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	name := fmt.Sprintf("q%d", os.Getpid())
	program := filepath.Join(t.TempDir(), name)
	sleep, err := os.ReadFile("/bin/sleep")
	must(t, err)
	must(t, os.WriteFile(program, sleep, 0o700))
	go followProcesses(ctx, []*config.TrackProcess{
		{Name: "short", Process: []string{name}},
		{Name: "long", Process: []string{program, "60"}},
	}, func(n node.ProcessCount) { out <- n }, func(_ string, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	next := func(want ...node.ProcessCount) {
		t.Helper()
		for len(want) > 0 {
			select {
			case n := <-out:
				at := slices.Index(want, n)
				if at < 0 {
					t.Fatalf("%+v, want %+v", n, want)
				}
				want = slices.Delete(want, at, at+1)
			case <-time.After(20 * time.Second):
				t.Fatalf("nothing, want %+v", want)
			}
		}
	}
	next(node.ProcessCount{Process: "short"}, node.ProcessCount{Process: "long"})
	start := func(arg string) *exec.Cmd {
		c := exec.Command(program, arg)
		must(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c
	}
	a := start("60")
	next(node.ProcessCount{Process: "short", Running: 1}, node.ProcessCount{Process: "long", Running: 1})
	b := start("61")
	next(node.ProcessCount{Process: "short", Running: 2})
	must(t, a.Process.Kill()) // not waited for: a zombie does not run
	next(node.ProcessCount{Process: "short", Running: 1}, node.ProcessCount{Process: "long"})
	must(t, b.Process.Kill())
	next(node.ProcessCount{Process: "short"})
}

// End to end: an address goes with its process and comes back with it.
func TestTrackProcess(t *testing.T) {
	if !inNetns(t) {
		return
	}
	bridge(t)
	dir := t.TempDir()
	word := fmt.Sprintf("7%d", os.Getpid())
	path := filepath.Join(dir, "conf")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "vrrp_track_process web {\n process sleep %s\n}\nvrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 100\n version 3\n"+
		" advert_int 0.1\n virtual_ipaddress {\n 10.9.0.100\n }\n track_process {\n web\n }\n}\n", word), 0o600))
	d := startDirector(t, "o", "10.9.0.1/24", path)
	eventually(t, 20*time.Second, func() bool { return strings.Contains(d.log.String(), "Entering FAULT STATE") }, d.log.String)
	web := exec.Command("sleep", word)
	must(t, web.Start())
	eventually(t, 20*time.Second, func() bool { return d.holds("10.9.0.100") }, d.log.String)
	must(t, web.Process.Kill())
	_ = web.Wait()
	eventually(t, 20*time.Second, func() bool {
		return !d.holds("10.9.0.100") && strings.Contains(d.log.String(), "quorum lost (0 running)")
	}, d.log.String)
}

// init_file is for the first time: what was written since survives a reload, and the death of a worker.
func TestInitFileOnce(t *testing.T) {
	file := func(path string) *config.TrackFile {
		return &config.TrackFile{Name: path, File: config.Value[string]{V: path}}
	}
	names := func(list []*config.TrackFile) (out []string) {
		for _, f := range list {
			out = append(out, f.Name)
		}
		return out
	}
	for _, tt := range []struct {
		adopted bool
		want    [3]string
	}{{false, [3]string{"[a]", "[b]", "[]"}}, {true, [3]string{"[]", "[b]", "[]"}}} {
		e := &elector{followed: map[string]bool{}, adopted: tt.adopted}
		got := [3]string{fmt.Sprint(names(e.fresh([]*config.TrackFile{file("a")}))),
			fmt.Sprint(names(e.fresh([]*config.TrackFile{file("a"), file("b")}))),
			fmt.Sprint(names(e.fresh([]*config.TrackFile{file("b"), file("a")})))}
		if got != tt.want {
			t.Errorf("adopted %v: at the start, a reload and one more: %v, want %v", tt.adopted, got, tt.want)
		}
	}
}
