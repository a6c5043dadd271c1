package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"quorate/config"
)

// ruleOp adds or removes one policy rule.
type ruleOp struct {
	remove bool
	rule   config.Rule
}

func (op ruleOp) removes() bool     { return op.remove }
func (op ruleOp) what() string      { return "rule " + op.rule.Key() }
func (op ruleOp) slot() hostAddress { return hostAddress{line: op.what()} }

func (op ruleOp) harmless(err error) bool {
	if op.remove {
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
	}
	return errors.Is(err, unix.EEXIST)
}

// ruleActions are the kernel's (linux/fib_rules.h); a rule with a table has toTable.
var ruleActions = map[string]byte{"nop": 3, "blackhole": 6, "unreachable": 7, "prohibit": 8}

const (
	toTable, toRule = 1, 2
	inverted        = 2
)

// protocolNames are those of /etc/protocols that are met.
var protocolNames = map[string]uint64{"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "ipv6-icmp": 58, "vrrp": 112, "sctp": 132}

// message appends the netlink message (rtnetlink(7), RTM_NEWRULE and RTM_DELRULE).
func (op ruleOp) message(b []byte, seq uint32) ([]byte, error) {
	r, ne := op.rule, binary.NativeEndian
	start := len(b)
	// Without EXCL the kernel adds the same rule again and again.
	kind, flags, family := uint16(unix.RTM_NEWRULE), uint16(unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL), byte(unix.AF_INET)
	if op.remove {
		kind, flags = unix.RTM_DELRULE, unix.NLM_F_REQUEST
	}
	if r.Is6() {
		family = unix.AF_INET6
	}
	var head [12]byte // struct fib_rule_hdr
	head[0] = family
	var attrs []byte
	if r.To.IsValid() && r.To.Bits() > 0 {
		head[1] = byte(r.To.Bits())
		attrs = attribute(attrs, unix.FRA_DST, r.To.Addr().AsSlice())
	}
	if r.From.IsValid() && r.From.Bits() > 0 {
		head[2] = byte(r.From.Bits())
		attrs = attribute(attrs, unix.FRA_SRC, r.From.Addr().AsSlice())
	}
	if r.Not {
		ne.PutUint32(head[8:], inverted)
	}
	attrs = attribute(attrs, unix.FRA_PRIORITY, ne.AppendUint32(nil, uint32(r.Preference)))
	attrs, err := op.action(&head, attrs)
	if err != nil {
		return nil, err
	}
	protocol := byte(protocolKeepalived)
	for _, o := range r.Options {
		if o.Name == "protocol" && r.NoTrack { // else keepalived keeps its own
			n, err := iprouteNumber("rt_protos", o.Value)
			if err != nil {
				return nil, fmt.Errorf("protocol %w", err)
			}
			protocol = byte(n)
		}
		if attrs, err = ruleOption(&head, attrs, o); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	attrs = attribute(attrs, unix.FRA_PROTOCOL, []byte{protocol})
	b = ne.AppendUint32(b, 0)
	b = ne.AppendUint16(b, kind)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 0)
	b = append(append(b, head[:]...), attrs...)
	ne.PutUint32(b[start:], uint32(len(b)-start))
	return b, nil
}

// action is what becomes of a packet that matches.
func (op ruleOp) action(head *[12]byte, attrs []byte) ([]byte, error) {
	r, ne := op.rule, binary.NativeEndian
	target, isGoto := strings.CutPrefix(r.Action, "goto ")
	switch {
	case r.Table != "":
		table, err := iprouteNumber("rt_tables", r.Table)
		if err != nil {
			return nil, fmt.Errorf("table %w", err)
		}
		if head[7] = toTable; table < 256 {
			head[4] = byte(table)
		}
		return attribute(attrs, unix.FRA_TABLE, ne.AppendUint32(nil, table)), nil
	case isGoto:
		n, err := strconv.ParseUint(target, 10, 32)
		head[7] = toRule
		return attribute(attrs, unix.FRA_GOTO, ne.AppendUint32(nil, uint32(n))), err
	case r.Action == "l3mdev":
		head[7] = toTable
		return attribute(attrs, unix.FRA_L3MDEV, []byte{1}), nil
	}
	if head[7] = ruleActions[r.Action]; head[7] == 0 {
		return nil, fmt.Errorf("type %q: the kernel has no such rules", r.Action)
	}
	return attrs, nil
}

// ruleOption appends one of the other selectors.
func ruleOption(head *[12]byte, b []byte, o config.Option) ([]byte, error) {
	ne := binary.NativeEndian
	number := func(kind uint16, n uint32, err error) ([]byte, error) {
		return attribute(b, kind, ne.AppendUint32(nil, n)), err
	}
	switch o.Name {
	case "iif", "dev":
		return attribute(b, unix.FRA_IIFNAME, append([]byte(o.Value), 0)), nil
	case "oif":
		return attribute(b, unix.FRA_OIFNAME, append([]byte(o.Value), 0)), nil
	case "tos", "dsfield":
		var err error
		head[3], err = tos(o.Value)
		return b, err
	case "fwmark":
		mark, mask, masked := strings.Cut(o.Value, "/")
		n, err := strconv.ParseUint(mark, 0, 32)
		if err != nil {
			return nil, err
		}
		b = attribute(b, unix.FRA_FWMARK, ne.AppendUint32(nil, uint32(n)))
		if !masked {
			return b, nil
		}
		n, err = strconv.ParseUint(mask, 0, 32)
		return attribute(b, unix.FRA_FWMASK, ne.AppendUint32(nil, uint32(n))), err
	case "realms":
		n, err := realms(o.Value)
		return number(unix.FRA_FLOW, n, err)
	case "suppress_prefixlength", "sup_pl":
		n, err := strconv.ParseUint(o.Value, 10, 32)
		return number(unix.FRA_SUPPRESS_PREFIXLEN, uint32(n), err)
	case "suppress_ifgroup", "sup_group":
		n, err := iprouteNumber("group", o.Value)
		return number(unix.FRA_SUPPRESS_IFGROUP, n, err)
	case "tunnel-id":
		n, err := strconv.ParseUint(o.Value, 0, 64)
		return attribute(b, unix.FRA_TUN_ID, binary.BigEndian.AppendUint64(nil, n)), err
	case "uidrange":
		lo, hi, err := numberRange(o.Value, 32)
		return attribute(b, unix.FRA_UID_RANGE, ne.AppendUint32(ne.AppendUint32(nil, uint32(lo)), uint32(hi))), err
	case "sport", "dport":
		lo, hi, err := numberRange(o.Value, 16)
		kind := uint16(unix.FRA_SPORT_RANGE)
		if o.Name == "dport" {
			kind = unix.FRA_DPORT_RANGE
		}
		return attribute(b, kind, ne.AppendUint16(ne.AppendUint16(nil, uint16(lo)), uint16(hi))), err
	case "ipproto":
		n, named := protocolNames[strings.ToLower(o.Value)]
		if !named {
			var err error
			if n, err = strconv.ParseUint(o.Value, 10, 8); err != nil {
				return nil, fmt.Errorf("%q is no protocol number", o.Value)
			}
		}
		return attribute(b, unix.FRA_IP_PROTO, []byte{byte(n)}), nil
	}
	return b, nil // what has no counterpart in the kernel
}

// numberRange reads A-B, or A for A-A.
func numberRange(s string, bits int) (lo, hi uint64, err error) {
	a, z, is := strings.Cut(s, "-")
	if !is {
		z = a
	}
	if lo, err = strconv.ParseUint(a, 10, bits); err != nil {
		return 0, 0, err
	}
	hi, err = strconv.ParseUint(z, 10, bits)
	return lo, hi, err
}
