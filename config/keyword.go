package config

import (
	"fmt"
	"strings"
)

// Keyword is what the tables say about one keyword, for who writes a file.
type Keyword struct {
	Block, Name                        string
	Arguments, Default, Range, Meaning string
	Status                             string // what quorate does with it; empty: carried out
	InBlock                            bool   // it opens a block
}

// Markdown is the keyword as a paragraph.
func (k Keyword) Markdown() string {
	s := fmt.Sprintf("**%s** %s\n\n%s", k.Name, k.Arguments, k.Meaning)
	for _, part := range [][2]string{{"default", k.Default}, {"range", k.Range}, {"in quorate", k.Status}} {
		if part[1] != "" && part[1] != "-" {
			s += "\n\n" + part[0] + ": " + part[1]
		}
	}
	return s
}

func (k *keyword) public() Keyword {
	out := Keyword{Block: k.block, Name: k.name, Arguments: strings.Trim(k.args, "-"), Default: k.def, Range: k.rng, Meaning: k.meaning, InBlock: k.isBlock()}
	if f := k.feature; f != nil && !f.done {
		out.Status = f.why
	}
	return out
}

// KeywordsAt returns the keywords that may stand on a line, from 1, in the order of the
// tables: those of the block that the lines before it leave open.
func KeywordsAt(text string, line int) []Keyword {
	from, _ := lineFrom(text, line)
	p := placeAfter(text[:from])
	if p == nil {
		return nil
	}
	var out []Keyword
	for _, name := range p.order {
		if k := p.keywords[name]; k.statement() {
			out = append(out, k.public())
		}
	}
	return out
}

// KeywordAt returns the keyword of which a column of a line is a part; lines count from 1,
// columns in bytes from 0.
func KeywordAt(text string, line, column int) (Keyword, bool) {
	start, l := lineFrom(text, line)
	at := min(max(column, 0), len(l))
	const ends = blanks + "{}\"#!"
	from, to := strings.LastIndexAny(l[:at], ends)+1, len(l)
	if n := strings.IndexAny(l[at:], ends); n >= 0 {
		to = at + n
	}
	if k := placeAfter(text[:start+from]).lookup(l[from:to]); k != nil {
		return k.public(), true
	}
	return Keyword{}, false
}

// lineFrom returns where a line starts, and the line.
func lineFrom(text string, line int) (from int, l string) {
	for l := range strings.Lines(text) {
		if line <= 1 {
			return from, strings.TrimRight(l, "\r\n")
		}
		from += len(l)
		line--
	}
	return len(text), ""
}

// placeAfter returns the block that text leaves open; nil inside one that nobody knows.
// Variables and includes are not looked at: who is writing wants an answer while both are wrong.
func placeAfter(text string) *place {
	stack := []*place{theSchema.root}
	last := ""
	for l := range strings.Lines(text) {
		code, _, _ := cutComment(strings.TrimRight(l, "\r\n"))
		for _, piece := range splitBraces(skipConditions(strings.TrimLeft(code, blanks))) {
			top := stack[len(stack)-1]
			words, opens := strings.CutSuffix(piece, "{")
			if f := strings.Fields(words); len(f) > 0 {
				last = f[0]
			}
			switch {
			case piece == "}":
				if len(stack) > 1 {
					stack = stack[:len(stack)-1]
				}
				last = ""
			case opens && len(stack) <= maxDepth:
				var sub *place
				if k := top.lookup(last); k != nil {
					sub = k.sub
				}
				stack = append(stack, sub)
				last = ""
			}
		}
	}
	return stack[len(stack)-1]
}
