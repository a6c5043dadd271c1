package config

import "strings"

// line is a piece of logical line whose every byte knows where it was written.
type line struct {
	text string
	pos  Pos   // of text[0] when at is nil: the bytes stand side by side in the file
	at   []Pos // otherwise one per byte: parts came out of variables
}

func (l line) posAt(i int) Pos {
	if l.at == nil {
		p := l.pos
		p.Column += i
		return p
	}
	if i < len(l.at) {
		return l.at[i]
	}
	if len(l.at) > 0 {
		return l.at[len(l.at)-1]
	}
	return l.pos
}

func (l line) slice(i, j int) line {
	out := line{text: l.text[i:j], pos: l.posAt(i)}
	if l.at != nil {
		out.at = l.at[i:j:j]
	}
	return out
}

const blanks = " \t\f\v\r"

func isBlank(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }

func (l line) trimLeft() line {
	n := len(l.text) - len(strings.TrimLeft(l.text, blanks))
	return l.slice(n, len(l.text))
}

func (l line) trim() line {
	l = l.trimLeft()
	return l.slice(0, len(strings.TrimRight(l.text, blanks)))
}

// Bytes that stand for a character that has lost its meaning, because it came from a
// variable nobody defined. The reader refuses control characters in files, so these
// cannot be written by anybody.
const (
	plainOpen   = '\x03'
	plainClose  = '\x04'
	plainDollar = '\x05'
)

func plain(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= plainOpen && r <= plainDollar }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case plainOpen:
			return '{'
		case plainClose:
			return '}'
		case plainDollar:
			return '$'
		}
		return r
	}, s)
}

// word is one token; text is without its quotes.
type word struct {
	text   string
	pos    Pos
	quoted bool
}

// words splits a segment as keepalived's plain tokenizer does: at blanks; "a b" is one
// word; a quote inside a word starts a new word (keepalived 2.2.7, measured).
func (l line) words(out []word) []word {
	t := l.text
	for i := 0; i < len(t); {
		switch {
		case isBlank(t[i]):
			i++
		case t[i] == '"':
			j := strings.IndexByte(t[i+1:], '"')
			end, next := len(t), len(t)
			if j >= 0 {
				end, next = i+1+j, i+2+j
			}
			out = append(out, word{text: plain(t[i+1 : end]), pos: l.posAt(i), quoted: true})
			i = next
		default:
			j := i
			for j < len(t) && !isBlank(t[j]) && t[j] != '"' {
				j++
			}
			out = append(out, word{text: plain(t[i:j]), pos: l.posAt(i)})
			i = j
		}
	}
	return out
}
