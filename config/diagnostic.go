package config

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// String returns the word that operators see: "error", "warning" or "info".
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Info:
		return "info"
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// String returns file:line:column, leaving out what is not known.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// String is the first line of what Format prints.
func (d Diagnostic) String() string {
	s := fmt.Sprintf("%s: %s: %s [%s]", d.Pos, d.Severity, d.Message, d.Code)
	if len(d.Nodes) > 0 {
		s += " (for " + strings.Join(d.Nodes, ", ") + ")"
	}
	return s
}

// Advice reports whether keepalived's own test would say nothing about it: the file does what it says, but that may not be
// what was meant. clusterd -t prints it and leaves the exit status alone.
func (d Diagnostic) Advice() bool {
	return d.Severity == Info || d.Severity == Warning && slices.Contains(advice, d.Code)
}

var advice = []string{
	"address-not-owned", "ah-trap", "check-too-slow", "close-priorities", "default-priority", "duplicate-address", "duplicate-keyword", "first-address",
	"include-no-match", "mixed-families", "no-effect", "no-effect-yet", "nopreempt-weight", "own-address", "quorum-without-sorry", "readable-secret",
	"server-is-service", "server-is-vip", "short-advert-int", "surplus-words", "weight-too-small",
}

// Diagnostics are the findings of one reading, in the order of Sort.
type Diagnostics []Diagnostic

// HasErrors reports whether the file must be refused.
func (ds Diagnostics) HasErrors() bool { return ds.Count(Error) > 0 }

// Count returns how many findings have severity s.
func (ds Diagnostics) Count(s Severity) int {
	n := 0
	for _, d := range ds {
		if d.Severity == s {
			n++
		}
	}
	return n
}

// Sort orders by file, line and column, errors first where they share a place.
func (ds Diagnostics) Sort() {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(
			comparePos(a.Pos, b.Pos),
			cmp.Compare(b.Severity, a.Severity),
			cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Message, b.Message),
		)
	})
}

func comparePos(a, b Pos) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// Format writes the findings as a compiler would: a first line
// "file:line:col: error: message [code]", the physical line, a caret under the
// word meant, and the hint. src supplies the lines; nil leaves them out.
func (ds Diagnostics) Format(w io.Writer, src Source) error {
	files := map[string][]string{}
	for _, d := range ds {
		if _, err := fmt.Fprintln(w, d.String()); err != nil {
			return err
		}
		if text, ok := sourceLine(files, src, d.Pos); ok {
			text, column := window(text, d.Column)
			if _, err := fmt.Fprintf(w, "  %s\n  %s\n", printable(text), caret(text, column)); err != nil {
				return err
			}
		}
		if d.Hint != "" {
			if _, err := fmt.Fprintf(w, "  hint: %s\n", d.Hint); err != nil {
				return err
			}
		}
	}
	return nil
}

// Text is Format into a string.
func (ds Diagnostics) Text(src Source) string {
	var b strings.Builder
	_ = ds.Format(&b, src) // a strings.Builder never fails
	return b.String()
}

func sourceLine(files map[string][]string, src Source, p Pos) (string, bool) {
	if src == nil || p.Line < 1 || p.Column < 1 {
		return "", false
	}
	lines, ok := files[p.File]
	if !ok {
		if data, err := src.ReadFile(p.File); err == nil && len(data) <= maxBytes {
			text := string(data)
			lines = strings.Split(maskText(text, secretVariables(Files{"": text})), "\n")
		}
		files[p.File] = lines
	}
	if p.Line > len(lines) {
		return "", false
	}
	text := strings.TrimRight(lines[p.Line-1], "\r")
	return text, strings.TrimSpace(text) != ""
}

// window cuts a line that nobody can read in a terminal to what stands around a column.
func window(text string, column int) (string, int) {
	if len(text) <= maxShown {
		return text, column
	}
	const before, after, more = 60, 100, "..."
	column = min(column, len(text)+1)
	from, to := max(0, column-1-before), min(len(text), column-1+after)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	cut, at := text[from:to], column-from
	if from > 0 {
		cut, at = more+cut, at+len(more)
	}
	if to < len(text) {
		cut += more
	}
	return cut, at
}

// printable replaces what could steer a terminal: a configuration file is foreign text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == utf8.RuneError) {
			return '?'
		}
		return r
	}, s)
}

// caret returns the line to print below text: blanks (tabs kept, so that both lines
// align whatever the tab width) and ^~~~ as long as the word at column, counted in the
// cells of a terminal.
func caret(text string, column int) string {
	i := min(column-1, len(text))
	var b strings.Builder
	for _, r := range text[:i] {
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteString(strings.Repeat(" ", cells(r)))
		}
	}
	wide := 0
	for _, r := range wordAt(text[i:]) {
		wide += cells(r)
	}
	b.WriteByte('^')
	b.WriteString(strings.Repeat("~", max(0, wide-1)))
	return b.String()
}

// wideRunes take two cells of a terminal (Unicode 16, EastAsianWidth.txt: W and F, the blocks of text).
var wideRunes = [][2]rune{{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe30, 0xfe6f},
	{0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}}

// cells is how much room a character takes in a terminal.
func cells(r rune) int {
	if r < wideRunes[0][0] && !unicode.Is(unicode.Mn, r) {
		return 1
	}
	if unicode.Is(unicode.Mn, r) {
		return 0
	}
	for _, w := range wideRunes {
		if r >= w[0] && r <= w[1] {
			return 2
		}
	}
	return 1
}

// wordAt returns the word that starts s, quotes included.
func wordAt(s string) string {
	if s == "" {
		return ""
	}
	if s[0] == '"' {
		if j := strings.IndexByte(s[1:], '"'); j >= 0 {
			return s[:j+2]
		}
		return strings.TrimRight(s, " \t")
	}
	if strings.HasPrefix(s, "${") {
		if j := strings.IndexByte(s, '}'); j > 0 {
			return s[:j+1]
		}
	}
	if j := strings.IndexAny(s, " \t\f\v\"{}#!"); j > 0 {
		return s[:j]
	} else if j == 0 {
		return s[:1]
	}
	return s
}

// sink gathers findings up to a limit: a hostile file must not cost memory. Errors fill it
// up, which ends the reading. Warnings and remarks of one kind are counted from maxOfKind
// on, so that a large file with one habit is read to its end.
type sink struct {
	list   Diagnostics
	errors int
	full   bool
	kinds  map[string]*kindCount
}

type kindCount struct {
	n     int
	first Diagnostic
}

func (s *sink) add(d Diagnostic) {
	if s.full {
		return
	}
	d.Message, d.Hint = printable(d.Message), printable(d.Hint)
	if d.Severity < Error {
		k := s.kinds[d.Code]
		if k == nil {
			if s.kinds == nil {
				s.kinds = map[string]*kindCount{}
			}
			k = &kindCount{first: d}
			s.kinds[d.Code] = k
		}
		if k.n++; k.n > maxOfKind {
			return
		}
		s.list = append(s.list, d)
		return
	}
	if s.errors++; s.errors > maxDiagnostics {
		s.full = true
		s.list = append(s.list, Diagnostic{Severity: Error, Code: "too-many-errors", Pos: d.Pos,
			Message: fmt.Sprintf("more than %d errors, reading stops here", maxDiagnostics),
			Hint:    "is this a keepalived.conf? repair the first findings and read again"})
		return
	}
	s.list = append(s.list, d)
}

// close says how many findings were counted only, and sorts.
func (s *sink) close() Diagnostics {
	codes := make([]string, 0, len(s.kinds))
	for code, k := range s.kinds {
		if k.n > maxOfKind {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	for _, code := range codes {
		k := s.kinds[code]
		s.list = append(s.list, Diagnostic{Severity: k.first.Severity, Code: code, Pos: k.first.Pos, Keyword: k.first.Keyword,
			Message: fmt.Sprintf("%d more findings of this kind are not listed", k.n-maxOfKind)})
	}
	s.list.Sort()
	// A line that is repeated, or a variable that is used twice, has its findings once.
	s.list = slices.CompactFunc(s.list, func(a, b Diagnostic) bool {
		return a.Pos == b.Pos && a.Code == b.Code && a.Message == b.Message && slices.Equal(a.Nodes, b.Nodes)
	})
	return s.list
}

func (s *sink) errorf(p Pos, code, keyword, hint, format string, args ...any) {
	s.add(Diagnostic{Severity: Error, Code: code, Pos: p, Keyword: keyword, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

func (s *sink) warnf(p Pos, code, keyword, hint, format string, args ...any) {
	s.add(Diagnostic{Severity: Warning, Code: code, Pos: p, Keyword: keyword, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

func (s *sink) infof(p Pos, code, keyword, hint, format string, args ...any) {
	s.add(Diagnostic{Severity: Info, Code: code, Pos: p, Keyword: keyword, Hint: hint, Message: fmt.Sprintf(format, args...)})
}
