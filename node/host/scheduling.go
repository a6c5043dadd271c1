package host

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
)

// scheduling is what a worker has asked of the kernel's scheduler.
type scheduling struct {
	used config.Scheduling
	all  unix.CPUSet // the CPUs this process was given
	seen bool
}

// schedule takes the settings of a configuration. What the kernel refuses is reported, and the worker goes on as it is.
func (w *worker) schedule(want config.Scheduling, spare ...int) {
	if want.NoSwap.V {
		lockMemory(w.log)
	}
	if want.RTTime.Set && !w.rtWatched {
		w.rtWatched = true
		w.watchRealTime()
	}
	if want.RTPriority.V > 0 {
		w.Trouble("real-time scheduling", nil)
	}
	text, err := w.sched.apply(want, spare...)
	if text != "" {
		w.log.Info("scheduling: " + text)
	}
	if err != nil && want.RTPriority.V > 0 && !want.RTPriority.Set { // nobody asked for it
		w.log.Info("adverts this frequent want real-time priority: on busy processors there may be false elections", "error", err)
		err = nil
	}
	w.Trouble("scheduling", err)
}

const (
	hurriedBelow    = 100 * time.Millisecond
	hurriedPriority = 10
)

// hurried is what the vrrp worker asks of the scheduler: with adverts more frequent than hurriedBelow real-time priority,
// unless the file says something else. Three of them are less than an ordinary process may have to wait on a busy machine.
func hurried(c *config.Config) config.Scheduling {
	want := c.Global.VRRPSched
	if !want.Nice.Set && !want.RTPriority.Set && shortestInterval(c, time.Hour) < hurriedBelow {
		want.RTPriority.V = hurriedPriority
	}
	return want
}

// lockMemory keeps what this worker has touched in memory: an advert must not wait for a swapped page.
// Without the privilege it goes on as any process does.
func lockMemory(log *slog.Logger) {
	const onFault = 4 // MCL_ONFAULT: Go reserves far more than it touches
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | onFault); err != nil {
		log.Debug("memory is not locked", "error", err)
	}
}

// apply gives every thread of this process its place, but for those in spare: whoever starts scripts does so as an
// ordinary thread, so that no script runs before the elections. It returns what is in force in words, empty if that did not change.
// Threads that Go starts later inherit from those that are there.
func (s *scheduling) apply(want config.Scheduling, spare ...int) (string, error) {
	if schedulingText(want) == schedulingText(s.used) {
		return "", nil
	}
	if !s.seen {
		if err := unix.SchedGetaffinity(0, &s.all); err != nil {
			return "", fmt.Errorf("CPUs of this process: %w", err)
		}
		s.seen = true
	}
	cpus := s.all
	if len(want.CPUs.V) > 0 {
		cpus.Zero()
		for _, n := range want.CPUs.V {
			cpus.Set(n)
		}
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: int32(want.Nice.V)}
	if want.RTPriority.V > 0 {
		attr.Policy, attr.Priority, attr.Nice = unix.SCHED_RR, uint32(want.RTPriority.V), 0
	}
	done := map[int]bool{}
	for _, tid := range spare {
		done[tid] = true
	}
	var errs []error
	for more := true; more && errs == nil; { // a thread may start another one meanwhile
		more = false
		tids, err := threads()
		if err != nil {
			return "", err
		}
		for _, tid := range tids {
			if done[tid] {
				continue
			}
			done[tid], more = true, true
			if err := errors.Join(place(tid, &cpus, &attr)...); err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, err)
				break // it is the same for all
			}
		}
	}
	if errs != nil {
		return "", errs[0]
	}
	if want.RTTime.Set || s.used.RTTime.Set {
		if err := limitRealTime(want.RTTime.V); err != nil {
			return "", err
		}
	}
	s.used = want
	return schedulingText(want), nil
}

// limitRealTime sets RLIMIT_RTTIME: at the limit comes SIGXCPU. 0 is none. The hard limit, at which keepalived is killed, stays: the
// worker yields, and it could never be raised again without CAP_SYS_RESOURCE.
func limitRealTime(most time.Duration) error {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_RTTIME, &limit)
	if err == nil {
		if limit.Cur = limit.Max; most > 0 {
			limit.Cur = min(limit.Max, uint64(most.Microseconds()))
		}
		err = unix.Setrlimit(unix.RLIMIT_RTTIME, &limit)
	}
	if err != nil {
		return fmt.Errorf("limit of real-time CPU time: %w", err)
	}
	return nil
}

// overran says that a real-time thread has reached vrrp_rlimit_rttime.
type overran struct{}

// watchRealTime waits for the kernel's warnings.
func (w *worker) watchRealTime() {
	warned := make(chan os.Signal, 1)
	signal.Notify(warned, unix.SIGXCPU)
	go func() {
		defer signal.Stop(warned)
		for {
			select {
			case <-w.bg.Done():
				return
			case <-warned:
				w.post(overran{})
			}
		}
	}()
}

// yield ends real-time scheduling until the next configuration: the host needs its CPU.
func (w *worker) yield() {
	was := w.sched.used
	if was.RTPriority.V == 0 {
		return
	}
	next := was
	next.RTPriority = config.Value[int]{}
	_, err := w.sched.apply(next)
	w.Trouble("real-time scheduling", fmt.Errorf("a thread ran for %v without a pause (%s_rlimit_rttime): this worker goes on with ordinary priority", was.RTTime.V, w.worker))
	w.Trouble("scheduling", err)
}

func place(tid int, cpus *unix.CPUSet, attr *unix.SchedAttr) (errs []error) {
	if err := unix.SchedSetaffinity(tid, cpus); err != nil {
		errs = append(errs, fmt.Errorf("CPU affinity: %w (are these CPUs of this host?)", err))
	}
	if err := unix.SchedSetAttr(tid, attr, 0); err != nil {
		errs = append(errs, fmt.Errorf("priority: %w (needs CAP_SYS_NICE)", err))
	}
	return errs
}

func threads() ([]int, error) {
	list, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, fmt.Errorf("threads of this process: %w", err)
	}
	var tids []int
	for _, e := range list {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, n)
		}
	}
	return tids, nil
}

// schedulingText leaves out NoSwap, which cannot be taken back.
func schedulingText(s config.Scheduling) string {
	text := "ordinary priority"
	switch {
	case s.RTPriority.V > 0:
		text = fmt.Sprintf("real-time priority %d (SCHED_RR)", s.RTPriority.V)
	case s.Nice.V != 0:
		text = fmt.Sprintf("nice %d", s.Nice.V)
	}
	if s.RTTime.Set && s.RTPriority.V > 0 {
		text += fmt.Sprintf(", at most %v without a pause", s.RTTime.V)
	}
	if len(s.CPUs.V) > 0 {
		text += ", CPUs " + strings.Trim(fmt.Sprint(s.CPUs.V), "[]")
	}
	return text
}
