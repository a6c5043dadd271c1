package replay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

var far, near = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// tunnels put a frame into something, with the headers as their documents draw them.
var tunnels = []struct {
	port string // what the decoder calls it
	wrap func(frame []byte) []byte
}{
	{"vxlan5001", func(f []byte) []byte { return udpTo(portVXLAN, []byte{8, 0, 0, 0, 0, 0x13, 0x89, 0}, f) }},
	{"vxlan7", func(f []byte) []byte { return udpTo(portOTV, []byte{8, 0, 0, 0, 0, 0, 7, 0}, f) }},
	{"geneve9", func(f []byte) []byte { // with an option of 8 octets
		return udpTo(portGENV, []byte{2, 0, 0x65, 0x58, 0, 0, 9, 0, 1, 2, 0x80, 1, 0, 0, 0, 0}, f)
	}},
	{"gre", func(f []byte) []byte { return greOf([]byte{0, 0, 0x65, 0x58}, f) }},
	{"gre66051", func(f []byte) []byte { // with checksum, key, sequence number
		return greOf([]byte{0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 9}, f)
	}},
	{"erspan", func(f []byte) []byte { return greOf([]byte{0, 0, 0x88, 0xbe}, f) }},
	{"erspan5", func(f []byte) []byte {
		return greOf([]byte{0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 5, 0, 0, 0, 1}, f)
	}},
	{"erspan6", func(f []byte) []byte {
		return greOf([]byte{0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0}, f)
	}},
	{"erspan6", func(f []byte) []byte { // with the subheader of a platform
		return greOf([]byte{0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0, 1, 0x0c, 0, 0, 0, 0, 0, 0, 0}, f)
	}},
	{"mpls16/mpls100", func(f []byte) []byte {
		return slices.Concat(ether(9, etherMPLS), []byte{0, 1, 0, 255, 0, 6, 0x41, 255, 0, 0, 0, 0}, f)
	}},
	{"mpls100", func(f []byte) []byte { return slices.Concat(ether(9, etherMPLS), []byte{0, 6, 0x41, 255}, f) }}, // no control word
	{"vlan4/vxlan1/vlan7", func(f []byte) []byte {
		f = slices.Concat(f[:12], []byte{0x81, 0, 0, 7}, f[12:])
		f = udpTo(portVXLAN, []byte{8, 0, 0, 0, 0, 0, 1, 0}, f)
		return slices.Concat(f[:12], []byte{0x81, 0, 0, 4}, f[12:])
	}},
	{"gre/vxlan1", func(f []byte) []byte {
		return greOf([]byte{0, 0, 0x65, 0x58}, udpTo(portVXLAN, []byte{8, 0, 0, 0, 0, 0, 1, 0}, f))
	}},
}

func udpTo(port uint16, header, frame []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0xc0, 0}, port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(header)+len(frame)))
	return eth4(9, ip4(far, near, 64, protoUDP, slices.Concat(b, []byte{0, 0}, header, frame), nil))
}

func greOf(header, frame []byte) []byte {
	return eth4(9, ip4(far, near, 64, protoGRE, slices.Concat(header, frame), nil))
}

// TestTunnels: a capture of what is in a tunnel gives the verdicts of the capture without it, ARP included; tshark finds the same.
func TestTunnels(t *testing.T) {
	const name = "25-inject-v2-invalid.pcap"
	want := verdicts(t, pcapOf(binary.LittleEndian, magicMicro, 1, rewrap(t, name, slices.Clone[[]byte])))
	var all [][]byte
	for n, tc := range tunnels {
		file := pcapOf(binary.LittleEndian, magicMicro, 1, rewrap(t, name, tc.wrap))
		if got := verdicts(t, file); got != want {
			t.Errorf("%d %s:\n got %s\nwant %s", n, tc.port, got, want)
			continue
		}
		lines, _ := decode(t, file, Options{})
		if lines[0].Interface != tc.port || lines[0].MAC.String() != "02:99:00:00:00:0b" {
			t.Errorf("%s: %q of %v", tc.port, lines[0].Interface, lines[0].MAC)
		}
		all = append(all, tc.wrap(eth4(1, ip4(addr4, to, 255, 112, m2, nil))))
	}
	for n, row := range fields(t, pcapOf(binary.LittleEndian, magicMicro, 1, all), "vrrp.virt_rtr_id", "ip.src") {
		if tunnels[n].port == "vxlan7" || tunnels[n].port == "mpls100" {
			continue // tshark has another use for port 8472, and takes the first octets of a group's address for a control word
		}
		if fmt.Sprint(row) != "[51 10.0.0.1]" {
			t.Errorf("%s: tshark %q", tunnels[n].port, row)
		}
	}
}

// TestTunnelsOfIP carry a packet without Ethernet, which has no MAC.
func TestTunnelsOfIP(t *testing.T) {
	v4, v6 := ip4(addr4, to, 255, 112, m2, nil), ip6(addr6, t6, 255, 112, m6)
	for _, tc := range []struct {
		port  string
		frame []byte
	}{
		{"ipip", eth4(9, ip4(far, near, 64, protoIPIP, v4, nil))},
		{"sit", eth4(9, ip4(far, near, 64, protoSIT, v6, nil))},
		{"gre", greOf([]byte{0, 0, 8, 0}, v4)},
		{"gre", greOf([]byte{0, 0, 0x86, 0xdd}, v6)},
		{"geneve9", udpTo(portGENV, []byte{0, 0, 8, 0, 0, 0, 9, 0}, v4)},
		{"mpls100", slices.Concat(ether(9, etherMPLS), []byte{0, 6, 0x41, 255}, v4)},
		{"mpls100", slices.Concat(ether(9, etherMPLS), []byte{0, 6, 0x41, 255}, v6)},
		{"ipip", eth6(9, ip6(addr6, addr6.Next(), 64, protoIPIP, v4))},
	} {
		l, ok := New(Options{}).Frame(Frame{N: 1, Link: LinkEthernet, Data: tc.frame, Length: len(tc.frame)})
		if !ok || !l.OK || l.VRID != 51 || l.Interface != tc.port || l.MAC != (MAC{}) {
			t.Errorf("%s: %v %+v", tc.port, ok, l)
		}
		// Cut anywhere, it is no packet or one that is cut.
		for n := range tc.frame {
			if l, ok := New(Options{}).Frame(Frame{N: 1, Link: LinkEthernet, Data: tc.frame[:n], Length: len(tc.frame)}); ok && l.Word != "truncated" && !strings.Contains(l.Text, "cut") {
				t.Errorf("%s cut to %d: %+v", tc.port, n, l)
			}
		}
	}
	// Whoever puts tunnels into tunnels without end is not followed.
	deep := v4
	for range 2 * maxTunnels {
		deep = ip4(far, near, 64, protoIPIP, deep, nil)
	}
	if _, ok := read(Frame{Link: LinkRaw, Data: deep, Length: len(deep)}); ok {
		t.Error("followed")
	}
	// Other GRE, other flags of VXLAN, another UDP port are nothing of ours.
	for _, b := range [][]byte{greOf([]byte{0, 1, 0x65, 0x58}, v4), udpTo(portVXLAN, bytes.Repeat([]byte{0}, 8), v4), udpTo(53, []byte{8, 0, 0, 0, 0, 0, 1, 0}, v4)} {
		if _, ok := read(Frame{Link: LinkEthernet, Data: b, Length: len(b)}); ok {
			t.Errorf("%x", b)
		}
	}
}
