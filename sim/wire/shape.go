package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is the speed of a path in bits per second; zero is a line that is never busy.
type Rate uint64

// ParseRate reads "64kbit", "10mbit", "1gbit" or "off".
func ParseRate(s string) (Rate, error) {
	if s == "off" {
		return 0, nil
	}
	for _, u := range []struct {
		name string
		bits uint64
	}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}} {
		text, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(text, 10, 32); err == nil && n > 0 {
			return Rate(n * u.bits), nil
		}
	}
	return 0, fmt.Errorf("%q is no rate: expected a whole number with kbit, mbit or gbit, as 64kbit, or off", s)
}

// DefaultQueue is how long a frame may wait for a busy line when nobody says otherwise: the order of a small switch's buffer
// at the speeds at which a line is busy at all.
const DefaultQueue = 100 * time.Millisecond

// MTU limits of ParseMTU: what IPv4 must carry (RFC 791 3.2), and what its length field can say.
const (
	minMTU = 68
	maxMTU = 65535
)

// ParseMTU reads the most octets behind the Ethernet header that a path carries, or "off".
func ParseMTU(s string) (int, error) {
	if s == "off" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < minMTU || n > maxMTU {
		return 0, fmt.Errorf("%q is no MTU: expected a number of octets from %d to %d, or off", s, minMTU, maxMTU)
	}
	return n, nil
}

// shape lets a frame onto the line of a path: when its last bit has left, or that it is dropped because it is too large or the
// queue is full. A switch drops without a word; ICMP is what routers send.
func (p *Path) shape(now time.Duration, octets int) (left time.Duration, ok bool) {
	if p.MTU > 0 && octets-EthernetHeader > p.MTU {
		return 0, false
	}
	if p.Rate == 0 {
		return now, true
	}
	start := max(now, p.free)
	if start-now > p.queue() {
		return 0, false
	}
	// 24 octets more than the frame are on an Ethernet line: preamble, check sum, gap (IEEE 802.3 4.4.2).
	p.free = start + time.Duration(uint64(octets+24)*8*uint64(time.Second)/uint64(p.Rate))
	return p.free, true
}

func (p *Path) queue() time.Duration {
	if p.Queue == 0 {
		return DefaultQueue
	}
	return p.Queue
}
