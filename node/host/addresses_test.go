package host

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/config"
	"quorate/internal/testenv"
)

// addressesConf has every option of an address line.
const addressesConf = `static_ipaddress {
    10.8.0.1/24 brd + dev eth0
    2001:db8:8::1/64 dev eth0 -nodad
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 200
    version 3
    advert_int 0.1
    virtual_ipaddress {
        10.9.0.100
        10.9.0.101/24 brd + label eth0:v
        10.9.0.103/24 noprefixroute brd -
        10.9.0.105 no_track
        10.9.0.106/24 brd 10.9.0.250
        10.9.0.107 peer 10.7.0.3
        10.9.0.108 scope 200
        10.9.0.109 scope link
    }
    virtual_ipaddress_excluded {
        2001:db8::1/64
        2001:db8::2/64 home
        2001:db8::3/64 -nodad
        2001:db8::4/64 mngtmpaddr
        2001:db8::5/64 noprefixroute
        2001:db8::6
        2001:db8::7/64 preferred_lft 0
    }
}
`

// A real keepalived and ours, from the same file: the kernel has the same addresses, broadcast addresses, labels, scopes, peers, flags
// and connected routes; and after a stop ours leaves none (keepalived 2.2.7 leaves the one with a peer).
func TestAddressOptions(t *testing.T) {
	testenv.Need(t, "keepalived")
	if !inNetns(t) {
		return
	}
	bridge(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "keepalived.conf")
	must(t, os.WriteFile(path, []byte(addressesConf), 0o600))
	varies := regexp.MustCompile(`(?m)inet6 fe80.*|^\d+: |tentative| +valid_lft forever preferred_lft|\\`)
	shown := func(d *director) string {
		list := strings.Split(varies.ReplaceAllString(d.ip("-o addr show dev eth0")+d.ip("route show dev eth0")+d.ip("-6 route show dev eth0"), ""), "\n")
		for k := range list {
			list[k] = strings.Join(strings.Fields(list[k]), " ")
		}
		slices.Sort(list)
		return strings.Join(list, "\n")
	}
	settled := func(d *director) (all string) {
		eventually(t, 15*time.Second, func() bool {
			all = shown(d)
			return strings.Contains(all, "10.9.0.108") && strings.Contains(all, "2001:db8::7/64") && shown(d) == all
		}, func() string { return shown(d) + d.log.String() })
		return all
	}
	theirs := startKeepalived(t, "10.9.0.1/24", path)
	want := settled(theirs)
	must(t, theirs.cmd.Process.Signal(syscall.SIGTERM))
	_ = theirs.cmd.Wait()
	for _, word := range []string{"peer 10.7.0.3/32", "eth0:v", "home", "mngtmpaddr", "noprefixroute", "brd 10.9.0.250", "scope site", "deprecated"} {
		if !strings.Contains(want, word) {
			t.Errorf("keepalived did not make %s:\n%s", word, want)
		}
	}
	ours := startDirector(t, "o", "10.9.0.1/24", path)
	if got := settled(ours); got != want {
		t.Fatalf("we have\n%s\nkeepalived had\n%s\n%s", got, want, ours.log)
	}
	if strings.Contains(ours.log.String(), "host.error") {
		t.Errorf("%s", ours.log)
	}
	// Whoever deletes an address gets it back, but not the one that nobody tracks.
	ours.remove(t, "10.9.0.105/32")
	ours.remove(t, "10.9.0.100/32")
	eventually(t, 10*time.Second, func() bool { return ours.holds("10.9.0.100") && strings.Contains(ours.log.String(), "vrrp.repair") }, ours.log.String)
	if ours.holds("10.9.0.105") || strings.Contains(ours.log.String(), "10.9.0.105 was removed") {
		t.Errorf("no_track is tracked\n%s", ours.log)
	}
	if left := ours.stop(t); strings.Count(left, "inet 10.") != 1 || strings.Contains(left, "2001:db8") || !strings.Contains(left, "10.9.0.1/24") {
		t.Errorf("left on the host:\n%s\n%s", left, ours.log)
	}
}

// What the kernels of test machines may lack, byte by byte: linux/mpls_iptunnel.h, linux/ila.h (RFC 3032 2.1 for the label stack).
func TestEncapsulationBytes(t *testing.T) {
	for _, tt := range []struct {
		in   config.Encap
		want string
	}{
		{config.Encap{}, ""},
		{config.Encap{Type: "mpls", Labels: []uint32{100, 200}, TTL: 9}, "06001500" + "01000000" + "18001680" + "0c000100" + "00064000" + "000c8100" + "05000200" + "09000000"},
		{config.Encap{Type: "ila", Locator: 0x0001000200030004}, "06001500" + "03000000" + "10001680" + "0c000100" + "0001000200030004"},
	} {
		if got := hex.EncodeToString(encapsulation(nil, tt.in)); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.in, got, tt.want)
		}
	}
}
