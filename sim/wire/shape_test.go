package wire

import (
	"slices"
	"testing"
	"time"
)

// A line sends one bit after the other, lets frames wait for it and drops what would wait too long.
func TestRate(t *testing.T) {
	l := newLAN(1)
	p := l.Path(0, 1)
	p.Rate, p.Queue = 100_000, 20*time.Millisecond
	// 14 octets and 24 of preamble, check sum and gap: 304 bits, 3.04 ms
	const each = 3040 * time.Microsecond
	var after []time.Duration
	frame := slices.Concat(Broadcast[:], macs[0][:], []byte{8, 0})
	for range 12 {
		for _, d := range l.Send(0, 0, frame) {
			if d.Port == 1 {
				after = append(after, d.After)
			}
		}
	}
	if len(after) != 7 { // six that wait up to 18.24 ms and the one that is being sent
		t.Fatalf("%d frames passed: %v", len(after), after)
	}
	for i, d := range after {
		if want := time.Duration(i+1)*each + time.Millisecond; d != want {
			t.Errorf("frame %d took %v, want %v", i, d, want)
		}
	}
	if l.Lost(0, 1) != 5 || !l.Lossy(0, 1, ClassVRRP) || l.MaxDelay() < 20*time.Millisecond {
		t.Errorf("lost %d, lossy %v, delay %v", l.Lost(0, 1), l.Lossy(0, 1, ClassVRRP), l.MaxDelay())
	}
	if got := send(l, time.Second, 0, Broadcast, macs[0]); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("a second later the line is free: %v", got)
	}
}

// A frame that is too large is dropped, one that just fits is not.
func TestMTU(t *testing.T) {
	l := newLAN(1)
	l.Path(0, 1).MTU = 100
	head := slices.Concat(Broadcast[:], macs[0][:], []byte{8, 0})
	for size, want := range map[int]int{100: 2, 101: 1} {
		if got := len(l.Send(0, 0, append(slices.Clone(head), make([]byte, size)...))); got != want {
			t.Errorf("%d octets reach %d ports, want %d", size, got, want)
		}
	}
	l.Heal()
	if got := len(l.Send(0, 0, append(slices.Clone(head), make([]byte, 1000)...))); got != 2 {
		t.Errorf("healed: %d", got)
	}
}

// A full address table floods what it does not know; entries that are too old make room.
func TestCAMIsFull(t *testing.T) {
	l := newLAN(1)
	l.SetCAM(2, time.Minute)
	for i, m := range macs {
		send(l, time.Duration(i), i, Broadcast, m)
	}
	for _, c := range []struct {
		now  time.Duration
		dst  MAC
		want []int
	}{{3, macs[1], []int{1}}, {4, macs[2], []int{1, 2}}} {
		if got := send(l, c.now, 0, c.dst, macs[0]); !slices.Equal(got, c.want) {
			t.Errorf("frames to %v reach %v, want %v", c.dst, got, c.want)
		}
	}
	send(l, time.Hour, 2, Broadcast, macs[2])
	if got := send(l, time.Hour, 1, macs[2], macs[1]); !slices.Equal(got, []int{2}) {
		t.Errorf("an hour later: %v", got)
	}
	l.Flush()
	if got := send(l, time.Hour, 1, macs[2], macs[1]); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("flushed: %v", got)
	}
}

// A half-open port has carrier and works one way.
func TestHalfOpen(t *testing.T) {
	l := newLAN(1)
	l.SetHalf(0, true, false)
	if !slices.Equal(send(l, 0, 0, Broadcast, macs[0]), []int{1, 2}) || !slices.Equal(send(l, 0, 1, Broadcast, macs[1]), []int{2}) || l.Reaches(1, 0, ClassARP) {
		t.Error("a deaf port")
	}
	l.SetHalf(0, false, true)
	if len(send(l, 0, 0, Broadcast, macs[0])) != 0 || !slices.Equal(send(l, 0, 1, Broadcast, macs[1]), []int{0, 2}) || l.Reaches(0, 1, ClassARP) {
		t.Error("a mute port")
	}
	for _, s := range []string{"", "10", "0kbit", "-1mbit", "1.5mbit", "99999999999kbit"} {
		if r, err := ParseRate(s); err == nil {
			t.Errorf("rate %q: %v", s, r)
		}
	}
	for _, s := range []string{"", "67", "65536", "1500b"} {
		if m, err := ParseMTU(s); err == nil {
			t.Errorf("mtu %q: %v", s, m)
		}
	}
}
