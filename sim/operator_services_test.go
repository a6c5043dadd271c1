package sim

import (
	"strings"
	"testing"
)

// An operator's file with services is laid out with its real servers: on the VIP's own segment, or behind NAT on another one.
func TestForConfigHasRealServers(t *testing.T) {
	const conf = `vrrp_instance VI_1 {
    interface ens3
    virtual_router_id 51
    @lb1 priority 150
    @lb2 priority 100
    virtual_ipaddress {
        192.0.2.222
    }
}
virtual_server 192.0.2.222 443 {
    protocol TCP
    delay_loop 3
    lb_algo wrr
    lb_kind KIND
    real_server SERVER1 443 {
        TCP_CHECK {
            connect_timeout 2
        }
    }
    real_server SERVER2 443 {
        TCP_CHECK {
            connect_timeout 2
        }
    }
}`
	for _, c := range []struct{ kind, server1, server2, world string }{
		{"DR", "192.0.2.11", "192.0.2.201", "ifaces=(ens3) nets=(192.0.2.0/24)"},
		{"NAT", "10.9.0.11", "10.9.0.12", "ifaces=(ens3,real1) nets=(192.0.2.0/24,10.9.0.0/24)"},
	} {
		text := strings.NewReplacer("KIND", c.kind, "SERVER1", c.server1, "SERVER2", c.server2).Replace(conf)
		list, err := ForConfig("keepalived.conf", text, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		played := 0
		for _, cs := range list {
			if !strings.Contains(cs.Text, c.world) || !strings.Contains(cs.Text, "@"+c.server1) {
				t.Fatalf("%s: %s", cs.Name, cs.Text[:400])
			}
			sc, err := ParseScenario(cs.Name, cs.Text)
			if err != nil {
				t.Fatal(err)
			}
			s, _ := newSession()
			if _, err := sc.Play(s, nil); err != nil {
				t.Errorf("%s %s: %v", c.kind, cs.Name, err)
			}
			played++
			n := s.Coverage()
			switch cs.Name {
			case "server-refuses":
				if n["check.down"] != 2 || n["check.up"] != 2 || n["a client meets a dead real server"] == 0 {
					t.Errorf("%s: %v", cs.Name, n)
				}
			case "servers-gone":
				if n["an owner has no real server left"] == 0 {
					t.Errorf("%s: %v", cs.Name, n)
				}
			}
		}
		if played < 10 {
			t.Errorf("only %d cases", played)
		}
	}
}
