package host

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/node"
)

// fifos are the named pipes in which others read of notifications, one line each, in keepalived's format. A
// line that does not fit because nobody reads is lost and reported; nothing waits for a reader.
type fifos struct {
	trouble func(key string, err error)
	start   func(config.Command, []string) (*process, error)
	pipes   []*pipe
}

type pipe struct {
	cfg     config.Fifo
	fd      int
	created bool
	script  *process
}

// Configure opens the pipes of a configuration and starts their scripts; those that go on are left alone.
func (f *fifos) Configure(g config.Global) {
	old := f.pipes
	f.pipes = nil
	for _, c := range []config.Fifo{g.NotifyFifo, g.VRRPNotifyFifo} {
		if c.Path.V == "" || f.has(c.Path.V) {
			continue
		}
		var p *pipe
		for k, o := range old {
			if o != nil && o.cfg.Path.V == c.Path.V {
				p, old[k] = o, nil
			}
		}
		if p == nil {
			var err error
			p, err = openPipe(c)
			f.trouble("notify_fifo "+c.Path.V, err)
			if err != nil {
				continue
			}
			if c.Script != nil {
				p.script, err = f.start(*c.Script, []string{c.Path.V})
				f.trouble("notify_fifo_script "+name(*c.Script), err)
			}
		}
		f.pipes = append(f.pipes, p)
	}
	for _, o := range old {
		if o != nil {
			o.close()
		}
	}
}

func (f *fifos) has(path string) bool {
	for _, p := range f.pipes {
		if p.cfg.Path.V == path {
			return true
		}
	}
	return false
}

// Write tells of a notification.
func (f *fifos) Write(n node.Notify) {
	for _, p := range f.pipes {
		_, err := unix.Write(p.fd, []byte(n.Line()))
		if errors.Is(err, unix.EAGAIN) {
			err = fmt.Errorf("notify_fifo %s: a line is lost: the pipe is full, nobody reads it", p.cfg.Path.V)
		}
		f.trouble("notify_fifo "+p.cfg.Path.V, err)
	}
}

// Close ends the scripts and removes the pipes that were made here.
func (f *fifos) Close() {
	for _, p := range f.pipes {
		p.close()
	}
	f.pipes = nil
}

// openPipe makes the pipe if it is not there. It is opened for both directions, so that it can be
// before anybody reads, and so that a reader may come and go.
func openPipe(c config.Fifo) (*pipe, error) {
	path := c.Path.V
	fail := func(err error) (*pipe, error) { return nil, fmt.Errorf("notify_fifo %s: %w", path, err) }
	p := &pipe{cfg: c}
	switch err := unix.Mkfifo(path, 0o600); {
	case err == nil:
		p.created = true
	case !errors.Is(err, unix.EEXIST):
		return fail(err)
	}
	var err error
	if p.fd, err = unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0); err != nil {
		return fail(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(p.fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		_ = unix.Close(p.fd)
		return fail(errors.New("is there and is no named pipe: remove it or name another"))
	}
	if p.created && c.User != "" {
		if err := chownTo(p.fd, c.User, c.Group); err != nil {
			p.close()
			return fail(err)
		}
	}
	return p, nil
}

func chownTo(fd int, name, group string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	gid := u.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return err
		}
		gid = g.Gid
	}
	un, err1 := strconv.Atoi(u.Uid)
	gn, err2 := strconv.Atoi(gid)
	return errors.Join(err1, err2, unix.Fchown(fd, un, gn))
}

func (p *pipe) close() {
	if p.script != nil {
		p.script.signal(syscall.SIGTERM)
	}
	_ = unix.Close(p.fd)
	if p.created {
		_ = os.Remove(p.cfg.Path.V)
	}
}
