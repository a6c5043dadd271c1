package netns

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

func TestMain(m *testing.M) {
	inside, status, err := Enter(context.Background(), EnterOptions{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !inside {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// newLab opens a lab with hosts h1, h2, … at 10.9.0.1, .2, …
func newLab(t *testing.T, hosts int) (*Lab, []*Host) {
	t.Helper()
	began := time.Now()
	lab, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	var out []*Host
	for i := 1; i <= hosts; i++ {
		h, err := lab.AddHost(fmt.Sprintf("h%d", i), fmt.Sprintf("10.9.0.%d/24", i))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	t.Logf("lab of %d hosts in %v", hosts, time.Since(began).Round(time.Millisecond))
	return lab, out
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// get fetches one line over TCP from one host's point of view.
func get(h *Host, address string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := h.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	b, err := io.ReadAll(conn)
	return string(b), err
}

// serve answers every connection with a word.
func serve(t *testing.T, h *Host, address, word string) {
	t.Helper()
	ln, err := h.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, word)
			_ = conn.Close()
		}
	}()
}

// Hosts reach each other over the switch and nothing else, and the capture has every frame
// once, with good checksums and the MACs derived from the addresses.
func TestHostsTalk(t *testing.T) {
	lab, h := newLab(t, 3)
	var pcap bytes.Buffer
	stop, err := lab.Capture(&pcap)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range h[:2] {
		serve(t, host, ":80", host.Name())
	}
	for _, host := range h[:2] {
		address := netip.AddrPortFrom(host.Addr(), 80).String()
		if got, err := get(h[2], address); err != nil || got != host.Name() {
			t.Fatalf("from h3 to %s: %q, %v", address, got, err)
		}
	}
	if _, err := get(h[2], "192.0.2.1:80"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("to an address outside the lab: %v, want network unreachable", err)
	}
	if mac, err := h[2].Neighbour(h[0].Addr()); err != nil || mac.String() != "02:00:0a:09:00:01" {
		t.Errorf("h1 is at %v, %v; want 02:00:0a:09:00:01", mac, err)
	}
	if err := errors.Join(stop(), stop()); err != nil {
		t.Fatal(err)
	}
	syn := map[string]int{}
	for _, p := range packets(t, &pcap) {
		if age := time.Since(p.Metadata().Timestamp); age < 0 || age > time.Minute {
			t.Errorf("a packet is %v old", age)
		}
		ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		tcp, _ := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if tcp == nil {
			continue
		}
		if !checksumOK(ip, tcp) {
			t.Errorf("bad TCP checksum: %v", p)
		}
		if tcp.SYN && !tcp.ACK {
			eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
			syn[fmt.Sprint(eth.SrcMAC, ">", eth.DstMAC)]++
		}
	}
	for _, pair := range []string{"02:00:0a:09:00:03>02:00:0a:09:00:01", "02:00:0a:09:00:03>02:00:0a:09:00:02"} {
		if syn[pair] != 1 {
			t.Errorf("%d SYNs %s in the capture, want 1; all: %v", syn[pair], pair, syn)
		}
	}
}

// checksumOK sums the segment with its pseudo header (RFC 9293 3.1).
func checksumOK(ip *layers.IPv4, tcp *layers.TCP) bool {
	b := append(append([]byte{}, ip.SrcIP.To4()...), ip.DstIP.To4()...)
	segment := append(append([]byte{}, tcp.Contents...), tcp.LayerPayload()...)
	b = append(b, 0, 6, byte(len(segment)>>8), byte(len(segment)))
	b = append(b, segment...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum == 0xffff
}

func packets(t *testing.T, r io.Reader) []gopacket.Packet {
	t.Helper()
	ng, err := pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var out []gopacket.Packet
	for {
		data, ci, err := ng.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		p := gopacket.NewPacket(data, layers.LinkTypeEthernet, gopacket.Default)
		p.Metadata().CaptureInfo = ci
		out = append(out, p)
	}
}

// Pulling the cable takes the carrier, as a real one does, and plugging it in gives it back.
func TestCable(t *testing.T) {
	_, h := newLab(t, 2)
	serve(t, h[0], ":80", "h1")
	carrier := func() bool {
		var up bool
		if err := h[0].Do(func() error {
			ifi, err := net.InterfaceByName(cableName)
			up = err == nil && ifi.Flags&net.FlagRunning != 0
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return up
	}
	within(t, 5*time.Second, "carrier at the start", carrier)
	if err := h[0].Link(false); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "carrier lost", func() bool { return !carrier() })
	if got, err := get(h[1], "10.9.0.1:80"); err == nil {
		t.Errorf("answer %q through a pulled cable", got)
	}
	if err := h[0].Link(true); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "carrier back", carrier)
	within(t, 5*time.Second, "answer again", func() bool { _, err := get(h[1], "10.9.0.1:80"); return err == nil })
}

// A command sees its host's network, /run and settings; another host's are not touched.
func TestCommand(t *testing.T) {
	_, h := newLab(t, 2)
	if err := h[0].Sysctl("net.ipv4.conf.all.arp_ignore", "1"); err != nil {
		t.Fatal(err)
	}
	if err := h[0].Sysctl("net.ipv4.conf.all.no_such_thing", "1"); !errors.Is(err, errNoSysctl) {
		t.Errorf("unknown sysctl: %v", err)
	}
	script := "echo h1 >/run/who; cat /proc/sys/net/ipv4/conf/all/arp_ignore; ls /run"
	out, err := h[0].Command(t.Context(), "sh", "-c", script).Output()
	if err != nil || string(out) != "1\nlab\nwho\n" {
		t.Errorf("on h1: %q, %v", out, err)
	}
	out, err = h[1].Command(t.Context(), "sh", "-c", "cat /proc/sys/net/ipv4/conf/all/arp_ignore; ls /run").Output()
	if err != nil || string(out) != "0\nlab\n" {
		t.Errorf("on h2: %q, %v", out, err)
	}
	// Scratch alone is shared by all of them.
	if err := os.WriteFile(Scratch+"/word", []byte("shared"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, host := range h {
		if out, err := host.Command(t.Context(), "cat", Scratch+"/word").Output(); err != nil || string(out) != "shared" {
			t.Errorf("on %s: %q, %v", host.Name(), out, err)
		}
	}
	if err := h[0].AddAddress("lo", "192.0.2.9/32"); err != nil {
		t.Fatal(err)
	}
	if got, err := h[0].Addresses("lo"); err != nil || fmt.Sprint(got) != "[127.0.0.1/8 192.0.2.9/32]" {
		t.Errorf("addresses of lo: %v, %v", got, err)
	}
	_, err = h[1].Command(t.Context(), "sh", "-c", "echo no such luck >&2; exit 3").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("failing command: %v", err)
	}
}

// Kill finds processes that left their parent, group and session, and processes whose parent
// restarts them; a context that ends kills the command's children as well.
func TestKill(t *testing.T) {
	_, h := newLab(t, 2)
	respawn := h[0].Command(t.Context(), "sh", "-c", "setsid sh -c 'sleep 1001 & sleep 1002' & while :; do sleep 1003; done")
	if err := respawn.Start(); err != nil {
		t.Fatal(err)
	}
	running := func(h *Host) int {
		list, err := h.Processes()
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	within(t, 5*time.Second, "5 processes", func() bool { return running(h[0]) == 5 })
	if err := h[0].Kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if n := running(h[0]); n != 0 {
		t.Errorf("%d processes after Kill", n)
	}
	_ = respawn.Wait()

	ctx, cancel := context.WithCancel(t.Context())
	group := h[1].Command(ctx, "sh", "-c", "sleep 1001 & sleep 1002")
	if err := group.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "3 processes", func() bool { return running(h[1]) == 3 })
	cancel()
	_ = group.Wait()
	within(t, 5*time.Second, "none", func() bool { return running(h[1]) == 0 })
}

// Mistakes get an answer that names them.
func TestAddHostErrors(t *testing.T) {
	lab, _ := newLab(t, 1)
	for _, c := range []struct{ name, cidr, want string }{
		{"x", "10.9.0.9", `address "10.9.0.9": want IPv4/length`},
		{"x", "fd00::1/64", `address "fd00::1/64": want IPv4/length`},
		{"", "10.9.0.9/24", "want 1 to 15 characters"},
		{"sixteencharacter", "10.9.0.9/24", "want 1 to 15 characters"},
		{"lan", "10.9.0.9/24", "want 1 to 15 characters"},
		{"h1", "10.9.0.9/24", "h1 10.9.0.1/24 is there already"},
		{"x", "10.9.0.1/16", "h1 10.9.0.1/24 is there already"},
	} {
		if _, err := lab.AddHost(c.name, c.cidr); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q: %v, want %q in it", c.name, c.cidr, err, c.want)
		}
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.AddHost("x", "10.9.0.9/24"); err == nil {
		t.Error("a closed lab took a host")
	}
}

// TestHelper is no test: it is what TestEnter runs in processes of their own.
func TestHelper(t *testing.T) {
	switch os.Getenv("NETNS_TEST_HELPER") {
	case "": // run among the others
	case "hang": // a lab with a process in it, until killed
		_, h := newLab(t, 1)
		if err := h[0].Command(t.Context(), "sleep", os.Getenv("NETNS_TEST_MARK")).Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("\nready")
		select {}
	case "talk":
		_, h := newLab(t, 2)
		serve(t, h[0], ":80", "h1")
		got, err := get(h[1], "10.9.0.1:80")
		fmt.Printf("\nuid %d answer %s %v\n", os.Geteuid(), got, err)
	case "status":
		os.Exit(7)
	}
}

// helper prepares the test binary, at a place where everybody may run it, as user uid.
func helper(t *testing.T, uid uint32, what string) *exec.Cmd {
	t.Helper()
	dir, err := os.MkdirTemp("", "netns")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "netns.test")
	if err := errors.Join(os.WriteFile(bin, self, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-test.run=^TestHelper$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NETNS_TEST_HELPER="+what)
	cmd.Stderr = os.Stderr
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return cmd
}

// Enter works for root and for a user without any right, and hands back the exit status.
func TestEnter(t *testing.T) {
	users := []uint32{0}
	if b, err := os.ReadFile("/proc/self/uid_map"); err == nil && strings.Contains(string(b), "4294967295") {
		users = append(users, 65534)
	} else {
		t.Log("in a user namespace: no second user to try")
	}
	for _, uid := range users {
		out, err := helper(t, uid, "talk").Output()
		if err != nil || !strings.Contains(string(out), "uid 0 answer h1 <nil>") {
			t.Errorf("uid %d: %v\n%s", uid, err, out)
		}
	}
	err := helper(t, 0, "status").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("exit status: %v, want 7", err)
	}
}

// However the outer process ends, nothing that ran inside stays.
func TestEnterLeavesNothing(t *testing.T) {
	for i, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		mark := strconv.Itoa(77000000 + i)
		cmd := helper(t, 0, "hang")
		cmd.Env = append(cmd.Env, "NETNS_TEST_MARK="+mark)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for s := bufio.NewScanner(out); s.Scan() && s.Text() != "ready"; {
		}
		within(t, 5*time.Second, "one process with the mark before "+sig.String(), func() bool { return len(marked(t, mark)) == 1 })
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		t.Logf("after %v: %v", sig, err)
		within(t, 10*time.Second, "all gone after "+sig.String(), func() bool { return len(marked(t, mark)) == 0 })
	}
}

// marked lists the processes with a word in their command line.
func marked(t *testing.T, word string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if bytes.Contains(b, []byte("\x00"+word+"\x00")) {
			out = append(out, f)
		}
	}
	return out
}

// The remedy names the very setting that is in the way, and nothing that is not.
func TestRemedy(t *testing.T) {
	for path, want := range map[string]string{
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns=1": "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
		"/proc/sys/kernel/unprivileged_userns_clone=0":             "sysctl -w kernel.unprivileged_userns_clone=1",
		"/proc/sys/user/max_user_namespaces=0":                     "sysctl -w user.max_user_namespaces=15000",
		"/proc/sys/user/max_user_namespaces=7":                     "--cap-add SYS_ADMIN",
	} {
		got := remedy(func(name string) ([]byte, error) {
			if file, value, _ := strings.Cut(path, "="); file == name {
				return []byte(value + "\n"), nil
			}
			return nil, os.ErrNotExist
		})
		if !strings.Contains(got, want) || strings.Count(got, "\n") > 1 {
			t.Errorf("%s: %q, want %q in it", path, got, want)
		}
	}
}
