package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"quorate/vrrp"
)

// allRouters is where adverts go: the VRRP group, 224.0.0.18 (RFC 9568 5.1.1.2).
var allRouters = [4]byte{224, 0, 0, 18}

// vrrpSocket sends and receives IP protocol 112 on one interface.
type vrrpSocket struct {
	name  string
	index int
	f     *os.File
	rc    syscall.RawConn
	ended atomic.Bool
}

// openVRRP opens the socket of an interface. It is bound to the group address, so that unicast
// adverts and those for other groups stay out, as in keepalived.
func openVRRP(name string, index int) (*vrrpSocket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, vrrp.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("VRRP socket on %s: %w", name, err)
	}
	if err := prepareVRRP(fd, name, index); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("VRRP socket on %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), "vrrp-"+name) // non-blocking: Go's poller serves it
	rc, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("VRRP socket on %s: %w", name, err)
	}
	return &vrrpSocket{name: name, index: index, f: f, rc: rc}, nil
}

func prepareVRRP(fd int, name string, index int) error {
	var errs []error
	set := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	group := &unix.IPMreqn{Multiaddr: allRouters, Ifindex: int32(index)}
	set("bind to device", unix.BindToDevice(fd, name))
	set("IP_MULTICAST_ALL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0))
	set("IP_MULTICAST_TTL", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, vrrp.TTL))
	set("IP_MULTICAST_LOOP", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0))
	set("IP_MULTICAST_IF", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, group))
	set("IP_TOS", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, vrrp.TOS)) // also sets a priority, so before:
	set("SO_PRIORITY", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7))
	// No don't-fragment bit, as keepalived sends it.
	set("IP_MTU_DISCOVER", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT))
	set("SO_RCVBUF", firstNil(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20),
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) }))
	set("join 224.0.0.18", unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, group))
	set("bind to 224.0.0.18", unix.Bind(fd, &unix.SockaddrInet4{Addr: allRouters}))
	return errors.Join(errs...)
}

func firstNil(err error, other func() error) error {
	if err == nil {
		return nil
	}
	return other()
}

// Send transmits an advert from p.Src. The kernel refuses a source the host does not have.
func (s *vrrpSocket) Send(p vrrp.Packet) error {
	if !p.Src.Is4() || !p.Dst.Is4() {
		return fmt.Errorf("advert on %s from %s to %s: not IPv4", s.name, p.Src, p.Dst)
	}
	oob := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(s.index), Spec_dst: p.Src.As4()})
	to := &unix.SockaddrInet4{Addr: p.Dst.As4()}
	var serr error
	err := s.rc.Control(func(fd uintptr) { // an advert that would have to wait is late: never wait
		for {
			serr = unix.Sendmsg(int(fd), p.Payload, oob, to, unix.MSG_DONTWAIT|unix.MSG_DONTROUTE)
			if !errors.Is(serr, unix.EINTR) {
				return
			}
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return fmt.Errorf("send advert on %s from %s: %w", s.name, p.Src, err)
	}
	return nil
}

// Receive waits for a packet. The payload is a fresh slice.
func (s *vrrpSocket) Receive(buf []byte) (vrrp.Packet, error) {
	for {
		var n int
		var rerr error
		err := s.rc.Read(func(fd uintptr) bool {
			n, _, rerr = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(rerr, unix.EAGAIN) && !errors.Is(rerr, unix.EINTR)
		})
		if err == nil {
			err = rerr
		}
		if s.ended.Load() {
			return vrrp.Packet{}, os.ErrClosed
		}
		if err != nil {
			return vrrp.Packet{}, fmt.Errorf("receive on %s: %w", s.name, err)
		}
		if p, ok := parseIPv4(buf[:n]); ok {
			return p, nil
		}
	}
}

// Close ends Receive with os.ErrClosed.
func (s *vrrpSocket) Close() error {
	s.ended.Store(true)
	return s.f.Close()
}

// parseIPv4 takes a packet as a raw socket delivers it: with its IP header, checked by the kernel.
func parseIPv4(b []byte) (vrrp.Packet, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return vrrp.Packet{}, false
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || total < head || total > len(b) || b[9] != vrrp.ProtocolNumber {
		return vrrp.Packet{}, false
	}
	return vrrp.Packet{
		Src:     netip.AddrFrom4([4]byte(b[12:16])),
		Dst:     netip.AddrFrom4([4]byte(b[16:20])),
		TTL:     b[8],
		Payload: append([]byte(nil), b[head:total]...),
	}, true
}
