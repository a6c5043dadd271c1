package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	for _, want := range []string{`"interface":"vlan7, untagged","src":"10.99.0.11"`, `"src":"10.99.0.11","verdict":"ok"`, `"verdict":"reject","reason":"addr_list`, `{"kind":"summary"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}
