package api

import (
	"net/netip"
	"strings"
	"testing"

	"quorate/cluster"
	"quorate/config"
	"quorate/node"
)

func TestCheckVRIDs(t *testing.T) {
	const conf = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.100\n 10.0.0.101\n }\n}\n"
	cfg, ds := config.Parse("a.conf", config.Files{"a.conf": conf}, config.Options{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	stranger := node.HeardRouter{Interface: "eth0", Family: "ipv4", VRID: 1, Address: netip.MustParseAddr("10.0.0.9"), MAC: "02:00:00:00:00:09",
		Version: 2, Priority: 200, VIPs: []string{"10.0.0.200"}}
	with := func(change func(*node.HeardRouter)) []node.HeardRouter {
		h := stranger
		change(&h)
		return []node.HeardRouter{{Interface: "eth0", Family: "ipv4", VRID: 2, Address: stranger.Address, MAC: stranger.MAC}, h}
	}
	const conf6 = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n fe80::1\n 2001:db8::100\n }\n}\n"
	cfg6, ds := config.Parse("a.conf", config.Files{"a.conf": conf6}, config.Options{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	other := stranger
	other.Family, other.Address, other.VIPs = "ipv6", netip.MustParseAddr("fe80::9"), []string{"fe80::1"}
	runs := node.InstanceStatus{Interface: "eth0", VRID: 1, State: "BACKUP"}
	if got := checkVRIDs(cfg6, []node.HeardRouter{other}, []node.InstanceStatus{runs}, nil, "d1"); len(got) != 1 {
		t.Errorf("a stranger over IPv6: %v", got)
	}
	runs.Master = other.Address
	if got := checkVRIDs(cfg6, []node.HeardRouter{other}, []node.InstanceStatus{runs}, nil, "d1"); len(got) != 0 {
		t.Errorf("the owner that we follow, before an address is added: %v", got)
	}
	members := []cluster.Member{{ID: 1, Name: "d1", Address: "10.0.0.8:7946"}}
	for name, tt := range map[string]struct {
		heard   []node.HeardRouter
		running []node.InstanceStatus
		want    string
	}{
		"a stranger":                  {heard: with(func(*node.HeardRouter) {}), want: "error"},
		"a stranger, but it runs":     {heard: with(func(*node.HeardRouter) {}), running: []node.InstanceStatus{{Interface: "eth0", VRID: 1}}, want: "warning"},
		"on another interface":        {heard: with(func(h *node.HeardRouter) { h.Interface = "eth1" })},
		"of the other family":         {heard: with(func(h *node.HeardRouter) { h.Family = "ipv6" })},
		"a member":                    {heard: with(func(h *node.HeardRouter) { h.Address = netip.MustParseAddr("10.0.0.8") })},
		"a keepalived with our VIPs":  {heard: with(func(h *node.HeardRouter) { h.VIPs = []string{"10.0.0.101", "10.0.0.100"} })},
		"only refused, never decoded": {heard: with(func(h *node.HeardRouter) { h.MAC = "" })},
	} {
		got := checkVRIDs(cfg, tt.heard, tt.running, members, "d1")
		switch {
		case tt.want == "" && len(got) != 0, tt.want != "" && len(got) != 1:
			t.Errorf("%s: %v", name, got)
		case tt.want != "":
			d := got[0]
			if (d.Severity == config.Error) != (tt.want == "error") || d.Line != 3 ||
				!strings.Contains(d.Message, "10.0.0.9 (02:00:00:00:00:09)") || !strings.Contains(d.Hint, "3 4 5") {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
}
