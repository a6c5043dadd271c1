package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
)

// Nexthop is one leg of a route with several: via IP [dev IF] [weight N] [onlink] [encap E] [realms R].
type Nexthop struct {
	Via    netip.Addr // may be invalid: only Dev
	Dev    string
	Weight int // 1 to 256
	OnLink bool
	Realms string
	Encap  Encap
}

// nexthops reads everything behind the first nexthop of a line.
func (l *lineWords) nexthops(r *Route, o Option, six bool) bool {
	bad := func(hint, format string, args ...any) bool {
		l.c.errorf(o.Pos, "bad-value", l.kw, hint, "nexthop: "+format, args...)
		return false
	}
	words := strings.Fields(o.Value)
	n := Nexthop{Weight: 1}
	end := func() bool {
		if !n.Via.IsValid() && n.Dev == "" {
			return bad("write: nexthop via GATEWAY dev INTERFACE", "has neither a gateway nor an interface")
		}
		r.Nexthops = append(r.Nexthops, n)
		n = Nexthop{Weight: 1}
		return true
	}
	for k := 0; k < len(words); k++ {
		w := words[k]
		switch w {
		case "nexthop":
			if !end() {
				return false
			}
			continue
		case "onlink":
			n.OnLink = true
			continue
		case "inet", "inet6":
			continue
		case "via", "dev", "weight", "realms":
		case "encap":
			rest := &lineWords{c: l.c, kw: l.kw}
			for _, s := range words[k+1:] {
				rest.words = append(rest.words, word{text: s, pos: o.Pos})
			}
			var ok bool
			if n.Encap, ok = rest.encap(word{text: w, pos: o.Pos}); !ok {
				return false
			}
			k += rest.i
			continue
		default:
			return bad("possible are via, dev, weight, onlink, encap, realms", "unknown option %q", shorten(w))
		}
		if k++; k == len(words) {
			return bad("write: "+w+" VALUE", "%s needs a value", w)
		}
		if w == "via" && (words[k] == "inet" || words[k] == "inet6") && k+1 < len(words) {
			k++
		}
		v := words[k]
		switch w {
		case "via":
			a, err := netip.ParseAddr(v)
			if err != nil || a.Zone() != "" {
				return bad("write an IP address", "%q is not an IP address", shorten(v))
			}
			if a.Is6() != six && r.Dest.IsValid() && a.Is6() != r.Dest.Addr().Is6() {
				return bad("write addresses of one family", "%s is not of the family of %s", a, r.Dest)
			}
			n.Via = a
		case "dev":
			if !l.c.ifname(word{text: v, pos: o.Pos}, l.kw) {
				return false
			}
			n.Dev = v
		case "weight":
			x, err := number(v, 1, 256)
			if err != nil {
				return bad("write a number from 1 to 256", "weight %v", err)
			}
			n.Weight = int(x)
		case "realms":
			n.Realms = v
		}
	}
	return end()
}

// Is6 says in which family a rule is looked up: that of its addresses, else what it says, else IPv4.
func (r Rule) Is6() bool {
	for _, p := range []netip.Prefix{r.From, r.To} {
		if p.IsValid() {
			return p.Addr().Is6()
		}
	}
	return hasOption(r.Options, "inet6")
}

func option(list []Option, names []string) (value string, ok bool) {
	for _, o := range list {
		if contains(names, o.Name) {
			value, ok = o.Value, true
		}
	}
	return value, ok
}

// Option returns what one of the synonyms was set to, and whether one was written.
func (r Route) Option(names ...string) (string, bool) { return option(r.Options, names) }

// Option returns what one of the synonyms was set to, and whether one was written.
func (r Rule) Option(names ...string) (string, bool) { return option(r.Options, names) }

// Interfaces are those that a rule names: iif and oif.
func (r Rule) Interfaces() (out []string) {
	for _, names := range [][]string{{"iif", "dev"}, {"oif"}} {
		if dev, ok := r.Option(names...); ok {
			out = append(out, dev)
		}
	}
	return out
}

// Key tells a rule from others: two with one key are the same to the kernel.
func (r Rule) Key() string {
	for w := range strings.FieldsSeq(r.Text) {
		if w == "preference" || w == "order" || w == "priority" {
			return r.Text
		}
	}
	return fmt.Sprintf("%s preference %d", r.Text, r.Preference)
}

// StaticDev is the interface of a line of static_ipaddress (keepalived 2.2.7, measured).
func (c *Config) StaticDev(a Address) string {
	return cmp.Or(a.Dev, c.Global.DefaultInterface.V, "eth0")
}
