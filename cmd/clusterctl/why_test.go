package main

import (
	"strings"
	"testing"
	"time"

	"quorate/node"
)

func TestWhy(t *testing.T) {
	at := func(ms int) time.Time { return time.Date(2030, 1, 2, 3, 4, 5, ms*1e6, time.UTC) }
	es := []node.Entry{
		{Time: at(0), Node: "lb1", Instance: "VI_1", Event: "vrrp.master", From: "BACKUP", To: "MASTER", Reason: "master-down", Cause: 1000, Trigger: "timer"},
		{Time: at(100), Node: "lb1", Instance: "load", Event: "script.down", To: "bad", Detail: "exit 1", Cause: 1100, Trigger: "script load exit 1"},
		{Time: at(100), Node: "lb1", Instance: "VI_1", Event: "vrrp.priority", Detail: "150 -> 90: load bad -60", Cause: 1100, Trigger: "script load exit 1"},
		{Time: at(200), Node: "lb1", Instance: "VI_1", Event: "vrrp.backup", From: "MASTER", To: "BACKUP", Reason: "higher-priority", Detail: "priority 100 > 90 from 10.0.0.2",
			Cause: 1200, Trigger: "packet 7 from 10.0.0.2 on eth0"},
		{Time: at(201), Node: "lb1", Instance: "VI_2", Event: "vrrp.backup", From: "MASTER", To: "BACKUP", Reason: "sync-group", Cause: 1200, Trigger: "packet 7 from 10.0.0.2 on eth0"},
		{Time: at(201), Node: "lb1", Instance: "tcp 10.0.0.9:80", Event: "check.down", To: "down", Cause: 1200, Trigger: "probe x"}, // of the checker worker
		{Time: at(900), Node: "lb1", Event: "config.applied", Cause: 1900},
	}
	s, err := why(es, "VI_1", 150*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	s.show(&b)
	want := `VI_1 MASTER -> BACKUP on lb1 at 2030-01-02 03:04:05.200 UTC: higher-priority  priority 100 > 90 from 10.0.0.2
cause 1200: packet 7 from 10.0.0.2 on eth0

before it:
  03:04:05.100  1100  load  script.down    exit 1
  03:04:05.100  1100  VI_1  vrrp.priority  150 -> 90: load bad -60

of the same cause:
  03:04:05.200  1200  VI_1  vrrp.backup  MASTER -> BACKUP, higher-priority  priority 100 > 90 from 10.0.0.2
  03:04:05.201  1200  VI_2  vrrp.backup  MASTER -> BACKUP, sync-group
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for name, want := range map[string]string{"VI_9": "transitions of VI_1, VI_2", "load": "no transition of \"load\""} {
		if _, err := why(es, name, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := why(nil, "VI_1", 0); err == nil || !strings.Contains(err.Error(), "--since") {
		t.Error(err)
	}
}
