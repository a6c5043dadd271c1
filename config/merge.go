package config

import (
	"fmt"
	"slices"
	"strings"
)

// Merge makes one file out of the files that directors have now: what all have stands
// once, what differs gets @NAME prefixes. mains names the main file of each director.
// Comments are lost, variables and includes are written out. The findings are those of
// Render on the result, and for each difference that looks like a mistake one more; their
// positions are in the result, which is called name.
func Merge(name string, nodes []string, mains map[string]string, src func(node string) Source) (string, Diagnostics) {
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	s := &sink{}
	m := &merge{nodes: nodes, sink: s, name: name}
	trees := make(map[string][]*tree, len(nodes))
	for _, n := range nodes {
		rs := &sink{}
		r := &reader{src: src(n), id: n, sink: rs}
		r.out = newBuilder(rs, theSchema, func(st *stmt) { trees[n] = append(trees[n], keep(st)) })
		r.main(mains[n])
		if !r.stopped {
			r.out.finish()
		}
		for _, d := range rs.list {
			if d.Severity == Error {
				d.Nodes = []string{n}
				s.add(d)
			}
		}
	}
	if s.list.HasErrors() {
		s.list.Sort()
		return "", s.list
	}
	m.level(trees, nodes, 0)
	text := m.b.String()
	_, ds := Render(name, Files{name: text}, nodes)
	said := map[int]bool{} // lines of which Render says more
	for _, d := range ds {
		said[d.Line] = said[d.Line] || d.Code == "nodes-differ"
	}
	for _, d := range s.list {
		if d.Code != "files-differ" || !said[d.Line] {
			ds = append(ds, d)
		}
	}
	ds.Sort()
	return text, ds
}

// tree is a statement that may be kept.
type tree struct {
	text     string // the line, secrets included
	key      string // statements of two directors with one key are the same setting
	kw, path string
	block    bool
	list     bool // an entry of a list block: its text is its key
	children []*tree
}

func keep(s *stmt) *tree {
	t := &tree{text: s.text(true), kw: s.keyword(), path: s.path(), block: s.block}
	t.key = t.kw
	if s.block {
		t.key = strings.Join(texts(s.words), " ")
	}
	for _, c := range s.children {
		k := keep(c)
		if s.kw != nil && s.kw.kind == "listblock" {
			k.list, k.key = true, k.text
		}
		t.children = append(t.children, k)
	}
	return t
}

type merge struct {
	*sink
	nodes []string
	name  string
	b     strings.Builder
	lines int
	col   int // where the statement of the last line starts
}

// perNode are settings that may well differ: a difference in another one is worth a look.
var perNode = []string{"router_id", "lvs_id", "priority", "state", "interface", "mcast_src_ip", "unicast_src_ip", "unicast_peer", "notification_email_from",
	"smtp_helo_name", "dev", "lvs_sync_daemon", "lvs_sync_daemon_interface", "default_interface", "net_namespace", "instance"}

// level writes the statements that the directors in here have at one place.
func (m *merge) level(trees map[string][]*tree, here []string, depth int) {
	type slot struct {
		key string
		at  map[string]*tree
	}
	var slots []*slot
	index := map[string]int{} // key -> place in slots
	for _, n := range here {
		seen := map[string]int{}
		after := -1
		for _, t := range trees[n] {
			// The second line with a keyword belongs to the second of the others.
			key := t.key
			if c := seen[t.key]; c > 0 {
				key = fmt.Sprintf("%s\x00%d", t.key, c)
			}
			seen[t.key]++
			i, ok := index[key]
			if !ok {
				i = after + 1
				slots = slices.Insert(slots, i, &slot{key: key, at: map[string]*tree{}})
				for k, v := range index {
					if v >= i {
						index[k] = v + 1
					}
				}
				index[key] = i
			}
			slots[i].at[n] = t
			after = i
		}
	}
	for _, sl := range slots {
		m.slot(sl.at, here, depth)
	}
}

// slot writes one setting.
func (m *merge) slot(at map[string]*tree, here []string, depth int) {
	var have []string
	for _, n := range here {
		if at[n] != nil {
			have = append(have, n)
		}
	}
	first := at[have[0]]
	if first.block {
		m.line(have, depth, first.text+" {")
		if len(have) < len(m.nodes) && len(have) < len(here) {
			m.remark(first, have, "exists on %s only")
		}
		below := map[string][]*tree{}
		for _, n := range have {
			below[n] = at[n].children
		}
		m.level(below, have, depth+1)
		m.line(have, depth, "}")
		return
	}
	groups := map[string][]string{}
	var order []string
	for _, n := range have {
		t := at[n].text
		if groups[t] == nil {
			order = append(order, t)
		}
		groups[t] = append(groups[t], n)
	}
	for _, t := range order {
		m.line(groups[t], depth, t)
	}
	if (len(order) > 1 || len(have) < len(here)) && !slices.Contains(perNode, first.kw) && !strings.HasSuffix(first.path, "unicast_peer") {
		what := "differs between the directors"
		if len(order) == 1 {
			what = "exists on %s only"
		}
		m.remark(first, have, what)
	}
}

func (m *merge) remark(t *tree, have []string, what string) {
	if strings.Contains(what, "%s") {
		what = fmt.Sprintf(what, strings.Join(have, ", "))
	}
	m.warnf(Pos{File: m.name, Line: max(1, m.lines), Column: m.col}, "files-differ", t.kw, "if that is a mistake, write it once, without @", "%s %s", t.kw, what)
}

// line writes a line for some of the directors.
func (m *merge) line(who []string, depth int, text string) {
	indent := strings.Repeat("    ", depth)
	var others []string
	for _, n := range m.nodes {
		if !slices.Contains(who, n) {
			others = append(others, n)
		}
	}
	write := func(condition string) {
		m.b.WriteString(indent + condition + text + "\n")
		m.lines++
		m.col = len(indent) + len(condition) + 1
	}
	switch {
	case len(others) == 0:
		if depth == 0 && strings.HasSuffix(text, "{") && m.b.Len() > 0 {
			m.b.WriteByte('\n')
			m.lines++
		}
		write("")
	case len(others) == 1 && len(who) > 1:
		write("@^" + others[0] + " ")
	default:
		for _, n := range who {
			write("@" + n + " ")
		}
	}
}
