package real

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/rpc"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorate/sim"
	"quorate/sim/netns"
)

// agentEnv is set where a program is to be the agent of a guest.
const agentEnv = "QUORATE_SIM_AGENT"

// agentTTY is the guest's end of the line to its player, see bootGuest.
const agentTTY = "/dev/tty2"

// hello is what an agent says first, when nothing garbles the line any more.
const hello = "quorate agent\n"

// ServeAgent carries out in a guest what a Player outside wants done there, if that is what this program was started for, and
// reports whether it was. A program that is named in Player.Agent calls it first.
func ServeAgent() (bool, error) {
	if os.Getenv(agentEnv) == "" {
		return false, nil
	}
	tty, err := os.OpenFile(agentTTY, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return true, err
	}
	if err := rawMode(tty); err != nil {
		return true, fmt.Errorf("%s: %w", agentTTY, err)
	}
	if err := os.MkdirAll(netns.Scratch, 0o755); err != nil {
		return true, err
	}
	a := &Agent{processes: map[int]*agentProcess{}, changes: make(chan Change, 1024)}
	s := rpc.NewServer()
	if err := s.Register(a); err != nil {
		return true, err
	}
	if _, err := io.WriteString(tty, hello); err != nil {
		return true, err
	}
	s.ServeConn(&agentLine{tty: tty})
	return true, nil
}

// Agent is what a guest does for its player, called by net/rpc; each method is one of machine's.
type Agent struct {
	own       own
	mu        sync.Mutex
	processes map[int]*agentProcess
	last      int
	carriers  map[string]func(bool) error
	changes   chan Change
}

// AgentHost is the one host of a guest.
type AgentHost struct {
	Name  string
	Dir   string // of its files
	Cards []sim.CardInfo
}

// SetUp makes the host, whose cards are wired to the guest's network devices in their order, and returns the cards' indexes.
func (a *Agent) SetUp(args AgentHost, links *[]int) error {
	lab, err := netns.New(netns.Options{IPv6: args.Cards[0].IPv6.IsValid()})
	if err != nil {
		return err
	}
	h, err := lab.AddHost(args.Name, args.Cards[0].Addr.String())
	if err != nil {
		return err
	}
	a.own, a.carriers = own{h, args.Dir}, map[string]func(bool) error{}
	if err := errors.Join(os.MkdirAll(args.Dir, 0o755), unplug(h)); err != nil {
		return err
	}
	for i, c := range args.Cards {
		carrier, err := h.Wire(c.Name, fmt.Sprintf("vec%d", i))
		if err != nil {
			return err
		}
		a.carriers[c.Name] = carrier
		link, err := setUp(h, c)
		if err != nil {
			return fmt.Errorf("%s %s: %w", args.Name, c.Name, err)
		}
		*links = append(*links, link)
	}
	return a.own.Watch(nil, func(c Change) { a.changes <- c })
}

// agentProcess is a program whose output waits to be fetched.
type agentProcess struct {
	Process
	mu    sync.Mutex
	news  sync.Cond
	chunk AgentChunk
}

// AgentChunk is what a program has printed since it was asked last, and how it ended.
type AgentChunk struct {
	Out, Err []byte
	Wall     time.Time // of the guest, when the last octet came
	Ended    bool
	Code     int
	Failed   string
}

// agentPipe is one of a process's outputs.
type agentPipe struct {
	p  *agentProcess
	to *[]byte
}

func (w agentPipe) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	*w.to = append(*w.to, b...)
	w.p.chunk.Wall = time.Now()
	w.p.news.Signal()
	return len(b), nil
}

// AgentProgram is one to start.
type AgentProgram struct {
	Argv []string
	One  bool // both outputs are one
}

// Start starts a program and returns its number.
func (a *Agent) Start(args AgentProgram, id *int) error {
	p := &agentProcess{}
	p.news.L = &p.mu
	out, errOut := agentPipe{p, &p.chunk.Out}, agentPipe{p, &p.chunk.Err}
	if args.One {
		errOut = out
	}
	started, err := a.own.Start(context.Background(), args.Argv, out, errOut)
	if err != nil {
		return err
	}
	p.Process = started
	a.mu.Lock()
	a.last++
	*id = a.last
	a.processes[a.last] = p
	a.mu.Unlock()
	go func() {
		code, err := started.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.chunk.Ended, p.chunk.Code = true, code
		if err != nil {
			p.chunk.Failed = err.Error()
		}
		p.news.Signal()
	}()
	return nil
}

// process is the program of a number, nil once its end has been told.
func (a *Agent) process(id int) *agentProcess {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.processes[id]
}

// Output waits for what a program prints, or for its end.
func (a *Agent) Output(id int, c *AgentChunk) error {
	p := a.process(id)
	if p == nil {
		return fmt.Errorf("no program %d", id)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.chunk.Out)+len(p.chunk.Err) == 0 && !p.chunk.Ended {
		p.news.Wait()
	}
	*c = p.chunk
	p.chunk.Out, p.chunk.Err = nil, nil
	if c.Ended {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.processes, id)
	}
	return nil
}

// AgentSignal is one to a program, or to all for number 0.
type AgentSignal struct {
	ID  int
	Sig syscall.Signal
}

// Signal sends one. A program that has ended takes none, which is no error: its end is told.
func (a *Agent) Signal(args AgentSignal, _ *bool) error {
	if args.ID == 0 {
		return a.own.Kill(args.Sig)
	}
	p := a.process(args.ID)
	if p == nil {
		return nil
	}
	if err := p.Process.Signal(args.Sig); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// AgentFile is a file or a directory.
type AgentFile struct {
	Path string
	Text []byte
	Mode os.FileMode
}

// Write writes a file.
func (a *Agent) Write(f AgentFile, _ *bool) error { return a.own.Write(f.Path, f.Text, f.Mode) }

// MkdirAll makes a directory.
func (a *Agent) MkdirAll(f AgentFile, _ *bool) error { return a.own.MkdirAll(f.Path, f.Mode) }

// RemoveAll removes one.
func (a *Agent) RemoveAll(path string, _ *bool) error { return a.own.RemoveAll(path) }

// Sysctl takes a key and a value.
func (a *Agent) Sysctl(kv [2]string, _ *bool) error { return a.own.Sysctl(kv[0], kv[1]) }

// AddAddress takes a card and an address.
func (a *Agent) AddAddress(at [2]string, _ *bool) error { return a.own.AddAddress(at[0], at[1]) }

// DeleteAddress takes a card and an address.
func (a *Agent) DeleteAddress(at [2]string, _ *bool) error { return a.own.DeleteAddress(at[0], at[1]) }

// Addresses lists those of a card.
func (a *Agent) Addresses(card string, list *[]netip.Prefix) (err error) {
	*list, err = a.own.Addresses(card)
	return err
}

// IPVS reads the kernel's table.
func (a *Agent) IPVS(_ bool, text *string) (err error) {
	*text, err = a.own.IPVS()
	return err
}

// ClearIPVS empties it.
func (a *Agent) ClearIPVS(bool, *bool) error { return a.own.ClearIPVS() }

// Tear tears the log in a state directory.
func (a *Agent) Tear(stateDir string, _ *bool) error { return a.own.Tear(stateDir) }

// Listens reports whether somebody does at a socket.
func (a *Agent) Listens(socket string, yes *bool) error {
	*yes = a.own.Listens(socket)
	return nil
}

// Changes waits for changes of addresses and links and returns those there are.
func (a *Agent) Changes(_ bool, list *[]Change) error {
	*list = append(*list, <-a.changes)
	for {
		select {
		case c := <-a.changes:
			*list = append(*list, c)
		default:
			return nil
		}
	}
}

// AgentCable is that of a card, in or out.
type AgentCable struct {
	Card string
	Up   bool
}

// Carrier plugs a cable in or pulls it.
func (a *Agent) Carrier(c AgentCable, _ *bool) error {
	f := a.carriers[c.Card]
	if f == nil {
		return fmt.Errorf("no card %s", c.Card)
	}
	return f(c.Up)
}

// AgentClock is what machine.Clock takes.
type AgentClock struct {
	Step time.Duration
	PPM  int64
}

// Clock sets the guest's clock.
func (a *Agent) Clock(c AgentClock, _ *bool) error { return a.own.Clock(c.Step, c.PPM) }
