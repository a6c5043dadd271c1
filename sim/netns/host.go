package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is a machine of a Lab: a network stack of its own with lo and eth0. Processes started by
// Command see a /run of their own too, empty but for [Scratch]; all else of the file system is shared.
type Host struct {
	name string
	addr netip.Prefix
	lab  *Lab
	ns   *os.File        // the network namespace
	id   string          // what /proc/PID/ns/net reads for its processes
	nl   *netlink.Handle // route netlink inside
	port netlink.Link    // its port on the switch
	jobs chan func()     // for the host's own thread
	once sync.Once
}

// newHost makes the namespaces on a thread that is the host's from now on.
func newHost(l *Lab, name string) (*Host, error) {
	h := &Host{name: name, lab: l, jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this goroutine and takes its namespaces along.
		runtime.LockOSThread()
		err := h.unshare()
		ready <- err
		if err != nil {
			return
		}
		for job := range h.jobs {
			job()
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("lab: host %s: %w", name, err)
	}
	return h, nil
}

// unshare moves the calling thread into new namespaces and opens what h needs of them.
func (h *Host) unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w (run as root, or inside Enter)", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := mountHostRun(); err != nil {
		return fmt.Errorf("mount an empty /run: %w", err)
	}
	var err error
	if h.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if h.id, err = os.Readlink("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if h.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	lo, err := h.nl.LinkByName("lo")
	if err != nil {
		return err
	}
	return h.nl.LinkSetUp(lo)
}

// close ends the host's thread. The processes must be gone.
func (h *Host) close() {
	h.once.Do(func() {
		close(h.jobs)
		h.nl.Close()
		_ = h.ns.Close()
	})
}

// onThread runs f on the host's own thread.
func (h *Host) onThread(f func() error) error {
	errs := make(chan error, 1)
	h.jobs <- func() { errs <- f() }
	return <-errs
}

// Name is the name given to AddHost.
func (h *Host) Name() string { return h.name }

// Addr is the address given to AddHost.
func (h *Host) Addr() netip.Addr { return h.addr.Addr() }

// MAC is the Ethernet address of eth0.
func (h *Host) MAC() net.HardwareAddr { return MAC(h.addr.Addr()) }

// Do runs f on an operating system thread inside the host's network namespace. Sockets that f
// opens stay there for ever; goroutines that f starts do not run there.
func (h *Host) Do(f func() error) error {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			errs <- fmt.Errorf("lab: host %s: %w", h.name, err)
			return
		}
		defer func() { _ = home.Close() }()
		if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			errs <- fmt.Errorf("lab: host %s: setns: %w", h.name, err)
			return
		}
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread() // else let the thread die: it must not be used elsewhere
		}
		errs <- err
	}()
	return <-errs
}

// Listen is net.Listen in the host.
func (h *Host) Listen(network, address string) (ln net.Listener, err error) {
	err = h.Do(func() error {
		ln, err = net.Listen(network, address)
		return err
	})
	return ln, err
}

// DialContext is net.Dialer.DialContext in the host. The address is IP:port: a name would be
// looked up by goroutines elsewhere.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("lab: host %s: dial %q: want IP:port", h.name, address)
	}
	err = h.Do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// errNoSysctl says that the kernel has no such setting.
var errNoSysctl = errors.New("no such sysctl")

// Sysctl sets a kernel setting of this host: "net.ipv4.conf.all.arp_ignore", "1".
func (h *Host) Sysctl(key, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	err := h.Do(func() error { return os.WriteFile(path, []byte(value), 0) })
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoSysctl
	}
	if err != nil {
		return fmt.Errorf("sysctl -w %s=%s: %w", key, value, err)
	}
	return nil
}

// Link plugs the cable in or pulls it out at the switch: eth0 stays up and loses its carrier.
func (h *Host) Link(up bool) error {
	set := h.lab.fabric.nl.LinkSetDown
	if up {
		set = h.lab.fabric.nl.LinkSetUp
	}
	if err := set(h.port); err != nil {
		return fmt.Errorf("lab: host %s: cable: %w", h.name, err)
	}
	return nil
}

// AddAddress is "ip address add CIDR dev DEVICE".
func (h *Host) AddAddress(device, cidr string) error {
	return h.address("add", h.nl.AddrAdd, device, cidr)
}

// DeleteAddress is "ip address delete CIDR dev DEVICE".
func (h *Host) DeleteAddress(device, cidr string) error {
	return h.address("delete", h.nl.AddrDel, device, cidr)
}

func (h *Host) address(verb string, do func(netlink.Link, *netlink.Addr) error, device, cidr string) error {
	link, err := h.nl.LinkByName(device)
	if err == nil {
		var addr *netlink.Addr
		if addr, err = netlink.ParseAddr(cidr); err == nil {
			err = do(link, addr)
		}
	}
	if err != nil {
		return fmt.Errorf("lab: host %s: ip address %s %s dev %s: %w", h.name, verb, cidr, device, err)
	}
	return nil
}

// Addresses returns the addresses that the kernel has on a device now, in its order.
func (h *Host) Addresses(device string) ([]netip.Prefix, error) {
	link, err := h.nl.LinkByName(device)
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: %s: %w", h.name, device, err)
	}
	list, err := h.nl.AddrList(link, netlink.FAMILY_ALL)
	for try := 0; try < 20 && errors.Is(err, netlink.ErrDumpInterrupted); try++ { // they are changing just now
		time.Sleep(5 * time.Millisecond)
		list, err = h.nl.AddrList(link, netlink.FAMILY_ALL)
	}
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("lab: host %s: addresses of %s: %w", h.name, device, err)
	}
	var out []netip.Prefix
	for _, a := range list {
		ip, _ := netip.AddrFromSlice(a.IP)
		ones, _ := a.Mask.Size()
		out = append(out, netip.PrefixFrom(ip.Unmap(), ones))
	}
	return out, nil
}

// HasAddress says whether eth0 has the address now, whatever a daemon believes.
func (h *Host) HasAddress(addr netip.Addr) (bool, error) {
	list, err := h.Addresses(cableName)
	if err != nil {
		return false, err
	}
	for _, p := range list {
		if p.Addr() == addr {
			return true, nil
		}
	}
	return false, nil
}

// Neighbour returns the Ethernet address that this host would send packets for addr to, nil if it
// knows none.
func (h *Host) Neighbour(addr netip.Addr) (net.HardwareAddr, error) {
	link, err := h.nl.LinkByName(cableName)
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: %w", h.name, err)
	}
	list, err := h.nl.NeighList(link.Attrs().Index, unix.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: neighbours: %w", h.name, err)
	}
	for _, n := range list {
		if ip, ok := netip.AddrFromSlice(n.IP.To4()); ok && ip == addr && len(n.HardwareAddr) == 6 {
			return n.HardwareAddr, nil
		}
	}
	return nil, nil
}

// SetNeighbour makes the host believe that addr is at mac, as it would after it missed the news.
func (h *Host) SetNeighbour(addr netip.Addr, mac net.HardwareAddr) error {
	link, err := h.nl.LinkByName(cableName)
	if err == nil {
		err = h.nl.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_STALE,
			IP: addr.AsSlice(), HardwareAddr: mac,
		})
	}
	if err != nil {
		return fmt.Errorf("lab: host %s: neighbour %s: %w", h.name, addr, err)
	}
	return nil
}
