package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The best level that works is taken, and what a user asked for is taken or refused, never replaced.
func TestChoose(t *testing.T) {
	yes := func() error { return nil }
	noIPVS := func() error { return errors.New("no ip_vs") }
	noUML := func() error { return errors.New("no linux.uml") }
	for _, c := range []struct {
		want        Level
		ipvs, guest func() error
		level       Level
		text        string // in the reason or the error
	}{
		{Auto, yes, yes, Netns, "this kernel has IPVS"},
		{Auto, noIPVS, yes, UML, "not netns: no ip_vs"},
		{Auto, noIPVS, noUML, VIP, "not netns: no ip_vs; not uml: no linux.uml"},
		{Netns, noIPVS, yes, "", "level netns: no ip_vs"},
		{UML, yes, noUML, "", "level uml: no linux.uml"},
		{UML, yes, yes, UML, "asked for"},
		{VIP, yes, yes, VIP, "asked for"},
	} {
		level, why, err := choose(c.want, c.ipvs, c.guest)
		if level != c.level || (err != nil) != (c.level == "") || !strings.Contains(fmt.Sprint(why, err), c.text) {
			t.Errorf("%s: %q %q %v, want %q and %q", c.want, level, why, err, c.level, c.text)
		}
	}
}

// get makes finished requests: the instants in milliseconds, an empty server is a loss.
func get(sent, done int, server string) request {
	r := request{sent: time.Duration(sent) * time.Millisecond, done: time.Duration(done) * time.Millisecond, server: server}
	if server == "" {
		r.err = errors.New("timed out")
	}
	return r
}

func TestMeasured(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		requests []request
		want     measure
	}{
		"none": {nil, measure{FirstLost: -1, LastLost: -1, FirstGood: -1}},
		"all good, in any order": {
			[]request{get(40, 45, "rs1"), get(0, 5, "rs2"), get(20, 25, "rs1")},
			measure{Sent: 3, FirstLost: -1, LastLost: -1, FirstGood: -1, Gap: 20 * ms, GapFrom: 5 * ms, Served: []served{{"rs1", 2}, {"rs2", 1}}},
		},
		"an outage: a request sent in it may be answered late, by a retransmission": {
			[]request{get(0, 5, "rs1"), get(20, 1020, ""), get(40, 1040, ""), get(60, 990, "rs2"), get(80, 85, "rs1"), get(100, 106, "rs1")},
			measure{Sent: 6, Lost: 2, FirstLost: 20 * ms, LastLost: 40 * ms, FirstGood: 85 * ms,
				Gap: 884 * ms, GapFrom: 106 * ms, Served: []served{{"rs1", 3}, {"rs2", 1}}},
		},
		"never good again": {
			[]request{get(0, 5, "rs1"), get(20, 1020, "")},
			measure{Sent: 2, Lost: 1, FirstLost: 20 * ms, LastLost: 20 * ms, FirstGood: -1, Served: []served{{"rs1", 1}}},
		},
	} {
		got := measured(c.requests)
		got.LastError = nil
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The report says what happened in order, and is an error unless the client was served again by another director.
func TestReport(t *testing.T) {
	good := func() *report {
		began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		return &report{
			level: UML, why: "not netns: no ip_vs", fault: Kill, began: began, hit: 10 * time.Second, from: "d1", to: "d2",
			believed: "d2", verdict: "DEGRADED", recovered: true, pcap: "/k/lan.pcapng", logs: "/k",
			measure: measured([]request{get(9000, 9005, "rs1"), get(10100, 11100, ""), get(13700, 13705, "rs2")}),
			moves:   []move{{4 * time.Second, "d1", true}, {13600 * time.Millisecond, "d2", true}},
			entries: []entry{{Time: began.Add(13590 * time.Millisecond), Node: "d2", Instance: "VI_1", From: "BACKUP", To: "MASTER", Reason: "master_down", Detail: "no advert"}},
		}
	}
	var out bytes.Buffer
	if err := good().write(&out); err != nil {
		t.Fatal(err)
	}
	const want = `
level      uml (not netns: no ip_vs)
time line  seconds from the fault
     -6.00  d1: kernel has 192.168.2.240
     +0.00  d1: kill -9
     +0.10  client: first lost request sent (timed out)
     +0.10  client: last lost request sent
     +3.59  d2: VI_1 BACKUP -> MASTER, master_down: no advert
     +3.60  d2: kernel has 192.168.2.240
     +3.71  client: first good answer after that
owner      d1 -> d2   (status on d2: d2, DEGRADED)
requests   3 sent, 1 lost
gap        4.70 s without an answer, the longest, from -0.99 s
served by  rs1 1 rs2 1
capture    /k/lan.pcapng   (tshark -r FILE -Y 'vrrp || arp')
logs       /k
result     ok: the client was served again
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	for text, spoil := range map[string]func(*report){
		"still loses requests": func(r *report) { r.recovered = false },
		"is still the owner":   func(r *report) { r.to = "d1" },
		"its status says d1":   func(r *report) { r.believed = "d1" },
		"no request was served": func(r *report) {
			r.measure = measured(nil)
		},
	} {
		r := good()
		spoil(r)
		if err := r.write(io.Discard); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
}

// Options that cannot work are refused before anything is opened.
func TestOptions(t *testing.T) {
	files := fstest.MapFS{exampleLVS: {}, exampleVIP: {}}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Level: "moon"}, `level "moon": want auto, netns, uml or vip`},
		{Options{Fault: "flood"}, `fault "flood": want kill or cable`},
		{Options{BinDir: t.TempDir(), Examples: files}, "remedy: make build"},
	} {
		if err := Run(context.Background(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}
