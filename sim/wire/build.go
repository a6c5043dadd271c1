package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Builder makes frames. It keeps a buffer; the frames it returns are their own.
type Builder struct {
	buf  gopacket.SerializeBuffer
	eth  layers.Ethernet
	ip   layers.IPv4
	arp  layers.ARP
	icmp layers.ICMPv4
}

// NewBuilder returns a builder.
func NewBuilder() *Builder { return &Builder{buf: gopacket.NewSerializeBuffer()} }

// Packet builds an IPv4 packet with the header checksum and lengths filled in, or an IPv6 one. Adverts are nine tenths of what a
// simulation sends, so this is written out; a test compares it with gopacket, octet for octet.
func (b *Builder) Packet(dst, src MAC, h IP, payload []byte) []byte {
	if h.Src.Is6() {
		return packet6(dst, src, h, payload)
	}
	f := make([]byte, EthernetHeader+ipv4Min+len(payload))
	copy(f, dst[:])
	copy(f[6:], src[:])
	binary.BigEndian.PutUint16(f[12:], EtherIPv4)
	ip := f[EthernetHeader:]
	ip[0], ip[1] = 0x45, h.TOS
	binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Min+len(payload)))
	binary.BigEndian.PutUint16(ip[4:], h.ID)
	ip[8], ip[9] = h.TTL, h.Protocol
	from, to := h.Src.As4(), h.Dst.As4()
	copy(ip[12:], from[:])
	copy(ip[16:], to[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:ipv4Min]))
	copy(ip[ipv4Min:], payload)
	return f
}

// Echo builds an ICMP or ICMPv6 echo message.
func (b *Builder) Echo(dst, src MAC, h IP, e Echo) []byte {
	if h.Src.Is6() {
		h.Protocol = ProtoICMP6
		return packet6(dst, src, h, echo6(e))
	}
	h.Protocol = ProtoICMP
	b.header(dst, src, h)
	b.icmp = layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(e.Type, 0), Id: e.ID, Seq: e.Seq}
	return b.done(&b.eth, &b.ip, &b.icmp)
}

func (b *Builder) header(dst, src MAC, h IP) {
	b.eth = layers.Ethernet{DstMAC: dst[:], SrcMAC: src[:], EthernetType: layers.EthernetTypeIPv4}
	b.ip = layers.IPv4{
		Version: 4, TOS: h.TOS, Id: h.ID, TTL: h.TTL, Protocol: layers.IPProtocol(h.Protocol),
		SrcIP: ip4(h.Src), DstIP: ip4(h.Dst),
	}
}

// ARP builds an ARP packet in a frame to dst.
func (b *Builder) ARP(dst, src MAC, a ARP) []byte {
	spa, tpa := a.SenderIP.As4(), a.TargetIP.As4()
	b.eth = layers.Ethernet{DstMAC: dst[:], SrcMAC: src[:], EthernetType: layers.EthernetTypeARP}
	b.arp = layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: a.Op, SourceHwAddress: a.SenderMAC[:], SourceProtAddress: spa[:],
		DstHwAddress: a.TargetMAC[:], DstProtAddress: tpa[:],
	}
	return b.done(&b.eth, &b.arp)
}

// GratuitousARP builds the announcement keepalived and FRR send: a broadcast ARP request
// whose sender and target protocol address are the VIP and whose target hardware address is
// ff:ff:ff:ff:ff:ff (keepalived 2.2.7 and FRR 8.4.4, captured).
func (b *Builder) GratuitousARP(src MAC, vip netip.Addr) []byte {
	return b.ARP(Broadcast, src, ARP{Op: ARPRequest, SenderMAC: src, SenderIP: vip, TargetMAC: Broadcast, TargetIP: vip})
}

func (b *Builder) done(l ...gopacket.SerializableLayer) []byte {
	if err := gopacket.SerializeLayers(b.buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		// Only a payload over 64 KiB can get here; no caller has one.
		panic(fmt.Sprintf("wire: cannot build frame: %v", err))
	}
	out := b.buf.Bytes()
	// gopacket pads to 60 octets. Virtual cards, like the veth and virtio ones that captures
	// are compared with, do not.
	n := EthernetHeader + arpLen
	if b.eth.EthernetType == layers.EthernetTypeIPv4 {
		n = EthernetHeader + int(b.ip.Length)
	}
	return append([]byte(nil), out[:n]...)
}

func ip4(a netip.Addr) net.IP { v := a.As4(); return v[:] }

// EchoMessage is the ICMP message alone, or the ICMPv6 one, which the kernel sums, for a raw socket.
func EchoMessage(e Echo, six bool) []byte {
	if six {
		return echo6(e)
	}
	buf := gopacket.NewSerializeBuffer()
	icmp := layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(e.Type, 0), Id: e.ID, Seq: e.Seq}
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true}, &icmp); err != nil {
		panic(fmt.Sprintf("wire: cannot build an echo message: %v", err)) // eight octets always fit
	}
	return buf.Bytes()
}
