package ipvs

import (
	"cmp"
	"net/netip"
	"slices"
)

// Is6 reports whether the service balances IPv6 traffic.
func (k Key) Is6() bool { return k.Addr.Is6() && !k.Addr.Is4In6() }

// normal returns the key in the one form that keys are compared in.
func (k Key) normal() Key {
	k.Addr = k.Addr.Unmap().WithZone("")
	if k.FWMark == 0 {
		return k
	}
	if k.Is6() {
		return Key{FWMark: k.FWMark, Addr: netip.IPv6Unspecified()}
	}
	return Key{FWMark: k.FWMark}
}

// Compare orders keys: addresses before firewall marks, then by address, port, protocol, mark.
func (k Key) Compare(o Key) int {
	k, o = k.normal(), o.normal()
	byMark := 0
	if k.FWMark != 0 || o.FWMark != 0 {
		byMark = cmp.Compare(k.FWMark, o.FWMark)
	}
	return cmp.Or(
		byMark,
		k.Addr.Compare(o.Addr),
		cmp.Compare(k.Port, o.Port),
		cmp.Compare(k.Protocol, o.Protocol),
	)
}

// normal returns the service in the one form that services are compared in.
func (s Service) normal() Service {
	s.Key = s.Key.normal()
	s.Netmask = s.Netmask.Unmap()
	if s.Persistence == 0 || allOnes(s.Netmask) {
		s.Netmask = netip.Addr{}
	}
	s.Flags &= AllFlags
	return s
}

// AddrPort identifies a destination within its service.
func (d Destination) AddrPort() netip.AddrPort { return netip.AddrPortFrom(d.Addr.Unmap(), d.Port) }

// settings returns what of a destination Plan compares.
func (d Destination) settings() Destination {
	d.Addr = d.Addr.Unmap()
	d.ActiveConns, d.InactiveConns = 0, 0
	return d
}

// Sort orders the table by key and each entry's destinations by address and port.
func (t Table) Sort() {
	slices.SortStableFunc(t, func(a, b Entry) int { return a.Service.Compare(b.Service.Key) })
	for _, e := range t {
		slices.SortStableFunc(e.Destinations, func(a, b Destination) int { return a.AddrPort().Compare(b.AddrPort()) })
	}
}

// Get returns the entry of a service. Its Destinations are the table's own, not a copy.
func (t Table) Get(k Key) (Entry, bool) {
	k = k.normal()
	for _, e := range t {
		if e.Service.Key.normal() == k {
			return e, true
		}
	}
	return Entry{}, false
}

// Clone returns a copy that shares nothing with t.
func (t Table) Clone() Table {
	c := slices.Clone(t)
	for i := range c {
		c[i].Destinations = slices.Clone(c[i].Destinations)
	}
	return c
}

// Equal reports whether two tables ask the same of a kernel: order and connection counters do not count.
func (t Table) Equal(o Table) bool {
	return len(plan(index(t, false), index(o, false), keysOf(o))) == 0
}

func keysOf(t Table) []Key {
	keys := make([]Key, len(t))
	for i, e := range t {
		keys[i] = e.Service.Key
	}
	return keys
}

// allOnes reports a mask that distinguishes every client, which is the kernel's default.
func allOnes(mask netip.Addr) bool {
	for _, b := range mask.AsSlice() {
		if b != 0xff {
			return false
		}
	}
	return mask.IsValid()
}

// PrefixLen returns the length of a contiguous mask in address form, and false for any other.
func PrefixLen(mask netip.Addr) (int, bool) {
	n, ended := 0, false
	for _, b := range mask.AsSlice() {
		for bit := 7; bit >= 0; bit-- {
			one := b>>bit&1 == 1
			if one && ended {
				return 0, false
			}
			if one {
				n++
			}
			ended = ended || !one
		}
	}
	return n, mask.IsValid()
}

// Mask returns a netmask of n bits in address form, of IPv6 or IPv4; invalid when there is no such mask.
func Mask(n int, is6 bool) netip.Addr {
	ones := netip.AddrFrom4([4]byte{0xff, 0xff, 0xff, 0xff})
	if is6 {
		b := [16]byte{}
		for i := range b {
			b[i] = 0xff
		}
		ones = netip.AddrFrom16(b)
	}
	p, err := ones.Prefix(n)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
