package host

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/node"
)

// Every thread of a worker gets the place its configuration asks for and loses it again; scripts start in the ordinary one.
func TestScheduling(t *testing.T) {
	spawn := newSpawner()
	defer spawn.close()
	val := func(n int) config.Value[int] { return config.Value[int]{V: n, Set: true} }
	var s scheduling
	if _, err := s.apply(config.Scheduling{CPUs: config.Value[[]int]{V: []int{1023}}}); err == nil || !strings.Contains(err.Error(), "CPU affinity") {
		t.Errorf("a CPU that is not there: %v", err)
	}
	text, err := s.apply(config.Scheduling{RTPriority: val(5), CPUs: config.Value[[]int]{V: []int{0}}}, spawn.tid)
	if err != nil && os.Geteuid() != 0 {
		t.Skip("needs CAP_SYS_NICE")
	}
	defer func() { _, _ = s.apply(config.Scheduling{}) }()
	if err != nil || text != "real-time priority 5 (SCHED_RR), CPUs 0" {
		t.Fatalf("%q %v", text, err)
	}
	places := func() (rr, other, pinned int) {
		tids, err := threads()
		must(t, err)
		for _, tid := range tids {
			attr, err := unix.SchedGetAttr(tid, 0)
			if err != nil {
				continue // it ended meanwhile
			}
			var cpus unix.CPUSet
			must(t, unix.SchedGetaffinity(tid, &cpus))
			if attr.Policy == unix.SCHED_RR && attr.Priority == 5 {
				rr++
			} else {
				other++
			}
			if cpus.Count() == 1 {
				pinned++
			}
		}
		return rr, other, pinned
	}
	if rr, other, pinned := places(); rr < 2 || other != 1 || pinned < rr {
		t.Errorf("%d real-time threads, %d ordinary ones (want the spawner only), %d on CPU 0", rr, other, pinned)
	}
	if again, err := s.apply(config.Scheduling{RTPriority: val(5), CPUs: config.Value[[]int]{V: []int{0}}}, spawn.tid); again != "" || err != nil {
		t.Errorf("the same again: %q %v", again, err)
	}

	out := make(chan node.ScriptResult, 1)
	scripts := newScripts((&logBuffer{}).logger(), func(r node.ScriptResult) { out <- r })
	defer scripts.Close()
	// newScripts made a thread of its own after the others had been placed: it is placed as every worker does it.
	must(t, unix.SchedSetAttr(scripts.spawn.tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0))
	file := t.TempDir() + "/policy"
	scripts.Track(node.RunScript{Script: "s", Timeout: 10 * time.Second, Command: config.Command{Argv: []string{"/bin/sh", "-c", "cut -d' ' -f41 /proc/self/stat > " + file}}})
	if r := <-out; r.ExitCode != 0 || readAll(file) != "0\n" {
		t.Errorf("a script runs with policy %q: %+v", readAll(file), r)
	}

	if text, err := s.apply(config.Scheduling{Nice: val(-3)}, spawn.tid); err != nil || text != "nice -3" {
		t.Errorf("%q %v", text, err)
	}
	if rr, _, _ := places(); rr != 0 {
		t.Errorf("%d threads are real-time still", rr)
	}
	if text, err := s.apply(config.Scheduling{}, spawn.tid); err != nil || text != "ordinary priority" {
		t.Errorf("%q %v", text, err)
	}
}
