package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"quorate/internal/console"
	"quorate/internal/testenv"
	"quorate/sim/replay"
)

const captures = "../../sim/replay/testdata/captures/"

func run(t *testing.T, in []byte, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, console.Streams{In: bytes.NewReader(in), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestDecodeFile(t *testing.T) {
	code, out, _ := run(t, nil, "vrrp", "decode", "-r", captures+"15-split-brain-br0.pcap")
	for _, want := range []string{"vrid 51 v2  ok  priority 150, interval 1s, 10.99.0.100", "Two owners:\n", "10.99.0.11 and 10.99.0.12 of 10.99.0.100"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
	file, err := os.ReadFile(captures + "14c-vrid-conflict-auth-pass.pcap")
	if err != nil {
		t.Fatal(err)
	}
	code, out, _ = run(t, file, "vrrp", "decode", "-r", "-", "-o", "json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 54 {
		t.Fatalf("exit %d, %d lines", code, len(lines))
	}
	for n, line := range lines {
		var o struct {
			Kind, Proto, Src, Verdict, Reason string
			N, VRID, Version                  int
			Time                              time.Time
			Conflicts                         []replay.Conflict
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		switch {
		case n == 53 && (o.Kind != "summary" || len(o.Conflicts) != 1 || o.Conflicts[0].Foreign.Src != "10.99.0.13"):
			t.Errorf("summary %s", line)
		case n < 53 && (o.Kind != "packet" || o.N != n+1 || o.Time.IsZero() || o.Verdict == "" || o.Src == ""):
			t.Errorf("line %s", line)
		case o.Src == "10.99.0.13" && o.Proto == "vrrp" && (o.Verdict != "reject" || !strings.HasPrefix(o.Reason, "auth: ")):
			t.Errorf("line %s", line)
		}
	}
}

// A damaged file tells what could be read, and where it ends.
func TestDecodeDamaged(t *testing.T) {
	file, err := os.ReadFile(captures + "01-v2-noauth.pcap")
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, file[:800], "vrrp", "decode", "-r", "-")
	if code != 1 || !strings.Contains(out, "Owners:\n") || !strings.Contains(errs, "ends in the middle of frame 13") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	for _, args := range [][]string{
		{"vrrp", "decode"},
		{"vrrp", "decode", "-r", "x", "-i", "lo"},
		{"vrrp", "decode", "-r", filepath.Join(t.TempDir(), "none")},
		{"vrrp", "decode", "-r", "vrrp_test.go"},
		{"vrrp", "decode", "-i", "no-such-card"},
	} {
		if code, _, errs := run(t, nil, args...); code == 0 || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
}

// lockedBuffer is written by one goroutine and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Adverts put on the loopback interface are seen live, with the summary at the end.
func TestDecodeLive(t *testing.T) {
	testenv.NeedRoot(t)
	file, err := os.Open(captures + "14-vrid-conflict-vips.pcap")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r, err := replay.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for f, err := range r.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, bytes.Clone(f.Data))
		// The kernel takes the tag off and tells it beside the frame.
		frames = append(frames, slices.Concat(f.Data[:12], []byte{0x81, 0, 0, 7}, f.Data[12:]))
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out, errs lockedBuffer
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"vrrp", "decode", "-i", "lo", "-o", "json"}, console.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	}()
	for n := 0; ctx.Err() == nil && !strings.Contains(out.String(), `"addr_list`); n++ { // it may not listen yet
		if err := unix.Sendto(fd, frames[n%len(frames)], 0, &unix.SockaddrLinklayer{Ifindex: lo.Index}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	for _, want := range []string{`vlan7`, `"src":"10.99.0.11","verdict":"ok"`, `"verdict":"reject","reason":"addr_list`, `{"kind":"summary"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// The filter of a live capture lets through every frame that the decoder has a line for, behind up to two VLAN tags, and keeps
// other traffic from the decoder.
func TestLiveFilter(t *testing.T) {
	files, err := filepath.Glob(captures + "*")
	if err != nil || len(files) < 40 {
		t.Fatal(len(files), err)
	}
	vm := func(cooked bool) *bpf.VM {
		v, err := bpf.NewVM(liveFilter(cooked))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	withHeader, without := vm(false), vm(true)
	pass := func(v *bpf.VM, b []byte) bool {
		n, err := v.Run(b)
		return err == nil && n >= len(b)
	}
	tag := func(b []byte) []byte { return slices.Concat(b[:12], []byte{0x81, 0, 0, 7}, b[12:]) }
	seen := 0
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := replay.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		d := replay.New(replay.Options{})
		for f, err := range r.Frames() {
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := d.Frame(f); !ok {
				continue
			}
			seen++
			if b := f.Data; !pass(withHeader, b) || !pass(withHeader, tag(b)) || !pass(withHeader, tag(tag(b))) || b[12] != 8 && !pass(without, b[14:]) {
				t.Errorf("%s frame %d is not let through", name, f.N)
			}
		}
		_ = f.Close()
	}
	if seen < 1000 {
		t.Error(seen)
	}
	udp := slices.Concat(make([]byte, 12), []byte{8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17}, make([]byte, 40))
	echo := slices.Concat(make([]byte, 12), []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 58, 255}, make([]byte, 32), []byte{128, 0, 0, 0, 0, 0, 0, 0})
	for _, b := range [][]byte{udp, echo, make([]byte, 60), make([]byte, 3)} {
		if pass(withHeader, b) || len(b) > 14 && (pass(without, b[14:]) || pass(withHeader, tag(b))) {
			t.Errorf("% x is let through", b)
		}
	}
}

// What ends a capture: -c, --duration, the context; and what -q, -t and -w do.
func TestDecodeFlags(t *testing.T) {
	const file = captures + "15-split-brain-br0.pcap"
	code, out, errs := run(t, nil, "vrrp", "decode", "-r", file, "-c", "3", "-t", "ud")
	if code != 0 || errs != "" || !strings.HasPrefix(out, "    1 2026-11-20 21:46:02.629") || !strings.Contains(out, "3 frames, 3 packets") {
		t.Errorf("exit %d %s\n%s", code, errs, out)
	}
	if code, out, _ = run(t, nil, "vrrp", "decode", "-r", file, "-q"); code != 0 || strings.Contains(out, "gratuitous") || !strings.Contains(out, "In short: no conflict; two owners once, for 400µs at most") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if code, out, _ = run(t, nil, "sim", "replay", file); code != 0 || !strings.Contains(out, "In short:") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if code, out, _ = run(t, nil, "--color", "always", "vrrp", "decode", "-r", captures+"14-vrid-conflict-vips.pcap"); code != 0 || strings.Count(out, "\x1b[1;31mreject\x1b[0m") != 7 {
		t.Errorf("exit %d\n%s", code, out)
	}
	for _, args := range [][]string{{"-t", "x", "-r", file}, {"-c", "-1", "-r", file}, {"-w", "x", "-r", file}, {"--duration", "-1s", "-r", file}} {
		if code, _, errs := run(t, nil, append([]string{"vrrp", "decode"}, args...)...); code != 2 || errs == "" {
			t.Errorf("%q: exit %d %q", args, code, errs)
		}
	}
	code, out, errs = run(t, nil, "vrrp", "decode", "-r", "/dev/null")
	if code != 1 || !strings.Contains(errs, "/dev/null: neither pcap nor pcapng: the file is empty") {
		t.Errorf("exit %d %s%s", code, errs, out)
	}
}

// A capture that is still being written to a pipe is shown as it comes, and Ctrl-C ends it with the summary.
func TestDecodePipe(t *testing.T) {
	file, err := os.ReadFile(captures + "01-v2-noauth.pcap")
	if err != nil {
		t.Fatal(err)
	}
	in, w := io.Pipe()
	defer func() { _ = w.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out, errs lockedBuffer
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"vrrp", "decode", "-r", "-"}, console.Streams{In: in, Out: &out, Err: &errs})
	}()
	if _, err := w.Write(file[:800]); err != nil { // in the middle of the 13th
		t.Fatal(err)
	}
	for ctx.Err() == nil && !strings.Contains(out.String(), "\n   12 ") {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if code := <-done; code != 0 || errs.String() != "" || !strings.Contains(out.String(), "12 frames, 12 packets") {
		t.Errorf("exit %d %s\n%s", code, errs.String(), out.String())
	}
}

// Without the right to listen the error says which right, and with the wrong name which names there are.
func TestDecodeLiveRefused(t *testing.T) {
	code, _, errs := run(t, nil, "vrrp", "decode", "-i", "no-such-card")
	if code != 2 || !strings.Contains(errs, "there is no interface no-such-card") || !strings.Contains(errs, "lo, ") {
		t.Errorf("exit %d %s", code, errs)
	}
	type result struct {
		code int
		errs string
	}
	done := make(chan result)
	go func() { // a thread without rights, which ends with this
		runtime.LockOSThread()
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&head, &none[0]); err != nil {
			done <- result{-1, err.Error()}
			return
		}
		var out, errs bytes.Buffer
		code := execute(t.Context(), []string{"vrrp", "decode", "-i", "lo"}, console.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
		done <- result{code, errs.String()}
	}()
	if r := <-done; r.code == 0 || !strings.Contains(r.errs, "needs root or CAP_NET_RAW") {
		t.Errorf("exit %d %s", r.code, r.errs)
	}
}
