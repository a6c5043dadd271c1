package main

import (
	"net/netip"
	"strings"
	"testing"

	"quorate/api"
	"quorate/node"
)

func TestVRIDList(t *testing.T) {
	d1, s := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")
	inst := func(state string, prio int) node.InstanceStatus {
		return node.InstanceStatus{Name: "VI_1", Interface: "eth0", VRID: 51, State: state, Priority: prio, Master: d1, VIPs: []string{"10.0.0.100"}}
	}
	st := &api.Status{Nodes: []api.NodeLine{
		{Name: "d1", Address: "192.168.9.1:7946", Instances: []node.InstanceStatus{inst("MASTER", 150)}, Heard: []node.HeardRouter{
			{Interface: "eth0", VRID: 51, Family: "ipv4", Address: s, MAC: "02:00:00:00:00:09", Priority: 200, VIPs: []string{"10.0.0.200"}, Ours: true, Rejected: "addr_list"},
			{Interface: "eth0", VRID: 1, Family: "ipv4", Address: s, MAC: "02:00:00:00:00:09", Priority: 200, VIPs: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}},
		}},
		{Name: "d2", Address: "192.168.9.2:7946", Instances: []node.InstanceStatus{inst("BACKUP", 100)}, Heard: []node.HeardRouter{
			{Interface: "eth0", VRID: 51, Family: "ipv4", Address: d1, MAC: "02:00:00:00:00:01", Priority: 150, VIPs: []string{"10.0.0.100"}, Ours: true},
		}},
	}}
	var b strings.Builder
	showVRIDs(&b, listVRIDs(st))
	want := `VRID  FAMILY  WHO      SEEN BY  ADDRESS   MAC                PRIORITY  ADDRESSES                              NOTE
1     ipv4    foreign  d1:eth0  10.0.0.9  02:00:00:00:00:09  200       10.0.0.1 10.0.0.2 10.0.0.3 and 1 more
51    ipv4    ours     d1:eth0  -         -                  150       10.0.0.100                             VI_1 MASTER
51    ipv4    ours     d2:eth0  -         -                  100       10.0.0.100                             VI_1 BACKUP
51    ipv4    foreign  d1:eth0  10.0.0.9  02:00:00:00:00:09  200       10.0.0.200                             CONFLICT with ours: its adverts are refused (addr_list)

free, as far as heard: 2 3 4 5 6 7 8 9 10 11
`
	trim := func(s string) string {
		lines := strings.Split(s, "\n")
		for k := range lines {
			lines[k] = strings.TrimRight(lines[k], " ")
		}
		return strings.Join(lines, "\n")
	}
	if got := trim(b.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
