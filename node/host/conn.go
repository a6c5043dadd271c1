package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// MaxMessage is the largest packet Send accepts, in bytes of JSON.
const MaxMessage = 64<<10 - 1

// Errors of a Conn. Test with errors.Is.
var (
	// ErrFull means that the other worker is dead, stopped or slow and its queue is
	// full. The message is gone; whatever matters is said again later.
	ErrFull = errors.New("the other worker's queue is full; message dropped")
	// ErrTooLarge means that the message does not fit into MaxMessage; see SplitStatus.
	ErrTooLarge = errors.New("message is too large")
)

// Conn is one end of a SOCK_SEQPACKET pair between two workers. The watchdog holds both
// ends open for as long as it lives: a worker that is killed and started again finds the
// same pair, and the other worker notices nothing but a second KindHello.
//
// Send may be called from several goroutines, Recv from one.
type Conn struct {
	f       *os.File
	rc      rawConn
	buf     []byte
	dropped atomic.Uint64
	garbled atomic.Uint64
	closed  atomic.Bool
}

type rawConn interface {
	Read(func(fd uintptr) bool) error
	Control(func(fd uintptr)) error
}

// NewPair makes a connected pair. Both files are close-on-exec; pass them on with exec.Cmd.ExtraFiles.
func NewPair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "ipc-a"), os.NewFile(uintptr(fds[1]), "ipc-b"), nil
}

// OpenConn makes a Conn of an inherited file. The Conn works on a duplicate, so f may be closed or kept.
func OpenConn(f *os.File) (*Conn, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", f.Name(), err)
	}
	if typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || typ != unix.SOCK_SEQPACKET {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%s is not a SOCK_SEQPACKET socket", f.Name())
	}
	// The flag belongs to the open file, which os/exec switched to blocking when it
	// passed it on; without it Recv could not be cancelled.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	// Best effort: room for a few whole statuses.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20)
	d := os.NewFile(uintptr(fd), f.Name())
	rc, err := d.SyscallConn()
	if err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return &Conn{f: d, rc: rc, buf: make([]byte, MaxMessage+1)}, nil
}

// Send hands one message to the kernel and never waits: with no room it fails with ErrFull and counts.
func (c *Conn) Send(m Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s message: %w", m.Kind, err)
	}
	if len(b) > MaxMessage {
		c.dropped.Add(1)
		return fmt.Errorf("%s message of %d bytes: %w", m.Kind, len(b), ErrTooLarge)
	}
	var serr error
	cerr := c.rc.Control(func(fd uintptr) {
		for {
			serr = unix.Sendmsg(int(fd), b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if !errors.Is(serr, unix.EINTR) {
				return
			}
		}
	})
	switch {
	case cerr != nil:
		return cerr
	case serr == nil:
		return nil
	case errors.Is(serr, unix.EAGAIN), errors.Is(serr, unix.ENOBUFS):
		c.dropped.Add(1)
		return ErrFull
	}
	c.dropped.Add(1)
	return fmt.Errorf("send %s message: %w", m.Kind, serr)
}

// Recv waits for the next message. It fails with ctx's error, io.EOF when no process
// holds the other end, or os.ErrClosed after Close. A packet that is no message is skipped and counted.
func (c *Conn) Recv(ctx context.Context) (Message, error) {
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	if err := c.f.SetReadDeadline(time.Time{}); err != nil {
		return Message{}, err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.f.SetReadDeadline(time.Unix(1, 0))
		close(fired)
	})
	defer func() {
		if !stop() {
			<-fired // or it would cut short the next Recv
		}
	}()
	for {
		b, err := c.packet()
		if err != nil {
			if c.closed.Load() {
				return Message{}, os.ErrClosed
			}
			if ctx.Err() != nil {
				return Message{}, ctx.Err()
			}
			return Message{}, err
		}
		var m Message
		if b == nil || json.Unmarshal(b, &m) != nil || m.Kind == "" {
			c.garbled.Add(1)
			continue
		}
		return m, nil
	}
}

// packet reads one packet; nil without an error is one that was longer than the buffer.
func (c *Conn) packet() ([]byte, error) {
	var n, flags int
	var rerr error
	err := c.rc.Read(func(fd uintptr) bool {
		n, _, flags, _, rerr = unix.Recvmsg(int(fd), c.buf, nil, unix.MSG_DONTWAIT)
		return !errors.Is(rerr, unix.EAGAIN) && !errors.Is(rerr, unix.EINTR)
	})
	switch {
	case err != nil:
		return nil, err
	case rerr != nil:
		return nil, fmt.Errorf("receive: %w", rerr)
	case n == 0:
		return nil, io.EOF
	case flags&unix.MSG_TRUNC != 0:
		return nil, nil
	}
	return c.buf[:n], nil
}

// Drain throws away what waits. A worker that starts calls it before it says hello: what
// is queued was meant for its predecessor.
func (c *Conn) Drain() (n int) {
	_ = c.rc.Control(func(fd uintptr) {
		for {
			got, _, _, _, err := unix.Recvmsg(int(fd), c.buf, nil, unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || got == 0 {
				return
			}
			n++
		}
	})
	return n
}

// Dropped counts messages that Send could not deliver.
func (c *Conn) Dropped() uint64 { return c.dropped.Load() }

// Garbled counts received packets that were no messages.
func (c *Conn) Garbled() uint64 { return c.garbled.Load() }

// Close ends this end; a waiting Recv returns os.ErrClosed.
func (c *Conn) Close() error {
	c.closed.Store(true)
	return c.f.Close()
}

// The watchdog tells a worker about inherited files in these variables: comma separated
// PEER=FD, and the file descriptor of the readiness pipe.
const (
	envConns = "QUORATE_CONNS"
	envReady = "QUORATE_READY_FD"
)

// InheritedConn returns the connection to another worker that the watchdog handed to
// this process, or nil when there is none: standalone, or started by hand.
func InheritedConn(peer string) (*Conn, error) {
	for _, w := range strings.Split(os.Getenv(envConns), ",") {
		name, num, ok := strings.Cut(w, "=")
		if !ok || name != peer {
			continue
		}
		fd, err := strconv.Atoi(num)
		if err != nil || fd < 3 {
			return nil, fmt.Errorf("%s=%q: bad file descriptor", envConns, os.Getenv(envConns))
		}
		sealInherited()
		f := os.NewFile(uintptr(fd), "ipc-"+peer)
		defer func() { _ = f.Close() }()
		return OpenConn(f)
	}
	return nil, nil
}

// sealInherited keeps files this worker inherited, from the watchdog or whoever started that, from
// the scripts it starts.
func sealInherited() {
	if unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// Before Linux 5.11: at least those we know of.
	for _, w := range strings.Split(os.Getenv(envConns)+",="+os.Getenv(envReady), ",") {
		if _, num, ok := strings.Cut(w, "="); ok {
			if fd, err := strconv.Atoi(num); err == nil && fd >= 3 {
				unix.CloseOnExec(fd)
			}
		}
	}
}

// NotifyReady tells the watchdog, once, that this worker is up. Without a watchdog it does nothing.
func NotifyReady() error {
	v := os.Getenv(envReady)
	if v == "" {
		return nil
	}
	if err := os.Unsetenv(envReady); err != nil {
		return err
	}
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return fmt.Errorf("%s=%q: bad file descriptor", envReady, v)
	}
	f := os.NewFile(uintptr(fd), "ready")
	_, err = f.WriteString("ready\n")
	return errors.Join(err, f.Close())
}
