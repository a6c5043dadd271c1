package config

import "strings"

// Classes of bytes for the fast path. A line that has none of the slow ones means exactly
// its words, its braces and its comment.
const (
	classBlank = 1 << iota
	classBrace
	classComment
	classSlow
)

var byteClass = func() (t [256]uint8) {
	for c := range 0x20 {
		t[c] = classSlow
	}
	for _, c := range []byte(blanks) {
		t[c] = classBlank
	}
	for _, c := range []byte("\"$\\@~\x7f") {
		t[c] = classSlow
	}
	t['{'], t['}'] = classBrace, classBrace
	t['#'], t['!'] = classComment, classComment
	return t
}()

// fast reads the next line of a file when it is a plain one: no quotes, variables,
// conditions, repetitions or escapes. Nearly all lines are, and this is several times
// faster than the way of logical. It reports whether the line was read.
func (r *reader) fast(f *frame) bool {
	if f.data == "" {
		return false
	}
	text, next := f.data, ""
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text, next = text[:i], text[i+1:]
	}
	if len(text) > keepalivedLine {
		return false
	}
	var seen uint8
	for i := 0; i < len(text); i++ {
		seen |= byteClass[text[i]]
	}
	if seen&classSlow != 0 {
		return false
	}
	f.data = next
	f.lineno++
	words := r.words[:0]
	start := 0 // of the segment's first word
	pos := Pos{File: f.file, Line: f.lineno}
	for i := 0; ; {
		for i < len(text) && byteClass[text[i]] == classBlank {
			i++
		}
		if i == len(text) || byteClass[text[i]] == classComment {
			if len(words) > 0 {
				r.plainStatement(words, text[start:i], start)
			}
			break
		}
		if c := text[i]; c == '{' || c == '}' {
			if len(words) > 0 {
				r.plainStatement(words, text[start:i], start)
				words = words[:0]
			}
			pos.Column = i + 1
			if c == '{' {
				r.out.open(pos)
			} else {
				r.out.close(pos)
			}
			i++
			if r.out.tooDeep || r.sink.full {
				r.stop()
				break
			}
			continue
		}
		j := i + 1
		for j < len(text) && byteClass[text[j]] == 0 {
			j++
		}
		pos.Column = i + 1
		if len(words) == 0 {
			if start = i; j-i >= len("include") && text[i:i+len("include")] == "include" {
				if l := r.uncomment(line{text: text[i:], pos: pos}); r.include(l, f) {
					break
				}
			}
		}
		words = append(words, word{text: text[i:j], pos: pos})
		i = j
	}
	r.words = words[:0]
	return true
}

func (r *reader) plainStatement(words []word, segment string, start int) {
	s := r.out.statement(words)
	if s.kw == nil || s.kw.kind != "kwq" {
		return // nobody else asks for the text behind the keyword
	}
	from, to := len(words[0].text), len(segment)
	for from < to && byteClass[segment[from]] == classBlank {
		from++
	}
	for from < to && byteClass[segment[to-1]] == classBlank {
		to--
	}
	s.rest = line{text: segment[from:to], pos: words[0].pos}
	s.rest.pos.Column = start + 1 + from
}
