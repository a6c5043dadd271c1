package uml

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a Job that says nothing.
const (
	DefaultMemoryMB = 256
	DefaultTimeout  = 2 * time.Minute
	minMemoryMB     = 64
	// bootAllowance is what booting and halting may take beyond the job's own time, on a loaded machine.
	bootAllowance = time.Minute
)

// ErrTimeout is wrapped by Run's error when the job was ended because its time was up.
var ErrTimeout = errors.New("the job in user mode linux did not end in time")

//go:embed init.sh
var initScript string

//go:embed guard.sh
var guardScript string

// Job is a program to run in a guest.
type Job struct {
	// Argv is the program and its arguments. A name without a slash is looked up in the guest's PATH.
	Argv []string
	// Env is added to a small environment of the guest's own: PATH, HOME, TMPDIR, LANG. Nothing else of the caller's is
	// passed on.
	Env []string
	// Dir is the working directory; default the caller's.
	Dir string
	// MemoryMB is the guest's memory; default DefaultMemoryMB. The host gives only what is touched.
	MemoryMB int
	// Timeout of the job alone, without the boot; default DefaultTimeout. The job gets a SIGTERM, 5 s later a SIGKILL.
	Timeout time.Duration
	// Stdout gets what the job writes to its standard output and error, in order, while it runs. May be nil.
	Stdout io.Writer
	// Console gets what the guest's kernel says. May be nil.
	Console io.Writer
	// Modules to load before the job begins; a missing one is an error. Nil means DefaultModules, as far as they exist.
	// Later the guest's kernel loads what it needs by itself, as any kernel does.
	Modules []string
	// KernelArgs are further words of the kernel's command line, for example "vec0:transport=fd,fd=4,depth=128".
	KernelArgs []string
	// ExtraFiles are handed to the guest's kernel process: the first is fd 4.
	ExtraFiles []*os.File
}

// DefaultModules returns what a director and a test of one need: IPVS with schedulers and helpers, interfaces, netem.
func DefaultModules() []string {
	return []string{
		"ipv6",
		"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_fo", "ip_vs_ovf", "ip_vs_lblc", "ip_vs_lblcr",
		"ip_vs_dh", "ip_vs_sh", "ip_vs_mh", "ip_vs_sed", "ip_vs_nq", "ip_vs_ftp", "ip_vs_pe_sip",
		"veth", "bridge", "dummy", "macvlan", "tun", "af_packet", "sch_netem",
		"ip_tables", "iptable_filter", "iptable_nat", "iptable_mangle", "xt_mark", "xt_owner", "xt_tcpudp",
	}
}

// Run boots a guest, runs the job in it and returns the job's exit status. The error is nil whenever the job ran to its
// end, whatever its status; otherwise it says why there is none: ErrUnavailable, ErrTimeout, the context's error, or
// what the guest's console said last. When Run returns, the guest and its temporary files are gone.
func Run(ctx context.Context, job Job) (exitCode int, err error) {
	if err := Available(); err != nil {
		return -1, err
	}
	if job.MemoryMB == 0 {
		job.MemoryMB = DefaultMemoryMB
	}
	if job.Timeout == 0 {
		job.Timeout = DefaultTimeout
	}
	if job.Dir == "" {
		if job.Dir, err = os.Getwd(); err != nil {
			return -1, fmt.Errorf("uml: %w", err)
		}
	}
	if err := job.validate(); err != nil {
		return -1, fmt.Errorf("uml: %w", err)
	}
	dir, lock, err := prepare(job)
	if err != nil {
		return -1, fmt.Errorf("uml: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), lock.Close()) }()
	return boot(ctx, job, dir)
}

func (j Job) validate() error {
	switch {
	case len(j.Argv) == 0 || j.Argv[0] == "":
		return errors.New("the job has no program")
	case j.MemoryMB < minMemoryMB:
		return fmt.Errorf("%d MB of memory is too little to boot; at least %d", j.MemoryMB, minMemoryMB)
	case j.Timeout < time.Second:
		return fmt.Errorf("a timeout of %s is too short; at least 1s", j.Timeout)
	case hidden(j.Argv[0]):
		return fmt.Errorf("program %s is not visible in the guest, which has its own %s", j.Argv[0], strings.Join(own(), ", "))
	case hidden(j.Dir):
		return fmt.Errorf("directory %s is not visible in the guest, which has its own %s", j.Dir, strings.Join(own(), ", "))
	}
	for _, e := range j.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || !isName(name) {
			return fmt.Errorf("environment %q is not of the form NAME=value", e)
		}
	}
	for _, m := range append(append([]string{}, j.Modules...), j.KernelArgs...) {
		if m == "" || strings.ContainsAny(m, " \t\n\"'") {
			return fmt.Errorf("%q cannot be a module or a kernel argument", m)
		}
	}
	return nil
}

// own lists where the guest has file systems of its own, which hide the host's files.
func own() []string { return []string{"/proc", "/sys", "/dev", "/run"} }

func hidden(path string) bool {
	for _, o := range own() {
		if path == o || strings.HasPrefix(path, o+"/") {
			return true
		}
	}
	return false
}

const dirPrefix = "quorate-uml-"

// claim holds a directory for as long as the file it returns is open, and fails if somebody else does.
func claim(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweep removes the directories of runs that ended without a chance to do so, as those in a PID namespace whose first process was killed.
func sweep(base string) {
	list, _ := filepath.Glob(filepath.Join(base, dirPrefix+"*"))
	for _, dir := range list {
		// A young one may not be claimed yet.
		if st, err := os.Stat(dir); err != nil || time.Since(st.ModTime()) < time.Minute {
			continue
		}
		if f, err := claim(dir); err == nil { // else another user's, or in use
			_ = os.RemoveAll(dir) // what it fails with is met again by the next run
			_ = f.Close()
		}
	}
}

// prepare makes the run's directory, which is this process's until lock is closed.
func prepare(job Job) (dir string, lock *os.File, err error) {
	base := os.TempDir()
	if hidden(base) {
		base = "/var/tmp"
	}
	if base, err = filepath.Abs(base); err != nil {
		return "", nil, err
	}
	if strings.ContainsAny(base, " \t\n\"'") {
		return "", nil, fmt.Errorf("the directory for temporary files, %q, cannot be named on a kernel's command line; set TMPDIR", base)
	}
	sweep(base)
	if dir, err = os.MkdirTemp(base, dirPrefix); err != nil {
		return "", nil, err
	}
	if lock, err = claim(dir); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := fill(dir, job); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir), lock.Close())
	}
	return dir, lock, nil
}

// fill writes what a run needs.
func fill(dir string, job Job) error {
	for _, sub := range []string{"bin", "tmp", "uml", "modroot/lib"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(modulesDir, filepath.Join(dir, "modroot/lib/modules")); err != nil {
		return err
	}
	if err := copyMount(filepath.Join(dir, "bin/mount")); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"init.sh":      initScript,
		"guard.sh":     guardScript,
		"job.sh":       jobScript(job, dir),
		"modules":      moduleList(job.Modules),
		"bin/modprobe": "#!/bin/sh\nexec /sbin/modprobe -d " + dir + "/modroot \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// copyMount gives the guest a mount program of its own. The host's has the set-user-ID bit, and where this process is in
// a user namespace its owner root shows as nobody, also to the guest: mount would run as nobody there and be refused.
func copyMount(to string) error {
	path, err := exec.LookPath("mount")
	if err != nil {
		return fmt.Errorf("%w: no mount program; install the Debian package mount", ErrUnavailable)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// moduleList is the file that tells the guest's init what to load.
func moduleList(modules []string) string {
	list := "strict\n"
	if modules == nil {
		modules, list = DefaultModules(), ""
	}
	for _, m := range modules {
		list += m + "\n"
	}
	return list
}

// jobScript is what the guest's shell runs. It replaces itself by the program.
func jobScript(job Job, dir string) string {
	var b strings.Builder
	env := append([]string{"HOME=" + dir + "/tmp", "TMPDIR=" + dir + "/tmp", "LANG=C.UTF-8"}, job.Env...)
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(value))
	}
	fmt.Fprintf(&b, "cd %s || exit 126\nexec", quote(job.Dir))
	for _, a := range job.Argv {
		b.WriteString(" " + quote(a))
	}
	b.WriteString("\n")
	return b.String()
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || (r >= 'A' && r <= 'Z') || (r >= 'a' && r <= 'z')
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
