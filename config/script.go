package config

import (
	"fmt"
	"time"
)

func scriptRules() []rule {
	const S = "vrrp_script"
	return []rule{
		{block: "", keyword: S, args: 1, open: openScript, close: closeScript},
		{block: S, keyword: "script", args: anyWords, set: func(c *ctx, s *stmt) {
			if cmd, ok := c.commandOf(s); ok {
				user, group := c.script.Command.User, c.script.Command.Group
				if cmd.User == "" {
					cmd.User, cmd.Group = user, group // a user line above
				}
				if len(c.script.Command.Argv) > 0 {
					c.warnf(s.pos, "duplicate-keyword", "script", "delete one of the two", "script is already set at %s; this line replaces it", c.script.Command.Pos)
				}
				c.script.Command = cmd
			}
		}},
		{block: S, keyword: "user", args: 2, set: func(c *ctx, s *stmt) {
			if w, ok := c.arg(s, 1, "user"); ok {
				c.script.Command.User = w.text
				if g, ok := c.groupName(s, 2); ok {
					c.script.Command.Group = g.text
				}
			}
		}},
		{block: S, keyword: "interval", args: 1, set: duration(3, time.Millisecond, garpMax, func(c *ctx) *Value[time.Duration] { return &c.script.Interval })},
		{block: S, keyword: "timeout", args: 1, set: duration(3, time.Millisecond, garpMax, func(c *ctx) *Value[time.Duration] { return &c.script.Timeout })},
		{block: S, keyword: "rise", args: 1, set: integer(1, maxInt, func(c *ctx) *Value[int] { return &c.script.Rise })},
		{block: S, keyword: "fall", args: 1, set: integer(1, maxInt, func(c *ctx) *Value[int] { return &c.script.Fall })},
		{block: S, keyword: "init_fail", set: func(c *ctx, _ *stmt) { c.script.InitFail = true }},
		{block: S, keyword: "weight", args: 2, set: func(c *ctx, s *stmt) {
			integer(-253, 253, func(c *ctx) *Value[int] { return &c.script.Weight })(c, s)
			if len(s.words) > 2 {
				if w := s.words[2]; c.oneOf(w, "weight", "reverse") {
					c.script.Reverse = true
				}
			}
		}},
	}
}

// name reads the one word that names a block.
func (c *ctx) name(s *stmt) (word, bool) {
	w, ok := c.arg(s, 1, "name")
	if ok && w.text == "" {
		c.errorf(w.pos, "missing-value", s.keyword(), "name it", "the name of %s is empty", s.keyword())
		return w, false
	}
	return w, ok
}

// taken reports a name that an earlier block of this keyword has.
func (c *ctx) taken(s *stmt, w word) bool {
	key := s.keyword() + " " + w.text
	if at, ok := c.facts.names[key]; ok {
		c.errorf(w.pos, "duplicate-name", s.keyword(), "give it another name; keepalived would leave this block out", "there is already a %s %q at %s", s.keyword(), w.text, at)
		return true
	}
	if c.facts.names == nil {
		c.facts.names = map[string]Pos{}
	}
	c.facts.names[key] = s.pos
	return false
}

func openScript(c *ctx, s *stmt) bool {
	w, ok := c.name(s)
	if !ok {
		return false
	}
	if c.taken(s, w) {
		return false
	}
	c.script = &Script{Name: w.text, Pos: s.pos}
	c.cfg.Scripts = append(c.cfg.Scripts, c.script)
	return true
}

func closeScript(c *ctx, s *stmt) {
	sc := c.script
	def(&sc.Interval, time.Second)
	def(&sc.Timeout, sc.Interval.V)
	def(&sc.Rise, 1)
	def(&sc.Fall, 1)
	if len(sc.Command.Argv) == 0 {
		for _, child := range s.children {
			if child.keyword() == "script" {
				return // already reported there
			}
		}
		c.errorf(s.pos, "missing-keyword", "script", `add: script "/path/to/program arguments"`, "vrrp_script %s has no script", sc.Name)
	}
	if sc.Timeout.V > sc.Interval.V && sc.Timeout.Set {
		c.infof(sc.Timeout.Pos, "slow-script", "timeout", "write a timeout of at most the interval", "timeout is longer than interval: a run that is still going on lets the next one be skipped")
	}
}

// def fills in a default; Set stays false.
func def[T comparable](v *Value[T], d T) {
	if !v.Set {
		v.V = d
	}
}

// inherit takes v from the first of from that was written.
func inherit[T comparable](v *Value[T], d T, from ...Value[T]) {
	if v.Set {
		return
	}
	v.V = d
	for _, f := range from {
		if f.Set {
			v.V = f.V
			return
		}
	}
}

// trackLine reads NAME [weight N [reverse|noreverse]].
func (c *ctx) trackLine(item *stmt, kw string, lo, hi int64, reverseOnly bool) (Track, bool) {
	t := Track{Name: item.words[0].text, Pos: item.pos}
	words := item.words[1:]
	if len(words) == 0 {
		return t, true
	}
	if words[0].text != "weight" {
		hint := "write each on a line of its own; a weight is written NAME weight NUMBER"
		if n, ok := nearest(words[0].text, []string{"weight"}); ok {
			hint = "did you mean " + n + "?"
		}
		c.bad(words[0], kw, hint, fmt.Errorf("%s is followed by %q", shorten(t.Name), shorten(words[0].text)))
		return t, false
	}
	if len(words) < 2 {
		c.errorf(words[0].pos, "missing-value", kw, "write: weight NUMBER", "weight needs a number from %d to %d", lo, hi)
		return t, false
	}
	n, err := number(words[1].text, lo, hi)
	if err != nil {
		c.bad(words[1], kw, fmt.Sprintf("write a number from %d to %d", lo, hi), fmt.Errorf("weight %w", err))
		return t, false
	}
	t.Weight = Value[int]{V: int(n), Set: true, Pos: words[1].pos}
	if len(words) > 2 {
		names := []string{"reverse", "noreverse"}
		if reverseOnly {
			names = names[:1]
		}
		if !c.oneOf(words[2], kw, names...) {
			return t, false
		}
		t.Reverse, t.NoReverse = words[2].text == "reverse", words[2].text == "noreverse"
	}
	if len(words) > 3 {
		c.surplus(item, 4)
	}
	return t, true
}
