package host

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// What administrators do to interfaces under a director: another name, another Ethernet address, another MTU, another namespace, deleted
// and made anew. No address stays where this director does not care for it, and all comes back (keepalived 2.2.7 does the same, but for the
// announcement).
func TestInterfaceChanges(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	must(t, netlink.LinkSetName(v0, "eth0"))
	second := func() {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "far"}))
		for _, name := range []string{"eth1", "far"} {
			l, err := netlink.LinkByName(name)
			must(t, err)
			must(t, netlink.LinkSetUp(l))
		}
	}
	second()
	other := exec.Command("sleep", "100")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	must(t, other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	must(t, os.WriteFile(path, []byte("global_defs {\nvrrp_version 3\nvrrp_garp_master_repeat 2\nvrrp_garp_master_delay 600\n}\nvrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\npriority 200\nadvert_int 0.2\nvirtual_ipaddress {\n10.9.0.100\n}\n"+
		"virtual_ipaddress_excluded {\n10.8.0.100/24 dev eth1\n}\nvirtual_routes {\n10.30.0.0/16 dev eth1\n10.31.0.0/16 nexthop via 10.9.0.77 dev eth0 nexthop via 10.8.0.77 dev eth1\n}\n}\n"), 0o600))
	log := runDirectorReload(t, path, nil)
	sh := func(words string) string {
		t.Helper()
		out, err := exec.Command("sh", "-c", words).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v %s", words, err, out)
		}
		return string(out)
	}
	// held are the interfaces with a virtual address or route.
	held := func() string {
		var on []string
		for line := range strings.Lines(sh("ip -o addr; ip -o route show proto keepalived")) {
			w := strings.Fields(line)
			switch {
			case len(w) > 3 && (w[3] == "10.9.0.100/32" || w[3] == "10.8.0.100/24"):
				on = append(on, w[1])
			case strings.HasPrefix(line, "10.30."), strings.HasPrefix(line, "10.31."):
				on = append(on, "route "+w[0])
			}
		}
		return strings.Join(on, " ")
	}
	const all = "eth0 eth1 route 10.30.0.0/16 route 10.31.0.0/16"
	is := func(want string) {
		t.Helper()
		eventually(t, 10*time.Second, func() bool { return held() == want }, func() string { return held() + ", want " + want + "\n" + log.String() })
	}
	states := func() int { return strings.Count(log.String(), " FAULT STATE") }
	is(all)

	wire := openTap(t, v1)
	was := states()
	sh("ip link set eth0 address 02:00:00:00:00:77")
	for range 2 {
		garp := wire.next(0x0806, func(f []byte) bool {
			return net.IP(f[28:32]).String() == "10.9.0.100" && net.IP(f[38:42]).String() == "10.9.0.100"
		})
		if got := net.HardwareAddr(garp[6:12]).String() + " " + net.HardwareAddr(garp[22:28]).String(); got != "02:00:00:00:00:77 02:00:00:00:00:77" {
			t.Errorf("announced from %s\n%s", got, log)
		}
	}
	sh("ip link set eth0 mtu 1400")
	time.Sleep(100 * time.Millisecond)
	is(all)
	if states() != was {
		t.Errorf("after another Ethernet address and MTU:\n%s", log)
	}

	for _, step := range []struct{ do, undo, left string }{
		{"ip link set eth1 name eth9", "ip link set eth9 name eth1", ""},
		{"ip link set eth0 name eth7", "ip link set eth7 name eth0", ""},
		{"ip link set eth1 down", "ip link set eth1 up", ""},
		{"ip link del eth1", "", ""},
		{fmt.Sprintf("ip link set eth1 netns %d", other.Process.Pid), fmt.Sprintf("nsenter -t %d -n ip link set eth1 netns %d; ip link set eth1 up", other.Process.Pid, os.Getpid()), ""},
	} {
		sh(step.do)
		is(step.left)
		if step.undo == "" {
			second()
		} else {
			sh(step.undo)
		}
		is(all)
	}
	if strings.Contains(log.String(), "host.error: remove") {
		t.Errorf("%s", log)
	}
}
