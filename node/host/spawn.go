package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
)

// spawner starts the processes of scripts, from one OS thread that lives as long as this
// process does: a script's parent-death signal comes when the thread that started it ends.
type spawner struct {
	tasks chan func()
	done  chan struct{}
	tid   int // of that thread
}

func newSpawner() *spawner {
	s := &spawner{tasks: make(chan func()), done: make(chan struct{})}
	started := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		s.tid = unix.Gettid()
		close(started)
		defer runtime.UnlockOSThread() // or the thread ends here, and with it every script
		for {
			select {
			case f := <-s.tasks:
				f()
			case <-s.done:
				return
			}
		}
	}()
	<-started
	return s
}

var errClosed = errors.New("stopping, nothing is started any more")

func (s *spawner) start(cmd *exec.Cmd) error {
	errs := make(chan error, 1)
	select {
	case s.tasks <- func() { errs <- cmd.Start() }:
		return <-errs
	case <-s.done:
		return errClosed
	}
}

func (s *spawner) close() { close(s.done) }

// identity is whom scripts run as when they do not say.
type identity struct {
	user, group string
	secure      bool // enable_script_security
}

// identityOf is script_user, else the user keepalived_script if there is one, else whoever we are.
func identityOf(g config.Global) identity {
	id := identity{g.ScriptUser.V, g.ScriptGroup.V, g.EnableScriptSecurity.V}
	if id.user == "" {
		if _, err := user.Lookup("keepalived_script"); err == nil {
			id.user = "keepalived_script"
		}
	}
	return id
}

// trusted refuses a script that someone other than root could have written, by itself or through a
// directory on the way to it (enable_script_security; asked only for what root runs).
func trusted(path string) error {
	if inUserNamespace() {
		return nil // root here is an ordinary user outside, and the host's root shows as nobody
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for p := real; ; p = filepath.Dir(p) {
		st, err := os.Lstat(p)
		if err != nil {
			return err
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		writable := st.Mode().Perm()&0o002 != 0 || st.Mode().Perm()&0o020 != 0 && ok && sys.Gid != 0
		// In a sticky directory others can add files, but not replace ours.
		if writable && st.IsDir() && st.Mode()&os.ModeSticky != 0 {
			writable = false
		}
		if !ok || sys.Uid != 0 || writable {
			return fmt.Errorf("%s is not owned by root, or others may write it", p)
		}
		if p == "/" || p == "." {
			return nil
		}
	}
}

// inUserNamespace says whether root here is not the host's root: its ids are not mapped one to one.
func inUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !slices.Equal(strings.Fields(string(b)), []string{"0", "0", "4294967295"})
}

// credential resolves names; nil means to stay who we are.
func credential(c config.Command, id identity) (*syscall.Credential, error) {
	if c.User != "" {
		id.user, id.group = c.User, c.Group
	}
	if id.user == "" || os.Geteuid() != 0 {
		return nil, nil // only root can become someone else
	}
	u, err := user.Lookup(id.user)
	if err != nil {
		if u, err = user.LookupId(id.user); err != nil {
			return nil, fmt.Errorf("user %q does not exist on this host", id.user)
		}
	}
	gid := u.Gid
	if id.group != "" {
		g, err := user.LookupGroup(id.group)
		if err != nil {
			if g, err = user.LookupGroupId(id.group); err != nil {
				return nil, fmt.Errorf("group %q does not exist on this host", id.group)
			}
		}
		gid = g.Gid
	}
	uidN, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gidN, err2 := strconv.ParseUint(gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("user %q: %w", id.user, err)
	}
	if uidN == 0 && gidN == 0 {
		return nil, nil
	}
	return &syscall.Credential{Uid: uint32(uidN), Gid: uint32(gidN)}, nil
}

// process is a running script.
type process struct {
	cmd  *exec.Cmd
	last lastLine
	done chan struct{} // closed when it has ended
	err  error         // of Wait; valid after done
}

// start runs a command in a process group of its own.
func (s *spawner) run(c config.Command, extra []string, id identity) (*process, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("empty command")
	}
	c.Argv = readable(c.Argv)
	cred, err := credential(c, id)
	if err != nil {
		return nil, err
	}
	if id.secure && os.Geteuid() == 0 && (cred == nil || cred.Uid == 0) {
		if err := trusted(c.Argv[0]); err != nil {
			return nil, fmt.Errorf("not run as root, since enable_script_security is set: %w", err)
		}
	}
	argv := append(slices.Clone(c.Argv), extra...)
	p, err := s.exec(argv, cred)
	if errors.Is(err, syscall.ENOEXEC) { // a script without #! line: the shell's, as with system(3)
		p, err = s.exec(append([]string{"/bin/sh"}, argv...), cred)
	}
	return p, err
}

// readable is the command for "</path": whether its user can open the file. keepalived gives the word to sh, which makes
// "</dev/tcp/HOST/PORT" a test of a port where sh is bash (measured: with Debian's it always fails); here it is one everywhere.
func readable(argv []string) []string {
	path, ok := strings.CutPrefix(argv[0], "<")
	if !ok {
		return argv
	}
	shell := "/bin/sh"
	if strings.HasPrefix(path, "/dev/tcp/") || strings.HasPrefix(path, "/dev/udp/") {
		shell = "/bin/bash"
	}
	return []string{shell, "-c", `: <"$1"`, shell, path}
}

func (s *spawner) exec(argv []string, cred *syscall.Credential) (*process, error) {
	p := &process{done: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = "/"
	p.cmd.Env = scriptEnv()
	p.cmd.Stdout, p.cmd.Stderr = &p.last, &p.last
	p.cmd.WaitDelay = 200 * time.Millisecond // a background child of the script may hold its output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, Credential: cred}
	if err := s.start(p.cmd); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		if errors.Is(p.err, exec.ErrWaitDelay) {
			p.err = nil
		}
		close(p.done)
	}()
	return p, nil
}

// scriptEnv is our environment without what would change how a program is loaded, or what is the watchdog's and ours alone.
func scriptEnv() []string {
	return slices.DeleteFunc(workerEnv(), func(v string) bool {
		return strings.HasPrefix(v, "LD_") || strings.HasPrefix(v, "IFS=")
	})
}

func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// termGrace is how long a script may take to end after SIGTERM, before SIGKILL (keepalived's 2 s).
const termGrace = 2 * time.Second

// wait waits for the end, at most limit; then it ends the script's process group. stop ends it early.
// It reports whether the script ended by itself.
func (p *process) wait(limit time.Duration, stop <-chan struct{}) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-stop:
	case <-t.C:
	}
	p.signal(syscall.SIGTERM)
	t.Reset(termGrace)
	select {
	case <-p.done:
	case <-t.C:
	}
	p.signal(syscall.SIGKILL) // also those of the group that outlived its leader
	<-p.done
	return false
}

// outcome is the exit code and words for it; -1 when there is none.
func (p *process) outcome() (int, string) {
	code, text := 0, ""
	if st := p.cmd.ProcessState; st != nil && !st.Exited() {
		code, text = -1, signalName(st)
	} else if st != nil {
		code = st.ExitCode()
		text = fmt.Sprintf("exit %d", code)
	}
	if p.err != nil && code == 0 { // not the script's fault: its output could not be read
		text += ", " + p.err.Error()
	}
	if l := p.last.String(); l != "" {
		text += ": " + l
	}
	return code, text
}

// lastLine keeps the last non-empty line of an output, at most 200 bytes of it.
type lastLine struct {
	mu   sync.Mutex
	line []byte // complete
	part []byte // not ended yet
}

const lineLimit = 200

func (l *lastLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		piece, rest, ended := bytes.Cut(b, []byte("\n"))
		if room := lineLimit - len(l.part); room > 0 {
			l.part = append(l.part, piece[:min(room, len(piece))]...)
		}
		if ended {
			if len(bytes.TrimSpace(l.part)) > 0 {
				l.line = append(l.line[:0], l.part...)
			}
			l.part = l.part[:0]
		}
		b = rest
	}
	return n, nil
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.line
	if len(bytes.TrimSpace(l.part)) > 0 {
		b = l.part
	}
	text := strings.Map(func(r rune) rune { // for logs and terminals: no control characters
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "?"))
	return strings.TrimSpace(text)
}
