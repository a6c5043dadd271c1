package host

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"
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

// arpSocket sends Ethernet frames on one interface. It receives nothing.
type arpSocket struct {
	index int
	name  string
	c     *packet.Conn
}

func openARP(name string, index int) (*arpSocket, error) {
	// Protocol 0 attaches no receive hook, so that a busy segment costs nothing.
	c, err := packet.Listen(&net.Interface{Index: index, Name: name}, packet.Raw, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("ARP socket on %s: %w", name, err)
	}
	return &arpSocket{index: index, name: name, c: c}, nil
}

// arpPatience bounds how long one frame may wait for room in a full device queue.
const arpPatience = time.Second

// Announce sends one gratuitous ARP, or one unsolicited neighbour advertisement for an IPv6 address.
func (s *arpSocket) Announce(mac [6]byte, vip netip.Addr) error {
	if vip.Is4() {
		frame, err := garpFrame(mac[:], vip)
		return s.send(frame, err, vip)
	}
	frame, err := neighbourFrame(mac[:], vip, forwards(s.name))
	return s.send(frame, err, vip)
}

// Ask asks the segment who has an address, without saying so of anybody: every host that has it answers, and nobody else
// takes notice. This host does not hear itself.
func (s *arpSocket) Ask(mac [6]byte, vip netip.Addr) error {
	if vip.Is4() {
		frame, err := probeFrame(mac[:], vip)
		return s.send(frame, err, vip)
	}
	frame, err := solicitationFrame(mac[:], vip)
	return s.send(frame, err, vip)
}

func (s *arpSocket) send(frame []byte, err error, vip netip.Addr) error {
	if err == nil {
		err = s.c.SetWriteDeadline(time.Now().Add(arpPatience))
	}
	if err != nil {
		return err
	}
	if _, err := s.c.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]}); err != nil {
		return fmt.Errorf("announcement of %s: %w", vip, err)
	}
	return nil
}

func (s *arpSocket) Close() error { return s.c.Close() }
