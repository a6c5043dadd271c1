package netnstests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A vrrp worker that is killed alone is started again and goes on as owner: the address is never away, nobody else says a
// word, and the LAN hears the owner within an advert interval. keepalived 2.2.7 removes the address and elects anew (measured: 3.6 s).
func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2")
	conf := w.example("lvs-dr.conf")
	w.standalone("d1", conf)
	w.standalone("d2", conf)
	w.owned(15*time.Second, "d1", vip, "d1", "d2")
	start := time.Now()
	const kills = 4 // the watchdog restarts the first death at once and waits a little longer after each
	killed := map[int]bool{}
	for range kills {
		pid := w.worker("d1", "vrrp", killed)
		killed[pid] = true
		if err := syscall.Kill(pid, killSignal); err != nil {
			t.Fatal(err)
		}
		w.steady(1500*time.Millisecond, "d1", vip, "d1", "d2")
	}
	w.eventually(10*time.Second, "the last worker announces itself", func() string {
		if w.worker("d1", "vrrp", killed) > 0 && w.lastAdvert("d1").at.After(time.Now().Add(-time.Second)) {
			return ""
		}
		return "no advert in the last second"
	})
	w.steady(2*time.Second, "d1", vip, "d1", "d2")
	adverts, _ := w.traffic()
	var last time.Time
	for _, a := range adverts {
		switch {
		case a.at.Before(start):
		case a.mac != w.mac("d1"):
			t.Errorf("%s advertised with priority %d %s after the first kill: it has taken over", a.mac, a.priority, a.at.Sub(start))
		case a.priority == 0:
			t.Errorf("d1 said priority 0 at %s", a.at.Sub(start))
		case !last.IsZero() && a.at.Sub(last) > 2*time.Second:
			t.Errorf("d1 was silent for %s", a.at.Sub(last))
		}
		if a.mac == w.mac("d1") {
			last = a.at
		}
	}
}

// HUP reads the file again: a changed one runs, a broken one is refused and the old one goes on.
func TestReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2")
	text := func(priority, auth string) string {
		return "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    priority " + priority +
			"\n    advert_int 1\n    " + auth + "\n    virtual_ipaddress {\n        " + vip.String() + "\n    }\n}\n"
	}
	d1, d2 := w.write("d1.conf", text("150", "")), w.write("d2.conf", text("100", ""))
	w.standalone("d1", d1)
	w.standalone("d2", d2)
	w.owned(15*time.Second, "d1", vip, "d1", "d2")

	hup := func(conf, content string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		list, err := w.lab.Host("d1").Processes()
		if err != nil || len(list) == 0 {
			t.Fatalf("processes of d1: %v, %v", list, err)
		}
		if err := syscall.Kill(list[0].PID, syscall.SIGHUP); err != nil { // the parent, it passes it on
			t.Fatal(err)
		}
	}
	hup(d1, text("1500", "itnerface eth0"))
	w.eventually(5*time.Second, "the refusal is logged", func() string {
		b, err := os.ReadFile(filepath.Join(w.dir, "d1.log"))
		if err != nil || !strings.Contains(string(b), "out-of-range") || !strings.Contains(string(b), "did you mean interface?") {
			return "not yet"
		}
		return ""
	})
	w.steady(2*time.Second, "d1", vip, "d1", "d2")
	if a := w.lastAdvert("d1"); a.priority != 150 {
		t.Errorf("after a refused file d1 advertises priority %d, want 150 as before", a.priority)
	}
	hup(d1, text("50", ""))
	w.owned(10*time.Second, "d2", vip, "d1", "d2")
}

// A worker that dies while the file is in the middle of a change, or refused, or gone, or empty, is followed by one that runs what it ran: the
// address is never away. If nobody knows any more what that was the daemon ends, and leaves no address behind that another director will have.
func TestWorkerKilledWithoutFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2")
	conf := w.example("lvs-dr.conf")
	d1 := w.write("d1.conf", string(readFile(w, conf)))
	w.start("d1", program(w, "clusterd"), "-n", "-l", "-D", "-f", d1, "-i", "d1", "--run-dir", w.runDir("d1")) // with a checker
	w.standalone("d2", conf)
	w.owned(15*time.Second, "d1", vip, "d1", "d2")
	killed := map[int]bool{}
	for _, bad := range []string{"# nothing yet\n", "vrrp_instance VI_1 {\n interfaze eth0\n}\n", "", "gone"} {
		w.write("d1.conf", bad)
		if bad == "gone" {
			if err := os.Remove(d1); err != nil {
				t.Fatal(err)
			}
		}
		for _, worker := range []string{"vrrp", "checker"} {
			pid := w.worker("d1", worker, killed)
			killed[pid] = true
			if err := syscall.Kill(pid, killSignal); err != nil {
				t.Fatal(err)
			}
			w.worker("d1", worker, killed)
		}
		w.steady(1500*time.Millisecond, "d1", vip, "d1", "d2")
	}
	list, err := w.lab.Host("d1").Processes()
	if err != nil || len(list) == 0 {
		t.Fatalf("processes of d1: %v, %v", list, err)
	}
	if err := syscall.Kill(list[0].PID, syscall.Signal(44)); err != nil { // as --upgrade does, to the parent
		t.Fatal(err)
	}
	w.eventually(10*time.Second, "it is said of eight workers and two after the upgrade", func() string {
		if n := strings.Count(string(readFile(w, filepath.Join(w.dir, "d1.log"))), "what ran before goes on"); n != 10 {
			return fmt.Sprint(n, " times")
		}
		return ""
	})
	w.steady(1500*time.Millisecond, "d1", vip, "d1", "d2")
	for _, worker := range []string{"vrrp", "checker"} {
		if err := os.Remove(filepath.Join(w.runDir("d1"), worker+"-config.json")); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(w.worker("d1", "vrrp", killed), killSignal); err != nil {
		t.Fatal(err)
	}
	w.owned(15*time.Second, "d2", vip, "d1", "d2")
	if list, err := w.lab.Host("d1").Processes(); err != nil || len(list) > 0 {
		t.Errorf("processes of d1: %v, %v", list, err)
	}
}

// worker waits for a living worker that is none of those killed, and returns its process id.
func (w *world) worker(host, name string, killed map[int]bool) (pid int) {
	w.Helper()
	w.eventually(10*time.Second, host+" has a "+name+" worker", func() string {
		list, err := w.lab.Host(host).Processes()
		if err != nil {
			return err.Error()
		}
		for _, p := range list {
			if p.Args[0] == "clusterd: "+name && !killed[p.PID] {
				pid = p.PID
				return ""
			}
		}
		return "none"
	})
	return pid
}

// clusterd --upgrade puts the installed binary in the place of the running one: the process keeps its pid, the address
// is never away, no backup takes over; a binary that does not run is refused and the old one goes on.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2")
	conf := w.example("lvs-dr.conf")
	binary := filepath.Join(w.dir, "clusterd")
	install := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(binary+".new", content, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(binary+".new", binary); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(program(t, "clusterd"))
	if err != nil {
		t.Fatal(err)
	}
	install(content)
	w.start("d1", binary, "-n", "-l", "-D", "-P", "-f", conf, "-i", "d1", "--run-dir", w.runDir("d1"))
	w.standalone("d2", conf)
	w.owned(15*time.Second, "d1", vip, "d1", "d2")
	start := time.Now()
	old := w.worker("d1", "vrrp", nil)
	list, err := w.lab.Host("d1").Processes()
	if err != nil {
		t.Fatal(err)
	}
	parent := list[0].PID

	upgrade := func(program string) (string, error) {
		out, err := w.lab.Host("d1").Command(w.ctx, program, "--upgrade", "--run-dir", w.runDir("d1")).CombinedOutput()
		return string(out), err
	}
	// The one that asks must be the file that would be started.
	if out, err := upgrade(program(t, "clusterd")); err == nil || !strings.Contains(out, "another file") || !strings.Contains(out, "install the new one as "+binary) {
		t.Errorf("asked by another file: %v\n%s", err, out)
	}
	install(append(content, 0)) // another file, the same program
	if out, err := upgrade(binary); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.steady(2*time.Second, "d1", vip, "d1", "d2")
	if got := w.worker("d1", "vrrp", map[int]bool{old: true}); got == old {
		t.Error("the worker is still the old one")
	}
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", parent)); err != nil || exe != binary {
		t.Errorf("the parent runs %q, %v; want %s", exe, err, binary)
	}

	now := w.worker("d1", "vrrp", map[int]bool{old: true})
	install([]byte("#!/bin/sh\necho broken >&2\nexit 1\n"))
	if err := syscall.Kill(parent, syscall.Signal(44)); err != nil { // as --upgrade would, if it could run
		t.Fatal(err)
	}
	w.eventually(10*time.Second, "the refusal is logged", func() string {
		b, err := os.ReadFile(filepath.Join(w.dir, "d1.log"))
		if err != nil || !strings.Contains(string(b), "the old binary goes on") || !strings.Contains(string(b), "broken") {
			return "not yet"
		}
		return ""
	})
	w.steady(time.Second, "d1", vip, "d1", "d2")
	if got := w.worker("d1", "vrrp", nil); got != now {
		t.Errorf("worker %d became %d although the new binary was refused", now, got)
	}
	adverts, _ := w.traffic()
	for _, a := range adverts {
		if a.at.After(start) && (a.mac != w.mac("d1") || a.priority == 0) {
			t.Errorf("%s advertised priority %d %s after the first owner", a.mac, a.priority, a.at.Sub(start))
		}
	}
}

// A member is upgraded while it leads the cluster and owns the address: nobody takes over, and it takes part again.
func TestUpgradeOfAMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	w.form(directors...)
	conf := w.example("lvs-dr.conf")
	w.ctl("d1", "push", conf, "-m", "first")
	w.runs(1, directors...)
	w.owned(15*time.Second, "d1", vip, directors...)
	start := time.Now()
	out, err := w.lab.Host("d1").Command(w.ctx, program(t, "clusterd"), "--upgrade", "--run-dir", w.runDir("d1")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.steady(3*time.Second, "d1", vip, directors...)
	w.ready("d2", directors...)
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	w.ctl("d1", "push", w.write("second.conf", string(text)+"\n# again\n"), "-m", "second")
	w.runs(2, directors...)
	adverts, _ := w.traffic()
	for _, a := range adverts {
		if a.at.After(start) && (a.mac != w.mac("d1") || a.priority == 0) {
			t.Errorf("%s advertised %s after the upgrade began", a.mac, a.at.Sub(start))
		}
	}
}
