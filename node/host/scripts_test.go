package host

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/config"
	"quorate/internal/testenv"
	"quorate/node"
)

func sh(words string) config.Command { return config.Command{Argv: []string{"/bin/sh", "-c", words}} }

func newTestScripts(t *testing.T) (*scripts, chan node.ScriptResult, *logBuffer) {
	t.Helper()
	t.Parallel()
	out, log := make(chan node.ScriptResult, 10), &logBuffer{}
	s := newScripts(log.logger(), func(r node.ScriptResult) { out <- r })
	return s, out, log
}

func TestTrackScript(t *testing.T) {
	s, out, _ := newTestScripts(t)
	defer s.Close()
	sealInherited()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain") // no #! line
	must(t, os.WriteFile(plain, []byte("echo from $0; exit 4\n"), 0o700))
	port, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer port.Close()
	tests := []struct {
		name string
		cmd  config.Command
		want string // a regular expression
	}{
		{"a file that can be read", config.Command{Argv: []string{"<" + plain}}, `^0 exit 0$`},
		{"a file that cannot", config.Command{Argv: []string{"</nonexistent/x y'$(id)"}}, `^[12] exit [12]: .*/nonexistent/x y'\$\(id\): No such file`},
		{"a file another user may not read", config.Command{Argv: []string{"<" + plain}, User: "nobody"}, `^[12] exit [12]: .*Permission denied`},
		{"a port that answers", config.Command{Argv: []string{"</dev/tcp/" + strings.Replace(port.Addr().String(), ":", "/", 1)}}, `^0 exit 0$`},
		{"a port that does not", config.Command{Argv: []string{"</dev/tcp/127.0.0.1/1"}}, `^1 exit 1: .*(refused|/1)`},
		{"good", sh("exit 0"), `^0 exit 0$`},
		{"bad", sh("echo one; echo; echo two >&2; exit 3"), `^3 exit 3: two$`},
		{"killed", sh("kill -9 $$"), `^-1 signal 9 \(killed\)$`},
		{"no #!", config.Command{Argv: []string{plain}}, `^4 exit 4: from ` + plain + `$`},
		{"not there", config.Command{Argv: []string{"/nonexistent/x"}}, `^-1 fork/exec /nonexistent/x: no such file or directory$`},
		{"empty", config.Command{}, `^-1 empty command$`},
		{"control characters", sh(`printf 'a\033[31mb\377\n'; exit 1`), `^1 exit 1: a \[31mb\?$`},
		{"long line", sh("head -c 100000 /dev/zero | tr '\\0' x; exit 1"), `^1 exit 1: x{200}$`},
		{"output held open", sh("sleep 30 & exit 0"), `^0 exit 0$`},
		{"own group, no inherited files", sh(`ls /proc/self/fd | tr '\n' ' '; test $$ = $(ps -o pgid= -p $$)`), `^0 exit 0: 0 1 2 3$`}, // 3 is ls reading
		{"no such user", config.Command{Argv: []string{"/bin/true"}, User: "nobody-of-that-name"}, `^-1 user "nobody-of-that-name" does not exist on this host$`},
		{"no such group", config.Command{Argv: []string{"/bin/true"}, User: "nobody", Group: "none-such"}, `^-1 group "none-such" does not exist on this host$`},
		{"another user", func() config.Command { c := sh("id -un; exit 1"); c.User = "nobody"; return c }(), `^1 exit 1: nobody$`},
	}
	for _, tt := range tests {
		if tt.cmd.User != "" {
			testenv.NeedRoot(t)
		}
		s.Track(node.RunScript{Script: tt.name, Command: tt.cmd, Timeout: 20 * time.Second})
		r := <-out
		got := fmt.Sprintf("%d %s", r.ExitCode, r.Detail)
		if r.Script != tt.name || !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%s: got %q, want %s", tt.name, got, tt.want)
		}
	}
}

func TestScriptSecurity(t *testing.T) {
	testenv.NeedRoot(t)
	dir, err := os.MkdirTemp("/run", "quorate-test-") // every directory on the way is root's
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "chk")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\nexit 0\n"), 0o755))
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(path, link))
	s, out, _ := newTestScripts(t)
	defer s.Close()
	run := func(path, user string) string {
		s.Track(node.RunScript{Script: "chk", Command: config.Command{Argv: []string{path}, User: user}, Timeout: 20 * time.Second})
		return (<-out).Detail
	}
	check := func(what, path, user, want string) {
		t.Helper()
		if got := run(path, user); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	must(t, os.Chmod(path, 0o757))
	check("not asked for", path, "", "exit 0")
	s.SetIdentity(identity{secure: true})
	check("others may write the file", path, "", path+" is not owned by root")
	check("not run as root", path, "nobody", "exit 0")
	must(t, os.Chmod(path, 0o755))
	check("root's alone", path, "", "exit 0")
	check("through a link", link, "", "exit 0")
	must(t, os.Chmod(dir, 0o777))
	check("others may replace the file", path, "", dir+" is not owned by root")
	must(t, os.Chmod(dir, 0o777|os.ModeSticky))
	check("others may only add files", path, "", "exit 0")
	must(t, os.Chown(path, 65534, 0))
	check("another owner", path, "", path+" is not owned by root")
	check("not there", "/run/none", "", "no such file")
}

func TestTrackScriptTimeout(t *testing.T) {
	s, out, _ := newTestScripts(t)
	defer s.Close()
	file := filepath.Join(t.TempDir(), "pids")
	// It ignores TERM, and so does its child; both must be gone.
	s.Track(node.RunScript{Script: "deaf", Timeout: 100 * time.Millisecond,
		Command: sh(fmt.Sprintf(`trap '' TERM; (trap '' TERM; echo $$ >>%s; while :; do sleep 1; done) & echo $! >>%s; while :; do sleep 1; done`, file, file))})
	began := time.Now()
	r := <-out
	if r.ExitCode != -1 || r.Detail != "timed out after 100ms" || time.Since(began) < termGrace {
		t.Errorf("got %+v after %v", r, time.Since(began))
	}
	for _, pid := range strings.Fields(readAll(file)) {
		var n int
		_, err := fmt.Sscan(pid, &n)
		must(t, err)
		eventually(t, 5*time.Second, func() bool { return syscall.Kill(n, 0) != nil || zombie(n) }, func() string { return pid + " lives" })
	}
}

func zombie(pid int) bool { // in a container nobody may reap orphans
	return strings.Contains(readAll(fmt.Sprintf("/proc/%d/stat", pid)), ") Z ")
}

func TestTrackScriptOnlyOnce(t *testing.T) {
	s, out, _ := newTestScripts(t)
	defer s.Close()
	file := filepath.Join(t.TempDir(), "runs")
	slow := node.RunScript{Script: "chk", Timeout: 20 * time.Second, Command: sh("echo run >>" + file + "; sleep 30")}
	s.Track(slow)
	s.Track(slow)
	eventually(t, 10*time.Second, func() bool { return readAll(file) != "" }, func() string { return "not started" })
	s.Track(slow)
	other := slow
	other.Command = sh("exit 7") // a new configuration: the old run has no say any more
	s.Track(other)
	if r := <-out; r.ExitCode != 7 {
		t.Errorf("got %+v", r)
	}
	if got := readAll(file); got != "run\n" {
		t.Errorf("runs: %q", got)
	}
	select {
	case r := <-out:
		t.Errorf("a second result: %+v", r)
	case <-time.After(50 * time.Millisecond):
	}
}

func notifyTo(name, state, words string) node.Notify {
	return node.Notify{Kind: "INSTANCE", Name: name, State: state, Commands: []node.NotifyCommand{{Command: sh(words)}}}
}

func TestNotifyOrder(t *testing.T) {
	s, _, log := newTestScripts(t)
	file := filepath.Join(t.TempDir(), "log")
	script := filepath.Join(t.TempDir(), "notify")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho \"$0 $*\" | sed 's#.*/##' >>"+file+"\n"), 0o700))
	generic := node.NotifyCommand{Command: config.Command{Argv: []string{script, "own word"}}, Extra: []string{"INSTANCE", "VI_1", "MASTER", "150"}}
	first := notifyTo("VI_1", "BACKUP", "sleep 0.3; echo slow >>"+file)
	second := notifyTo("VI_1", "MASTER", "echo specific >>"+file+"; exit 5")
	second.Commands = append(second.Commands, generic)
	s.Notify(first)
	s.Notify(second)
	s.Notify(notifyTo("VI_1", "BACKUP", "echo last >>"+file))
	want := "slow\nspecific\nnotify own word INSTANCE VI_1 MASTER 150\nlast\n"
	eventually(t, 10*time.Second, func() bool { return readAll(file) == want }, func() string { return readAll(file) })
	s.Close()
	if !strings.Contains(log.String(), "notify script failed") || !strings.Contains(log.String(), "exit 5") {
		t.Error(log)
	}
}

// One instance's slow script delays only its own; a pile of batches does not grow for ever.
func TestNotifyQueue(t *testing.T) {
	s, _, log := newTestScripts(t)
	file := filepath.Join(t.TempDir(), "log")
	running := filepath.Join(t.TempDir(), "running")
	s.Notify(notifyTo("VI_1", "MASTER", "echo yes >"+running+"; sleep 30"))
	eventually(t, 10*time.Second, func() bool { return readAll(running) != "" }, log.String)
	for i := range notifyQueue + 10 {
		s.Notify(notifyTo("VI_1", "BACKUP", fmt.Sprintf("echo %d >>%s", i, file)))
	}
	s.Notify(notifyTo("VI_2", "MASTER", "echo other >>"+file))
	eventually(t, 10*time.Second, func() bool { return readAll(file) == "other\n" }, func() string { return readAll(file) })
	if n := strings.Count(log.String(), "cannot keep up"); n != 10 {
		t.Errorf("%d dropped, want 10", n)
	}
	began := time.Now()
	s.Close()
	if time.Since(began) > stopLimit || readAll(file) != "other\n" {
		t.Errorf("closed after %v, ran %q", time.Since(began), readAll(file))
	}
}

func TestNotifyStop(t *testing.T) {
	s, _, log := newTestScripts(t)
	file := filepath.Join(t.TempDir(), "log")
	s.Notify(notifyTo("VI_1", "MASTER", "sleep 30; echo never >>"+file))
	s.Notify(notifyTo("VI_1", "BACKUP", "echo dropped >>"+file))
	s.Notify(notifyTo("VI_1", "STOP", "echo stopped >>"+file))
	s.Notify(notifyTo("VI_3", "FAULT", "sleep 0.2; echo finished >>"+file)) // it runs, so it may end
	eventually(t, 10*time.Second, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.queues["INSTANCE VI_1"].running != "" && s.queues["INSTANCE VI_3"].running != ""
	}, log.String)
	s.Notify(notifyTo("VI_2", "STOP", "echo two >>"+file+"; sleep 30"))
	began := time.Now()
	s.Close()
	ran := strings.Fields(readAll(file))
	if took := time.Since(began); took < stopLimit || took > 2*stopLimit || !slices.Equal(slices.Sorted(slices.Values(ran)), []string{"finished", "stopped", "two"}) {
		t.Errorf("took %v, ran %v\n%s", took, ran, log)
	}
	s.Notify(notifyTo("VI_1", "MASTER", "echo late >>"+file)) // ignored, no panic
	s.Track(node.RunScript{Script: "late", Command: sh("exit 0"), Timeout: time.Second})
}
