package host

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCrashLoop: the worker of the better director panics at every start. That is told once, with what it means; the other director takes the
// address over, and it goes where no worker lives. When the cause is gone the worker is started again, leaves the owner alone until it has lived
// for a while, and preempts then: each of the two became owner once more, and lost the address once.
func TestCrashLoop(t *testing.T) {
	if !inNetns(t) {
		return
	}
	bridge(t)
	dir := t.TempDir()
	conf := func(name, priority string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority "+priority+
			"\n version 3\n advert_int 0.2\n virtual_ipaddress {\n 10.9.0.100\n }\n}\n"), 0o600))
		return path
	}
	const vip = "10.9.0.100"
	crash := filepath.Join(dir, "crash")
	a := startInside(t, "--worker=parent", "crashing", "10.9.0.1/24", conf("a", "150"), dir, crash)
	eventually(t, 10*time.Second, func() bool { return a.holds(vip) }, a.log.String)
	b := startDirector(t, "b", "10.9.0.2/24", conf("b", "100"))
	why := func() string { return "a:\n" + a.log.String() + "\nb:\n" + b.log.String() }
	eventually(t, 10*time.Second, func() bool { return strings.Contains(b.log.String(), "BACKUP") }, why)

	// One death is nothing: the next worker is there before anybody notices.
	must(t, syscall.Kill(childOf(t, a.cmd.Process.Pid), syscall.SIGKILL))
	eventually(t, 10*time.Second, func() bool { return strings.Contains(a.log.String(), "the addresses are still ours") }, why)

	must(t, os.WriteFile(crash, nil, 0o600))
	must(t, syscall.Kill(childOf(t, a.cmd.Process.Pid), syscall.SIGKILL))
	eventually(t, 20*time.Second, func() bool { return b.holds(vip) && !a.holds(vip) }, why)
	eventually(t, 5*time.Second, func() bool {
		return strings.Contains(a.log.String(), "10.9.0.2 is owner of VRID 51 on eth0 now: removed here, where no worker lives")
	}, why)
	must(t, os.Remove(crash))
	eventually(t, 40*time.Second, func() bool { return strings.Contains(a.log.String(), "vrrp.probation: the worker before") }, why)
	lives := time.Now()
	eventually(t, 20*time.Second, func() bool { return a.holds(vip) && !b.holds(vip) }, why)
	if d := time.Since(lives); d < 2*time.Second {
		t.Errorf("preempted after %v, want the probation of 3 s\n%s", d, why())
	}
	eventually(t, 10*time.Second, func() bool {
		return strings.Contains(a.log.String(), "its crashes are over") && strings.Contains(a.log.String(), "to=MASTER reason=preempt")
	}, why)
	for words, want := range map[string]int{`msg="worker crashes again and again"`: 1, "to=MASTER reason=master-down": 1, "to=MASTER reason=startup": 1, "to=MASTER reason=preempt": 1,
		`msg="(VI_1) Entering BACKUP STATE (init)"`: 2} {
		if n := strings.Count(a.log.String(), words); n != want {
			t.Errorf("%s: %d times, want %d\n%s", words, n, want, why())
		}
	}
	if n := strings.Count(b.log.String(), "Entering MASTER STATE"); n != 1 {
		t.Errorf("b became owner %d times\n%s", n, why())
	}
	must(t, a.cmd.Process.Signal(syscall.SIGTERM))
	_ = a.cmd.Wait()
	if a.holds(vip) {
		t.Errorf("the address is still there\n%s", why())
	}
}

// TestNotifyAfterKill: a worker that is killed takes its notify scripts with it. The next one goes on as owner and runs again what had not
// ended, and nothing else.
func TestNotifyAfterKill(t *testing.T) {
	if !inNetns(t) {
		return
	}
	bridge(t)
	dir := t.TempDir()
	conf, told := filepath.Join(dir, "conf"), filepath.Join(dir, "told")
	script := filepath.Join(dir, "notify")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho start $* >>"+told+"\nwhile [ -e "+dir+"/hold ]; do sleep 0.1; done\necho end $* >>"+told+"\n"), 0o700))
	must(t, os.WriteFile(conf, []byte("vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n version 3\n advert_int 0.2\n notify_master \""+script+
		" one\"\n virtual_ipaddress {\n 10.9.0.100\n }\n}\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "hold"), nil, 0o600))
	d := startInside(t, "--worker=parent", "crashing", "10.9.0.1/24", conf, dir, filepath.Join(dir, "crash"))
	why := func() string { return readAll(told) + readAll(untoldPath(dir)) + d.log.String() }
	eventually(t, 10*time.Second, func() bool {
		return readAll(told) == "start one\n" && strings.Contains(readAll(untoldPath(dir)), "INSTANCE VI_1")
	}, why)
	must(t, syscall.Kill(childOf(t, d.cmd.Process.Pid), syscall.SIGKILL))
	eventually(t, 10*time.Second, func() bool { return readAll(told) == "start one\nstart one\n" }, why)
	must(t, os.Remove(filepath.Join(dir, "hold")))
	eventually(t, 10*time.Second, func() bool {
		return readAll(told) == "start one\nstart one\nend one\n" && !strings.Contains(readAll(untoldPath(dir)), "VI_1")
	}, why)
	must(t, syscall.Kill(childOf(t, d.cmd.Process.Pid), syscall.SIGKILL))
	eventually(t, 10*time.Second, func() bool { return strings.Count(d.log.String(), "the addresses are still ours") == 2 }, why)
	must(t, d.cmd.Process.Signal(syscall.SIGTERM))
	_ = d.cmd.Wait()
	if readAll(told) != "start one\nstart one\nend one\n" {
		t.Errorf("told again\n%s", why())
	}
}
