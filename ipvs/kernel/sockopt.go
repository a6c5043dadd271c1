package kernel

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"quorate/ipvs"
)

// IP_VS_SO_*, of linux/ip_vs.h.
const (
	soBase = 64 + 1024 + 64

	soAdd      = soBase + 2
	soEdit     = soBase + 3
	soDel      = soBase + 4
	soAddDest  = soBase + 7
	soDelDest  = soBase + 8
	soEditDest = soBase + 9

	soGetInfo    = soBase + 1
	soServices   = soBase + 2
	soDests      = soBase + 4
	readAttempts = 5
)

// errChanged: the table changed while it was read, readAttempts times.
var errChanged = errors.New("the table changes faster than it can be read")

// Sockopt is an ipvs.Backend over socket options. It sees and makes IPv4 services only.
type Sockopt struct {
	mu sync.Mutex
	fd int // -1 after Close
}

var _ ipvs.Backend = (*Sockopt)(nil)

// OpenSockopt opens a socket in the network namespace of the calling thread and tries whether it has the options. Use
// Open, unless it must be this interface: it is Open that makes the kernel load IPVS.
func OpenSockopt() (*Sockopt, error) {
	// Any IPv4 socket does.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ipvs: %w", os.NewSyscallError("socket", err))
	}
	s := &Sockopt{fd: fd}
	if _, err := s.info(); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("ipvs over socket options: %w", err)
	}
	return s, nil
}

// Name returns "sockopt".
func (*Sockopt) Name() string { return "sockopt" }

// Close frees the socket.
func (s *Sockopt) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return ErrClosed
	}
	err := unix.Close(s.fd)
	s.fd = -1
	return err
}

// Apply carries out ops in order and stops at the first that fails, with an *ipvs.OpError.
func (s *Sockopt) Apply(ops []ipvs.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return apply(ops, s.send)
}

func (s *Sockopt) send(op ipvs.Op) error {
	if op.Service.Is6() {
		return ErrIPv6
	}
	service := toSoService(op.Service)
	switch op.Kind {
	case ipvs.AddService:
		return s.set(soAdd, raw(&service))
	case ipvs.EditService:
		return s.set(soEdit, raw(&service))
	case ipvs.DeleteService:
		return s.set(soDel, raw(&service))
	}
	both := soServiceDest{service, toSoDest(op.Destination)}
	switch op.Kind {
	case ipvs.AddDestination:
		return s.set(soAddDest, raw(&both))
	case ipvs.EditDestination:
		return s.set(soEditDest, raw(&both))
	case ipvs.DeleteDestination:
		return s.set(soDelDest, raw(&both))
	}
	return fmt.Errorf("%s is no operation", op.Kind)
}

// Table reads the whole table, sorted.
func (s *Sockopt) Table() (ipvs.Table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	services, err := s.services()
	if err != nil {
		return nil, fmt.Errorf("ipvs: reading the services: %w", err)
	}
	var t ipvs.Table
	for i := range services {
		e := ipvs.Entry{Service: fromSoService(&services[i])}
		dests, err := s.dests(&services[i])
		if errors.Is(err, unix.ESRCH) {
			continue // deleted since
		}
		if err != nil {
			return nil, fmt.Errorf("ipvs: reading the destinations of %s: %w", e.Service.Key, err)
		}
		for j := range dests {
			e.Destinations = append(e.Destinations, fromSoDest(&dests[j]))
		}
		t = append(t, e)
	}
	t.Sort()
	return t, nil
}

// services reads all services. The caller must say how many there are, and a table that has grown since is cut off
// without a word; so the number is asked again afterwards.
func (s *Sockopt) services() ([]soServiceEntry, error) {
	for range readAttempts {
		before, err := s.info()
		if err != nil {
			return nil, err
		}
		entries := make([]soServiceEntry, before.services)
		head := soGetServices{count: before.services}
		if err := getTable(s, soServices, raw(&head), entries); err != nil {
			return nil, err
		}
		after, err := s.info()
		if err != nil {
			return nil, err
		}
		if after.services == before.services {
			return entries, nil
		}
	}
	return nil, errChanged
}

// dests reads the destinations of a service, of which there were e.dests.
func (s *Sockopt) dests(e *soServiceEntry) ([]soDestEntry, error) {
	head := soGetDests{protocol: e.protocol, addr: e.addr, port: e.port, fwmark: e.fwmark, count: e.dests}
	entries := make([]soDestEntry, e.dests)
	if err := getTable(s, soDests, raw(&head), entries); err != nil {
		return nil, err
	}
	// If some have gone since, the kernel leaves the rest of the memory as it was: zero.
	for i := range entries {
		if entries[i].addr == [4]byte{} {
			return entries[:i], nil
		}
	}
	return entries, nil
}

func (s *Sockopt) info() (soInfo, error) {
	var info soInfo
	err := s.get(soGetInfo, raw(&info))
	return info, err
}

// getTable reads a header followed by entries.
func getTable[T any](s *Sockopt, opt int, head []byte, entries []T) error {
	if len(entries) == 0 {
		return nil
	}
	body := unsafe.Slice((*byte)(unsafe.Pointer(&entries[0])), uintptr(len(entries))*unsafe.Sizeof(entries[0]))
	buf := make([]byte, len(head)+len(body))
	copy(buf, head)
	if err := s.get(opt, buf); err != nil {
		return err
	}
	copy(body, buf[len(head):])
	return nil
}

func (s *Sockopt) set(opt int, b []byte) error {
	if s.fd < 0 {
		return ErrClosed
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptString(s.fd, unix.SOL_IP, opt, string(b)))
}

// get fills b, whose size must be what the kernel expects.
func (s *Sockopt) get(opt int, b []byte) error {
	if s.fd < 0 {
		return ErrClosed
	}
	size := uint32(len(b))
	_, _, no := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_IP, uintptr(opt),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if no != 0 {
		return os.NewSyscallError("getsockopt", no)
	}
	return nil
}
