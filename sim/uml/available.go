package uml

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrUnavailable is wrapped by every error that says User Mode Linux cannot be started on this machine.
var ErrUnavailable = errors.New("user mode linux is not available")

// modulesDir is where Debian's package puts the guest kernel's modules.
const modulesDir = "/usr/lib/uml/modules"

// Available says whether Run can work here: nil, or an error wrapping ErrUnavailable that names what to install.
func Available() error {
	if _, err := kernel(); err != nil {
		return err
	}
	if _, err := os.Stat(modulesDir); err != nil {
		return fmt.Errorf("%w: no kernel modules at %s; install the Debian package user-mode-linux", ErrUnavailable, modulesDir)
	}
	// The guest uses the host's programs.
	for _, need := range [...]struct{ program, pkg string }{
		{"/sbin/modprobe", "kmod"}, {"/sbin/ip", "iproute2"}, {"/bin/mount", "mount"},
		{"/bin/stty", "coreutils"}, {"/usr/bin/timeout", "coreutils"},
	} {
		if _, err := os.Stat(need.program); err != nil {
			return fmt.Errorf("%w: no %s; install the Debian package %s", ErrUnavailable, need.program, need.pkg)
		}
	}
	if err := tryPtrace(); err != nil {
		return fmt.Errorf("%w: this process may not trace its children (ptrace: %v); "+
			"in a container allow it with --cap-add SYS_PTRACE or another seccomp profile", ErrUnavailable, err)
	}
	return nil
}

// tryPtrace starts a traced process, which is what a guest's kernel does with the guest's processes.
func tryPtrace() error {
	// Only the thread that traces a process may wait for it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	return nil
}

// memoryDir returns where the guest's kernel shall keep the file that is its memory: "" for its own choice, /dev/shm, or
// the run's directory where /dev/shm forbids execution or is too small (containers: 64 MB).
func memoryDir(dir string, memoryMB int) string {
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Flags&unix.ST_NOEXEC != 0 {
		return dir
	}
	if fs.Blocks != 0 && fs.Blocks*uint64(fs.Bsize) < uint64(memoryMB)<<20 {
		return dir
	}
	return ""
}

// kernel returns the path of the User Mode Linux kernel.
func kernel() (string, error) {
	for _, name := range []string{"linux.uml", "/usr/bin/linux.uml"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: no linux.uml in PATH; install the Debian package user-mode-linux", ErrUnavailable)
}
