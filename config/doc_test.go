package config

import (
	stdflag "flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

const keywordsMD = "../docs/keywords.md"

// docs/keywords.md is made from the tables the reader works with, so it cannot say anything
// else than the reader does. go test ./config -run TestKeywordsDocument -rewrite makes it anew.
func TestKeywordsDocument(t *testing.T) {
	want := keywordsDocument()
	if f := stdflag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(keywordsMD, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(keywordsMD)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/keywords.md is not what the tables say: go test ./config -run TestKeywordsDocument -rewrite\n%s", firstDifference(string(got), want))
	}
	// Every keyword path of the table has its line.
	block := ""
	have := map[string]bool{}
	for line := range strings.Lines(want) {
		if h, ok := strings.CutPrefix(line, "## "); ok {
			block = strings.Trim(strings.TrimSpace(h), "`")
		}
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			have[block+" "+cell[:strings.IndexByte(cell, '`')]] = true
		}
	}
	rows := 0
	theSchema.rows(keywordsTSV, func(f []string) {
		if f[0] == "(cli)" {
			return // flags of the daemon
		}
		if f[0] == "(parser)" {
			if !strings.Contains(want, "| `"+f[1]+"` |") {
				t.Errorf("keywords.tsv has the directive %s, the document has not", f[1])
			}
			return
		}
		rows++
		if block := heading(f[0]); !have[block+" "+f[1]] {
			t.Errorf("keywords.tsv has %s %s, the document has not", block, f[1])
		}
	})
	if rows < 600 {
		t.Errorf("only %d rows", rows)
	}
}

func heading(block string) string {
	if block == "" {
		return "top level"
	}
	return block
}

func keywordsDocument() string {
	var b strings.Builder
	b.WriteString("# Keywords of keepalived.conf\n\n" +
		"<!-- Made from config/keywords.tsv, config/values.tsv and config/feature.go:\n" +
		"     go test ./config -run TestKeywordsDocument -rewrite -->\n\n" +
		"Every keyword of keepalived 2.2.7 to 2.4.3 is read and its value is checked. This is what quorate does with it:\n\n" +
		"| status | meaning |\n|---|---|\n" +
		"| carried out | it has the effect it has in keepalived |\n" +
		"| not yet, refused | an error: running the file without it would mislead |\n" +
		"| not yet, reported | a warning says what happens instead |\n" +
		"| no effect here | a warning says why; it will stay that way |\n" +
		"| with its block | what is said about the block holds |\n\n" +
		"Tier 1 and 2 change what a director does, tier 3 is rare or cosmetic. \"2.2.7\" says whether the keepalived of Debian 12 knows\n" +
		"the word. A value is written as kind and bounds: `secs/3` is seconds with at most three decimals, a `?` means that it may be left out.\n\n" +
		"# What is carried out\n\n| feature | status | instead |\n|---|---|---|\n")
	for i := range features {
		f := &features[i]
		if f.name != "yes" {
			instead := cell(f.why)
			if f.done {
				instead = ""
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, f.status(), instead)
		}
	}
	b.WriteString("\n# Keywords by block\n")
	for _, p := range theSchema.order {
		fmt.Fprintf(&b, "\n## `%s`\n\n| keyword | value | default | inherited from | tier | 2.2.7 | status |\n|---|---|---|---|---|---|---|\n", heading(p.path))
		for _, name := range p.order {
			k := p.keywords[name]
			status := "with its block"
			if k.feature != nil {
				if status = k.feature.status(); !k.feature.done {
					status += " (" + k.feature.name + ")"
				}
			}
			in227, tier := k.in227, fmt.Sprint(k.tier)
			if in227 == "" {
				in227, tier = "only here", ""
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", name, cell(k.value), cell(k.def), cell(k.inherits), tier, in227, status)
		}
	}
	b.WriteString("\n# The reader\n\nAll of it is carried out (TestEveryDirective has an example of each).\n\n| directive | form | meaning |\n|---|---|---|\n")
	theSchema.rows(keywordsTSV, func(f []string) {
		if f[0] == "(parser)" {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f[1], cell(f[2]), cell(f[5]))
		}
	})
	b.WriteString("\n# Words that keepalived has dropped, renamed or never had\n\n" +
		"They are found in old files and tutorials. Each is reported with the line to write instead.\n\n" +
		"| word | in | read as | write |\n|---|---|---|---|\n")
	for _, o := range obsoleteWords {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.word, strings.ReplaceAll(o.blocks, " ", ", "), cell(o.as), cell(o.modern))
	}
	return b.String()
}

func (f *feature) status() string {
	switch {
	case f.done:
		return "carried out"
	case f.never:
		return "no effect here"
	case f.level == Error:
		return "not yet, refused"
	}
	return "not yet, reported"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
