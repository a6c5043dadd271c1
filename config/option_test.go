package config

import (
	"slices"
	"strings"
	"testing"
)

// lineOf has, for each kind of line with options, a file with such a line; %s is the option.
// IPv6 addresses take some of the options only, labels and broadcast addresses IPv4 ones.
var lineOf = map[string]string{
	"(address line)":              "static_ipaddress {\n10.0.0.1/24 %s\n}\ntrack_group 5 { group { w } }\n",
	"(route line)":                "static_routes {\n10.1.0.0/16 %s\n}\ntrack_group 5 { group { w } }\n",
	"(rule line)":                 "static_rules {\nfrom 10.0.0.0/8 preference 7 %s\n}\ntrack_group 5 { group { w } }\n",
	"(track line)":                "vrrp_script T { script /bin/true }\nvrrp_instance X { track_script {\nT %s\n} }\n",
	"(lvs_method)":                "virtual_server 10.0.0.1 80 {\nlvs_method TUN %s\n}\n",
	"global_defs.lvs_timeouts":    "global_defs {\nlvs_timeouts %s\n}\n",
	"global_defs.lvs_sync_daemon": "global_defs {\nlvs_sync_daemon eth0 %s\n}\n",
	"vrrp_instance.use_vmac":      "vrrp_instance X {\nuse_vmac %s\n}\n",
	"vrrp_instance.unicast_peer":  "vrrp_instance X { unicast_peer {\n10.0.0.9 %s\n} }\n",
	"virtual_server_group":        "virtual_server_group G {\n%s\n}\n",
	"(virtual_server name)":       "virtual_server %s { }\n",
}

// optionExample returns what to write for an option, whole, and a wrong form of it.
func optionExample(k *keyword) (good, bad string) {
	with := func(good, bad string) (string, string) {
		if bad != "" {
			bad = k.name + " " + bad
		}
		return k.name + " " + good, bad
	}
	v := newSpec(k.value)
	switch k.block + " " + k.name {
	case "(address line) ADDRESS[/PREFIX]":
		return "dev eth0", "" // the line itself
	case "(route line) DEST":
		return "dev eth0", ""
	case "(track line) NAME":
		return "weight 3", ""
	case "(track line) reverse", "(track line) noreverse":
		return "weight 3 " + k.name, "weight 3 backwards"
	case "(route line) as":
		return "", "as to 10.0.0.1" // refused whatever it says
	case "(route line) gw", "(route line) or":
		return "gw 10.0.0.1 or 10.0.0.2", k.name + " nowhere"
	case "(lvs_method) port":
		return "type gue port 6080", "type gue port 70000"
	case "(lvs_method) nocsum", "(lvs_method) csum", "(lvs_method) remcsum":
		return "type gue port 6080 " + k.name, "type ipip " + k.name
	case "(lvs_method) type":
		return "type gre", "type foo"
	case "vrrp_instance.use_vmac (MAC)":
		return "02:00:5e:00:01", "xx:00:5e:00:01"
	case "vrrp_instance.use_vmac group":
		return "vrrp.5 group 7", "vrrp.5 group"
	case "virtual_server_group (address)", "(virtual_server name) IP PORT":
		return "10.0.0.1 80", "10.0.0.1 70000"
	case "virtual_server_group (range)":
		return "10.0.0.1-9 80", "10.0.0.9-1 80"
	case "virtual_server_group fwmark", "(virtual_server name) fwmark":
		return "fwmark 7", "fwmark x"
	case "(virtual_server name) group":
		return "group G", "group"
	case "(track line) weight":
		return "weight 3", "weight 255"
	case "(route line) (type)":
		return "", "blackhol"
	case "(rule line) (type)":
		return "blackhole", "blackhol"
	case "(rule line) type":
		return "type prohibit", "type nothing"
	case "(route line) encap":
		return "encap ip id 5 dst 10.0.0.9 ttl 7", "encap ip dst 2001:db8::1"
	case "(route line) from":
		return "from 2001:db8:1::/64", "from nowhere"
	case "(rule line) goto":
		return "goto 50", "goto 5"
	case "(rule line) priority", "(rule line) preference", "(rule line) order":
		return k.name + " 99", k.name + " x"
	case "(rule line) table", "(rule line) lookup":
		return k.name + " 99", k.name + " 0"
	case "(rule line) from":
		return "from 10.3.0.0/16", "from 10.3.0.0/99"
	case "global_defs.lvs_sync_daemon (positional VI, ID)":
		return "X 5", "X 500"
	}
	switch v.name {
	case "flag":
		return k.name, ""
	case "dest":
		return with("10.2.0.0/16", "10.2.0.0/99")
	case "ip", "via":
		return with("10.0.0.1", "nowhere")
	case "prefix":
		return with("10.0.0.2/32", "2001:db8::1")
	case "brd":
		return with("+", "10.0.0.300")
	case "scope":
		return with("link", "foo")
	case "label":
		return with("eth0:1", "a_much_too_long_label")
	case "lifetime":
		return with("forever", "x")
	case "nexthop":
		return with("via 10.0.0.1 weight 2", "")
	case "lockint":
		return with("lock 1400", "lock x")
	case "locktime":
		return with("lock 20ms", "soon")
	case "mark":
		return with("0x10/0xff", "0xzz")
	case "ports", "range":
		return with("80-90", "90-80")
	case "int":
		return with(v.param(1), "x")
	case "word":
		return with("5", "")
	case "ifname":
		return with("eth1", "a_much_too_long_name")
	case "one":
		return with(v.params[0], "nosuch")
	case "mcast":
		return with("224.0.0.81", "10.0.0.1")
	}
	panic("no example for " + k.block + " " + k.name + ": " + k.value)
}

// Every option of a line with options gets to the tree; a wrong form of it is reported there.
func TestEveryOption(t *testing.T) {
	n := 0
	for _, p := range theSchema.order {
		for _, name := range p.order {
			k := p.keywords[name]
			if k.statement() {
				continue
			}
			n++
			t.Run(strings.ReplaceAll(p.path+" "+name, "/", "_"), func(t *testing.T) {
				template, ok := lineOf[p.path]
				if !ok {
					t.Fatalf("no line with options %s", p.path)
				}
				good, bad := optionExample(k)
				if actions := []string{"table", "lookup", "nop", "goto", "l3mdev", "type", "(type)"}; p.path == "(rule line)" && !slices.Contains(actions, name) {
					good += " table 5"
				}
				if six := []string{"from", "expires", "pref", "inet6"}; p.path == "(route line)" && slices.Contains(six, name) {
					template = strings.Replace(template, "10.1.0.0/16", "2001:db8::/64", 1)
				}
				if p.path == "(rule line)" && name == "inet6" {
					template = strings.Replace(template, "10.0.0.0/8", "2001:db8::/64", 1)
				}
				parse := func(option string) (*Config, Diagnostics) {
					return Parse("k", Files{"k": strings.Replace(template, "%s", option, 1)}, Options{ConfigID: "d1"})
				}
				refused := []string{"unknown-option", "bad-value", "out-of-range", "missing-value", "unknown-keyword"}
				hit := func(ds Diagnostics) bool {
					return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error && slices.Contains(refused, d.Code) })
				}
				if good != "" {
					without, _ := parse("")
					cfg, ds := parse(good)
					if hit(ds) {
						t.Errorf("%s is refused:\n%s", good, ds.Text(nil))
					}
					if dump(cfg) == dump(without) {
						t.Errorf("%s does not get to the tree:\n%s", good, dump(cfg))
					}
				}
				if bad != "" {
					if _, ds := parse(bad); !hit(ds) {
						t.Errorf("%s is not refused:\n%s", bad, ds.Text(nil))
					}
				}
			})
		}
	}
	if n < 100 {
		t.Errorf("only %d options tested", n)
	}
}
