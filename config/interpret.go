package config

import (
	"fmt"
	"strings"
)

// rule is how one keyword is read. A keyword has exactly one of: set (a statement), open
// (a block of keywords), each (a block with an entry per line), or only yet.
type rule struct {
	block   string // as in keywords.tsv: "", "vrrp_instance", "virtual_server.real_server" …
	keyword string
	args    int                    // words used behind the keyword; more are surplus; anyWords = all
	set     setter                 //
	open    func(*ctx, *stmt) bool // starts an object; false: the contents are not read
	close   func(*ctx, *stmt)      // after the contents; may be nil
	each    setter                 // for each entry
	yet     string                 // what it does not do yet; makes a Warning "no-effect-yet"
	note    note                   // a remark that does not depend on the value
}

type note struct {
	severity            Severity
	code, message, hint string
}

const anyWords = -1

// ctx is what the setters work on: the tree so far and the open objects.
type ctx struct {
	*sink
	schema *schema
	cfg    *Config
	script *Script
	inst   *Instance
	vs     *VirtualServer
	rs     *RealServer
	check  *Check
}

func (c *ctx) walk(stmts []*stmt, path string) {
	for _, s := range stmts {
		if c.full {
			return
		}
		c.statement(s, path)
	}
}

func (c *ctx) statement(s *stmt, path string) {
	kw := s.keyword()
	if r := c.schema.rules[path][kw]; r != nil {
		c.apply(r, s)
		return
	}
	if e, ok := c.schema.lookup(path, kw); ok {
		c.unsupported(e, s)
		return
	}
	c.unknown(s, path)
}

func (c *ctx) apply(r *rule, s *stmt) {
	kw := s.keyword()
	isBlock := r.open != nil || r.each != nil
	switch {
	case isBlock && !s.block:
		c.errorf(s.pos, "missing-brace", kw, "write "+kw+" ... { ... }", "%s is a block, its { is missing", kw)
		return
	case !isBlock && s.block && r.set != nil:
		c.errorf(s.open, "unexpected-brace", kw, "delete the block", "%s takes no block; what it encloses is not read", kw)
	}
	if n := r.note; n.code != "" {
		c.add(Diagnostic{Severity: n.severity, Code: n.code, Pos: s.pos, Keyword: kw, Message: n.message, Hint: n.hint})
	}
	if r.yet != "" {
		c.warnf(s.pos, "no-effect-yet", kw, "nothing to do; the setting is kept for the release that carries it out", "%s is read, but %s", kw, r.yet)
	}
	if r.args != anyWords && len(s.words) > r.args+1 {
		c.surplus(s, r.args+1)
	}
	switch {
	case r.set != nil:
		r.set(c, s)
	case r.open != nil:
		if r.open(c, s) {
			c.walk(s.children, childPath(r.block, kw))
			if r.close != nil {
				r.close(c, s)
			}
		}
	case r.each != nil:
		for _, item := range s.children {
			if item.block {
				c.errorf(item.open, "unexpected-brace", item.keyword(), "delete the block", "an entry of %s takes no block; what it encloses is not read", kw)
			}
			r.each(c, item)
		}
	}
}

// surplus reports words that keepalived would swallow without a message.
func (c *ctx) surplus(s *stmt, from int) {
	w := s.words[from]
	hint := "delete it, or start a new line"
	if w.text == "=" || w.text == ";" {
		hint = "delete it"
	} else if strings.HasPrefix(w.text, "//") {
		hint = "comments start with # or !"
	}
	c.warnf(w.pos, "surplus-words", s.keyword(), hint, "%q and what follows it is ignored, as keepalived does: %s is complete", shorten(w.text), s.keyword())
}

// unsupported reports a keyword of keepalived that is not carried out. Not doing what a
// file asks for is an error when it matters (tier 1 and 2).
func (c *ctx) unsupported(e entry, s *stmt) {
	d := Diagnostic{Severity: Error, Code: "not-supported-yet", Pos: s.pos, Keyword: e.keyword,
		Message: e.keyword + " is not supported yet",
		Hint:    "delete it; in keepalived: " + lowerFirst(e.meaning)}
	if e.tier > 2 {
		d.Severity = Warning
		d.Message += " and has no effect"
		d.Hint = "in keepalived: " + lowerFirst(e.meaning)
	}
	c.add(d)
	if s.block && e.kind == "block" {
		c.onlyUnknown(s.children, childPath(e.block, e.keyword))
	}
}

// onlyUnknown looks for slips of the pen inside a block that is not supported as a whole.
func (c *ctx) onlyUnknown(stmts []*stmt, path string) {
	for _, s := range stmts {
		e, ok := c.schema.lookup(path, s.keyword())
		switch {
		case !ok:
			c.unknown(s, path)
		case s.block && e.kind == "block":
			c.onlyUnknown(s.children, childPath(path, s.keyword()))
		}
	}
}

func (c *ctx) unknown(s *stmt, path string) {
	kw := s.keyword()
	hint := ""
	if n, ok := c.schema.nearest(path, kw); ok {
		hint = "did you mean " + n + "?"
		if strings.EqualFold(n, kw) {
			hint += " keywords are case-sensitive"
		}
	} else if block, ok := c.schema.elsewhere(kw); ok {
		hint = kw + " belongs " + places(block)
	} else if strings.HasPrefix(kw, "//") || strings.HasPrefix(kw, ";") {
		hint = "comments start with # or !"
	} else if n, block, ok := c.nearestAnywhere(kw); ok {
		hint = fmt.Sprintf("did you mean %s? it belongs %s", n, places(block))
	}
	what := "unknown keyword"
	if s.block {
		what = "unknown block"
	}
	c.errorf(s.pos, "unknown-keyword", kw, hint, "%s %q %s", what, shorten(kw), places(path))
}

func (c *ctx) nearestAnywhere(kw string) (name, block string, ok bool) {
	for _, b := range c.schema.blocks {
		if strings.HasPrefix(b, "(") {
			continue
		}
		if n, found := c.schema.nearest(b, kw); found && c.schema.known(b, n) {
			if !ok || distance(kw, n) < distance(kw, name) {
				name, block, ok = n, b, true
			}
		}
	}
	return name, block, ok
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'A' && s[1] <= 'Z' {
		return s // an abbreviation
	}
	return strings.ToLower(s[:min(1, len(s))]) + s[min(1, len(s)):]
}
