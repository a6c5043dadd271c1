package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Statement is a statement of a file as JSON has it. Every value is the text of the file, so
// that nothing is lost: a file becomes Statements, and Statements become the same file again.
// JSONSchema says what may stand where.
type Statement struct {
	Keyword string `json:"keyword"`
	// Values are the words behind the keyword, without quotes.
	Values []string `json:"values,omitempty"`
	// Text is the rest of the line instead, for keywords whose value has its own quoting
	// (commands, regular expressions, strings with escapes).
	Text string `json:"text,omitempty"`
	// Block is what stands between the braces; nil: there are none.
	Block *[]Statement `json:"block,omitempty"`
}

// Statements is Print as data: what the director opt.ConfigID reads.
func Statements(main string, src Source, opt Options, po PrintOptions) ([]Statement, Diagnostics) {
	list := []Statement{}
	ds := eachStatement(main, src, opt, func(st *stmt) { list = append(list, st.data(po.ShowSecrets)) })
	return list, ds
}

// eachStatement calls f with every statement of the top level; f must not keep it.
func eachStatement(main string, src Source, opt Options, f func(*stmt)) Diagnostics {
	s := &sink{}
	r := &reader{src: src, id: opt.ConfigID, sink: s}
	r.out = newBuilder(s, theSchema, f)
	r.main(main)
	if !r.stopped {
		r.out.finish()
	}
	return s.close()
}

func (s *stmt) data(secrets bool) Statement {
	d := Statement{Keyword: s.keyword()}
	if s.kw != nil && s.kw.kind == "kwq" {
		d.Text = rewritten(s.rest.text)
	} else {
		d.Values = texts(s.words[1:])
		if n := isSecret(s.path(), s.keyword()); n > 0 && n < len(s.words) && !secrets {
			d.Values[n-1] = masked
		}
	}
	if s.block {
		block := make([]Statement, 0, len(s.children))
		for _, c := range s.children {
			block = append(block, c.data(secrets))
		}
		d.Block = &block
	}
	return d
}

// FromJSON turns what Statements gave, as a JSON array or as the member "statements" of an
// object, into the text of a keepalived.conf. It refuses members it does not know, and words
// that no file can hold: what it returns reads back as the same statements.
func FromJSON(data []byte) (string, error) {
	if len(data) > maxBytes {
		return "", fmt.Errorf("%d bytes of JSON, at most %d are read", len(data), maxBytes)
	}
	var list []Statement
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(data, &doc); err != nil {
			return "", fmt.Errorf("no configuration in JSON: %w", err)
		}
		if data = doc["statements"]; data == nil {
			return "", errors.New(`no configuration in JSON: an object without the member "statements"; clusterctl render -o json prints one`)
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		return "", fmt.Errorf("no configuration in JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return "", errors.New("no configuration in JSON: something follows the array")
	}
	var b strings.Builder
	for i := range list {
		if b.Len() > 0 && list[i].Block != nil {
			b.WriteByte('\n')
		}
		if err := list[i].write(&b, 0); err != nil {
			return "", err
		}
	}
	text := b.String()
	again, _ := Print("json", Files{"json": text}, Options{}, PrintOptions{ShowSecrets: true})
	if again != text {
		return "", fmt.Errorf("the JSON holds words that mean something else in a file: %s", difference(text, again))
	}
	return text, nil
}

// difference is the first line in which two texts differ, without what nobody should see.
func difference(a, b string) string {
	bs := strings.Split(b, "\n")
	for i, line := range strings.Split(a, "\n") {
		if i >= len(bs) || bs[i] != line {
			return fmt.Sprintf("line %d: %q", i+1, shorten(maskText(line, nil)))
		}
	}
	return "the end"
}

func (d *Statement) write(b *strings.Builder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("blocks are nested more than %d deep", maxDepth)
	}
	indent := strings.Repeat("    ", depth)
	for _, w := range append([]string{d.Keyword, d.Text}, d.Values...) {
		if strings.ContainsAny(w, "\n\x00") {
			return fmt.Errorf("%s: a value has a line break or a zero byte, which a line of a file cannot hold", shorten(d.Keyword))
		}
	}
	if d.Keyword == "" {
		return errors.New("a statement has no keyword")
	}
	b.WriteString(indent + written(word{text: d.Keyword}))
	if d.Text != "" {
		if len(d.Values) > 0 {
			return fmt.Errorf("%s has values and text; only one of them can be", shorten(d.Keyword))
		}
		b.WriteString(" " + d.Text)
	}
	for _, v := range d.Values {
		b.WriteString(" " + written(word{text: v}))
	}
	if d.Block == nil {
		b.WriteByte('\n')
		return nil
	}
	b.WriteString(" {\n")
	for i := range *d.Block {
		if err := (*d.Block)[i].write(b, depth+1); err != nil {
			return err
		}
	}
	b.WriteString(indent + "}\n")
	return nil
}
