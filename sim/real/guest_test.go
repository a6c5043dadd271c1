package real

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quorate/internal/testenv"
	"quorate/sim"
	"quorate/sim/wire"
)

func TestMain(m *testing.M) {
	if was, err := ServeAgent(); was {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// said runs a program in a guest that must end with status 0 and returns what it printed.
func said(t *testing.T, g *guest, argv ...string) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := run(t.Context(), g, &out, argv...); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A guest is a machine as a namespace is: programs with their outputs and exit statuses, files, signals, addresses, a cable, the frames that
// leave by it, IPVS; and it has clocks of its own, that jump and drift alone. When it is gone every request says so.
func TestGuest(t *testing.T) {
	testenv.NeedUML(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g, err := bootGuest(ctx, "d1", 2, []string{self})
	if err != nil {
		t.Fatal(err)
	}
	dir := "/run/lab/t"
	cards := []sim.CardInfo{{Name: "eth0", Addr: netip.MustParsePrefix("10.0.0.1/24")}, {Name: "eth1", Addr: netip.MustParsePrefix("10.1.0.1/24")}}
	links, err := g.setUp(dir, cards)
	if err != nil || len(links) != 2 || links[0] == links[1] {
		t.Fatal(links, err)
	}
	changes := make(chan Change, 100)
	if err := g.Watch(nil, func(c Change) { changes <- c }); err != nil {
		t.Fatal(err)
	}

	t.Run("programs", func(t *testing.T) {
		var out, errOut bytes.Buffer
		p, err := g.Start(ctx, []string{"sh", "-c", "pwd; echo wrong >&2; exit 7"}, &out, &errOut)
		if err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); code != 7 || err != nil || out.String() != dir+"\n" || errOut.String() != "wrong\n" {
			t.Errorf("%d %v %q %q", code, err, out.String(), errOut.String())
		}
		// Octets of every value, and more than any buffer on the way holds.
		all := make([]byte, 256<<10)
		for i := range all {
			all[i] = byte(i * 7 >> 3)
		}
		if err := g.Write(dir+"/all", all, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := said(t, g, "cat", dir+"/all"); sha256.Sum256([]byte(got)) != sha256.Sum256(all) {
			t.Errorf("%d octets came back of %d, or others", len(got), len(all))
		}
		if _, err := g.Start(ctx, []string{"/no/such/program"}, nil, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Error(err)
		}
		if p, err = g.Start(ctx, []string{"sleep", "1000"}, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(unix.SIGTERM); err != nil {
			t.Error(err)
		}
		if code, err := p.Wait(); code != -1 || err != nil {
			t.Errorf("terminated: %d %v", code, err)
		}
		first, err := g.Start(ctx, []string{"sh", "-c", "sleep 1000 & wait"}, nil, nil)
		if err == nil {
			err = g.Kill(syscall.SIGKILL)
		}
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := first.Wait(); code != -1 {
			t.Errorf("killed: %d", code)
		}
	})
	t.Run("frames", func(t *testing.T) {
		// It asks for a neighbour by the second card; what comes in there answers.
		p, err := g.Start(ctx, []string{"ping", "-c", "1", "-W", "5", "10.1.0.2"}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, us, buf := wire.NewBuilder(), wire.MAC{2, 0, 10, 1, 0, 2}, make([]byte, 2000)
		_ = g.frames[1].SetReadDeadline(time.Now().Add(10 * time.Second))
		for answered := false; !answered; {
			n, err := g.frames[1].Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			f, err := wire.Parse(buf[:n])
			if err != nil {
				t.Fatalf("%v: %x", err, buf[:n])
			}
			if f.Src != (wire.MAC{2, 0, 10, 1, 0, 1}) {
				t.Errorf("a frame from %v, which is no card of a host: %x", f.Src, buf[:n])
			}
			port := &port{tap: g.frames[1], drops: true}
			switch {
			case f.EtherType == wire.EtherARP && f.ARP.TargetIP == netip.MustParseAddr("10.1.0.2"):
				port.write(b.ARP(f.Src, us, wire.ARP{Op: wire.ARPReply, SenderMAC: us, SenderIP: f.ARP.TargetIP, TargetMAC: f.Src, TargetIP: f.ARP.SenderIP}))
			case f.EtherType == wire.EtherIPv4 && f.IP.Protocol == wire.ProtoICMP:
				e, err := wire.ParseEcho(f.Payload)
				if err != nil {
					t.Fatal(err)
				}
				e.Type = wire.EchoReply
				port.write(b.Echo(f.Src, us, wire.IP{TTL: 64, Src: f.IP.Dst, Dst: f.IP.Src}, e))
				answered = true
			}
		}
		if code, err := p.Wait(); code != 0 || err != nil {
			t.Errorf("ping: %d %v", code, err)
		}
	})
	t.Run("addresses and cable", func(t *testing.T) {
		if err := errors.Join(g.AddAddress("eth0", "10.0.0.100/32"), g.Sysctl("net.ipv4.ip_forward", "1")); err != nil {
			t.Fatal(err)
		}
		if list, err := g.Addresses("eth0"); err != nil || !slices.Contains(list, netip.MustParsePrefix("10.0.0.100/32")) {
			t.Error(list, err)
		}
		if err := errors.Join(g.carrier("eth0", false), g.DeleteAddress("eth0", "10.0.0.100/32"), g.carrier("eth0", true)); err != nil {
			t.Fatal(err)
		}
		vip := netip.MustParseAddr("10.0.0.100")
		want := []func(Change) bool{
			func(c Change) bool { return c.Addr == vip && c.New && c.Index == links[0] },
			func(c Change) bool { return c.Name == "eth0" && !c.Up },
			func(c Change) bool { return c.Name == "eth0" && c.Up },
		}
		gone := false
		for end := time.After(10 * time.Second); len(want) > 0 || !gone; {
			select {
			case c := <-changes:
				gone = gone || c.Addr == vip && !c.New
				if len(want) > 0 && want[0](c) {
					want = want[1:]
				}
			case <-end:
				t.Fatalf("%d changes were not told; address gone: %v", len(want), gone)
			}
		}
	})
	t.Run("IPVS", func(t *testing.T) {
		testenv.Need(t, "ipvsadm")
		said(t, g, "ipvsadm", "-A", "-t", "10.0.0.100:80", "-s", "wlc")
		if text, err := g.IPVS(); err != nil || !strings.Contains(text, "0A000064:0050 wlc") {
			t.Error(text, err)
		}
		if err := g.ClearIPVS(); err != nil {
			t.Error(err)
		}
		if text, err := g.IPVS(); err != nil || strings.Contains(text, "wlc") {
			t.Error(text, err)
		}
	})
	t.Run("clocks", func(t *testing.T) {
		uptime := func() float64 { // a clock that does not jump
			up, err := strconv.ParseFloat(strings.Fields(said(t, g, "cat", "/proc/uptime"))[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return up
		}
		rate := func() float64 {
			from, began := uptime(), time.Now()
			time.Sleep(3 * time.Second)
			return (uptime() - from) / time.Since(began).Seconds()
		}
		if err := g.Clock(-10*365*24*time.Hour, 0); err != nil {
			t.Fatal(err)
		}
		if year := strings.TrimSpace(said(t, g, "date", "+%Y")); year != strconv.Itoa(time.Now().Add(-10*365*24*time.Hour).Year()) {
			t.Errorf("the year is %s there", year)
		}
		if err := g.Clock(0, 100_000); err != nil {
			t.Fatal(err)
		}
		if fast := rate(); fast < 1.07 || fast > 1.13 {
			t.Errorf("100,000 ppm fast: %.3f", fast)
		}
		if err := g.Clock(0, -99_950); err != nil {
			t.Fatal(err)
		}
		if slow := rate(); slow < 0.87 || slow > 0.93 {
			t.Errorf("99,950 ppm slow: %.3f", slow)
		}
	})
	cancel()
	<-g.ended
	if err := g.MkdirAll(filepath.Join(dir, "x"), 0o755); err == nil || !strings.Contains(err.Error(), "the guest of d1: ") {
		t.Errorf("of a guest that is gone: %v", err)
	}
	g.close()
}
