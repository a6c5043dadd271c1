package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestSyncGroupGolden runs testdata/group/*.txt. -rewrite regenerates.
//
//	new [OPTION...]                        members VI_A (VRID 51) and VI_B (VRID 52) in INIT; options as in TestGolden
//	startup at=0s [adopt]                  all members
//	step at=3s member=A EVENT...           one event for one member, as in TestGolden
//	run until=10s                          a Tick at every deadline up to then
//	shutdown at=3s
func TestSyncGroupGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/group", func(t *testing.T, path string) {
		var g *SyncGroup
		show := func(now time.Duration) string {
			var b strings.Builder
			for _, a := range g.Ready() {
				who := "group"
				if a.Member >= 0 {
					who = g.Members()[a.Member].Config().Name
				}
				fmt.Fprintf(&b, "%v %s: %v\n", now, who, strings.TrimPrefix(fmt.Sprint(a.Action), "group "))
			}
			return b.String()
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			at := func() time.Duration { return duration(t, d, d.CmdArgs[0].SingleVal(t)) }
			switch d.Cmd {
			case "new":
				var members []*Instance
				for k, name := range []string{"VI_A", "VI_B"} {
					cfg := testConfig()
					cfg.AuthType, cfg.AuthPass = AuthNone, ""
					cfg.Name, cfg.VRID = name, uint8(51+k)
					cfg.Addrs = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(k), 100})}
					config(t, d, &cfg, d.CmdArgs)
					m := New(cfg)
					m.Step(0, SetSource{netip.AddrFrom4([4]byte{10, 0, byte(k), 1})})
					members = append(members, m)
				}
				g = NewSyncGroup("VG_1", members)
				return g.String()
			case "startup":
				g.Startup(at(), Startup{Adopt: len(d.CmdArgs) > 1}, 0)
				return show(at()) + "= " + g.String()
			case "shutdown":
				g.Shutdown(at(), 0)
				return show(at()) + "= " + g.String()
			case "step":
				k := int(d.CmdArgs[1].SingleVal(t)[0] - 'A')
				of := golden{i: g.Members()[k]}
				g.Step(at(), k, of.event(t, d, d.CmdArgs[2], d.CmdArgs[3:]), 0)
				return show(at()) + "= " + g.String()
			case "run":
				var out strings.Builder
				for {
					next, ok := g.Deadline()
					if !ok || next > at() {
						break
					}
					g.Tick(next, 0)
					out.WriteString(show(next))
				}
				return out.String() + "= " + g.String()
			}
			d.Fatalf(t, "unknown verb %q", d.Cmd)
			return ""
		})
	})
}

// TestSyncGroupReplay takes the place of one keepalived 2.2.7 after the other in captures of two of them on two networks, when the
// link of d1's second interface goes down and comes back. Both instances must take over and give up when keepalived's did.
func TestSyncGroupReplay(t *testing.T) {
	const slack = 60 * time.Millisecond
	br := [2][]captured{readCapture(t, "12-sync-group-br0"), readCapture(t, "12-sync-group-br1")}
	// The captures begin with the same event; br1's first advert came 1 ms after br0's.
	const down, up = 4490 * time.Millisecond, 10532 * time.Millisecond // eth1 of d1, from the log
	for _, who := range []byte{11, 12} {
		var members []*Instance
		for k := range br {
			cfg := Config{Name: "VI_" + string(rune('A'+k)), Version: 2, VRID: uint8(51 + k), Priority: map[byte]uint8{11: 150, 12: 100}[who],
				AdvertInt: time.Second, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 99, byte(k), 100})}}
			m := New(cfg)
			m.Step(0, SetSource{netip.AddrFrom4([4]byte{10, 99, byte(k), who})})
			members = append(members, m)
		}
		g := NewSyncGroup("VG_1", members)
		var ours [2][]captured
		var states []State
		take := func(now time.Duration) {
			for _, a := range g.Ready() {
				switch x := a.Action.(type) {
				case Send:
					if k := a.Member; k != 1 || who != 11 || now < down || now >= up { // nothing leaves a dead link
						ours[k] = append(ours[k], captured{now, x.Packet})
					}
				case GroupTransition:
					states = append(states, x.To)
				case Note:
					if x.Kind == NoteRejected {
						t.Errorf("%v", x)
					}
				}
			}
		}
		runTo := func(now time.Duration) {
			for at, ok := g.Deadline(); ok && at < now; at, ok = g.Deadline() {
				g.Tick(at, 0)
				take(at)
			}
		}
		g.Startup(0, Startup{Adopt: who == 11}, 0) // d1 is MASTER since the first packet
		take(0)
		type event struct {
			at time.Duration
			k  int
			ev Event
		}
		var events []event
		for k := range br {
			for _, p := range br[k] {
				if p.Src != members[k].src {
					events = append(events, event{p.at, k, Receive{p.Packet}})
				}
			}
		}
		if who == 11 {
			events = append(events, event{down, 1, SetFaults{[]FaultCause{{ReasonInterfaceDown, "eth1 is down"}}}}, event{up, 1, SetFaults{}})
		}
		for len(events) > 0 { // in order of time
			first := 0
			for n, e := range events {
				if e.at < events[first].at {
					first = n
				}
			}
			e := events[first]
			events = append(events[:first], events[first+1:]...)
			runTo(e.at)
			g.Step(e.at, e.k, e.ev, 0)
			take(e.at)
		}
		runTo(br[0][len(br[0])-1].at + slack)
		for k := range br {
			var theirs []captured
			for _, p := range br[k] {
				if p.Src == members[k].src {
					theirs = append(theirs, p)
				}
			}
			if len(ours[k]) != len(theirs) {
				t.Errorf("10.99.%d.%d: sent %d adverts, keepalived %d", k, who, len(ours[k]), len(theirs))
				continue
			}
			for n := range theirs {
				if d := (ours[k][n].at - theirs[n].at).Abs(); d > slack || ours[k][n].Payload[2] != theirs[n].Payload[2] {
					t.Errorf("10.99.%d.%d: advert %d at %v with priority %d, keepalived at %v with %d", k, who, n,
						ours[k][n].at, ours[k][n].Payload[2], theirs[n].at, theirs[n].Payload[2])
				}
			}
		}
		want := map[byte]string{11: "[MASTER FAULT BACKUP MASTER]", 12: "[BACKUP MASTER BACKUP]"}[who]
		if fmt.Sprint(states) != want {
			t.Errorf("the group of d%d went through %v, want %s", who-10, states, want)
		}
	}
}

// TestSyncGroupNeverSplits: whatever happens to the members, after each event they are MASTER together or not at all, each
// group transition is reported once, and nobody says anything while not MASTER.
func TestSyncGroupNeverSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "members")
		var members []*Instance
		for k := range n {
			cfg := testConfig()
			cfg.Name, cfg.VRID = fmt.Sprint("VI_", k), uint8(k+1)
			if rapid.IntRange(0, 9).Draw(t, "owner") == 0 {
				cfg.Priority = PriorityOwner
			}
			m := New(cfg)
			m.Step(0, SetSource{own})
			members = append(members, m)
		}
		g := NewSyncGroup("VG", members)
		states := make([]State, n)
		for k := range states {
			states[k] = Init
		}
		group := Init
		now := time.Duration(0)
		check := func() {
			for _, a := range g.Ready() {
				switch x := a.Action.(type) {
				case Transition:
					if x.From != states[a.Member] || x.From == x.To {
						t.Fatalf("member %d in %v: %v", a.Member, states[a.Member], x)
					}
					states[a.Member] = x.To
				case GroupTransition:
					if x.From != group || x.From == x.To || a.Member != -1 {
						t.Fatalf("group in %v: %v", group, x)
					}
					group = x.To
				}
			}
			masters := 0
			for k, m := range members {
				if m.State() != states[k] {
					t.Fatalf("member %d is %v, transitions say %v", k, m.State(), states[k])
				}
				if m.State() == Master {
					masters++
				}
				if (m.State() == Fault) != (g.State() == Fault) {
					t.Fatalf("%v", g)
				}
			}
			if masters != 0 && masters != n || g.State() != group || (masters == n) != (group == Master) {
				t.Fatalf("transitions say %v\n%v", group, g)
			}
			if at, ok := g.Deadline(); ok && at <= now {
				t.Fatalf("deadline %v at %v", at, now)
			}
		}
		g.Startup(0, Startup{}, 0)
		check()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond
			for at, ok := g.Deadline(); ok && at <= now; at, ok = g.Deadline() {
				g.Tick(at, 0)
				save := now
				now = at
				check()
				now = save
			}
			k := rapid.IntRange(0, n-1).Draw(t, "member")
			var ev Event
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0, 1:
				ev = Receive{packetOf2(members[k].Config(), peer, uint8(rapid.SampledFrom([]int{0, 50, 100, 150, 255}).Draw(t, "prio")))}
			case 2:
				ev = SetFaults{[]FaultCause{{ReasonInterfaceDown, "down"}}}
			case 3:
				ev = SetFaults{}
			case 4:
				ev = SetPriority{Priority: uint8(rapid.IntRange(1, 254).Draw(t, "own"))}
			default:
				ev = Tick{}
			}
			g.Step(now, k, ev, 0)
			check()
		}
		g.Shutdown(now, 0)
		for _, a := range g.Ready() {
			if x, ok := a.Action.(GroupTransition); ok && x.To == Init {
				group = Init
			}
		}
		if group != Init || g.State() != Init {
			t.Fatalf("after the shutdown: %v", g)
		}
	})
}

// TestRegroup: a reload puts running instances into groups and takes them out without a transition, where they agree.
func TestRegroup(t *testing.T) {
	var all []*Instance
	for k := range 3 {
		cfg := testConfig()
		cfg.Name, cfg.VRID = fmt.Sprint("VI_", k), uint8(k+1)
		m := New(cfg)
		m.Step(0, SetSource{own})
		all = append(all, m)
	}
	quiet := func(what string, g *SyncGroup) {
		t.Helper()
		for _, a := range g.Ready() {
			switch a.Action.(type) {
			case Transition, GroupTransition, Release:
				t.Errorf("%s: %v", what, a.Action)
			}
		}
	}
	for _, m := range all[:2] {
		m.Step(0, Startup{Adopt: true})
		m.Ready()
	}
	g := NewSyncGroup("VG", all[:2])
	if g.State() != Master {
		t.Fatal(g)
	}
	g.Tick(time.Second, 0)
	quiet("grouped", g)
	g.Dissolve(time.Second, 0)
	quiet("dissolved", g)
	g = NewSyncGroup("VG", all) // one more joins
	g.Tick(2*time.Second, 0)
	quiet("joining", g)
	g.Step(2*time.Second, 2, Startup{Adopt: true}, 0)
	if g.State() != Master || all[2].State() != Master {
		t.Fatal(g)
	}
	g.Ready()
	g.Step(2*time.Second, 0, SetFaults{[]FaultCause{{ReasonInterfaceDown, "down"}}}, 0)
	if g.Ready(); all[1].State() != Fault {
		t.Fatal(g)
	}
	g.Dissolve(3*time.Second, 9)
	left := 0
	for _, a := range g.Ready() {
		if tr, ok := a.Action.(Transition); ok && tr.To == Backup && tr.Cause == 9 && a.Member > 0 {
			left++
		}
	}
	if left != 2 || all[0].State() != Fault {
		t.Errorf("%d left FAULT, the one with a fault of its own is %v", left, all[0])
	}
	at, _ := all[1].Deadline()
	if all[1].Step(at, Tick{}); all[1].State() != Master {
		t.Error("alone again, it waits for nobody:", all[1])
	}
}

func packetOf2(cfg Config, src netip.Addr, prio uint8) Packet {
	a := Advert{Version: cfg.Version, VRID: cfg.VRID, Priority: prio, AuthType: cfg.AuthType, AuthData: Password(cfg.AuthPass), Interval: cfg.AdvertInt, Addrs: cfg.Addrs}
	b, err := a.Append(nil, src, Group(false), false)
	if err != nil {
		panic(err)
	}
	return Packet{Src: src, Dst: Group(false), TTL: TTL, Payload: b}
}
