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
		d := Directive{Line: n + 1}
		for strings.HasSuffix(line, `\`) && n+1 < len(lines) {
			n++
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
			return wrong, fmt.Errorf("%s:%d: %w", sc.Name, d.Line, err)
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
