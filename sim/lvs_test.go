package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"quorate/ipvs"
	"quorate/node"
)

const serviceConf = `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 100
    virtual_ipaddress {
        10.0.0.100
    }
}
virtual_server 10.0.0.100 80 {
    protocol TCP
    delay_loop 2
    lb_algo ALGO
    lb_kind KIND
    persistence_timeout 0
    real_server 10.0.0.221 80 {
        weight 3
        TCP_CHECK {
            connect_timeout 1
        }
    }
    real_server 10.0.0.222 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 1
        }
    }
}`

// served plays one client against two servers and counts who answered.
func served(t *testing.T, conf string, more ...string) (*Session, map[string]int) {
	t.Helper()
	s, _ := newSession()
	counts := map[string]int{}
	for _, d := range append([]string{"world nodes=(d1) client=c1 real=(rs1,rs2) seed=1", "conf d1", "run 5s"}, more...) {
		in := ""
		if d == "conf d1" {
			in = conf
		}
		if _, err := s.Exec(d, in); err != nil {
			t.Fatal(err)
		}
	}
	c := s.World().Host("c1")
	for range 80 {
		c.dial(netip.MustParseAddrPort("10.0.0.100:80"), netip.Addr{}, time.Second, dial{question: true, done: func(a answer) {
			if !a.ok {
				counts[a.detail]++
			}
			counts[a.server]++
		}})
		s.World().Run(s.World().Now() + 50*time.Millisecond)
	}
	return s, counts
}

// The schedulers send to each real server what its weight says, by direct routing and by NAT; sh sends one client to one server.
func TestSchedulers(t *testing.T) {
	for algo, want := range map[string]map[string]int{
		"rr": {"rs1": 40, "rs2": 40}, "wrr": {"rs1": 60, "rs2": 20}, "wlc": {"rs1": 60, "rs2": 20}, "lc": {"rs1": 40, "rs2": 40},
	} {
		for _, kind := range []string{"DR", "NAT"} {
			t.Run(algo+" "+kind, func(t *testing.T) {
				_, got := served(t, strings.NewReplacer("ALGO", algo, "KIND", kind, "    persistence_timeout 0\n", "").Replace(serviceConf))
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}
	for _, conf := range []string{
		strings.NewReplacer("ALGO", "sh", "KIND", "DR", "    persistence_timeout 0\n", "").Replace(serviceConf),
		strings.NewReplacer("ALGO", "rr", "KIND", "DR", "persistence_timeout 0", "persistence_timeout 30").Replace(serviceConf),
	} {
		if _, got := served(t, conf); len(got) != 1 || got["rs1"]+got["rs2"] != 80 {
			t.Errorf("one client is served by %v, want all by one server", got)
		}
	}
}

// A client sees three different things: a server that refuses, one that says nothing, and an owner that has no server at all.
func TestWhatAClientSees(t *testing.T) {
	conf := strings.NewReplacer("ALGO", "rr", "KIND", "DR", "    persistence_timeout 0\n", "").Replace(serviceConf)
	for verb, want := range map[string]string{"refuse": "connection refused", "down": "no answer within 1s", "hang": "no answer within 1s"} {
		s, _ := newSession()
		for _, d := range [][2]string{{"world nodes=(d1) client=c1 real=(rs1,rs2) seed=1"}, {"conf d1", conf}, {"run 5s"},
			{"server rs1 " + verb}, {"server rs2 " + verb}, {"load c1 10.0.0.100:80 every=100ms"}, {"run 1900ms"}} {
			if _, err := s.Exec(d[0], d[1]); err != nil {
				t.Fatal(err)
			}
		}
		if l := s.World().Host("c1").loads[0]; l.reasons[want] == 0 {
			t.Errorf("%s: %v, want %s", verb, l.reasons, want)
		}
	}
	s, got := served(t, conf, "crash rs1", "crash rs2", "run 20s")
	if got["10.0.0.100 has no real server"] != 80 {
		t.Errorf("without servers: %v", got)
	}
	if _, err := s.Exec("check", ""); err != nil {
		t.Error(err)
	}
}

// S5 must find a table that is not what the verdicts say, at once, and one that disagrees with the world, in the end.
func TestS5FindsAWrongTable(t *testing.T) {
	conf := strings.NewReplacer("ALGO", "rr", "KIND", "DR", "    persistence_timeout 0\n", "").Replace(serviceConf)
	s, _ := served(t, conf)
	h := s.World().Host("d1")
	if n := len(h.checks.verdict.opinions); n != 2 {
		t.Fatalf("%d checks are followed, want 2", n)
	}
	for id, o := range h.checks.verdict.opinions {
		if !o.ran || !o.up {
			t.Errorf("%s: %+v: the answers do not arrive", id, o)
		}
	}
	key := ipvs.Key{Protocol: ipvs.TCP, Addr: vip, Port: 80}
	gone := ipvs.Op{Kind: ipvs.DeleteDestination, Service: ipvs.Service{Key: key}, Destination: ipvs.Destination{Addr: netip.MustParseAddr("10.0.0.221"), Port: 80}}
	if err := h.lvs.mem.Apply([]ipvs.Op{gone}); err != nil {
		t.Fatal(err)
	}
	h.lvs.changed(s.World().Now())
	h.feedWorker(node.Tick{})
	if v := violations(s.World()); len(v) != 1 || !strings.Contains(v[0], "S5 VIOLATED: the table of d1 lacks 10.0.0.221:80") {
		t.Errorf("found %q", v)
	}
	// The machine repairs it at its next reading.
	s.World().Run(s.World().Now() + 31*time.Second)
	if wrong := differs(h.conf, h.lvs.table, h.checks.verdict.up); wrong != "" {
		t.Errorf("after the next reading the table %s", wrong)
	}

	s, _ = served(t, conf)
	// As if no probe of rs1 had failed although its program has ended.
	s.World().Host("rs1").ports = map[uint16]serving{0: {state: serverRefuse}}
	s.World().Host("d1").checks.m = node.NewServices()
	s.World().Run(s.World().Now() + time.Minute)
	if _, err := s.Exec("check", ""); err == nil || !strings.Contains(err.Error(), "has 10.0.0.221:80") {
		t.Errorf("check says %v", err)
	}
}
