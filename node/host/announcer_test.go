package host

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/config"
)

// TestPace: what an announcer sends when, with the intervals of a configuration.
func TestPace(t *testing.T) {
	cfg, found := config.Parse("x.conf", config.Files{"x.conf": `global_defs {
    vrrp_garp_interval 0.1
    vrrp_gna_interval 0.5
}
garp_group {
    garp_interval 1
    interfaces {
        eth1 eth2
    }
}
garp_group {
    garp_interval 0
    interface eth3
}
`}, config.Options{})
	if found.HasErrors() {
		t.Fatal(found)
	}
	n := newAnnouncer()
	n.paces, n.pace = pacesOf(cfg)
	add := func(dev, segment, addr string, times int) {
		p := location{key: hostAddress{dev: dev, addr: netip.MustParseAddr(addr)}, segment: segment}
		a := &announcement{location: p, left: times}
		n.byAddr[p.key], n.ring = a, append(n.ring, a)
	}
	add("eth0", "eth0", "10.0.0.1", 2)
	add("vrrp.51", "eth0", "10.0.0.2", 2) // shares the segment
	add("eth0", "eth0", "2001:db8::1", 2)
	add("eth1", "eth1", "10.0.1.1", 2)
	add("eth2", "eth2", "10.0.2.1", 2)
	add("eth3", "eth3", "10.0.3.1", 3)
	var got []string
	for now := time.Duration(0); now < 10*time.Second; {
		list, due := n.next(now, func(hostAddress) bool { return true })
		for _, p := range list {
			got = append(got, fmt.Sprintf("%v %s", now.Round(time.Millisecond), p.key.addr))
		}
		if len(list) > 0 {
			now += announcePause
			continue
		}
		if due == 0 {
			break
		}
		if due <= now {
			t.Fatalf("%v is due at %v", due, now)
		}
		now = due
	}
	want := strings.Split(`0s 10.0.0.1
0s 2001:db8::1
0s 10.0.1.1
0s 10.0.3.1
1ms 10.0.3.1
2ms 10.0.3.1
100ms 10.0.0.2
200ms 10.0.0.1
300ms 10.0.0.2
500ms 2001:db8::1
1s 10.0.2.1
2s 10.0.1.1
3s 10.0.2.1`, "\n")
	if !slices.Equal(got, want) {
		t.Errorf("sent\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAskPace: a second after the last announcement, and not again for ten; not of an address that was given up.
func TestAskPace(t *testing.T) {
	n := newAnnouncer()
	at := func(addr string) location {
		return location{key: hostAddress{dev: "eth0", addr: netip.MustParseAddr(addr)}, segment: "eth0"}
	}
	var got []string
	until := func(end time.Duration) {
		for now := time.Duration(0); ; {
			list, due := n.nextAsks(now)
			for _, p := range list {
				got = append(got, fmt.Sprintf("%v %s", now, p.key.addr))
			}
			if due == 0 || due > end {
				return
			}
			now = due
		}
	}
	n.askLater(at("10.0.0.1"), 0)
	n.askLater(at("10.0.0.2"), 0)
	n.askLater(at("10.0.0.3"), 0)
	n.askLater(at("10.0.0.1"), 500*time.Millisecond) // asked soon anyhow
	n.forget(at("10.0.0.2").key)
	until(5 * time.Second)
	n.askLater(at("10.0.0.1"), 5*time.Second)
	n.askLater(at("10.0.0.2"), 5*time.Second)
	until(time.Minute)
	if want := []string{"1s 10.0.0.1", "1s 10.0.0.3", "6s 10.0.0.2", "11s 10.0.0.1"}; !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
}

// TestAsk: a host that has an address of ours and says nothing is found out after a takeover.
func TestAsk(t *testing.T) {
	if !inNetns(t) {
		return
	}
	_, v1 := cable(t)
	run := client(t, v1, "ip addr add 10.9.0.100/32 dev v1; ip -6 addr add 2001:db8::100/64 dev v1 nodad; ip addr add 10.9.0.9/24 dev v1")
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	must(t, os.WriteFile(path, []byte("vrrp_instance VI_1 {\n interface v0\n virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n virtual_ipaddress {\n 10.9.0.100\n 10.9.0.101\n }\n"+
		" virtual_ipaddress_excluded {\n 2001:db8::100/64\n }\n}\n"), 0o600))
	log := runDirector(t, path)
	for what, want := range map[string]string{
		"ARP reply": "says by ARP reply that 10.9.0.100 is its own", "neighbour advertisement": "says by neighbour advertisement that 2001:db8::100 is its own",
	} {
		eventually(t, 15*time.Second, func() bool { return strings.Contains(log.String(), "02:00:00:00:00:02 on v0 "+want) },
			func() string { return what + ": " + log.String() + fmt.Sprint(run("ip addr")) })
	}
	if strings.Contains(log.String(), "10.9.0.101 is its own") {
		t.Errorf("nobody has that one\n%s", log)
	}
}
