package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// SignalUpgrade asks the watchdog to replace itself and its workers by the binary that now lies where it was started
// from: SIGRTMIN+10 as the C library counts (clusterd --upgrade sends it).
const SignalUpgrade = syscall.Signal(44)

const upgradedEnv = "CLUSTERD_UPGRADED"

// Upgraded says, once, whether this process took the place of one that ran before.
func Upgraded() bool {
	was := os.Getenv(upgradedEnv) != ""
	_ = os.Unsetenv(upgradedEnv)
	return was
}

// upgrade puts the new binary in the place of this process, which keeps its pid, its arguments and its environment. The
// vrrp and checker workers are killed instead of stopped: an orderly end would give up addresses and services, while
// after a sudden one the next workers adopt both. It returns only if the old binary goes on, with the reason.
func (w *watchdog) upgrade(ctx context.Context) error {
	path := strings.TrimSuffix(w.Binary, " (deleted)")
	if path == "" {
		return errors.New("the path of the binary is not known")
	}
	// What cannot even say its version would leave nobody behind to go on.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s --version: %w: %s", path, err, strings.TrimSpace(string(out)))
	}
	w.Logger.Info("Replacing this process", "binary", path, "version", strings.TrimSpace(string(out)))
	w.sdNotify(daemon.SdNotifyReloading)
	w.stopping = true
	w.end(syscall.SIGTERM, func(c *child) bool { return c.Name == "cluster" })
	w.end(syscall.SIGKILL, func(*child) bool { return true })
	err = syscall.Exec(path, os.Args, append(os.Environ(), upgradedEnv+"=1"))
	w.stopping = false
	for _, c := range w.children {
		if serr := w.start(c); serr != nil {
			w.Logger.Error("worker cannot be started", "worker", c.Name, "error", serr)
			w.again(c, 0)
		}
	}
	w.sdNotify(daemon.SdNotifyReady)
	return fmt.Errorf("%s: %w", path, err)
}
