package host

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/vrrp"
)

// TestDump: keys and words of keepalived 2.2.7 for the same configuration, and no password.
func TestDump(t *testing.T) {
	const conf = `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass hushhush
    }
    virtual_ipaddress {
        10.9.0.100/24 dev eth0 label eth0:1
    }
    virtual_ipaddress_excluded {
        10.9.0.101
    }
    track_interface {
        lo
    }
    notify "/usr/bin/true x"
}
`
	cfg, ds := config.Parse("k.conf", config.Files{"k.conf": conf}, config.Options{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	m := node.NewElector()
	m.Step(0, node.Configure{Config: cfg})
	m.Step(0, node.Link{Name: "eth0", Exists: true, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}})
	m.Step(0, node.Link{Name: "lo", Exists: true, Up: true})
	m.Step(4*time.Second, node.Tick{})
	dir := t.TempDir()
	precious := filepath.Join(t.TempDir(), "precious")
	must(t, os.WriteFile(precious, []byte("untouched"), 0o600))
	must(t, os.Symlink(precious, filepath.Join(dir, "keepalived.json"))) // what somebody may do in /tmp
	for _, k := range []Dump{DumpData, DumpStats, DumpJSON} {
		path, err := k.write(dir, m.Details(), m.Census())
		must(t, err)
		if text := readAll(path); strings.Contains(text, "hushhush") {
			t.Errorf("%s shows the password:\n%s", k, text)
		}
	}
	if readAll(precious) != "untouched" {
		t.Error("a link was followed")
	}
	var got []struct{ Data, Stats map[string]any }
	must(t, json.Unmarshal([]byte(readAll(filepath.Join(dir, "keepalived.json"))), &got))
	// Keys printed by keepalived 2.2.7 for this file.
	data := strings.Fields(`iname dont_track_primary skip_check_adv_addr strict_mode vmac_ifname ifp_ifname master_priority last_transition garp_delay
		garp_refresh garp_rep garp_refresh_rep garp_lower_prio_delay garp_lower_prio_rep lower_prio_no_advert higher_prio_send_advert vrid base_priority
		effective_priority vipset promote_secondaries adver_int master_adver_int accept nopreempt preempt_delay state wantstate version smtp_alert
		notify_deleted script vips evips track_ifp auth_type auth_data`)
	stats := strings.Fields(`advert_rcvd advert_sent become_master release_master packet_len_err advert_interval_err ip_ttl_err invalid_type_rcvd
		addr_list_err invalid_authtype authtype_mismatch auth_failure pri_zero_rcvd pri_zero_sent`)
	slices.Sort(data)
	slices.Sort(stats)
	if len(got) != 1 || !slices.Equal(sortedKeys(got[0].Data), data) || !slices.Equal(sortedKeys(got[0].Stats), stats) {
		t.Fatalf("keys %v\n%v", sortedKeys(got[0].Data), sortedKeys(got[0].Stats))
	}
	d := got[0].Data
	if d["vips"].([]any)[0] != "10.9.0.100/24 dev eth0 scope global label eth0:1 set" || d["evips"].([]any)[0] != "10.9.0.101 dev eth0 scope global set" ||
		d["state"] != 2.0 || d["script"] != "'/usr/bin/true' 'x'" || d["auth_type"] != 1.0 || d["accept"] != 1.0 {
		t.Errorf("%v", d)
	}
	for file, want := range map[string]string{
		"keepalived.stats": "VRRP Instance: VI_1\n  Advertisements:\n    Received: 0\n    Sent: 1\n  Became master: 1\n",
		"keepalived.data":  "------< VRRP Topology >------\n VRRP Instance = VI_1\n   VRRP Version = 2\n   State = MASTER\n",
	} {
		if text := readAll(filepath.Join(dir, file)); !strings.HasPrefix(text, want) {
			t.Errorf("%s\n%s", file, text)
		}
	}
}

// TestDumpRoutes: the lines that keepalived 2.2.7 printed for the same file.
func TestDumpRoutes(t *testing.T) {
	cfg, ds := config.Parse("k.conf", config.Files{"k.conf": `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    use_vmac
    virtual_ipaddress {
        10.9.0.100
    }
    virtual_routes {
        10.77.0.0/16 via 10.9.0.77 dev eth0 src 10.9.0.100 metric 5
        blackhole 10.78.0.0/16 table 9
    }
    virtual_rules {
        from 10.77.0.0/16 table 9 preference 5
        to 10.1.0.0/16 fwmark 0x7 lookup main
    }
}
`}, config.Options{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	m := node.NewElector()
	m.Step(0, node.Configure{Config: cfg})
	m.Step(0, node.Link{Name: "eth0", Exists: true, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")}})
	m.Step(0, node.Link{Name: "vrrp.51", Exists: true, Up: true})
	m.Step(400*time.Millisecond, node.Tick{})
	b, err := DumpJSON.render(m.Details(), nil)
	must(t, err)
	var got []struct {
		Data struct {
			VMAC    string   `json:"vmac_ifname"`
			Ifp     string   `json:"ifp_ifname"`
			VIPs    []string `json:"vips"`
			VRoutes []string `json:"vroutes"`
			VRules  []string `json:"vrules"`
		} `json:"data"`
	}
	must(t, json.Unmarshal(b, &got))
	d := got[0].Data
	if d.VMAC != "vrrp.51" || d.Ifp != "vrrp.51" || !slices.Equal(d.VIPs, []string{"10.9.0.100 dev vrrp.51@eth0 scope global set"}) ||
		!slices.Equal(d.VRoutes, []string{"prepend 10.77.0.0/16 src 10.9.0.100 via inet 10.9.0.77 dev eth0 proto 18 metric 5", "add blackhole 10.78.0.0/16 table 9 proto 18 no_track"}) ||
		!slices.Equal(d.VRules, []string{"from 10.77.0.0/16 priority 5 tos 0x0 protocol 18 lookup 9", "from all to 10.1.0.0/16 priority 16384 tos 0x0 fwmark 0x7 protocol 18 lookup 254"}) {
		t.Errorf("%+v", d)
	}
}

// TestDumpBackup: of the owner that a backup hears, what keepalived 2.2.7 printed in the same place, and who else is there, with ids that are free.
func TestDumpBackup(t *testing.T) {
	cfg, ds := config.Parse("k.conf", config.Files{"k.conf": "vrrp_instance VI_3 {\n interface eth0\n virtual_router_id 53\n priority 40\n version 3\n advert_int 0.5\n virtual_ipaddress {\n 10.9.0.103\n }\n}\n"},
		config.Options{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	m := node.NewElector()
	m.Step(0, node.Configure{Config: cfg})
	m.Step(0, node.Link{Name: "eth0", Exists: true, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}})
	owner, group := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("224.0.0.18")
	a := vrrp.Advert{Version: 3, VRID: 53, Priority: 50, Interval: 200 * time.Millisecond, Addrs: []netip.Addr{netip.MustParseAddr("10.9.0.103")}}
	payload, err := a.Append(nil, owner, group, false)
	must(t, err)
	m.Step(time.Second/10, node.Received{Interface: "eth0", Packet: vrrp.Packet{Src: owner, Dst: group, TTL: 255, Payload: payload}})
	m.Step(time.Second/10, node.Heard{Interface: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 9}, Src: netip.MustParseAddr("10.9.0.9"), Dst: group, VRID: 50, Version: 2,
		Priority: 100, Interval: time.Second, Auth: vrrp.AuthPass, VIPs: []netip.Addr{netip.MustParseAddr("10.9.0.200")}, Packets: 3})
	b, err := DumpJSON.render(m.Details(), nil)
	must(t, err)
	for _, want := range []string{`"master_priority":50,`, `"adver_int":0.5,"master_adver_int":0.2,`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %s", b, want)
		}
	}
	b, err = DumpData.render(m.Details(), m.Census())
	must(t, err)
	for _, want := range []string{"   Master router = 10.9.0.1\n   Master priority = 50\n   Master advert int = 0.20 sec\n",
		"------< VRRP routers heard >------\n eth0 VRID 50: 10.9.0.9 (02:00:00:00:00:09) version 2 priority 100 interval 1s auth pass for 10.9.0.200, none of ours, 3 adverts, the last at ",
		"\n eth0 unused VRIDs: 1 2 3 4 5 6 7 8 9 10\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("lacks %q:\n%s", want, b)
		}
	}
}
