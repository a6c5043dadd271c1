package host

import (
	"encoding/binary"
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

// version2 is an advert with a password; change makes something wrong with it before its checksum is computed.
func version2(vrid, priority byte, vip byte, change func(b []byte) []byte) string {
	b := []byte{0x21, vrid, priority, 1, 1, 1, 0, 0, 10, 9, 0, vip, 's', 'e', 'c', 'r', 'e', 't', 0, 0}
	if change != nil {
		b = change(b)
	}
	sum := uint32(0)
	for k := 0; k+1 < len(b); k += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[k:]))
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[6:], ^uint16(sum))
	return string(b)
}

// TestLogWords: whatever somebody sends to a keepalived and to us, both say it with the words that operators look for, ours once; and so from
// becoming owner to the end.
func TestLogWords(t *testing.T) {
	testenv.Need(t, "keepalived")
	if !inNetns(t) {
		return
	}
	br := bridge(t)
	t.Setenv(detailEnv, "1")
	dir := t.TempDir()
	conf := func(vrid, vip int) string {
		path := filepath.Join(dir, fmt.Sprint(vrid))
		must(t, os.WriteFile(path, fmt.Appendf(nil, "vrrp_instance V {\n interface eth0\n virtual_router_id %d\n authentication {\n auth_type PASS\n auth_pass secret\n }\n"+
			" virtual_ipaddress {\n 10.9.0.%d\n }\n}\n", vrid, vip), 0o600))
		return path
	}
	theirs := startKeepalived(t, "10.9.0.2/24", conf(52, 102))
	ours := startInside(t, "--worker=o", "director", "10.9.0.1/24", conf(51, 101))
	why := func() string { return "ours:\n" + ours.log.String() + "\nkeepalived:\n" + theirs.log.String() }
	said := func(words string) {
		t.Helper()
		re := regexp.MustCompile(words)
		eventually(t, 10*time.Second, func() bool {
			return re.MatchString(ours.log.String()) && re.MatchString(theirs.log.String())
		}, func() string { return words + "\n" + why() })
	}
	wire := openTap(t, br)
	send := func(from string, ttl byte, priority byte, change func(b []byte) []byte) {
		t.Helper()
		for range 3 {
			wire.put(from, "224.0.0.18", ttl, 112, version2(51, priority, 101, change))
			wire.put(from, "224.0.0.18", ttl, 112, version2(52, priority, 102, change))
		}
	}
	said(`\(V\) Entering BACKUP STATE \(init\)`)
	said(`\(V\) Receive advertisement timeout`)
	said(`\(V\) Entering MASTER STATE`)
	said(`\(V\) setting VIPs\.`)
	for k, tt := range []struct {
		words  string
		change func(b []byte) []byte
	}{
		{`\(V\) received an invalid passwd!`, func(b []byte) []byte { b[12] = 'x'; return b }},
		{`\(V\) received a 0 auth, expecting 1!`, func(b []byte) []byte { b[4] = 0; return b }},
		{`\(V\) advertisement interval mismatch mine=1 sec rcv'd=5 sec`, func(b []byte) []byte { b[5] = 5; return b }},
		{`\(V\) ip address associated with VRID .*not present in MASTER advert`, func(b []byte) []byte { b[11] = 77; return b }},
		{`\(V\) received an unexpected ip number count 2, expected 1!`, func(b []byte) []byte { b[3] = 2; return append(b[:12:12], append([]byte{10, 9, 0, 78}, b[12:]...)...) }},
		{`\(V\) Invalid packet type\. 2 and expect 1`, func(b []byte) []byte { b[0] = 0x22; return b }},
		{`\(V\) vrrp packet `, func(b []byte) []byte { return append(b, 0) }},
	} {
		from := fmt.Sprintf("10.9.0.%d", 10+k)
		send(from, 255, 200, tt.change)
		said(tt.words)
		if n := len(regexp.MustCompile(tt.words+`.* \(from `+from+`: `).FindAllString(ours.log.String(), -1)); n != 1 {
			t.Errorf("we said %q from %s %d times, want once\n%s", tt.words, from, n, ours.log)
		}
	}
	for vrid, vip := range map[byte]byte{51: 101, 52: 102} {
		bad := []byte(version2(vrid, 200, vip, nil))
		bad[7]++
		wire.put("10.9.0.29", "224.0.0.18", 255, 112, string(bad))
	}
	said(`\(V\) Invalid VRRPv2 checksum`)
	send("10.9.0.30", 254, 200, nil)
	said(`\(V\) invalid TTL/HL\. Received 254 and expect 255`)
	send("10.9.0.31", 255, 1, nil)
	said(`\(V\) Received advert from 10\.9\.0\.31 with lower priority 1, ours 100, forcing new election`)
	send("10.9.0.32", 255, 0, nil)
	said(`\(V\) Master received priority 0 message`)
	send("10.9.0.33", 255, 200, nil)
	said(`\(V\) Master received advert from 10\.9\.0\.33 with higher priority 200, ours 100`)
	said(`\(V\) Entering BACKUP STATE[^ ]`)
	said(`\(V\) removing VIPs\.`)
	send("10.9.0.34", 255, 50, nil)
	said(`\(V\) received lower priority \(50\) advert from 10\.9\.0\.34 - discarding`)
	send("10.9.0.33", 255, 0, nil)
	said(`\(V\) Backup received priority 0 advertisement`)
	for _, d := range []*director{ours, theirs} {
		eventually(t, 10*time.Second, func() bool { return strings.Count(d.log.String(), "(V) Entering MASTER STATE") == 2 }, why)
		must(t, d.cmd.Process.Signal(syscall.SIGTERM))
		_ = d.cmd.Wait()
	}
	said(`\(V\) sent 0 priority`)
}
