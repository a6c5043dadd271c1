package config

import (
	"fmt"
	"path"
	"strings"
)

// strict says which failures of an include are errors (keepalived's letters R, M, W, B).
type strict struct{ read, match, wildcard, brace bool }

func (s strict) or(o strict) strict {
	return strict{s.read || o.read, s.match || o.match, s.wildcard || o.wildcard, s.brace || o.brace}
}

// includeCheck reads include_check [[+-]NAME...], which makes include stricter in what follows.
func includeCheck(c *ctx, s *stmt) {
	if len(s.words) == 1 {
		*c.strict = strict{true, true, true, true}
		return
	}
	for _, w := range s.words[1:] {
		name, on := strings.TrimPrefix(strings.TrimPrefix(w.text, "+"), "-"), !strings.HasPrefix(w.text, "-")
		switch name {
		case "read":
			c.strict.read = on
		case "match":
			c.strict.match = on
		case "wildcard_match":
			c.strict.wildcard = on
		case "brace_match":
			c.strict.brace = on
		case "readable":
			c.bad(word{text: name, pos: w.pos}, "include_check", "write read", fmt.Errorf("does not know %q: the manual of keepalived says readable, the program wants read", name))
		default:
			c.oneOf(word{text: name, pos: w.pos}, "include_check", "read", "match", "wildcard_match", "brace_match")
		}
	}
}

// includeForms maps the keyword to its strictness. Without any, keepalived prints a
// message and goes on.
var includeForms = map[string]strict{
	"include":  {},
	"includer": {read: true},
	"includem": {read: true, match: true},
	"includew": {read: true, match: true, wildcard: true},
	"includeb": {read: true, brace: true},
	"includea": {read: true, match: true, wildcard: true, brace: true},
}

// include reads the files a line names and reports whether it was an include line. The
// pattern is the rest of the line, since it may contain braces; a relative one starts at
// the directory of the file it is written in.
func (r *reader) include(l line, f *frame) bool {
	kw := firstWord(l.text)
	form, ok := includeForms[kw]
	if !ok {
		return false
	}
	form = form.or(r.strict)
	arg := l.slice(len(kw), len(l.text)).trim()
	if arg.text == "" {
		r.sink.errorf(l.pos, "missing-value", kw, "name a file or a pattern", "%s needs a path", kw)
		return true
	}
	file := f.fileFrame()
	pattern := strings.Trim(plain(arg.text), `"`)
	if !path.IsAbs(pattern) {
		pattern = join(path.Dir(file.file), pattern)
	}
	var names []string
	for _, branch := range expandBraces(pattern) {
		found, err := r.src.Glob(branch)
		if err != nil {
			r.sink.errorf(arg.pos, "bad-value", kw, "see glob(7) for patterns", "the pattern %q cannot be used: %s", branch, err)
			return true
		}
		names = append(names, found...)
		if len(found) > 0 {
			continue
		}
		wild := strings.ContainsAny(branch, "*?[")
		bad := (wild && form.wildcard) || (!wild && form.match) || (branch != pattern && form.brace)
		hint := "check the path; a relative one starts at the directory of the file it is written in"
		switch {
		case bad:
			r.sink.errorf(arg.pos, "include-no-match", kw, hint, "%q matches no file", branch)
			if form.brace && branch != pattern {
				return true // keepalived drops the whole line
			}
		case wild:
			r.sink.infof(arg.pos, "include-no-match", kw, "", "%q matches no file", branch)
		default:
			r.sink.warnf(arg.pos, "include-no-match", kw, hint, "%q does not exist and is left out", branch)
		}
	}
	// Pushed last first, so that the first is on top and read next.
	top := len(r.frames)
	for i := len(names) - 1; i >= 0 && !r.stopped; i-- {
		err := r.open(names[i], arg.pos, file)
		switch {
		case err != nil && form.read:
			r.sink.errorf(arg.pos, "include-unreadable", kw, "make it a readable, plain, not executable file", "%q cannot be read: %s", names[i], trimErr(err, names[i]))
		case err != nil:
			r.sink.warnf(arg.pos, "include-unreadable", kw, "make it a readable, plain, not executable file", "%q cannot be read and is left out: %s", names[i], trimErr(err, names[i]))
		}
	}
	for i := top; i < len(r.frames); i++ {
		r.frames[i].depth = f.depth
	}
	return true
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
