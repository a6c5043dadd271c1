package sim

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Shrink removes directives from a scenario for as long as it fails at the same directive, and
// returns what is left: the shortest story that still shows it. fails runs a text and
// returns the error of Play. What comes after the failure goes first. The world, its first conf, and from the last recover on, or
// behind the last fault, everything but other claims stay, for a claim without the time it speaks of would fail for no reason.
func Shrink(text string, fails func(text string) error) string {
	sc, err := ParseScenario("shrink", text)
	if err != nil {
		return text
	}
	whole := sc.Directives
	first := fails(text)
	var at *FailedError
	if errors.As(first, &at) {
		if i := slices.IndexFunc(whole, func(d Directive) bool { return d.Line == at.Directive.Line }); i >= 0 {
			whole = whole[:i+1]
		}
	}
	head := min(2, len(whole))
	tail := len(whole) - 1
	for tail > head && !isFault(whole[tail-1]) {
		tail--
	}
	for i, d := range whole {
		if d.Text == "recover" {
			tail = i
		}
	}
	same := sameFailure(first)
	left := whole[head:max(head, tail)]
	rest := whole[max(head, tail):]
	for size := max(1, len(left)/2); size > 0; {
		removed := false
		for at := len(left) - size; at >= 0; at -= size {
			shorter := slices.Concat(left[:at], left[at+size:])
			if same(fails(render(slices.Concat(whole[:head], shorter, rest)))) {
				left, removed = shorter, true
				at = min(at, len(left))
			}
		}
		if !removed {
			size /= 2
		}
	}
	for i := len(rest) - 2; i >= 0; i-- {
		if strings.HasPrefix(rest[i].Text, "expect ") || strings.HasPrefix(rest[i].Text, "check") || strings.HasPrefix(rest[i].Text, "show ") {
			if shorter := slices.Concat(rest[:i], rest[i+1:]); same(fails(render(slices.Concat(whole[:head], left, shorter)))) {
				rest = shorter
			}
		}
	}
	list := slices.Concat(whole[:head], left, rest)
	list = dropNodes(list, func(l []Directive) bool { return same(fails(render(l))) })
	list = roundTimes(list, func(l []Directive) bool { return same(fails(render(l))) })
	return render(list)
}

func isFault(d Directive) bool {
	name, _, _ := strings.Cut(d.Text, " ")
	return slices.ContainsFunc(verbs(), func(v verb) bool { return v.name == name && v.fault })
}

// sameFailure recognises the failure of one expectation by the directive that failed and by what it said, whatever
// the numbers in it.
func sameFailure(first error) func(error) bool {
	var want *FailedError
	if !errors.As(first, &want) {
		return func(error) bool { return false }
	}
	return func(err error) bool {
		var got *FailedError
		return errors.As(err, &got) && got.Directive.Text == want.Directive.Text && gist(got.Err) == gist(want.Err)
	}
}

// gist is a message without its numbers; of a check only what is violated.
func gist(err error) string {
	text := err.Error()
	if strings.Contains(text, "VIOLATED") {
		var lines []string
		for line := range strings.Lines(text) {
			if strings.Contains(line, "VIOLATED") {
				lines = append(lines, line)
			}
		}
		text = strings.Join(lines, "")
	}
	var b strings.Builder
	digit := false
	for _, r := range text {
		isDigit := r >= '0' && r <= '9' || r == '.' && digit
		if !isDigit || !digit {
			if isDigit {
				r = '#'
			}
			b.WriteRune(r)
		}
		digit = isDigit
	}
	return b.String()
}

// dropNodes leaves out directors one after the other, the last first, for as long as it still fails.
func dropNodes(list []Directive, fails func([]Directive) bool) []Directive {
	_, args, err := words(list[0].Text)
	if err != nil {
		return list
	}
	var nodes []string
	for _, a := range args {
		if a.key == "nodes" {
			nodes = a.list()
		}
	}
	for i := len(nodes) - 1; i >= 0 && len(nodes) > 1; i-- {
		if shorter := withoutNode(list, nodes[i]); fails(shorter) {
			list, nodes = shorter, slices.Delete(slices.Clone(nodes), i, i+1)
		}
	}
	return list
}

// withoutNode takes a name out of every directive, and directives that are about nothing else.
func withoutNode(list []Directive, name string) []Directive {
	var out []Directive
	for k, d := range list {
		fields := strings.Fields(d.Text)
		kept := fields[:0:0]
		for _, f := range fields {
			from, to, path := strings.Cut(f, ">")
			switch {
			case strings.Contains(f, "(") || strings.Contains(f, "{") || strings.Contains(f, "}"):
				f = removeWord(f, name)
			case f == name || path && (from == name || to == name):
				continue
			}
			if f != "" {
				kept = append(kept, f)
			}
		}
		if len(kept) == 1 && len(fields) > 1 || len(fields) > 1 && fields[1] == name && k > 0 && fixedArgs(fields[0]) {
			continue
		}
		d.Text = strings.Join(kept, " ")
		out = append(out, d)
	}
	return out
}

// fixedArgs are verbs whose first argument is the host and whose others do not stand without it.
func fixedArgs(verb string) bool {
	return slices.Contains([]string{"pause", "nic", "script", "track", "clock", "addr", "garp", "advert"}, verb)
}

// removeWord takes a name out of "(a,b)" or "{a b}/{c}".
func removeWord(s, name string) string {
	i := indexWord(s, name)
	if i < 0 {
		return s
	}
	before, after := s[:i], s[i+len(name):]
	if strings.HasPrefix(after, ",") {
		after = after[1:]
	} else {
		before = strings.TrimSuffix(before, ",")
	}
	return before + after
}

// roundTimes makes the times that pass round, to seconds if it still fails, else to tenths.
func roundTimes(list []Directive, fails func([]Directive) bool) []Directive {
	for i, d := range list {
		verb, args, err := words(d.Text)
		if err != nil || verb != "run" || len(args) != 1 {
			continue
		}
		t, err := time.ParseDuration(args[0].key)
		if err != nil {
			continue
		}
		for _, unit := range []time.Duration{time.Second, 100 * time.Millisecond} {
			rounded := slices.Clone(list)
			rounded[i].Text = "run " + t.Round(unit).String()
			if t.Round(unit) != t && fails(rounded) {
				list = rounded
				break
			}
		}
	}
	return list
}

func render(list []Directive) string {
	var b strings.Builder
	for _, d := range list {
		b.WriteString(d.Text + "\n")
		if d.Input != "" {
			b.WriteString(d.Input + "\n")
		}
		b.WriteString(rule + "\n\n")
	}
	return b.String()
}
