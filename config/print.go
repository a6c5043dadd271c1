package config

import (
	"strings"
)

// PrintOptions says how a configuration is written out.
type PrintOptions struct {
	ShowSecrets bool // passwords and keys; otherwise ********
	Origin      bool // a comment behind each line: the file and line it comes from
}

// Print writes out what the director opt.ConfigID reads: the file after conditions,
// variables, repetitions and includes, one statement per line. Reading that text gives the
// same tree again, unless secrets are masked.
func Print(main string, src Source, opt Options, po PrintOptions) (string, Diagnostics) {
	var b strings.Builder
	ds := eachStatement(main, src, opt, func(st *stmt) {
		if b.Len() > 0 && st.block {
			b.WriteByte('\n')
		}
		printStmt(&b, st, 0, po)
	})
	return b.String(), ds
}

func printStmt(b *strings.Builder, s *stmt, depth int, po PrintOptions) {
	b.WriteString(strings.Repeat("    ", depth))
	b.WriteString(s.text(po.ShowSecrets))
	if s.block {
		b.WriteString(" {")
	}
	if po.Origin {
		b.WriteString("    # " + Pos{File: s.pos.File, Line: s.pos.Line}.String())
	}
	b.WriteByte('\n')
	if !s.block {
		return
	}
	for _, c := range s.children {
		printStmt(b, c, depth+1, po)
	}
	b.WriteString(strings.Repeat("    ", depth))
	b.WriteString("}\n")
}

// text is the statement as one line, without its block.
func (s *stmt) text(secrets bool) string {
	var b strings.Builder
	b.WriteString(written(s.words[0]))
	if s.kw != nil && s.kw.kind == "kwq" {
		if s.rest.text != "" {
			b.WriteString(" " + rewritten(s.rest.text))
		}
		return b.String()
	}
	secret := isSecret(s.path(), s.keyword())
	for i, w := range s.words[1:] {
		b.WriteByte(' ')
		if secret == i+1 && !secrets {
			b.WriteString(masked)
			continue
		}
		b.WriteString(written(w))
	}
	return b.String()
}

// written puts a word into quotes when it would not be read back as one word without.
func written(w word) string {
	if w.text == "" || strings.ContainsAny(w.text, blanks+"#!{}$\"") || strings.IndexByte("@~", w.text[0]) >= 0 {
		if strings.ContainsAny(w.text, `"`) {
			return w.text
		}
		return `"` + w.text + `"`
	}
	return w.text
}

// rewritten is the rest of a line with its own quoting.
func rewritten(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= plainOpen && r <= plainDollar }) < 0 {
		return s
	}
	return strings.NewReplacer(string(plainOpen), "{", string(plainClose), "}", string(plainDollar), "$").Replace(s)
}
