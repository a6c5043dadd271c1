package host

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"quorate/node"
)

func TestReport(t *testing.T) {
	a, b := pair(t)
	log := &logBuffer{}
	r := &reporter{log: log.logger(), node: "lb1", worker: "vrrp", conn: a}
	for _, tt := range []struct {
		in   node.Entry
		want string
	}{
		{node.Entry{Instance: "VI_1", Event: "vrrp.master", From: "BACKUP", To: "MASTER", Reason: "master_down", Detail: "no advert"},
			`level=INFO msg="(VI_1) Entering MASTER STATE" event=vrrp.master instance=VI_1 from=BACKUP to=MASTER reason=master_down detail="no advert"`},
		{node.Entry{Instance: "VI_1", Event: "vrrp.backup", From: "INIT", To: "BACKUP"}, `msg="(VI_1) Entering BACKUP STATE (init)"`},
		{node.Entry{Instance: "VI_1", Event: "vrrp.backup", From: "MASTER", To: "BACKUP"}, `msg="(VI_1) Entering BACKUP STATE" `},
		{node.Entry{Instance: "VI_1", Event: "vrrp.fault", To: "FAULT", Warn: true}, `level=WARN msg="(VI_1) Entering FAULT STATE"`},
		{node.Entry{Instance: "chk", Event: "script.down", Detail: "exit 1", Warn: true}, `level=WARN msg="VRRP_Script(chk) failed (exit 1)"`},
		{node.Entry{Instance: "VI_1", Event: "vrrp.priority", Detail: "150 -> 90: chk bad -60"}, `msg="(VI_1) Changing effective priority from 150 to 90"`},
		{node.Entry{Instance: "G", Event: "vrrp.group", To: "MASTER"}, `msg="VRRP_Group(G) Syncing instances to MASTER state"`},
		{node.Entry{Instance: "chk", Event: "script.up"}, `msg="VRRP_Script(chk) succeeded"`},
		{node.Entry{Instance: "tcp 10.0.0.1:80", Event: "check.down", Detail: "refused"}, `msg="(tcp 10.0.0.1:80) check.down: refused"`},
	} {
		r.Report(tt.in)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, tt.want) {
			t.Errorf("got  %s\nwant %s", last, tt.want)
		}
		m, err := b.Recv(t.Context())
		must(t, err)
		if m.Kind != KindEntry || m.Entry.Event != tt.in.Event || m.Entry.Node != "lb1" || time.Since(m.Entry.Time) > time.Minute {
			t.Errorf("sent %+v", m)
		}
	}
}

func TestTrouble(t *testing.T) {
	log := &logBuffer{}
	r := &reporter{log: log.logger()}
	one, two := errors.New("one"), errors.New("two")
	for _, err := range []error{nil, one, one, one, two, two, nil, nil, one} {
		r.Trouble("socket", err)
	}
	var got []string
	for line := range strings.Lines(log.String()) {
		_, text, _ := strings.Cut(line, "msg=")
		text, _, _ = strings.Cut(text, " event=")
		got = append(got, strings.Trim(text, `"`))
	}
	want := "host.error: one|host.error: two|host.recovered: socket works again|host.error: one"
	if g := strings.Join(got, "|"); g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
	if tr := r.Troubles(); len(tr) != 1 || tr[0] != "one" {
		t.Errorf("troubles %v", tr)
	}
}

// stuck is a log target nobody reads until it is let go.
type stuck struct {
	logBuffer
	gate chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.gate
	return s.logBuffer.Write(p)
}

func TestAsyncLogNeverWaits(t *testing.T) {
	target := &stuck{gate: make(chan struct{})}
	log, flush := newAsyncLog(slog.New(slog.NewTextHandler(target, nil)))
	for range 5000 {
		log.With("a", 1).WithGroup("g").Info("line", "b", 2)
	}
	close(target.gate)
	flush()
	got := target.String()
	if n := strings.Count(got, "msg=line a=1 g.b=2"); n < 4096 || n > 4097 {
		t.Errorf("%d lines", n)
	}
	if !strings.Contains(got, "log lines were dropped") || !strings.Contains(got, "dropped=90") {
		t.Errorf("drops are not told: %s", got[max(0, len(got)-300):])
	}
}

// TestDetails: with -D the lines around a change of state are keepalived's.
func TestDetails(t *testing.T) {
	log := &logBuffer{}
	r := &reporter{log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, e := range []node.Entry{
		{Instance: "V", Event: "vrrp.master", From: "BACKUP", To: "MASTER", Reason: "master-down"},
		{Instance: "V", Event: "vrrp.backup", From: "MASTER", To: "BACKUP", Reason: "higher-priority", Detail: "priority 150 > 100 from 10.0.0.1"},
		{Instance: "V", Event: "vrrp.stop", From: "MASTER", To: "INIT", Reason: "shutdown"},
		{Instance: "G", Event: "vrrp.group", From: "MASTER", To: "BACKUP"},
	} {
		r.Report(e)
	}
	var got []string
	for line := range strings.Lines(log.String()) {
		_, text, _ := strings.Cut(line, "msg=")
		text, _, _ = strings.Cut(strings.TrimSpace(text), " event=")
		got = append(got, strings.Trim(text, `"`))
	}
	want := "(V) Receive advertisement timeout|(V) Entering MASTER STATE|(V) setting VIPs.|" +
		"(V) Master received advert from 10.0.0.1 with higher priority 150, ours 100|(V) Entering BACKUP STATE|(V) removing VIPs.|" +
		"(V) sent 0 priority|(V) Entering STOP STATE|(V) removing VIPs.|VRRP_Group(G) Syncing instances to BACKUP state"
	if g := strings.Join(got, "|"); g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
}
