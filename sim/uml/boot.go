package uml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// outputFD is where the guest's kernel process finds the pipe for the job's output.
const outputFD = 3

// boot runs the guest of a prepared directory.
func boot(ctx context.Context, job Job, dir string) (int, error) {
	path, err := kernel()
	if err != nil {
		return -1, err
	}
	limit, cancel := context.WithTimeout(ctx, job.Timeout+bootAllowance)
	defer cancel()

	args := append([]string{filepath.Join(dir, "guard.sh"), dir, path}, kernelArgs(job, dir)...)
	cmd := exec.CommandContext(limit, "/bin/sh", append(args, job.KernelArgs...)...)
	// A process group, so that no part of the guard is left in the end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	guard, alive, err := os.Pipe()
	if err != nil {
		return -1, fmt.Errorf("uml: %w", err)
	}
	// While this end is open, the guard knows that somebody waits for the guest. To close it is to end the guest.
	defer func() { _ = alive.Close() }()
	cmd.Stdin = guard
	cmd.Cancel = alive.Close
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	if m := memoryDir(dir, job.MemoryMB); m != "" {
		cmd.Env = append(cmd.Env, "TMPDIR="+m)
	}
	console := &tail{next: job.Console}
	cmd.Stdout, cmd.Stderr = console, console

	read, write, err := os.Pipe()
	if err != nil {
		return -1, fmt.Errorf("uml: %w", err)
	}
	cmd.ExtraFiles = append([]*os.File{write}, job.ExtraFiles...)
	copied := make(chan error, 1)
	go func() {
		to := job.Stdout
		if to == nil {
			to = io.Discard
		}
		_, err := io.Copy(to, read)
		if err != nil {
			// The guest must not hang because nobody reads.
			_, _ = io.Copy(io.Discard, read)
		}
		copied <- err
	}()

	start := time.Now()
	runErr := cmd.Start()
	_ = guard.Close()
	// The write end belongs to the guest alone from here on.
	_ = write.Close()
	if runErr == nil {
		runErr = cmd.Wait()
		killGroup(cmd)
	}
	// A helper process of the guest might hold the pipe for a moment longer.
	select {
	case err = <-copied:
	case <-time.After(5 * time.Second):
		_ = read.SetReadDeadline(time.Now())
		err = <-copied
	}
	_ = read.Close()

	switch {
	case ctx.Err() != nil:
		return -1, fmt.Errorf("uml: %w", ctx.Err())
	case limit.Err() != nil:
		return -1, fmt.Errorf("%w: the guest hung, ended after %s; console: %s", ErrTimeout, time.Since(start).Round(time.Second), console)
	}
	code, statusErr := status(dir)
	if errors.Is(statusErr, errNoStatus) {
		return -1, fmt.Errorf("uml: %w (kernel process: %v); console: %s", statusErr, runErr, console)
	}
	if statusErr != nil {
		return -1, fmt.Errorf("uml: %w", statusErr)
	}
	if (code == 124 || code == 137) && time.Since(start) >= job.Timeout {
		return code, fmt.Errorf("%w: %s", ErrTimeout, job.Timeout)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return code, fmt.Errorf("uml: writing the job's output: %w", err)
	}
	return code, nil
}

func kernelArgs(job Job, dir string) []string {
	return []string{
		"mem=" + strconv.Itoa(job.MemoryMB) + "M",
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw",
		"init=" + filepath.Join(dir, "init.sh"),
		"uml_dir=" + filepath.Join(dir, "uml"),
		"con=null", "con0=null,fd:1", "con1=null,fd:" + strconv.Itoa(outputFD),
		"quiet",
		// A guest that panics shall end, not wait.
		"panic=-1",
		"QUORATE_DIR=" + dir,
		"QUORATE_TIMEOUT=" + strconv.FormatInt(int64((job.Timeout+time.Second-1)/time.Second), 10),
	}
}

// killGroup ends what is left of the guard: the part that waits for this process to die.
func killGroup(cmd *exec.Cmd) {
	// It fails when nothing is left.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// errNoStatus: the guest's kernel did not boot, panicked, or was halted by the job.
var errNoStatus = errors.New("the guest ended before the job did")

// status reads what the guest left behind.
func status(dir string) (int, error) {
	if why, err := os.ReadFile(filepath.Join(dir, "setup-error")); err == nil {
		return -1, errors.New(strings.TrimSpace(string(why)))
	}
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if errors.Is(err, os.ErrNotExist) {
		return -1, errNoStatus
	}
	if err != nil {
		return -1, err
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1, fmt.Errorf("the guest left a damaged status: %w", err)
	}
	return code, nil
}

// tail keeps the end of what is written to it and passes everything on.
type tail struct {
	next io.Writer
	text []byte
}

const tailBytes = 2000

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if extra := len(t.text) - tailBytes; extra > 0 {
		t.text = t.text[extra:]
	}
	if t.next != nil {
		// What a caller's writer does is no reason to stop the guest.
		_, _ = t.next.Write(b)
	}
	return len(b), nil
}

// String returns the end of the console's output on one line.
func (t *tail) String() string {
	lines := strings.FieldsFunc(string(t.text), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return "(silent)"
	}
	return strings.Join(lines, " | ")
}
