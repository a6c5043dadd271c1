package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/arp"
	"golang.org/x/sys/unix"
)

const etherTypeARP = 0x0806

// garpFrame is a gratuitous ARP as keepalived and FRR send it: a request from and for the VIP,
// everything broadcast, 42 octets (RFC 5944 4.6 and RFC 9568 8.1.2 allow requests).
func garpFrame(mac net.HardwareAddr, vip netip.Addr) ([]byte, error) {
	broadcast := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	return requestFrame(mac, vip, broadcast, vip)
}

// probeFrame is an ARP probe (RFC 5227 1.1).
func probeFrame(mac net.HardwareAddr, vip netip.Addr) ([]byte, error) {
	return requestFrame(mac, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), vip)
}

// requestFrame is a broadcast ARP request.
func requestFrame(mac net.HardwareAddr, from netip.Addr, target net.HardwareAddr, vip netip.Addr) ([]byte, error) {
	p, err := arp.NewPacket(arp.OperationRequest, mac, from, target, vip)
	if err != nil {
		return nil, fmt.Errorf("gratuitous ARP for %s from %s: %w", vip, mac, err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	frame := make([]byte, 0, 14+len(b))
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, mac...)
	frame = append(frame, etherTypeARP>>8, etherTypeARP&0xff)
	return append(frame, b...), nil
}

// arpSocket sends Ethernet frames, on every interface: each packet socket that is closed makes a process that ends wait for the
// kernel, and with hundreds of interfaces a killed worker would be dead for seconds. It receives nothing.
type arpSocket struct{ fd int }

// arpPatience bounds how long one frame may wait for room in a full device queue.
const arpPatience = time.Second

func openARP() (*arpSocket, error) {
	// Protocol 0 attaches no receive hook, so that a busy segment costs nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ARP socket: %w", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: int64(arpPatience / time.Second)}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("ARP socket: %w", err)
	}
	return &arpSocket{fd}, nil
}

// Announce sends one gratuitous ARP, or one unsolicited neighbour advertisement for an IPv6 address.
func (s *arpSocket) Announce(p location) error {
	if p.key.addr.Is4() {
		frame, err := garpFrame(p.mac[:], p.key.addr)
		return s.send(frame, err, p)
	}
	frame, err := neighbourFrame(p.mac[:], p.key.addr, forwards(p.key.dev))
	return s.send(frame, err, p)
}

// Ask asks the segment who has an address, without saying so of anybody: every host that has it answers, and nobody else
// takes notice. This host does not hear itself.
func (s *arpSocket) Ask(p location) error {
	if p.key.addr.Is4() {
		frame, err := probeFrame(p.mac[:], p.key.addr)
		return s.send(frame, err, p)
	}
	frame, err := solicitationFrame(p.mac[:], p.key.addr)
	return s.send(frame, err, p)
}

func (s *arpSocket) send(frame []byte, err error, p location) error {
	if err != nil {
		return err
	}
	to := &unix.SockaddrLinklayer{Protocol: uint16(frame[12]) | uint16(frame[13])<<8, Ifindex: p.index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	for {
		if err = unix.Sendto(s.fd, frame, 0, to); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("announcement of %s on %s: %w", p.key.addr, p.key.dev, err)
	}
	return nil
}

func (s *arpSocket) Close() error { return unix.Close(s.fd) }
