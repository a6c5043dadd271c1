package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := json.Marshal(JSONSchema())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instance(t *testing.T, list []Statement) (text []byte, doc any) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"statements": list})
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = jsonschema.UnmarshalJSON(strings.NewReader(string(text))); err != nil {
		t.Fatal(err)
	}
	return text, doc
}

// Every sample, probe and example goes through JSON and comes back as the same text and the
// same tree; every file without errors is what the schema describes.
func TestThroughJSON(t *testing.T) {
	schema := compileSchema(t)
	opt, po := Options{ConfigID: "d1"}, PrintOptions{ShowSecrets: true}
	back, valid := 0, 0
	for name, text := range corpus(t) {
		src := Files{name: text}
		want, _ := Print(name, src, opt, po)
		list, _ := Statements(name, src, opt, po)
		data, doc := instance(t, list)
		cfg, ds := Parse(name, src, opt)
		got, err := FromJSON(data)
		switch {
		case err != nil && !ds.HasErrors():
			t.Errorf("%s: %v", name, err)
		case err == nil:
			back++
			if got != want {
				t.Errorf("%s: %s", name, firstDifference(want, got))
			}
			again, _ := Parse("p", Files{"p": got}, opt)
			if a, b := places0(dump(cfg)), places0(dump(again)); a != b && !ds.HasErrors() {
				t.Errorf("%s: another tree: %s", name, firstDifference(a, b))
			}
		}
		if !ds.HasErrors() {
			valid++
			if err := schema.Validate(doc); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if back < 50 || valid < 20 {
		t.Errorf("only %d files came back and %d were valid", back, valid)
	}
}

// The schema knows every keyword of the table, allows a good value and refuses what is not one.
func TestSchemaKnowsEveryKeyword(t *testing.T) {
	schema := compileSchema(t)
	rows, refused, ranges := 0, 0, 0
	for _, p := range theSchema.order {
		for _, name := range p.order {
			k := p.keywords[name]
			if strings.HasPrefix(p.path, "(") || !k.statement() || k.isBlock() || k.value == "" {
				continue
			}
			rows++
			good, bad := example(k)
			text, _ := around(p.path, name+" "+good)
			list, _ := Statements("k", Files{"k": text}, Options{}, PrintOptions{ShowSecrets: true})
			if _, doc := instance(t, list); schema.Validate(doc) != nil {
				t.Errorf("%s.%s %s: %v", p.path, name, good, schema.Validate(doc))
			}
			if bad == "" || newSpec(k.value).jsonForm() == nil {
				continue
			}
			text, _ = around(p.path, name+" junk")
			list, _ = Statements("k", Files{"k": text}, Options{}, PrintOptions{})
			if _, doc := instance(t, list); schema.Validate(doc) == nil {
				t.Errorf("%s.%s junk is valid", p.path, name)
			}
			refused++
			switch v, _, _ := strings.Cut(newSpec(k.value).name, "/"); v {
			case "int", "ints", "weight", "secs", "ms":
				text, _ = around(p.path, name+" "+bad)
				list, _ = Statements("k", Files{"k": text}, Options{}, PrintOptions{})
				if _, doc := instance(t, list); schema.Validate(doc) == nil {
					t.Errorf("%s.%s %s is valid: %v", p.path, name, bad, newSpec(k.value).jsonForm())
				}
				ranges++
			}
		}
	}
	if rows < 400 || refused < 100 || ranges < 80 {
		t.Errorf("%d keywords, %d refused, %d of them for their range", rows, refused, ranges)
	}
	list, _ := Statements("k", Files{"k": "global_defs {\n ruoter_id x\n}\n"}, Options{}, PrintOptions{})
	if _, doc := instance(t, list); schema.Validate(doc) == nil {
		t.Error("an unknown keyword is valid")
	}
}

// JSON that is no configuration is refused, and no value can become something else than a value.
func TestFromJSONRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                                  "statements",
		`[{"keyword":""}]`:                    "no keyword",
		`[{"key":"a"}]`:                       "unknown field",
		`[] []`:                               "follows",
		`[{"keyword":"a","values":["b\nc"]}]`: "line break",
		`[{"keyword":"global_defs","text":"a","values":["b"]}]`:                                                              "only one",
		`[{"keyword":"global_defs","block":[{"keyword":"router_id","values":["a\" } x {"]}]}]`:                               "mean something else",
		`[{"keyword":"include","values":["/etc/shadow"]}]`:                                                                   "mean something else",
		`[{"keyword":"a","block":` + strings.Repeat(`[{"keyword":"a","block":`, 40) + `[]` + strings.Repeat(`}]`, 40) + `}]`: "deep",
	} {
		if text, err := FromJSON([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want an error with %q", in, text, err, want)
		}
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"statements":[{"keyword":"global_defs","block":[{"keyword":"router_id","values":["a b"]}]}]}`))
	f.Add([]byte(`[{"keyword":"vrrp_script","values":["x"],"block":[{"keyword":"script","text":"\"a b\""}]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := FromJSON(data)
		if err != nil {
			return
		}
		list, _ := Statements("k", Files{"k": text}, Options{}, PrintOptions{ShowSecrets: true})
		again, _ := instance(t, list)
		if got, err := FromJSON(again); err != nil || got != text {
			t.Fatalf("%q became %q, %v", text, got, err)
		}
	})
}
