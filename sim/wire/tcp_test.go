package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// A second opinion, gopacket's, on every octet of a segment and of the ICMP message that refuses it.
func TestSegment(t *testing.T) {
	src, dst := netip.MustParseAddr("10.0.0.201"), netip.MustParseAddr("10.0.0.100")
	for _, data := range []string{"", "d", "rs1 answers"} {
		h := TCP{Src: 40000, Dst: 80, Seq: 7, Ack: 1 << 31, Flags: PSH | ACK}
		got := Segment(src, dst, h, []byte(data))
		ip := layers.IPv4{SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), Protocol: layers.IPProtocolTCP}
		tcp := layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 7, Ack: 1 << 31, PSH: true, ACK: true, Window: 0xffff}
		if err := tcp.SetNetworkLayerForChecksum(&ip); err != nil {
			t.Fatal(err)
		}
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &tcp, gopacket.Payload(data)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, buf.Bytes()) {
			t.Errorf("%q:\n% x\nwant\n% x", data, got, buf.Bytes())
		}
		back, content, err := ParseTCP(src, dst, got)
		if err != nil || back != h || string(content) != data {
			t.Errorf("read back: %+v %q %v", back, content, err)
		}
		if _, _, err := ParseTCP(src, src, got); !errors.Is(err, ErrChecksum) {
			t.Errorf("with another destination: %v", err)
		}
		from, to, ok := ParseRefused(Refused(IP{TTL: 63, Src: src, Dst: dst}, got))
		if !ok || from != netip.AddrPortFrom(src, 40000) || to != netip.AddrPortFrom(dst, 80) {
			t.Errorf("refused: %v %v %v", from, to, ok)
		}
	}
}

func FuzzParseTCP(f *testing.F) {
	a := netip.MustParseAddr("10.0.0.1")
	f.Add(Segment(a, a, TCP{Src: 1, Dst: 2, Flags: SYN}, nil))
	f.Add(Refused(IP{Src: a, Dst: a}, Segment(a, a, TCP{Src: 1, Dst: 2}, nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, data, err := ParseTCP(a, a, b); err == nil && len(b) == tcpMin+len(data) && b[12] == 0x50 {
			if again, _, err := ParseTCP(a, a, Segment(a, a, h, data)); err != nil || again != h {
				t.Fatalf("%+v became %+v, %v", h, again, err)
			}
		}
		_, _, _ = ParseRefused(b)
	})
}
