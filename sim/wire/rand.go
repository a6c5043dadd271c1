package wire

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Stream is a stream of pseudo-random numbers (splitmix64). The generator is written
// out here because math/rand promises no fixed sequence across Go releases, and
// a seed must mean the same run next year.
type Stream struct{ state uint64 }

// NewStream returns the stream of that name. Streams of different names are
// independent, so the dice of "link d1>d2 loss" fall the same way whatever else happens.
func NewStream(seed uint64, name string) *Stream {
	h := NewHash()
	h.Uint64(seed)
	h.String(name)
	return &Stream{state: mix(uint64(h))}
}

// Uint64 is the next number.
func (s *Stream) Uint64() uint64 {
	s.state += 0x9e3779b97f4a7c15
	return mix(s.state)
}

// Below returns a number in [0, n). It panics if n is 0.
func (s *Stream) Below(n uint64) uint64 {
	if n == 0 {
		panic("wire: Stream.Below(0)")
	}
	// Multiply-shift: bias below 2^-40 for any n used here, and one draw always.
	hi, _ := bits.Mul64(s.Uint64(), n)
	return hi
}

// Chance is true with probability r. A ratio of zero draws nothing, so switching a
// fault on and off again leaves the rest of its own stream as it was.
func (s *Stream) Chance(r Ratio) bool {
	return r.N != 0 && s.Below(r.D) < r.N
}

// Between returns an instant in [r.Min, r.Max].
func (s *Stream) Between(r Range) time.Duration {
	if r.Max <= r.Min {
		return r.Min
	}
	return r.Min + time.Duration(s.Below(uint64(r.Max-r.Min)+1))
}

// mix is the finaliser of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Hash is FNV-64a, the fingerprint of a run.
type Hash uint64

// NewHash returns the FNV offset basis.
func NewHash() Hash { return 0xcbf29ce484222325 }

// Bytes adds b.
func (h *Hash) Bytes(b []byte) {
	v := *h
	for _, c := range b {
		v = (v ^ Hash(c)) * 0x100000001b3
	}
	*h = v
}

// String adds the octets of s.
func (h *Hash) String(s string) {
	v := *h
	for i := range len(s) {
		v = (v ^ Hash(s[i])) * 0x100000001b3
	}
	*h = v
}

// Uint64 adds eight octets, most significant first.
func (h *Hash) Uint64(n uint64) {
	v := *h
	for i := 56; i >= 0; i -= 8 {
		v = (v ^ Hash(n>>i&0xff)) * 0x100000001b3
	}
	*h = v
}

// Ratio is a probability n/d: integers, so that it is the same on every machine.
// The zero Ratio never happens.
type Ratio struct{ N, D uint64 }

// ParseRatio reads "1/20", "0" or "1".
func ParseRatio(s string) (Ratio, error) {
	num, den, slash := strings.Cut(s, "/")
	r := Ratio{D: 1}
	var err, err2 error
	r.N, err = strconv.ParseUint(num, 10, 32)
	if slash {
		r.D, err2 = strconv.ParseUint(den, 10, 32)
	}
	if err != nil || err2 != nil || r.D == 0 || r.N > r.D {
		return Ratio{}, fmt.Errorf("%q is no probability: expected n/d with n not above d, as 1/20", s)
	}
	return r, nil
}

func (r Ratio) String() string {
	if r.N == 0 {
		return "0"
	}
	return fmt.Sprintf("%d/%d", r.N, r.D)
}

// Range is a range of delays; Max below Min means Min always.
type Range struct{ Min, Max time.Duration }

// ParseRange reads "50us..500us" or "1ms".
func ParseRange(s string) (Range, error) {
	lo, hi, dots := strings.Cut(s, "..")
	if !dots {
		hi = lo
	}
	a, err := time.ParseDuration(lo)
	b, err2 := time.ParseDuration(hi)
	if err != nil || err2 != nil || a < 0 || b < a {
		return Range{}, fmt.Errorf("%q is no delay: expected a duration or min..max, as 50us..500us", s)
	}
	return Range{a, b}, nil
}

func (r Range) String() string {
	if r.Max <= r.Min {
		return r.Min.String()
	}
	return r.Min.String() + ".." + r.Max.String()
}
