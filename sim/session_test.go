package sim

import (
	"errors"
	"io"
	"strings"
	"testing"
)

const oneVIP = `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    @d1 priority 150
    @d2 priority 100
    virtual_ipaddress {
        10.0.0.100
    }
}`

// prepared runs verbs that must succeed; a verb conf gets oneVIP.
func prepared(t testing.TB, verbs ...string) *Session {
	t.Helper()
	s, _ := newSession()
	for _, v := range verbs {
		input := ""
		if strings.HasPrefix(v, "conf") {
			input = oneVIP
		}
		if _, err := s.Exec(v, input); err != nil {
			t.Fatalf("%s: %v", v, err)
		}
	}
	return s
}

// What a reader mistypes must be answered with what was expected.
func TestMistakesAreExplained(t *testing.T) {
	tests := []struct{ line, input, want string }{
		{"crahs d1", "", `unknown verb "crahs": did you mean crash?`},
		{"crash", "", "crash: expected at least one host name\nusage: crash HOST…"},
		{"crash d9", "", `no host "d9": expected one of d1 d2 c1`},
		{"crash d1 now=yes", "", "unexpected now=yes: expected host names"},
		{"run", "", "run: expected how long"},
		{"run 5", "", `"5" is no duration: expected a number with a unit`},
		{"run 1s", "crash d1", `takes no input lines, but "crash d1" follows: is a line "----" missing?`},
		{"world nodes=(d1)", "", "there is a world already"},
		{"conf d1", "vrrp_instance X {\n  interfase eth0\n}", `line 2 of it, column 3: interfase`},
		{"conf d1", "", "no vrrp_instance for d1"},
		{"conf c1", oneVIP, "c1 is a client: expected nodes"},
		{"stop c1", "", "c1 is a client and runs no daemon"},
		{"start d1", "", "d1 runs already"},
		{"resume d1", "", "d1 is not paused"},
		{"pause d1 soon", "", `"soon" is no duration`},
		{"nic d1 off", "", "expected up, down, deaf or mute"},
		{"nic d1 down eth7", "", `d1 has no interface "eth7"`},
		{"cut d1", "", "expected a direction such as d1>d2"},
		{"cut d1>d9", "", `no host "d9"`},
		{"cut d1>d2 hard", "", "unexpected argument hard"},
		{"loss d1>d2 0.1", "", `"0.1" is no probability: expected n/d`},
		{"loss d1>d2", "", "expected a probability as the last word"},
		{"delay d1>d2 5ms..1ms", "", `"5ms..1ms" is no delay`},
		{"rum 5s", "", `unknown verb "rum": did you mean run?`},
		{"xyzzy", "", `unknown verb "xyzzy": expected one of world conf`},
		{"rate d1>d2 fast", "", `"fast" is no rate: expected a whole number with kbit, mbit or gbit`},
		{"rate d1>d2 1mbit queue=x", "", `queue "x" is no duration`},
		{"rate 1mbit", "", "expected a direction such as d1>d2"},
		{"mtu d1>d2 20", "", `"20" is no MTU: expected a number of octets from 68 to 65535, or off`},
		{"mtu d1>d2", "", "expected a number of octets"},
		{"igmp", "", "expected on or off"},
		{"igmp on age=1ms", "", "age=1ms: at least 1s"},
		{"igmp off age=1s", "", "unexpected argument age"},
		{"cam", "", "expected flush, size= or age="},
		{"cam size=many", "", `size "many": expected a number`},
		{"split {d1}/{d2}", "", "c1 is on no side: every host must be named"},
		{"split {d1 c1}/{d1 d2}", "", "d1 is on two sides"},
		{"split {d1 d2 c1}", "", "expected at least two sides"},
		{"split {d1 d2", "", "bracket not closed"},
		{"split d1}/{d2}", "", "closing bracket without an opening one"},
		{"clock d1 fast", "", `drift "fast": expected parts per million`},
		{"script d1 chk exit=1", "", `d1 has no vrrp_script "chk"`},
		{"load d1 10.0.0.100", "", "d1 is a director: expected a client"},
		{"load c1 vip", "", `"vip" is no IP address`},
		{"load c1 10.0.0.100 every=1us", "", "every 1µs: at least 1ms"},
		{"expect", "", "expected one of owner= owners="},
		{"expect owner=d7", "", `no host "d7"`},
		{"expect owner=d1 within=x", "", `within "x" is no duration`},
		{"expect owner=d1 vip=10.0.0.9", "", "no configuration has the VIP 10.0.0.9: expected one of [10.0.0.100]"},
		{"expect owner=d1 colour=red", "", "unexpected argument colour=red"},
		{"expect owner=d1 outage<=1s", "", "unexpected argument outage<=1s"},
		{"expect owner=d1 within", "", "unexpected argument within"},
		{"expect client=c1 outage<=1s", "", "c1 asks 0 VIPs"},
		{"expect rejected=auth", "", "rejected= needs node="},
		{"show everything", "", `cannot show "everything"`},
		{"show", "", "expected what to show\nusage: show owners|arp|state|switch|counters"},
		{"check broken", "", "unexpected argument broken"},
		{"", "", "empty directive"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			s := prepared(t, "world nodes=(d1,d2) client=c1", "conf d1 d2")
			out, err := s.Exec(tt.line, tt.input)
			switch {
			case err == nil:
				t.Errorf("accepted, printed %q", out)
			case errors.Is(err, ErrExpect):
				t.Errorf("counts as a failed expectation: %v", err)
			case !strings.Contains(err.Error(), tt.want):
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestWorldMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"run 1s":                              "there is no world yet: start with world nodes=",
		"world":                               "a world needs at least one node",
		"world nodes=(d1,d1)":                 "two hosts have the same name",
		"world nodes=(d1) client=d1":          "two hosts have the same name",
		"world nodes=(d1) lans=9":             `lans "9": expected a number from 0 to 8`,
		"world nodes=(d1) net=10.0.0.0/8":     "expected an IPv4 /24",
		"world nodes=(d1) net=here":           `net "here": expected a /24`,
		"world nodes=(d1) delay=fast":         `"fast" is no delay`,
		"world nodes=(d1) seed=-1":            `seed "-1": expected a number`,
		"world nodes=(d1) weather=bad":        "unexpected argument weather=bad",
		"world nodes=(d1) client=c1 clock=10": "unexpected argument clock=10",
	} {
		s, _ := newSession()
		if _, err := s.Exec(line, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}

// An expectation that does not hold must fail and say what is the case instead.
func TestExpectationsFail(t *testing.T) {
	tests := []struct {
		verbs      []string
		line, want string
	}{
		{[]string{"run 5s"}, "expect owner=d2", "10.0.0.100 is owned by d1 now, not owner=d2"},
		{[]string{"run 5s"}, "expect owners=0", "is owned by d1 now"},
		{[]string{"run 5s"}, "expect owner=d1 within=3s", "since +3.414, 3.414s after the last fault: later than within=3s"},
		{[]string{"run 1s"}, "expect owners=1", "is owned by nobody now"},
		{[]string{"run 5s", "load c1 10.0.0.100", "run 1s", "crash d1", "run 5s"}, "expect client=c1 outage<=1s", "without an answer from 10.0.0.100"},
		{[]string{"run 5s", "load c1 10.0.0.100", "run 1s", "crash d1", "run 1s"}, "expect client=c1 outage<=500ms", "c1 was 1.019s without an answer"},
		{[]string{"run 5s", "load c1 10.0.0.100", "run 1s", "crash d1", "run 1s"}, "expect client=c1 served=d1", `last answer from "d1" 1.019s ago`},
		{[]string{"run 5s", "load c1 10.0.0.100", "run 1s"}, "expect client=c1 served=d2", `last answer from "d1"`},
		{[]string{"run 5s"}, "expect event=vrrp.master node=d2", "0 events vrrp.master since the last fault, not count>=1"},
		{[]string{"run 5s"}, "expect event=vrrp.master count=0", "1 events vrrp.master"},
		{[]string{"run 5s"}, "expect event=vrrp.master reason=preempt", "0 events"},
		{[]string{"run 5s"}, "expect event=vrrp.master within=1s", "the first vrrp.master came 3.414s after"},
		{[]string{"run 5s"}, "expect rejected=auth node=d1", "d1 has rejected 0 adverts for auth, not count>=1"},
		{[]string{"run 5s"}, "expect adverts=d2 gap<=1s", "d2 sends no adverts"},
		{[]string{"run 10s"}, "expect adverts=d1 gap<=900ms", "d1 paused 1.000s between adverts of VRID 51"},
		{[]string{"run 5s", "pause d1", "run 3s"}, "expect adverts=d1 gap<=1s", "d1 paused 3.585s between adverts"},
		{[]string{"run 5s", "kill d1", "run 10s"}, "check", "S1 exclusive: VIOLATED"},
		{[]string{"run 5s"}, "check violated", "S1 exclusive: ok"},
		{[]string{"run 1s"}, "check", "VIOLATED: nobody owns it though directors are within reach"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(append(tt.verbs, tt.line), "; "), func(t *testing.T) {
			s := prepared(t, append([]string{"world nodes=(d1,d2) client=c1", "conf d1 d2"}, tt.verbs...)...)
			out, err := s.Exec(tt.line, "")
			if !errors.Is(err, ErrExpect) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("printed %q, error %v\nwant %s", out, err, tt.want)
			}
		})
	}
}

func TestPcapNeedsAPlace(t *testing.T) {
	s := prepared(t, "world nodes=(d1)")
	s.Create = nil
	if _, err := s.Exec("pcap x.pcapng", ""); err == nil || !strings.Contains(err.Error(), "no place to write") {
		t.Errorf("no Create: %v", err)
	}
	full := errors.New("no space left on device")
	s.Create = func(string) (io.Writer, error) { return failingWriter{full}, nil }
	if _, err := s.Exec("pcap x.pcapng", ""); !errors.Is(err, full) {
		t.Errorf("full disk: %v", err)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

func TestParseScenario(t *testing.T) {
	sc, err := ParseScenario("x.txt", "# Proves something.\n# Really.\n\nworld nodes=(d1) \\\n   seed=1\n----\nok\n\n# aside\nconf d1\na {\n}\n\nb\n----\n----\none\n\ntwo\n----\n----\n\nrun 1s\n----\n")
	if err != nil {
		t.Fatal(err)
	}
	if sc.Comment != "Proves something.\nReally.\n" || len(sc.Directives) != 3 {
		t.Fatalf("%+v", sc)
	}
	want := []Directive{
		{Line: 4, Text: "world nodes=(d1)  seed=1", Expected: "ok\n"},
		{Line: 10, Text: "conf d1", Input: "a {\n}\n\nb", Expected: "one\n\ntwo\n"},
		{Line: 23, Text: "run 1s"},
	}
	for i, d := range sc.Directives {
		d.raw, d.inputAt = "", 0
		if d != want[i] {
			t.Errorf("directive %d\n got %+v\nwant %+v", i, d, want[i])
		}
	}
	for text, want := range map[string]string{
		"":                             "x.txt: no directives",
		"# only a comment":             "x.txt: no directives",
		"----\nok":                     `x.txt:1: "----" without a verb before it`,
		"\nworld nodes=(d1)\nrun 1s":   `x.txt:2: "world nodes=(d1)" is not followed by a line "----"`,
		"run 1s\n----\n----\nno end":   `x.txt:3: output opened by two lines "----" is not closed by two`,
		"run 1s\n----\nok\n\nrun 2s\n": `x.txt:5: "run 2s" is not followed`,
	} {
		if _, err := ParseScenario("x.txt", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// An error names the file, the line and the column, and points at the place.
func TestMistakesHaveAPlace(t *testing.T) {
	const world = "world nodes=(d1) client=c1\n----\n\n"
	for text, want := range map[string]string{
		world + "crash d2\n----\n":                                        "x.txt:4:7: crash: no host \"d2\": expected one of d1 c1\n    crash d2\n          ^\nusage: crash HOST…",
		world + "crahs d1\n----\n":                                        "x.txt:4:1: unknown verb",
		world + "run \\\n  5\n----\n":                                     "x.txt:5:3: run: time \"5\" is no duration: expected a number with a unit, as 20ms, 1.5s or 2m\n      5\n      ^",
		world + "pause d1 soon\n----\n":                                   "x.txt:4:7: pause: no daemon runs on d1",
		world + "cut d1>c1 hard=1\n----\n":                                "x.txt:4:11: cut: unexpected argument hard=1\n    cut d1>c1 hard=1\n              ^",
		world + "run\n----\n":                                             "x.txt:4:1: run: expected how long",
		world + "conf d1\nvrrp_instance X {\n  interfase eth0\n}\n----\n": "interfase",
	} {
		sc, err := ParseScenario("x.txt", text)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := newSession()
		_, err = sc.Play(s, nil)
		var m *Mistake
		if !errors.As(err, &m) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// A mistake in a configuration is at its line of the scenario.
func TestMistakeInConf(t *testing.T) {
	sc, err := ParseScenario("x.txt", "world nodes=(d1)\n----\n\nconf d1\n\n"+strings.Replace(oneVIP, "interface eth0", "interface eth0\n    garp_master_dilay 3", 1)+"\n----\n")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := newSession()
	_, err = sc.Play(s, nil)
	var m *Mistake
	if !errors.As(err, &m) || m.Line != 8 || m.Column != 5 || !strings.Contains(m.Source, "garp_master_dilay") {
		t.Errorf("got %v", err)
	}
}

func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"world nodes=(d1,d2) client=c1\n----\n\nconf d1 d2\n" + oneVIP + "\n----\n\nrun 5s\n----\n\ncrash d1\n----\n\nrun 4s\n----\n\ncheck\n----\n",
		"world nodes=(a,b) lans=2 shuffle\n----\n\nsplit {a}/{b}\n----\n\nloss *>* 1/2\n----\n\nnic a down eth1\n----\n",
		"world nodes=d1 net=1.2.3.0/24\n----\n----\nx\n----\n----\n",
		"world nodes=(x=(y),z)\n----\n\nexpect owner<=\n----\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sc, err := ParseScenario("fuzz", text)
		if err != nil {
			return
		}
		s, _ := newSession()
		for _, d := range sc.Directives {
			verb, args, err := words(d.Text)
			if err == nil && (verb == "run" || verb == "load") && len(args) > 0 {
				continue // time is the only thing that may take long
			}
			_, _ = s.Exec(d.Text, d.Input)
		}
	})
}

// Every verb is explained, and used by at least one scenario.
func TestEveryVerbIsUsed(t *testing.T) {
	texts := scenarios(t)
	help := Help()
	for _, v := range verbs() {
		if v.usage == "" || v.what == "" || !strings.Contains(help, v.usage) {
			t.Errorf("%s is not explained", v.name)
		}
		used := false
		for _, text := range texts {
			for line := range strings.Lines(text) {
				used = used || strings.Fields(line + " .")[0] == v.name
			}
		}
		// Random scenarios use recover.
		if !used && v.name != "recover" {
			t.Errorf("no scenario uses %s", v.name)
		}
	}
}

// Every verb that does something to the world has a sentence of its own, and every built-in scenario can be told.
func TestExplain(t *testing.T) {
	for _, v := range verbs() {
		if v.fault && v.name != "mark" && sentence(v.name, []arg{{key: "d1"}, {key: "x"}, {key: "1/2"}}) == "" {
			t.Errorf("%s has no sentence", v.name)
		}
		if sentence(v.name, nil) == "?" {
			t.Errorf("%s without arguments", v.name)
		}
	}
	for name, text := range scenarios(t) {
		sc, err := ParseScenario(name, text)
		if err != nil {
			t.Fatal(err)
		}
		story, err := Explain(sc)
		if err != nil || !strings.HasPrefix(story, sc.Comment[:20]) || strings.Contains(story, "?") {
			t.Errorf("%s: %v\n%s", name, err, story)
		}
	}
}

// Every built-in scenario says what it proves and which incidents it stands for.
func TestLibraryIsExplained(t *testing.T) {
	texts := scenarios(t)
	if len(texts) < 60 {
		t.Errorf("only %d scenarios", len(texts))
	}
	for name, text := range texts {
		sc, err := ParseScenario(name, text)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(sc.Comment, "Proves") && !strings.Contains(sc.Comment, "Shows") {
			t.Errorf("%s does not say what it proves", name)
		}
		if !strings.Contains(sc.Comment, "Incidents of this class:") {
			t.Errorf("%s does not say which incidents it stands for", name)
		}
		claims := 0
		for _, d := range sc.Directives {
			if strings.HasPrefix(d.Text, "expect") || strings.HasPrefix(d.Text, "check") {
				claims++
			}
		}
		if claims == 0 {
			t.Errorf("%s claims nothing", name)
		}
	}
}

// An operator's file becomes scenarios with its own names, interfaces and nets, whatever they are.
func TestForConfig(t *testing.T) {
	const conf = `vrrp_instance A {
    interface bond0
    virtual_router_id 10
    @east priority 150
    @west priority 200
    virtual_ipaddress {
        172.16.0.1/24
        172.16.0.2 dev bond0.5
    }
}
vrrp_instance B {
    interface bond0.5
    virtual_router_id 11
    @east priority 150
    @west priority 200
    virtual_ipaddress {
        192.0.2.9
    }
}`
	cases, err := ForConfig("k.conf", conf, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 7 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		sc, err := ParseScenario(c.Name, c.Text)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := newSession()
		if _, err := sc.Play(s, nil); err != nil {
			t.Errorf("%s: %v\n%s", c.Name, err, c.Text)
		}
		if s.World().Host("west") == nil || s.World().Host("east").nic("bond0.5") == nil {
			t.Errorf("%s: no host west, or no card bond0.5", c.Name)
		}
		if c.Name == "owner-crash" && !strings.Contains(c.Text, "crash west") {
			t.Errorf("the owner is not the one with the highest priority:\n%s", c.Text)
		}
	}
	const both = `vrrp_sync_group G {
    group { A B }
}
vrrp_instance A {
    interface eth0
    virtual_router_id 10
    virtual_ipaddress {
        fe80::10
        2001:db8:7::1/64
    }
}
vrrp_instance B {
    interface eth0
    virtual_router_id 10
    version 3
    virtual_ipaddress {
        192.0.2.9
    }
}`
	if cases, err = ForConfig("k.conf", both, nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		sc, err := ParseScenario(c.Name, c.Text)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := newSession()
		if _, err := sc.Play(s, nil); err != nil || !strings.Contains(c.Text, "2001:db8:7::1") {
			t.Errorf("%s: %v\n%s", c.Name, err, c.Text)
		}
	}
	for text, want := range map[string]string{
		"vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1\n }\n}": "",
		"vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n fe80::1\n }\n}":  "no address that a client could ask",
		"global_defs {\n}\n": "no vrrp_instance for d1",
	} {
		if _, err := ForConfig("k.conf", text, nil, nil); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
