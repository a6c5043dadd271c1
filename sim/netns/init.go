package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vrrpProtocol is the IP protocol the lab is about; a raw socket for it is what a half-blocked
// user namespace refuses.
const vrrpProtocol = 112

// runInit is pid 1 of the new namespaces: prepare, start the program, pass signals on, reap
// whatever becomes an orphan, exit as the program did. When it exits the kernel kills the rest.
func runInit() {
	unix.CloseOnExec(reportFD)
	out := os.NewFile(reportFD, "report")
	if step, err := prepare(); err != nil {
		fail(out, step, err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	if err := os.Setenv(stageVar, stageInside); err != nil {
		fail(out, "setenv", err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		fail(out, "start "+os.Args[0], err)
	}
	_ = out.Close()
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintf(os.Stderr, "lab: wait: %v\n", err)
			os.Exit(125)
		case pid == cmd.Process.Pid:
			os.Exit(exitStatus(ws))
		}
	}
}

// fail reports to the outer process and exits.
func fail(out *os.File, step string, err error) {
	rep := report{Step: step, Text: err.Error()}
	errors.As(err, &rep.Errno)
	_ = json.NewEncoder(out).Encode(rep)
	os.Exit(125)
}

// prepare makes the new namespaces usable and proves that they are: on some systems the clone is
// allowed and the first step after it is refused.
func prepare() (step string, err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "make mounts private", err
	}
	// The old /proc shows the old PID namespace: /proc/self would be missing in it.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "mount /proc", err
	}
	if err := mountRun(); err != nil {
		return "mount an empty /run", err
	}
	if err := os.Mkdir(Scratch, 0o755); err != nil {
		return "make " + Scratch, err
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return "bring up lo", err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, vrrpProtocol)
	if err != nil {
		return "open a raw socket", err
	}
	return "", unix.Close(fd)
}

// Scratch is an empty directory in memory that the program and all hosts of its labs share once it
// has entered. It goes when they go, so nothing in it needs cleaning up.
const Scratch = "/run/lab"

// mountRun covers /run with an empty one: pid files and sockets of real daemons stay out of sight.
func mountRun() error {
	return unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755")
}

// mountHostRun does so for a host, and keeps Scratch if there is one.
func mountHostRun() error {
	scratch, err := os.Open(Scratch)
	if errors.Is(err, fs.ErrNotExist) {
		return mountRun()
	}
	if err != nil {
		return err
	}
	defer func() { _ = scratch.Close() }()
	if err := mountRun(); err != nil {
		return err
	}
	if err := os.Mkdir(Scratch, 0o755); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/fd/%d", scratch.Fd()), Scratch, "", unix.MS_BIND, "")
}
