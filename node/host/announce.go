package host

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/mdlayher/ndp"
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
)

// neighbourFrame is an unsolicited neighbour advertisement as keepalived sends it: from the VIP itself to all nodes,
// hop limit 255, override, router if this host forwards (RFC 4861 7.2.6; RFC 9568 8.2.2).
func neighbourFrame(mac net.HardwareAddr, vip netip.Addr, router bool) ([]byte, error) {
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{
		Router: router, Override: true, TargetAddress: vip,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}, vip, allNodes)
	if err != nil {
		return nil, fmt.Errorf("neighbour advertisement for %s from %s: %w", vip, mac, err)
	}
	return icmp6Frame(mac, allNodesMAC, vip, allNodes, body), nil
}

// solicitationFrame asks as for duplicates: from no address, so that the answer goes to all nodes (RFC 4862 5.4.2).
func solicitationFrame(mac net.HardwareAddr, vip netip.Addr) ([]byte, error) {
	group, err := ndp.SolicitedNodeMulticast(vip)
	if err != nil {
		return nil, fmt.Errorf("neighbour solicitation for %s: %w", vip, err)
	}
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{TargetAddress: vip}, netip.IPv6Unspecified(), group)
	if err != nil {
		return nil, fmt.Errorf("neighbour solicitation for %s from %s: %w", vip, mac, err)
	}
	to := multicastMAC(group)
	return icmp6Frame(mac, to[:], netip.IPv6Unspecified(), group, body), nil
}

// icmp6Frame puts the headers around an ICMPv6 message of neighbour discovery: hop limit 255 (RFC 4861 3.1).
func icmp6Frame(mac, to net.HardwareAddr, from, group netip.Addr, body []byte) []byte {
	f := make([]byte, 0, 14+40+len(body))
	f = append(f, to...)
	f = append(f, mac...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(len(body)))
	f = append(f, protocolICMPv6, 255)
	src, dst := from.As16(), group.As16()
	f = append(append(f, src[:]...), dst[:]...)
	return append(f, body...)
}

// forwards says whether this host is an IPv6 router on an interface.
func forwards(dev string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + dev + "/forwarding")
	return err == nil && strings.TrimSpace(string(b)) == "1"
}
