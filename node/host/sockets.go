package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"quorate/node"
	"quorate/vrrp"
)

// vrrpSocket sends and receives one kind of VRRP packets on one interface.
type vrrpSocket struct {
	node.Socket
	name  string
	index int
	fd    int          // non-blocking
	tap   *frameSocket // then it receives, and fd only sends and has joined the group
	ttl   int          // of unicast packets, as last set

	src, dst netip.Addr // of the last advert, and what they are to the kernel
	oob      []byte
	to       unix.Sockaddr
}

// openVRRP opens a socket. One for a multicast group is bound to that, so that unicast adverts and those for other
// groups stay out, as in keepalived.
func openVRRP(name string, index int, kind node.Socket) (*vrrpSocket, error) {
	family, proto := unix.AF_INET, vrrp.ProtocolNumber
	if kind.IPv6 {
		family = unix.AF_INET6
	}
	if kind.AH {
		proto = protocolAH
	}
	fail := func(err error) (*vrrpSocket, error) {
		return nil, fmt.Errorf("VRRP socket (%s) on %s: %w", kind, name, err)
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return fail(err)
	}
	p := preparation{fd: fd, name: name, index: index, kind: kind}
	p.common()
	if kind.IPv6 {
		p.ipv6()
	} else {
		p.ipv4()
	}
	if err := errors.Join(p.errs...); err != nil {
		_ = unix.Close(fd)
		return fail(err)
	}
	s := &vrrpSocket{Socket: kind, name: name, index: index, fd: fd}
	if kind.Tap {
		if s.tap, err = openTapSocket(name, index, kind); err == nil {
			err = attach(fd, passNothing)
		}
		if err != nil {
			_ = s.Close()
			return fail(err)
		}
	}
	return s, nil
}

// preparation sets the options of a new socket.
type preparation struct {
	fd    int
	name  string
	index int
	kind  node.Socket
	errs  []error
}

func (p *preparation) set(what string, err error) {
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", what, err))
	}
}

func (p *preparation) option(what string, level, name, value int) {
	p.set(what, unix.SetsockoptInt(p.fd, level, name, value))
}

func (p *preparation) common() {
	p.set("bind to device", unix.BindToDevice(p.fd, p.name))
	p.set("SO_RCVBUF", firstNil(unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20),
		func() error { return unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) }))
}

func (p *preparation) ipv4() {
	const ip = unix.IPPROTO_IP
	p.option("IP_MULTICAST_ALL", ip, unix.IP_MULTICAST_ALL, 0)
	p.option("IP_TTL", ip, unix.IP_TTL, vrrp.TTL)
	p.option("IP_TOS", ip, unix.IP_TOS, vrrp.TOS) // also sets a priority, so before:
	p.option("SO_PRIORITY", unix.SOL_SOCKET, unix.SO_PRIORITY, 7)
	// No don't-fragment bit, as keepalived sends it.
	p.option("IP_MTU_DISCOVER", ip, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	if p.kind.AH { // its check value covers the header, which therefore is not left to the kernel
		p.option("IP_HDRINCL", ip, unix.IP_HDRINCL, 1)
	}
	if !p.kind.Group.IsValid() {
		return
	}
	group := &unix.IPMreqn{Multiaddr: p.kind.Group.As4(), Ifindex: int32(p.index)}
	p.option("IP_MULTICAST_TTL", ip, unix.IP_MULTICAST_TTL, vrrp.TTL)
	p.option("IP_MULTICAST_LOOP", ip, unix.IP_MULTICAST_LOOP, 0)
	p.set("IP_MULTICAST_IF", unix.SetsockoptIPMreqn(p.fd, ip, unix.IP_MULTICAST_IF, group))
	p.set("join "+p.kind.Group.String(), unix.SetsockoptIPMreqn(p.fd, ip, unix.IP_ADD_MEMBERSHIP, group))
	p.set("bind to "+p.kind.Group.String(), unix.Bind(p.fd, &unix.SockaddrInet4{Addr: group.Multiaddr}))
}

func (p *preparation) ipv6() {
	const (
		ip           = unix.IPPROTO_IPV6
		multicastAll = 29 // IPV6_MULTICAST_ALL, since Linux 4.20
	)
	p.option("IPV6_MULTICAST_ALL", ip, multicastAll, 0)
	p.option("IPV6_RECVPKTINFO", ip, unix.IPV6_RECVPKTINFO, 1)
	p.option("IPV6_RECVHOPLIMIT", ip, unix.IPV6_RECVHOPLIMIT, 1)
	p.option("IPV6_UNICAST_HOPS", ip, unix.IPV6_UNICAST_HOPS, vrrp.TTL)
	p.option("IPV6_TCLASS", ip, unix.IPV6_TCLASS, vrrp.TOS)
	p.option("SO_PRIORITY", unix.SOL_SOCKET, unix.SO_PRIORITY, 7)
	if !p.kind.Group.IsValid() {
		return
	}
	group := p.kind.Group.As16()
	p.option("IPV6_MULTICAST_HOPS", ip, unix.IPV6_MULTICAST_HOPS, vrrp.TTL)
	p.option("IPV6_MULTICAST_LOOP", ip, unix.IPV6_MULTICAST_LOOP, 0)
	p.option("IPV6_MULTICAST_IF", ip, unix.IPV6_MULTICAST_IF, p.index)
	p.set("join "+p.kind.Group.String(), unix.SetsockoptIPv6Mreq(p.fd, ip, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group, Interface: uint32(p.index)}))
	p.set("bind to "+p.kind.Group.String(), unix.Bind(p.fd, &unix.SockaddrInet6{Addr: group, ZoneId: uint32(p.index)}))
}

func firstNil(err error, other func() error) error {
	if err == nil {
		return nil
	}
	return other()
}

// Send transmits an advert from p.Src. The kernel refuses a source the host does not have.
func (s *vrrpSocket) Send(p vrrp.Packet) error {
	if p.Src.Is6() != s.IPv6 || p.Dst.Is6() != s.IPv6 {
		return fmt.Errorf("advert on %s from %s to %s: not of the socket's family", s.name, p.Src, p.Dst)
	}
	flags := unix.MSG_DONTWAIT // an advert that would have to wait is late: never wait
	if s.Group.IsValid() {
		flags |= unix.MSG_DONTROUTE
	}
	payload := p.Payload
	if s.AH {
		if payload = p.Whole(); payload == nil {
			return fmt.Errorf("advert on %s from %s: no header to authenticate", s.name, p.Src)
		}
	}
	if s.to == nil || p.Src != s.src || p.Dst != s.dst { // most have one instance, or many with the same addresses
		s.address(p.Src, p.Dst)
	}
	err := s.setTTL(s.fd, p)
	for again := err == nil; again; again = errors.Is(err, unix.EINTR) {
		err = unix.Sendmsg(s.fd, payload, s.oob, s.to, flags)
	}
	if err != nil {
		return fmt.Errorf("send advert on %s from %s: %w", s.name, p.Src, err)
	}
	return nil
}

// address prepares for sending from src to dst.
func (s *vrrpSocket) address(src, dst netip.Addr) {
	s.src, s.dst, s.oob = src, dst, nil
	switch {
	case s.IPv6:
		s.oob = unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(s.index), Addr: src.As16()})
		s.to = &unix.SockaddrInet6{Addr: dst.As16(), ZoneId: uint32(s.index)}
	case s.AH:
		s.to = &unix.SockaddrInet4{Addr: dst.As4()}
	default:
		s.oob = unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(s.index), Spec_dst: src.As4()})
		s.to = &unix.SockaddrInet4{Addr: dst.As4()}
	}
}

// SendFrom transmits an advert from a virtual Ethernet address. One that is too large for a frame goes out as all others do,
// in fragments and from the address of the interface.
func (s *vrrpSocket) SendFrom(mac [6]byte, p vrrp.Packet) error {
	if s.tap == nil {
		return fmt.Errorf("advert on %s from %s: no packet socket", s.name, node.MAC(mac))
	}
	err := s.tap.Send(mac, p)
	if errors.Is(err, unix.EMSGSIZE) {
		return s.Send(p)
	}
	if err != nil {
		return fmt.Errorf("send advert on %s from %s, %s: %w", s.name, p.Src, node.MAC(mac), err)
	}
	return nil
}

// setTTL takes over unicast_ttl; instances with different ones share a socket.
func (s *vrrpSocket) setTTL(fd int, p vrrp.Packet) error {
	ttl := int(p.TTL)
	if s.Group.IsValid() || s.AH || ttl == 0 || ttl == s.ttl {
		return nil
	}
	s.ttl = ttl
	if s.IPv6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl)
}

// receiveBatch is how many packets are taken at once, about what the buffer holds: a flood must not push adverts out of it, nor keep the
// worker from all else.
const receiveBatch = 4096

// listener is the descriptor where packets arrive.
func (s *vrrpSocket) listener() int {
	if s.tap != nil {
		return s.tap.fd
	}
	return s.fd
}

// Receive gives each the packets that lie in the socket, without waiting. A packet's bytes are those of buf: each keeps none of
// them. If there were more than receiveBatch, or after an error, the rest still lies there.
func (s *vrrpSocket) Receive(buf []byte, each func(vrrp.Packet)) error {
	for range receiveBatch {
		p, ok, err := s.receiveOne(s.listener(), buf)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			return nil
		case err != nil:
			return fmt.Errorf("receive on %s: %w", s.name, err)
		case ok:
			each(p)
		}
	}
	return nil
}

// receiveOne takes a packet without waiting; what is none is not ok.
func (s *vrrpSocket) receiveOne(fd int, buf []byte) (p vrrp.Packet, ok bool, err error) {
	if s.tap != nil || !s.IPv6 {
		n, err := unix.Read(fd, buf) // Recvfrom would make a second system call for the sender, which is in the header
		switch {
		case err != nil:
		case s.tap != nil:
			p, ok = parseFrame(buf[:n], s.IPv6)
		default:
			p, ok = parseIPv4(buf[:n])
		}
		return p, ok, err
	}
	var oob [128]byte
	n, oobn, _, from, err := unix.Recvmsg(fd, buf, oob[:], unix.MSG_DONTWAIT)
	if err != nil {
		return p, false, err
	}
	p, ok = parseIPv6(buf[:n], oob[:oobn], from)
	return p, ok, nil
}

func (s *vrrpSocket) Close() error {
	var err error
	if s.tap != nil {
		err = unix.Close(s.tap.fd)
	}
	return errors.Join(err, unix.Close(s.fd))
}

// parseIPv4 takes a packet as a raw socket delivers it: with its IP header, checked by the kernel.
func parseIPv4(b []byte) (vrrp.Packet, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return vrrp.Packet{}, false
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || total < head || total > len(b) || b[9] != vrrp.ProtocolNumber && b[9] != protocolAH {
		return vrrp.Packet{}, false
	}
	p := vrrp.Packet{
		Src:     netip.AddrFrom4([4]byte(b[12:16])),
		Dst:     netip.AddrFrom4([4]byte(b[16:20])),
		TTL:     b[8],
		Payload: b[head:total],
	}
	if b[9] == protocolAH {
		p.Proto, p.Header = vrrp.ProtocolAH, b[:head]
	}
	return p, true
}

// parseIPv6 takes a payload, as a raw IPv6 socket delivers it, and what its control messages say of the header.
func parseIPv6(b, oob []byte, from unix.Sockaddr) (vrrp.Packet, bool) {
	sa, ok := from.(*unix.SockaddrInet6)
	if !ok {
		return vrrp.Packet{}, false
	}
	p := vrrp.Packet{Src: netip.AddrFrom16(sa.Addr), Payload: b}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return vrrp.Packet{}, false
	}
	for _, m := range list {
		if m.Header.Level != unix.IPPROTO_IPV6 {
			continue
		}
		switch {
		case m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			p.TTL = uint8(binary.NativeEndian.Uint32(m.Data))
		case m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			p.Dst = netip.AddrFrom16([16]byte(m.Data[:16]))
		}
	}
	return p, p.Dst.IsValid()
}
