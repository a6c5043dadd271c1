package vrrp

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Census remembers who speaks which VRID on which interface, whether we run that VRID or not, so that a
// conflict can be told with a name and a free VRID be proposed. Its size is bounded: anyone on a segment can forge
// adverts. In steady state it allocates nothing.
type Census struct {
	speakers []Speaker
	rx       Advert
	ah       AH
}

// Speaker is one sender of adverts for one VRID, as its last advert that could be decoded describes it. That it could be
// decoded does not mean that any instance accepted it.
type Speaker struct {
	Interface   string
	VRID        uint8
	IP6         bool
	Src         netip.Addr
	MAC         [6]byte // zero if the driver does not know
	Version     uint8
	Priority    uint8 // 0: it said goodbye
	AuthType    AuthType
	Interval    time.Duration
	Unicast     bool
	Addrs       []netip.Addr
	First, Last time.Duration
	Adverts     uint64
}

// Limits of a Census.
const (
	censusPerVRID = 8    // senders of one VRID; the one heard least recently goes
	censusSize    = 8192 // in all
)

// NewCensus returns an empty one.
func NewCensus() *Census { return &Census{} }

// Hear takes every VRRP packet of an interface, also of VRIDs we do not run. What does not decode is left out: it names
// nobody reliably. mac may be zero.
func (c *Census) Hear(now time.Duration, iface string, mac [6]byte, p Packet) {
	message := p.Payload
	if p.Proto == ProtocolAH {
		var err error
		if message, err = c.ah.Decode(p.Payload); err != nil {
			return
		}
	}
	if c.rx.Decode(message, p.Src, p.Dst) != nil || p.Dst.IsMulticast() && p.TTL != TTL {
		return
	}
	a := &c.rx
	key := Speaker{Interface: iface, VRID: a.VRID, IP6: p.Src.Is6(), Src: p.Src}
	at, found := slices.BinarySearchFunc(c.speakers, key, bySpeaker)
	if !found && !c.insert(&at, key, now) {
		return
	}
	s := &c.speakers[at]
	s.MAC, s.Version, s.Priority, s.AuthType, s.Interval = mac, a.Version, a.Priority, a.AuthType, a.Interval
	s.Unicast = !p.Dst.IsMulticast()
	if !slices.Equal(s.Addrs, a.Addrs) {
		s.Addrs = slices.Clone(a.Addrs)
	}
	s.Last = now
	s.Adverts++
}

func bySpeaker(a, b Speaker) int {
	if n := compareVRID(a, b); n != 0 {
		return n
	}
	return a.Src.Compare(b.Src)
}

// compareVRID orders by interface, family and VRID.
func compareVRID(a, b Speaker) int {
	family := 0
	if a.IP6 != b.IP6 {
		family = -1
		if a.IP6 {
			family = 1
		}
	}
	return cmp.Or(cmp.Compare(a.Interface, b.Interface), family, cmp.Compare(a.VRID, b.VRID))
}

// insert makes room for a new speaker: it is not ok when the table is full.
func (c *Census) insert(at *int, key Speaker, now time.Duration) bool {
	key.First = now
	lo, hi := *at, *at
	for lo > 0 && compareVRID(c.speakers[lo-1], key) == 0 {
		lo--
	}
	for hi < len(c.speakers) && compareVRID(c.speakers[hi], key) == 0 {
		hi++
	}
	if hi-lo >= censusPerVRID {
		oldest := lo
		for k := lo; k < hi; k++ {
			if c.speakers[k].Last < c.speakers[oldest].Last {
				oldest = k
			}
		}
		c.speakers = slices.Delete(c.speakers, oldest, oldest+1)
		if oldest < *at {
			*at--
		}
	} else if len(c.speakers) >= censusSize {
		return false
	}
	c.speakers = slices.Insert(c.speakers, *at, key)
	return true
}

// Speakers lists all, ordered by interface, IPv4 before IPv6, VRID and source. The slice is valid until the next
// Hear or Forget, and must not be changed.
func (c *Census) Speakers() []Speaker { return c.speakers }

// Find returns what is known of one sender.
func (c *Census) Find(iface string, vrid uint8, src netip.Addr) (Speaker, bool) {
	at, found := slices.BinarySearchFunc(c.speakers, Speaker{Interface: iface, VRID: vrid, IP6: src.Is6(), Src: src}, bySpeaker)
	if !found {
		return Speaker{}, false
	}
	return c.speakers[at], true
}

// Foreign lists the speakers of a VRID that are not ours by their address. A member of our own group is no
// stranger; the caller knows its addresses.
func (c *Census) Foreign(iface string, vrid uint8, ours func(netip.Addr) bool) (out []Speaker) {
	for _, s := range c.speakers {
		if s.Interface == iface && s.VRID == vrid && !ours(s.Src) {
			out = append(out, s)
		}
	}
	return out
}

// Free proposes up to n VRIDs nobody has been heard with on an interface in either family, and which are not in use by
// us, lowest first.
func (c *Census) Free(iface string, ours []uint8, n int) (out []uint8) {
	var taken [256]bool
	for _, v := range ours {
		taken[v] = true
	}
	for _, s := range c.speakers {
		if s.Interface == iface {
			taken[s.VRID] = true
		}
	}
	for v := 1; v <= 255 && len(out) < n; v++ {
		if !taken[v] {
			out = append(out, uint8(v))
		}
	}
	return out
}

// Forget drops who has been silent since the given instant.
func (c *Census) Forget(since time.Duration) {
	c.speakers = slices.DeleteFunc(c.speakers, func(s Speaker) bool { return s.Last < since })
}

// Explain says what it means that a sender's adverts are refused for this reason, and what to do. otherAddrs says that its
// addresses are not ours, which makes it another cluster rather than a member that is configured differently.
func Explain(r RejectReason, otherAddrs bool) (meaning, remedy string) {
	const both = "each refuses the other's adverts and both are MASTER"
	switch {
	case r == RejectOwnSource:
		return "two hosts send from one address, or somebody forges adverts", "find the port of this MAC on the switch"
	case r == RejectTTL:
		return "adverts come through a router, or somebody forges them", "find out who sends them; a VRID belongs to one network"
	case r == RejectSequence:
		return "adverts are replayed, or a restarted member has not heard the others", "if it goes on, find the port of this MAC on the switch"
	case r == RejectPeer:
		return "a host that is no unicast peer sends us adverts", "add it to unicast_peer on all members, or stop it"
	case r == RejectChecksum:
		return "damaged, or summed another way: version 3 members may differ in the pseudo-header, and keepalived 2.2.7 and FRR 8.4 accept only one form",
			"set v3_checksum_as_v2 (keepalived), checksum-with-ipv4-pseudoheader (FRR) alike on all members"
	case r == RejectDestination:
		return "unicast and multicast members of one VRID do not hear each other", "set unicast_peer on all members or on none"
	case r == RejectAddrList || otherAddrs && (r == RejectAuth || r == RejectAuthType || r == RejectInterval || r == RejectVersion):
		return "two clusters use one VRID on one network, or the members' address lists differ: " + both,
			"give one cluster another virtual_router_id, or make virtual_ipaddress the same on all members"
	case r == RejectAuth, r == RejectAuthType:
		return "members with different authentication: " + both,
			"make the authentication block the same on all members, or give one cluster another virtual_router_id"
	case r == RejectInterval:
		return "version 2 members with different intervals: " + both,
			"make advert_int the same on all members, or give one cluster another virtual_router_id"
	case r == RejectVersion:
		return "members with different VRRP versions: " + both, "make vrrp_version the same on all members"
	}
	return "malformed adverts", "find the port of this MAC on the switch"
}
