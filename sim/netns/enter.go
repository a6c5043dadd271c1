package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stageVar tells the program started again where it is. Enter removes it before it returns, so
// that a program started inside may enter a lab of its own.
const stageVar = "QUORATE_NETNS_STAGE"

const (
	stageInit   = "init"
	stageInside = "inside"
)

// reportFD is where stage init says why it could not go on: the first of exec.Cmd.ExtraFiles.
const reportFD = 3

// killAfter is how long a program may take to end once its context is done.
const killAfter = 15 * time.Second

// EnterOptions says how the program is started again. The zero value means: the same arguments
// and environment.
type EnterOptions struct {
	Args []string // instead of os.Args[1:]
	Env  []string // added to os.Environ()
}

// BlockedError says that this host does not let this user have private namespaces.
type BlockedError struct {
	Step   string // what was refused: "clone", "mount /proc", …
	Err    error
	Remedy string // what to type, or whom to ask
}

// Error has the remedy in it: it is what the user needs.
func (e *BlockedError) Error() string {
	return fmt.Sprintf("no private network namespaces here: %s: %v\n%s", e.Step, e.Err, e.Remedy)
}

// Unwrap returns the kernel's error.
func (e *BlockedError) Unwrap() error { return e.Err }

// Enter returns inside true when the process already runs in private namespaces. Otherwise it
// runs the program again in them, waits for it and returns its exit status (128 + signal when a
// signal ended it): the caller should exit with that. SIGINT, SIGTERM, SIGHUP and SIGQUIT are
// passed on; when ctx ends the program gets SIGTERM, and 15 s later SIGKILL.
//
// Call it once, before anything else: in stage init it never returns.
func Enter(ctx context.Context, o EnterOptions) (inside bool, status int, err error) {
	switch stage := os.Getenv(stageVar); stage {
	case stageInside:
		return true, 0, os.Unsetenv(stageVar)
	case stageInit:
		runInit()
	case "":
	default:
		return false, 0, fmt.Errorf("environment variable %s=%q: want it unset", stageVar, stage)
	}
	const private = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC
	attempts := []uintptr{private | unix.CLONE_NEWUSER}
	if os.Geteuid() == 0 {
		// Root may still lack CAP_SYS_ADMIN (containers), then a user namespace may do.
		attempts = []uintptr{private, private | unix.CLONE_NEWUSER}
	}
	var blocked *BlockedError
	for _, flags := range attempts {
		status, err = reexec(ctx, o, flags)
		if !errors.As(err, &blocked) {
			return false, status, err
		}
	}
	return false, 0, err
}

// report is what stage init writes to reportFD; nothing at all means success.
type report struct {
	Step  string
	Errno syscall.Errno
	Text  string
}

// reexec runs the program in new namespaces until it ends.
func reexec(ctx context.Context, o EnterOptions, flags uintptr) (int, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("enter namespaces: %w", err)
	}
	defer func() { _ = r.Close() }()
	args := o.Args
	if args == nil {
		args = os.Args[1:]
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(append(os.Environ(), o.Env...), stageVar+"="+stageInit)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: flags,
		Pdeathsig:  syscall.SIGKILL,
		// Own process group: a Ctrl-C on the terminal reaches the program once, through us.
		Setpgid: true,
	}
	if flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)

	// The death signal is sent when the thread that forked ends, so keep it to the end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return 0, &BlockedError{Step: "clone", Err: err, Remedy: remedy(os.ReadFile)}
	}
	ended := make(chan struct{})
	go forward(ctx, cmd.Process, signals, ended)
	text, readErr := io.ReadAll(r) // ends when stage init has started the program, or gave up
	_ = cmd.Wait()
	close(ended)
	if readErr != nil {
		return 0, fmt.Errorf("enter namespaces: %w", readErr)
	}
	if len(text) > 0 {
		return 0, blockedFrom(text)
	}
	return exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)), nil
}

// blockedFrom decodes a report.
func blockedFrom(text []byte) error {
	var rep report
	if err := json.Unmarshal(text, &rep); err != nil {
		return fmt.Errorf("enter namespaces: unreadable report %q: %w", text, err)
	}
	err := error(rep.Errno)
	if rep.Errno == 0 {
		err = errors.New(rep.Text)
	}
	return &BlockedError{Step: rep.Step, Err: err, Remedy: remedy(os.ReadFile)}
}

// forward passes signals on until ended is closed, and ends the program when ctx ends.
func forward(ctx context.Context, p *os.Process, signals <-chan os.Signal, ended <-chan struct{}) {
	done := ctx.Done()
	var kill <-chan time.Time
	for {
		select {
		case s := <-signals:
			_ = p.Signal(s)
		case <-done:
			done = nil
			_ = p.Signal(syscall.SIGTERM)
			kill = time.After(killAfter)
		case <-kill:
			_ = p.Kill()
		case <-ended:
			return
		}
	}
}

// exitStatus is what a shell would show.
func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// remedy looks for the settings that are known to forbid namespaces and says how to lift them.
func remedy(read func(string) ([]byte, error)) string {
	is := func(path, value string) bool {
		b, err := read(path)
		return err == nil && strings.TrimSpace(string(b)) == value
	}
	var lines []string
	if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
		// Ubuntu 23.10 and later: the clone succeeds, every capability in it is denied.
		lines = append(lines, "  sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
	}
	if is("/proc/sys/kernel/unprivileged_userns_clone", "0") { // Debian 10 and before
		lines = append(lines, "  sudo sysctl -w kernel.unprivileged_userns_clone=1")
	}
	if is("/proc/sys/user/max_user_namespaces", "0") { // RHEL 7
		lines = append(lines, "  sudo sysctl -w user.max_user_namespaces=15000")
	}
	if len(lines) == 0 {
		return "remedy: run it as root, or, in a container, start that with: --cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
	}
	return "remedy: run it as root, or allow user namespaces:\n" + strings.Join(lines, "\n")
}
