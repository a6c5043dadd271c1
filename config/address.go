package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// addressLine reads ADDR[/LEN] [brd B] [dev IF] [scope S] [label L].
func (c *ctx) addressLine(item *stmt, kw string) (Address, bool) {
	first := item.words[0]
	prefix, ok := c.prefix(first, kw)
	if !ok {
		return Address{}, false
	}
	a := Address{Prefix: prefix, Pos: first.pos}
	for i := 1; i < len(item.words); i++ {
		w := item.words[i]
		k := c.schema.option("(address line)", w.text)
		if k == nil {
			hint := "possible are dev, label, brd, scope"
			if n, ok := c.schema.nearest("(address line)", w.text); ok {
				hint = "did you mean " + n + "?"
			} else if _, err := netip.ParsePrefix(w.text); err == nil || isAddr(w.text) {
				hint = "write one address per line"
			}
			c.errorf(w.pos, "unknown-option", kw, hint, "unknown option %q of an address", shorten(w.text))
			return a, false
		}
		switch w.text {
		case "no_track", "use_vmac":
			a.NoTrack, a.UseVMAC = a.NoTrack || w.text == "no_track", a.UseVMAC || w.text == "use_vmac"
			c.reportFeature(k, w.pos)
			continue
		}
		var v word
		if k.args != "-" {
			if i++; i == len(item.words) {
				c.errorf(w.pos, "missing-value", kw, "write: "+w.text+" "+k.args, "%s needs a value", w.text)
				return a, false
			}
			v = item.words[i]
		}
		switch w.text {
		case "dev":
			a.Dev = v.text
			if !c.ifname(v, kw) {
				return a, false
			}
		case "label":
			a.Label = v.text
			if a.Prefix.Addr().Is6() {
				c.bad(v, kw, "leave it out", fmt.Errorf("label %q: an IPv6 address has no label", shorten(v.text)))
				return a, false
			}
			if len(v.text) > 15 {
				c.bad(v, kw, "shorten it", fmt.Errorf("label %q is %w: a label has at most 15 bytes", shorten(v.text), errRange))
				return a, false
			}
		case "scope":
			a.Scope = v.text
			if _, err := number(v.text, 0, 255); err != nil && !c.oneOf(v, kw+" scope", "global", "link", "host", "site", "nowhere") {
				return a, false
			}
			if a.Prefix.Addr().Is6() {
				c.warnf(w.pos, "ignored", kw, "delete it", "the kernel finds the scope of an IPv6 address by itself")
				a.Scope = ""
			}
		case "peer":
			if p, ok := c.prefix(v, kw+" peer"); !ok || p.Addr().Is4() != a.Prefix.Addr().Is4() {
				if ok {
					c.bad(v, kw, "write an address of the same family", fmt.Errorf("peer %q is of the other family", shorten(v.text)))
				}
				return a, false
			}
			a.option(w, v)
		case "preferred_lft":
			if v.text != "forever" && !c.wordValue(spec{name: "int", params: []string{"0", "4294967295"}}, kw+" preferred_lft", v) {
				return a, false
			}
			a.option(w, v)
		case "track_group":
			if kw != "static_ipaddress" {
				c.errorf(w.pos, "unknown-option", kw, "delete it", "track_group is for static addresses only")
				return a, false
			}
			a.option(w, v)
		case "home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin":
			a.option(w, v)
			switch {
			case a.Prefix.Addr().Is4() && (w.text == "home" || w.text == "-nodad" || w.text == "mngtmpaddr"):
				c.warnf(w.pos, "no-effect", kw, "delete it", "%s has an effect on IPv6 addresses only", w.text)
			case w.text == "autojoin" && !a.Prefix.Addr().IsMulticast():
				c.warnf(w.pos, "no-effect", kw, "delete it", "autojoin: the kernel refuses it for %s, which is no multicast address", a.Prefix.Addr())
			}
		default:
			a.Broadcast = v.text
			if b, err := netip.ParseAddr(v.text); v.text != "+" && v.text != "-" && (err != nil || !b.Is4()) {
				c.bad(v, kw, "write an IPv4 address, + or -", fmt.Errorf("broadcast address %q is not an IPv4 address", shorten(v.text)))
				return a, false
			}
		}
	}
	return a, true
}

// Option returns what a word of the line without a field of its own was set to, and whether it was written.
func (a Address) Option(name string) (value string, ok bool) {
	words := strings.Fields(a.Options)
	k := slices.Index(words, name)
	switch {
	case k < 0:
		return "", false
	case k+1 < len(words):
		value = words[k+1] // of a flag it is the next word, which nobody asks for
	}
	return value, true
}

// Peer is the other end of a point-to-point address, with the prefix length of the network behind it; not valid: none.
func (a Address) Peer() netip.Prefix {
	v, _ := a.Option("peer")
	if p, err := netip.ParsePrefix(v); err == nil {
		return p
	}
	if p, err := netip.ParseAddr(v); err == nil {
		return netip.PrefixFrom(p, p.BitLen())
	}
	return netip.Prefix{}
}

func (a *Address) option(w, v word) {
	a.Options = strings.TrimSpace(a.Options + " " + w.text + " " + v.text)
}

func isAddr(s string) bool { _, err := netip.ParseAddr(s); return err == nil }

// prefix reads ADDR[/LEN], keeping the host bits; /32 without length.
func (c *ctx) prefix(w word, kw string) (netip.Prefix, bool) {
	host, length, slash := strings.Cut(w.text, "/")
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		c.bad(w, kw, "write an address such as 192.168.2.240/24 or 2001:db8::240/64", fmt.Errorf("%q is not an IP address", shorten(host)))
		return netip.Prefix{}, false
	}
	bits := int64(a.BitLen())
	if slash {
		if bits, err = number(length, 0, bits); err != nil {
			c.bad(w, kw, fmt.Sprintf("write a prefix length from 0 to %d", a.BitLen()), fmt.Errorf("prefix length %w", err))
			return netip.Prefix{}, false
		}
	}
	return netip.PrefixFrom(a, int(bits)), true
}

// ifname refuses what Linux refuses (at most 15 bytes, no slash), and a semicolon, which
// Linux would take and nobody means.
func (c *ctx) ifname(w word, kw string) bool {
	if w.text != "" && len(w.text) <= 15 && !strings.ContainsAny(w.text, "/; \t") && w.text != "." && w.text != ".." {
		return true
	}
	c.bad(w, kw, "interface names have 1 to 15 bytes, no slash and no blank", fmt.Errorf("%q cannot be the name of an interface", shorten(w.text)))
	return false
}

// maxVIPs is what the count byte of an advert can hold (RFC 9568 5.2.5).
const maxVIPs = 255

func addressList(list func(*ctx) *[]Address, kw string) setter {
	return func(c *ctx, item *stmt) {
		a, ok := c.addressLine(item, kw)
		if !ok {
			return
		}
		l := list(c)
		if at, ok := c.facts.vips[a.Prefix.Addr()]; ok {
			c.warnf(a.Pos, "duplicate-address", kw, "delete one of the two", "%s is already listed at %s; this line is left out", a.Prefix.Addr(), at)
			return
		}
		if c.facts.vips == nil {
			c.facts.vips = map[netip.Addr]Pos{}
		}
		c.facts.vips[a.Prefix.Addr()] = a.Pos
		if kw == "virtual_ipaddress" {
			if len(*l) == maxVIPs {
				c.errorf(a.Pos, "out-of-range", kw, "put further addresses into virtual_ipaddress_excluded", "an advert carries at most %d addresses", maxVIPs)
			}
			if len(*l) > 0 && (*l)[0].Prefix.Addr().Is4() != a.Prefix.Addr().Is4() {
				c.errorf(a.Pos, "mixed-families", kw, "put it into virtual_ipaddress_excluded, or into an instance of its own",
					"%s: an advert carries IPv4 or IPv6 addresses, and the first one is %s; keepalived leaves this one out", a.Prefix.Addr(), (*l)[0].Prefix.Addr())
				return
			}
		}
		*l = append(*l, a)
	}
}
