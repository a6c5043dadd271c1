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
	f := make([]byte, 0, 14+40+len(body))
	f = append(f, allNodesMAC...)
	f = append(f, mac...)
	f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(len(body)))
	f = append(f, protocolICMPv6, 255)
	src, dst := vip.As16(), allNodes.As16()
	f = append(append(f, src[:]...), dst[:]...)
	return append(f, body...), nil
}

// forwards says whether this host is an IPv6 router on an interface.
func forwards(dev string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + dev + "/forwarding")
	return err == nil && strings.TrimSpace(string(b)) == "1"
}
