package host

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"quorate/internal/testenv"
)

// TestConflict: a stranger, a real keepalived, uses our virtual_router_id for another address. Both own their own, nobody is
// starved, and it is told once who that is, by address and Ethernet address, and which ids are free.
func TestConflict(t *testing.T) {
	testenv.Need(t, "keepalived")
	if !inNetns(t) {
		return
	}
	br := bridge(t)
	wire := openTap(t, br)
	dir := t.TempDir()
	conf := func(name, vip string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, fmt.Appendf(nil, "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n version 3\n advert_int 0.2\n virtual_ipaddress {\n %s\n }\n}\n", vip), 0o600))
		return path
	}
	ours := startDirector(t, "o", "10.9.0.1/24", conf("ours", "10.9.0.100"))
	eventually(t, 15*time.Second, func() bool { return ours.holds("10.9.0.100") }, ours.log.String)
	theirs := startKeepalived(t, "10.9.0.2/24", conf("theirs", "10.9.0.200"))
	why := func() string { return "ours:\n" + ours.log.String() + "\nkeepalived:\n" + theirs.log.String() }
	told := regexp.MustCompile(`vrrp\.conflict: 10\.9\.0\.2 \(([0-9a-f]{2}:){5}[0-9a-f]{2}\) uses virtual_router_id 1 on eth0 as well, version 3, priority 100, for 10\.9\.0\.200: .*\(free here: 2 3 4\)`)
	eventually(t, 20*time.Second, func() bool { return told.MatchString(ours.log.String()) }, why)
	eventually(t, 5*time.Second, func() bool { return ours.holds("10.9.0.100") && theirs.holds("10.9.0.200") }, why) // an owner's first advert comes before its address
	// Our adverts go on at their interval while theirs arrive.
	var at []time.Time
	for len(at) < 11 {
		wire.next(0x0800, func(f []byte) bool { return len(f) > 34 && f[23] == 112 && f[29] == 1 })
		at = append(at, time.Now())
	}
	if took := at[10].Sub(at[0]); took > 3*time.Second {
		t.Errorf("ten adverts took %v, want 2 s\n%s", took, why())
	}
	if n := strings.Count(ours.log.String(), "msg=\"(V) vrrp.conflict"); n != 1 {
		t.Errorf("told %d times\n%s", n, why())
	}
}
