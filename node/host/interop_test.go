package host

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/internal/testenv"
)

// execProcess becomes another program, in a namespace with an eth0 of its own.
func execProcess(address string, argv []string) int {
	// keepalived 2.2.7 with use_vmac stays in FAULT for ever if it starts while the link-local address is tentative.
	if err := awaitEth0(address, false); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(syscall.Exec(argv[0], argv, os.Environ()))
	return 1
}

// TestInterop: with a real keepalived, as owner and as backup, in every mode. Both get the same file.
func TestInterop(t *testing.T) {
	for _, tt := range []struct {
		name, lines string
		vip         string
		nopreempt   bool
		excluded    bool
	}{
		{name: "v2", lines: "version 2\n advert_int 1"},
		{name: "v2pass", lines: "version 2\n advert_int 1\n authentication {\n auth_type PASS\n auth_pass secret\n }"},
		{name: "v2ah", lines: "version 2\n advert_int 1\n authentication {\n auth_type AH\n auth_pass secret\n }"},
		{name: "v3", lines: "version 3\n advert_int 0.2"},
		{name: "v3ipv6", lines: "version 3\n advert_int 0.2", vip: "2001:db8::100"},
		{name: "v2unicast", lines: "version 2\n advert_int 1\n @ours unicast_src_ip 10.9.0.1\n @theirs unicast_src_ip 10.9.0.2\n unicast_peer {\n @ours 10.9.0.2\n @theirs 10.9.0.1\n }"},
		{name: "v3unicast", lines: "version 3\n advert_int 0.2\n unicast_ttl 33\n unicast_peer {\n @ours 10.9.0.2\n @theirs 10.9.0.1\n }"},
		{name: "v3ipv6unicast", lines: "advert_int 0.2\n unicast_ttl 255\n @ours unicast_src_ip 2001:db8::1\n @theirs unicast_src_ip 2001:db8::2\n unicast_peer {\n @ours 2001:db8::2\n @theirs 2001:db8::1\n }", vip: "2001:db8::100"},
		// keepalived sends with a hop limit of 64 then.
		{name: "v3ipv6unicasthops", lines: "advert_int 0.2\n @ours unicast_src_ip 2001:db8::1\n @theirs unicast_src_ip 2001:db8::2\n unicast_peer {\n @ours 2001:db8::2\n @theirs 2001:db8::1\n }", vip: "2001:db8::100"},
		// An address of the other family goes with it; the link-local one is the first, as the RFC wants it.
		{name: "v3ipv6dual", lines: "advert_int 0.2\n virtual_ipaddress_excluded {\n 10.9.0.100\n }\n virtual_ipaddress {\n fe80::51\n }", vip: "2001:db8::100"},
		{name: "v3group", lines: "version 3\n advert_int 0.2\n mcast_dst_ip 224.0.0.77\n mcast_src_ip @SRC@"},
		{name: "v2novip", lines: "version 2\n advert_int 1\n @ours no_virtual_ipaddress", excluded: true},
		{name: "vmac", lines: "version 3\n advert_int 0.2\n use_vmac"},
		{name: "vmacv2", lines: "version 2\n advert_int 1\n use_vmac\n authentication {\n auth_type PASS\n auth_pass secret\n }"},
		{name: "vmacah", lines: "version 2\n advert_int 1\n use_vmac\n authentication {\n auth_type AH\n auth_pass secret\n }"},
		{name: "vmacbase", lines: "version 3\n advert_int 0.2\n use_vmac\n vmac_xmit_base"},
		{name: "vmacours", lines: "version 3\n advert_int 0.2\n @ours use_vmac"},
		{name: "vmactheirs", lines: "version 3\n advert_int 0.2\n @theirs use_vmac"},
		// Where keepalived itself is deaf: it sends from the virtual address, and the other one sends from its base.
		{name: "vmacmixed", lines: "version 3\n advert_int 0.2\n use_vmac\n @ours vmac_xmit_base"},
		{name: "vmac6", lines: "version 3\n advert_int 0.2\n use_vmac", vip: "2001:db8::100"},
		{name: "nopreempt", lines: "version 3\n advert_int 0.2\n nopreempt", nopreempt: true},
		// A backup with the virtual address itself must hear the owner that has it: only then it stays one.
		{name: "vmacnopreempt", lines: "version 3\n advert_int 0.2\n use_vmac\n nopreempt", nopreempt: true},
		{name: "vmac6nopreempt", lines: "version 3\n advert_int 0.2\n use_vmac\n nopreempt", vip: "2001:db8::100", nopreempt: true},
		{name: "vmacmixednopreempt", lines: "version 3\n advert_int 0.2\n use_vmac\n nopreempt\n @ours vmac_xmit_base", nopreempt: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testenv.Need(t, "keepalived")
			if !inNetns(t) {
				return
			}
			if tt.vip == "" {
				tt.vip = "10.9.0.100"
			}
			block := "virtual_ipaddress"
			if tt.excluded {
				block += "_excluded"
			}
			interop(t, tt.lines, block, tt.vip, tt.nopreempt)
		})
	}
}

func interop(t *testing.T, lines, block, vip string, nopreempt bool) {
	bridge(t)
	dir := t.TempDir()
	conf := func(name, src string, priority int) string {
		text := fmt.Sprintf("vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority %d\n %s\n %s {\n %s\n }\n}\n",
			priority, strings.ReplaceAll(lines, "@SRC@", src), block, vip)
		// What one of them is to read: config-id lines, done by hand for both.
		text = regexp.MustCompile(`(?m)^ @`+map[string]string{"ours": "theirs", "theirs": "ours"}[name]+` .*\n`).ReplaceAllString(text, "")
		text = strings.ReplaceAll(text, "@"+name+" ", "")
		path := filepath.Join(dir, name+".conf")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	oursConf, theirsConf := conf("ours", "10.9.0.1", 150), conf("theirs", "10.9.0.2", 100)
	theirs := startKeepalived(t, "10.9.0.2/24,2001:db8::2/64", theirsConf)
	ours := startDirector(t, "o", "10.9.0.1/24,2001:db8::1/64", oursConf)
	why := func() string { return "ours:\n" + ours.log.String() + "\nkeepalived:\n" + theirs.log.String() }
	owner := func(yes, no *director, what string) {
		t.Helper()
		eventually(t, 20*time.Second, func() bool { return yes.holds(vip) && (no == nil || !no.holds(vip)) },
			func() string { return what + "\n" + why() })
	}
	refused := func() {
		t.Helper()
		for _, bad := range []string{"vrrp.rejected", "host.error"} {
			if strings.Contains(ours.log.String(), bad) {
				t.Errorf("we refuse theirs\n%s", why())
			}
		}
		for _, bad := range []string{"invalid", "mismatch", "not present", "unexpected", "IPSEC", "sequence", "wrong version", "Expected"} {
			if strings.Contains(theirs.log.String(), bad) {
				t.Errorf("they refuse ours (%s)\n%s", bad, why())
			}
		}
	}
	if !nopreempt {
		owner(ours, theirs, "we have the higher priority")
	} else { // whoever was up first stays
		eventually(t, 20*time.Second, func() bool { return ours.holds(vip) != theirs.holds(vip) }, why)
		if theirs.holds(vip) {
			must(t, theirs.cmd.Process.Signal(syscall.SIGTERM))
			_ = theirs.cmd.Wait()
			owner(ours, nil, "they stopped")
			theirs = startKeepalived(t, "10.9.0.2/24,2001:db8::2/64", theirsConf)
		}
	}
	time.Sleep(1500 * time.Millisecond) // they hear us as BACKUP
	owner(ours, theirs, "we still have it")
	refused()
	must(t, ours.cmd.Process.Signal(syscall.SIGTERM))
	if err := ours.cmd.Wait(); err != nil || ours.holds(vip) {
		t.Errorf("stop: %v\n%s", err, why())
	}
	owner(theirs, nil, "we stopped")

	ours = startDirector(t, "o", "10.9.0.1/24,2001:db8::1/64", oursConf)
	if nopreempt {
		time.Sleep(2 * time.Second)
		owner(theirs, ours, "they keep it")
		refused()
		must(t, theirs.cmd.Process.Signal(syscall.SIGTERM))
		owner(ours, theirs, "they stopped")
		return
	}
	owner(ours, theirs, "we came back")
	refused()
}

// TestTwoAddressOwners: with a keepalived that has priority 255 as well, one of us gives way, whoever has the higher address, and the
// addresses do not move any more.
func TestTwoAddressOwners(t *testing.T) {
	for name, addrs := range map[string][2]string{"ours is higher": {"10.9.0.2/24", "10.9.0.1/24"}, "theirs is higher": {"10.9.0.1/24", "10.9.0.2/24"}} {
		t.Run(name, func(t *testing.T) {
			testenv.Need(t, "keepalived")
			if !inNetns(t) {
				return
			}
			bridge(t)
			dir := t.TempDir()
			conf := filepath.Join(dir, "conf")
			must(t, os.WriteFile(conf, []byte("vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 255\n version 3\n advert_int 0.2\n virtual_ipaddress {\n 10.9.0.100\n }\n}\n"), 0o600))
			theirs := startKeepalived(t, addrs[1], conf)
			eventually(t, 20*time.Second, func() bool { return theirs.holds("10.9.0.100") }, theirs.log.String)
			ours := startDirector(t, "o", addrs[0], conf)
			why := func() string { return "ours:\n" + ours.log.String() + "\nkeepalived:\n" + theirs.log.String() }
			eventually(t, 20*time.Second, func() bool { // whoever hears the other first
				return strings.Contains(ours.log.String(), "vrrp.two-owners") || strings.Contains(theirs.log.String(), "both configured as address owner")
			}, why)
			eventually(t, 20*time.Second, func() bool { return ours.holds("10.9.0.100") != theirs.holds("10.9.0.100") }, why)
			time.Sleep(time.Second) // five intervals: whatever is to follow from it has
			owner := ours.holds("10.9.0.100")
			for range 20 {
				if ours.holds("10.9.0.100") != owner || theirs.holds("10.9.0.100") == owner {
					t.Fatalf("the address moves, or has two owners\n%s", why())
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
}
