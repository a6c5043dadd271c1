package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The setters of this file make the third column of the rules: each reads the words of
// one statement, judges them and stores a Value. A value that is refused leaves the
// default, so that one mistake is reported once.

type (
	setter  = func(*ctx, *stmt)
	intOf   = func(*ctx) *Value[int]
	timeOf  = func(*ctx) *Value[time.Duration]
	boolOf  = func(*ctx) *Value[bool]
	textOf  = func(*ctx) *Value[string]
	ipOf    = func(*ctx) *Value[netip.Addr]
	wordsOf = func(*ctx) *[]Value[string]
)

// arg returns word i after the keyword. keepalived exits at once when one is missing.
func (c *ctx) arg(s *stmt, i int, what string) (word, bool) {
	if i < len(s.words) {
		return s.words[i], true
	}
	c.errorf(s.pos, "missing-value", s.keyword(), "write: "+s.keyword()+" "+strings.ToUpper(what), "%s needs %s", s.keyword(), article(what))
	return word{}, false
}

func article(what string) string {
	if strings.HasPrefix(what, "a ") || strings.HasPrefix(what, "an ") || what == "" {
		return what
	}
	if strings.ContainsRune("aeiouAEIOU", rune(what[0])) {
		return "an " + what
	}
	return "a " + what
}

// put stores v and reports that an earlier line set the same thing: keepalived takes the
// last one without a word.
func put[T any](c *ctx, s *stmt, field *Value[T], v T, at Pos) {
	if field.Set {
		c.warnf(s.pos, "duplicate-keyword", s.keyword(), "delete one of the two", "%s is already set at %s; this line replaces it", s.keyword(), field.Pos)
	}
	*field = Value[T]{V: v, Set: true, Pos: at}
}

var errRange = errors.New("outside the range")

// number parses a whole decimal number; a range error wraps errRange.
func number(s string, lo, hi int64) (int64, error) {
	if !allDigits(strings.TrimPrefix(s, "-")) {
		return 0, fmt.Errorf("%q is not a whole number", shorten(s))
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%s is %w %d..%d", shorten(s), errRange, lo, hi)
	}
	return n, nil
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// seconds parses decimal seconds with at most the given decimal places.
func seconds(s string, places int, lo, hi time.Duration) (time.Duration, error) {
	if len(s) < 10 && allDigits(s) { // nearly always
		n, _ := strconv.ParseInt(s, 10, 64)
		if d := time.Duration(n) * time.Second; d >= lo && d <= hi {
			return d, nil
		}
	}
	whole, frac, dotted := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if whole+frac == "" || strings.Trim(whole+frac, "0123456789") != "" || len(strings.TrimLeft(whole, "0")) > 18 {
		return 0, fmt.Errorf("%q is not a number of seconds", shorten(s))
	}
	if dotted && (places == 0 || len(strings.TrimRight(frac, "0")) > places) {
		if places == 0 { // not even 1.0: keepalived 2.2.7, measured
			return 0, fmt.Errorf("%q is not a whole number of seconds", shorten(s))
		}
		return 0, fmt.Errorf("%q has more than %d decimal places", shorten(s), places)
	}
	n, _ := strconv.ParseInt("0"+whole, 10, 64)
	if n > int64(maxTimer/time.Second) {
		return 0, fmt.Errorf("%s is %w %s..%s seconds", shorten(s), errRange, secs(lo), secs(hi))
	}
	f, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	d := time.Duration(n)*time.Second + time.Duration(f)
	if strings.HasPrefix(s, "-") {
		d = -d
	}
	if d < lo || d > hi {
		return 0, fmt.Errorf("%s is %w %s..%s seconds", shorten(s), errRange, secs(lo), secs(hi))
	}
	return d, nil
}

func secs(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// shorten keeps a message readable whatever stands in the file.
func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

// bad reports a value that cannot be used.
func (c *ctx) bad(w word, kw, hint string, err error) {
	if strings.Contains(w.text, "${") && slices.ContainsFunc(c.list, func(d Diagnostic) bool { return d.Code == "undefined-variable" && d.Pos == w.pos }) {
		return // what it lacks was said
	}
	code := "bad-value"
	if errors.Is(err, errRange) {
		code = "out-of-range"
	}
	if strings.HasSuffix(w.text, ";") {
		hint = "delete the semicolon; " + hint
	} else if strings.Contains(w.text, ",") {
		hint = "there are no commas in lists, write one on each line; " + hint
	}
	c.errorf(w.pos, code, kw, hint, "%s %s", kw, err)
}

func integer(lo, hi int64, field intOf) setter {
	return func(c *ctx, s *stmt) {
		w, ok := c.arg(s, 1, "number")
		if !ok {
			return
		}
		n, err := number(w.text, lo, hi)
		if err != nil {
			c.bad(w, s.keyword(), fmt.Sprintf("write a number from %d to %d", lo, hi), err)
			return
		}
		put(c, s, field(c), int(n), w.pos)
	}
}

// atLeastOne is an integer for which keepalived takes 0 as 1.
func atLeastOne(hi int64, field intOf) setter {
	in := integer(0, hi, field)
	return func(c *ctx, s *stmt) {
		in(c, s)
		if f := field(c); f.Set && f.V == 0 {
			f.V = 1
			c.warnf(f.Pos, "adjusted", s.keyword(), "write 1", "%s 0 means 1", s.keyword())
		}
	}
}

func duration(places int, lo, hi time.Duration, field timeOf) setter {
	return func(c *ctx, s *stmt) {
		w, ok := c.arg(s, 1, "time in seconds")
		if !ok {
			return
		}
		d, err := seconds(w.text, places, lo, hi)
		if err != nil {
			hint := fmt.Sprintf("write seconds from %s to %s", secs(lo), secs(hi))
			if places == 0 {
				hint = fmt.Sprintf("write whole seconds from %s to %s", secs(lo), secs(hi))
			}
			c.bad(w, s.keyword(), hint, err)
			return
		}
		put(c, s, field(c), d, w.pos)
	}
}

// extraIf reads [all] SECONDS.
func extraIf(field timeOf, all func(*ctx) *bool) setter {
	return func(c *ctx, s *stmt) {
		w, ok := c.arg(s, 1, "number of seconds")
		if !ok {
			return
		}
		every := w.text == "all"
		if every {
			if w, ok = c.arg(s, 2, "number of seconds"); !ok {
				return
			}
		}
		n, err := number(w.text, 0, 86400)
		if err != nil {
			c.bad(w, s.keyword(), "write whole seconds from 0 to 86400", err)
			return
		}
		put(c, s, field(c), time.Duration(n)*time.Second, w.pos)
		*all(c) = every
	}
}

// boolean reads [BOOL]: nothing means true.
func boolean(field boolOf) setter {
	return func(c *ctx, s *stmt) {
		v, at, ok := c.boolArg(s)
		if ok {
			put(c, s, field(c), v, at)
		}
	}
}

func (c *ctx) boolArg(s *stmt) (v bool, at Pos, ok bool) {
	if len(s.words) == 1 {
		return true, s.pos, true
	}
	w := s.words[1]
	switch w.text {
	case "on", "true", "yes":
		return true, w.pos, true
	case "off", "false", "no":
		return false, w.pos, true
	}
	c.bad(w, s.keyword(), "write on, off, true, false, yes or no, or nothing for on", fmt.Errorf("%q is neither on nor off", shorten(w.text)))
	return false, Pos{}, false
}

// flag is a bare keyword.
func flag(field boolOf) setter {
	return func(c *ctx, s *stmt) { put(c, s, field(c), true, s.pos) }
}

func text(what string, field textOf) setter {
	return func(c *ctx, s *stmt) {
		if w, ok := c.arg(s, 1, what); ok {
			put(c, s, field(c), w.text, w.pos)
		}
	}
}

// choice takes one of the names as written.
func choice(field textOf, names ...string) setter {
	return func(c *ctx, s *stmt) {
		if w, ok := c.arg(s, 1, "value"); ok && c.oneOf(w, s.keyword(), names...) {
			put(c, s, field(c), w.text, w.pos)
		}
	}
}

func (c *ctx) oneOf(w word, kw string, names ...string) bool {
	for _, n := range names {
		if w.text == n {
			return true
		}
	}
	hint := "write one of " + strings.Join(names, " ")
	if n, ok := nearest(w.text, names); ok {
		hint = "did you mean " + n + "? possible are " + strings.Join(names, " ")
	}
	c.bad(w, kw, hint, fmt.Errorf("cannot be %q", shorten(w.text)))
	return false
}

func address(field ipOf) setter {
	return func(c *ctx, s *stmt) {
		if w, ok := c.arg(s, 1, "IP address"); ok {
			if a, ok := c.ip(w, s.keyword()); ok {
				put(c, s, field(c), a, w.pos)
			}
		}
	}
}

// bare takes off a prefix length, which keepalived lets stand behind an address and which means nothing (2.2.7, measured).
func (c *ctx) bare(w word, kw string) word {
	if strings.IndexByte(w.text, '/') < 0 {
		return w
	}
	if p, err := netip.ParsePrefix(w.text); err == nil {
		c.infof(w.pos, "ignored", kw, "write: "+p.Addr().String(), "the prefix length of %s means nothing here", w.text)
		w.text = p.Addr().String()
	}
	return w
}

// ip reads an address of either family.
func (c *ctx) ip(w word, kw string) (netip.Addr, bool) {
	w = c.bare(w, kw)
	a, err := netip.ParseAddr(w.text)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		hint := "write an address such as 192.168.2.240 or 2001:db8::240"
		if ap, err := netip.ParseAddrPort(w.text); err == nil {
			hint = fmt.Sprintf("the port is a word of its own: %s %d", ap.Addr(), ap.Port())
		} else if host, _, ok := strings.Cut(w.text, "/"); ok && isAddr(host) {
			hint = "write: " + host
		} else if strings.ContainsFunc(w.text, unicode.IsLetter) && !strings.Contains(w.text, ":") {
			hint = "write an address, such as 192.168.2.240: names are not looked up"
		}
		c.bad(w, kw, hint, fmt.Errorf("%q is not an IP address", shorten(w.text)))
		return netip.Addr{}, false
	}
	return a, true
}

// port reads a port of a service, 1..65535.
func (c *ctx) port(w word, kw string) (int, bool) {
	n, err := number(w.text, 1, 65535)
	if err != nil {
		c.bad(w, kw, "write a port from 1 to 65535", fmt.Errorf("port %w", err))
		return 0, false
	}
	return int(n), true
}

// wordList is a list block in which every word is an entry.
func wordList(list wordsOf) setter {
	return func(c *ctx, item *stmt) {
		for _, w := range item.words {
			*list(c) = append(*list(c), Value[string]{V: w.text, Set: true, Pos: w.pos})
		}
	}
}
