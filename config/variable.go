package config

import (
	"fmt"
	"hash/fnv"
	"path"
	"slices"
	"strconv"
	"strings"
)

// variable is a $NAME=VALUE definition. It is expanded where it is used, so a value may
// name variables that are defined later.
type variable struct {
	value string
	body  []line // the lines of a multi-line definition
	pos   Pos
}

func isNameStart(c byte) bool {
	return c == '_' || (c|0x20 >= 'a' && c|0x20 <= 'z')
}

func nameLen(s string) int {
	if s == "" || !isNameStart(s[0]) {
		return 0
	}
	n := 1
	for n < len(s) && (isNameStart(s[n]) || (s[n] >= '0' && s[n] <= '9')) {
		n++
	}
	return n
}

// definition splits "$NAME=VALUE"; multi is true for "$NAME= \".
func definition(t string) (name, value string, multi, ok bool) {
	if !strings.HasPrefix(t, "$") {
		return "", "", false, false
	}
	n := nameLen(t[1:])
	if n == 0 || len(t) <= 1+n || t[1+n] != '=' {
		return "", "", false, false
	}
	value = strings.Trim(t[2+n:], blanks)
	return t[1 : 1+n], value, value == `\`, true
}

// define stores a definition that starts the line and reports whether there was one.
func (r *reader) define(l line, f *frame) bool {
	name, value, multi, ok := definition(l.text)
	if !ok {
		if n := nameLen(l.text[1:]); n > 0 && strings.HasPrefix(strings.TrimLeft(l.text[1+n:], blanks), "=") {
			r.sink.errorf(l.pos, "bad-definition", l.text[:1+n], "write $NAME=VALUE without a blank before the =",
				"a definition has no blank between %s and =", l.text[:1+n])
			return true
		}
		return false
	}
	v := &variable{value: value, pos: l.pos}
	if multi {
		v.value, v.body = "", r.body(f)
	} else if strings.HasSuffix(value, `\`) {
		r.sink.warnf(l.pos, "one-line-value", "$"+name, "write $"+name+"= \\ with nothing behind it, and the first line of the value below",
			"the value of $%s ends with this line and a backslash: only a definition that begins with one has several", name)
	}
	if r.vars == nil {
		r.vars = map[string]*variable{}
	}
	r.vars[name] = v
	return true
}

// body reads the lines of a multi-line definition: each but the last ends in a backslash;
// blank ones inside are dropped; an empty physical line ends it.
func (r *reader) body(f *frame) []line {
	lines := []line{} // not nil: an empty body is a body
	for {
		l, ok := f.next()
		if !ok || l.text == "" {
			return lines
		}
		if f.body == nil && !r.clean(l) {
			continue
		}
		l = l.trim()
		more := strings.HasSuffix(l.text, `\`) // also behind a comment: keepalived 2.2.7, measured
		if more {
			l = l.slice(0, len(l.text)-1)
		}
		l = r.uncomment(l).trim()
		if l.text != "" {
			lines = append(lines, l)
		}
		if !more {
			return lines
		}
	}
}

// skipBody drops the lines of a multi-line definition whose first line is for another director.
func (r *reader) skipBody(l line, f *frame) {
	if _, _, multi, ok := definition(l.text); ok && multi {
		r.body(f)
	}
}

// maxHead is how far behind a brace substitute looks for what a segment begins with.
const maxHead = 256

// scan is a text being copied by substitute: the line itself, or inside it the value of
// a variable, all of whose bytes stand where the variable was used.
type scan struct {
	line
	i    int
	name string
}

// substitute replaces $NAME (before a blank, comma, closing parenthesis or the end) and
// ${NAME} (anywhere, also inside quotes), values inside values too. ok is false when the
// line had to be given up. A variable of several lines is an error unless several says
// that it may stand here. Time and space are linear in what comes out.
//
// A definition and a repetition keep their own variables, which are replaced when their
// text is used; so does what comes behind a comment character.
func (r *reader) substitute(l line, f *frame, several bool) (out line, changed, ok bool) {
	if strings.IndexByte(l.text, '$') < 0 {
		return l, false, true
	}
	var (
		text   []byte
		at     []Pos
		quoted bool
		begin  int  // of the segment behind the last brace
		keep   bool // what is left is copied as it stands
		stack  = []*scan{{line: l}}
	)
	segment := func() string { // what stands behind the last brace and conditions; its beginning, if it is long
		head := text[begin:min(len(text), begin+maxHead)]
		return skipConditions(strings.TrimLeft(string(head), blanks))
	}
	emit := func(s string, pos func(int) Pos) {
		for k := range len(s) {
			text, at = append(text, s[k]), append(at, pos(k))
			switch s[k] {
			case '"':
				quoted = !quoted
			case '{', '}':
				if !quoted && !repeats(segment()) { // the braces of ~LST({A,B}, ...) are none
					begin = len(text)
				}
			case '#', '!':
				keep = keep || !quoted
			}
		}
	}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		if s.i >= len(s.text) {
			stack = stack[:len(stack)-1]
			continue
		}
		if keep {
			from := s.i
			emit(s.text[from:], func(k int) Pos { return s.posAt(from + k) })
			s.i = len(s.text)
			continue
		}
		if n := strings.IndexByte(s.text[s.i:], '$'); n != 0 {
			if n < 0 {
				n = len(s.text) - s.i
			}
			from := s.i
			emit(s.text[from:from+n], func(k int) Pos { return s.posAt(from + k) })
			s.i += n
			continue
		}
		if _, _, _, def := definition(s.text[s.i:]); def && segment() == "" && len(text)-begin < maxHead || repeats(segment()) {
			keep = true
			continue
		}
		pos := s.posAt(s.i)
		name, length, braced := r.reference(s.line, s.i)
		if length == 0 {
			// It has lost its meaning, so that the text around it cannot make a name of it later.
			emit(string(plainDollar), func(int) Pos { return pos })
			s.i++
			continue
		}
		s.i += length
		if r.subst++; r.subst > maxSubstitutions {
			r.sink.errorf(pos, "expansion-too-large", "$"+name, "use fewer variables", "more than %d uses of variables", maxSubstitutions)
			r.stop()
			return line{}, false, false
		}
		asWritten := string(plainDollar) + name
		if braced {
			asWritten = string(plainDollar) + string(plainOpen) + name + string(plainClose)
		}
		changed = true
		if slices.ContainsFunc(stack, func(u *scan) bool { return u.name == name }) {
			r.sink.errorf(pos, "variable-loop", "$"+name, "give it a value that does not use itself", "the variable $%s contains itself", name)
			emit(asWritten, func(int) Pos { return pos })
			continue
		}
		if len(stack) > maxVariableDepth {
			r.tooDeep(pos, name)
			emit(asWritten, func(int) Pos { return pos })
			continue
		}
		value, body, known := r.lookup(name, pos, f)
		if (value == "#" || value == "!") && !quoted && len(text) > begin && !isBlank(text[len(text)-1]) {
			r.sink.warnf(pos, "escaped-comment", "${"+name+"}", "put the word in double quotes", "${%s} begins a comment outside double quotes: keepalived loses the rest of the line, and so do we", name)
		}
		switch {
		case !known:
			r.undefined(pos, name, braced, quoted)
			emit(asWritten, func(int) Pos { return pos })
		case body != nil && !several:
			r.sink.errorf(pos, "multi-line-use", "$"+name, "use a variable whose value is one number", "$%s has several lines", name)
			return line{}, true, false
		case body != nil:
			for _, u := range stack {
				if strings.Trim(u.text[u.i:], blanks) != "" {
					r.sink.errorf(pos, "multi-line-use", "$"+name, "put what follows on a line of its own",
						"$%s has several lines and must be the last thing on its line", name)
					break
				}
			}
			return line{}, true, r.useBody(line{text: string(text), at: at}, pos, name, body, f)
		default:
			if r.grown += len(value); r.grown > maxExpansion || len(text)+len(value) > maxLine {
				r.sink.errorf(pos, "expansion-too-large", "$"+name, "shorten the values", "the line grows beyond %d bytes when $%s is replaced", maxLine, name)
				return line{}, false, false
			}
			v := line{text: value, at: make([]Pos, len(value))}
			for k := range v.at {
				v.at[k] = pos
			}
			stack = append(stack, &scan{line: v, name: name})
		}
	}
	if !changed {
		return l, false, true
	}
	out = line{text: string(text), at: at, pos: l.pos}
	if out.at == nil {
		out.at = []Pos{}
	}
	return out, true, true
}

func (r *reader) tooDeep(at Pos, name string) {
	r.sink.errorf(at, "variable-loop", "$"+name, "a variable must not contain itself, directly or through others",
		"variables are nested more than %d deep at $%s", maxVariableDepth, name)
}

// reference recognises a use of a variable at i.
func (r *reader) reference(l line, i int) (name string, length int, braced bool) {
	t := l.text[i+1:]
	if strings.HasPrefix(t, "{") {
		end := strings.IndexByte(t, '}')
		if end < 0 {
			return "", 0, false
		}
		in := t[1:end]
		if n := nameLen(in); n > 0 && (n == len(in) || isBlank(in[n])) {
			return in, end + 2, true
		}
		return "", 0, false
	}
	n := nameLen(t)
	if n == 0 {
		return "", 0, false
	}
	if n < len(t) && !isBlank(t[n]) && t[n] != ',' && t[n] != ')' {
		if r.vars[t[:n]] != nil && t[n] != '=' {
			r.sink.warnf(l.posAt(i), "variable-not-expanded", "$"+t[:n], "write ${"+t[:n]+"}",
				"$%s is followed by %q and therefore not replaced", t[:n], t[n])
		}
		return "", 0, false
	}
	return t[:n], n + 1, false
}

// lookup finds a variable, the file's own first: a definition overrides a predefined one.
func (r *reader) lookup(name string, at Pos, f *frame) (value string, body []line, ok bool) {
	if v := r.vars[name]; v != nil {
		return v.value, v.body, true
	}
	switch firstWord(name) {
	case "_INSTANCE":
		return r.id, nil, true
	case "_HASH":
		return "#", nil, true // begins a comment, but for quotes: keepalived 2.2.7, measured
	case "_BANG":
		return "!", nil, true
	case "_PWD":
		return path.Dir(f.fileFrame().file), nil, true
	case "_RANDOM":
		return r.random(name, at), nil, true
	case "_ENV":
		return r.environment(name, at), nil, true
	}
	return "", nil, false
}

// Environment is a Source that also knows the variables of an environment, for ${_ENV NAME}.
// A bundle that is pushed to other hosts has none.
type Environment interface {
	Env(name string) (value string, ok bool)
}

// environment is ${_ENV NAME}.
func (r *reader) environment(name string, at Pos) string {
	arg := strings.Trim(strings.TrimPrefix(name, "_ENV"), blanks)
	env, ok := r.src.(Environment)
	switch {
	case arg == "":
		r.sink.errorf(at, "missing-value", "${_ENV}", "write ${_ENV NAME}", "${_ENV} needs the name of a variable")
	case !ok:
		r.sink.errorf(at, "no-environment", "${"+name+"}", "write the value, or define a variable per director: @NAME $X=VALUE",
			"${%s} is not available here: directors share the file, but not the environment of the one who wrote it", name)
	default:
		v, set := env.Env(arg)
		if !set {
			r.sink.warnf(at, "undefined-variable", "${"+name+"}", "set it in the unit file of the daemon", "the environment has no %s; nothing is put in", shorten(arg))
		}
		r.sink.infof(at, "newer-keyword", "${"+name+"}", "", "keepalived 2.2.7 does not know ${_ENV} and leaves it as text; 2.4 does")
		return v
	}
	return ""
}

// random is ${_RANDOM [MIN [MAX]]}. A configuration is read many times (for a check, by
// each director, after a restart) and must not change between two readings, so the number
// depends on nothing but the config-id and how many such numbers the file asked for before:
// not on its layout, and a repetition gets another one each time.
func (r *reader) random(name string, at Pos) string {
	lo, hi := int64(0), int64(32767)
	for i, arg := range strings.Fields(strings.TrimPrefix(name, "_RANDOM")) {
		n, err := number(arg, 0, 1<<31-1)
		if err != nil || i > 1 {
			r.sink.errorf(at, "bad-value", "${"+name+"}", "write ${_RANDOM}, ${_RANDOM MIN} or ${_RANDOM MIN MAX}", "${%s} is not understood", shorten(name))
			return "0"
		}
		if i == 0 {
			lo = n
		} else {
			hi = n
		}
	}
	if lo > hi {
		r.sink.errorf(at, "bad-value", "${"+name+"}", "write the smaller number first", "${%s}: there is nothing between %d and %d", shorten(name), lo, hi)
		return "0"
	}
	r.randoms++
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s\x00%d", r.id, r.randoms) // a hash never fails
	v := strconv.FormatInt(lo+int64(mix(h.Sum64())>>1)%(hi-lo+1), 10)
	hint := "write the number"
	if len(name) > len("_RANDOM") {
		hint = "write the number; keepalived 2.2.7 garbles the line when ${_RANDOM} has limits"
	}
	if r.told == nil {
		r.told = map[Pos]bool{}
	}
	if !r.told[at] { // a repetition gets one after the other
		r.told[at] = true
		r.sink.infof(at, "random-value", "${"+name+"}", hint, "${%s} is %s on this director, at every reading", name, v)
	}
	return v
}

// mix spreads a hash: numbers that follow each other are to differ in every bit (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (r *reader) undefined(at Pos, name string, braced, quoted bool) {
	hint := "define $" + name + "=VALUE above this line"
	switch {
	case quoted: // may be meant for the program that gets the words
		r.sink.infof(at, "undefined-variable", "$"+name, hint, "$%s is not defined and stays as it is written", name)
	case braced: // keepalived splits the line at these braces and closes the block
		r.sink.errorf(at, "undefined-variable", "$"+name, hint, "${%s} is not defined; keepalived would take its braces for the begin and the end of a block", name)
	default:
		r.sink.warnf(at, "undefined-variable", "$"+name, hint, "$%s is not defined and stays as it is written", name)
	}
}

// useBody puts a multi-line variable in: its first line joins the text before it, the
// others follow as lines of their own. They go through a frame, whose depth shows a
// variable that uses itself.
func (r *reader) useBody(head line, at Pos, name string, body []line, f *frame) bool {
	for _, b := range body {
		r.grown += len(b.text) + 1
	}
	depth := f.depth + 1
	if r.grown > maxExpansion {
		r.sink.errorf(at, "expansion-too-large", "$"+name, "use fewer variables", "variables grow beyond %d bytes at $%s", maxExpansion, name)
		r.stop()
		return false
	}
	if depth > maxVariableDepth {
		r.tooDeep(at, name)
		r.stop()
		return false
	}
	file := f.fileFrame()
	rest := &frame{file: file.file, body: []line{}, parent: file, depth: depth}
	if strings.Trim(head.text, blanks) == "" {
		rest.body = append(rest.body, body...)
	} else {
		if len(body) > 0 {
			head, body = head.join(body[0]), body[1:]
		}
		rest.body = append(append(rest.body, head), body...)
	}
	r.frames = append(r.frames, rest)
	return true
}

func (l line) join(o line) line {
	out := line{text: l.text + o.text, pos: l.pos}
	out.at = make([]Pos, 0, len(out.text))
	for k := range len(l.text) {
		out.at = append(out.at, l.posAt(k))
	}
	for k := range len(o.text) {
		out.at = append(out.at, o.posAt(k))
	}
	return out
}
