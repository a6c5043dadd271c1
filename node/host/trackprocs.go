package host

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/node"
)

// scanEvery is how often /proc is read for processes that are new. The end of one that is counted is heard of at once, by its pidfd.
// The kernel's process connector would tell of both, but is deaf in every network namespace but the first.
const scanEvery = 500 * time.Millisecond

// followProcesses tells how many processes match each vrrp_track_process, at once and on every change, until ctx ends.
func followProcesses(ctx context.Context, list []*config.TrackProcess, tell func(node.ProcessCount), trouble func(key string, err error)) {
	ended := make(chan struct{}, 1)
	alive := map[int]*os.File{} // pidfds of those that match one or more
	defer func() {
		for _, f := range alive {
			_ = f.Close()
		}
	}()
	last := map[string]int{}
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	for {
		counts, pids, err := countProcesses("/proc", list)
		trouble("processes", err)
		for _, p := range list {
			if was, known := last[p.Name]; err == nil && (!known || was != counts[p.Name]) {
				last[p.Name] = counts[p.Name]
				tell(node.ProcessCount{Process: p.Name, Running: counts[p.Name]})
			}
		}
		for pid, f := range alive {
			if !pids[pid] {
				_ = f.Close()
				delete(alive, pid)
			}
		}
		for pid := range pids {
			if alive[pid] == nil {
				if f := awaitEnd(pid, ended); f != nil {
					alive[pid] = f
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
		case <-tick.C:
		}
	}
}

// awaitEnd says on ended when the process is no more. nil: it is gone already, or this kernel has no pidfds.
func awaitEnd(pid int, ended chan<- struct{}) *os.File {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			select {
			case ended <- struct{}{}: // between the scan and now
			default:
			}
		}
		return nil
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil
	}
	go func() {
		over := func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		}
		if raw.Read(over) == nil {
			select {
			case ended <- struct{}{}:
			default:
			}
		}
	}()
	return f
}

// countProcesses reads what runs now, below proc.
func countProcesses(proc string, list []*config.TrackProcess) (counts map[string]int, pids map[int]bool, err error) {
	dir, err := os.Open(proc)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, nil, err
	}
	counts, pids = map[string]int{}, map[int]bool{}
	whole := slices.ContainsFunc(list, fullCommand)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(proc, name, "stat"))
		if err != nil {
			continue // it has just ended
		}
		comm, state := commAndState(stat)
		if state == 'Z' || state == 'X' {
			continue // ended, only its parent does not know yet
		}
		var argv [][]byte
		if whole {
			raw, _ := os.ReadFile(filepath.Join(proc, name, "cmdline"))
			argv = bytes.Split(bytes.TrimSuffix(raw, []byte{0}), []byte{0})
		}
		for _, p := range list {
			if fullCommand(p) && matchesCommand(p, argv) || !fullCommand(p) && comm == shortName(p.Process[0]) {
				counts[p.Name]++
				pids[pid] = true
			}
		}
	}
	return counts, pids, nil
}

// commAndState reads PID (COMM) STATE of proc_pid_stat(5); a COMM may have blanks and parentheses.
func commAndState(stat []byte) (comm string, state byte) {
	from, to := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if from < 0 || to < from || to+2 >= len(stat) {
		return "", 0
	}
	return string(stat[from+1 : to]), stat[to+2]
}

// shortName is what the kernel keeps of a program's name: 15 bytes.
func shortName(s string) string {
	s = filepath.Base(s)
	return s[:min(len(s), 15)]
}

// fullCommand: the command line is compared rather than the name. Parameters, and how to compare them, ask for that (keepalived).
func fullCommand(p *config.TrackProcess) bool {
	return p.FullCommand.V || len(p.Process) > 1 || p.ParamMatch.Set
}

// matchesCommand compares the program as it was called, and its parameters as param_match says: all of them, with partial the
// first ones as many as there are in the configuration, with initial all, of which the last may be longer.
func matchesCommand(p *config.TrackProcess, argv [][]byte) bool {
	if len(argv) == 0 || string(argv[0]) != p.Process[0] {
		return false
	}
	want, have := p.Process[1:], argv[1:]
	equal := func(h []byte, w string) bool { return string(h) == w }
	switch last := len(want) - 1; {
	case p.ParamMatch.V == "partial":
		return len(have) >= len(want) && slices.EqualFunc(have[:len(want)], want, equal)
	case p.ParamMatch.V == "initial" && last >= 0:
		return len(have) == len(want) && slices.EqualFunc(have[:last], want[:last], equal) && bytes.HasPrefix(have[last], []byte(want[last]))
	}
	return slices.EqualFunc(have, want, equal)
}
