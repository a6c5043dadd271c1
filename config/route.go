package config

import (
	"fmt"
	"net/netip"
	"strings"
)

func staticRules() []rule {
	return []rule{
		{block: "", keyword: "static_ipaddress", each: func(c *ctx, item *stmt) {
			if a, ok := c.addressLine(item, "static_ipaddress"); ok {
				c.cfg.StaticAddresses = append(c.cfg.StaticAddresses, a)
			}
		}},
		{block: "", keyword: "static_routes", each: routeList(func(c *ctx) *[]Route { return &c.cfg.StaticRoutes }, "static_routes")},
		{block: "", keyword: "static_rules", each: ruleList(func(c *ctx) *[]Rule { return &c.cfg.StaticRules }, "static_rules")},
	}
}

const (
	routeLine = "(route line)"
	ruleLine  = "(rule line)"
)

func routeList(list func(*ctx) *[]Route, kw string) setter {
	return func(c *ctx, item *stmt) {
		if r, ok := c.routeLine(item, kw); ok {
			*list(c) = append(*list(c), r)
		}
	}
}

func ruleList(list func(*ctx) *[]Rule, kw string) setter {
	return func(c *ctx, item *stmt) {
		if r, ok := c.ruleLine(item, kw); ok {
			*list(c) = append(*list(c), r)
		}
	}
}

func joined(words []word) string { return strings.Join(texts(words), " ") }

// lineWords takes the words of a route or rule one by one.
type lineWords struct {
	c     *ctx
	kw    string
	words []word
	i     int
}

func (l *lineWords) more() bool { return l.i < len(l.words) }
func (l *lineWords) peek() string {
	if l.more() {
		return l.words[l.i].text
	}
	return ""
}

func (l *lineWords) value(opt word) (word, bool) {
	if !l.more() {
		l.c.errorf(opt.pos, "missing-value", l.kw, "write a value behind "+opt.text, "%s needs a value", opt.text)
		return word{}, false
	}
	l.i++
	return l.words[l.i-1], true
}

// dest reads a prefix; 0.0.0.0/0 or ::/0 for default, any and all.
func (l *lineWords) dest(w word, six bool) (netip.Prefix, bool) {
	switch w.text {
	case "default", "any", "all":
		if six {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
	case "default6":
		l.c.warnf(w.pos, "deprecated", l.kw, "write: inet6 default", "default6 is deprecated")
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
	}
	host, length, slash := strings.Cut(w.text, "/")
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		l.c.bad(w, l.kw, "write a network such as 10.0.0.0/8", fmt.Errorf("%q is not a network", shorten(w.text)))
		return netip.Prefix{}, false
	}
	bits := int64(a.BitLen())
	if slash {
		if bits, err = number(length, 0, bits); err != nil {
			l.c.bad(w, l.kw, fmt.Sprintf("write a prefix length from 0 to %d", a.BitLen()), fmt.Errorf("prefix length %w", err))
			return netip.Prefix{}, false
		}
	}
	p := netip.PrefixFrom(a, int(bits))
	if p.Masked() != p {
		l.c.warnf(w.pos, "host-bits", l.kw, "write "+p.Masked().String(), "%s has bits behind the prefix, which the kernel clears or refuses", p)
	}
	return p, true
}

func (l *lineWords) ip(opt, w word) (netip.Addr, bool) {
	a, err := netip.ParseAddr(w.text)
	if err != nil {
		l.c.bad(w, l.kw, "write an IP address", fmt.Errorf("%s %q is not an IP address", opt.text, shorten(w.text)))
	}
	return a, err == nil
}

// option reads the value of an option that has no field, by its row in values.tsv.
func (l *lineWords) option(k *keyword, w word) (Option, bool) {
	v := newSpec(k.value)
	o := Option{Name: w.text, Pos: w.pos}
	switch v.name {
	case "flag":
		return o, true
	case "rest", "nexthop":
		o.Value = joined(l.words[l.i:])
		l.i = len(l.words)
		if o.Value == "" {
			_, ok := l.value(w)
			return o, ok
		}
		return o, true
	case "lockint", "locktime":
		lock := ""
		if l.peek() == "lock" {
			l.i++
			lock = "lock "
		}
		x, ok := l.value(w)
		if !ok {
			return o, false
		}
		o.Value = lock + x.text
		if v.name == "lockint" {
			return o, l.c.wordValue(spec{name: "int", params: v.params}, l.kw+" "+w.text, x)
		}
		if digits := strings.TrimRight(x.text, "nmus."); digits == "" || strings.Trim(digits, "0123456789.") != "" {
			l.c.bad(x, l.kw, "write a time such as 20ms", fmt.Errorf("%s %q is not a time", w.text, shorten(x.text)))
			return o, false
		}
		return o, true
	}
	x, ok := l.value(w)
	if !ok {
		return o, false
	}
	o.Value = x.text
	switch v.name {
	case "dest":
		_, ok = l.dest(x, false)
	case "mark":
		mark, mask, _ := strings.Cut(x.text, "/")
		if !isMark(mark) || (mask != "" && !isMark(mask)) {
			l.c.bad(x, l.kw, "write a number, or NUMBER/MASK", fmt.Errorf("%s %q is not a mark", w.text, shorten(x.text)))
			return o, false
		}
	case "ports", "range":
		most := int64(65535)
		a, b, isRange := strings.Cut(x.text, "-")
		if v.name == "range" {
			most = maxUint32
		} else if !isRange {
			b = a
		}
		lo, err1 := number(a, 0, most)
		hi, err2 := number(b, 0, most)
		if err1 != nil || err2 != nil || lo > hi {
			l.c.bad(x, l.kw, "write FIRST-LAST", fmt.Errorf("%s %q is not a range", w.text, shorten(x.text)))
			return o, false
		}
	default:
		ok = l.c.wordValue(v, l.kw+" "+w.text, x)
	}
	return o, ok
}

func isMark(s string) bool {
	digits := strings.TrimPrefix(strings.ToLower(s), "0x")
	if digits == strings.ToLower(s) {
		return digits != "" && strings.Trim(digits, "0123456789") == ""
	}
	return digits != "" && len(digits) <= 8 && strings.Trim(digits, "0123456789abcdef") == ""
}

func (l *lineWords) unknown(w word, place string) bool {
	hint := "see ip-route(8) for the words of a route"
	if place == ruleLine {
		hint = "see ip-rule(8) for the words of a rule"
	}
	if n, ok := l.c.schema.nearest(place, w.text); ok {
		hint = "did you mean " + n + "?"
	}
	l.c.errorf(w.pos, "unknown-option", l.kw, hint, "unknown option %q", shorten(w.text))
	return false
}

// routeLine reads [TYPE] [to] DEST OPTIONS; the order of the options is free.
func (c *ctx) routeLine(item *stmt, kw string) (Route, bool) {
	l := &lineWords{c: c, kw: kw, words: item.words}
	r := Route{Type: "unicast", Metric: -1, Text: joined(item.words), Pos: item.pos}
	types := newSpec(c.schema.places[routeLine].keywords["(type)"].value).params
	six := strings.Contains(r.Text, "inet6") || strings.Contains(r.Text, "::")
	haveDest := false
	for l.more() {
		w := l.words[l.i]
		l.i++
		ok := true
		switch k := c.schema.option(routeLine, w.text); {
		case !haveDest && contains(types, w.text):
			r.Type = w.text
		case w.text == "to" || (k == nil && !haveDest):
			if w.text == "to" {
				if w, ok = l.value(w); !ok {
					return r, false
				}
			}
			haveDest = true
			r.Dest, ok = l.dest(w, six)
		case k == nil:
			ok = l.unknown(w, routeLine)
		case w.text == "via" || w.text == "gw" || w.text == "or":
			if w.text == "via" && (l.peek() == "inet" || l.peek() == "inet6") {
				l.i++
			}
			if k.in227 == "deprecated" {
				c.warnf(w.pos, "deprecated", kw, "write via, or nexthop via for each of several gateways", "%s is deprecated; keepalived reports it as well", w.text)
			}
			var x word
			if x, ok = l.value(w); ok {
				var a netip.Addr
				if a, ok = l.ip(w, x); w.text == "or" {
					r.Options = append(r.Options, Option{Name: "or", Value: x.text, Pos: w.pos})
				} else {
					r.Via = a
				}
			}
		case w.text == "src":
			var x word
			if x, ok = l.value(w); ok {
				r.Src, ok = l.ip(w, x)
			}
		case w.text == "no_track":
			r.NoTrack = true
		case w.text == "encap":
			r.Encap, ok = l.encap(w)
		default:
			var o Option
			if o, ok = l.option(k, w); !ok {
				break
			}
			c.reportFeature(k, w.pos)
			switch w.text {
			case "nexthop":
				ok = l.nexthops(&r, o, six)
			case "dev", "oif":
				r.Dev = o.Value
			case "table":
				r.Table = o.Value
			case "metric", "priority", "preference":
				r.Metric, _ = number(o.Value, 0, 1<<32)
			case "as":
				c.errorf(w.pos, "bad-value", kw, "delete it", "as: the kernel has no NAT routes any more")
				ok = false
			default:
				r.Options = append(r.Options, o)
			}
		}
		if !ok {
			return r, false
		}
	}
	if r.Metric < 0 {
		r.Metric = 0
	}
	if !haveDest {
		c.errorf(item.pos, "missing-value", kw, "write: NETWORK/LENGTH via GATEWAY dev INTERFACE", "the route has no destination")
		return r, false
	}
	if !c.routeFamily(&r, kw) {
		return r, false
	}
	if r.Dev == "" && !r.NoTrack && r.Type == "unicast" && len(r.Nexthops) == 0 {
		c.warnf(item.pos, "untracked-route", kw, "add: dev INTERFACE, or no_track", "keepalived 2.2.7 cannot track a route without dev and says so")
	}
	return r, true
}

// routeFamily judges what only one of the families has.
func (c *ctx) routeFamily(r *Route, kw string) bool {
	six := r.Dest.Addr().Is6()
	for _, o := range r.Options {
		switch {
		case o.Name == "inet6" && !six, o.Name == "inet" && six:
			c.errorf(o.Pos, "mixed-families", kw, "delete it", "%s does not go with %s", o.Name, r.Dest)
			return false
		case !six && (o.Name == "from" || o.Name == "expires" || o.Name == "pref"):
			c.errorf(o.Pos, "mixed-families", kw, "delete it", "%s exists for IPv6 routes only", o.Name)
			return false
		case o.Name == "protocol" && !r.NoTrack && o.Value != "18" && o.Value != "keepalived":
			c.warnf(o.Pos, "untracked-route", kw, "delete it, or write no_track", "keepalived resets protocol %s to its own, since it could not track the route", o.Value)
		}
	}
	for _, a := range []netip.Addr{r.Via, r.Src} {
		if a.IsValid() && a.Is6() != six && !strings.Contains(r.Text, "via inet") {
			c.errorf(r.Pos, "mixed-families", kw, "write addresses of one family", "%s is not of the family of %s", a, r.Dest)
			return false
		}
	}
	return true
}

// firstPreference is what the first rule of a family without preference gets (keepalived 2.2.7, measured).
const firstPreference = 16384

func hasOption(list []Option, name string) bool {
	for _, o := range list {
		if o.Name == name {
			return true
		}
	}
	return false
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// ruleLine reads the selectors and the action of a policy rule.
func (c *ctx) ruleLine(item *stmt, kw string) (Rule, bool) {
	l := &lineWords{c: c, kw: kw, words: item.words}
	r := Rule{Preference: -1, Text: joined(item.words), Pos: item.pos}
	actions := newSpec(c.schema.places[ruleLine].keywords["(type)"].value).params
	six := strings.Contains(r.Text, "inet6") || strings.Contains(r.Text, "::")
	var goTo word
	chosen := ""
	choose := func(w word) bool { // a rule has one action
		if chosen != "" {
			c.errorf(w.pos, "bad-value", kw, "write one action per rule", "%s: the rule has an action already, %s", w.text, chosen)
			return false
		}
		chosen = w.text
		return true
	}
	for l.more() {
		w := l.words[l.i]
		l.i++
		k := c.schema.option(ruleLine, w.text)
		if k == nil {
			if !contains(actions, w.text) {
				return r, l.unknown(w, ruleLine)
			}
			if !choose(w) {
				return r, false
			}
			r.Action = w.text
			continue
		}
		ok := true
		switch w.text {
		case "not":
			r.Not = true
		case "no_track":
			r.NoTrack = true
		case "nop", "l3mdev":
			ok = choose(w)
			r.Action = w.text
		case "type":
			var x word
			if x, ok = l.value(w); ok {
				ok = c.oneOf(x, kw+" type", actions...) && choose(w)
				r.Action = x.text
			}
		case "from", "to":
			var x word
			if x, ok = l.value(w); !ok {
				break
			}
			var p netip.Prefix
			if p, ok = l.dest(x, six); w.text == "from" {
				r.From = p
			} else {
				r.To = p
			}
		default:
			at := l.i
			var o Option
			if o, ok = l.option(k, w); !ok {
				break
			}
			switch w.text {
			case "track_group":
				c.reportFeature(k, w.pos)
				r.Options = append(r.Options, o)
			case "table", "lookup":
				ok = choose(w)
				if r.Table = o.Value; o.Value == "0" {
					c.bad(l.words[at], kw, "write the number or the name of a table", fmt.Errorf("table cannot be 0"))
					ok = false
				}
			case "preference", "order", "priority":
				r.Preference, _ = number(o.Value, 0, 1<<32)
			case "goto":
				ok = choose(w)
				r.Action, goTo = "goto "+o.Value, l.words[at]
			default:
				r.Options = append(r.Options, o)
			}
		}
		if !ok {
			return r, false
		}
	}
	switch {
	case r.Table == "" && r.Action == "":
		c.errorf(item.pos, "missing-value", kw, "add: table NUMBER", "the rule has no table and no other action")
		return r, false
	}
	for _, o := range r.Options {
		v4 := (r.From.IsValid() && r.From.Addr().Is4()) || (r.To.IsValid() && r.To.Addr().Is4())
		v6 := (r.From.IsValid() && r.From.Addr().Is6()) || (r.To.IsValid() && r.To.Addr().Is6())
		if (o.Name == "inet6" && v4) || (o.Name == "inet" && v6) {
			c.errorf(o.Pos, "mixed-families", kw, "delete it", "%s does not go with the addresses of the rule", o.Name)
			return r, false
		}
		if o.Name == "protocol" && !r.NoTrack && o.Value != "18" && o.Value != "keepalived" {
			c.warnf(o.Pos, "untracked-route", kw, "delete it, or write no_track", "keepalived resets protocol %s to its own, since it could not track the rule", o.Value)
		}
	}
	if goTo.text != "" {
		if n, _ := number(goTo.text, 0, 1<<32); r.Preference >= 0 && n <= r.Preference {
			c.bad(goTo, kw, "write the preference of a later rule", fmt.Errorf("goto %d does not lead behind the rule itself (%d)", n, r.Preference))
			return r, false
		}
	}
	if r.Preference < 0 {
		n := &c.facts.rules4
		if r.Is6() {
			n = &c.facts.rules6
		}
		r.Preference = firstPreference - *n
		*n++
		c.warnf(item.pos, "missing-value", kw, "add: preference NUMBER", "the rule has no preference and gets %d: keepalived counts down from %d in each family, and reports it", r.Preference, firstPreference)
	}
	return r, true
}
