package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quorate/internal/testenv"
)

// routesConf has every kind of line that the kernels of our test machines take.
const routesConf = `static_ipaddress {
    10.8.0.1/24 dev eth0
}
static_routes {
    10.20.0.0/16 via 10.9.0.77 dev eth0
    blackhole 10.21.0.0/16
}
static_rules {
    from 10.20.0.0/16 table 77
    fwmark 7 lookup 79
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 200
    version 3
    advert_int 0.1
    virtual_ipaddress {
        10.9.0.100
    }
    virtual_ipaddress_excluded {
        2001:db8::100/64
    }
    virtual_routes {
        10.30.0.0/16 via 10.9.0.77 dev eth0 src 10.9.0.100
        10.31.0.0/16 dev eth0 metric 7 table 200 scope link
        blackhole 10.32.0.0/16
        unreachable 10.33.0.0/16 no_track
        prohibit 10.34.0.0/16
        throw 10.35.0.0/16 table 1000
        10.36.0.0/16 nexthop via 10.9.0.77 dev eth0 weight 2 nexthop via 10.9.0.78 dev eth0 weight 3 onlink
        10.37.0.0/16 via 10.9.0.77 dev eth0 mtu lock 1400 advmss 1300 initcwnd 20 initrwnd 30 quickack 1 hoplimit 33 rtt 100ms window 5000 features ecn congctl cubic
        10.38.0.0/16 via 10.99.0.1 dev eth0 onlink realms 3/4 tos 0x10
        10.39.0.0/16 dev eth0 rto_min 20ms
        10.40.0.0/16 dev eth0 rtt 300ms rttvar lock 301
        10.41.0.0/16 dev eth0 protocol 33 no_track
        10.43.0.0/16 dev eth0 encap ip id 5 dst 10.9.0.5 src 10.9.0.1 tos 0x10 ttl 7
        10.44.0.0/16 via 10.9.0.77 encap ip6 id 5 dst 2001:db8::5 src 2001:db8::1 tc 0x10 hoplimit 7 dev eth0
        2001:db8:b::/48 dev eth0 encap ip id 6 dst 10.9.0.5
        2001:db8:c::/48 encap ip6 dst 2001:db8::7 dev eth0
        10.42.0.0/16 dev eth0 advmss lock 1300 fastopen_no_cookie 1 cwnd 10 ssthresh 7 reordering 5
        default via 10.9.0.77 metric 500
        2001:db8:5::/48 via 2001:db8::77 dev eth0 metric 5 pref high
        2001:db8:6::/48 dev eth0
        2001:db8:9::/48 dev eth0 from 2001:db8:a::/48
        blackhole 2001:db8:7::/48
    }
    virtual_rules {
        from 10.30.0.0/16 to 10.31.0.0/16 table 200 preference 100
        to 10.31.0.0/16 lookup main
        not from 10.1.0.0/16 fwmark 0x10/0xff table 1000
        iif eth0 goto 32000 preference 200
        from 10.40.0.0/16 blackhole preference 300
        from 10.41.0.0/16 prohibit
        sport 80-90 ipproto 17 uidrange 0-100 table 203 suppress_prefixlength 0 preference 401
        from 2001:db8:5::/48 table 204
        tos 0x10 table 205 preference 402
        iif eth0 l3mdev preference 500
        from 10.42.0.0/16 nop preference 501
        tunnel-id 5 table 206 preference 502
        from 10.43.0.0/16 realms 3/4 table 207 preference 503
        from 10.44.0.0/16 table 208 suppress_ifgroup 4 preference 504
    }
}
`

// ip is what iproute2 says in the namespace of a process.
func (d *director) ip(words string) string {
	args := append([]string{"-t", fmt.Sprint(d.cmd.Process.Pid), "-n", "ip"}, strings.Fields(words)...)
	out, err := exec.Command("nsenter", args...).CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

// paths are all routes and rules that are not the kernel's own.
func (d *director) paths() string {
	return d.ip("-4 route show table all proto keepalived") + d.ip("-4 route show table all proto 33") +
		d.ip("-6 route show table all proto keepalived") + d.ip("-4 rule show") + d.ip("-6 rule show")
}

// Routes and rules of a real keepalived and ours, from the same file: the kernel has the same.
func TestRoutes(t *testing.T) {
	testenv.Need(t, "keepalived")
	if !inNetns(t) {
		return
	}
	bridge(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "keepalived.conf")
	must(t, os.WriteFile(path, []byte(routesConf), 0o600))

	theirs := startKeepalived(t, "10.9.0.1/24", path)
	settled := func(d *director) (all string) {
		eventually(t, 15*time.Second, func() bool {
			all = d.paths()
			return strings.Contains(all, "10.30.0.0/16 via") && strings.Contains(all, "suppress_ifgroup") && d.paths() == all
		}, func() string { return d.paths() + d.log.String() })
		return all
	}
	want := settled(theirs)
	must(t, theirs.cmd.Process.Signal(syscall.SIGTERM))
	_ = theirs.cmd.Wait()

	ours := startDirector(t, "o", "10.9.0.1/24", path)
	eventually(t, 10*time.Second, func() bool { return strings.Contains(ours.paths(), "10.20.0.0/16 via") }, ours.log.String)
	if got := settled(ours); got != want {
		t.Fatalf("we have\n%s\nkeepalived had\n%s\n%s", got, want, ours.log)
	}
	if bad := "host.error"; strings.Contains(ours.log.String(), bad) {
		t.Errorf("%s", ours.log)
	}

	// Whatever somebody deletes comes back: routes and rules of an instance, static ones, and what the kernel drops by itself.
	for _, cmd := range []string{
		"route del 10.30.0.0/16", "rule del preference 100", "-6 route del 2001:db8:6::/48", "route flush table 200",
		"route del 10.20.0.0/16", "rule del from 10.20.0.0/16", "-6 rule del from 2001:db8:5::/48",
		"addr del 10.9.0.100/32 dev eth0", // the source of 10.30.0.0/16 goes with it
		"route flush proto keepalived",
	} {
		if out := ours.ip(cmd); out != "" {
			t.Errorf("%s: %s", cmd, out)
		}
		if cmd == "route flush proto keepalived" { // but for what nobody tracks
			want = strings.Replace(want, "unreachable 10.33.0.0/16 proto keepalived \n", "", 1)
			want = strings.Replace(want, "unreachable 10.33.0.0/16 \n", "", 1)
		}
		eventually(t, 10*time.Second, func() bool { return ours.paths() == want },
			func() string { return cmd + ":\n" + ours.paths() + ours.log.String() })
	}
	if !strings.Contains(ours.log.String(), "vrrp.repair: rule from 10.30.0.0/16 to 10.31.0.0/16 table 200 preference 100 was gone, added again") {
		t.Errorf("nobody was told\n%s", ours.log)
	}
	ours.ip("addr del 10.8.0.1/24 dev eth0")
	eventually(t, 10*time.Second, func() bool { return ours.holds("10.8.0.1") }, ours.log.String)

	left := ours.stop(t)
	if strings.Contains(left, "keepalived") || strings.Contains(left, "proto 33") || strings.Contains(left, "10.8.0.1") || !strings.Contains(left, "10.9.0.1/24") {
		t.Errorf("left on the host:\n%s\n%s", left, ours.log)
	}
}

// stop ends a director and returns what is on its host then.
func (d *director) stop(t *testing.T) string {
	t.Helper()
	keep, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", d.cmd.Process.Pid)) // outlives the director
	must(t, err)
	defer func() { _ = keep.Close() }()
	must(t, d.cmd.Process.Signal(syscall.SIGTERM))
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("stop: %v\n%s", err, d.log)
	}
	left, err := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), keep.Fd()), "sh", "-c",
		"ip -4 route show table all; ip -6 route show table all; ip rule show; ip -6 rule; ip addr show").CombinedOutput()
	must(t, err)
	return string(left)
}

// A killed director's routes and rules stay, and the next one has them as its own: what is still wanted is never gone, the
// rest goes, also if it is too late to go on as MASTER.
func TestRoutesAfterKill(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, _ := cable(t)
	must(t, netlink.LinkSetName(v0, "eth0"))
	dir := t.TempDir()
	path := filepath.Join(dir, "keepalived.conf")
	conf := func(routes string) {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "static_routes {\n10.20.0.0/16 dev eth0\n}\nvrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 200\n"+
			" version 3\n advert_int 1\n virtual_ipaddress {\n 10.9.0.100\n }\n virtual_routes {\n %s\n }\n virtual_rules {\n from 10.30.0.0/16 table 5 preference 100\n }\n}\n", routes), 0o600))
	}
	var log *logBuffer
	start := func() *exec.Cmd {
		log = &logBuffer{}
		c := exec.Command("/proc/self/exe", "--worker=o", "director", "10.9.0.1/24", path, dir)
		c.Stdout, c.Stderr = log, log
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c
	}
	have := func() string {
		out, err := exec.Command("sh", "-c", "ip -o route show proto keepalived; ip -o rule show | grep keepalived").CombinedOutput()
		if err != nil && len(out) == 0 {
			return "none"
		}
		return string(out)
	}
	is := func(want string) {
		t.Helper()
		eventually(t, 15*time.Second, func() bool { return have() == want }, func() string { return have() + log.String() })
	}
	kill := func(c *exec.Cmd, noted string) { // the note is written beside the loop
		eventually(t, 5*time.Second, func() bool {
			b, _ := os.ReadFile(filepath.Join(dir, "vrrp-held.json"))
			return strings.Contains(string(b), noted)
		}, func() string { return noted + " is not noted\n" + log.String() })
		must(t, c.Process.Kill())
		_ = c.Wait()
	}
	const rule = "100:\tfrom 10.30.0.0/16 lookup 5 proto keepalived\n"
	shown := func(nets ...string) (all string) {
		for _, n := range nets {
			all += n + " dev eth0 \n"
		}
		return all + rule
	}
	conf("10.30.0.0/16 dev eth0\n 10.31.0.0/16 dev eth0")
	c := start()
	is(shown("10.20.0.0/16", "10.30.0.0/16", "10.31.0.0/16"))
	kill(c, "10.31.0.0/16")
	if got := have(); got != shown("10.20.0.0/16", "10.30.0.0/16", "10.31.0.0/16") {
		t.Fatalf("the kernel should keep %s", got)
	}

	conf("10.30.0.0/16 dev eth0\n 10.32.0.0/16 dev eth0")
	monitor := exec.Command("ip", "-o", "monitor", "route", "rule")
	changes := &logBuffer{}
	monitor.Stdout = changes
	must(t, monitor.Start())
	t.Cleanup(func() { _ = monitor.Process.Kill(); _ = monitor.Wait() })
	c = start()
	is(shown("10.20.0.0/16", "10.30.0.0/16", "10.32.0.0/16"))
	if text := changes.String(); strings.Contains(text, "10.20.0.0") || strings.Contains(text, "10.30.0.0") {
		t.Errorf("what is still wanted was touched:\n%s\n%s", text, log)
	}
	kill(c, "10.32.0.0/16")
	time.Sleep(4 * time.Second) // longer than others wait
	conf("10.33.0.0/16 dev eth0")
	c = start()
	is("10.20.0.0/16 dev eth0 \n")
	is(shown("10.20.0.0/16", "10.33.0.0/16"))
	must(t, c.Process.Signal(syscall.SIGTERM))
	_ = c.Wait()
	is("none")
}
