package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// everythingConf puts something of every kind on the host.
const everythingConf = `global_defs {
    nftables gate
}
static_ipaddress {
    10.8.0.5/24 dev eth0
    2001:db8:8::5/64 dev eth0
}
static_routes {
    10.20.0.0/16 via 10.9.0.77 dev eth0
    2001:db8:20::/48 dev eth0
}
static_rules {
    from 10.20.0.0/16 table 77 preference 77
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 200
    version 3
    advert_int 0.1
    no_accept
    virtual_ipaddress {
        10.9.0.100
        10.9.0.101/24 label eth0:v
        10.9.0.102 peer 10.7.0.3
    }
    virtual_ipaddress_excluded {
        2001:db8::100/64
        10.6.0.100/24 dev eth1
    }
    virtual_routes {
        10.30.0.0/16 via 10.9.0.77 dev eth0 src 10.9.0.100
        blackhole 10.32.0.0/16 table 200
        2001:db8:30::/48 dev eth0
        10.33.0.0/16 dev eth0 encap ip dst 10.9.0.5
    }
    virtual_rules {
        from 10.30.0.0/16 table 200 preference 100
        from 2001:db8:30::/48 table 200 preference 101
    }
}
vrrp_instance VI_2 {
    interface eth0
    virtual_router_id 52
    priority 200
    version 3
    advert_int 0.1
    use_vmac
    virtual_ipaddress {
        10.9.0.110
    }
}
`

// A daemon that was killed leaves everything; the next one, whose configuration has none of it, leaves nothing of it. Neither do
// instances that changed their VRID or their interface in between.
func TestLeftovers(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, _ := cable(t)
	must(t, netlink.LinkSetName(v0, "eth0"))
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "far"}))
	for _, name := range []string{"eth1", "far"} {
		l, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(l))
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "keepalived.conf")
	varies := regexp.MustCompile(`(?m)^.*(fe80|ff00|10\.9\.0\.240).*\n|tentative|qlen \d+| +valid_lft.*| promiscuity.*|@\w+|\\.*$`)
	host := func() string {
		out, err := exec.Command("sh", "-c", "ip -o addr; ip -o link; ip -4 route show table all; ip -6 route show table all; ip rule; ip -6 rule").CombinedOutput()
		must(t, err)
		c, err := nftables.New()
		must(t, err)
		tables, err := c.ListTables()
		must(t, err)
		list := strings.Split(varies.ReplaceAllString(string(out), ""), "\n")
		for _, x := range tables {
			list = append(list, "table "+x.Name)
		}
		slices.Sort(list)
		return strings.Join(list, "\n")
	}
	var log *logBuffer
	start := func(conf string) *exec.Cmd {
		t.Helper()
		must(t, os.WriteFile(path, []byte(conf), 0o600))
		log = &logBuffer{}
		c := exec.Command("/proc/self/exe", "--worker=o", "director", "10.9.0.1/24", path, dir)
		c.Stdout, c.Stderr = log, log
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c
	}
	kill := func(c *exec.Cmd) {
		time.Sleep(50 * time.Millisecond) // the note is written beside the loop
		must(t, c.Process.Kill())
		_ = c.Wait()
	}
	const plain = "vrrp_instance VI_9 {\n interface eth0\n virtual_router_id 9\n priority 200\n version 3\n advert_int 0.1\n virtual_ipaddress {\n 10.9.0.240\n }\n}\n"
	v0, err := netlink.LinkByName("eth0")
	must(t, err)
	c := start(plain)
	eventually(t, 10*time.Second, func() bool { return hasAddress(t, v0, "10.9.0.240") }, log.String)
	kill(c)
	before := host()
	for k, next := range []string{
		plain,
		"vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n virtual_ipaddress {\n 10.9.0.240\n }\n}\n",                         // the same router with something else
		"vrrp_instance VI_2 {\n interface eth0\n virtual_router_id 52\n priority 10\n version 3\n advert_int 40\n virtual_ipaddress {\n 10.9.0.240\n }\n}\n",                           // one that stays BACKUP
		"vrrp_instance VI_1 {\n interface eth1\n virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n mcast_src_ip 10.9.0.1\n virtual_ipaddress {\n 10.9.0.240\n }\n}\n", // elsewhere
	} {
		c = start(everythingConf)
		eventually(t, 10*time.Second, func() bool {
			now := host()
			return strings.Contains(now, "table gate") && strings.Contains(now, "10.9.0.110") && strings.Contains(now, "2001:db8:30::/48") && strings.Contains(now, "lookup 200") && strings.Contains(now, "vrrp.52") &&
				strings.Contains(now, "10.33.0.0/16") && strings.Contains(now, "10.9.0.102")
		}, func() string { return host() + log.String() })
		if strings.Contains(log.String(), "host.error") {
			t.Errorf("%s", log)
		}
		if k%2 == 1 {
			time.Sleep(300 * time.Millisecond) // longer than others wait
		}
		kill(c)
		c = start(next)
		eventually(t, 10*time.Second, func() bool { return host() == before },
			func() string { return fmt.Sprintf("%s\nleft:\n%s\nbefore:\n%s\n%s", next, host(), before, log) })
		kill(c)
	}
}
