package uml

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	return nil
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
