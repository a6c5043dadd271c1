package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"quorate/node"
)

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	fa, fb, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	conns := [2]*Conn{}
	for i, f := range []*os.File{fa, fb} {
		c, err := OpenConn(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		conns[i] = c
	}
	return conns[0], conns[1]
}

func TestConnOrder(t *testing.T) {
	a, b := pair(t)
	const n = 2000
	go func() {
		for i := int64(1); i <= n; i++ {
			for errors.Is(a.Send(Message{Kind: KindApply, Generation: i}), ErrFull) {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	for i := int64(1); i <= n; i++ {
		m, err := b.Recv(t.Context())
		if err != nil || m.Generation != i {
			t.Fatalf("message %d: got %+v, %v", i, m, err)
		}
	}
}

func TestConnSendNeverBlocks(t *testing.T) {
	a, b := pair(t)
	sent := uint64(0)
	for range 1_000_000 {
		err := a.Send(Message{Kind: KindEntry, Error: strings.Repeat("x", 10_000)})
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent++
	}
	if a.Dropped() != 1 || sent < 10 {
		t.Fatalf("sent %d, dropped %d", sent, a.Dropped())
	}
	if got := b.Drain(); uint64(got) != sent {
		t.Errorf("drained %d of %d", got, sent)
	}
	if err := a.Send(Message{Kind: KindHello}); err != nil {
		t.Errorf("after the queue was emptied: %v", err)
	}
	if m, err := b.Recv(t.Context()); err != nil || m.Kind != KindHello {
		t.Errorf("after the queue was emptied: %+v, %v", m, err)
	}
	if err := a.Send(Message{Kind: KindEntry, Error: strings.Repeat("x", MaxMessage)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestConnRecvEnds(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Recv(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("cancelled: %v", err)
	}
	if err := a.Send(Message{Kind: KindHello}); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Recv(t.Context()); err != nil || m.Kind != KindHello {
		t.Fatalf("a cancelled Recv spoiled the next: %+v, %v", m, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Recv(t.Context()); !errors.Is(err, io.EOF) {
		t.Fatalf("no process holds the other end: %v", err)
	}
	other, d := pair(t)
	defer func() { _ = other.Close() }()
	time.AfterFunc(20*time.Millisecond, func() { _ = d.Close() })
	if _, err := d.Recv(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestConnSkipsGarbage(t *testing.T) {
	fa, fb, err := NewPair()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fa.Close() }()
	b, err := OpenConn(fb)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	for _, p := range []string{"{", `[]`, `{"kind":""}`, strings.Repeat(" ", MaxMessage+100), `{"kind":"hello","pid":7}`} {
		if err := unix.Send(int(fa.Fd()), []byte(p), 0); err != nil {
			t.Fatal(err)
		}
	}
	m, err := b.Recv(t.Context())
	if err != nil || m.PID != 7 || b.Garbled() != 4 {
		t.Errorf("got %+v, %v, garbled %d", m, err, b.Garbled())
	}
}

func TestOpenConnRefusesOtherFiles(t *testing.T) {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if c, err := OpenConn(f); err == nil {
		t.Errorf("opened %+v", c)
	}
}

func TestSplitStatus(t *testing.T) {
	var instances []node.InstanceStatus
	for i := range 255 {
		in := node.InstanceStatus{Name: fmt.Sprintf("VI_%d", i), VRID: i}
		for v := range 40 { // 255 x 40 addresses: several parts by size alone
			in.VIPs = append(in.VIPs, fmt.Sprintf("10.%d.%d.1/32", i, v))
		}
		instances = append(instances, in)
	}
	services := []node.ServiceStatus{{Service: "tcp 10.0.0.1:80"}, {Service: "tcp 10.0.0.2:80"}}
	for i := range 1000 {
		services[1].Servers = append(services[1].Servers, node.RealServerStatus{
			Server: fmt.Sprintf("10.1.%d.%d:80", i/250, i%250), Detail: strings.Repeat("d", i%300)})
	}
	missing := []string{"IPVS: the kernel has no ip_vs"}
	parts := SplitStatus(Message{Worker: "vrrp", Generation: 9}, instances, services, missing)
	for i, p := range parts {
		n := len(p.Instances) + len(p.Services) + len(p.Missing)
		for _, s := range p.Services {
			n += len(s.Servers)
		}
		if n > partObjects || jsonLen(p) > MaxMessage {
			t.Errorf("part %d: %d objects, %d bytes", i, n, jsonLen(p))
		}
		if p.Last != (i == len(parts)-1) || p.Generation != 9 || p.Kind != KindStatus {
			t.Errorf("part %d: head %+v", i, p)
		}
	}
	want := Status{Worker: "vrrp", Generation: 9, Instances: instances, Services: services, Missing: missing}
	var asm Assembler
	for _, lost := range []int{-1, len(parts) / 2, 0, len(parts) - 1, -1} {
		completed := false
		for i, p := range parts {
			if i == lost {
				continue
			}
			if got, ok := asm.Add(p); ok {
				completed = true
				if d := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); lost >= 0 || d != "" {
					t.Fatalf("part %d lost, difference:\n%s", lost, d)
				}
			}
		}
		if completed != (lost < 0) {
			t.Errorf("part %d lost: completed %v", lost, completed)
		}
	}
	if parts := SplitStatus(Message{}, nil, nil, nil); len(parts) != 1 || !parts[0].Last || parts[0].Part != 1 {
		t.Errorf("an empty status: %+v", parts)
	}
}
