package replay

import (
	"encoding/binary"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"quorate/vrrp"
)

// TestBounded: a capture in which everything that is remembered is new all the time, VLANs, VRIDs, hosts, address lists, fragments,
// announcements, is told within bounded memory.
func TestBounded(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	d := New(Options{})
	const frames = 16000
	many := make([]netip.Addr, 255)
	for n := range frames {
		for k := range many {
			many[k] = netip.AddrFrom4([4]byte{byte(n >> 16), byte(n >> 8), byte(n), byte(k)})
		}
		src := netip.AddrFrom4([4]byte{10, byte(n >> 12), byte(n >> 6), byte(n)})
		a := vrrp.Advert{Version: 2, VRID: uint8(n%255 + 1), Priority: uint8(n), Interval: time.Second, Addrs: many}
		m, err := a.Append(nil, src, to, false)
		if err != nil {
			t.Fatal(err)
		}
		b := eth4(byte(n), ip4(src, to, 255, 112, m, nil))
		switch n % 8 {
		case 6:
			b = eth4(byte(n), ip4(src, to, 255, 112, m[:512], moreAt(byte(n), 8*(n%100), true)))
		case 7:
			b = arpOf(1, MAC{2, byte(n >> 16), byte(n >> 8), byte(n)}, many[0], many[0])
		}
		tag := binary.BigEndian.AppendUint16([]byte{0x81, 0}, uint16(n/512%4095+1))
		b = slices.Concat(b[:12], tag, b[12:])
		d.Frame(Frame{N: n + 1, Time: time.Unix(1000, int64(n)*1e6), Interface: decimal(uint(n % 5000)), Link: LinkEthernet, Data: b, Length: len(b)})
	}
	used := heap() - before
	began := time.Now()
	s := d.Summary()
	if err := s.Write(io.Discard, Style{}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("%d frames: %d MB, summary of %d owners in %v", frames, used>>20, len(s.Owners), took)
	if used > 100<<20 {
		t.Errorf("%d MB after %d frames", used>>20, frames)
	}
	if took > 20*time.Second {
		t.Errorf("the summary took %v", took)
	}
	runtime.KeepAlive(d)
}
