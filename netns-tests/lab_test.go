package netnstests

import (
	"slices"
	"testing"
	"time"
)

// keepalivedConf is one group of three for Debian's keepalived, fast enough for a test.
const keepalivedConf = `
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
@d1 priority 150
@d2 priority 120
@d3 priority 100
    version 3
    advert_int 0.2
    virtual_ipaddress {
        192.168.2.240/24
    }
}
`

// The lab is right before our daemon runs on it: Debian's keepalived, alone on it, elects one owner, follows a pulled
// cable and a kill, and an independent decoder finds nothing wrong with what the lab recorded.
func TestLabWithKeepalived(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3", "client")
	directors := []string{"d1", "d2", "d3"}
	conf := w.write("keepalived.conf", keepalivedConf)
	for _, d := range directors {
		w.keepalived(d, conf)
	}
	w.owned(10*time.Second, "d1", vip, directors...)
	w.steady(time.Second, "d1", vip, directors...)

	if err := w.lab.Host("d1").Link(false); err != nil {
		t.Fatal(err)
	}
	w.owned(10*time.Second, "d2", vip, directors...)
	if err := w.lab.Host("d1").Link(true); err != nil {
		t.Fatal(err)
	}
	w.owned(10*time.Second, "d1", vip, directors...)

	w.kill("d1")
	w.owned(10*time.Second, "d2", vip, "d2", "d3")

	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	lines := w.tshark("vrrp", "eth.src", "ip.src", "ip.ttl", "vrrp.version", "vrrp.virt_rtr_id", "vrrp.prio", "vrrp.checksum.status", "vrrp.ip_addr")
	for _, want := range []string{
		"02:00:c0:a8:02:d2 192.168.2.210 255 3 51 150 1 192.168.2.240",
		"02:00:c0:a8:02:d3 192.168.2.211 255 3 51 120 1 192.168.2.240",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no advert %q in the capture; first of %d: %q", want, len(lines), lines[0])
		}
	}
	if bad := w.tshark("vrrp.checksum.status != 1 || ((vrrp || arp) && _ws.malformed)", "frame.number"); bad[0] != "" {
		t.Errorf("tshark rejects frames %v", bad)
	}
}
