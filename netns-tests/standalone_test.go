package netnstests

import (
	"errors"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"quorate/internal/testenv"
)

// standalone starts clusterd with a file and no cluster, as keepalived is started.
func (w *world) standalone(host, conf string) {
	w.Helper()
	w.start(host, program(w, "clusterd"), "-n", "-l", "-D", "-P", "-f", conf, "-i", host, "--run-dir", w.runDir(host))
}

// Without a cluster clusterd is a keepalived: the same file, the same election with a real keepalived in the middle, and
// a clean stop hands the address over after the skew time (RFC 3768 6.4.3, priority 0), not after three adverts.
func TestStandalone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	conf := w.example("lvs-dr.conf")
	w.standalone("d1", conf)
	w.keepalived("d2", conf)
	w.standalone("d3", conf)
	w.owned(15*time.Second, "d1", vip, directors...)
	w.steady(2*time.Second, "d1", vip, directors...)
	w.kill("d1")
	w.takesOver("d1", "d2", "d3")

	if err := w.lab.Host("d2").Kill(termSignal); err != nil {
		t.Fatal(err)
	}
	w.owned(15*time.Second, "d3", vip, "d2", "d3")
	stop := w.lastAdvert("d2")
	if stop.priority != 0 {
		t.Errorf("last advert of d2 has priority %d, want 0", stop.priority)
	}
	var start []time.Time
	w.eventually(2*time.Second, "d3 announces "+vip.String(), func() string {
		if start = w.announced("d3", vip, stop.at); len(start) == 0 {
			return "no gratuitous ARP in the capture"
		}
		return ""
	})
	if took := start[0].Sub(stop.at); took < 700*time.Millisecond || took > time.Second+slack {
		t.Errorf("d3 announced itself %v after priority 0, want its skew time, 0.8 s", took)
	}

	if err := w.lab.Host("d3").Kill(termSignal); err != nil {
		t.Fatal(err)
	}
	w.eventually(10*time.Second, "clusterd ends after SIGTERM", func() string {
		list, err := w.lab.Host("d3").Processes()
		if err != nil || len(list) > 0 {
			return "still there"
		}
		return ""
	})
	if left := w.owners(vip, "d3"); len(left) > 0 {
		t.Error("d3 stopped cleanly and left the address on eth0")
	}
	if last := w.lastAdvert("d3"); last.priority != 0 {
		t.Errorf("last advert of d3 has priority %d, want 0", last.priority)
	}
}

// withSyslog runs a program with the socket $0 as /dev/log. The rest of /dev stays as it is.
const withSyslog = `set -e
mount --make-rprivate /
mount -t tmpfs none /mnt
for f in null zero random urandom tty net; do
	[ -e /dev/$f ] || continue
	[ -d /dev/$f ] && mkdir /mnt/$f || touch /mnt/$f
	mount --rbind /dev/$f /mnt/$f
done
touch /mnt/log
mount --bind "$0" /mnt/log
mount --move /mnt /dev
exec "$@"`

// With -S the log goes to syslog: the same facility and tag as keepalived's, its words in it, a severity for each line and no time in
// the text, since syslogd has one. What listens is no part of the daemon: it may end.
func TestSyslog(t *testing.T) {
	t.Parallel()
	testenv.Need(t, "keepalived")
	w := newWorld(t, "d1", "d2")
	conf := w.write("keepalived.conf", `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 100
    advert_int 1
    virtual_ipaddress {
        192.168.2.240/24
    }
}
`)
	keepalived, _ := testenv.Find("keepalived")
	lines := map[string]chan string{}
	for host, command := range map[string][]string{
		"d1": {program(t, "clusterd"), "-n", "-D", "-P", "-S", "3", "-f", conf, "--run-dir", w.runDir("d1")},
		"d2": {keepalived, "-n", "-D", "-P", "-S", "3", "-f", conf},
	} {
		path := filepath.Join(w.dir, host+".syslog")
		socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = socket.Close() })
		heard := make(chan string, 1000)
		lines[host] = heard
		go func() {
			defer close(heard)
			b := make([]byte, 1<<16)
			for {
				n, err := socket.Read(b)
				if err != nil {
					return
				}
				heard <- string(b[:n])
			}
		}()
		w.start(host, "unshare", append([]string{"-m", "sh", "-c", withSyslog, path}, command...)...)
	}
	// local3 is 19, info 6: RFC 3164 4.1.1.
	backup := regexp.MustCompile(`^<158>\w+ [ \d]\d [\d:]{8} Keepalived_vrrp\[\d+\]: .*\(VI_1\) Entering BACKUP STATE`)
	found := func(host string, want *regexp.Regexp) {
		t.Helper()
		var all []string
		deadline := time.After(20 * time.Second)
		for {
			select {
			case line := <-lines[host]:
				if want.MatchString(line) {
					return
				}
				all = append(all, line)
			case <-deadline:
				t.Fatalf("%s: no line matches %v:\n%s", host, want, strings.Join(all, "\n"))
			}
		}
	}
	found("d1", backup)
	found("d2", backup)
	w.write("keepalived.conf", "vrrp_instance VI_1 {\n")
	if err := w.lab.Host("d1").Kill(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	found("d1", regexp.MustCompile(`^<156>.*config\.failed`)) // warning is 4
}

// A keepalived that still runs on the host, as while one moves to quorate, is found although neither hears the other, and told of by name.
func TestOtherDaemonOnTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2")
	conf := w.example("lvs-dr.conf")
	said := func(text string) {
		t.Helper()
		w.eventually(15*time.Second, text, func() string {
			if b := string(readFile(w, filepath.Join(w.dir, "d1.log"))); !strings.Contains(b, text) {
				return "not yet"
			}
			return ""
		})
	}
	w.keepalived("d1", conf)
	w.keepalived("d2", conf) // of another host: nothing to tell
	w.owned(15*time.Second, "d1", vip, "d1", "d2")
	w.standalone("d1", conf)
	said("vrrp.other-daemon: keepalived (pid ")
	list, err := w.lab.Host("d1").Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if filepath.Base(p.Args[0]) == "keepalived" {
			if err := syscall.Kill(p.PID, killSignal); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
		}
	}
	said("no other program on this host takes part in VRRP any more")
	if n := strings.Count(string(readFile(w, filepath.Join(w.dir, "d1.log"))), "level=WARN msg=\"vrrp.other-daemon"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// A director that may not open VRRP's sockets hears nobody: it is in FAULT, says what it lacks, and is no second owner.
func TestWithoutSockets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2")
	conf := w.example("lvs-dr.conf")
	w.start("d1", "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", program(w, "clusterd"), "-n", "-l", "-D", "-P", "-f", conf, "-i", "d1", "--run-dir", w.runDir("d1"))
	w.eventually(10*time.Second, "d1 says what it lacks", func() string {
		b := string(readFile(w, filepath.Join(w.dir, "d1.log")))
		if !strings.Contains(b, "to=FAULT reason=no-socket") || !strings.Contains(b, "CAP_NET_RAW") {
			return "not yet"
		}
		return ""
	})
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // longer than its master-down interval
		if got := w.owners(vip, "d1"); len(got) > 0 {
			t.Fatalf("owners %v", got)
		}
	}
	w.standalone("d2", conf)
	w.owned(15*time.Second, "d2", vip, "d1", "d2")
}

// A packet filter that drops VRRP, as firewalld does where nobody allowed it, makes two owners. Who does not hear the other knows why, and
// so does who is not heard.
func TestFilteredByTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	conf := w.example("lvs-dr.conf")
	for host, hook := range map[string]*nftables.ChainHook{"d2": nftables.ChainHookInput, "d3": nftables.ChainHookOutput} {
		if err := w.lab.Host(host).Do(func() error { return dropVRRP(hook) }); err != nil {
			testenv.Missing(t, "needs nftables: "+err.Error())
		}
	}
	says := func(host, text string) {
		t.Helper()
		w.eventually(45*time.Second, host+" says "+text, func() string {
			if b := string(readFile(w, filepath.Join(w.dir, host+".log"))); !strings.Contains(b, text) {
				return "not yet"
			}
			return ""
		})
	}
	w.standalone("d3", conf)
	says("d3", "operation not permitted: a packet filter of this host keeps adverts in")
	w.standalone("d1", conf)
	w.standalone("d2", conf)
	says("d2", "vrrp.filtered: adverts of 192.168.2.210 arrive on eth0 but do not come through")
	if got := w.owners(vip, "d1", "d2"); len(got) != 2 {
		t.Errorf("owners %v", got)
	}
	if b := string(readFile(w, filepath.Join(w.dir, "d1.log"))); strings.Contains(b, "vrrp.filtered") {
		t.Error("d1 says so too, which hears d2")
	}
}

// dropVRRP is "ip protocol vrrp drop" in a chain of the network namespace.
func dropVRRP(hook *nftables.ChainHook) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "filter"})
	chain := c.AddChain(&nftables.Chain{Name: "c", Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 9, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{112}},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	return c.Flush()
}
