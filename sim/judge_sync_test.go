package sim

import (
	"slices"
	"strings"
	"testing"

	"quorate/node"
)

// wrong is a director with a mistake in what it does, not in what it decides.
type wrong struct {
	Machine
	spoil func([]node.Action) []node.Action
}

func (w *wrong) Ready() []node.Action { return w.spoil(w.Machine.Ready()) }

// S6 notices members of a sync group that do not change together, and what is told twice, without reason or out of order.
func TestSyncGroupsAreJudged(t *testing.T) {
	const group = "vrrp_sync_group G {\n group {\n A\n B\n }\n}\n"
	const two = "vrrp_instance A {\n interface eth0\n virtual_router_id 51\n @d1 priority 150\n @d2 priority 100\n virtual_ipaddress {\n 10.0.0.100\n }\n notify /bin/true\n}\n" +
		"vrrp_instance B {\n interface eth1\n virtual_router_id 52\n @d1 priority 150\n @d2 priority 100\n virtual_ipaddress {\n 10.0.1.100\n }\n}"
	change := func(f func(node.Action) []node.Action) func([]node.Action) []node.Action {
		return func(list []node.Action) (out []node.Action) {
			for _, a := range list {
				out = append(out, f(a)...)
			}
			return out
		}
	}
	for _, tt := range []struct {
		name, conf string
		spoil      func([]node.Action) []node.Action
		want       string
	}{
		{"nothing", group + two, func(l []node.Action) []node.Action { return l }, ""},
		{"one address stays away", group + two, change(func(a node.Action) []node.Action {
			if add, ok := a.(node.AddAddress); ok && add.Interface == "eth1" {
				return nil
			}
			return []node.Action{a}
		}), "d1 holds the VIPs of [A] but not those of [B], of one sync group G"},
		{"no group", two, change(func(a node.Action) []node.Action {
			if add, ok := a.(node.AddAddress); ok && add.Interface == "eth1" {
				return nil
			}
			return []node.Action{a}
		}), ""},
		{"told twice", group + two, change(func(a node.Action) []node.Action {
			if _, ok := a.(node.Notify); ok {
				return []node.Action{a, a}
			}
			return []node.Action{a}
		}), "twice"},
		{"told too early", group + two, func(l []node.Action) []node.Action {
			slices.SortStableFunc(l, func(a, b node.Action) int {
				order := func(a node.Action) int {
					if _, ok := a.(node.Notify); ok {
						return 0
					}
					return 1
				}
				return order(a) - order(b)
			})
			return l
		}, "notifies of INSTANCE A MASTER though it is BACKUP"},
		{"a transition is kept quiet", group + two, change(func(a node.Action) []node.Action {
			if r, ok := a.(node.Report); ok && r.Entry.To == "BACKUP" {
				r.Entry.To, r.Entry.Reason = "FAULT", ""
				return []node.Action{r}
			}
			return []node.Action{a}
		}), "without a reason"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Session{NewMachine: func() Machine { return &wrong{node.NewElector(), tt.spoil} }}
			for _, d := range [][2]string{{"world nodes=(d1,d2) client=c1 lans=2 seed=1", ""}, {"conf d1 d2", tt.conf}, {"run 5s", ""}} {
				if _, err := s.Exec(d[0], d[1]); err != nil {
					t.Fatal(err)
				}
			}
			said := ""
			for _, e := range s.World().Journal() {
				if e.Kind == EventViolation && strings.HasPrefix(e.Text, "S6") {
					said += e.Text + "\n"
				}
			}
			line, ok := s.World().judge.together()
			if (tt.want == "") != ok || !strings.Contains(said, tt.want) {
				t.Errorf("said %q, want %q; %s", said, tt.want, line)
			}
		})
	}
}
