package config

import (
	"fmt"
	"strconv"
	"strings"
)

// repetition is a ~SEQ or ~LST line being read once for each of its values. It sits in a
// frame of its own: what the line brings in (a multi-line variable, another repetition)
// lies on top of it and is read to its end before the next value.
type repetition struct {
	names   []string
	values  [][]string
	next    int
	rest    line
	shadows []*variable // what the names meant before
}

// repeat reads the line with the next value.
func (r *reader) repeat(f *frame) {
	rep := f.rep
	if rep.next == len(rep.values) {
		for i, n := range rep.names {
			if delete(r.vars, n); rep.shadows[i] != nil {
				r.vars[n] = rep.shadows[i]
			}
		}
		r.frames = r.frames[:len(r.frames)-1]
		return
	}
	for i, n := range rep.names {
		v := ""
		if i < len(rep.values[rep.next]) {
			v = rep.values[rep.next][i]
		}
		r.vars[n] = &variable{value: v, pos: rep.rest.pos}
	}
	rep.next++
	r.grown += len(rep.rest.text)
	if r.subst++; r.subst > maxSubstitutions || r.grown > maxExpansion {
		r.sink.errorf(rep.rest.pos, "expansion-too-large", "~", "repeat fewer lines", "lines are repeated more than %d times, or grow beyond %d bytes", maxSubstitutions, maxExpansion)
		r.stop()
		return
	}
	r.logical(rep.rest, f)
	if r.sink.full {
		r.stop()
	}
}

// repeats reports whether a line that begins with text is a repetition.
func repeats(text string) bool {
	word := firstWord(text)
	return word == "~LST" || word == "~SEQ" || word == "~SEQx"
}

// sequence starts a repetition and reports whether l was one.
func (r *reader) sequence(l line, f *frame) bool {
	if !repeats(l.text) {
		return false
	}
	word := firstWord(l.text)
	isList := word == "~LST"
	bad := func(at int, hint, format string, args ...any) bool {
		r.sink.errorf(l.posAt(min(at, len(l.text)-1)), "bad-repetition", word, hint, "%s: %s", word, fmt.Sprintf(format, args...))
		return true
	}
	usage := "write ~SEQ(NAME, [START, [STEP,]] END) and the line"
	if isList {
		usage = "write ~LST(NAME, VALUE, VALUE ...) and the line, or ~LST({A,B}, {a1,b1}, {a2,b2}) and the line"
	}
	open := len(word)
	if open == len(l.text) || l.text[open] != '(' {
		return bad(open, usage, "a ( must follow directly")
	}
	end := strings.IndexByte(l.text, ')')
	if end < 0 {
		return bad(open, usage, "the ( is never closed")
	}
	inside := l.slice(open+1, end)
	if name := strings.IndexByte(inside.text, ',') + 1; !isList && name > 0 {
		// The numbers may be variables (keepalived 2.2.7, measured).
		numbers, changed, ok := r.substitute(inside.slice(name, len(inside.text)), f, false)
		if !ok {
			return true // and it was reported
		}
		if changed {
			inside = inside.slice(0, name).join(numbers)
		}
	}
	args, ok := splitArgs(inside.text)
	if !ok {
		return bad(open, usage, "a { is never closed")
	}
	if len(args) < 2 {
		return bad(open, usage, "it needs a name and at least one value")
	}
	rep := &repetition{rest: l.slice(end+1, len(l.text)).trimLeft()}
	names := args[0]
	if !isList && len(names) != 1 {
		return bad(open, usage, "it needs one name")
	}
	for _, n := range names {
		if nameLen(n) != len(n) || n == "" {
			return bad(open, usage, "%q cannot be the name of a variable", shorten(n))
		}
		rep.names = append(rep.names, n)
		rep.shadows = append(rep.shadows, r.vars[n])
	}
	if isList {
		for _, tuple := range args[1:] {
			if len(tuple) > len(names) {
				return bad(open, usage, "%q has more values than there are names", shorten(strings.Join(tuple, ",")))
			}
			rep.values = append(rep.values, tuple)
		}
	} else if why := rep.count(args[1:], word == "~SEQx"); why != "" {
		return bad(open, usage, "%s", why)
	}
	if rep.rest.text == "" {
		return bad(end, usage, "there is no line to repeat")
	}
	if f.depth >= maxVariableDepth {
		r.tooDeep(l.pos, rep.names[0])
		r.stop()
		return true
	}
	if r.vars == nil {
		r.vars = map[string]*variable{}
	}
	file := f.fileFrame()
	r.frames = append(r.frames, &frame{file: file.file, parent: file, body: []line{}, depth: f.depth + 1, rep: rep})
	return true
}

// splitArgs splits "A, {b,c}, d" into [[A] [b c] [d]].
func splitArgs(s string) (out [][]string, ok bool) {
	for {
		s = strings.TrimLeft(s, blanks)
		if strings.HasPrefix(s, "{") {
			end := strings.IndexByte(s, '}')
			if end < 0 {
				return nil, false
			}
			var tuple []string
			for v := range strings.SplitSeq(s[1:end], ",") {
				tuple = append(tuple, strings.Trim(v, blanks))
			}
			out = append(out, tuple)
			s = strings.TrimLeft(s[end+1:], blanks)
			if s == "" {
				return out, true
			}
			if s[0] != ',' {
				return nil, false
			}
			s = s[1:]
			continue
		}
		v, rest, more := strings.Cut(s, ",")
		out = append(out, []string{strings.Trim(v, blanks)})
		if !more {
			return out, true
		}
		s = rest
	}
}

// count fills in the values of ~SEQ; why is not empty when that is impossible.
func (rep *repetition) count(args [][]string, hex bool) (why string) {
	var n []int64
	for _, a := range args {
		v, err := strconv.ParseInt(a[0], 0, 32)
		if err != nil || len(a) > 1 {
			return fmt.Sprintf("%q is not a number", shorten(plain(strings.Join(a, ","))))
		}
		n = append(n, v)
	}
	var start, step, end int64
	switch len(n) {
	case 1:
		if start, end = 1, n[0]; end < 0 {
			start = -1
		}
	case 2:
		start, end = n[0], n[1]
	case 3:
		start, step, end = n[0], n[1], n[2]
	default:
		return "it takes at most a start, a step and an end"
	}
	if len(n) < 3 {
		if step = 1; end < start {
			step = -1
		}
	}
	switch {
	case step == 0 || (end > start && step < 0) || (end < start && step > 0):
		return fmt.Sprintf("a step of %d never leads from %d to %d", step, start, end)
	case hex && (start < 0 || end < 0):
		return "~SEQx takes no negative numbers"
	case (end-start)/step > maxSubstitutions:
		return fmt.Sprintf("more than %d repetitions", maxSubstitutions)
	}
	for v := start; (step > 0 && v <= end) || (step < 0 && v >= end); v += step {
		text := strconv.FormatInt(v, 10)
		if hex {
			text = strconv.FormatInt(v, 16)
		}
		rep.values = append(rep.values, []string{text})
	}
	return ""
}
