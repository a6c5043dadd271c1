package config

import (
	"strings"
	"testing"
)

// Every directive of the table has an example here, with what must come of it: a piece of
// the tree, or of a finding.
func TestEveryDirective(t *testing.T) {
	files := Files{"in/a.conf": "router_id from_a\n", "in/b.conf": "", "in/c.conf": "router_id ${_PWD}\n"}
	long := "global_defs {\nrouter_id x" + strings.Repeat(" ", 1100) + "\n}"
	examples := map[string][2]string{
		"! comment":                    {"global_defs { ! x\nrouter_id a! b\n}", "RouterID a "},
		"# comment":                    {"global_defs { # x {\nrouter_id a# b\n}", "RouterID a "},
		`\# and \!`:                    {"global_defs {\nrouter_id a\\#b\n}", "[escaped-comment]"},
		`"..."`:                        {"global_defs {\nrouter_id \"a # b\"\n}", "RouterID a # b "},
		"'...'":                        {"vrrp_script S { script \"/bin/x 'a b' c\"\n}", `["/bin/x" "a b" "c"]`},
		`\ escapes`:                    {"vrrp_script S { script \"/bin/x \\x41\\101\\tz\"\n}", `["/bin/x" "AA\tz"]`},
		"{":                            {"global_defs\n{router_id a\n}", "RouterID a "},
		"}":                            {"global_defs {\nrouter_id a } vrrp_script S { script /bin/x }", "RouterID a "},
		"BOOL":                         {"global_defs {\nvrrp_lower_prio_no_advert yes\n}", "LowerPrioNoAdvert true"},
		"TIMER":                        {"vrrp_instance I {\npreempt_delay 1.000001\n}", "PreemptDelay 1.000001s"},
		"include":                      {"global_defs {\ninclude in/a.conf\n}", "RouterID from_a "},
		"includer":                     {"global_defs {\nincluder in/a.conf\n}", "RouterID from_a "},
		"includem":                     {"includem in/nosuch.conf", "error: \"in/nosuch.conf\" matches no file"},
		"includew":                     {"includew in/nosuch*", "error: \"in/nosuch*\" matches no file"},
		"includeb":                     {"includeb in/{a,nosuch}.conf", "error: \"in/nosuch.conf\" matches no file"},
		"includea":                     {"includea in/nosuch*", "error: \"in/nosuch*\" matches no file"},
		"@ID":                          {"global_defs {\n@d1 router_id one\n@d2 router_id two\n}", "RouterID one "},
		"@^ID":                         {"global_defs {\n@^d1 router_id one\n@^d2 router_id two\n}", "RouterID two "},
		"$NAME=VALUE":                  {"$A=x\nglobal_defs {\nrouter_id $A\n}", "RouterID x "},
		"$NAME":                        {"$A=x\nglobal_defs {\nrouter_id $B\n}", "$B is not defined"},
		"${NAME}":                      {"$A=x\nglobal_defs {\nrouter_id a${A}b\n}", "RouterID axb "},
		"multiline definition":         {"$A= \\\nrouter_id \\\nx\n\nglobal_defs {\n$A\n}", "router_id needs a name"},
		"${_PWD}":                      {"global_defs {\ninclude in/c.conf\n}", "RouterID in "},
		"${_INSTANCE}":                 {"global_defs {\nrouter_id ${_INSTANCE}\n}", "RouterID d1 "},
		"${_RANDOM [MIN [MAX]]}":       {"global_defs {\nrouter_id ${_RANDOM 7 7}\n}", "RouterID 7 "},
		"${_ENV VAR}":                  {"global_defs {\nrouter_id ${_ENV HOME}\n}", "[no-environment]"},
		"${_HASH}":                     {"global_defs {\nrouter_id \"a${_HASH}b\"\n}", "RouterID a#b "},
		"${_BANG}":                     {"global_defs {\nrouter_id \"a${_BANG}b\"\n}", "RouterID a!b "},
		"~SEQ(VAR,[START,[STEP,]]END)": {"~SEQ(N, 5, 2, 9) vrrp_script s$N { script /bin/x }", "Name s9\n"},
		"~SEQx(...)":                   {"~SEQx(N, 10, 11) vrrp_script s$N { script /bin/x }", "Name sb\n"},
		"~LST(VAR,V1,V2...)":           {"~LST(N, p, q) vrrp_script s$N { script /bin/x }", "Name sq\n"},
		"~LST({A,B},{a1,b1},...)":      {"~LST({N,P}, {p,1}, {q,2}) vrrp_script s$N { script /bin/x$P }", `["/bin/x2"]`},
		"line length":                  {long, "[line-too-long]"},
	}
	n := 0
	theSchema.rows(keywordsTSV, func(f []string) {
		if f[0] != "(parser)" {
			return
		}
		n++
		var name string
		for e := range examples {
			if strings.HasPrefix(f[1], e) && len(e) > len(name) {
				name = e
			}
		}
		if name == "" {
			t.Errorf("no example of %s", f[1])
			return
		}
		files["k"] = examples[name][0] + "\n"
		cfg, ds := Parse("k", files, Options{ConfigID: "d1"})
		if out := dump(cfg) + ds.Text(nil); !strings.Contains(out, examples[name][1]) {
			t.Errorf("%s:\n%s\nno %q in\n%s", f[1], files["k"], examples[name][1], out)
		}
	})
	if n != len(examples) {
		t.Errorf("%d directives, %d examples", n, len(examples))
	}
	// An environment that is there.
	src := struct {
		Files
		env
	}{Files{"k": "global_defs {\nrouter_id ${_ENV WHO}\n}\n"}, env{"WHO": "me"}}
	if cfg, ds := Parse("k", src, Options{}); ds.HasErrors() || cfg.Global.RouterID.V != "me" {
		t.Errorf("%s%s", dump(cfg), ds.Text(nil))
	}
}

type env map[string]string

func (e env) Env(name string) (string, bool) { v, ok := e[name]; return v, ok }
