package config

import (
	"slices"
	"strings"
)

// JSONSchema describes what Statements gives, in JSON Schema 2020-12. It is made from the
// tables the reader works with: a definition for every block, in it an alternative for every
// keyword with its meaning, default and range, and with the form of its first value where one
// expression can say it. Values are the words of the file, so the range of a number is an
// expression as well (numberrange.go).
func JSONSchema() map[string]any {
	type object = map[string]any
	defs := object{}
	for _, p := range theSchema.order {
		if strings.HasPrefix(p.path, "(") {
			continue // words of lines, which are values here
		}
		var any []object
		seen := map[string]bool{}
		add := func(name string, k *keyword) {
			if seen[name] {
				return
			}
			seen[name] = true
			any = append(any, k.jsonSchema(name))
		}
		for _, name := range p.order {
			if k := p.keywords[name]; k.statement() {
				add(name, k)
			}
		}
		for i := range obsoleteWords {
			if o := &obsoleteWords[i]; isField(o.blocks, p.path) {
				any = append(any, object{"properties": object{"keyword": object{"const": o.word}}, "deprecated": true, "description": o.word + " " + o.why})
			}
		}
		items := object{"$ref": "#/$defs/statement"}
		if len(any) > 0 {
			items["anyOf"] = any
		}
		defs[blockDef(p.path)] = object{"type": "array", "items": items}
	}
	defs["entries"] = object{"type": "array", "items": object{"$ref": "#/$defs/statement"}, "description": "one statement per line; its first word is the keyword"}
	defs["statement"] = object{
		"type": "object", "required": []string{"keyword"}, "additionalProperties": false,
		"properties": object{
			"keyword": object{"type": "string", "minLength": 1},
			"values":  object{"type": "array", "items": object{"type": "string"}},
			"text":    object{"type": "string"},
			"block":   object{"type": "array"},
		},
	}
	return object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "keepalived.conf as clusterctl render -o json prints it",
		"type":    "object", "required": []string{"statements"},
		"properties": object{"statements": object{"$ref": "#/$defs/" + blockDef("")}},
		"$defs":      defs,
	}
}

func blockDef(path string) string {
	if path == "" {
		return "file"
	}
	return "block " + path
}

func (k *keyword) jsonSchema(name string) map[string]any {
	type object = map[string]any
	props := object{"keyword": object{"const": name}}
	out := object{"properties": props}
	what := k.meaning
	for _, part := range [][2]string{{"arguments", k.args}, {"default", k.def}, {"range", k.rng}} {
		if part[1] != "" && part[1] != "-" {
			what += "; " + part[0] + ": " + part[1]
		}
	}
	if what != "" {
		out["description"] = what
	}
	if k.in227 == "deprecated" {
		out["deprecated"] = true
	}
	if k.isBlock() {
		props["block"] = object{"$ref": "#/$defs/entries"}
		if len(k.sub.order) > 0 {
			props["block"] = object{"$ref": "#/$defs/" + blockDef(k.sub.path)}
		}
		return out
	}
	if k.kind == "kwq" {
		props["values"] = object{"maxItems": 0}
		return out
	}
	props["block"] = false
	if form := newSpec(k.value).jsonForm(); form != nil {
		values := object{"prefixItems": []object{form}}
		props["values"] = values
		if v := newSpec(k.value); !v.optional && v.name != "bool" {
			values["minItems"] = 1
			out["required"] = []string{"values"}
		}
	}
	return out
}

// jsonForm is what the first word must look like; nil: anything.
func (v spec) jsonForm() map[string]any {
	type object = map[string]any
	switch name, _, _ := strings.Cut(v.name, "/"); name {
	case "bool":
		return object{"enum": []string{"on", "true", "yes", "off", "false", "no"}}
	case "one":
		return object{"enum": slices.Clone(v.params)}
	case "int", "ints", "weight":
		return object{"pattern": "^" + wholeNumbers(v.bounds()) + "$"}
	case "secs", "ms":
		return object{"pattern": "^" + decimals(v.param(0), v.param(1)) + "$"}
	case "ip", "mcast", "mcast4", "mcast6":
		return object{"pattern": "^[0-9A-Fa-f:.]+(%.+)?$"}
	case "md5":
		return object{"pattern": "^[0-9A-Fa-f]{32}$"}
	}
	return nil
}
