package host

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/internal/testenv"
	"quorate/sim/uml"
)

// hasIPVLAN finds out by trying.
func hasIPVLAN(t *testing.T, parent netlink.Link) bool {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = "try", parent.Attrs().Index
	err := netlink.LinkAdd(&netlink.IPVlan{LinkAttrs: attrs, Mode: netlink.IPVLAN_MODE_L2})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return false
	}
	must(t, err)
	l, err := netlink.LinkByName("try")
	must(t, err)
	must(t, netlink.LinkDel(l))
	return true
}

// TestIPVLAN: use_ipvlan as clients find it, and the next worker. On a kernel without ipvlan, what is missing and what to do about it is said
// at the start, the instance is in FAULT, and no address ends up elsewhere.
func TestIPVLAN(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	must(t, netlink.LinkSetDown(v0)) // an older kernel renames no other
	must(t, netlink.LinkSetName(v0, "eth0"))
	must(t, netlink.LinkSetUp(v0))
	have := hasIPVLAN(t, v0)
	wire := openTap(t, v0)
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	write := func(lines string) {
		must(t, os.WriteFile(path, fmt.Appendf(nil, "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\npriority 200\nversion 3\nadvert_int 0.2\n%s\nvirtual_ipaddress {\n10.9.0.100\n}\n}\n", lines), 0o600))
	}
	write("use_ipvlan 10.9.0.51/24 private")
	reload := make(chan struct{})
	log := runDirectorReload(t, path, reload)
	if !have {
		fmt.Println("a kernel without ipvlan")
		eventually(t, 10*time.Second, func() bool {
			return strings.Contains(log.String(), "virtual interface vrrp.51 on eth0: operation not supported: this kernel has no ipvlan (modprobe ipvlan)") && strings.Contains(log.String(), "Entering FAULT STATE")
		}, log.String)
		if hasAddress(t, v0, "10.9.0.100") {
			t.Errorf("on the interface itself\n%s", log)
		}
		return
	}
	run := client(t, v1, "ip addr add 10.9.0.9/24 dev v1")
	is := func(name string) netlink.Link {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return nil
		}
		return l
	}
	eventually(t, 20*time.Second, func() bool { l := is("vrrp.51"); return l != nil && hasAddress(t, l, "10.9.0.100") }, log.String)
	vm, ok := is("vrrp.51").(*netlink.IPVlan)
	if !ok || vm.Mode != netlink.IPVLAN_MODE_L2 || vm.Flag != netlink.IPVLAN_FLAG_PRIVATE || !hasAddress(t, vm, "10.9.0.51") || hasAddress(t, v0, "10.9.0.100") {
		t.Fatalf("%+v\n%s", is("vrrp.51"), log)
	}
	mac := v0.Attrs().HardwareAddr.String()
	advert := wire.next(0x0800, func(f []byte) bool { return f[23] == 112 })
	if net.HardwareAddr(advert[6:12]).String() != mac || net.IP(advert[26:30]).String() != "10.9.0.51" {
		t.Errorf("advert % x", advert)
	}
	if err := run("ping -c1 -W5 -n 10.9.0.100 && ip neigh show to 10.9.0.100 | grep -q 'lladdr " + mac + "'"); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	write("use_ipvlan name ipv7 10.9.0.52/24 private")
	reload <- struct{}{}
	eventually(t, 20*time.Second, func() bool {
		l := is("ipv7")
		return l != nil && hasAddress(t, l, "10.9.0.100") && is("vrrp.51") == nil
	}, log.String)
	write("")
	reload <- struct{}{}
	eventually(t, 20*time.Second, func() bool { return hasAddress(t, v0, "10.9.0.100") && is("ipv7") == nil }, log.String)
	if strings.Contains(log.String(), "host.error") {
		t.Errorf("%s", log)
	}
}

// TestIPVLANInGuest is TestIPVLAN on a kernel that has it.
func TestIPVLANInGuest(t *testing.T) {
	testenv.NeedUML(t)
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	var out, console bytes.Buffer
	code, err := uml.Run(t.Context(), uml.Job{Argv: []string{self, "-test.run=^TestIPVLAN$", "-test.v", "-test.timeout=90s"}, Timeout: 100 * time.Second, Stdout: &out, Console: &console})
	if err != nil || code != 0 || !strings.Contains(out.String(), "--- PASS: TestIPVLAN ") {
		t.Errorf("%v, status %d\n%s\n---- console\n%s", err, code, out.String(), console.String())
	}
	if strings.Contains(out.String(), "without ipvlan") {
		t.Errorf("the guest has none either:\n%s", out.String())
	}
}
