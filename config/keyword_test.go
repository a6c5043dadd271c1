package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// around returns a file in which line number at is the statement, inside the blocks of path.
func around(path, statement string) (text string, at int) {
	var open, closing string
	place := ""
	for _, part := range strings.Split(path, ".") {
		if part == "" {
			continue
		}
		open += part + " " + blockName(place, part) + " {\n"
		closing += "}\n"
		place = childPath(place, part)
	}
	return open + statement + "\n" + closing, strings.Count(open, "\n") + 1
}

func blockName(place, kw string) string {
	switch kw {
	case "virtual_server":
		return "10.0.0.1 80"
	case "real_server":
		return "10.0.0.2 80"
	case "global_defs", "SSL", "garp_group", "static_ipaddress", "static_routes", "static_rules", "linkbeat_interfaces", "interface_up_down_delays":
		return ""
	}
	if place == "" {
		return "X"
	}
	return ""
}

// example returns a value that values.tsv allows and no default has, and one that it forbids;
// an empty bad one means that nothing can be wrong.
func example(k *keyword) (good, bad string) {
	v := newSpec(k.value)
	switch name, _, _ := strings.Cut(v.name, "/"); name {
	case "flag", "block":
		return "", ""
	case "bool":
		good := "on"
		return good, "maybe"
	case "int":
		lo, hi := v.bounds()
		return fmt.Sprint(min(lo+1, hi)), fmt.Sprint(hi + 1)
	case "ints":
		return v.param(0), "x"
	case "secs", "ms":
		good, bad := "2", "x"
		_, lo, hi := v.timeBounds()
		if name == "ms" && lo > 2e9 {
			good = "2000"
		}
		if name == "secs" && hi < maxTimer {
			bad = fmt.Sprint(int(hi.Seconds()) + 1)
		}
		return good, bad
	case "one", "onei":
		return v.params[len(v.params)-1], "nosuch"
	case "stack":
		return "1 2", "0 x"
	case "checks":
		return "read", "readable"
	case "words", "word", "text", "domain", "secret":
		return "w1", ""
	case "path":
		return "/tmp/x", ""
	case "initfile":
		return "5 overwrite", ""
	case "cmd":
		return "/bin/true", `"/bin/true 'open"`
	case "regex":
		return `"a.*b"`, `"a(b"`
	case "ip":
		return "10.9.9.9", "1.2.3.999"
	case "mcast", "mcast4":
		return "224.0.0.99", "10.0.0.1"
	case "mcast6":
		return "ff02::99", "224.0.0.18"
	case "ifname":
		return "eth7", "a_much_too_long_name"
	case "host":
		return "10.0.0.9 2525", "10.0.0.9 70000"
	case "user", "fifo":
		return "/tmp/u g", ""
	case "weight":
		return "3 reverse", v.param(1) + "0"
	case "extraif":
		return "all 5", "all x"
	case "timeouts":
		return "tcp 5 udp 6", "tcp x"
	case "syncdaemon":
		return "eth0 inst X id 5", "eth0 inst X id 500"
	case "bufs":
		return "MTU", "x"
	case "umask":
		return "IRUSR|IWUSR", "999"
	case "vmac":
		return "vrrp.9", "vrrp.9 zz:zz:zz:zz:zz"
	case "ipvlan":
		return "ipv9 10.0.0.9/24 bridge", "a_much_too_long_name"
	case "hmackey":
		return "1 hex:00", "300 x"
	case "netmask":
		return "255.255.255.0", "x"
	case "method":
		return "TUN", "BAR"
	case "service":
		return "10.0.0.8 80", "10.0.0.8 x"
	case "md5":
		return strings.Repeat("a1", 16), "abc"
	case "codes":
		return "200-299 404", "99"
	case "hex":
		return "01 ff", "zz"
	case "hexx":
		return "0x", "zz"
	// lists: the entry
	case "addresses":
		return "10.0.0.7/24 dev eth0", "1.2.3.999"
	case "routes":
		return "10.1.0.0/24 via 10.0.0.1 dev eth0", "10.1.0.0/24 via bad"
	case "rules":
		return "from 10.0.0.0/8 table 5 preference 7", "from 10.0.0.0/8"
	case "track":
		return "T weight 5", "T weight " + v.param(1) + "0"
	case "peers":
		return "10.0.0.3 min_ttl 5", "junk"
	case "linkbeat":
		return "eth0 MII", "eth0 FOO"
	case "delays":
		return "eth0 2 3", "eth0"
	case "entries":
		return "10.0.0.1-9 80", "10.0.0.9-1 80"
	}
	panic("no example for " + k.value)
}

// sameTree lists keywords that leave no trace in the tree, and why that is right.
var sameTree = map[string]string{
	"vrrp_instance preempt":        "undoes nopreempt, which is the default",
	"global_defs include_check":    "acts while the file is read",
	"vrrp_instance notify_deleted": "",
	" SSL":                         "an empty block",
	"vrrp_instance authentication": "an empty block",
	" global_defs":                 "an empty block",
}

// Every keyword of keepalived is known in its block; a value that keepalived accepts gets
// to the tree, one that it refuses and one that is missing are reported on their line, and
// what the daemon does not carry out is reported as well. So nothing is dropped in silence.
func TestEveryKeyword(t *testing.T) {
	n := 0
	for _, p := range theSchema.order {
		for _, name := range p.order {
			k := p.keywords[name]
			if !k.statement() || k.value == "" { // TestTables knows the few that are our own
				continue
			}
			n++
			t.Run(strings.TrimSpace(k.block+" "+name), func(t *testing.T) { testKeyword(t, k) })
		}
	}
	if n < 500 {
		t.Errorf("only %d keywords tested", n)
	}
}

func testKeyword(t *testing.T, k *keyword) {
	good, bad := example(k)
	line := func(v string) string {
		if k.kind == "listblock" {
			return k.name + " " + blockName(k.block, k.name) + " { " + v + " }"
		}
		if k.kind == "block" {
			return k.name + " " + blockName(k.block, k.name) + " { }"
		}
		return k.name + " " + v
	}
	before := ""
	if strings.HasPrefix(k.name, "sorry_server_") {
		before = "sorry_server 10.0.0.8 80\n" // needed first
	}
	if k.name == "hysteresis" {
		before = "quorum 5\n"
	}
	if strings.HasPrefix(k.name, "sh-") || strings.HasPrefix(k.name, "mh-") {
		before = "lb_algo " + k.name[:2] + "\n"
	}
	without, _ := around(k.block, before)
	text, at := around(k.block, before+line(good))
	at += strings.Count(before, "\n")
	// What lines refer to must exist.
	const others = "vrrp_script T { script /bin/true }\nvrrp_instance w1 { }\n"
	without, text = without+others, text+others
	a, _ := Parse("k", Files{"k": without}, Options{ConfigID: "d1"})
	b, ds := Parse("k", Files{"k": text}, Options{ConfigID: "d1"})
	refused := []string{"bad-value", "out-of-range", "unknown-keyword", "unexpected-brace", "missing-value", "surplus-words", "unmatched-quote", "bad-byte"}
	told := false
	for _, d := range ds {
		if slices.Contains(refused, d.Code) && d.Line == at {
			t.Errorf("refused: %s in\n%s", d, text)
		}
		told = told || d.Line == at && (d.Code == "no-effect" || d.Code == "no-effect-yet" || d.Code == "not-supported-yet")
	}
	if dump(a) == dump(b) && sameTree[k.block+" "+k.name] == "" {
		t.Errorf("%q does not get to the tree:\n%s", text, dump(b))
	}
	if f := k.feature; f != nil && !f.done && !told && !(f.once && f.name == "mail") {
		t.Errorf("%s is not carried out, but nothing says so:\n%s%s", k.name, text, ds.Text(nil))
	}
	if k.feature == nil && k.rule == nil && !insideFeature(k.block) {
		t.Errorf("%s is not carried out, and no feature says so", k.name)
	}
	expect := func(what, statement string, codes ...string) {
		text, at := around(k.block, before+statement)
		at += strings.Count(before, "\n")
		_, ds := Parse("k", Files{"k": text}, Options{ConfigID: "d1"})
		if !slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Line == at && slices.Contains(codes, d.Code) }) {
			t.Errorf("%s is not reported:\n%s%s", what, text, ds.Text(nil))
		}
	}
	if bad != "" {
		expect("a wrong value", line(bad), "bad-value", "out-of-range", "unmatched-quote", "missing-value", "unknown-option")
	}
	if v := newSpec(k.value); good != "" && !v.optional && v.name != "bool" && !k.isBlock() && v.name != "ipvlan" && v.name != "vmac" && v.name != "initfile" {
		expect("a missing value", k.name, "missing-value")
	}
}

// insideFeature reports whether a block around path is said not to be carried out.
func insideFeature(path string) bool {
	for path != "" {
		parent, kw := "", path
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			parent, kw = path[:i], path[i+1:]
		}
		if k := theSchema.lookup(parent, kw); k != nil && k.feature != nil && k.feature.name != "yes" {
			return true
		}
		path = parent
	}
	return false
}

// The tables fit together: every row has a value and a feature that exists, no row of
// values.tsv names a keyword that is not in keywords.tsv, and the rules have none either.
func TestTables(t *testing.T) {
	have := map[string]bool{}
	theSchema.rows(keywordsTSV, func(f []string) {
		if len(f) != 9 {
			t.Errorf("keywords.tsv: %d columns in %q", len(f), f)
		}
		have[f[0]+" "+f[1]] = true
	})
	names := map[string]bool{"block": true, "@": true}
	for i := range features {
		if names[features[i].name] {
			t.Errorf("two features %s", features[i].name)
		}
		names[features[i].name] = true
		if f := &features[i]; f.name != "yes" && (f.why == "" || f.level == 0) {
			t.Errorf("feature %s has no reason or no level", f.name)
		}
	}
	used := map[string]bool{"readable-script": true, "ipv6": true, "auth-ah": true, "weighted-links": true, "vs-anyport": true, "supplementary-groups": true}
	theSchema.rows(valuesTSV, func(f []string) {
		if len(f) != 5 {
			t.Errorf("values.tsv: %d columns in %q", len(f), f)
			return
		}
		used[f[4]] = true
		if !names[f[4]] {
			t.Errorf("values.tsv: no feature %q", f[4])
		}
		for kw := range strings.SplitSeq(f[1], ",") {
			if !slices.ContainsFunc(aliases(f[0]), func(b string) bool { return have[b+" "+kw] }) {
				t.Errorf("values.tsv: %s %s is not in keywords.tsv", f[0], kw)
			}
		}
	})
	for name := range names {
		if !used[name] {
			t.Errorf("no keyword asks for feature %s", name)
		}
	}
	for _, p := range theSchema.order {
		for _, name := range p.order {
			if k := p.keywords[name]; k.value == "" && have[p.path+" "+name] && !strings.HasPrefix(name, "(positional") {
				t.Errorf("values.tsv has no row for %s %s", p.path, name)
			}
		}
	}
	var own []string
	for _, r := range rules() {
		if !r.maybe && !have[r.block+" "+r.keyword] {
			own = append(own, r.block+" "+r.keyword)
		}
	}
	if want := []string{"global_defs smtp_auth", "virtual_server.real_server lb_kind"}; !slices.Equal(own, want) {
		t.Errorf("rules for words that keepalived does not know: %q", own)
	}
}
