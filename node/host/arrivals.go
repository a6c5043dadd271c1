package host

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/node"
	"quorate/vrrp"
)

// arrivals says when packets wait in sockets. It reads none: what is between a reader and the machine could not be seen when the
// machine is about to believe in a silence. Only the worker's goroutine reads, and adds and removes sockets.
//
// A socket is announced once and then not until Again: under load (many virtual routers) the packets of a moment are taken
// together, because a wake-up costs more than a packet. Go's own poller wakes for each packet even when nobody waits, so
// that the sockets are kept from it; it waits for this one.
type arrivals struct {
	f       *os.File // of epoll(7)
	rc      syscall.RawConn
	sockets map[int]*vrrpSocket // by descriptor
	taken   chan struct{}       // the worker has read what was announced
	closed  atomic.Bool
}

// arrived says in which descriptors packets wait.
type arrived struct{ fds []int }

func newArrivals() (*arrivals, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or Go's poller would not take it
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	a := &arrivals{f: os.NewFile(uintptr(fd), "arrivals"), sockets: map[int]*vrrpSocket{}, taken: make(chan struct{}, 1)}
	if a.rc, err = a.f.SyscallConn(); err != nil {
		_ = a.f.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return a, nil
}

// Add takes a socket in.
func (a *arrivals) Add(s *vrrpSocket) error {
	a.sockets[s.listener()] = s
	return a.control(unix.EPOLL_CTL_ADD, s.listener())
}

// Remove is to be called before a socket is closed.
func (a *arrivals) Remove(s *vrrpSocket) { delete(a.sockets, s.listener()) }

// Again has a descriptor announced once more, at once if there is something left. One that was closed does no harm.
func (a *arrivals) Again(fd int) { _ = a.control(unix.EPOLL_CTL_MOD, fd) }

func (a *arrivals) control(op, fd int) error {
	var cerr error
	err := a.rc.Control(func(epoll uintptr) {
		cerr = unix.EpollCtl(int(epoll), op, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)})
	})
	if err = errors.Join(err, cerr); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// Wait returns the descriptors in which something waits, an error included, or os.ErrClosed.
func (a *arrivals) Wait() (fds []int, err error) {
	var events [64]unix.EpollEvent
	var n int
	var werr error
	err = a.rc.Read(func(fd uintptr) bool {
		n, werr = unix.EpollWait(int(fd), events[:], 0)
		return n > 0 || werr != nil && !errors.Is(werr, unix.EINTR)
	})
	if a.closed.Load() {
		return nil, os.ErrClosed
	}
	if err == nil {
		err = werr
	}
	for _, ev := range events[:max(n, 0)] {
		fds = append(fds, int(ev.Fd))
	}
	return fds, err
}

// Close ends Wait.
func (a *arrivals) Close() {
	a.closed.Store(true)
	_ = a.f.Close()
}

const (
	gatherLeast = time.Millisecond
	gatherMost  = 10 * time.Millisecond
	gatherPart  = 10 // of the shortest interval
)

// gatherFor is how long packets are gathered with a configuration, when they come close together. What is late by that is the answer
// to an advert, and the start of the wait for the next one.
func gatherFor(c *config.Config) time.Duration {
	return max(gatherLeast, shortestInterval(c, gatherMost*gatherPart)/gatherPart)
}

// await announces packets until the worker ends.
func (e *elector) await() {
	const deafness = "waiting for adverts"
	var before time.Time
	trouble := false
	for {
		fds, err := e.arrivals.Wait()
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			e.post(troubled{deafness, err})
			time.Sleep(time.Second) // fetch looks all the same before anything is decided
			trouble = true
			continue
		}
		if trouble {
			e.post(troubled{deafness, nil})
			trouble = false
		}
		woke := time.Now()
		e.post(arrived{fds})
		select {
		case <-e.arrivals.taken:
		case <-e.ended:
			return
		}
		if gather := time.Duration(e.gather.Load()); woke.Sub(before) <= 2*gather { // there was hardly a pause
			time.Sleep(gather)
		}
		before = woke
		for _, fd := range fds {
			e.arrivals.Again(fd)
		}
	}
}

// hear reads the sockets that were announced.
func (e *elector) hear(fds []int) {
	for _, fd := range fds {
		if s := e.arrivals.sockets[fd]; s != nil {
			e.receive(s)
		}
	}
	e.carryOut()
	e.arrivals.taken <- struct{}{}
}

// fetch reads what waits, before a silence is believed in: it may not have been announced yet.
func (e *elector) fetch() {
	if !e.waited(instant()) {
		return
	}
	for _, i := range e.ifaces {
		for _, s := range i.vrrp {
			e.receive(s)
		}
	}
	e.carryOut()
}

// receive tells the machine of the packets that lie in a socket.
func (e *elector) receive(s *vrrpSocket) {
	now := instant()
	err := s.Receive(e.buf, func(p vrrp.Packet) {
		e.m.Step(now, node.Received{Interface: s.name, Packet: p})
	})
	if err != nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) { // the interface is down; the socket goes on when it is up again
		e.lost(s, err)
	}
}

// lost gives up a socket; retry opens it again.
func (e *elector) lost(s *vrrpSocket, err error) {
	if i := e.iface(s.name); i.vrrp[s.Socket] == s {
		e.forget(i, s)
		e.Trouble("VRRP socket on "+i.name, err)
	}
}

// forget closes a socket.
func (e *elector) forget(i *iface, s *vrrpSocket) {
	e.arrivals.Remove(s)
	delete(i.vrrp, s.Socket)
	_ = s.Close()
}
