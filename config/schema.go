package config

import (
	_ "embed"
	"strings"
)

// keywordsTSV lists every keyword of keepalived 2.2.7 to 2.4.3: block, keyword, args,
// default, range, meaning, tier, whether 2.2.7 has it, kind. Blocks in parentheses name
// lines of list blocks. Tier 1 and 2 change what a director does, 3 is rare or cosmetic.
//
//go:embed keywords.tsv
var keywordsTSV string

// entry is a keyword as the schema knows it.
type entry struct {
	block, keyword string
	args, meaning  string
	tier           int
	kind           string // kw, kwq, block, listblock, root, opt, item …
}

// schema answers what a keyword is. It is built from keywords.tsv and from the rules,
// which add the names that are our own; it never changes after that.
type schema struct {
	byBlock map[string]map[string]entry
	order   map[string][]string // keywords of a block in the order of the table
	blocks  []string
	rules   map[string]map[string]*rule
}

var theSchema = newSchema(keywordsTSV, rules())

func newSchema(tsv string, rs []rule) *schema {
	s := &schema{byBlock: map[string]map[string]entry{}, order: map[string][]string{}, rules: map[string]map[string]*rule{}}
	for _, row := range strings.Split(strings.TrimSpace(tsv), "\n")[1:] {
		f := strings.Split(row, "\t")
		if len(f) < 9 || f[0] == "(cli)" || f[0] == "(parser)" {
			continue
		}
		s.add(entry{block: f[0], keyword: f[1], args: f[2], meaning: f[5], tier: int(f[6][0] - '0'), kind: f[8]})
	}
	for i := range rs {
		r := &rs[i]
		if s.rules[r.block] == nil {
			s.rules[r.block] = map[string]*rule{}
		}
		s.rules[r.block][r.keyword] = r
		if _, ok := s.byBlock[r.block][r.keyword]; !ok {
			kind := "kw"
			if r.open != nil || r.each != nil {
				kind = "block"
			}
			s.add(entry{block: r.block, keyword: r.keyword, tier: 1, kind: kind})
		}
	}
	return s
}

func (s *schema) add(e entry) {
	if s.byBlock[e.block] == nil {
		s.byBlock[e.block] = map[string]entry{}
		s.blocks = append(s.blocks, e.block)
	}
	if _, ok := s.byBlock[e.block][e.keyword]; !ok {
		s.order[e.block] = append(s.order[e.block], e.keyword)
	}
	s.byBlock[e.block][e.keyword] = e
}

// lookup returns a keyword that may start a statement of the block.
func (s *schema) lookup(block, kw string) (entry, bool) {
	e, ok := s.byBlock[block][kw]
	switch e.kind {
	case "kw", "kwq", "block", "listblock", "root":
		return e, ok
	}
	return entry{}, false
}

func (s *schema) known(block, kw string) bool { _, ok := s.lookup(block, kw); return ok }

func (s *schema) isBlock(block, kw string) bool {
	e, ok := s.lookup(block, kw)
	return ok && (e.kind == "block" || e.kind == "listblock")
}

// mainBlock reports whether kw starts one of the blocks every file is made of, so that
// meeting it inside another block means a missing brace.
func (s *schema) mainBlock(kw string) bool {
	e, ok := s.lookup("", kw)
	return ok && e.tier == 1 && (e.kind == "block" || e.kind == "listblock")
}

// option returns an option word of a list line, such as "dev" of "(address line)".
func (s *schema) option(block, kw string) (entry, bool) {
	e, ok := s.byBlock[block][kw]
	return e, ok && e.kind == "opt"
}

// nearest returns the keyword of block that kw was probably meant to be.
func (s *schema) nearest(block, kw string) (string, bool) {
	return nearest(kw, s.order[block])
}

// elsewhere returns the most common block in which kw is a keyword.
func (s *schema) elsewhere(kw string) (block string, ok bool) {
	tier := 9
	for _, b := range s.blocks {
		if e, found := s.lookup(b, kw); found && e.tier < tier {
			block, ok, tier = b, true, e.tier
		}
	}
	return block, ok
}

// nearest picks the name with the smallest edit distance to word, the first of equals;
// nothing when even that one is too different to be a slip of the pen.
func nearest(word string, names []string) (string, bool) {
	best, dist := "", 1+max(1, len(word)/3)
	lower := strings.ToLower(word)
	for _, n := range names {
		if strings.HasPrefix(n, "(") || len(n) > 64 || max(len(n)-len(word), len(word)-len(n)) >= dist {
			continue
		}
		if d := distance(lower, strings.ToLower(n)); d < dist {
			best, dist = n, d
		}
	}
	return best, best != ""
}

// distance is the number of letters to insert, delete, change or swap with a neighbour
// (optimal string alignment).
func distance(a, b string) int {
	prev2 := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

// places says where a block's keywords stand.
func places(block string) string {
	if block == "" {
		return "at the top level"
	}
	return "in a " + block + " block"
}
