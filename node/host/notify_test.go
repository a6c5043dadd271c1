package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/internal/testenv"
)

const notifyConf = `global_defs {
    vrrp_notify_fifo %[1]s/fifo
    script_user root
}
vrrp_sync_group G {
    group {
        V1
        V2
    }
    notify "%[1]s/script g"
}
vrrp_instance V1 {
    interface eth0
    virtual_router_id %[2]d1
    version 3
    advert_int 0.2
    notify_master "%[1]s/script v1 master"
    notify_backup "%[1]s/script v1 backup"
    notify_fault "%[1]s/script v1 fault"
    notify_stop "%[1]s/script v1 stop"
    notify "%[1]s/script v1"
    virtual_ipaddress {
        10.9.0.%[2]d1
    }
}
vrrp_instance V2 {
    interface eth0
    virtual_router_id %[2]d2
    version 3
    advert_int 0.2
    notify "%[1]s/script v2"
    virtual_ipaddress {
        10.9.0.%[2]d2
    }
}
vrrp_instance V3 {
    interface eth0
    virtual_router_id %[2]d3
    version 3
    advert_int 0.2
    notify_master_rx_lower_pri "%[1]s/script v3 lower"
    notify "%[1]s/script v3"
    virtual_ipaddress {
        10.9.0.%[2]d3
    }
}
`

// TestNotifyLikeKeepalived: a real keepalived and ours live through the same: start, a pulled cable, a worse owner, the end. Both run the
// same scripts with the same arguments, as often, and both write the same lines into their pipe, in the same order of each instance and group.
func TestNotifyLikeKeepalived(t *testing.T) {
	testenv.Need(t, "keepalived")
	if !inNetns(t) {
		return
	}
	br := bridge(t)
	wire := openTap(t, br)
	type side struct {
		*director
		dir   string
		lines chan string
	}
	open := func(n int) *side {
		dir, err := os.MkdirTemp("/run", "quorate-test-") // where keepalived runs scripts
		must(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		must(t, os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\necho \"$*\" >>"+dir+"/told\n"), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "conf"), fmt.Appendf(nil, notifyConf, dir, n), 0o600))
		must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
		f, err := os.OpenFile(filepath.Join(dir, "fifo"), os.O_RDWR, 0) // both ways: it does not end with a writer
		must(t, err)
		t.Cleanup(func() { _ = f.Close() })
		s := &side{dir: dir, lines: make(chan string, 1000)}
		go func() {
			b := make([]byte, 64<<10)
			for {
				n, err := f.Read(b)
				if err != nil {
					return
				}
				for line := range strings.Lines(string(b[:n])) {
					s.lines <- line
				}
			}
		}()
		return s
	}
	ours, theirs := open(7), open(8)
	theirs.director = startKeepalived(t, "10.9.0.2/24", filepath.Join(theirs.dir, "conf"))
	ours.director = startDirector(t, "o", "10.9.0.1/24", filepath.Join(ours.dir, "conf"))
	both := []*side{ours, theirs}
	vip := func(k, n int) string { return fmt.Sprintf("10.9.0.%d%d", 7+k, n) }
	await := func(what string, held bool) {
		t.Helper()
		for k, s := range both {
			for n := 1; n <= 3; n++ {
				eventually(t, 20*time.Second, func() bool { return s.holds(vip(k, n)) == held }, func() string { return what + "\n" + s.log.String() })
			}
		}
	}
	cable := func(up bool) {
		for _, s := range both {
			eth0, err := s.h.LinkByName("eth0")
			must(t, err)
			port, err := netlink.LinkByIndex(eth0.Attrs().ParentIndex)
			must(t, err)
			if up {
				must(t, netlink.LinkSetUp(port))
			} else {
				must(t, netlink.LinkSetDown(port))
			}
		}
	}
	await("start", true)
	cable(false)
	await("cable pulled", false)
	cable(true)
	await("cable back", true)
	time.Sleep(500 * time.Millisecond) // a worse owner just after a takeover is its last word
	for k := range both {
		vrid := byte(10*(7+k) + 3)
		b := []byte{0x31, vrid, 1, 1, 0, 20, 0, 0, 10, 9, 0, vrid}
		pseudo := append([]byte{10, 9, 0, 9, 224, 0, 0, 18, 0, 112, 0, byte(len(b))}, b...)
		sum := uint32(0)
		for i := 0; i < len(pseudo); i += 2 {
			sum += uint32(pseudo[i])<<8 | uint32(pseudo[i+1])
		}
		for sum>>16 > 0 {
			sum = sum&0xffff + sum>>16
		}
		b[6], b[7] = byte(^sum>>8), byte(^sum)
		wire.put("10.9.0.9", "224.0.0.18", 255, 112, string(b))
	}
	for _, s := range both {
		eventually(t, 10*time.Second, func() bool { return strings.Contains(readAll(filepath.Join(s.dir, "told")), "v3 lower") }, s.log.String)
		must(t, s.cmd.Process.Signal(syscall.SIGTERM))
		_ = s.cmd.Wait()
	}
	told := func(s *side) string { // scripts of several instances run side by side
		lines := strings.Split(readAll(filepath.Join(s.dir, "told")), "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	eventually(t, 5*time.Second, func() bool { return told(ours) == told(theirs) }, func() string {
		return fmt.Sprintf("scripts, ours:\n%s\nkeepalived's:\n%s\n%s\n%s", told(ours), told(theirs), ours.log, theirs.log)
	})
	piped := func(s *side) string {
		of := map[string]string{}
		for len(s.lines) > 0 {
			line := <-s.lines
			subject := strings.Fields(line)[1]
			of[subject] += line
		}
		text := ""
		for _, k := range sortedKeys(of) {
			text += of[k]
		}
		return text
	}
	if o, k := piped(ours), piped(theirs); o != k || !strings.Contains(o, "INSTANCE \"V3\" MASTER_RX_LOWER_PRI 100\n") || !strings.Contains(o, "GROUP \"G\" STOP 0\n") {
		t.Errorf("pipe, ours:\n%s\nkeepalived's:\n%s", o, k)
	}
}
