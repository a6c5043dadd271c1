package netnstests

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"quorate/internal/testenv"
	"quorate/sim/uml"
)

// guestEnv is set in a guest: there the kernel has IPVS.
const guestEnv = "QUORATE_TEST_GUEST"

// inGuest runs the calling test alone on a kernel of its own and returns false, or returns true there.
func inGuest(t *testing.T) bool {
	t.Helper()
	if os.Getenv(guestEnv) != "" {
		return true
	}
	testenv.NeedUML(t)
	testenv.Need(t, "ipvsadm")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, console bytes.Buffer
	code, err := uml.Run(t.Context(), uml.Job{
		Argv:    []string{self, "-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=390s"},
		Env:     []string{guestEnv + "=1", binEnv + "=" + os.Getenv(binEnv)},
		Timeout: 400 * time.Second, Stdout: &out, Console: &console,
	})
	if err != nil {
		t.Fatalf("%v\n%s\n---- console\n%s", err, out.String(), console.String())
	}
	t.Logf("in the guest:\n%s", out.String())
	// A test that does not exist there, or is skipped, ends with status 0 too.
	if code != 0 || !strings.Contains(out.String(), "--- PASS: "+t.Name()+" ") {
		t.Errorf("exit status %d", code)
	}
	return false
}

// lvsDR is a lab for examples/lvs-dr.conf: directors, two real servers with the address on lo that serve, and a client
// with several addresses. stop closes the web server of a real server.
func lvsDR(t *testing.T) (w *world, users []netip.Addr, stop map[string]func()) {
	t.Helper()
	w = newWorld(t, "d1", "d2", "d3", "rs1", "rs2", "client")
	stop = map[string]func(){}
	for _, rs := range []string{"rs1", "rs2"} {
		h := w.lab.Host(rs)
		if err := errors.Join(h.Sysctl("net.ipv4.conf.all.arp_ignore", "1"), h.Sysctl("net.ipv4.conf.all.arp_announce", "2"),
			h.AddAddress("lo", vip.String()+"/32")); err != nil {
			t.Fatal(err)
		}
		stop[rs] = w.web(rs)
	}
	client := w.lab.Host("client")
	users = []netip.Addr{client.Addr()}
	for i := byte(30); i < 37; i++ {
		a := netip.AddrFrom4([4]byte{192, 168, 2, i})
		if err := client.AddAddress("eth0", a.String()+"/24"); err != nil {
			t.Fatal(err)
		}
		users = append(users, a)
	}
	return w, users, stop
}

// table is the kernel's IPVS table of a host, in the words of ipvsadm, sorted.
func (w *world) table(host string) string {
	w.Helper()
	path, _ := testenv.Find("ipvsadm")
	out, err := w.lab.Host(host).Command(w.ctx, path, "-Sn").Output()
	if err != nil {
		w.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// tableIs waits until the kernel's table is this.
func (w *world) tableIs(limit time.Duration, host string, lines ...string) {
	w.Helper()
	sort.Strings(lines)
	want := strings.Join(lines, "\n")
	w.eventually(limit, "IPVS table of "+host, func() string {
		if got := w.table(host); got != want {
			return fmt.Sprintf("is\n%s\nwant\n%s", got, want)
		}
		return ""
	})
}

// askAll asks once from every address and returns how many answers each server gave; a failure counts for its error.
func (w *world) askAll(users []netip.Addr) map[string]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string]int{}
	for _, u := range users {
		wg.Go(func() {
			name, err := w.ask(u, vip)
			if err != nil {
				name = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			got[name]++
		})
	}
	wg.Wait()
	return got
}

const (
	service = "-A -t 192.168.2.240:80 -s wlc -p 60"
	server1 = "-a -t 192.168.2.240:80 -r 192.168.2.221:80 -g -w 3"
	server2 = "-a -t 192.168.2.240:80 -r 192.168.2.222:80 -g -w 3"
)

// On a kernel with IPVS: what is pushed is what the kernels have; clients are balanced over both real servers; one that
// stops serving leaves within the bound of its check and comes back; another push changes what differs; when the owner
// is killed the next director goes on balancing.
func TestIPVS(t *testing.T) {
	if !inGuest(t) {
		return
	}
	w, users, stop := lvsDR(t)
	directors := []string{"d1", "d2", "d3"}
	w.form(directors...)
	conf := w.example("lvs-dr.conf")
	w.ctl("d1", "push", conf, "-m", "first")
	w.owned(20*time.Second, "d1", vip, directors...)
	for _, d := range directors {
		w.tableIs(20*time.Second, d, service, server1, server2)
	}
	if got := w.askAll(users); got["rs1"] == 0 || got["rs2"] == 0 || len(got) != 2 {
		t.Errorf("%d addresses were served by %v, want both real servers and no error", len(users), got)
	}

	// delay_loop 6, then retry 3 with delay_before_retry 3: out within 15 s and what a guest adds.
	const bound = 15 * time.Second
	stop["rs1"]()
	stopped := time.Now()
	w.tableIs(bound+3*time.Second, "d1", service, server2)
	t.Logf("rs1 out %v after it stopped", time.Since(stopped).Round(100*time.Millisecond))
	if got := w.askAll(users); got["rs2"] != len(users) {
		t.Errorf("without rs1: %v, want all %d served by rs2", got, len(users))
	}
	w.web("rs1")
	w.tableIs(6*time.Second+3*time.Second, "d1", service, server1, server2)

	changed := strings.Replace(string(readFile(t, conf)), "weight 3", "weight 5", 1)
	changed = strings.Replace(changed, "persistence_timeout 60", "persistence_timeout 90", 1)
	w.ctl("d2", "push", w.write("changed.conf", changed), "-m", "second")
	for _, d := range directors {
		w.tableIs(20*time.Second, d, "-A -t 192.168.2.240:80 -s wlc -p 90",
			strings.Replace(server1, "-w 3", "-w 5", 1), server2)
	}

	w.kill("d1")
	w.owned(20*time.Second, "d2", vip, "d2", "d3")
	w.eventually(10*time.Second, "the client is served by way of d2", func() string {
		got := w.askAll(users)
		mac, err := w.lab.Host("client").Neighbour(vip)
		if len(got) == 2 && got["rs1"] > 0 && got["rs2"] > 0 && err == nil && mac.String() == w.mac("d2") {
			return ""
		}
		return fmt.Sprintf("%v, by way of %s", got, w.hostOf(mac))
	})
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
