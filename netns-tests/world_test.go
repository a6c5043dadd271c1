package netnstests

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/internal/testenv"
	"quorate/sim/netns"
)

// The addresses of examples/lvs-dr.conf.
var (
	vip       = netip.MustParseAddr("192.168.2.240")
	addresses = map[string]string{
		"d1": "192.168.2.210", "d2": "192.168.2.211", "d3": "192.168.2.212",
		"rs1": "192.168.2.221", "rs2": "192.168.2.222",
		"client": "192.168.2.10",
	}
)

// keepEnv, when set, leaves the directory of a failed test on the disk.
const keepEnv = "QUORATE_TEST_KEEP"

// clusterPort is where directors listen for each other.
const clusterPort = "8377"

// world is a lab with directors and whatever else a test names, recorded from the start.
type world struct {
	testing.TB
	lab  *netns.Lab
	dir  string // state, run and log directories
	pcap string
	stop func() error
	ctx  context.Context
}

// newWorld opens a lab with hosts named in addresses.
func newWorld(t testing.TB, hosts ...string) *world {
	t.Helper()
	needLab(t)
	lab, err := netns.New(netns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its name grows with the test's, and a unix socket path must be short.
	base := netns.Scratch // memory: the tests kill processes, not machines
	if _, err := os.Stat(base); err != nil || os.Getenv(keepEnv) != "" {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "w")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, lab: lab, dir: dir, ctx: t.Context()}
	t.Cleanup(func() { w.close() })
	for _, name := range hosts {
		if _, err := lab.AddHost(name, addresses[name]+"/24"); err != nil {
			t.Fatal(err)
		}
	}
	w.pcap = filepath.Join(dir, "lan.pcapng")
	if w.stop, err = lab.CaptureFile(w.pcap); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) close() {
	if w.Failed() {
		w.showLogs()
	}
	if err := w.lab.Close(); err != nil {
		w.Error(err)
	}
	if w.stop != nil {
		_ = w.stop() // a test that needs the capture stopped it and looked at the error
	}
	if w.Failed() && os.Getenv(keepEnv) != "" {
		w.Logf("kept: %s", w.dir)
		return
	}
	if err := os.RemoveAll(w.dir); err != nil {
		w.Error(err)
	}
}

// showLogs prints the end of every program's log.
func (w *world) showLogs() {
	files, _ := filepath.Glob(filepath.Join(w.dir, "*.log"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		if len(lines) > 60 {
			lines = append([]string{fmt.Sprintf("… %d lines before", len(lines)-60)}, lines[len(lines)-60:]...)
		}
		w.Logf("---- %s\n%s", filepath.Base(f), strings.Join(lines, "\n"))
	}
}

// start runs a program on a host; its output goes to NAME.log, appended.
func (w *world) start(host, program string, args ...string) *netns.Cmd {
	w.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, host+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the program has its own descriptor
	cmd := w.lab.Host(host).Command(w.ctx, program, args...)
	cmd.Dir = w.dir
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	return cmd
}

// keepalived starts Debian's keepalived, VRRP only, as director host.
func (w *world) keepalived(host, conf string) {
	w.Helper()
	testenv.Need(w, "keepalived")
	path, _ := testenv.Find("keepalived")
	w.start(host, path, "-n", "-l", "-D", "-P", "-f", conf, "-i", host)
}

// write makes a file in the world's directory and returns its path.
func (w *world) write(name, text string) string {
	w.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
	return path
}

// kill ends every process of a host at once.
func (w *world) kill(host string) {
	w.Helper()
	if err := w.lab.Host(host).Kill(killSignal); err != nil {
		w.Fatal(err)
	}
}

// owners returns the hosts whose kernel has the address, among those that run something: a killed director's kernel
// keeps its addresses.
func (w *world) owners(addr netip.Addr, hosts ...string) []string {
	w.Helper()
	var out []string
	for _, name := range hosts {
		has, err := w.lab.Host(name).HasAddress(addr)
		if err != nil {
			w.Fatal(err)
		}
		if has {
			out = append(out, name)
		}
	}
	return out
}

// eventually waits until ok returns "", which otherwise says what is still wrong.
func (w *world) eventually(limit time.Duration, what string, ok func() string) {
	w.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		wrong := ok()
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("%s: not within %v: %s", what, limit, wrong)
		}
	}
}

// owned waits until exactly the one given host (or any one, when "") of those has the address, and returns it.
func (w *world) owned(limit time.Duration, want string, addr netip.Addr, hosts ...string) string {
	w.Helper()
	var now []string
	w.eventually(limit, "one owner of "+addr.String(), func() string {
		now = w.owners(addr, hosts...)
		if len(now) == 1 && (want == "" || now[0] == want) {
			return ""
		}
		return fmt.Sprintf("owners %v, want one of %v (%q)", now, hosts, want)
	})
	return now[0]
}

// steady asserts that for a while the address has exactly this owner.
func (w *world) steady(d time.Duration, want string, addr netip.Addr, hosts ...string) {
	w.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if now := w.owners(addr, hosts...); len(now) != 1 || now[0] != want {
			w.Fatalf("owners of %s: %v, want %s all the time", addr, now, want)
		}
	}
}
