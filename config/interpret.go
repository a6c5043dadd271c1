package config

import (
	"fmt"
	"strings"
)

// rule is how one keyword is read into fields of the tree. A keyword has one of:
// set (a statement), open (a block of keywords), or each (a block with an entry per line;
// open may then name it).
// Keywords without a rule are read by what values.tsv says about them (generic.go).
type rule struct {
	block   string // as in keywords.tsv: "", "vrrp_instance", "virtual_server.real_server" …
	keyword string
	args    int                    // words used behind the keyword; more are surplus; anyWords = all
	set     setter                 //
	open    func(*ctx, *stmt) bool // starts an object; false: the contents are not read
	close   func(*ctx, *stmt)      // after the contents; may be nil
	each    setter                 // for each entry
	maybe   bool                   // only where keywords.tsv has the keyword
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
	schema  *schema
	cfg     *Config
	strict  *strict // the reader's default for includes
	modes   Modes   // nil when the source does not know permissions
	owner   string  // name of the open block of the top level
	into    *[]Setting
	script  *Script
	inst    *Instance
	group   *SyncGroup
	garp    *GARPGroup
	vsg     *ServerGroup
	vs      *VirtualServer
	rs      *RealServer
	check   *Check
	host    *SMTPHost
	url     *URL
	facts   facts
	renamed bool // the open statement is an obsolete word that stands for another
	light   bool // the objects of services are not kept (Lint)
}

// top reads a complete statement of the top level.
func (c *ctx) top(s *stmt) {
	if c.full {
		return
	}
	c.owner = ""
	if s.block && len(s.words) > 1 {
		c.owner = s.words[1].text
	}
	c.statement(s)
}

func (c *ctx) walk(stmts []*stmt) {
	for _, s := range stmts {
		if c.full {
			return
		}
		c.statement(s)
	}
}

func (c *ctx) statement(s *stmt) {
	switch k := s.kw; {
	case k != nil && len(s.words) > 2 && s.words[1].text == "=":
		c.errorf(s.words[1].pos, "bad-value", k.name, "delete the =", "%s is followed by =, which keepalived takes for the value", k.name)
	case k == nil:
		if !c.obsolete(s) {
			c.unknown(s)
		}
	case k.rule != nil:
		c.apply(k, s)
	default:
		c.age(k, s.pos)
		c.generic(s)
	}
}

func (c *ctx) apply(k *keyword, s *stmt) {
	r, kw := k.rule, k.name
	isBlock := r.open != nil || r.each != nil
	switch {
	case isBlock && !s.block:
		c.errorf(s.pos, "missing-brace", kw, "write "+kw+" ... { ... }", "%s is a block, its { is missing", kw)
		return
	case !isBlock && s.block:
		c.errorf(s.open, "unexpected-brace", kw, "delete the block", "%s takes no block; what it encloses is not read", kw)
	}
	if n := r.note; n.code != "" {
		c.add(Diagnostic{Severity: n.severity, Code: n.code, Pos: s.pos, Keyword: kw, Message: n.message, Hint: n.hint})
	}
	if k.in227 != "yes" {
		c.age(k, s.pos)
	}
	if k.feature != nil && !k.feature.done {
		c.reportFeature(k, s.pos)
	}
	if r.args != anyWords && len(s.words) > r.args+1 {
		c.surplus(s, r.args+1)
	}
	switch {
	case r.set != nil:
		r.set(c, s)
	case r.each != nil:
		if r.open != nil && !r.open(c, s) {
			return
		}
		for _, item := range s.children {
			c.noBlock(item, kw)
			r.each(c, item)
		}
	case r.open(c, s):
		c.walk(s.children)
		if r.close != nil {
			r.close(c, s)
		}
	}
}

// surplus reports words that keepalived would swallow without a message.
func (c *ctx) surplus(s *stmt, from int) {
	w := s.words[from]
	hint := "delete it, or start a new line"
	if k := s.in.lookup(w.text); k != nil && k != s.kw {
		hint = "start a new line: " + w.text + " is a keyword of its own, and each needs one"
	} else if w.text == "=" || w.text == ";" {
		hint = "delete it"
	} else if strings.HasPrefix(w.text, "//") {
		hint = "comments start with # or !"
	}
	c.warnf(w.pos, "surplus-words", s.keyword(), hint, "%q and what follows it is ignored, as keepalived does: %s is complete", shorten(w.text), s.keyword())
}

func (c *ctx) unknown(s *stmt) {
	kw, path := s.keyword(), s.path()
	hint := ""
	if n, rest, cut := cutKeyword(kw); cut && s.in.lookup(n) != nil {
		for _, w := range s.words[1:] {
			rest = strings.TrimSpace(rest + " " + w.text)
		}
		hint = "write: " + shorten(strings.TrimSpace(n+" "+strings.TrimLeft(rest, "=: "))) + ", with nothing but blanks between the words"
	} else if n, ok := c.schema.nearest(path, kw); ok {
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
	if !s.block {
		c.errorf(s.pos, "unknown-keyword", kw, hint, "unknown keyword %q %s", shorten(kw), places(path))
		return
	}
	if path != "" {
		// keepalived, measured: the } of an unknown block closes the block around it.
		if hint != "" && !strings.HasSuffix(hint, "?") {
			hint += ";"
		}
		hint = strings.TrimPrefix(hint+" keepalived would end the "+path+" block at the } of this one and lose what follows", " ")
	}
	c.errorf(s.pos, "unknown-keyword", kw, hint, "unknown block %q %s", shorten(kw), places(path))
}

// cutKeyword splits a word as other notations write it: priority=100, priority: 100, nopreempt;
func cutKeyword(word string) (kw, rest string, ok bool) {
	i := strings.IndexAny(word, "=:;")
	if i < 1 {
		return word, "", false
	}
	return word[:i], word[i+1:], true
}

// meant is the keyword that an unknown one of a block was probably meant to be; empty when there is none or it is known.
func (c *ctx) meant(s *stmt) string {
	if s.kw != nil {
		return ""
	}
	if n, _, ok := cutKeyword(s.keyword()); ok && s.in.lookup(n) != nil {
		return n
	}
	n, _ := c.schema.nearest(s.path(), s.keyword())
	return n
}

func (c *ctx) nearestAnywhere(kw string) (name, block string, ok bool) {
	for _, p := range c.schema.order {
		if strings.HasPrefix(p.path, "(") {
			continue
		}
		if n, found := nearest(kw, p.order); found && p.lookup(n) != nil {
			if !ok || distance(kw, n) < distance(kw, name) {
				name, block, ok = n, p.path, true
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
