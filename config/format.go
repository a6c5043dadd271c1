package config

import "strings"

// Format lays a file out anew: four blanks per level, one blank between words, a brace at
// the end of its line, trailing comments of a block in one column. Comments,
// conditions, variables and includes stay. It changes nothing that is read; what it does
// not understand (an open quotation, the lines of a multi-line variable) it leaves alone.
func Format(text string) string {
	f := &formatter{}
	body := false // inside a multi-line variable
	for raw := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		raw = strings.TrimRight(raw, blanks)
		if body {
			f.out = append(f.out, formatted{code: raw, verbatim: true})
			body = strings.HasSuffix(raw, `\`)
			continue
		}
		trimmed := strings.TrimLeft(raw, blanks)
		if _, _, multi, ok := definition(strings.TrimSpace(skipConditions(trimmed))); ok && multi {
			f.line(trimmed, "")
			body = true
			continue
		}
		f.physical(trimmed)
	}
	return f.String()
}

type formatted struct {
	depth    int
	code     string
	comment  string
	verbatim bool
}

type formatter struct {
	out   []formatted
	depth int
}

// skipConditions removes @NAME prefixes.
func skipConditions(s string) string {
	for strings.HasPrefix(s, "@") {
		i := strings.IndexAny(s, blanks)
		if i < 0 {
			return ""
		}
		s = strings.TrimLeft(s[i:], blanks)
	}
	return s
}

func (f *formatter) line(code, comment string) {
	f.out = append(f.out, formatted{depth: f.depth, code: code, comment: comment})
}

// physical formats one line of the file.
func (f *formatter) physical(text string) {
	code, comment, ok := cutComment(text)
	switch {
	case text == "":
		if n := len(f.out); n > 0 && (f.out[n-1].code != "" || f.out[n-1].comment != "") {
			f.out = append(f.out, formatted{})
		}
		return
	case !ok:
		f.line(text, "")
		return
	case code == "":
		f.line("", comment)
		return
	}
	if keep := skipConditions(code); strings.HasPrefix(keep, "include") || strings.HasPrefix(keep, "~") || strings.HasPrefix(keep, "$") || (keep != code && strings.ContainsAny(code, "{}")) {
		// Braces of patterns and tuples; and a condition holds for the whole line, so that
		// the line must stay one.
		code = squeeze(code)
		opened, closed := braces(code)
		if strings.HasPrefix(keep, "include") || strings.HasPrefix(keep, "~") {
			opened, closed = 0, 0
		}
		if strings.HasPrefix(keep, "}") {
			f.depth = max(0, f.depth-1)
			closed--
		}
		f.line(code, comment)
		f.depth = max(0, f.depth+opened-closed)
		return
	}
	if code == "{" && comment == "" && f.opens() {
		return
	}
	if opened, closed := braces(code); opened == closed {
		if !strings.HasPrefix(code, "}") {
			f.line(squeeze(code), comment)
			return
		}
	}
	code, rest := untilWhole(code)
	if rest != "" {
		if comment != "" {
			rest += " " + comment
		}
		defer f.physical(rest)
		comment = ""
	}
	segments := splitBraces(code)
	for i, seg := range segments {
		c := ""
		if i == len(segments)-1 {
			c = comment
		}
		if i == 0 && seg == "{" && c == "" && f.opens() {
			continue
		}
		if seg == "}" {
			f.depth = max(0, f.depth-1)
		}
		f.line(squeeze(seg), c)
		if strings.HasSuffix(seg, "{") {
			f.depth++
		}
	}
}

// opens puts a { behind the line before and reports whether it may stand there: not when
// that line is read by some directors only, repeated, a definition, or a list of files.
func (f *formatter) opens() bool {
	n := len(f.out)
	if n == 0 {
		return false
	}
	l := &f.out[n-1]
	if l.comment != "" || l.code == "" || l.verbatim || strings.IndexByte("@~$", l.code[0]) >= 0 || strings.HasPrefix(l.code, "include") ||
		strings.HasSuffix(l.code, "{") || strings.HasSuffix(l.code, "}") {
		return false
	}
	l.code += " {"
	f.depth++
	return true
}

// cutComment splits a line at its comment; ok is false when a quotation is open.
func cutComment(s string) (code, comment string, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			quoted = !quoted
		case '#', '!':
			if !quoted && (i == 0 || s[i-1] != '\\') {
				return strings.TrimRight(s[:i], blanks), s[i:], true
			}
			if !quoted {
				return s, "", false // \#: leave it alone
			}
		}
	}
	return s, "", !quoted
}

// eachBrace calls f for every brace that is one: not inside quotes, not of ${NAME}.
func eachBrace(s string, f func(i int)) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			quoted = !quoted
		case '$':
			if i+1 < len(s) && s[i+1] == '{' {
				if end := strings.IndexByte(s[i:], '}'); end > 0 {
					i += end
				}
			}
		case '{', '}':
			if !quoted {
				f(i)
			}
		}
	}
}

// untilWhole cuts a line behind the brace behind which the rest must stay one line: it is a condition, a repetition, a
// definition or an include, and holds for all of it.
func untilWhole(s string) (code, rest string) {
	code = s
	eachBrace(s, func(i int) {
		next := strings.TrimLeft(s[i+1:], blanks)
		_, _, _, def := definition(next)
		if rest == "" && (strings.HasPrefix(next, "@") || repeats(next) || def || strings.HasPrefix(next, "include")) {
			code, rest = s[:i+1], next
		}
	})
	return code, rest
}

func braces(s string) (opened, closed int) {
	eachBrace(s, func(i int) {
		if s[i] == '{' {
			opened++
		} else {
			closed++
		}
	})
	return opened, closed
}

// splitBraces cuts behind every { and around every }. Empty pieces are left out.
func splitBraces(s string) []string {
	var out []string
	start := 0
	add := func(piece string) {
		if piece = strings.Trim(piece, blanks); piece != "" {
			out = append(out, piece)
		}
	}
	eachBrace(s, func(i int) {
		if s[i] == '{' {
			add(s[start : i+1])
		} else {
			add(s[start:i])
			add("}")
		}
		start = i + 1
	})
	add(s[start:])
	return out
}

// squeeze leaves one blank between words outside quotes, and one before a {. Lines with a
// quotation of the other kind keep their blanks.
func squeeze(s string) string {
	if strings.IndexByte(s, '\'') >= 0 {
		return s
	}
	var b strings.Builder
	quoted, blank := false, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			quoted = !quoted
		}
		if !quoted && isBlank(c) {
			blank = true
			continue
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		} else if c == '{' && i == len(s)-1 && i > 0 && !quoted && s[i-1] != '$' && !isBlank(s[i-1]) {
			b.WriteByte(' ')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// commentColumn is where trailing comments stand when the lines are short enough.
const commentColumn = 36

// String joins the lines; the trailing comments of a block of the top level stand in one column.
func (f *formatter) String() string {
	for n := len(f.out); n > 0 && f.out[n-1] == (formatted{}); n-- {
		f.out = f.out[:n-1]
	}
	var b strings.Builder
	for start := 0; start < len(f.out); {
		end, column := start, commentColumn
		for end < len(f.out) {
			l := f.out[end]
			if l.comment != "" && l.code != "" {
				column = max(column, 4*l.depth+len(l.code)+2)
			}
			if end++; l.depth == 0 && (l.code == "}" || l.code == "") {
				break
			}
		}
		for _, l := range f.out[start:end] {
			switch {
			case l.verbatim:
				b.WriteString(l.code)
			case l.code != "" || l.comment != "":
				b.WriteString(strings.Repeat("    ", l.depth))
				b.WriteString(l.code)
				if l.comment != "" && l.code != "" {
					b.WriteString(strings.Repeat(" ", column-4*l.depth-len(l.code)))
				}
				b.WriteString(l.comment)
			}
			b.WriteByte('\n')
		}
		start = end
	}
	return b.String()
}
