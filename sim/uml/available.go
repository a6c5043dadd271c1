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
