package sim

import (
	"errors"
	"fmt"
	"strings"
)

// Scenario is a file of directives in datadriven form:
//
//	# comment
//	verb args
//	input lines
//	----
//	expected output, up to a blank line
//
// Expected output that contains blank lines stands between two lines "----" each.
type Scenario struct {
	Name       string
	Comment    string // the lines before the first directive, without "#": what the file proves
	Directives []Directive
}

// Directive is one step.
type Directive struct {
	Line     int    // of the verb
	Text     string // verb and arguments
	Input    string
	Expected string
	raw      string // the lines of Text as they stand in the file
	inputAt  int    // line of the first line of Input
}

const rule = "----"

// ParseScenario reads a file. name appears in errors.
func ParseScenario(name, text string) (*Scenario, error) {
	sc := &Scenario{Name: name}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	at := func(n int) string { return fmt.Sprintf("%s:%d", name, n+1) }
	for n := 0; n < len(lines); n++ {
		line := strings.TrimSpace(lines[n])
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "#"):
			if len(sc.Directives) == 0 {
				sc.Comment += strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ") + "\n"
			}
			continue
		case line == rule:
			return nil, fmt.Errorf("%s: %q without a verb before it: expected a verb such as run", at(n), rule)
		}
		d := Directive{Line: n + 1, raw: lines[n]}
		for strings.HasSuffix(line, `\`) && n+1 < len(lines) {
			n++
			d.raw += "\n" + lines[n]
			line = strings.TrimSuffix(line, `\`) + " " + strings.TrimSpace(lines[n])
		}
		d.Text = line
		start := n + 1
		for n++; n < len(lines) && lines[n] != rule; n++ {
		}
		if n >= len(lines) {
			return nil, fmt.Errorf("%s: %q is not followed by a line %q: the output of every verb starts with one (it may be empty)",
				at(d.Line-1), d.Text, rule)
		}
		for d.inputAt = start + 1; d.inputAt <= n && strings.TrimSpace(lines[d.inputAt-1]) == ""; d.inputAt++ {
		}
		d.Input = strings.TrimSpace(strings.Join(lines[start:n], "\n"))
		var err error
		d.Expected, n, err = expected(lines, n+1, at)
		if err != nil {
			return nil, err
		}
		sc.Directives = append(sc.Directives, d)
	}
	if len(sc.Directives) == 0 {
		return nil, fmt.Errorf("%s: no directives: expected world, conf, run …", name)
	}
	return sc, nil
}

// expected reads the output that starts at line n and returns the last line it used.
func expected(lines []string, n int, at func(int) string) (string, int, error) {
	var b strings.Builder
	if n < len(lines) && lines[n] == rule {
		first := n
		for n++; n+1 < len(lines); n++ {
			if lines[n] == rule && lines[n+1] == rule {
				return b.String(), n + 1, nil
			}
			b.WriteString(lines[n] + "\n")
		}
		return "", 0, fmt.Errorf("%s: output opened by two lines %q is not closed by two", at(first), rule)
	}
	for ; n < len(lines) && strings.TrimSpace(lines[n]) != ""; n++ {
		b.WriteString(lines[n] + "\n")
	}
	return b.String(), n, nil
}

// Mismatch is a directive whose output was not what the file expects.
type Mismatch struct {
	Directive Directive
	Got       string
}

// FailedError is an expectation that did not hold.
type FailedError struct {
	File      string
	Directive Directive
	Err       error // wraps ErrExpect
}

// Mistake is a directive that cannot be carried out, with the place in the file that is wrong.
type Mistake struct {
	File         string
	Line, Column int
	Source       string // the line
	Err          error
}

// Error has the line and a caret below the place, as compilers do.
func (e *Mistake) Error() string {
	text := fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
	message, usage, _ := strings.Cut(text, "\n")
	caret := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, e.Source[:min(e.Column-1, len(e.Source))])
	text = fmt.Sprintf("%s\n    %s\n    %s^", message, e.Source, caret)
	if usage != "" {
		text += "\n" + usage
	}
	return text
}

func (e *Mistake) Unwrap() error { return e.Err }

// mistake finds the place an error is about: in the input if the configuration is wrong, else the word of the
// directive that the message names, else its first argument.
func (sc *Scenario) mistake(d Directive, err error) *Mistake {
	var conf *ConfError
	if errors.As(err, &conf) {
		first := conf.Diagnostics[0]
		for _, d := range conf.Diagnostics {
			if d.Code == "unknown-keyword" { // what is missing is missing because of this
				first = d
				break
			}
		}
		lines := strings.Split(d.Input, "\n")
		return &Mistake{File: sc.Name, Line: d.inputAt + first.Line - 1, Column: max(first.Column, 1),
			Source: lines[min(max(first.Line, 1), len(lines))-1], Err: err}
	}
	verb, rest, _ := strings.Cut(strings.TrimSpace(d.raw), " ")
	indent := strings.Index(d.raw, verb)
	at := indent
	message, _, _ := strings.Cut(err.Error(), "\n")
	message = strings.TrimPrefix(message, verb+": ")
	if rest = strings.TrimLeft(rest, " \t"); rest != "" {
		at = len(d.raw) - len(rest)
	}
	for _, word := range named(message) {
		if i := indexWord(d.raw, word); i >= 0 {
			at = i
			break
		}
	}
	line := strings.Count(d.raw[:at], "\n")
	return &Mistake{File: sc.Name, Line: d.Line + line, Column: at - strings.LastIndex(d.raw[:at], "\n"),
		Source: strings.Split(d.raw, "\n")[line], Err: err}
}

// named are the words a message may be about: what it quotes, then each of its words.
func named(message string) (words []string) {
	for i, part := range strings.Split(message, `"`) {
		if i%2 == 1 && part != "" {
			words = append(words, part)
		}
	}
	message, _, _ = strings.Cut(message, ": expected")
	for _, w := range strings.Fields(message) {
		words = append(words, strings.Trim(w, ":,;"))
	}
	return words
}

// indexWord finds a word that does not go on to either side.
func indexWord(s, word string) int {
	part := func(i int) bool {
		return i >= 0 && i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || s[i] == '.')
	}
	if word == "" {
		return -1
	}
	for from := 0; ; {
		i := strings.Index(s[from:], word)
		if i < 0 {
			return -1
		}
		if i += from; !part(i-1) && !part(i+len(word)) {
			return i
		}
		from = i + 1
	}
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%s:%d: %s: %v", e.File, e.Directive.Line, e.Directive.Text, e.Err)
}

func (e *FailedError) Unwrap() error { return e.Err }

// Play runs a scenario in a new session and returns the directives whose output differs. It
// stops at the first directive that cannot be carried out, or whose expectation fails (a FailedError). show,
// if not nil, is told the output of each as it comes.
func (sc *Scenario) Play(s *Session, show func(d Directive, out string)) ([]Mismatch, error) {
	var wrong []Mismatch
	for _, d := range sc.Directives {
		out, err := s.Exec(d.Text, d.Input)
		if errors.Is(err, ErrExpect) {
			return wrong, &FailedError{File: sc.Name, Directive: d, Err: err}
		}
		if err != nil {
			return wrong, sc.mistake(d, err)
		}
		if show != nil {
			show(d, out)
		}
		if out != d.Expected {
			wrong = append(wrong, Mismatch{Directive: d, Got: out})
		}
	}
	return wrong, nil
}

// arg is a word of a directive: key, an operator (= <= >=) and a value, or a bare word.
type arg struct{ key, op, val string }

// list splits "(a,b)", "(a, b)" or "a".
func (a arg) list() []string { return splitList(a.val) }

func splitList(s string) []string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "("), ")")
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// Word is an argument of a directive: KEY, KEY=VALUE, KEY<=VALUE or KEY>=VALUE.
type Word struct{ Key, Op, Value string }

// List splits the value "(a,b)".
func (w Word) List() []string { return splitList(w.Value) }

// Words cuts a directive into verb and arguments, for those that carry out scenarios elsewhere.
func Words(line string) (verb string, args []Word, err error) {
	verb, list, err := words(line)
	for _, a := range list {
		args = append(args, Word{a.key, a.op, a.val})
	}
	return verb, args, err
}

// words cuts a directive into verb and arguments. Round and curly brackets hold blanks
// together; " #" starts a comment.
func words(line string) (verb string, args []arg, err error) {
	if i := strings.Index(line, " #"); i >= 0 {
		line = line[:i]
	}
	var all []string
	depth, start := 0, -1
	for i, r := range line {
		switch {
		case r == '(' || r == '{':
			depth++
		case r == ')' || r == '}':
			depth--
		}
		if depth < 0 {
			return "", nil, fmt.Errorf("closing bracket without an opening one in %q", line)
		}
		blank := r == ' ' || r == '\t'
		switch {
		case start < 0 && !blank:
			start = i
		case start >= 0 && blank && depth == 0:
			all = append(all, line[start:i])
			start = -1
		}
	}
	if depth != 0 {
		return "", nil, fmt.Errorf("bracket not closed in %q", line)
	}
	if start >= 0 {
		all = append(all, line[start:])
	}
	if len(all) == 0 {
		return "", nil, fmt.Errorf("empty directive")
	}
	for _, word := range all[1:] {
		args = append(args, parseArg(word))
	}
	return all[0], args, nil
}

func parseArg(word string) arg {
	i := strings.IndexByte(word, '=')
	if i < 0 {
		return arg{key: word}
	}
	a := arg{key: word[:i], op: "=", val: word[i+1:]}
	if n := len(a.key); n > 0 && (a.key[n-1] == '<' || a.key[n-1] == '>') {
		a.op = a.key[n-1:] + "="
		a.key = a.key[:n-1]
	}
	return a
}
