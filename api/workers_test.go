package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"quorate/node"
	"quorate/node/host"
)

// TestWorkerState follows what is known of a worker through its messages.
func TestWorkerState(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	dir := t.TempDir() + "/d1"
	if _, err := Init(InitOptions{Name: "d1", Address: "127.0.0.1:8470", StateDir: dir, Storage: newMemStorage(), Now: now}); err != nil {
		t.Fatal(err)
	}
	fw := newFakeWorker("checker")
	s, err := newServer(Config{StateDir: dir, Checker: fw, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	w := s.workerFor["checker"]
	show := func() string {
		st := w.status(now)
		return strings.TrimSpace(fmt.Sprintf("applied %d failed %d %s alive %t", st.Applied, st.Failed, st.Error, st.Alive))
	}
	svc := []node.ServiceStatus{{Service: "tcp 10.0.0.100:80"}}
	for i, tc := range []struct {
		m    host.Message
		wait time.Duration
		want string
	}{
		{m: host.Message{Kind: host.KindHello, PID: 10}, want: "applied 0 failed 0  alive true"},
		{m: host.Message{Kind: host.KindApplied, PID: 10, Generation: 1}, want: "applied 1 failed 0  alive true"},
		{m: host.Message{Kind: host.KindApplied, Generation: 2, Error: "no memory"}, want: "applied 1 failed 2 no memory alive true"},
		// A status from before must not hide the failure, nor take back what was applied.
		{m: host.Message{Kind: host.KindStatus, PID: 10, Generation: 1, Part: 1, Last: true, Services: svc}, want: "applied 1 failed 2 no memory alive true"},
		{m: host.Message{Kind: host.KindApplied, Generation: 3}, want: "applied 3 failed 0  alive true"},
		{m: host.Message{Kind: host.KindStatus, Generation: 1, Part: 1, Last: true}, want: "applied 3 failed 0  alive true"},
		// A lost "applied" is made good by the next whole status; half a status counts for nothing.
		{m: host.Message{Kind: host.KindStatus, Generation: 4, Part: 1}, want: "applied 3 failed 0  alive true"},
		{m: host.Message{Kind: host.KindStatus, Generation: 4, Part: 2, Last: true, Services: svc}, want: "applied 4 failed 0  alive true"},
		// Killed and started again: its hello may get lost, its pid does not.
		{m: host.Message{Kind: host.KindStatus, PID: 11, Generation: 2, Part: 1, Last: true}, want: "applied 2 failed 0  alive true"},
		{m: host.Message{Kind: host.KindEntry, Entry: &node.Entry{Event: "check.up"}}, wait: aliveFor, want: "applied 2 failed 0  alive false"},
		{m: host.Message{Kind: "from the future"}, want: "applied 2 failed 0  alive true"},
	} {
		s.fromWorker(w, tc.m)
		now = now.Add(tc.wait)
		if got := show(); got != tc.want {
			t.Errorf("%d: after %+v: %s, want %s", i, tc.m, got, tc.want)
		}
	}
	if es := s.journal.list(time.Time{}); len(es) != 1 || es[0].Node != "d1" {
		t.Errorf("journal %+v", es)
	}
}

func TestJournalIsBounded(t *testing.T) {
	var j journal
	t0 := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for i := range journalSize + 10 {
		j.add(node.Entry{Time: t0.Add(time.Duration(i) * time.Second), Detail: fmt.Sprint(i)})
	}
	all := j.list(time.Time{})
	if len(all) != journalSize || all[0].Detail != "10" || all[journalSize-1].Detail != fmt.Sprint(journalSize+9) {
		t.Errorf("%d entries, %s … %s", len(all), all[0].Detail, all[len(all)-1].Detail)
	}
	if late := j.list(t0.Add(journalSize * time.Second)); len(late) != 10 || late[0].Detail != fmt.Sprint(journalSize) {
		t.Errorf("since: %d entries", len(late))
	}
}
