package ipvstest_test

import (
	"errors"
	"syscall"
	"testing"

	"quorate/ipvs"
	"quorate/ipvs/ipvstest"
)

func table(t *testing.T, text string) ipvs.Table {
	t.Helper()
	tab, err := ipvs.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

const web = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1\n"

// TestTwice shows the contract of a Backend: what is done already succeeds, unless Strict asks otherwise.
func TestTwice(t *testing.T) {
	add := ipvs.Plan(table(t, web), nil, nil)
	del := []ipvs.Op{
		{Kind: ipvs.DeleteDestination, Service: add[1].Service, Destination: add[1].Destination},
		{Kind: ipvs.DeleteService, Service: add[0].Service},
	}
	for _, strict := range []bool{false, true} {
		m := &ipvstest.Memory{Strict: strict}
		for _, step := range []struct {
			ops  []ipvs.Op
			want error
		}{
			{add[:1], nil}, {add[:1], syscall.EEXIST},
			{add[1:], nil}, {add[1:], syscall.EEXIST},
			{del[:1], nil}, {del[:1], syscall.ENOENT},
			{del[1:], nil}, {del[1:], syscall.ESRCH},
			{del[:1], syscall.ESRCH},
		} {
			want := step.want
			if !strict {
				want = nil
			}
			if err := m.Apply(step.ops); !errors.Is(err, want) || (want == nil && err != nil) {
				t.Errorf("strict %v: %v: got %v, want %v", strict, step.ops, err, want)
			}
		}
	}
}

// TestRefusals shows what a kernel refuses even without Strict.
func TestRefusals(t *testing.T) {
	add := ipvs.Plan(table(t, web), nil, nil)
	unknown := add[0]
	unknown.Service.Scheduler = "nosuch"
	heavy := add[1]
	heavy.Destination.Weight = ipvs.MaxWeight + 1
	for _, op := range []ipvs.Op{unknown, heavy, {Kind: ipvs.EditDestination, Service: add[1].Service, Destination: add[1].Destination}} {
		m := ipvstest.New(nil)
		var failed *ipvs.OpError
		if err := m.Apply([]ipvs.Op{op}); !errors.As(err, &failed) || failed.Op != op {
			t.Errorf("%s: got %v, want an OpError of it", op, err)
		}
	}
}

// TestFailHalfWay shows that Apply stops where it fails and that the next plan does the rest.
func TestFailHalfWay(t *testing.T) {
	want := table(t, web)
	m := &ipvstest.Memory{Strict: true, Fail: func(op ipvs.Op) error {
		if op.Kind == ipvs.AddDestination {
			return syscall.ENOMEM
		}
		return nil
	}}
	err := m.Apply(ipvs.Plan(want, nil, nil))
	if !errors.Is(err, syscall.ENOMEM) {
		t.Fatalf("got %v, want ENOMEM", err)
	}
	if got := err.Error(); got != "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1: cannot allocate memory" {
		t.Errorf("the error says %q", got)
	}
	if len(m.Log) != 1 {
		t.Fatalf("log has %v, want the service alone", m.Log)
	}
	m.Fail = nil
	half, _ := m.Table()
	if err := m.Apply(ipvs.Plan(want, half, nil)); err != nil {
		t.Fatal(err)
	}
	if now, _ := m.Table(); now.String() != web {
		t.Errorf("got\n%s", now)
	}
}

// TestConns shows that counters survive an edit and cause none.
func TestConns(t *testing.T) {
	m := ipvstest.New(table(t, web))
	before, _ := m.Table()
	e := before[0]
	if err := m.SetConns(e.Service.Key, e.Destinations[0], 5, 7); err != nil {
		t.Fatal(err)
	}
	e.Destinations[0].Weight = 9
	if err := m.Apply(ipvs.Plan(ipvs.Table{e}, before, nil)); err != nil {
		t.Fatal(err)
	}
	now, _ := m.Table()
	if d := now[0].Destinations[0]; d.ActiveConns != 5 || d.InactiveConns != 7 {
		t.Errorf("counters are %d, %d", d.ActiveConns, d.InactiveConns)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Table(); !errors.Is(err, ipvstest.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
