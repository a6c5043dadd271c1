package replay

import "encoding/binary"

// IP protocols and UDP ports of tunnels.
const (
	protoIPIP = 4    // RFC 2003
	protoUDP  = 17   //
	protoSIT  = 41   // RFC 4213
	protoGRE  = 47   // RFC 2784, 2890; ERSPAN: draft-foschiano-erspan
	portVXLAN = 4789 // RFC 7348
	portOTV   = 8472 // what Linux takes for VXLAN by default
	portGENV  = 6081 // Geneve, RFC 8926
)

// EtherTypes and GRE protocols of what may be in a tunnel.
const (
	etherBridged = 0x6558 // transparent Ethernet bridging
	etherERSPAN2 = 0x88be // types I and II
	etherERSPAN3 = 0x22eb
)

// maxTunnels bounds tunnels in tunnels.
const maxTunnels = 4

// inside takes off the tunnel headers an IP packet begins with. What is in a tunnel is a segment of its own, named after the
// tunnel and the number it has in it. It is not ok for a packet that is no tunnel's, or too short to say.
func (p netPacket) inside(ip ipPacket) (in netPacket, ok bool) {
	if ip.frag != nil || ip.fault != nil && ip.fault.word != "truncated" {
		return in, false
	}
	b := ip.payload
	switch ip.proto {
	case protoIPIP:
		return p.enter("ipip", etherIPv4, b)
	case protoSIT:
		return p.enter("sit", etherIPv6, b)
	case protoGRE:
		return p.insideGRE(b)
	case protoUDP:
		if len(b) < 16 {
			return in, false
		}
		port, b := binary.BigEndian.Uint16(b[2:]), b[8:]
		vni := decimal(uint(binary.BigEndian.Uint32(b[4:]) >> 8))
		switch {
		case (port == portVXLAN || port == portOTV) && b[0] == 0x08:
			return p.enter("vxlan"+vni, etherBridged, b[8:])
		case port == portGENV && b[0]>>6 == 0 && len(b) >= 8+int(b[0]&0x3f)*4:
			return p.enter("geneve"+vni, binary.BigEndian.Uint16(b[2:]), b[8+int(b[0]&0x3f)*4:])
		}
	}
	return in, false
}

func (p netPacket) insideGRE(b []byte) (in netPacket, ok bool) {
	const sum, key, seq, version = 0x8000, 0x2000, 0x1000, 7
	if len(b) < 4 {
		return in, false
	}
	flags, ether, size, name := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), 4, "gre"
	if flags&version != 0 {
		return in, false
	}
	if flags&sum != 0 {
		size += 4
	}
	if flags&key != 0 {
		if len(b) < size+4 {
			return in, false
		}
		name += decimal(uint(binary.BigEndian.Uint32(b[size:])))
		size += 4
	}
	if flags&seq != 0 {
		size += 4
	}
	mirror := 0 // size of the ERSPAN header
	switch {
	case ether == etherERSPAN2 && flags&seq != 0:
		mirror = 8
	case ether == etherERSPAN3:
		mirror = 12
	}
	if len(b) < size+mirror {
		return in, false
	}
	b = b[size:]
	if mirror == 12 && b[11]&1 != 0 { // a subheader of the platform
		mirror += 8
	}
	if len(b) < mirror {
		return in, false
	}
	if ether == etherERSPAN2 || ether == etherERSPAN3 {
		if name = "erspan"; mirror > 0 {
			name += decimal(uint(binary.BigEndian.Uint16(b[2:]) & 0x3ff)) // the session
		}
		ether = etherBridged
	}
	return p.enter(name, ether, b[mirror:])
}

// enter makes a packet of what is in a tunnel.
func (p netPacket) enter(name string, ether uint16, b []byte) (in netPacket, ok bool) {
	in = netPacket{port: path(p.port, name), vlan: path(p.vlan, name), ether: ether, body: b}
	if ether == etherBridged && !in.ethernet() {
		return in, false
	}
	in.tags()
	return in, in.known()
}
