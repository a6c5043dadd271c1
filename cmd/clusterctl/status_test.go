package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"quorate/api"
	"quorate/cluster"
	"quorate/node"
)

// TestStatusGolden draws statuses of clusters described in text. One line of input each:
//
//	node d1 committed=2 saved=2 vrrp=2 checker=2     d1 answers; more: by=alice (2 h ago), store=, generr=, vrrperr=, silent=vrrp, cert=DURATION, missing=
//	away d3 err=…                                    d3 does not answer
//	learner d3                                       d3 is a learner
//	inst d1 VI_1 MASTER prio=110 since=2h vip=…      more: reason=, detail=, heard=ADDRESS; several vip=
//	svc d1 tcp_10.0.0.100:80 up=10.0.1.1:80 down=10.0.1.2:80   more: detail=
//	quorum no
//
// In values "_" stands for a blank. Nodes live at 10.0.0.N:8470; d1 is asked. "status relative" shows times as on a terminal.
func TestStatusGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/status", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "status" {
				d.Fatalf(t, "unknown command %q", d.Cmd)
			}
			reports, err := parseReports(d.Input)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			var b strings.Builder
			showStatus(&b, api.Merge("d1", reports, testNow), view{relative: d.HasArg("relative"), color: d.HasArg("color")})
			// The order in which members are asked must not matter.
			slices.Reverse(reports)
			var c strings.Builder
			showStatus(&c, api.Merge("d1", reports, testNow), view{relative: d.HasArg("relative"), color: d.HasArg("color")})
			if b.String() != c.String() {
				d.Fatalf(t, "depends on the order:\n%s\n%s", b.String(), c.String())
			}
			lines := strings.Split(b.String(), "\n")
			for i, l := range lines {
				lines[i] = strings.ReplaceAll(strings.TrimRight(l, " "), "\x1b", "ESC")
				if lines[i] == "" && i < len(lines)-1 {
					lines[i] = "." // an empty line would end the expectation
				}
			}
			return strings.Join(lines, "\n")
		})
	})
}

var testNow = time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)

func parseReports(input string) ([]api.NodeReport, error) {
	var reports []api.NodeReport
	index := map[string]int{}
	quorum := true
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		if len(words) < 2 {
			return nil, fmt.Errorf("line %q", line)
		}
		verb, name := words[0], words[1]
		kv := map[string][]string{}
		for _, w := range words[2:] {
			if k, v, ok := strings.Cut(w, "="); ok {
				kv[k] = append(kv[k], strings.ReplaceAll(v, "_", " "))
			}
		}
		one := func(k string) string { return strings.Join(kv[k], " ") }
		num := func(k string) int64 { n, _ := strconv.ParseInt(one(k), 10, 64); return n }
		i, known := index[name]
		if !known && verb != "quorum" {
			id, err := strconv.ParseUint(strings.TrimPrefix(name, "d"), 10, 64)
			if err != nil {
				return nil, err
			}
			i = len(reports)
			index[name] = i
			reports = append(reports, api.NodeReport{Member: cluster.Member{ID: id, Name: name, Address: fmt.Sprintf("10.0.0.%d:8470", id)}})
		}
		switch verb {
		case "quorum":
			quorum = name == "yes"
		case "away":
			reports[i].Err = one("err")
		case "learner":
			reports[i].Member.Learner = true
		case "node":
			reports[i].Status = nodeStatus(reports[i].Member, one, num)
		case "inst":
			since, _ := time.ParseDuration(one("since"))
			in := node.InstanceStatus{Name: words[2], State: words[3], VRID: 51, Priority: int(num("prio")), VIPs: kv["vip"],
				Since: testNow.Add(-since), Reason: one("reason"), Detail: one("detail")}
			in.Master, _ = netip.ParseAddr(one("heard"))
			reports[i].Status.Instances = append(reports[i].Status.Instances, in)
		case "svc":
			sv := node.ServiceStatus{Service: strings.ReplaceAll(words[2], "_", " "), Scheduler: "wrr", Forward: "DR"}
			for _, u := range kv["up"] {
				sv.Servers = append(sv.Servers, node.RealServerStatus{Server: u, Up: true, Weight: 1})
			}
			for _, u := range kv["down"] {
				sv.Servers = append(sv.Servers, node.RealServerStatus{Server: u, Since: testNow.Add(-9 * time.Minute), Detail: one("detail")})
			}
			reports[i].Status.Services = append(reports[i].Status.Services, sv)
		default:
			return nil, fmt.Errorf("line %q", line)
		}
	}
	for i := range reports {
		if st := reports[i].Status; st != nil {
			st.Store = cluster.Status{Self: reports[i].Member, Leader: 2, Term: 14, HasQuorum: quorum}
		}
	}
	return reports, nil
}

func nodeStatus(m cluster.Member, one func(string) string, num func(string) int64) *api.NodeStatus {
	st := &api.NodeStatus{Name: m.Name, Address: m.Address, Cluster: api.ClusterInfo{Name: "edge-fra"}, Time: testNow,
		Generation: api.GenerationStatus{Committed: num("committed"), Saved: num("saved"), Error: one("generr")},
		StoreError: one("store"), CertExpires: testNow.Add(300 * 24 * time.Hour)}
	if by := one("by"); by != "" {
		st.Generation.Author, st.Generation.Time = by, testNow.Add(-2*time.Hour)
	}
	if d, err := time.ParseDuration(one("cert")); err == nil {
		st.CertExpires = testNow.Add(d)
	}
	if m := one("missing"); m != "" {
		st.Missing = []string{m}
	}
	for _, name := range []string{"vrrp", "checker"} {
		w := api.WorkerStatus{Worker: name, PID: 42, Alive: one("silent") != name, Seen: testNow.Add(-time.Second), Applied: num(name)}
		if !w.Alive {
			w.Seen = testNow.Add(-40 * time.Second)
		}
		if e := one(name + "err"); e != "" {
			w.Failed, w.Error = st.Generation.Saved, e
		}
		st.Workers = append(st.Workers, w)
	}
	return st
}
