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

	"quorate/internal/testenv"
)

// TestVMAC: a real director's virtual interface, as clients and the next worker find it.
func TestVMAC(t *testing.T) {
	testenv.Need(t, "ping")
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	must(t, netlink.LinkSetName(v0, "eth0"))
	must(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("1"), 0)) // strict, as many distributions have it
	wire := openTap(t, v0)
	run := client(t, v1, "ip addr add 10.9.0.9/24 dev v1")
	dir := t.TempDir()
	path := filepath.Join(dir, "keepalived.conf")
	conf := func(lines string) {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 200\n version 3\n advert_int 0.5\n %s\n virtual_ipaddress {\n 10.9.0.100\n }\n}\n", lines), 0o600))
	}
	var log *logBuffer
	start := func() *exec.Cmd {
		log = &logBuffer{}
		c := exec.Command("/proc/self/exe", "--worker=o", "director", "10.9.0.1/24", path, dir)
		c.Stdout, c.Stderr = log, log
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		eventually(t, 10*time.Second, func() bool { return strings.Contains(log.String(), "(VI_1) Entering MASTER") }, func() string { return log.String() })
		return c
	}
	has := func(name string) netlink.Link {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return nil
		}
		return l
	}
	const mac = "00:00:5e:00:01:33"
	answers := func(mac string) {
		t.Helper()
		eventually(t, 5*time.Second, func() bool {
			return run("ip neigh flush to 10.9.0.100; ping -c1 -W1 -n 10.9.0.100; ip neigh show to 10.9.0.100 | grep -q 'lladdr "+mac+"'") == nil
		}, func() string { return fmt.Sprint(run("ip neigh show"), log) })
	}
	conf("use_vmac")
	c := start()
	vm := has("vrrp.51")
	if m, ok := vm.(*netlink.Macvlan); !ok || m.HardwareAddr.String() != mac || m.ParentIndex != v0.Attrs().Index || m.Mode != netlink.MACVLAN_MODE_PRIVATE {
		t.Fatalf("%+v\n%s", vm, log)
	}
	eventually(t, 5*time.Second, func() bool { return hasAddress(t, vm, "10.9.0.100") && !hasAddress(t, v0, "10.9.0.100") }, log.String)
	answers(mac)
	for path, want := range map[string]string{
		"ipv4/conf/vrrp.51/arp_ignore": "1", "ipv4/conf/vrrp.51/rp_filter": "2", "ipv4/conf/vrrp.51/accept_local": "1",
		"ipv6/conf/vrrp.51/disable_ipv6": "1", "ipv4/conf/eth0/arp_ignore": "1", "ipv4/conf/eth0/arp_filter": "1",
	} {
		if got := strings.TrimSpace(readAll("/proc/sys/net/" + path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if err := run("arping -c1 -w1 -I v1 10.9.0.1"); err != nil {
		t.Errorf("nobody answers for the address of the parent: %v", err)
	}
	garp := wire.next(0x0806, func(f []byte) bool { return net.IP(f[28:32]).String() == "10.9.0.100" })
	if net.HardwareAddr(garp[6:12]).String() != mac || net.HardwareAddr(garp[22:28]).String() != mac || net.IP(garp[38:42]).String() != "10.9.0.100" {
		t.Errorf("gratuitous ARP % x", garp)
	}
	advert := wire.next(0x0800, func(f []byte) bool { return f[23] == 112 })
	if net.HardwareAddr(advert[6:12]).String() != mac || net.IP(advert[26:30]).String() != "10.9.0.1" || advert[22] != 255 {
		t.Errorf("advert % x", advert)
	}

	// A killed worker: the interface stays the same, and whoever pings does not notice.
	pinged := make(chan error, 1)
	go func() { pinged <- run("ping -i 0.02 -c 100 -W 1 -n 10.9.0.100 | grep ' 0% packet loss'") }()
	time.Sleep(300 * time.Millisecond)
	must(t, c.Process.Kill())
	_ = c.Wait()
	c = start()
	if err := <-pinged; err != nil {
		t.Errorf("clients noticed: %v\n%s", err, log)
	}
	if again := has("vrrp.51"); again == nil || again.Attrs().Index != vm.Attrs().Index || !strings.Contains(log.String(), "still ours") {
		t.Errorf("%+v instead of the interface that was there, %+v\n%s", again, vm, log)
	}

	must(t, netlink.LinkDel(has("vrrp.51"))) // by hand
	eventually(t, 10*time.Second, func() bool { l := has("vrrp.51"); return l != nil && hasAddress(t, l, "10.9.0.100") }, log.String)
	answers(mac)

	must(t, c.Process.Kill())
	_ = c.Wait()
	conf("use_vmac v51 02:00:00:00:05\n vmac_xmit_base")
	c = start()
	eventually(t, 5*time.Second, func() bool {
		l := has("v51")
		return l != nil && hasAddress(t, l, "10.9.0.100") && has("vrrp.51") == nil
	}, log.String)
	answers("02:00:00:00:05:33")
	wire.next(0x0800, func(f []byte) bool { return f[23] == 112 && net.HardwareAddr(f[6:12]).String() == "02:00:00:00:00:01" })
	must(t, c.Process.Signal(syscall.SIGTERM))
	if err := c.Wait(); err != nil || has("v51") != nil || hasAddress(t, v0, "10.9.0.100") {
		t.Errorf("left behind: %v %v\n%s", err, has("v51"), log)
	}

	// A name that somebody else has.
	must(t, netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "taken", ParentIndex: v0.Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE}))
	conf("use_vmac taken")
	log = &logBuffer{}
	c = exec.Command("/proc/self/exe", "--worker=o", "director", "10.9.0.1/24", path, dir)
	c.Stdout, c.Stderr = log, log
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	eventually(t, 10*time.Second, func() bool {
		return strings.Contains(log.String(), "there is an interface of that name already") && strings.Contains(log.String(), "host.error")
	}, log.String)
	must(t, c.Process.Signal(syscall.SIGTERM))
	_ = c.Wait()
	if has("taken") == nil {
		t.Errorf("somebody else's interface was removed\n%s", log)
	}
}

// TestVMACReload: use_vmac comes and goes at a reload, and so do its interface, its firewall and its routes.
func TestVMACReload(t *testing.T) {
	if !inNetns(t) {
		return
	}
	cable(t)
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	conf := func(vmac, more string) {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "%s\nvrrp_instance VI_1 {\n interface v0\n virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n %s\n virtual_ipaddress {\n 10.9.0.100\n }\n"+
			" virtual_routes {\n 10.30.0.0/16 dev v0 src 10.9.0.100\n }\n}\n", more, vmac), 0o600))
	}
	conf("", "")
	reload := make(chan struct{})
	log := runDirectorReload(t, path, reload)
	on := func() (dev string) {
		list, err := netlink.LinkList()
		must(t, err)
		for _, l := range list {
			if hasAddress(t, l, "10.9.0.100") {
				dev += l.Attrs().Name + " "
			}
		}
		return dev
	}
	route := func(dst string) bool {
		_, n, err := net.ParseCIDR(dst)
		must(t, err)
		list, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: n}, netlink.RT_FILTER_DST)
		must(t, err)
		return len(list) == 1
	}
	for _, step := range []struct {
		vmac, more, dev string
		static          bool
	}{
		{"", "", "v0 ", false},
		{"use_vmac", "static_routes {\n 10.40.0.0/16 dev v0\n}", "vrrp.51 ", true},
		{"use_vmac\n no_accept", "static_routes {\n 10.40.0.0/16 dev v0\n}", "vrrp.51 ", true},
		{"use_vmac v51", "", "v51 ", false},
		{"", "", "v0 ", false},
	} {
		if strings.Contains(log.String(), "Entering MASTER") {
			conf(step.vmac, step.more)
			reload <- struct{}{}
		}
		eventually(t, 10*time.Second, func() bool {
			_, err51 := netlink.LinkByName("vrrp.51")
			_, err := netlink.LinkByName("v51")
			return on() == step.dev && (err51 == nil) == (step.dev == "vrrp.51 ") && (err == nil) == (step.dev == "v51 ") &&
				ownTable(t) == strings.Contains(step.vmac, "no_accept") && route("10.30.0.0/16") && route("10.40.0.0/16") == step.static
		}, func() string { return fmt.Sprintf("%+v: on %s\n%s", step, on(), log) })
	}
	if strings.Contains(log.String(), "host.error") || strings.Contains(log.String(), "vrrp.repair") {
		t.Errorf("%s", log)
	}
}
