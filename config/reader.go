package config

import (
	"fmt"
	"path"
	"strings"
	"unsafe"
)

// reader turns files into the statements and braces that the builder makes a tree of.
// One reader serves one config-id and one call of Parse.
type reader struct {
	src     Source
	id      string
	sink    *sink
	out     *builder
	vars    map[string]*variable
	frames  []*frame
	ids     []word // config-ids that @ lines compare with, first use of each
	seen    map[string]bool
	bytes   int
	files   int
	grown   int // bytes that came out of variables
	subst   int
	randoms int // uses of ${_RANDOM}, and where one was reported
	told    map[Pos]bool
	strict  strict // what include_check asks for
	words   []word // of the segment being read
	stopped bool
	slow    bool // read every line the long way
}

// frame is a source of physical lines: a file being read, or the rest of a multi-line
// variable being used.
type frame struct {
	file   string
	data   string // rest of the file
	lineno int
	body   []line // instead of data: lines of a variable
	depth  int    // variables around this frame
	parent *frame // the file that includes this one
	level  int    // includes around this frame
	rep    *repetition
}

func (f *frame) next() (line, bool) {
	if f.body != nil {
		if len(f.body) == 0 {
			return line{}, false
		}
		l := f.body[0]
		f.body = f.body[1:]
		return l, true
	}
	if f.data == "" {
		return line{}, false
	}
	text := f.data
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text, f.data = text[:i], text[i+1:]
	} else {
		f.data = ""
	}
	f.lineno++
	return line{text: strings.TrimSuffix(text, "\r"), pos: Pos{File: f.file, Line: f.lineno, Column: 1}}, true
}

// stop ends the reading: going on would cost time or bury the cause.
func (r *reader) stop() { r.stopped = true; r.frames = nil }

func (r *reader) run() {
	for len(r.frames) > 0 && !r.stopped {
		f := r.frames[len(r.frames)-1]
		if f.rep != nil {
			r.repeat(f)
			continue
		}
		if f.body == nil && !r.slow && r.fast(f) {
			if r.sink.full {
				r.stop()
			}
			continue
		}
		l, ok := f.next()
		if !ok {
			r.frames = r.frames[:len(r.frames)-1]
			continue
		}
		if f.body == nil && !r.clean(l) {
			continue
		}
		r.logical(l, f)
		if r.sink.full {
			r.stop()
		}
	}
}

// clean refuses what no keepalived.conf contains. keepalived 2.2.7 cuts a line at a NUL
// byte without a word, 2.4.3 drops the line: so do we, and say so.
func (r *reader) clean(l line) bool {
	for i := 0; i < len(l.text); i++ {
		if c := l.text[i]; c < ' ' && !isBlank(c) {
			r.sink.errorf(l.posAt(i), "bad-byte", "", "delete this byte; a configuration is plain text",
				"the line contains the control character 0x%02x and is not read", c)
			return false
		}
	}
	if len(l.text) > maxLine {
		r.sink.errorf(l.pos, "line-too-long", "", "split the line", "the line has %d bytes, at most %d are read", len(l.text), maxLine)
		return false
	}
	if len(l.text) > keepalivedLine {
		r.sink.warnf(l.pos, "line-too-long", "", "keep lines short as long as a keepalived may read this file",
			"the line has %d bytes; keepalived reads at most %d and takes the rest as another line", len(l.text), keepalivedLine)
	}
	return true
}

// logical does what keepalived does with a line, in its order: comment, @id, definition,
// ~SEQ and ~LST, substitution (and the same tests again on what came out), include, braces.
func (r *reader) logical(l line, f *frame) {
	l = r.uncomment(l)
	for {
		l = l.trimLeft()
		if l.text == "" {
			return
		}
		switch l.text[0] {
		case '@':
			rest, ok := r.conditional(l)
			if !ok {
				r.skipBody(rest, f)
				return
			}
			l = rest
			continue
		case '$':
			if r.define(l, f) {
				return
			}
		case '~':
			if r.sequence(l, f) {
				return
			}
		}
		next, changed, ok := r.substitute(l, f, true)
		if !ok {
			return
		}
		if !changed {
			break
		}
		l = r.uncomment(next)
	}
	r.split(l, f)
}

func firstWord(s string) string {
	if i := strings.IndexAny(s, blanks+"({"); i > 0 {
		return s[:i]
	}
	return s
}

// uncomment cuts at the first # or ! outside "...". keepalived turns \# into # and then
// its children decomment the line once more, so the rest is lost all the same.
func (r *reader) uncomment(l line) line {
	quoted := false
	for i := 0; i < len(l.text); i++ {
		switch l.text[i] {
		case '"':
			quoted = !quoted
		case '#', '!':
			if quoted {
				continue
			}
			if i > 0 && l.text[i-1] == '\\' {
				r.sink.warnf(l.posAt(i-1), "escaped-comment", "", "put the word in double quotes",
					`\%c does not protect a comment character: keepalived loses the rest of the line, and so do we`, l.text[i])
				i--
			}
			return l.slice(0, i)
		}
	}
	return l
}

// conditional reads "@ID rest" or "@^ID rest" and says whether rest is for us.
func (r *reader) conditional(l line) (rest line, ok bool) {
	t := l.text[1:]
	not := strings.HasPrefix(t, "^")
	if not {
		t = t[1:]
	}
	n := strings.IndexAny(t, blanks)
	if n <= 0 {
		r.sink.warnf(l.pos, "empty-conditional", "@", "write @NAME, a blank, and the line",
			"a condition needs a name and a blank behind it; the line is not used by anybody")
		return line{}, false
	}
	id := t[:n]
	if !r.seen[id] {
		if r.seen == nil {
			r.seen = map[string]bool{}
		}
		r.seen[id] = true
		r.ids = append(r.ids, word{text: id, pos: l.pos})
	}
	skip := len(l.text) - len(t) + n
	return l.slice(skip, len(l.text)).trimLeft(), (id == r.id) != not
}

// split cuts a line at braces outside quotes: { and } need not be words of their own, and
// what follows one is a logical line again.
func (r *reader) split(l line, f *frame) {
	start, quoted, quoteAt := 0, false, 0
	for i := 0; i <= len(l.text); i++ {
		if i == start {
			// At the start of a segment: conditions, definitions, include again.
			rest := l.slice(i, len(l.text)).trimLeft()
			for strings.HasPrefix(rest.text, "@") {
				covered, ok := r.conditional(rest)
				if !ok {
					if closes(covered.text) {
						r.sink.warnf(rest.pos, "conditional-brace", "@", "put the } on a line of its own",
							"the condition holds for the rest of the line, so for %q the } is missing", r.id)
					}
					return
				}
				rest = covered
			}
			i = len(l.text) - len(rest.text)
			start = i
			if strings.HasPrefix(rest.text, "$") && r.define(rest, f) {
				return
			}
			if r.include(rest, f) {
				return
			}
			if r.sequence(rest, f) {
				return // it repeats what follows the brace
			}
		}
		if i == len(l.text) {
			break
		}
		switch c := l.text[i]; c {
		case '"':
			quoted, quoteAt = !quoted, i
		case '{', '}':
			if quoted {
				continue
			}
			r.statement(l.slice(start, i))
			if c == '{' {
				r.out.open(l.posAt(i))
			} else {
				r.out.close(l.posAt(i))
			}
			if r.out.tooDeep || r.sink.full {
				r.stop()
				return
			}
			start = i + 1
		}
	}
	if quoted {
		// Reported here, once; what was read still counts, so that the rest can be judged.
		r.sink.errorf(l.posAt(quoteAt), "unmatched-quote", "", `close the quotation on the same line`, `the quotation that starts here is never closed`)
	}
	r.statement(l.slice(start, len(l.text)))
}

// closes reports whether text has a } whose { is not in it.
func closes(text string) bool {
	depth, quoted := 0, false
	for _, c := range []byte(text) {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '{' && !quoted:
			depth++
		case c == '}' && !quoted:
			if depth--; depth < 0 {
				return true
			}
		}
	}
	return false
}

func (r *reader) statement(l line) {
	l = l.trim()
	if l.text == "" {
		return
	}
	r.words = l.words(r.words[:0])
	n := len(wordAt(l.text))
	r.out.statement(r.words).rest = l.slice(n, len(l.text)).trimLeft()
}

// open starts reading a file. from is where it was asked for.
func (r *reader) open(name string, from Pos, parent *frame) error {
	level := 0
	for p := parent; p != nil; p = p.parent {
		if path.Clean(p.file) == path.Clean(name) {
			r.sink.errorf(from, "include-cycle", "include", "a file cannot contain itself; name the files to include one by one",
				"%q includes itself", name)
			return nil
		}
		level++
	}
	if level > maxIncludeDepth {
		r.sink.errorf(from, "include-depth", "include", "include fewer levels of files", "%q is more than %d includes deep", name, maxIncludeDepth)
		return nil
	}
	if r.files++; r.files > maxFiles {
		r.sink.errorf(from, "too-many-files", "include", "put the contents into fewer files", "more than %d files are included", maxFiles)
		r.stop()
		return nil
	}
	data, err := readText(r.src, name)
	if err != nil {
		return err
	}
	if r.bytes += len(data); r.bytes > maxBytes {
		at := from
		if at.File == "" {
			at = Pos{File: name}
		}
		r.sink.errorf(at, "too-large", "", "is this the right file?",
			"with %q the configuration has %d bytes, at most %d are read", name, r.bytes, maxBytes)
		r.stop()
		return nil
	}
	r.frames = append(r.frames, &frame{file: name, data: data, parent: parent, level: level})
	return nil
}

// readText returns a file without copying it: a configuration may have megabytes, and a
// Source gives its bytes away.
func readText(src Source, name string) (string, error) {
	if f, ok := src.(Files); ok {
		return f.text(name)
	}
	data, err := src.ReadFile(name)
	return unsafe.String(unsafe.SliceData(data), len(data)), err
}

// fileFrame returns the file a frame belongs to: a variable's lines are used in a file.
func (f *frame) fileFrame() *frame {
	for f.body != nil && f.parent != nil {
		f = f.parent
	}
	return f
}

func (r *reader) main(name string) {
	if err := r.open(name, Pos{}, nil); err != nil {
		r.sink.errorf(Pos{File: name}, "unreadable", "", "check the path and the permissions", "the configuration cannot be read: %s", trimErr(err, name))
	}
	r.run()
}

// trimErr shortens "open x: no such file" where x was just named.
func trimErr(err error, name string) string {
	return strings.TrimPrefix(err.Error(), fmt.Sprintf("open %s: ", name))
}
