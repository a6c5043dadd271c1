package config

// stmt is a statement of the file: its words, and for a block what stands between the
// braces. It is what is left of the file after comments, conditions, variables and
// includes; nothing in it has been judged yet. A stmt lives until the block it stands in
// has been interpreted: nobody may keep it.
type stmt struct {
	words    []word
	pos      Pos
	rest     line     // what follows the first word, for keywords with their own quoting
	kw       *keyword // nil: unknown here
	in       *place   // where it stands; nil inside a block nobody knows
	block    bool
	skip     bool // a brace without keyword
	open     Pos  // of the brace
	children []*stmt
}

func (s *stmt) keyword() string { return s.words[0].text }

func (s *stmt) path() string {
	if s.in == nil {
		return unknownPath
	}
	return s.in.path
}

// builder puts statements together to blocks and hands each statement of the top level to
// done as soon as it is complete, so that the memory of a reading is that of its largest
// block. It knows which keywords are blocks, so that a missing brace is reported where it
// is missing and does not shift everything behind it.
type builder struct {
	sink    *sink
	schema  *schema
	done    func(*stmt)
	stack   []level
	last    *stmt // last statement of the open block, may still get its brace
	pool    []*stmt
	used    int
	tooDeep bool
}

// level is an open block; the first is the file.
type level struct {
	s  *stmt
	in *place
}

const unknownPath = "?" // inside a block nobody knows

func newBuilder(s *sink, sc *schema, done func(*stmt)) *builder {
	return &builder{sink: s, schema: sc, done: done, stack: []level{{s: &stmt{}, in: sc.root}}}
}

func (b *builder) in() *place { return b.stack[len(b.stack)-1].in }

func childPath(parent, kw string) string {
	switch parent {
	case "":
		return kw
	case unknownPath:
		return unknownPath
	}
	return parent + "." + kw
}

// alloc returns a stmt that is free again after the next complete statement of the top level.
func (b *builder) alloc() *stmt {
	if b.used < len(b.pool) {
		s := b.pool[b.used]
		b.used++
		s.words, s.children = s.words[:0], s.children[:0]
		s.rest, s.kw, s.in, s.block, s.skip = line{}, nil, nil, false, false
		return s
	}
	s := &stmt{}
	b.pool = append(b.pool, s)
	b.used++
	return s
}

// flush hands over what is complete when the file's level is reached.
func (b *builder) flush(s *stmt) {
	b.last = nil
	if !s.skip {
		b.done(s)
	}
	b.used = 0
}

func (b *builder) push(s *stmt, at Pos) {
	if len(b.stack) > maxDepth {
		if !b.tooDeep {
			b.sink.errorf(at, "too-deep", "{", "is a } missing above?", "blocks are nested more than %d deep", maxDepth)
		}
		b.tooDeep = true
		return
	}
	var in *place
	if s.kw != nil && s.kw.isBlock() {
		in = s.kw.sub
	}
	s.block, s.open = true, at
	b.stack = append(b.stack, level{s: s, in: in})
	b.last = nil
}

func (b *builder) pop() {
	s := b.stack[len(b.stack)-1].s
	b.stack = b.stack[:len(b.stack)-1]
	b.last = nil
	if len(b.stack) == 1 {
		b.flush(s)
	}
}

// statement adds one and returns it. words is copied.
func (b *builder) statement(words []word) *stmt {
	name := words[0].text
	kw := b.in().lookup(name)
	if kw == nil {
		if b.last != nil && !b.last.block && b.last.kw != nil && b.last.kw.isBlock() {
			// A block keyword without brace, then a line that cannot belong to the parent.
			name := b.last.keyword()
			b.sink.errorf(b.last.pos, "missing-brace", name, "write "+name+" ... {", "the { of the block %s is missing", name)
			b.push(b.last, b.last.pos)
			kw = b.in().lookup(words[0].text)
		}
		if len(b.stack) > 1 && b.in() != nil && kw == nil {
			if main := b.schema.root.lookup(name); main != nil && main.mainBlock() {
				for len(b.stack) > 1 {
					b.unclosed("before " + name + " at " + words[0].pos.String())
				}
				kw = main
			}
		}
	}
	if len(b.stack) == 1 && b.last != nil {
		b.flush(b.last)
	}
	s := b.alloc()
	s.words = append(s.words, words...)
	s.pos, s.kw, s.in = words[0].pos, kw, b.in()
	if len(b.stack) > 1 {
		top := b.stack[len(b.stack)-1].s
		top.children = append(top.children, s)
	}
	b.last = s
	return s
}

// unclosed closes the innermost block and reports that its brace is missing.
func (b *builder) unclosed(where string) {
	s := b.stack[len(b.stack)-1].s
	name := "without a name"
	if len(s.words) > 0 {
		name = s.keyword()
	}
	b.sink.errorf(s.open, "missing-brace", name, "add the }", "the block %s that is opened here has no } %s", name, where)
	b.pop()
}

func (b *builder) open(at Pos) {
	if b.last == nil || b.last.block {
		b.sink.errorf(at, "unexpected-brace", "{", "delete it, or write the keyword it belongs to", "this { follows no keyword; what it encloses is not read")
		s := b.alloc() // in no list of children: skipped
		s.pos, s.skip = at, true
		b.push(s, at)
		return
	}
	b.push(b.last, at)
}

func (b *builder) close(at Pos) {
	if len(b.stack) == 1 {
		b.sink.errorf(at, "unexpected-brace", "}", "delete it, or look for a block that ends too early above", "this } closes nothing")
		if b.last != nil {
			b.flush(b.last)
		}
		return
	}
	b.pop()
}

// finish closes what is still open.
func (b *builder) finish() {
	for len(b.stack) > 1 && !b.tooDeep {
		b.unclosed("before the end of the file")
	}
	if b.last != nil && !b.tooDeep {
		b.flush(b.last)
	}
}
