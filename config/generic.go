package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Setting is a statement that was read and checked by what values.tsv says about it, and
// that has no field of its own in the tree.
type Setting struct {
	Block   string // where it stands, as in keywords.tsv: "", "global_defs", "bfd_instance" ...
	Owner   string // name of the block of the top level around it: "VI_1"; may be empty
	Keyword string
	Values  []string // what was written behind it, without quotes
	Items   []Setting
	Pos     Pos
}

// generic reads a statement whose keyword has no rule.
func (c *ctx) generic(s *stmt) {
	k := s.kw
	set := Setting{Block: k.block, Owner: c.owner, Keyword: k.name, Pos: s.pos}
	spec := newSpec(k.value)
	switch {
	case k.isBlock() && !s.block:
		c.errorf(s.pos, "missing-brace", k.name, "write "+k.name+" ... { ... }", "%s is a block, its { is missing", k.name)
		return
	case !k.isBlock() && s.block:
		c.errorf(s.open, "unexpected-brace", k.name, "delete the block", "%s takes no block; what it encloses is not read", k.name)
	}
	ok := true
	if k.kind == "listblock" {
		for _, item := range s.children {
			c.noBlock(item, k.name)
			if c.entry(spec, k, item) {
				set.Items = append(set.Items, Setting{Block: k.sub.path, Owner: c.owner, Keyword: item.words[0].text, Values: texts(item.words[1:]), Pos: item.pos})
			}
		}
	} else if k.kind == "block" {
		if spec.param(0) == "NAME" {
			_, ok = c.name(s)
		}
		set.Values = texts(s.words[1:])
		outer := c.into
		c.into = &set.Items
		c.walk(s.children)
		c.into = outer
	} else {
		var used int
		used, ok = c.statementValue(spec, k, s)
		if ok && used >= 0 && len(s.words) > used+1 {
			c.surplus(s, used+1)
		}
		set.Values = texts(s.words[1:])
	}
	if ok {
		*c.into = append(*c.into, set)
	}
	c.reportFeature(k, s.pos)
}

// reportFeature says that a statement asks for something that is not carried out.
func (c *ctx) reportFeature(k *keyword, at Pos) {
	if f := k.feature; f != nil && !f.done {
		hint := "delete it; in keepalived: " + lowerFirst(k.meaning)
		if f.level < Error {
			hint = "in keepalived: " + lowerFirst(k.meaning)
		}
		c.lacking(f, at, k.name, hint)
	}
}

func texts(words []word) []string {
	if len(words) == 0 {
		return nil
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.text
	}
	return out
}

// spec is a cell of the value column: a name and its parameters. A name that ends in ?
// may be written without a value.
type spec struct {
	name     string
	params   []string
	optional bool
}

func newSpec(cell string) spec {
	f := strings.Fields(cell)
	if len(f) == 0 {
		return spec{}
	}
	s := spec{name: f[0], params: f[1:]}
	s.name, s.optional = strings.CutSuffix(s.name, "?")
	return s
}

func (s spec) param(i int) string {
	if i < len(s.params) {
		return s.params[i]
	}
	return ""
}

func (s spec) bounds() (lo, hi int64) {
	lo, _ = strconv.ParseInt(s.param(0), 10, 64)
	hi, _ = strconv.ParseInt(s.param(1), 10, 64)
	return lo, hi
}

// timeBounds reads the parameters of secs/N as seconds, of ms/N as milliseconds.
func (s spec) timeBounds() (places int, lo, hi time.Duration) {
	_, p, _ := strings.Cut(s.name, "/")
	places, _ = strconv.Atoi(p)
	lo, _ = seconds(s.param(0), 9, 0, maxTimer)
	hi, _ = seconds(s.param(1), 9, 0, maxTimer)
	return places, lo, hi
}

// statementValue judges what stands behind a keyword and returns how many words belong to
// it; -1 when all do.
func (c *ctx) statementValue(v spec, k *keyword, s *stmt) (used int, ok bool) {
	words := s.words[1:]
	switch v.name {
	case "flag":
		return 0, true
	case "bool":
		_, _, ok := c.boolArg(s)
		return 1, ok
	case "cmd", "regex":
		if v.optional && len(words) == 0 {
			return 0, true
		}
		_, ok := c.commandOf(s)
		return -1, ok
	}
	if len(words) == 0 {
		if v.optional {
			return 0, true
		}
		c.arg(s, 1, noun(v))
		return 0, false
	}
	switch v.name {
	case "words", "ints", "codes", "rest", "hex", "hexx":
		for _, w := range words {
			if !c.wordValue(v, k.name, w) {
				return -1, false
			}
		}
		return -1, true
	case "secret":
		c.secretAt(s.pos, k.name)
		return 1, true
	case "weight":
		return c.weightValue(v, k.name, words)
	case "host":
		if len(words) > 1 {
			_, ok = c.port(words[1], k.name)
			return 2, ok
		}
		return 1, true
	case "umask": // "IXUSR | IWGRP" as well
		if _, err := strconv.ParseUint(words[0].text, 8, 32); err == nil {
			return 1, c.umask(words[0], k.name)
		}
		return len(words), c.umask(word{text: strings.Join(texts(words), ""), pos: words[0].pos}, k.name)
	case "user":
		return 2, true
	case "fifo":
		return 3, true
	case "extraif":
		w, used := words[0], 1
		if w.text == "all" && len(words) > 1 {
			w, used = words[1], 2
		}
		return used, c.wordValue(spec{name: "int", params: v.params}, k.name, w)
	case "initfile":
		return 2, true
	case "hmackey":
		if !c.wordValue(spec{name: "int", params: []string{"1", "255"}}, k.name, words[0]) {
			return 2, false
		}
		c.secretAt(s.pos, k.name)
		if len(words) < 2 {
			c.arg(s, 2, "key")
			return 2, false
		}
		return 2, true
	case "timeouts":
		return -1, c.pairs("global_defs.lvs_timeouts", k.name, words)
	}
	return 1, c.wordValue(v, k.name, words[0])
}

// noun names what a keyword needs, for a message.
func noun(v spec) string {
	switch strings.SplitN(v.name, "/", 2)[0] {
	case "int", "ints", "weight", "extraif", "codes", "bufs":
		return "number"
	case "secs":
		return "time in seconds"
	case "ms":
		return "time in milliseconds"
	case "ip", "mcast", "mcast4", "mcast6":
		return "IP address"
	case "ifname", "word", "domain", "text":
		return "name"
	case "path", "fifo", "initfile":
		return "path"
	case "user":
		return "user"
	case "host":
		return "host"
	case "secret", "hmackey":
		return "secret"
	}
	return "value"
}

// wordValue judges one word.
func (c *ctx) wordValue(v spec, kw string, w word) bool {
	bad := func(hint string, format string, args ...any) bool {
		c.bad(w, kw, hint, fmt.Errorf(format, args...))
		return false
	}
	switch name, _, _ := strings.Cut(v.name, "/"); name {
	case "int", "ints":
		lo, hi := v.bounds()
		if _, err := number(w.text, lo, hi); err != nil {
			c.bad(w, kw, fmt.Sprintf("write a number from %d to %d", lo, hi), err)
			return false
		}
	case "secs":
		places, lo, hi := v.timeBounds()
		if _, err := seconds(w.text, places, lo, hi); err != nil {
			c.bad(w, kw, fmt.Sprintf("write seconds from %s to %s", v.param(0), v.param(1)), err)
			return false
		}
	case "ms":
		places, lo, hi := v.timeBounds()
		if _, err := seconds(w.text, places, lo, hi); err != nil {
			return c.badMillis(w, kw, v, err)
		}
	case "one":
		return c.oneOf(w, kw, v.params...)
	case "onei":
		for _, p := range v.params {
			if strings.EqualFold(p, w.text) {
				return true
			}
		}
		return c.oneOf(w, kw, v.params...)
	case "ip":
		_, err := netip.ParseAddr(w.text)
		if err != nil {
			return bad("write an IPv4 or IPv6 address", "%q is not an IP address", shorten(w.text))
		}
	case "mcast", "mcast4", "mcast6":
		a, err := netip.ParseAddr(w.text)
		if err != nil || !a.IsMulticast() || (name == "mcast4" && !a.Is4()) || (name == "mcast6" && !a.Is6()) {
			return bad("write a multicast address such as 224.0.0.18 or ff02::12", "%q is not a multicast address of this kind", shorten(w.text))
		}
	case "ifname":
		return c.ifname(w, kw)
	case "path":
		if !strings.HasPrefix(w.text, "/") {
			c.warnf(w.pos, "relative-path", kw, "write the path from / on", "%s %q depends on the directory the daemon was started in", kw, shorten(w.text))
		}
	case "umask":
		return c.umask(w, kw)
	case "bufs":
		if !strings.EqualFold(w.text, "MTU") && !strings.EqualFold(w.text, "ADVERT") {
			if _, err := number(w.text, 0, maxInt); err != nil {
				return bad("write MTU, ADVERT or a number of bytes", "cannot be %q", shorten(w.text))
			}
		}
	case "codes":
		return c.statusCode(w, kw)
	case "hex", "hexx":
		digits := strings.TrimPrefix(w.text, "0x")
		allowed := "0123456789abcdefABCDEF"
		if name == "hexx" {
			allowed, digits = allowed+"xX", w.text
		}
		if strings.Trim(digits, allowed) != "" {
			return bad("write pairs of hexadecimal digits", "%q is not hexadecimal", shorten(w.text))
		}
	case "md5":
		if len(w.text) != 32 || strings.Trim(w.text, "0123456789abcdefABCDEF") != "" {
			return bad("write the 32 hexadecimal digits that genhash prints", "%q is not an MD5 digest", shorten(w.text))
		}
	case "domain":
		name := strings.TrimSuffix(w.text, ".")
		if name != "" && (strings.Contains(name, "..") || strings.HasPrefix(name, ".") || len(name) > 253) {
			return bad("write a name such as example.com", "%q is not a domain name", shorten(w.text))
		}
	}
	return true
}

func (c *ctx) badMillis(w word, kw string, v spec, err error) bool {
	if errors.Is(err, errRange) {
		err = fmt.Errorf("%s is %w %s..%s milliseconds", shorten(w.text), errRange, v.param(0), v.param(1))
	} else {
		err = fmt.Errorf("%q is not a number of milliseconds", shorten(w.text))
	}
	c.bad(w, kw, fmt.Sprintf("write milliseconds from %s to %s", v.param(0), v.param(1)), err)
	return false
}

// weightValue reads N [reverse|noreverse].
func (c *ctx) weightValue(v spec, kw string, words []word) (used int, ok bool) {
	if !c.wordValue(spec{name: "int", params: v.params}, kw, words[0]) {
		return 2, false
	}
	if len(words) > 1 {
		return 2, c.oneOf(words[1], kw, "reverse", "noreverse")
	}
	return 1, true
}

// umask takes an octal number or the symbols of open(2) joined by |.
func (c *ctx) umask(w word, kw string) bool {
	if n, err := strconv.ParseUint(w.text, 8, 32); err == nil && n <= 0o777 {
		return true
	}
	for name := range strings.SplitSeq(w.text, "|") {
		if !c.oneOf(word{text: strings.Trim(name, blanks), pos: w.pos}, kw, "IRUSR", "IWUSR", "IXUSR", "IRGRP", "IWGRP", "IXGRP", "IROTH", "IWOTH", "IXOTH", "IRWXU", "IRWXG", "IRWXO") {
			return false
		}
	}
	return true
}

// statusCode reads CODE or A-B.
func (c *ctx) statusCode(w word, kw string) bool {
	_, _, ok := c.statusRange(w, kw)
	return ok
}

func (c *ctx) statusRange(w word, kw string) (lo, hi int, ok bool) {
	a, b, isRange := strings.Cut(w.text, "-")
	if !isRange {
		b = a
	}
	x, err := number(a, 100, 599)
	if err == nil {
		var y int64
		if y, err = number(b, 100, 599); err == nil && y < x {
			err = fmt.Errorf("%q ends before it begins", shorten(w.text))
		} else {
			hi = int(y)
		}
	}
	if err != nil {
		c.bad(w, kw, "write codes from 100 to 599, or ranges such as 200-299", err)
		return 0, 0, false
	}
	return int(x), hi, true
}

// pairs reads KEY VALUE KEY VALUE ... with the options of a place.
func (c *ctx) pairs(placePath, kw string, words []word) bool {
	for i := 0; i < len(words); i += 2 {
		k := c.schema.option(placePath, words[i].text)
		if k == nil {
			names := c.schema.places[placePath].order
			c.bad(words[i], kw, "possible are "+strings.Join(names, " "), fmt.Errorf("has no option %q", shorten(words[i].text)))
			return false
		}
		if i+1 == len(words) {
			c.errorf(words[i].pos, "missing-value", kw, "write: "+words[i].text+" "+k.args, "%s needs a value", words[i].text)
			return false
		}
		if !c.wordValue(newSpec(k.value), kw+" "+k.name, words[i+1]) {
			return false
		}
	}
	return true
}

// entry judges a line of a list block.
func (c *ctx) entry(v spec, k *keyword, item *stmt) bool {
	switch v.name {
	case "track":
		lo, hi := v.bounds()
		_, ok := c.trackLine(item, k.name, lo, hi, k.name == "track_interface")
		return ok
	case "linkbeat":
		if !c.ifname(item.words[0], k.name) {
			return false
		}
		return len(item.words) < 2 || c.oneOf(item.words[1], k.name, "MII", "ETHTOOL", "IOCTL")
	case "delays":
		return c.linkDelays(k.name, item)
	}
	return true
}

// linkDelays reads IF DOWN [UP].
func (c *ctx) linkDelays(kw string, item *stmt) bool {
	if !c.ifname(item.words[0], kw) {
		return false
	}
	if len(item.words) < 2 {
		c.errorf(item.pos, "missing-value", kw, "write: INTERFACE DOWN [UP], in seconds", "%s needs a delay for %s", kw, shorten(item.words[0].text))
		return false
	}
	for _, w := range item.words[1:min(3, len(item.words))] {
		if !c.wordValue(spec{name: "secs/6", params: []string{"0", "255"}}, kw, w) {
			return false
		}
	}
	return true
}

func (c *ctx) noBlock(item *stmt, kw string) {
	if item.block {
		c.errorf(item.open, "unexpected-brace", item.keyword(), "delete the block", "an entry of %s takes no block; what it encloses is not read", kw)
	}
}
