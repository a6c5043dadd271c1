package host

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quorate/config"
)

const (
	manyInstances = 255
	manyVIPs      = 20
)

// manyConf is the heaviest thing one interface can be asked for: every VRID, twenty addresses each, ten adverts a second.
func manyConf(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for i := 1; i <= manyInstances; i++ {
		fmt.Fprintf(&b, "vrrp_instance V%d {\n interface v0\n virtual_router_id %d\n version 3\n advert_int 0.1\n garp_master_delay 1\n virtual_ipaddress {\n", i, i)
		for k := 1; k <= manyVIPs; k++ {
			fmt.Fprintf(&b, "  10.7.%d.%d\n", i, k)
		}
		b.WriteString(" }\n}\n")
	}
	path := filepath.Join(t.TempDir(), "many.conf")
	must(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}

// Five thousand addresses and twenty-five thousand gratuitous ARPs must not delay one advert so much that an
// instance gives up, and a stop must not take longer than a supervisor waits.
func TestManyInstances(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, _ := cable(t)
	path := manyConf(t)
	log := &logBuffer{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- RunVRRP(ctx, VRRPConfig{Node: "lb", RunDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(log, nil)),
			Load: func() (*config.Config, int64, error) { c, err := parse(path); return c, 0, err }})
	}()
	// A machine that gives this process no time at all stalls adverts too, and that is not what is tested.
	var overslept atomic.Int64
	go func() {
		for ctx.Err() == nil {
			began := time.Now()
			time.Sleep(time.Millisecond)
			overslept.Store(max(overslept.Load(), int64(time.Since(began))))
		}
	}()
	held := func() (n int) {
		list, _ := netlink.AddrList(v0, netlink.FAMILY_V4)
		for _, a := range list {
			if a.IP.Mask(net.CIDRMask(16, 32)).Equal(net.IPv4(10, 7, 0, 0)) {
				n++
			}
		}
		return n
	}
	count := func(what string) int { return strings.Count(log.String(), what) }
	began := time.Now()
	eventually(t, 30*time.Second, func() bool { return held() == manyInstances*manyVIPs },
		func() string { return fmt.Sprintf("%d addresses\n%.4000s", held(), log.String()) })
	t.Logf("all %d addresses after %v", manyInstances*manyVIPs, time.Since(began))
	time.Sleep(5 * time.Second) // the second block of announcements, and fifty adverts of each
	if d := time.Duration(overslept.Load()); d > 150*time.Millisecond {
		t.Logf("this machine stood still for %v: transitions are not judged", d)
	} else if m, b := count("Entering MASTER STATE"), count("Entering BACKUP STATE"); m != manyInstances || b != manyInstances {
		t.Errorf("%d times MASTER and %d times BACKUP, want each %d times\n%.4000s", m, b, manyInstances, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "host.error") || strings.Contains(line, "vrrp.repair") {
			t.Error(line)
		}
	}
	began = time.Now()
	cancel()
	must(t, <-ended)
	if took := time.Since(began); took > 5*time.Second || held() != 0 {
		t.Errorf("stopping took %v and left %d addresses", took, held())
	} else {
		t.Logf("stopping took %v", took)
	}
}
