package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"quorate/config"
)

// routeOp adds or removes one route.
type routeOp struct {
	remove bool
	route  config.Route
}

func (op routeOp) removes() bool     { return op.remove }
func (op routeOp) what() string      { return "route " + op.route.Text }
func (op routeOp) slot() hostAddress { return hostAddress{line: op.what()} }

func (op routeOp) harmless(err error) bool {
	if op.remove {
		return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT)
	}
	return errors.Is(err, unix.EEXIST)
}

var routeTypes = map[string]byte{
	"unicast": unix.RTN_UNICAST, "local": unix.RTN_LOCAL, "broadcast": unix.RTN_BROADCAST, "anycast": unix.RTN_ANYCAST,
	"multicast": unix.RTN_MULTICAST, "blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE,
	"prohibit": unix.RTN_PROHIBIT, "throw": unix.RTN_THROW, "nat": unix.RTN_NAT, "xresolve": unix.RTN_XRESOLVE,
}

// route is what a message says besides attributes.
type routeHead struct {
	tos, protocol, scope, kind byte
	table, flags               uint32
	nlFlags                    uint16
}

// message appends the netlink message (rtnetlink(7), RTM_NEWROUTE and RTM_DELROUTE).
func (op routeOp) message(b []byte, seq uint32) ([]byte, error) {
	r := op.route
	h, err := op.head()
	if err != nil {
		return nil, err
	}
	start, ne := len(b), binary.NativeEndian
	kind, flags, family := uint16(unix.RTM_NEWROUTE), unix.NLM_F_REQUEST|h.nlFlags, byte(unix.AF_INET)
	if op.remove {
		kind, flags = unix.RTM_DELROUTE, unix.NLM_F_REQUEST
	}
	if r.Dest.Addr().Is6() {
		family = unix.AF_INET6
	}
	var from netip.Prefix
	if v, ok := r.Option("from"); ok {
		if from, err = netip.ParsePrefix(v); err != nil {
			a, err := netip.ParseAddr(v)
			if err != nil {
				return nil, fmt.Errorf("from %q: %w", v, err)
			}
			from = netip.PrefixFrom(a, a.BitLen())
		}
	}
	fromBits := byte(0)
	if from.IsValid() {
		fromBits = byte(from.Bits())
	}
	table := byte(unix.RT_TABLE_UNSPEC)
	if h.table < 256 {
		table = byte(h.table)
	}
	b = ne.AppendUint32(b, 0)
	b = ne.AppendUint16(b, kind)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 0)
	b = append(b, family, byte(r.Dest.Bits()), fromBits, h.tos, table, h.protocol, h.scope, h.kind)
	b = ne.AppendUint32(b, h.flags)
	b = attribute(b, unix.RTA_TABLE, ne.AppendUint32(nil, h.table))
	if r.Dest.Bits() > 0 {
		b = attribute(b, unix.RTA_DST, r.Dest.Addr().AsSlice())
	}
	if from.IsValid() && from.Bits() > 0 {
		b = attribute(b, unix.RTA_SRC, from.Addr().AsSlice())
	}
	if r.Metric > 0 {
		b = attribute(b, unix.RTA_PRIORITY, ne.AppendUint32(nil, uint32(r.Metric)))
	}
	if b, err = op.ways(b); err != nil {
		return nil, err
	}
	if !op.remove {
		if b, err = op.properties(b); err != nil {
			return nil, err
		}
	}
	ne.PutUint32(b[start:], uint32(len(b)-start))
	return b, nil
}

func (op routeOp) head() (h routeHead, err error) {
	r := op.route
	h = routeHead{protocol: protocolKeepalived, kind: routeTypes[r.Type], table: unix.RT_TABLE_MAIN, nlFlags: unix.NLM_F_CREATE}
	if h.kind == 0 {
		return h, fmt.Errorf("type %q: the kernel has no such routes", r.Type)
	}
	switch r.Type { // as ip-route(8) has it; keepalived's unicast routes have the widest scope (2.2.7, measured)
	case "local", "nat":
		h.scope = unix.RT_SCOPE_HOST
	case "broadcast", "multicast", "anycast":
		h.scope = unix.RT_SCOPE_LINK
	}
	if r.Type == "multicast" {
		h.scope = unix.RT_SCOPE_UNIVERSE
	}
	if r.Table != "" {
		if h.table, err = iprouteNumber("rt_tables", r.Table); err != nil {
			return h, fmt.Errorf("table %w", err)
		}
	}
	for _, o := range r.Options {
		var n uint32
		switch o.Name {
		case "vrf":
			h.table, err = vrfTable(o.Value)
		case "tos", "dsfield":
			h.tos, err = tos(o.Value)
		case "protocol":
			if r.NoTrack { // else keepalived keeps its own
				n, err = iprouteNumber("rt_protos", o.Value)
				h.protocol = byte(n)
			}
		case "scope":
			var s int
			s, err = scopeNumber(o.Value)
			h.scope = byte(s)
		case "onlink":
			h.flags |= unix.RTNH_F_ONLINK
		case "add":
			h.nlFlags |= unix.NLM_F_EXCL
		case "append":
			h.nlFlags |= unix.NLM_F_APPEND
		}
		if err != nil {
			return h, fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	return h, nil
}

// ways appends where packets go.
func (op routeOp) ways(b []byte) ([]byte, error) {
	r, ne := op.route, binary.NativeEndian
	b = gateway(b, r.Via, r.Dest.Addr().Is6())
	if r.Src.IsValid() {
		b = attribute(b, unix.RTA_PREFSRC, r.Src.AsSlice())
	}
	if r.Dev != "" {
		index, err := interfaceIndex(r.Dev)
		switch {
		case err == nil:
			b = attribute(b, unix.RTA_OIF, ne.AppendUint32(nil, index))
		case !op.remove:
			return nil, err
		} // gone with its interface, or that has another name now: then the rest finds it
	}
	b = encapsulation(b, r.Encap)
	if len(r.Nexthops) == 0 {
		return b, nil
	}
	var legs []byte
	for _, n := range r.Nexthops {
		start, index, flags := len(legs), uint32(0), byte(0)
		if n.Dev != "" {
			var err error
			if index, err = interfaceIndex(n.Dev); err != nil && op.remove {
				return b, nil
			}
			if err != nil {
				return nil, err
			}
		}
		if n.OnLink {
			flags = unix.RTNH_F_ONLINK
		}
		legs = ne.AppendUint16(legs, 0)
		legs = append(legs, flags, byte(n.Weight-1))
		legs = ne.AppendUint32(legs, index)
		legs = gateway(legs, n.Via, r.Dest.Addr().Is6())
		if n.Realms != "" {
			f, err := realms(n.Realms)
			if err != nil {
				return nil, fmt.Errorf("realms %w", err)
			}
			legs = attribute(legs, unix.RTA_FLOW, ne.AppendUint32(nil, f))
		}
		legs = encapsulation(legs, n.Encap)
		ne.PutUint16(legs[start:], uint16(len(legs)-start))
	}
	return attribute(b, unix.RTA_MULTIPATH, legs), nil
}

// gateway may be of the other family (RFC 8950).
func gateway(b []byte, via netip.Addr, six bool) []byte {
	switch {
	case !via.IsValid():
		return b
	case via.Is6() == six:
		return attribute(b, unix.RTA_GATEWAY, via.AsSlice())
	}
	family := uint16(unix.AF_INET)
	if via.Is6() {
		family = unix.AF_INET6
	}
	return attribute(b, unix.RTA_VIA, append(binary.NativeEndian.AppendUint16(nil, family), via.AsSlice()...))
}

var metrics = map[string]uint16{
	"mtu": unix.RTAX_MTU, "window": unix.RTAX_WINDOW, "rtt": unix.RTAX_RTT, "rttvar": unix.RTAX_RTTVAR,
	"ssthresh": unix.RTAX_SSTHRESH, "cwnd": unix.RTAX_CWND, "advmss": unix.RTAX_ADVMSS, "reordering": unix.RTAX_REORDERING,
	"hoplimit": unix.RTAX_HOPLIMIT, "initcwnd": unix.RTAX_INITCWND, "rto_min": unix.RTAX_RTO_MIN, "initrwnd": unix.RTAX_INITRWND,
	"quickack": unix.RTAX_QUICKACK, "fastopen_no_cookie": unix.RTAX_FASTOPEN_NO_COOKIE,
}

// properties appends what a route has beyond its way.
func (op routeOp) properties(b []byte) ([]byte, error) {
	ne := binary.NativeEndian
	var nested []byte
	var locked uint32
	for _, o := range op.route.Options {
		value, lock := strings.CutPrefix(o.Value, "lock ")
		var err error
		switch kind, known := metrics[o.Name]; {
		case known:
			var n uint32
			if n, err = metric(o.Name, value); err != nil {
				break
			}
			nested = attribute(nested, kind, ne.AppendUint32(nil, n))
			if lock {
				locked |= 1 << kind
			}
		case o.Name == "congctl":
			nested = attribute(nested, unix.RTAX_CC_ALGO, append([]byte(value), 0))
			if lock {
				locked |= 1 << unix.RTAX_CC_ALGO
			}
		case o.Name == "features": // ecn is the only one
			nested = attribute(nested, unix.RTAX_FEATURES, ne.AppendUint32(nil, unix.RTAX_FEATURE_ECN))
		case o.Name == "realms":
			var f uint32
			if f, err = realms(value); err == nil {
				b = attribute(b, unix.RTA_FLOW, ne.AppendUint32(nil, f))
			}
		case o.Name == "expires":
			var n uint64
			if n, err = strconv.ParseUint(value, 10, 32); err == nil {
				b = attribute(b, unix.RTA_EXPIRES, ne.AppendUint32(nil, uint32(n)))
			}
		case o.Name == "pref": // RFC 4191 2.1
			b = attribute(b, unix.RTA_PREF, []byte{map[string]byte{"low": 3, "medium": 0, "high": 1}[value]})
		case o.Name == "ttl-propagate":
			b = attribute(b, unix.RTA_TTL_PROPAGATE, []byte{map[string]byte{"enabled": 1}[value]})
		}
		if err != nil {
			return nil, fmt.Errorf("%s %w", o.Name, err)
		}
	}
	if locked != 0 {
		nested = attribute(nested, unix.RTAX_LOCK, ne.AppendUint32(nil, locked))
	}
	if nested != nil {
		b = attribute(b, unix.RTA_METRICS, nested)
	}
	return b, nil
}

// minRTT is keepalived's lower bound of all times of a route (2.2.7, measured).
const minRTT = 200

// metric translates the value of a metric. Times are in s, ms or us; without a unit a number is the kernel's own, in
// eighths of a millisecond for rtt and in quarters for rttvar (ip-route(8)).
func metric(name, value string) (uint32, error) {
	units := map[string]float64{"rtt": 8, "rttvar": 4, "rto_min": 1}[name]
	if units == 0 {
		n, err := strconv.ParseUint(value, 10, 32)
		return uint32(n), err
	}
	digits := strings.TrimRight(value, "nmus")
	x, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time", value)
	}
	switch value[len(digits):] {
	case "":
		x /= units
	case "s":
		x *= 1000
	case "ms":
	case "us":
		x /= 1000
	case "ns":
		x /= 1e6
	default:
		return 0, fmt.Errorf("%q is not a time", value)
	}
	return uint32(min(max(x, minRTT)*units, math.MaxUint32)), nil
}
