package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	moby "github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"quorate/ipvs"
)

// requestTimeout is when a request to the kernel is given up. Requests are answered within the system call that sends
// them; only a lost message (socket buffer full) leaves one unanswered.
const requestTimeout = 10 * time.Second

// The kernel's numbers that moby/ipvs does not name.
const (
	flagPersistent = 0x1 // IP_VS_SVC_F_PERSISTENT

	fwdMask   = 0x7 // IP_VS_CONN_F_FWD_MASK
	fwdMasq   = 0   // IP_VS_CONN_F_MASQ
	fwdLocal  = 1   // IP_VS_CONN_F_LOCALNODE
	fwdTunnel = 2   // IP_VS_CONN_F_TUNNEL
	fwdDirect = 3   // IP_VS_CONN_F_DROUTE
)

// Netlink is an ipvs.Backend over generic netlink.
type Netlink struct {
	mu    sync.Mutex
	h     *moby.Handle // nil after a timeout and after Close
	netns *os.File     // nil after Close

	timeout time.Duration // requestTimeout, but in tests
}

var _ ipvs.Backend = (*Netlink)(nil)

// OpenNetlink opens generic netlink in the network namespace of the calling thread and tries it. Use Open, unless it
// must be this interface.
func OpenNetlink() (*Netlink, error) {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("ipvs: %w", err)
	}
	n := &Netlink{netns: ns, timeout: requestTimeout}
	if n.h, err = open(""); err != nil {
		_ = ns.Close()
		return nil, err
	}
	if _, err := n.Table(); err != nil {
		_ = n.Close()
		return nil, err
	}
	return n, nil
}

// open makes a handle in a namespace. The library looks the family up once in the life of the process and never again,
// so nothing may call this before the family is known to be there. It also runs modprobe, and warns through a logger
// of its own where there is none; that is of no interest once the family has been found.
func open(netnsPath string) (*moby.Handle, error) {
	logrus.SetOutput(io.Discard)
	h, err := moby.New(netnsPath)
	if err != nil {
		return nil, fmt.Errorf("ipvs over netlink: %w", err)
	}
	return h, nil
}

// Name returns "netlink".
func (*Netlink) Name() string { return "netlink" }

// Close frees the socket.
func (n *Netlink) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.h != nil {
		n.h.Close()
		n.h = nil
	}
	if n.netns == nil {
		return ErrClosed
	}
	err := n.netns.Close()
	n.netns = nil
	return err
}

// Apply carries out ops in order and stops at the first that fails, with an *ipvs.OpError.
func (n *Netlink) Apply(ops []ipvs.Op) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return apply(ops, func(op ipvs.Op) error {
		return n.request(func(h *moby.Handle) error { return send(h, op) })
	})
}

// Table reads the whole table, sorted.
func (n *Netlink) Table() (ipvs.Table, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var t ipvs.Table
	var services []*moby.Service
	err := n.request(func(h *moby.Handle) (err error) {
		services, err = h.GetServices()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ipvs: reading the services: %w", err)
	}
	for _, s := range services {
		var dests []*moby.Destination
		e := ipvs.Entry{Service: fromService(s)}
		err := n.request(func(h *moby.Handle) (err error) {
			dests, err = h.GetDestinations(s)
			return err
		})
		if errors.Is(err, unix.ESRCH) {
			continue // deleted since
		}
		if err != nil {
			return nil, fmt.Errorf("ipvs: reading the destinations of %s: %w", e.Service.Key, err)
		}
		for _, d := range dests {
			e.Destinations = append(e.Destinations, fromDestination(d))
		}
		t = append(t, e)
	}
	t.Sort()
	return t, nil
}

// request runs f with a deadline. The library itself waits for ever when an answer is lost; closing its socket ends
// that. The caller holds mu.
func (n *Netlink) request(f func(*moby.Handle) error) error {
	if n.netns == nil {
		return ErrClosed
	}
	if n.h == nil {
		// The thread may be any by now, so the namespace is named.
		h, err := open(fmt.Sprintf("/proc/self/fd/%d", n.netns.Fd()))
		if err != nil {
			return err
		}
		n.h = h
	}
	h := n.h
	timer := time.AfterFunc(n.timeout, h.Close)
	err := f(h)
	if !timer.Stop() {
		n.h = nil
		return ErrTimeout
	}
	return err
}

func send(h *moby.Handle, op ipvs.Op) error {
	s, d := toService(op.Service), toDestination(op.Destination)
	switch op.Kind {
	case ipvs.AddService:
		return h.NewService(s)
	case ipvs.EditService:
		return h.UpdateService(s)
	case ipvs.DeleteService:
		return h.DelService(s)
	case ipvs.AddDestination:
		return h.NewDestination(s, d)
	case ipvs.EditDestination:
		return h.UpdateDestination(s, d)
	case ipvs.DeleteDestination:
		return h.DelDestination(s, d)
	}
	return fmt.Errorf("%s is no operation", op.Kind)
}

func toService(s ipvs.Service) *moby.Service {
	m := &moby.Service{
		Protocol:      uint16(s.Protocol),
		Port:          s.Port,
		FWMark:        s.FWMark,
		SchedName:     s.Scheduler,
		Flags:         uint32(s.Flags & ipvs.AllFlags),
		AddressFamily: unix.AF_INET,
		// A mask must always be there: without one, IPv6 services are refused, and IPv4 persistence takes all clients for one.
		Netmask: 0xffffffff,
	}
	if s.Is6() {
		m.AddressFamily, m.Netmask = unix.AF_INET6, 128
	}
	if s.Addr.IsValid() {
		m.Address = net.IP(s.Addr.Unmap().AsSlice())
	}
	if s.Persistence > 0 {
		m.Flags |= flagPersistent
		m.Timeout = uint32(s.Persistence / time.Second)
	}
	if mask := s.Netmask.Unmap(); mask.Is4() {
		b := mask.As4()
		m.Netmask = binary.NativeEndian.Uint32(b[:])
	} else if bits, ok := ipvs.PrefixLen(mask); ok {
		m.Netmask = uint32(bits)
	}
	return m
}

func fromService(m *moby.Service) ipvs.Service {
	is6 := m.AddressFamily == unix.AF_INET6
	s := ipvs.Service{
		Key:       ipvs.Key{FWMark: m.FWMark},
		Scheduler: m.SchedName,
		// The kernel marks services with flags of its own.
		Flags: ipvs.Flags(m.Flags) & ipvs.AllFlags,
	}
	if m.FWMark == 0 {
		addr, _ := netip.AddrFromSlice(m.Address)
		s.Key = ipvs.Key{Protocol: ipvs.Protocol(m.Protocol), Addr: addr.Unmap(), Port: m.Port}
	} else if is6 {
		s.Addr = netip.IPv6Unspecified()
	}
	if m.Flags&flagPersistent == 0 {
		return s
	}
	s.Persistence = time.Duration(m.Timeout) * time.Second
	if is6 {
		if m.Netmask != 128 {
			s.Netmask = ipvs.Mask(int(m.Netmask), true)
		}
	} else if m.Netmask != 0xffffffff {
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], m.Netmask)
		s.Netmask = netip.AddrFrom4(b)
	}
	return s
}

func toDestination(d ipvs.Destination) *moby.Destination {
	if !d.Addr.IsValid() {
		return nil
	}
	return &moby.Destination{
		Address:         net.IP(d.Addr.Unmap().AsSlice()),
		Port:            d.Port,
		Weight:          d.Weight,
		ConnectionFlags: toForward(d.Forward),
		UpperThreshold:  d.UpperThreshold,
		LowerThreshold:  d.LowerThreshold,
	}
}

func fromDestination(m *moby.Destination) ipvs.Destination {
	addr, _ := netip.AddrFromSlice(m.Address)
	return ipvs.Destination{
		Addr:           addr.Unmap(),
		Port:           m.Port,
		Weight:         m.Weight,
		Forward:        fromForward(m.ConnectionFlags),
		UpperThreshold: m.UpperThreshold,
		LowerThreshold: m.LowerThreshold,
		ActiveConns:    uint32(m.ActiveConnections),
		InactiveConns:  uint32(m.InactiveConnections),
	}
}

func toForward(f ipvs.Forward) uint32 {
	switch f {
	case ipvs.Direct:
		return fwdDirect
	case ipvs.Tunnel:
		return fwdTunnel
	}
	return fwdMasq
}

// fromForward returns 0, which is no method, for those that nobody can configure (cache bypass).
func fromForward(connFlags uint32) ipvs.Forward {
	switch connFlags & fwdMask {
	case fwdMasq:
		return ipvs.NAT
	case fwdTunnel:
		return ipvs.Tunnel
	case fwdDirect, fwdLocal: // kernels before 2.6.37 called destinations on this host local
		return ipvs.Direct
	}
	return 0
}
