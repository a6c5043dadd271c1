package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"quorate/node"
	"quorate/vrrp"
)

// frameSocket hears and sends adverts as frames.
//
// A private macvlan takes every frame that comes in on its parent with its own Ethernet address as the source for one it
// has sent itself, and nobody else on the host gets it: with use_vmac, a backup would never hear an owner that sends
// from the same virtual address. Packet sockets for all protocols come before that. And one of them sends for all virtual routers of an
// interface, from whatever address each has.
type frameSocket struct {
	index int
	fd    int // non-blocking
}

func openTapSocket(name string, index int, kind node.Socket) (*frameSocket, error) {
	fail := func(err error) (*frameSocket, error) { return nil, fmt.Errorf("packet socket on %s: %w", name, err) }
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // 0: nothing until bound
	if err != nil {
		return fail(err)
	}
	if err = errors.Join(
		attach(fd, advertFilter(kind)),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 7),
		firstNil(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20),
			func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) }),
		// Those for one protocol come after the macvlan.
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}),
	); err != nil {
		_ = unix.Close(fd)
		return fail(err)
	}
	return &frameSocket{index: index, fd: fd}, nil
}

// attach gives a socket a filter.
func attach(fd int, prog []bpf.Instruction) error {
	asm, err := bpf.Assemble(prog)
	if err != nil {
		return err
	}
	raw := make([]unix.SockFilter, len(asm))
	for k, p := range asm {
		raw[k] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]})
}

// passNothing is a filter.
var passNothing = []bpf.Instruction{bpf.RetConstant{Val: 0}}

// advertFilter passes adverts for a group. A tagged frame belongs to a VLAN interface, although the tap of the one below
// sees it too.
func advertFilter(kind node.Socket) []bpf.Instruction {
	proto, kindOf, protoAt, dstAt := uint32(vrrp.ProtocolNumber), uint32(unix.ETH_P_IP), uint32(14+9), uint32(14+16)
	if kind.AH {
		proto = protocolAH
	}
	if kind.IPv6 {
		kindOf, protoAt, dstAt = unix.ETH_P_IPV6, 14+6, 14+24
	}
	prog := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_MULTICAST, SkipTrue: 1}, // to the group by its Ethernet address, too
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: kindOf, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: protoAt, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: proto, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	for group := kind.Group.AsSlice(); len(group) > 0; group = group[4:] {
		prog = append(prog,
			bpf.LoadAbsolute{Off: dstAt, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(group), SkipTrue: 1},
			bpf.RetConstant{Val: 0})
		dstAt += 4
	}
	return append(prog, bpf.RetConstant{Val: 1 << 16})
}

// parseFrame takes a frame of the tap. What the kernel does for other sockets is done here: no fragment, no damaged header.
func parseFrame(f []byte, six bool) (vrrp.Packet, bool) {
	if len(f) < 14 {
		return vrrp.Packet{}, false
	}
	b := f[14:]
	if !six {
		head := 0
		if len(b) >= 20 {
			head = int(b[0]&15) * 4
		}
		if head < 20 || head > len(b) || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 || headerSum(b[:head]) != 0 {
			return vrrp.Packet{}, false
		}
		return parseIPv4(b)
	}
	if len(b) < 40 || b[0]>>4 != 6 || b[6] != vrrp.ProtocolNumber {
		return vrrp.Packet{}, false
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size > len(b)-40 {
		return vrrp.Packet{}, false
	}
	return vrrp.Packet{
		Src: netip.AddrFrom16([16]byte(b[8:24])), Dst: netip.AddrFrom16([16]byte(b[24:40])), TTL: b[7],
		Payload: b[40 : 40+size],
	}, true
}

// headerSum is zero for a good IPv4 header (RFC 1071).
func headerSum(b []byte) uint16 {
	sum := uint32(0)
	for k := 0; k+1 < len(b); k += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[k:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// appendFrame puts the headers around a multicast advert: as keepalived 2.2.7 sends it, but for the identification of IPv4,
// which only fragments need (RFC 6864 4.1).
func appendFrame(b []byte, mac [6]byte, p vrrp.Packet) []byte {
	dst := multicastMAC(p.Dst)
	b = append(append(b, dst[:]...), mac[:]...)
	if p.Dst.Is6() {
		src, to := p.Src.As16(), p.Dst.As16()
		b = append(b, 0x86, 0xdd, 0x60|vrrp.TOS>>4, vrrp.TOS<<4&0xff, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Payload)))
		b = append(b, vrrp.ProtocolNumber, vrrp.TTL)
		b = append(append(b, src[:]...), to[:]...)
		return append(b, p.Payload...)
	}
	b = append(b, 8, 0)
	if whole := p.Whole(); p.Proto == vrrp.ProtocolAH && whole != nil {
		return append(b, whole...)
	}
	start := len(b)
	src, to := p.Src.As4(), p.Dst.As4()
	b = append(b, 0x45, vrrp.TOS)
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(p.Payload)))
	b = append(b, 0, 0, 0, 0, vrrp.TTL, vrrp.ProtocolNumber, 0, 0)
	b = append(append(b, src[:]...), to[:]...)
	binary.BigEndian.PutUint16(b[start+10:], headerSum(b[start:start+20]))
	return append(b, p.Payload...)
}

// multicastMAC is RFC 1112 6.4 and RFC 2464 7.
func multicastMAC(a netip.Addr) [6]byte {
	if a.Is6() {
		v := a.As16()
		return [6]byte{0x33, 0x33, v[12], v[13], v[14], v[15]}
	}
	v := a.As4()
	return [6]byte{1, 0, 0x5e, v[1] & 0x7f, v[2], v[3]}
}

// Send transmits an advert from a virtual Ethernet address.
func (t *frameSocket) Send(mac [6]byte, p vrrp.Packet) error {
	frame := appendFrame(make([]byte, 0, 14+40+len(p.Header)+len(p.Payload)), mac, p)
	to := &unix.SockaddrLinklayer{Protocol: uint16(frame[12]) | uint16(frame[13])<<8, Ifindex: t.index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	for {
		if err := unix.Sendto(t.fd, frame, unix.MSG_DONTWAIT, to); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
