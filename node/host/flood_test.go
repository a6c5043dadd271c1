package host

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"quorate/vrrp"
)

// TestFlood: forged adverts as fast as this machine makes them, from ever other addresses, with the wrong TTL, a wrong checksum, a
// wrong password, another virtual_router_id. A backup hears its owner through that and keeps quiet, and takes over when the owner stops.
func TestFlood(t *testing.T) {
	if !inNetns(t) {
		return
	}
	_, v1 := cable(t)
	wire := openTap(t, v1)
	path := filepath.Join(t.TempDir(), "flood.conf")
	must(t, os.WriteFile(path, []byte("vrrp_instance V {\n interface v0\n virtual_router_id 1\n advert_int 1\n authentication {\n auth_type PASS\n auth_pass right\n }\n virtual_ipaddress {\n 10.9.0.100\n }\n}\n"), 0o600))
	advert := func(vrid, priority uint8, password string) string {
		a := vrrp.Advert{Version: 2, VRID: vrid, Priority: priority, Interval: time.Second, AuthType: vrrp.AuthPass, Addrs: []netip.Addr{netip.MustParseAddr("10.9.0.100")}}
		copy(a.AuthData[:], password)
		b, err := a.Append(nil, netip.MustParseAddr("10.9.0.2"), group, false)
		must(t, err)
		return string(b)
	}
	good, wrong, other := advert(1, 200, "right"), advert(1, 250, "wrong"), advert(7, 250, "right")
	log := runDirector(t, path)
	eventually(t, 10*time.Second, func() bool {
		wire.put("10.9.0.2", "224.0.0.18", 255, 112, good)
		return strings.Contains(log.String(), "Entering BACKUP STATE")
	}, log.String)
	var stop, sent atomic.Int64
	flooded := make(chan struct{})
	for k := range 2 {
		go func() {
			for n := 0; stop.Load() == 0; n++ {
				src := fmt.Sprintf("10.9.%d.%d", 1+n/250%200, 1+n%250)
				switch n % 4 {
				case 0:
					wire.put(src, "224.0.0.18", 255, 112, wrong)
				case 1:
					wire.put(src, "224.0.0.18", 64, 112, good)
				case 2:
					wire.put(src, "224.0.0.18", 255, 112, good[:6]+"xx"+good[8:])
				case 3:
					wire.put(src, "224.0.0.18", 255, 112, other)
				}
				sent.Add(1)
				if k == 0 && n%64 == 0 {
					runtime.Gosched()
				}
			}
			flooded <- struct{}{}
		}()
	}
	for began := time.Now(); time.Since(began) < 6*time.Second; time.Sleep(500 * time.Millisecond) {
		wire.put("10.9.0.2", "224.0.0.18", 255, 112, good)
	}
	stop.Store(1)
	<-flooded
	<-flooded
	wire.put("10.9.0.2", "224.0.0.18", 255, 112, good)
	if got := log.String(); strings.Contains(got, "MASTER STATE") || strings.Count(got, "\n") > 100 {
		t.Errorf("%d forged packets: %d lines of log\n%.6000s", sent.Load(), strings.Count(got, "\n"), got)
	}
	t.Logf("%d forged packets, %d lines of log", sent.Load(), strings.Count(log.String(), "\n"))
	eventually(t, 10*time.Second, func() bool { return strings.Contains(log.String(), "Entering MASTER STATE") }, log.String)
}
