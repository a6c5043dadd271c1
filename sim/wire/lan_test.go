package wire

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
)

var macs = []MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}}

func newLAN(seed uint64) *LAN {
	l := NewLAN("lan0", seed, Range{time.Millisecond, time.Millisecond})
	for i, host := range []string{"d1", "d2", "d3"} {
		l.AddPort(host, macs[i])
	}
	return l
}

// send returns the ports a frame reaches.
func send(l *LAN, now time.Duration, from int, dst, src MAC) []int {
	frame := append(append(append([]byte{}, dst[:]...), src[:]...), 8, 0)
	ports := []int{}
	for _, d := range l.Send(now, from, frame) {
		ports = append(ports, d.Port)
	}
	return ports
}

func TestSwitchLearns(t *testing.T) {
	l := newLAN(1)
	want := func(what string, got []int, ports ...int) {
		t.Helper()
		if !slices.Equal(got, ports) {
			t.Errorf("%s: reached ports %v, want %v", what, got, ports)
		}
	}
	want("unknown destination floods", send(l, 0, 0, macs[1], macs[0]), 1, 2)
	want("known destination", send(l, 0, 1, macs[0], macs[1]), 0)
	want("multicast floods", send(l, 0, 1, MulticastMAC(group), macs[1]), 0, 2)
	want("entry is too old", send(l, camAge, 1, macs[0], macs[1]), 0, 2)
	vmac := MAC{0, 0, 0x5e, 0, 1, 51}
	send(l, camAge, 0, Broadcast, vmac)
	want("virtual MAC at d1", send(l, camAge, 2, vmac, macs[2]), 0)
	send(l, camAge, 1, Broadcast, vmac)
	want("virtual MAC moved to d2", send(l, camAge, 2, vmac, macs[2]), 1)
	if l.Moves() != 1 {
		t.Errorf("%d moves counted, want 1", l.Moves())
	}
	l.SetUp(1, false)
	want("port down", send(l, camAge, 0, Broadcast, macs[0]), 2)
	want("no carrier, nothing leaves", send(l, camAge, 1, Broadcast, macs[1]))
	l.SetUp(1, true)
	want("what was learned there is forgotten", send(l, camAge, 2, vmac, macs[2]), 0, 1)
	if got := l.Send(0, 0, make([]byte, 13)); len(got) != 0 {
		t.Errorf("a frame without a whole header was switched to %v", got)
	}
}

func TestFaultsAreOneWay(t *testing.T) {
	l := newLAN(1)
	l.Path(0, 1).Cut = true
	if got := send(l, 0, 0, Broadcast, macs[0]); !slices.Equal(got, []int{2}) {
		t.Errorf("d1>d2 cut: d1's broadcast reached %v", got)
	}
	if got := send(l, 0, 1, Broadcast, macs[1]); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("d1>d2 cut: d2's broadcast reached %v", got)
	}
	if l.Reaches(0, 1, Everything) || !l.Reaches(1, 0, Everything) || l.Lost(0, 1) != 1 {
		t.Errorf("reaches %v %v, lost %d", l.Reaches(0, 1, Everything), l.Reaches(1, 0, Everything), l.Lost(0, 1))
	}
	l.Heal()
	if got := send(l, 0, 0, Broadcast, macs[0]); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("healed: reached %v", got)
	}
}

// Each side of a split learns for itself; healing keeps the later sighting.
func TestSplitHasTablesOfItsOwn(t *testing.T) {
	l := newLAN(1)
	vmac := MAC{0, 0, 0x5e, 0, 1, 51}
	send(l, 0, 0, Broadcast, vmac)
	l.Split([]int{0, 1, 1})
	if got := send(l, 1, 0, Broadcast, macs[0]); len(got) != 0 {
		t.Errorf("reached %v over the split", got)
	}
	send(l, 2, 1, Broadcast, vmac)
	if got := send(l, 3, 2, vmac, macs[2]); !slices.Equal(got, []int{1}) {
		t.Errorf("d3's side: virtual MAC is at %v, want d2", got)
	}
	l.Heal()
	if got := send(l, 4, 2, vmac, macs[2]); !slices.Equal(got, []int{1}) {
		t.Errorf("healed: virtual MAC is at %v, want d2, which was seen last", got)
	}
}

// The dice of one fault fall the same way whether or not another fault is on.
func TestStreamsAreIndependent(t *testing.T) {
	lostSeqs := func(dup bool) (lost []int) {
		l := newLAN(7)
		l.Path(0, 1).Loss = Ratio{1, 10}
		if dup {
			l.Path(0, 1).Dup = Ratio{1, 3}
			l.Path(0, 2).Loss = Ratio{1, 2}
		}
		for i := range 10_000 {
			if !slices.Contains(send(l, 0, 0, Broadcast, macs[0]), 1) {
				lost = append(lost, i)
			}
		}
		return lost
	}
	a, b := lostSeqs(false), lostSeqs(true)
	if !slices.Equal(a, b) {
		t.Error("duplication shifted the dice of loss")
	}
	if len(a) < 900 || len(a) > 1100 {
		t.Errorf("lost %d of 10000 at 1/10", len(a))
	}
	l := newLAN(1)
	l.Path(0, 1).Dup = Ratio{1, 1}
	if got := send(l, 0, 0, Broadcast, macs[0]); !slices.Equal(got, []int{1, 1, 2}) {
		t.Errorf("duplicated: reached %v", got)
	}
}

// A path keeps the order of its frames unless it is told to reorder them.
func TestOrder(t *testing.T) {
	arrivals := func(reorder Ratio) (overtaken int) {
		l := NewLAN("lan0", 3, Range{50 * time.Microsecond, 500 * time.Microsecond})
		l.AddPort("d1", macs[0])
		l.AddPort("d2", macs[1])
		l.Path(0, 1).Reorder = reorder
		var last time.Duration
		for i := range 1000 {
			now := time.Duration(i) * 10 * time.Microsecond
			d := l.Send(now, 0, append(append(append([]byte{}, Broadcast[:]...), macs[0][:]...), 8, 0))
			if now+d[0].After < last {
				overtaken++
			}
			last = now + d[0].After
			if most := 500*time.Microsecond + Late; d[0].After > most {
				t.Fatalf("frame took %v, more than %v", d[0].After, most)
			}
		}
		return overtaken
	}
	if n := arrivals(Ratio{}); n != 0 {
		t.Errorf("%d frames overtook others on an ordinary path", n)
	}
	if n := arrivals(Ratio{1, 10}); n < 50 {
		t.Errorf("only %d of 1000 frames were overtaken at 1/10", n)
	}
}

// A seed means the same run for ever: these numbers must not change.
func TestStreamIsFixed(t *testing.T) {
	s := NewStream(1, "link/a>b/loss")
	got := []uint64{s.Uint64(), s.Uint64(), s.Below(100)}
	if again := NewStream(1, "link/a>b/loss"); again.Uint64() != got[0] {
		t.Error("equal seed and name, different numbers")
	}
	want := []uint64{0x574c5ac5bf3bd43a, 0x531842b79873dfc5, 0x36}
	if !slices.Equal(got, want) {
		t.Errorf("got %#x, want %#x", got, want)
	}
	h := NewHash()
	h.Bytes([]byte("foobar"))
	if h != 0x85944171f73967e8 { // test vector of the FNV draft
		t.Errorf("FNV-64a of foobar is %x", uint64(h))
	}
}

func TestParseRatioAndRange(t *testing.T) {
	for _, s := range []string{"1/20", "0", "1", "0/5"} {
		if _, err := ParseRatio(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "2/1", "1/0", "-1/2", "0.5", "1/2/3", "2"} {
		if r, err := ParseRatio(s); err == nil || !strings.Contains(err.Error(), "1/20") {
			t.Errorf("%q: %v, %v", s, r, err)
		}
	}
	for _, s := range []string{"", "1", "5ms..1ms", "-1ms", "1ms.."} {
		if r, err := ParseRange(s); err == nil {
			t.Errorf("%q: %v, want an error", s, r)
		}
	}
}

func TestPcapReadsBack(t *testing.T) {
	var file bytes.Buffer
	p, err := NewPcap(&file, []string{"d1 eth0", "d2 eth0"})
	if err != nil {
		t.Fatal(err)
	}
	frame := unhex(t, capturedGARP)
	p.Write(1500*time.Millisecond, 0, frame)
	p.Write(1501*time.Millisecond, 1, frame)
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for i, ms := range []int64{1500, 1501} {
		got, ci, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, frame) || ci.Timestamp.UnixMilli() != ms || ci.InterfaceIndex != i {
			t.Errorf("record %d: %v interface %d %x", i, ci.Timestamp, ci.InterfaceIndex, got)
		}
	}
	if intf, err := r.Interface(1); err != nil || intf.Name != "d2 eth0" {
		t.Errorf("interface 1 is %q, %v", intf.Name, err)
	}
	if p.Frames() != 2 {
		t.Errorf("%d frames counted", p.Frames())
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errDisk }

var errDisk = bytes.ErrTooLarge

func TestPcapOnAFullDisk(t *testing.T) {
	p, err := NewPcap(fullDisk{}, []string{"d1 eth0"})
	if err == nil {
		for range 1000 {
			p.Write(0, 0, make([]byte, 100))
		}
		err = p.Flush()
	}
	if err == nil {
		t.Error("writing to a full disk reported no error")
	}
}
