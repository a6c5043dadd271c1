package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"quorate/node/host"
)

// upgradeLimit is how long the running daemon may take to be replaced: its cluster worker hands over a leadership first.
const upgradeLimit = 20 * time.Second

// replaceRunning asks the clusterd of the run directory to replace itself, and waits until it has.
func (s *settings) replaceRunning(ctx context.Context) error {
	refuse := func(format string, args ...any) error {
		return &exitError{exitFatal, fmt.Errorf("upgrade: "+format, args...)}
	}
	path := s.pidPath()
	f, err := os.Open(path)
	if err != nil {
		return refuse("no clusterd runs here: %w\n  remedy: start it, or name its directory with --run-dir", err)
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return refuse("no clusterd runs here: %s is what a dead one left", path)
	}
	before, err := f.Stat()
	if err != nil {
		return refuse("%w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return refuse("%w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 2 {
		return refuse("%s holds no process id but %q", path, b)
	}
	// The running one starts what lies where it was started from. That must be this file.
	exe := fmt.Sprintf("/proc/%d/exe", pid)
	old, err := os.Readlink(exe)
	if err != nil {
		return refuse("%w", err)
	}
	old = strings.TrimSuffix(old, " (deleted)")
	mine, err := os.Stat("/proc/self/exe")
	if err != nil {
		return refuse("%w", err)
	}
	if there, err := os.Stat(old); err != nil || !os.SameFile(there, mine) {
		self, _ := os.Executable()
		return refuse("the running clusterd was started from %s, which is another file than %s\n  remedy: install the new one as %s and run %s --upgrade", old, self, old, old)
	}
	if err := syscall.Kill(pid, host.SignalUpgrade); err != nil {
		return refuse("process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return refuse("process %d is still the old one after %v; its log says why", pid, upgradeLimit)
		case <-time.After(20 * time.Millisecond):
		}
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return refuse("process %d has ended; its log says why", pid)
		}
		// The new one writes the pid file again once it has its lock.
		now, err := os.Stat(path)
		if err == nil && !now.ModTime().Equal(before.ModTime()) {
			fmt.Printf("process %d runs %s\n", pid, old)
			return nil
		}
	}
}
