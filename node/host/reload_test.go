package host

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quorate/internal/testenv"
)

// A reload changes what the new file changes and nothing else: no transition, no farewell on the wire, no other address, route or rule
// touched (what the kernel tells of is compared), and no packet of a client lost over all of them.
func TestReloadLeavesTheRestAlone(t *testing.T) {
	testenv.Need(t, "ping")
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	must(t, netlink.LinkSetName(v0, "eth0"))
	wire := openTap(t, v1)
	farewells := make(chan struct{}, 100)
	announced := &logBuffer{}
	go func() {
		buf := make([]byte, 2000)
		for {
			n, _, err := wire.c.ReadFrom(buf)
			if err != nil {
				return
			}
			if n >= 42 && buf[12] == 8 && buf[13] == 6 && [4]byte(buf[28:32]) == [4]byte(buf[38:42]) {
				_, _ = fmt.Fprintf(announced, "%v\n", netip.AddrFrom4([4]byte(buf[38:42])))
			}
			if f := buf[:n]; n > 37 && f[12] == 8 && f[13] == 0 && f[23] == 112 && f[36] == 0 {
				farewells <- struct{}{}
			}
		}
	}()
	// The client is in a namespace of its own, behind a bridge port: v1 stays here for the tap.
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "c0"}, PeerName: "c1"}))
	br, err := netlink.LinkByName("br0")
	must(t, err)
	c0, err := netlink.LinkByName("c0")
	must(t, err)
	c1, err := netlink.LinkByName("c1")
	must(t, err)
	for _, l := range []netlink.Link{c0, v1} {
		must(t, netlink.LinkSetMaster(l, br))
	}
	for _, l := range []netlink.Link{br, c0, v1} {
		must(t, netlink.LinkSetUp(l))
	}
	must(t, netlink.LinkSetName(c1, "v1c"))
	c1, err = netlink.LinkByName("v1c")
	must(t, err)
	run := clientAs(t, c1, "v1c", "ip addr add 10.9.0.9/24 dev v1c")

	type settings struct{ global, top, priority, interval, more, vips, excluded, routes, rules, tail string }
	now := settings{priority: "200", interval: "1", vips: "10.9.0.100\n10.9.0.101/24", excluded: "10.9.0.120", routes: "10.30.0.0/16 via 10.9.0.77 dev eth0\n10.31.0.0/16 dev eth0",
		rules: "from 10.30.0.0/16 table 5 preference 100"}
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	write := func(s settings) {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "global_defs {\nvrrp_version 3\n%s\n}\n%s\nvrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\npriority %s\nadvert_int %s\n%s\nvirtual_ipaddress {\n%s\n}\nvirtual_ipaddress_excluded {\n%s\n}\n"+
			"virtual_routes {\n%s\n}\nvirtual_rules {\n%s\n}\n}\n%s\n", s.global, s.top, s.priority, s.interval, s.more, s.vips, s.excluded, s.routes, s.rules, s.tail), 0o600))
	}
	write(now)
	reload := make(chan struct{})
	log := runDirectorReload(t, path, reload)
	eventually(t, 10*time.Second, func() bool { return hasAddress(t, v0, "10.9.0.120") && run("ping -c1 -W1 -n 10.9.0.100") == nil }, log.String)
	transitions := func() int { return strings.Count(log.String(), " STATE") }
	began := transitions()

	monitor := exec.Command("ip", "-o", "monitor", "address", "route", "rule", "link")
	changes := &logBuffer{}
	monitor.Stdout = changes
	must(t, monitor.Start())
	t.Cleanup(func() { _ = monitor.Process.Kill(); _ = monitor.Wait() })
	pinged := make(chan string, 1)
	stopPing := filepath.Join(t.TempDir(), "stop")
	go func() {
		_ = run("ping -q -i 0.005 -n 10.9.0.100 > " + stopPing + ".out 2>&1 & p=$!; while [ ! -e " + stopPing + " ]; do sleep 0.05; done; kill -INT $p; wait $p")
		pinged <- readAll(stopPing + ".out")
	}()

	// Each step has what the kernel may tell of; whatever else it tells is a fault.
	steps := []struct {
		what   string
		change func(*settings)
		only   string // of these addresses and networks
		sees   string // one of them that comes or goes, and so is waited for
	}{
		{"the same file", func(s *settings) {}, "", ""},
		{"an address more", func(s *settings) { s.vips += "\n10.9.0.102" }, "10.9.0.102", "10.9.0.102"},
		{"in another order", func(s *settings) { s.vips = "10.9.0.102\n10.9.0.101/24\n10.9.0.100" }, "", ""},
		{"written with its interface", func(s *settings) { s.vips = "10.9.0.102\n10.9.0.101/24\n10.9.0.100 dev eth0" }, "", ""},
		{"not tracked", func(s *settings) { s.vips = "10.9.0.102\n10.9.0.101/24\n10.9.0.100 no_track" }, "", ""},
		{"with a label", func(s *settings) { s.vips = "10.9.0.102\n10.9.0.101/24 label eth0:v\n10.9.0.100" }, "10.9.0.101", "eth0:v"},
		{"an address less", func(s *settings) { s.vips = "10.9.0.101/24 label eth0:v\n10.9.0.100" }, "10.9.0.102", "Deleted.*10.9.0.102"},
		{"an excluded one more", func(s *settings) { s.excluded += "\n10.9.0.121" }, "10.9.0.121", "10.9.0.121"},
		{"an excluded one less", func(s *settings) { s.excluded = "10.9.0.121" }, "10.9.0.120", "Deleted.*10.9.0.120"},
		{"an excluded one advertised", func(s *settings) { s.vips, s.excluded = s.vips+"\n10.9.0.121", "10.9.0.122" }, "10.9.0.122", "10.9.0.122"},
		{"a route more", func(s *settings) { s.routes += "\n10.32.0.0/16 dev eth0" }, "10.32.0.0", "10.32.0.0"},
		{"a route in other words", func(s *settings) {
			s.routes = "10.31.0.0/16 dev eth0 no_track\n10.30.0.0/16 dev eth0 via 10.9.0.77\n10.32.0.0/16 dev eth0"
		}, "", ""},
		{"another gateway", func(s *settings) {
			s.routes = "10.31.0.0/16 dev eth0\n10.30.0.0/16 via 10.9.0.78 dev eth0\n10.32.0.0/16 dev eth0"
		}, "10.30.0.0", "10.9.0.78"},
		{"a route less", func(s *settings) { s.routes = "10.31.0.0/16 dev eth0\n10.30.0.0/16 via 10.9.0.78 dev eth0" }, "10.32.0.0", "Deleted 10.32.0.0"},
		{"a rule more", func(s *settings) { s.rules += "\nfrom 10.33.0.0/16 table 6 preference 101" }, "10.33.0.0", "10.33.0.0"},
		{"a rule in other words", func(s *settings) {
			s.rules = "from 10.33.0.0/16 preference 101 table 6 no_track\nfrom 10.30.0.0/16 preference 100 table 5"
		}, "", ""},
		{"a rule less", func(s *settings) { s.rules = "from 10.30.0.0/16 preference 100 table 5" }, "10.33.0.0", "Deleted.*10.33.0.0"},
		{"static lines", func(s *settings) {
			s.top = "static_ipaddress {\n10.8.0.5/24 dev eth0\n}\nstatic_routes {\n10.20.0.0/16 dev eth0\n}"
		}, "10.8.0 10.20.0.0", "10.20.0.0"},
		{"static lines tracked", func(s *settings) {
			s.top = "track_group G {\ngroup {\nVI_1\n}\n}\nstatic_ipaddress {\n10.8.0.5/24 dev eth0 track_group G\n}\nstatic_routes {\n10.20.0.0/16 dev eth0 track_group G\n}"
		}, "", ""},
		{"no static lines", func(s *settings) { s.top = "" }, "10.8.0 10.20.0.0", "Deleted.*10.20.0.0"},
		{"a lower priority", func(s *settings) { s.priority = "150" }, "", ""},
		{"a higher one", func(s *settings) { s.priority = "210" }, "", ""},
		{"a slower interval", func(s *settings) { s.interval = "2" }, "", ""},
		{"a faster one", func(s *settings) { s.interval = "1" }, "", ""},
		{"no pre-emption", func(s *settings) { s.more = "nopreempt" }, "", ""},
		{"a notify script", func(s *settings) { s.more = "notify /bin/true\nsmtp_alert" }, "", ""},
		{"a tracked interface", func(s *settings) { s.more = "track_interface {\nlo\n}" }, "", ""},
		{"a tracked file", func(s *settings) {
			s.top, s.more = "track_file F {\nfile "+path+".number\nweight 1\ninit_file 3\n}", "track_file {\nF\n}"
		}, "", ""},
		{"another instance", func(s *settings) {
			s.top, s.more = "", ""
			s.tail = "vrrp_instance VI_2 {\ninterface eth0\nvirtual_router_id 52\npriority 10\nadvert_int 40\nvirtual_ipaddress {\n10.9.0.130\n}\n}\n"
		}, "", ""},
		{"without it", func(s *settings) { s.tail = "" }, "", ""},
		{"a group of its own", func(s *settings) { s.tail = "vrrp_sync_group G {\ngroup {\nVI_1\n}\n}\n" }, "", ""},
		{"without a group", func(s *settings) { s.tail = "" }, "", ""},
		{"global defaults", func(s *settings) { s.global = "vrrp_garp_master_refresh 60\nvrrp_garp_master_repeat 2\nrouter_id X" }, "", ""},
		{"a source address", func(s *settings) { s.more = "mcast_src_ip 10.9.0.1" }, "", ""},
		{"no_accept for nobody else", func(s *settings) { s.more = "promote_secondaries" }, "", ""},
		{"by unicast", func(s *settings) { s.more = "unicast_peer {\n10.9.0.9\n}" }, "", ""},
		{"to two", func(s *settings) { s.more = "unicast_peer {\n10.9.0.9\n10.9.0.8\n}" }, "", ""},
		{"by multicast again", func(s *settings) { s.more = "" }, "", ""},
	}
	for _, step := range steps {
		applied := strings.Count(log.String(), "config.applied:")
		before := len(changes.String())
		step.change(&now)
		write(now)
		reload <- struct{}{}
		eventually(t, 5*time.Second, func() bool { return strings.Count(log.String(), "config.applied:") > applied }, func() string { return step.what + log.String() })
		if step.sees != "" {
			seen := regexp.MustCompile(step.sees)
			eventually(t, 5*time.Second, func() bool { return seen.MatchString(changes.String()[before:]) }, func() string { return step.what + ": " + changes.String()[before:] + log.String() })
		}
		if strings.HasSuffix(step.what, "one more") || step.what == "an address more" { // clients may know somebody else by it
			eventually(t, 2*time.Second, func() bool { return strings.Contains(announced.String(), step.only) }, func() string { return step.what + " was not announced: " + log.String() })
		}
		time.Sleep(30 * time.Millisecond) // whatever else there is
		for line := range strings.Lines(changes.String()[before:]) {
			mine := false
			for word := range strings.FieldsSeq(step.only) {
				mine = mine || strings.Contains(line, word)
			}
			if !mine && !strings.Contains(line, "inet6 fe80") && !strings.Contains(line, "lladdr") && !strings.Contains(line, "fe80::") && !strings.Contains(line, "br0") {
				t.Errorf("%s: the kernel tells of %s", step.what, line)
			}
		}
		if n := transitions(); step.what != "another instance" && step.what != "without it" && n != began || strings.Contains(log.String(), "(VI_1) Entering STOP") {
			t.Errorf("%s: %d changes of state\n%s", step.what, n-began, log)
		}
		began = transitions()
	}
	must(t, os.WriteFile(stopPing, nil, 0o600))
	out := <-pinged
	m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("ping: %s", out)
	}
	sent, _ := strconv.Atoi(m[1])
	got, _ := strconv.Atoi(m[2])
	t.Logf("%d reloads, %d packets, %d lost", len(steps), sent, sent-got)
	if sent-got > 1 || sent < 50 { // the one in flight when ping ends
		t.Errorf("a client lost %d of %d packets\n%s", sent-got, sent, log)
	}
	if len(farewells) > 0 {
		t.Errorf("%d farewells on the wire\n%s", len(farewells), log)
	}
	if strings.Contains(log.String(), "host.error") || strings.Contains(log.String(), "vrrp.repair") {
		t.Errorf("%s", log)
	}
	if got := strings.TrimSpace(readAll("/proc/sys/net/ipv4/conf/eth0/promote_secondaries")); got != "1" {
		t.Errorf("promote_secondaries is %s", got)
	}
}
