package real

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/rpc"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorate/sim"
	"quorate/sim/uml"
)

// guest is a machine with a kernel and clocks of its own: a User Mode Linux guest. Its network devices are sockets of this process, at
// which the fabric finds the frames, and over a line, which is a terminal inside, an agent does there what machine wants done.
type guest struct {
	name   string
	rpc    *rpc.Client
	frames []*os.File    // this process's ends of the network devices
	ended  chan struct{} // closed when the guest is gone, for
	why    error
}

const (
	bootPatience = 90 * time.Second
	guestLife    = time.Hour
	wireBuffer   = 4 << 20 // octets of frames on their way
)

// bootGuest starts a guest with so many network devices. It ends with ctx.
func bootGuest(ctx context.Context, name string, devices int, agent []string) (*guest, error) {
	g := &guest{name: name, ended: make(chan struct{})}
	line, inside, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	files := []*os.File{inside}
	args := []string{"con2=fd:4,fd:4"} // package uml: the first of ExtraFiles is 4
	for i := range devices {
		wire, inside, err := socketPair(unix.SOCK_SEQPACKET)
		if err != nil {
			return nil, err
		}
		g.frames, files = append(g.frames, wire), append(files, inside)
		args = append(args, fmt.Sprintf("vec%d:transport=fd,fd=%d,depth=128", i, 5+i))
	}
	go func() {
		defer close(g.ended)
		var said bytes.Buffer
		code, err := uml.Run(ctx, uml.Job{Argv: agent, Env: []string{agentEnv + "=1"}, Dir: "/", Timeout: guestLife, Stdout: &said, KernelArgs: args, ExtraFiles: files})
		if err == nil {
			err = fmt.Errorf("its agent ended with status %d: %s", code, strings.TrimSpace(said.String()))
		}
		g.why = fmt.Errorf("the guest of %s: %w", name, err)
		_ = line.Close()
	}()
	_ = line.SetReadDeadline(time.Now().Add(bootPatience))
	heard := make([]byte, len(hello))
	_, err = io.ReadFull(line, heard)
	for _, f := range files {
		_ = f.Close() // the guest has its own
	}
	if err == nil && string(heard) != hello {
		err = fmt.Errorf("its agent said %q", heard)
	}
	if err != nil {
		select {
		case <-g.ended:
			return nil, g.why
		case <-time.After(time.Second):
			return nil, fmt.Errorf("the guest of %s does not start: %w", name, err)
		}
	}
	_ = line.SetReadDeadline(time.Time{})
	g.rpc = rpc.NewClient(newPlayerLine(line))
	return g, nil
}

func socketPair(kind int) (here, there *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range fds {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, wireBuffer); err != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, wireBuffer) // as much as an ordinary user may have
		}
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "guest"), os.NewFile(uintptr(fds[1]), "guest"), nil
}

// call is one to the agent. A guest that is gone is why it fails.
func (g *guest) call(method string, args, reply any) error {
	err := g.rpc.Call("Agent."+method, args, reply)
	var said rpc.ServerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return fmt.Errorf("%s: %w", g.name, err)
	}
	<-g.ended
	return g.why
}

func (g *guest) do(method string, args any) error { return g.call(method, args, new(bool)) }

// close ends the connections; the guest ends with its context.
func (g *guest) close() {
	_ = g.rpc.Close()
	for _, f := range g.frames {
		_ = f.Close()
	}
	<-g.ended
}

// setUp makes the host in the guest and returns the indexes of its cards.
func (g *guest) setUp(dir string, cards []sim.CardInfo) (links []int, err error) {
	err = g.call("SetUp", AgentHost{g.name, dir, cards}, &links)
	return links, err
}

// guestProcess is a program in a guest.
type guestProcess struct {
	g    *guest
	id   int
	done chan struct{}
	code int
	err  error
}

func (g *guest) Start(ctx context.Context, argv []string, out, errOut io.Writer) (Process, error) {
	p := &guestProcess{g: g, done: make(chan struct{})}
	if err := g.call("Start", AgentProgram{argv, out == errOut}, &p.id); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Signal(unix.SIGKILL) }) // it may have ended
	go func() {
		defer close(p.done)
		defer stop()
		for {
			var c AgentChunk
			if p.err = g.call("Output", p.id, &c); p.err != nil {
				return
			}
			for _, o := range []struct {
				w    io.Writer
				text []byte
			}{{out, c.Out}, {errOut, c.Err}} {
				switch w := o.w.(type) {
				case nil:
				case *hostLog:
					w.add(o.text, c.Wall)
				default:
					_, _ = w.Write(o.text) // memory
				}
			}
			if c.Ended {
				if p.code = c.Code; c.Failed != "" {
					p.err = errors.New(c.Failed)
				}
				return
			}
		}
	}()
	return p, nil
}

func (p *guestProcess) Signal(sig syscall.Signal) error {
	return p.g.do("Signal", AgentSignal{p.id, sig})
}

func (p *guestProcess) Wait() (code int, err error) {
	<-p.done
	return p.code, p.err
}

func (g *guest) Kill(sig syscall.Signal) error { return g.do("Signal", AgentSignal{0, sig}) }

func (g *guest) Write(path string, text []byte, mode os.FileMode) error {
	return g.do("Write", AgentFile{path, text, mode})
}

func (g *guest) MkdirAll(path string, mode os.FileMode) error {
	return g.do("MkdirAll", AgentFile{Path: path, Mode: mode})
}

func (g *guest) RemoveAll(path string) error { return g.do("RemoveAll", path) }

func (g *guest) Sysctl(key, value string) error { return g.do("Sysctl", [2]string{key, value}) }

func (g *guest) AddAddress(card, cidr string) error {
	return g.do("AddAddress", [2]string{card, cidr})
}

func (g *guest) DeleteAddress(card, cidr string) error {
	return g.do("DeleteAddress", [2]string{card, cidr})
}

func (g *guest) Addresses(card string) (list []netip.Prefix, err error) {
	err = g.call("Addresses", card, &list)
	return list, err
}

func (g *guest) IPVS() (text string, err error) {
	err = g.call("IPVS", true, &text)
	return text, err
}

func (g *guest) ClearIPVS() error { return g.do("ClearIPVS", true) }

func (g *guest) Tear(stateDir string) error { return g.do("Tear", stateDir) }

func (g *guest) Listens(socket string) (yes bool) {
	_ = g.call("Listens", socket, &yes) // a guest that is gone shows in the next call
	return yes
}

func (g *guest) Watch(_ <-chan struct{}, tell func(Change)) error {
	go func() {
		for {
			var list []Change
			if g.call("Changes", true, &list) != nil {
				return // with the guest
			}
			for _, c := range list {
				tell(c)
			}
		}
	}()
	return nil
}

func (g *guest) Clock(step time.Duration, ppm int64) error {
	return g.do("Clock", AgentClock{step, ppm})
}

func (g *guest) carrier(card string, up bool) error { return g.do("Carrier", AgentCable{card, up}) }
