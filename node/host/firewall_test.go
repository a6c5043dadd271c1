package host

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"quorate/config"
	"quorate/internal/testenv"
)

// ownTable counts the tables of ours in the kernel.
func ownTable(t *testing.T) bool { t.Helper(); return hasTable(t, firewallTable) }

func hasTable(t *testing.T, name string) bool {
	t.Helper()
	c, err := nftables.New()
	must(t, err)
	list, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	must(t, err)
	for _, x := range list {
		if x.Name == name {
			return true
		}
	}
	return false
}

// client is a process in a namespace of its own, at the other end of v1.
func client(t *testing.T, v1 netlink.Link, setup string) (run func(words string) error) {
	t.Helper()
	return clientAs(t, v1, "v1", setup)
}

// clientAs has the other end under another name.
func clientAs(t *testing.T, v1 netlink.Link, name, setup string) (run func(words string) error) {
	t.Helper()
	c := exec.Command("sleep", "300")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	must(t, netlink.LinkSetNsPid(v1, c.Process.Pid))
	run = func(words string) error {
		out, err := exec.Command("nsenter", "-t", fmt.Sprint(c.Process.Pid), "-n", "sh", "-c", words).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", words, err, out)
		}
		return nil
	}
	must(t, run("ip link set lo up; ip link set "+name+" up; "+setup))
	return run
}

// TestNoAccept pings and calls the addresses of a real director from outside.
func TestNoAccept(t *testing.T) {
	testenv.Need(t, "ping")
	if !inNetns(t) {
		return
	}
	v0, v1 := cable(t)
	must(t, netlink.LinkSetName(v0, "eth0"))
	run := client(t, v1, "ip addr add 10.9.0.9/24 dev v1; ip -6 addr add 2001:db8::9/64 dev v1 nodad")
	dir := t.TempDir()
	path := filepath.Join(dir, "keepalived.conf")
	global := ""
	conf := func(no string) {
		must(t, os.WriteFile(path, fmt.Appendf(nil, global+"vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 200\n version 3\n advert_int 0.1\n %s\n virtual_ipaddress {\n 10.9.0.100\n }\n"+
			" virtual_ipaddress_excluded {\n 2001:db8::100/64\n }\n}\nvrrp_instance VI_2 {\n interface eth0\n virtual_router_id 52\n priority 200\n version 3\n advert_int 0.1\n virtual_ipaddress {\n 10.9.0.101\n }\n}\n", no), 0o600))
	}
	var log *logBuffer
	start := func() *exec.Cmd {
		log = &logBuffer{}
		c := exec.Command("/proc/self/exe", "--worker=o", "director", "10.9.0.1/24", path, dir)
		c.Stdout, c.Stderr = log, log
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(t, c.Start())
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		eventually(t, 10*time.Second, func() bool {
			return strings.Contains(log.String(), "(VI_1) Entering MASTER") && run("ping -c1 -W1 -n 10.9.0.101") == nil && hasAddress(t, v0, "10.9.0.100") && hasAddress(t, v0, "2001:db8::100")
		}, func() string { return log.String() })
		return c
	}
	// Refused by nobody means that the host itself answers: connection refused.
	const call = "timeout 0.5 bash -c '</dev/tcp/%s/9' 2>&1 | grep -q 'Connection refused'"
	refused := func(want bool) {
		t.Helper()
		for _, cmd := range []string{"ping -c1 -W0.5 -n 10.9.0.100", "ping -6 -c1 -W0.5 -n 2001:db8::100", fmt.Sprintf(call, "10.9.0.100")} {
			if err := run(cmd); (err != nil) != want {
				t.Errorf("%s: %v; to be refused: %v\n%s", cmd, err, want, log)
			}
		}
		for _, cmd := range []string{"ping -c1 -W1 -n 10.9.0.1", "ping -c1 -W1 -n 10.9.0.101", fmt.Sprintf(call, "10.9.0.101"),
			"ip neigh show to 10.9.0.100 | grep lladdr", "ip neigh show to 2001:db8::100 | grep lladdr"} {
			if err := run(cmd); err != nil {
				t.Errorf("%v\n%s", err, log)
			}
		}
	}
	conf("no_accept")
	c := start()
	refused(true)

	replacement, err := nftables.New() // systemctl restart nftables
	must(t, err)
	replacement.FlushRuleset()
	must(t, replacement.Flush())
	eventually(t, 10*time.Second, func() bool { return ownTable(t) && strings.Contains(log.String(), "table quorate was removed") }, log.String)
	refused(true)

	must(t, c.Process.Kill())
	_ = c.Wait()
	refused(true) // nobody is there to accept more than before
	c = start()
	refused(true)
	must(t, c.Process.Kill())
	_ = c.Wait()
	conf("accept")
	c = start()
	refused(false)
	if ownTable(t) {
		t.Errorf("the table stays without anything to refuse\n%s", log)
	}
	must(t, c.Process.Signal(syscall.SIGTERM))
	_ = c.Wait()

	// A table of another name, with counters, at another place; a killed worker's is not left behind when the next one has another.
	global = "global_defs {\n nftables gate\n nftables_priority -7\n nftables_counters\n}\n"
	conf("no_accept")
	c = start()
	refused(true)
	nft, err := nftables.New()
	must(t, err)
	chains, err := nft.ListChainsOfTableFamily(nftables.TableFamilyINet)
	must(t, err)
	dropped := uint64(0)
	for _, ch := range chains {
		rules, err := nft.GetRules(ch.Table, ch)
		must(t, err)
		for _, r := range rules {
			for _, x := range r.Exprs {
				if n, ok := x.(*expr.Counter); ok && ch.Table.Name == "gate" && *ch.Priority == -7 {
					dropped += n.Packets
				}
			}
		}
	}
	if dropped == 0 || ownTable(t) {
		t.Errorf("%d packets counted in a table gate\n%s", dropped, log)
	}
	must(t, c.Process.Kill())
	_ = c.Wait()
	global = ""
	conf("no_accept")
	c = start()
	refused(true)
	if hasTable(t, "gate") {
		t.Errorf("the table of the worker before is still there\n%s", log)
	}
	must(t, c.Process.Signal(syscall.SIGTERM))
	if err := c.Wait(); err != nil || ownTable(t) {
		t.Errorf("after the stop the table is there: %v, %v\n%s", ownTable(t), err, log)
	}
}

// TestNoFirewall: a kernel without nf_tables is told of, and the address is added all the same.
func TestNoFirewall(t *testing.T) {
	if !inNetns(t) {
		return
	}
	v0, _ := cable(t)
	out := make(chan any, 100)
	q, err := newInstaller(func(v any) { out <- v }, nil)
	must(t, err)
	q.mu.Lock()
	var broken atomic.Bool
	broken.Store(true)
	q.wall.replace = func(tableStyle, []netip.Addr) error {
		if broken.Load() {
			return errors.New("operation not supported")
		}
		return nil
	}
	q.mu.Unlock()
	vip := config.Address{Prefix: netip.MustParsePrefix("10.9.0.100/32")}
	q.Refuse([]netip.Addr{vip.Prefix.Addr()})
	q.Change(addressOp{index: v0.Attrs().Index, dev: "v0", addr: vip}, 1, true)
	var told error
	for r := range out {
		if w, ok := r.(firewallResult); ok {
			told = w.err
		}
		if _, ok := r.(changeResult); ok {
			break
		}
	}
	if told == nil || !strings.Contains(told.Error(), "does the kernel have nf_tables?") || !hasAddress(t, v0, "10.9.0.100") {
		t.Fatalf("told %v", told)
	}
	eventually(t, 5*time.Second, func() bool { q.mu.Lock(); defer q.mu.Unlock(); return !q.wallDue }, func() string { return "due" })
	broken.Store(false)
	q.CheckFirewall()
	if w, ok := (<-out).(firewallResult); !ok || w.err != nil {
		t.Errorf("it works again, but %v", w)
	}
	q.Close()
}
