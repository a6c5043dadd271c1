package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"quorate/cluster/replica"
)

// S3 notices a disk that has forgotten what its member has said to be safe, whatever the store makes of it afterwards.
func TestForgottenWritesAreJudged(t *testing.T) {
	play := func(s *Session, lines ...string) error {
		for _, l := range lines {
			line, input, _ := strings.Cut(l, "\n")
			if _, err := s.Exec(line, input); err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}
		}
		return nil
	}
	// forget takes away the entries after the first snapshot, but neither the term nor the vote.
	forget := func(h *Host) {
		first := h.disk.state.Snapshot.GetMetadata()
		h.disk.state.Entries = nil
		h.disk.state.HardState = &raftpb.HardState{Term: h.disk.state.HardState.Term, Vote: h.disk.state.HardState.Vote, Commit: new(first.GetIndex())}
	}
	for _, tt := range []struct {
		name   string
		forget []string
		back   []string // in this order
		want   []string
	}{
		{"nobody forgets", nil, []string{"start d1 d2 d3", "run 5s"}, nil},
		{"one forgets, who is no majority", []string{"d1"}, []string{"start d2 d3", "run 4s", "start d1", "run 5s"}, nil},
		{"a majority forgets and elects without the third", []string{"d2", "d3"}, []string{"start d2 d3", "run 4s", "start d1", "run 5s"},
			[]string{"without entry 4 of term 2, which was committed before", "applies entry 4, which is on the disks of [d1] only"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Session{}
			if err := play(s, "world nodes=(d1,d2,d3) client=c1 seed=1", "conf d1 d2 d3\n"+threeVIP, "run 1s", "put /a 1", "run 1s", "put /b 1", "run 2050ms",
				"crash d1 d2 d3"); err != nil {
				t.Fatal(err)
			}
			for _, name := range tt.forget {
				forget(s.w.Host(name))
			}
			// Raft goes round in circles once it has met what cannot be, so a run may end early.
			err := play(s, append(tt.back, "put /c 1", "run 2s", "check live")...)
			if (err != nil) != (len(tt.want) > 0) || err != nil && !errors.Is(err, ErrExpect) {
				t.Fatal(err)
			}
			var all []string
			for _, e := range s.w.journal {
				if e.Kind == EventViolation {
					all = append(all, e.Text)
				}
			}
			text := strings.Join(all, "\n")
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("no violation says %q:\n%s", want, text)
				}
			}
			if len(tt.want) == 0 && len(all) > 0 {
				t.Errorf("violated:\n%s", text)
			}
		})
	}
}

const threeVIP = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n @d1 priority 150\n @d2 priority 100\n @d3 priority 90\n virtual_ipaddress {\n 10.0.0.100\n }\n}"

// What goes on without end is a failure that says who, not a run that hangs: at one instant, or in messages that answer each other.
func TestStormsEndTheRun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begin func(w *World)
		want  string
	}{
		{"tasks at one instant", func(w *World) {
			var again func()
			again = func() { w.after(0, again) }
			w.after(0, again)
		}, "the last one a task of the world: something answers itself"},
		{"a timer that is always due", func(w *World) {
			h := w.Host("d1")
			var again func()
			again = func() { h.feed(nil); w.after(500*time.Nanosecond, again) }
			w.after(0, again)
		}, "something answers itself"},
		{"messages of the store", func(w *World) {
			m := w.Host("d3").store
			var again func()
			again = func() {
				m.send(proto.Clone(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: &m.id, To: new(uint64(2)), Term: new(uint64(1))}).(*raftpb.Message))
				w.after(100*time.Microsecond, again)
			}
			w.after(0, again)
		}, "has sent 5001 messages of the store within"},
		{"a store that is always behind", func(w *World) {
			m := w.Host("d1").store
			w.after(0, func() {
				for range 2 * restingSteps {
					m.inbox = append(m.inbox, replica.Unreachable{ID: 2})
				}
				m.proceed()
			})
		}, "the store of d1 does not come to rest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Session{}
			for _, l := range []string{"world nodes=(d1,d2,d3) seed=1", "conf d1 d2 d3\n" + threeVIP, "put /a 1", "run 5s"} {
				line, input, _ := strings.Cut(l, "\n")
				if _, err := s.Exec(line, input); err != nil {
					t.Fatal(err)
				}
			}
			tt.begin(s.w)
			_, err := s.Exec("run 10s", "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}
