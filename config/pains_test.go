package config

import (
	"slices"
	"strings"
	"testing"
)

// pain is a file that cost somebody an outage or an afternoon, as a bug tracker tells it, and the finding that would have saved him.
// Threads about the same mistake share a row. keepalived's -t was content with nearly all of them.
type pain struct {
	tracker string // owner/repository#number
	what    string
	nodes   string // the directors, separated by blanks; empty: one, called d1
	file    string // as one file for all: what differs has @NAME
	files   Files  // what it includes
	want    string // code
	at      string // a piece of the line that is named
}

// Instances for the rows below; BODY stands for lines of the row.
const (
	pairOf = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n @d1 priority 150\n @d2 priority 100\n @d3 priority 50\nBODY\n virtual_ipaddress {\n 10.0.0.100/24\n }\n}\n"
	script = "vrrp_script chk {\n script \"/usr/bin/killall -0 haproxy\"\n weight N\n}\n"
)

func pair(body string) string { return strings.Replace(pairOf, "BODY", body, 1) }

func weighted(weight, body string) string {
	return strings.Replace(script, "N", weight, 1) + pair(" track_script {\n  chk\n }\n"+body)
}

var pains = []pain{
	// The configuration is not the same everywhere.
	{tracker: "acassen/keepalived#1603", what: "an address was added on the standby first: both own all of them", nodes: "d1 d2",
		file: strings.Replace(pair(""), " 10.0.0.100/24\n", " 10.0.0.100/24\n @d2 10.0.0.101/24\n", 1), want: "nodes-differ", at: "@d2 10.0.0.101/24"},
	{tracker: "acassen/keepalived#1643 openshift/enhancements#230", what: "unicast on the servers that were changed already, multicast on the others", nodes: "d1 d2 d3",
		file: pair(" @d1 unicast_peer {\n @d1 10.0.0.12\n @d1 10.0.0.13\n @d1 }\n"), want: "nodes-differ", at: "@d1 10.0.0.12"},
	{tracker: "openshift/machine-config-operator#1768 openshift/machine-config-operator#2576", what: "a generated list of peers is empty at first: multicast", nodes: "d1 d2",
		file: pair(" unicast_src_ip 10.0.0.11\n unicast_peer {\n }\n"), want: "no-unicast-peer", at: "unicast_peer {"},
	{tracker: "openshift/baremetal-runtimecfg#136", what: "a generated list of peers lacks a director", nodes: "d1 d2 d3",
		file: pair(" @d1 unicast_src_ip 10.0.0.11\n @d2 unicast_src_ip 10.0.0.12\n @d3 unicast_src_ip 10.0.0.13\n unicast_peer {\n  @^d1 10.0.0.11\n  @^d2 10.0.0.12\n  @d2 10.0.0.13\n }\n"), want: "peer-missing", at: "@^d2 10.0.0.12"},
	{tracker: "acassen/keepalived#2651", what: "one file on all hosts, in which each instance calls another host's address its own",
		file: pair(" unicast_src_ip 10.0.0.11\n unicast_peer {\n  10.0.0.12\n }") + strings.NewReplacer("VI_1", "VI_2", "51", "52", ".100", ".101").Replace(pair(" unicast_src_ip 10.0.0.12\n unicast_peer {\n  10.0.0.11\n }")), want: "own-address", at: "  10.0.0.12"},
	{tracker: "acassen/keepalived#1296", what: "a slip in one of ten generated pages",
		file: "include gen/*.conf\n", files: Files{"gen/web.conf": "virtual_server 10.0.0.100 80 {\n lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 10.0.0.300 80 {\n  TCP_CHECK { }\n }\n}\n"}, want: "bad-value", at: "real_server 10.0.0.300"},
	{tracker: "haproxytech/dataplaneapi#332", what: "one server's list of backends was updated, the other's forgotten", nodes: "d1 d2",
		file: pair("") + "virtual_server 10.0.0.100 80 {\n lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 10.0.0.21 80 {\n  TCP_CHECK { }\n }\n @d1 real_server 10.0.0.22 80 {\n @d1  TCP_CHECK { }\n @d1 }\n}\n", want: "nodes-differ", at: "@d1 real_server 10.0.0.22"},
	{tracker: "taylanbakircioglu/haproxy-openmanager#27", what: "a service that one box got by ssh and the other did not", nodes: "d1 d2",
		file: pair("") + "@d1 virtual_server 10.0.0.100 80 {\n@d1 lb_algo rr\n@d1 lb_kind DR\n@d1 protocol TCP\n@d1 real_server 10.0.0.21 80 {\n@d1  TCP_CHECK { }\n@d1 }\n@d1 }\n", want: "nodes-differ", at: "@d1 virtual_server"},
	{tracker: "acassen/keepalived#1436 acassen/keepalived#1707", what: "a bad value that keepalived found when it was reloaded, and died of",
		file: strings.Replace(pair(""), "51", "256", 1), want: "out-of-range", at: "virtual_router_id 256"},
	{tracker: "acassen/keepalived#955", what: "a misspelt keyword: a test that hangs",
		file: pair(" avert_int 1"), want: "unknown-keyword", at: "avert_int"},
	{tracker: "acassen/keepalived#389", what: "an included file that is not there: the test is content",
		file: "include /etc/keepalived/vips.conf\n" + pair(""), want: "include-no-match", at: "include"},
	{tracker: "chef-boneyard/opscode-omnibus#235", what: "unicast in the words of an unmerged patch: keepalived used multicast", nodes: "d1 d2",
		file: pair(" @d1 vrrp_unicast_bind 10.0.0.11\n @d2 vrrp_unicast_bind 10.0.0.12\n @d1 vrrp_unicast_peer 10.0.0.12\n @d2 vrrp_unicast_peer 10.0.0.11\n"), want: "obsolete", at: "@d1 vrrp_unicast_peer"},

	// nopreempt, priorities and what a state is for.
	{tracker: "acassen/keepalived#2379 acassen/keepalived#2446", what: "nopreempt, and a weight where a fault was meant", nodes: "d1 d2",
		file: weighted("50", " nopreempt"), want: "nopreempt-weight", at: "  chk"},
	{tracker: "acassen/keepalived#2483", what: "the same with three directors and a negative weight", nodes: "d1 d2 d3",
		file: weighted("-50", " nopreempt"), want: "nopreempt-weight", at: "  chk"},
	{tracker: "aledbf/kube-keepalived-vip#72", what: "the same out of a template, with state BACKUP", nodes: "d1 d2",
		file: weighted("20", " nopreempt\n state BACKUP"), want: "nopreempt-weight", at: "  chk"},
	{tracker: "openshift/machine-config-operator#2586 openshift/machine-config-operator#2138", what: "two weighted scripts, and then nopreempt against flapping", nodes: "d1 d2 d3",
		file: "vrrp_script chk_ocp {\n script /usr/bin/true\n weight 20\n}\n" + weighted("50", " nopreempt\n track_script {\n  chk_ocp\n }"), want: "nopreempt-weight", at: "  chk_ocp"},
	{tracker: "acassen/keepalived#2599", what: "a weight that is smaller than the distance of the priorities", nodes: "d1 d2",
		file: weighted("2", ""), want: "weight-too-small", at: "  chk"},
	{tracker: "acassen/keepalived#2684", what: "nopreempt, and a link with a weight", nodes: "d1 d2",
		file: pair(" nopreempt\n track_interface {\n  eth1 weight -2\n }"), want: "nopreempt-weight", at: "eth1 weight"},
	{tracker: "acassen/keepalived#2684", what: "no address at all between the braces",
		file: strings.Replace(pair(""), " 10.0.0.100/24\n", "", 1), want: "missing-value", at: "virtual_ipaddress {"},
	{tracker: "acassen/keepalived#1652", what: "the same file on three hosts: the address decides, nopreempt or not", nodes: "d1 d2 d3",
		file: strings.NewReplacer(" @d1 priority 150\n", " priority 100\n", " @d2 priority 100\n", "", " @d3 priority 50\n", "").Replace(pair(" nopreempt")), want: "same-priority", at: "priority 100"},
	{tracker: "acassen/keepalived#346 acassen/keepalived#2257", what: "nopreempt on the backup, where it changes nothing", nodes: "d1 d2",
		file: pair(" @d2 nopreempt"), want: "nopreempt-misplaced", at: "@d2 nopreempt"},
	{tracker: "acassen/keepalived#2257 openshift/images#197", what: "nopreempt beside state MASTER: ignored", nodes: "d1 d2",
		file: pair(" nopreempt\n @d1 state MASTER\n @d2 state BACKUP"), want: "ignored", at: "nopreempt"},
	{tracker: "acassen/keepalived#2168", what: "nopreempt and preempt_delay", nodes: "d1 d2",
		file: pair(" nopreempt\n preempt_delay 300"), want: "ignored", at: "preempt_delay"},
	{tracker: "acassen/keepalived#2114 acassen/keepalived#198", what: "state MASTER taken for a wish", nodes: "d1 d2",
		file: pair(" @d1 state BACKUP\n @d2 state MASTER"), want: "master-not-first", at: "@d2 state MASTER"},
	{tracker: "acassen/keepalived#2108", what: "state master, in small letters",
		file: pair(" state master"), want: "bad-value", at: "state master"},
	{tracker: "acassen/keepalived#942", what: "the owner's priority falls to 1, and the backup may not preempt", nodes: "d1 d2",
		file: weighted("-200", " @d2 nopreempt"), want: "nopreempt-weight", at: "  chk"},
	{tracker: "acassen/keepalived#1205", what: "two instances that belong together, with members that differ", nodes: "d1 d2",
		file: pair("") + strings.NewReplacer("VI_1", "VI_2", "51", "52", ".100", ".101").Replace(pair("")) + "vrrp_sync_group G {\n group {\n  VI_1\n  @d1 VI_2\n }\n}\n", want: "nodes-differ", at: "vrrp_sync_group G"},
	{tracker: "acassen/keepalived#2105", what: "a weight in a sync group, which keepalived drops", nodes: "d1 d2",
		file: weighted("-60", "") + "vrrp_sync_group G {\n group {\n  VI_1\n }\n}\n", want: "group-weight", at: "  chk"},
	{tracker: "openshift-metal3/dev-scripts#593", what: "a VRID that differs", nodes: "d1 d2",
		file: strings.Replace(pair(""), " virtual_router_id 51\n", " @d1 virtual_router_id 51\n @d2 virtual_router_id 52\n", 1), want: "nodes-differ", at: "@d2 virtual_router_id"},
}

func TestPains(t *testing.T) {
	for _, p := range pains {
		t.Run(p.tracker+"/"+p.want, func(t *testing.T) {
			files := Files{"k.conf": p.file}
			for name, text := range p.files {
				files[name] = text
			}
			nodes := strings.Fields(p.nodes)
			if len(nodes) == 0 {
				nodes = []string{"d1"}
			}
			_, ds := Render("k.conf", files, nodes)
			found := slices.ContainsFunc(ds, func(d Diagnostic) bool {
				lines := strings.Split(files[d.File], "\n")
				return d.Code == p.want && d.Line > 0 && d.Line <= len(lines) && strings.Contains(lines[d.Line-1], p.at) && d.Message != "" && d.Hint != ""
			})
			if !found {
				t.Errorf("%s: no %s with a hint on the line with %q:\n%s\n%s", p.what, p.want, p.at, p.file, ds.Text(files))
			}
			// What is repaired says nothing of the kind.
			if slices.ContainsFunc(good(nodes), func(d Diagnostic) bool { return d.Code == p.want }) {
				t.Errorf("%s is also found in a file that is right", p.want)
			}
		})
	}
}

// good are the findings about a file without a mistake.
func good(nodes []string) Diagnostics {
	text := strings.ReplaceAll(weighted("60", " state BACKUP"), " weight 60\n", "")
	_, ds := Render("k.conf", Files{"k.conf": text}, nodes)
	return ds
}

// Reports about a change of a file that is right: what it costs is told before it is made (clusterctl diff, and the plan of a push).
var changes = []struct {
	tracker, what string
	old, now      string
	want          string // in what Diff says; empty: it says nothing
}{
	{tracker: "acassen/keepalived#349 acassen/keepalived#1425 acassen/keepalived#2159", what: "reloading the same file moves nothing",
		old: pair("") + service, now: "# generated again\n" + pair("") + service},
	{tracker: "acassen/keepalived#1854", what: "an address moves from one instance to another",
		old: pair("") + second, now: strings.Replace(pair(""), " 10.0.0.100/24\n", " 10.0.0.99/24\n", 1) + strings.Replace(second, " 10.0.0.101/24\n", " 10.0.0.101/24\n 10.0.0.100/24\n", 1),
		want: "10.0.0.100   (it moves to vrrp_instance VI_2 and may be without owner"},
	{tracker: "acassen/keepalived#2609 acassen/keepalived#2240 aledbf/kube-keepalived-vip#96", what: "a real server comes: the others and the addresses are left alone",
		old: pair("") + service, now: pair("") + strings.Replace(service, " real_server", " real_server 10.0.0.22 80 {\n  TCP_CHECK { }\n }\n real_server", 1),
		want: "real_server 10.0.0.22 80"},
}

const service = "virtual_server 10.0.0.100 80 {\n lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 10.0.0.21 80 {\n  TCP_CHECK { }\n }\n}\n"

var second = strings.NewReplacer("VI_1", "VI_2", "51", "52", ".100", ".101").Replace(pair(""))

func TestPainsOfChange(t *testing.T) {
	for _, p := range changes {
		t.Run(p.tracker, func(t *testing.T) {
			opt := Options{ConfigID: "d1"}
			a, ads := Parse("k.conf", Files{"k.conf": p.old}, opt)
			b, bds := Parse("k.conf", Files{"k.conf": p.now}, opt)
			if ads.HasErrors() || bds.HasErrors() {
				t.Fatalf("%s%s", ads.Text(nil), bds.Text(nil))
			}
			var said []string
			for _, c := range Diff(a, b) {
				said = append(said, c.String())
			}
			all := strings.Join(said, "\n")
			if p.want == "" && all != "" || !strings.Contains(all, p.want) {
				t.Errorf("%s: want %q, diff says\n%s", p.what, p.want, all)
			}
			if p.want == "real_server 10.0.0.22 80" && len(said) != 1 {
				t.Errorf("%s: something else changes as well:\n%s", p.what, all)
			}
		})
	}
}
