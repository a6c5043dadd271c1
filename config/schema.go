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

// valuesTSV says what may be written behind each of them (generic.go reads that column),
// from where a value is inherited and which feature it asks for. "block" stands for the
// feature of the enclosing block. Keywords with the same answer share a row; CHECK, HTTP,
// URL and TRACK_FILE stand for several blocks.
//
//go:embed values.tsv
var valuesTSV string

// keyword is a keyword in its block, as the two tables and the rules know it.
type keyword struct {
	block, name     string
	args, def, rng  string
	meaning         string
	tier            int
	in227           string // yes, no or deprecated
	kind            string // kw, kwq, block, listblock, root, opt, item ...
	value, inherits string
	feature         *feature
	rule            *rule
	sub             *place // of a block
}

// statement reports whether k may start a statement; others are options of a line.
func (k *keyword) statement() bool {
	switch k.kind {
	case "kw", "kwq", "block", "listblock", "root":
		return true
	}
	return false
}

func (k *keyword) isBlock() bool { return k.kind == "block" || k.kind == "listblock" }

// mainBlock reports whether k starts one of the blocks every file is made of, so that
// meeting it inside another block means a missing brace.
func (k *keyword) mainBlock() bool { return k.block == "" && k.tier == 1 && k.isBlock() }

// place is a block, or the line of a list block, with the keywords that may stand in it.
type place struct {
	path     string
	keywords map[string]*keyword
	order    []string // in the order of the table
}

// lookup returns a keyword that may start a statement; nil when there is none.
func (p *place) lookup(kw string) *keyword {
	if p == nil {
		return nil
	}
	if k := p.keywords[kw]; k != nil && k.statement() {
		return k
	}
	return nil
}

// schema answers what a keyword is. It never changes after newSchema.
type schema struct {
	places map[string]*place
	order  []*place
	root   *place
}

var theSchema = newSchema()

// aliases are the names in values.tsv that stand for several blocks.
func aliases(block string) []string {
	const R = "virtual_server.real_server."
	switch block {
	case "CHECK":
		return []string{R + "TCP_CHECK", R + "HTTP_GET", R + "SSL_GET", R + "SMTP_CHECK", R + "SMTP_CHECK.host", R + "DNS_CHECK",
			R + "MISC_CHECK", R + "PING_CHECK", R + "UDP_CHECK", R + "FILE_CHECK", R + "BFD_CHECK"}
	case "HTTP":
		return []string{R + "HTTP_GET", R + "SSL_GET"}
	case "URL":
		return []string{R + "HTTP_GET.url", R + "SSL_GET.url"}
	case "TRACK_FILE":
		return []string{"track_file", "vrrp_track_file"}
	}
	return []string{block}
}

func newSchema() *schema {
	s := &schema{places: make(map[string]*place, 64)}
	all := make([]keyword, 0, 1024)
	s.rows(keywordsTSV, func(f []string) {
		if len(f) < 9 || f[0] == "(cli)" || f[0] == "(parser)" {
			return
		}
		all = append(all, keyword{block: f[0], name: f[1], args: f[2], def: f[3], rng: f[4], meaning: f[5], tier: int(f[6][0] - '0'), in227: f[7], kind: f[8]})
		s.add(&all[len(all)-1])
	})
	byName := make(map[string]*feature, len(features))
	for i := range features {
		byName[features[i].name] = &features[i]
	}
	s.rows(valuesTSV, func(f []string) {
		for _, b := range aliases(f[0]) {
			p := s.places[b]
			for name := range strings.SplitSeq(f[1], ",") {
				k := p.keywords[name]
				if k == nil {
					continue // not every check has every setting
				}
				k.value, k.inherits, k.feature = f[2], f[3], byName[f[4]]
				if f[4] == "@" && strings.HasSuffix(b, ".TCP_CHECK") {
					k.feature = byName["yes"]
				}
			}
		}
	})
	rs := rules()
	for i := range rs {
		r := &rs[i]
		p := s.places[r.block]
		if p == nil || p.keywords[r.keyword] == nil {
			if r.maybe {
				continue
			}
			kind := "kw"
			if r.open != nil || r.each != nil {
				kind = "block"
			}
			s.add(&keyword{block: r.block, name: r.keyword, tier: 1, kind: kind, feature: byName["yes"]})
			p = s.places[r.block]
		}
		p.keywords[r.keyword].rule = r
	}
	for _, p := range s.order {
		for _, name := range p.order {
			if k := p.keywords[name]; k.isBlock() {
				k.sub = s.places[childPath(p.path, name)]
				if k.sub == nil { // a list block, whose entries are not keywords
					k.sub = &place{path: childPath(p.path, name)}
				}
			}
		}
	}
	s.root = s.places[""]
	return s
}

// rows calls f with the fields of every line but the first.
func (s *schema) rows(table string, f func([]string)) {
	var fields []string
	first := true
	for row := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		if first {
			first = false
			continue
		}
		fields = fields[:0]
		for col := range strings.SplitSeq(row, "\t") {
			fields = append(fields, col)
		}
		f(fields)
	}
}

func (s *schema) add(k *keyword) {
	p := s.places[k.block]
	if p == nil {
		p = &place{path: k.block, keywords: map[string]*keyword{}}
		s.places[k.block] = p
		s.order = append(s.order, p)
	}
	if _, ok := p.keywords[k.name]; !ok {
		p.order = append(p.order, k.name)
	}
	p.keywords[k.name] = k
}

func (s *schema) lookup(block, kw string) *keyword { return s.places[block].lookup(kw) }

// option returns an option word of a list line, such as "dev" of "(address line)".
func (s *schema) option(block, kw string) *keyword {
	if p := s.places[block]; p != nil {
		if k := p.keywords[kw]; k != nil && k.kind == "opt" {
			return k
		}
	}
	return nil
}

// nearest returns the keyword of block that kw was probably meant to be.
func (s *schema) nearest(block, kw string) (string, bool) {
	if p := s.places[block]; p != nil {
		return nearest(kw, p.order)
	}
	return "", false
}

// elsewhere returns the most common block in which kw is a keyword.
func (s *schema) elsewhere(kw string) (block string, ok bool) {
	tier := 9
	for _, p := range s.order {
		if k := p.lookup(kw); k != nil && k.tier < tier {
			block, ok, tier = p.path, true, k.tier
		}
	}
	return block, ok
}

// nearest picks the name with the smallest edit distance to word, the first of equals;
// nothing when even that one is too different to be a slip of the pen.
func nearest(word string, names []string) (string, bool) {
	best, dist := "", 1+max(1, len(word)/3)
	lower := strings.ToLower(word)
	for _, n := range names[:min(len(names), maxNear)] {
		if strings.HasPrefix(n, "(") || len(n) > 64 {
			continue
		}
		if strings.HasPrefix(n, lower+"_") && len(n) <= len(word)+4 && dist > 0 {
			best, dist = n, 0 // virtual_router is no slip for virtual_routes, it lacks its end
			continue
		}
		if max(len(n)-len(word), len(word)-len(n)) >= dist {
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
