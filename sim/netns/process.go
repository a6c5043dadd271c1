package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	killSignal  = syscall.SIGKILL
	killTimeout = 10 * time.Second // a process in uninterruptible sleep may outlive it
)

// Cmd is an exec.Cmd that starts on its host. Set the embedded fields as usual; Start, Run,
// Output and CombinedOutput are those of this type.
type Cmd struct {
	*exec.Cmd
	host *Host
}

// Command prepares a program to run on the host: in its network namespace, with its own /run, as
// leader of a process group, and killed when this process dies. When ctx ends the whole group is killed.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	c := &Cmd{Cmd: exec.CommandContext(ctx, name, args...), host: h}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: killSignal}
	c.Cancel = func() error {
		err := syscall.Kill(-c.Process.Pid, killSignal)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	c.WaitDelay = 5 * time.Second // grandchildren may hold the pipes
	return c
}

// Start is exec.Cmd.Start on the host.
func (c *Cmd) Start() error {
	if err := c.host.onThread(c.Cmd.Start); err != nil {
		return fmt.Errorf("lab: host %s: %w", c.host.name, err)
	}
	return nil
}

// Run is exec.Cmd.Run on the host.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output returns the standard output. Unlike exec.Cmd.Output it adds what the program wrote to
// its standard error to the error.
func (c *Cmd) Output() ([]byte, error) {
	var out, errOut strings.Builder
	c.Stdout = &out
	if c.Stderr == nil {
		c.Stderr = &errOut
	}
	err := c.Run()
	if err != nil && errOut.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(errOut.String()))
	}
	return []byte(out.String()), err
}

// CombinedOutput returns the standard output and error together.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return []byte(out.String()), err
}

// Process is a live process of a host.
type Process struct {
	PID  int
	Args []string
}

// Processes lists the live processes whose network namespace is the host's, by PID, however they
// were forked; this process, whose threads visit every host, is not among them.
func (h *Host) Processes() ([]Process, error) {
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: %w", h.name, err)
	}
	var out []Process
	for _, e := range dir {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		ns, err := os.Readlink("/proc/" + e.Name() + "/ns/net")
		if err != nil || ns != h.id { // a zombie has no namespace any more
			continue
		}
		cmdline, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		out = append(out, Process{PID: pid, Args: strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].PID < out[j].PID })
	return out, nil
}

// Kill sends a signal to every process of the host. With SIGKILL all of them stop first, and it goes
// on until none is left: none gets to act on the death of another, as a watchdog would that restarts
// its workers, or a worker that says good-bye when its watchdog is gone.
func (h *Host) Kill(sig syscall.Signal) error {
	if sig != killSignal {
		_, err := h.signal(sig)
		return err
	}
	killed := map[int][]string{}
	for end := time.Now().Add(killTimeout); ; time.Sleep(time.Millisecond) {
		if _, err := h.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		// Again, for children that were forked meanwhile.
		if _, err := h.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		list, err := h.signal(killSignal)
		if err != nil {
			return err
		}
		for _, p := range list {
			killed[p.PID] = p.Args
		}
		for pid := range killed {
			if ended(pid) {
				delete(killed, pid)
			}
		}
		if len(killed) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("lab: host %s: processes %v are still there %v after SIGKILL", h.name, killed, killTimeout)
		}
	}
}

// ended says whether a process has nothing open any more. It leaves its namespaces before it closes
// its sockets, and its first thread may be a zombie while others are still at it.
func ended(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return true
	}
	threads, err := os.ReadDir(dir + "task")
	if err != nil {
		return true
	}
	// PID (NAME) STATE …; the name may have any character in it (proc(5)).
	_, state, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	return strings.HasPrefix(state, "Z") && len(threads) == 1
}

// signal sends a signal to every process and returns them. The youngest come first: when a parent dies before them, stopped
// children get SIGCONT as an orphaned process group (POSIX _exit), and their death signal with it, and run once more.
func (h *Host) signal(sig syscall.Signal) ([]Process, error) {
	list, err := h.Processes()
	for _, p := range slices.Backward(list) {
		if err := unix.Kill(p.PID, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return nil, fmt.Errorf("lab: host %s: %v to process %d %v: %w", h.name, sig, p.PID, p.Args, err)
		}
	}
	return list, err
}
