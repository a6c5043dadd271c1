package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Encap is how packets of a route, or of one leg of it, are packed (ip-route(8), encap).
type Encap struct {
	Type     string     `json:",omitempty"` // ip, ip6, mpls or ila; empty: not at all
	ID       uint64     `json:",omitempty"` // of ip and ip6
	Src, Dst netip.Addr // of ip and ip6; may be invalid
	TOS, TTL uint8      `json:",omitempty"` // tos and ttl of ip, tc and hoplimit of ip6, ttl of mpls
	Flags    uint16     `json:",omitempty"`
	Labels   []uint32   `json:",omitempty"` // of mpls, the outermost first
	Locator  uint64     `json:",omitempty"` // of ila
}

// encapWords are the options of ip and ip6.
var encapWords = map[string][]string{
	"ip":  {"id", "src", "dst", "tos", "dsfield", "ttl", "flags"},
	"ip6": {"id", "src", "dst", "tc", "hoplimit", "flags"},
}

// encap reads TYPE and what belongs to it; what follows is the route's again.
func (l *lineWords) encap(opt word) (e Encap, ok bool) {
	bad := func(w word, hint, format string, args ...any) (Encap, bool) {
		l.c.bad(w, l.kw, hint, fmt.Errorf("encap: "+format, args...))
		return e, false
	}
	w, ok := l.value(opt)
	if !ok {
		return e, false
	}
	switch e.Type = w.text; e.Type {
	case "mpls":
		if w, ok = l.value(w); !ok {
			return e, false
		}
		for s := range strings.SplitSeq(w.text, "/") {
			n, err := number(s, 0, 1<<20-1) // RFC 3032 2.1: 20 bits
			if err != nil || len(e.Labels) == maxLabels {
				return bad(w, "write labels such as 100 or 100/200", "%q is no list of at most %d labels from 0 to 1048575", shorten(w.text), maxLabels)
			}
			e.Labels = append(e.Labels, uint32(n))
		}
		if l.peek() == "ttl" {
			l.i++
			return e, l.encapNumber(w, "ttl", 255, func(n int64) { e.TTL = uint8(n) })
		}
		return e, true
	case "ila":
		if w, ok = l.value(w); !ok {
			return e, false
		}
		// Four groups, the upper half of an IPv6 address.
		a, err := netip.ParseAddr(w.text + "::")
		if err != nil || strings.Count(w.text, ":") != 3 {
			return bad(w, "write a locator such as 3333:0:0:1", "%q is no locator", shorten(w.text))
		}
		for _, b := range a.AsSlice()[:8] {
			e.Locator = e.Locator<<8 | uint64(b)
		}
		return e, true
	case "ip", "ip6":
	default:
		return bad(w, "write encap ip, ip6, mpls or ila", "unknown type %q", shorten(w.text))
	}
	six := e.Type == "ip6"
	for l.more() && contains(encapWords[e.Type], l.peek()) {
		w = l.words[l.i]
		l.i++
		var ok bool
		switch w.text {
		case "src", "dst":
			var x word
			if x, ok = l.value(w); !ok {
				return e, false
			}
			a, err := netip.ParseAddr(x.text)
			if err != nil || a.Is6() != six || a.Zone() != "" {
				return bad(x, "write an address of the family of the tunnel", "%s %q is no address for encap %s", w.text, shorten(x.text), e.Type)
			}
			if w.text == "src" {
				e.Src = a
			} else {
				e.Dst = a
			}
		case "id":
			ok = l.encapNumber(w, "id", 1<<62, func(n int64) { e.ID = uint64(n) })
		case "flags":
			ok = l.encapNumber(w, "flags", 65535, func(n int64) { e.Flags = uint16(n) })
		case "ttl", "hoplimit":
			ok = l.encapNumber(w, w.text, 255, func(n int64) { e.TTL = uint8(n) })
		default:
			ok = l.encapNumber(w, w.text, 255, func(n int64) { e.TOS = uint8(n) })
		}
		if !ok {
			return e, false
		}
	}
	if !e.Dst.IsValid() && e.ID == 0 {
		return bad(w, "add: dst ADDRESS", "%s needs a destination or an id", e.Type)
	}
	return e, true
}

// maxLabels is the kernel's limit (MAX_NEW_LABELS).
const maxLabels = 30

func (l *lineWords) encapNumber(opt word, what string, most int64, set func(int64)) bool {
	x, ok := l.value(opt)
	if !ok {
		return false
	}
	n, err := strconv.ParseUint(x.text, 0, 63)
	if err != nil || n > uint64(most) {
		l.c.bad(x, l.kw, fmt.Sprintf("write a number from 0 to %d", most), fmt.Errorf("encap: %s %q is no number from 0 to %d", what, shorten(x.text), most))
		return false
	}
	set(int64(n))
	return true
}
