package real

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/ipvs"
	"quorate/ipvs/kernel"
	"quorate/sim"
	"quorate/sim/netns"
)

// machine is what a host is made of, a kernel and programs: a namespace of this kernel (own), or a guest with a kernel and clocks of its
// own (guest). Files are those that its programs see.
type machine interface {
	// Start runs a program until it ends or ctx does.
	Start(ctx context.Context, argv []string, out, errOut io.Writer) (Process, error)
	// Kill sends a signal to every process.
	Kill(sig syscall.Signal) error
	Write(path string, text []byte, mode os.FileMode) error
	MkdirAll(path string, mode os.FileMode) error
	RemoveAll(path string) error
	Sysctl(key, value string) error
	AddAddress(card, cidr string) error
	DeleteAddress(card, cidr string) error
	Addresses(card string) ([]netip.Prefix, error)
	// IPVS reads the kernel's table, an error if it has none.
	IPVS() (string, error)
	ClearIPVS() error
	// Tear does to the end of the write-ahead log in a state directory what a power failure does in the middle of a write.
	Tear(stateDir string) error
	// Listens reports whether somebody does at a socket.
	Listens(socket string) bool
	// Watch tells of every change of addresses and links until done is closed.
	Watch(done <-chan struct{}, tell func(Change)) error
	// Clock has the wall clock jump, if step is not 0, or else all clocks run fast by so many parts per million.
	Clock(step time.Duration, ppm int64) error
}

// Process is a program that was started.
type Process interface {
	Signal(sig syscall.Signal) error
	// Wait returns the exit status, -1 after a signal, and an error if there is none.
	Wait() (code int, err error)
}

// Change is what a kernel tells of an address, or of a link if that is not valid.
type Change struct {
	Index int // of the device
	Addr  netip.Addr
	New   bool // the address is there now; it has gone
	Name  string
	MAC   net.HardwareAddr
	Up    bool // of the link: there, with a carrier
}

// run runs a program to its end. What it said on its standard error is in the error of one that failed.
func run(ctx context.Context, m machine, out io.Writer, argv ...string) (code int, err error) {
	var said strings.Builder
	p, err := m.Start(ctx, argv, out, &said)
	if err == nil {
		code, err = p.Wait()
	}
	if err == nil && code != 0 {
		err = fmt.Errorf("%s: exit status %d: %s", filepath.Base(argv[0]), code, strings.TrimSpace(said.String()))
	}
	return code, err
}

// own is a machine that is a namespace of this kernel.
type own struct {
	*netns.Host
	dir string // working directory of its programs
}

type ownProcess struct{ *netns.Cmd }

func (p ownProcess) Signal(sig syscall.Signal) error { return p.Process.Signal(sig) }

func (p ownProcess) Wait() (code int, err error) {
	err = p.Cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func (o own) Start(ctx context.Context, argv []string, out, errOut io.Writer) (Process, error) {
	cmd := o.Command(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.dir, direct(out), direct(errOut)
	return ownProcess{cmd}, cmd.Start()
}

// direct has a program write to a log's file itself.
func direct(w io.Writer) io.Writer {
	if l, ok := w.(*hostLog); ok {
		return l.file
	}
	return w
}

// Write replaces the file at once: a daemon may be reading it.
func (o own) Write(path string, text []byte, mode os.FileMode) error {
	if err := os.WriteFile(path+".new", text, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (o own) MkdirAll(path string, mode os.FileMode) error { return os.MkdirAll(path, mode) }

func (o own) RemoveAll(path string) error { return os.RemoveAll(path) }

func (o own) Listens(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// ipvsFile is the table of the namespace of the thread that reads it.
const ipvsFile = "/proc/thread-self/net/ip_vs"

func (o own) IPVS() (string, error) {
	var text []byte
	err := o.Do(func() (err error) { text, err = os.ReadFile(ipvsFile); return err })
	return string(text), err
}

func (o own) ClearIPVS() error {
	return o.Do(func() error {
		b, err := kernel.Open(slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		t, err := b.Table()
		var ops []ipvs.Op
		for _, e := range t {
			ops = append(ops, ipvs.Op{Kind: ipvs.DeleteService, Service: ipvs.Service{Key: e.Service.Key}})
		}
		if err == nil {
			err = b.Apply(ops)
		}
		return errors.Join(err, b.Close())
	})
}

// Tear leaves a record that says it has 64 octets and has nine.
func (o own) Tear(stateDir string) error {
	files, err := filepath.Glob(filepath.Join(stateDir, "raft", "*", "wal", "*.wal"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s has no write-ahead log to tear: %w", o.Name(), err)
	}
	slices.Sort(files)
	path := files[len(files)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	copy(b[logEnd(b):], []byte{64, 0, 0, 0, 0, 0, 0, 0, 8, 2, 16, 0, 0, 0, 0, 0, 0})
	return os.WriteFile(path, b, 0o600)
}

// logEnd is where the records of a log file end; the rest is allocated ahead. A record may end in zeros itself, so it goes by the
// lengths, which are in the lower 56 bits of a word before each, with the padding in the upper ones (etcd's wal).
func logEnd(b []byte) (end int) {
	for end+8 <= len(b) {
		word := binary.LittleEndian.Uint64(b[end:])
		size := 8 + int(word&^(0xff<<56))
		if word>>63 == 1 {
			size += int(word >> 56 & 7)
		}
		if word == 0 || size > len(b)-end {
			break
		}
		end += size
	}
	return end
}

const rtmNewLink = 16 // RTM_NEWLINK

func (o own) Watch(done <-chan struct{}, tell func(Change)) error {
	addrs, links := make(chan netlink.AddrUpdate, 64), make(chan netlink.LinkUpdate, 64)
	// The sockets belong to the namespace in which they are opened.
	err := o.Do(func() error {
		return errors.Join(netlink.AddrSubscribe(addrs, done), netlink.LinkSubscribe(links, done))
	})
	if err != nil {
		return fmt.Errorf("watch the addresses of %s: %w", o.Name(), err)
	}
	go func() {
		for u := range addrs {
			if ip, ok := netip.AddrFromSlice(u.LinkAddress.IP); ok {
				tell(Change{Index: u.LinkIndex, Addr: ip.Unmap(), New: u.NewAddr})
			}
		}
	}()
	go func() {
		for u := range links {
			a := u.Attrs()
			tell(Change{Index: a.Index, Name: a.Name, MAC: a.HardwareAddr, Up: u.Header.Type == rtmNewLink && a.OperState == netlink.OperUp})
		}
	}()
	return nil
}

// Clock sets the clock of this kernel, which is for one that belongs to the host alone.
func (o own) Clock(step time.Duration, ppm int64) error {
	if step != 0 {
		tv := unix.NsecToTimeval(time.Now().Add(step).UnixNano())
		return os.NewSyscallError("settimeofday", unix.Settimeofday(&tv))
	}
	const adjFrequency, adjTick = 0x0002, 0x4000 // linux/timex.h
	// adjtimex(2): 100 ppm are 1 µs more in each tick of 10 ms; what is left is set in 2^-16 ppm.
	_, err := unix.Adjtimex(&unix.Timex{Modes: adjTick | adjFrequency, Tick: 10_000 + ppm/100, Freq: ppm % 100 << 16})
	return os.NewSyscallError("adjtimex", err)
}

// setUp makes a card of a host what the world says: Ethernet address, addresses, no waiting for IPv6. It returns its index.
func setUp(h *netns.Host, card sim.CardInfo) (index int, err error) {
	err = h.Do(func() error {
		link, err := netlink.LinkByName(card.Name)
		if err != nil {
			return err
		}
		index = link.Attrs().Index
		if err := netlink.LinkSetHardwareAddr(link, netns.MAC(card.Addr.Addr())); err != nil {
			return err
		}
		addresses := []netip.Prefix{card.Addr}
		if card.IPv6.IsValid() {
			addresses = append(addresses, card.IPv6)
			// The link-local address can be used at once, and nobody asks for routers.
			for _, key := range []string{"accept_dad", "router_solicitations"} {
				if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+card.Name+"/"+key, []byte("0"), 0); err != nil {
					return err
				}
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		for _, p := range addresses {
			a, err := netlink.ParseAddr(p.String())
			if err == nil {
				err = netlink.AddrAdd(link, a)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return index, err
}

// unplug takes away the cable that every host of a lab has.
func unplug(h *netns.Host) error {
	return h.Do(func() error {
		old, err := netlink.LinkByName("eth0")
		if err == nil {
			err = netlink.LinkDel(old)
		}
		return err
	})
}
