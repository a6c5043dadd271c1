package probe_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"quorate/checker/probe"
)

func listen(t *testing.T, at string) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", at, err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener), l.Addr().(*net.TCPAddr).AddrPort()
}

// TestTCPAnswers shows success over both families, the source address the server sees, and the kind goodbye: a FIN.
func TestTCPAnswers(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			l, target := listen(t, at)
			source := netip.Addr{}
			if target.Addr().Is4() {
				source = netip.MustParseAddr("127.0.0.77")
			}
			type seen struct {
				from netip.Addr
				err  error
			}
			server := make(chan seen, 1)
			go func() {
				c, err := l.Accept()
				if err != nil {
					server <- seen{err: err}
					return
				}
				defer func() { _ = c.Close() }()
				_, err = c.Read(make([]byte, 1))
				server <- seen{c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(), err}
			}()
			ok, detail := probe.TCP(context.Background(), target, source, 10*time.Second)
			if !ok || detail != probe.Connected {
				t.Fatalf("got %v, %q", ok, detail)
			}
			s := <-server
			if s.err != io.EOF {
				t.Errorf("the server read %v, want a clean end", s.err)
			}
			if source.IsValid() && s.from != source {
				t.Errorf("the server saw %s, want %s", s.from, source)
			}
		})
	}
}

// TestTCPWords shows that each cause is told by its own words, and that none takes longer than it must.
func TestTCPWords(t *testing.T) {
	l, closed := listen(t, "127.0.0.1:0")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	silent := full(t)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel2 := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel2()
	for _, c := range []struct {
		name    string
		ctx     context.Context
		target  netip.AddrPort
		source  netip.Addr
		timeout time.Duration
		want    string
	}{
		{"closed port", context.Background(), closed, netip.Addr{}, 10 * time.Second, "connection refused"},
		{"silence", context.Background(), silent, netip.Addr{}, 150 * time.Millisecond, "no answer within 150ms"},
		{"foreign source", context.Background(), closed, netip.MustParseAddr("198.51.100.7"), 10 * time.Second, "source address 198.51.100.7 is not on this host"},
		{"cancelled", cancelled, silent, netip.Addr{}, 10 * time.Second, "cancelled"},
		{"caller's deadline", expired, silent, netip.Addr{}, 10 * time.Second, "no answer before the check's deadline"},
		{"broadcast", context.Background(), netip.MustParseAddrPort("255.255.255.255:80"), netip.Addr{}, 10 * time.Second, "network is unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			ok, detail := probe.TCP(c.ctx, c.target, c.source, c.timeout)
			if ok || detail != c.want {
				t.Errorf("got %v, %q, want %q", ok, detail, c.want)
			}
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// full returns the address of a listener whose queue is full, so that the kernel drops every further SYN.
func full(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 8 {
		c, err := net.DialTimeout("tcp", at.String(), 100*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue of a listener with backlog 0 does not fill")
	return at
}
