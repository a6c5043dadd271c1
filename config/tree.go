package config

// stmt is a statement of the file: its words, and for a block what stands between the
// braces. The tree of them is the file after comments, conditions, variables and
// includes; nothing in it has been judged yet.
type stmt struct {
	words    []word
	pos      Pos
	rest     line // what follows the first word, for keywords with their own quoting
	block    bool
	open     Pos // of the brace
	children []*stmt
}

func (s *stmt) keyword() string { return s.words[0].text }

// builder makes the tree. It knows which keywords are blocks, so that a missing brace is
// reported where it is missing and does not shift everything behind it.
type builder struct {
	sink    *sink
	schema  *schema
	stack   []*stmt // open blocks; the first is the file
	paths   []string
	last    *stmt // last statement of the open block, may still get its brace
	tooDeep bool
}

const unknownPath = "?" // inside a block nobody knows

func newBuilder(s *sink, sc *schema) *builder {
	return &builder{sink: s, schema: sc, stack: []*stmt{{}}, paths: []string{""}}
}

func (b *builder) path() string { return b.paths[len(b.paths)-1] }

func childPath(parent, kw string) string {
	switch parent {
	case "":
		return kw
	case unknownPath:
		return unknownPath
	}
	return parent + "." + kw
}

func (b *builder) push(s *stmt, at Pos) {
	if len(b.stack) > maxDepth {
		if !b.tooDeep {
			b.sink.errorf(at, "too-deep", "{", "is a } missing above?", "blocks are nested more than %d deep", maxDepth)
		}
		b.tooDeep = true
		return
	}
	path := unknownPath
	if len(s.words) > 0 && b.schema.isBlock(b.path(), s.keyword()) {
		path = childPath(b.path(), s.keyword())
	}
	s.block, s.open = true, at
	b.stack = append(b.stack, s)
	b.paths = append(b.paths, path)
	b.last = nil
}

func (b *builder) pop() {
	b.stack = b.stack[:len(b.stack)-1]
	b.paths = b.paths[:len(b.paths)-1]
	b.last = nil
}

func (b *builder) statement(s *stmt) {
	kw := s.keyword()
	if b.last != nil && !b.last.block && b.schema.isBlock(b.path(), b.last.keyword()) && !b.schema.known(b.path(), kw) {
		// A block keyword without brace, then a line that cannot belong to the parent.
		name := b.last.keyword()
		b.sink.errorf(b.last.pos, "missing-brace", name, "write "+name+" ... {", "the { of the block %s is missing", name)
		b.push(b.last, b.last.pos)
	}
	if len(b.stack) > 1 && b.path() != unknownPath && b.schema.mainBlock(kw) && !b.schema.known(b.path(), kw) {
		for len(b.stack) > 1 {
			b.unclosed("before " + kw + " at " + s.pos.String())
		}
	}
	top := b.stack[len(b.stack)-1]
	top.children = append(top.children, s)
	b.last = s
}

// unclosed closes the innermost block and reports that its brace is missing.
func (b *builder) unclosed(where string) {
	s := b.stack[len(b.stack)-1]
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
		b.push(&stmt{pos: at}, at) // in no list of children: skipped
		return
	}
	b.push(b.last, at)
}

func (b *builder) close(at Pos) {
	if len(b.stack) == 1 {
		b.sink.errorf(at, "unexpected-brace", "}", "delete it, or look for a block that ends too early above", "this } closes nothing")
		b.last = nil
		return
	}
	b.pop()
}

// finish returns the statements of the file.
func (b *builder) finish() []*stmt {
	for len(b.stack) > 1 && !b.tooDeep {
		b.unclosed("before the end of the file")
	}
	return b.stack[0].children
}
