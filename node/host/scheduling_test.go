package host

import (
	"context"
	"os"
	"runtime"
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

	// A thread that never sleeps: the kernel warns, and the worker gives up its place.
	limited := config.Scheduling{RTPriority: val(5), RTTime: config.Value[time.Duration]{V: 20 * time.Millisecond, Set: true}}
	log := &logBuffer{}
	w := &worker{reporter: reporter{log: log.logger(), worker: "vrrp"}, inbox: make(chan any, 8), ended: make(chan struct{})}
	bg, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.bg = bg
	w.schedule(limited, spawn.tid)
	defer func() { _ = limitRealTime(0) }()
	for end := time.Now().Add(5 * time.Second); len(w.inbox) == 0 && time.Now().Before(end); {
		runtime.Gosched()
	}
	if len(w.inbox) == 0 {
		t.Fatalf("no warning\n%s", log)
	}
	w.input(<-w.inbox)
	if rr, _, _ := places(); rr != 0 || !strings.Contains(log.String(), "a thread ran for 20ms without a pause (vrrp_rlimit_rttime)") {
		t.Errorf("%d threads are real-time still\n%s", rr, log)
	}
	must(t, limitRealTime(0))

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

// Adverts more frequent than ten a second are sent in real time, unless the file says otherwise.
func TestHurried(t *testing.T) {
	val := func(n int) config.Value[int] { return config.Value[int]{V: n, Set: true} }
	for _, tt := range []struct {
		said      config.Scheduling
		intervals []time.Duration
		want      string
	}{
		{config.Scheduling{}, []time.Duration{100 * time.Millisecond}, "ordinary priority"},
		{config.Scheduling{}, []time.Duration{time.Second, 50 * time.Millisecond}, "real-time priority 10 (SCHED_RR)"},
		{config.Scheduling{RTPriority: val(3)}, []time.Duration{50 * time.Millisecond}, "real-time priority 3 (SCHED_RR)"},
		{config.Scheduling{Nice: val(0)}, []time.Duration{50 * time.Millisecond}, "ordinary priority"},
	} {
		c := &config.Config{Global: config.Global{VRRPSched: tt.said}}
		for _, d := range tt.intervals {
			c.Instances = append(c.Instances, &config.Instance{AdvertInt: config.Value[time.Duration]{V: d}})
		}
		if got := schedulingText(hurried(c)); got != tt.want {
			t.Errorf("%+v, adverts every %v: %s, want %s", tt.said, tt.intervals, got, tt.want)
		}
	}
}
