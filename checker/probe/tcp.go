package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Connected is the detail of a successful TCP probe.
const Connected = "connected"

// TCP connects to target, from source if that is valid, and closes the connection again. It returns after timeout at
// the latest, at once when ctx ends; timeout must be above 0.
//
// The connection is closed as any client's would be, with a FIN. A reset (SO_LINGER 0) would spare this host a socket in
// TIME_WAIT for a minute, ten thousand of them for a thousand servers checked every six seconds, which a kernel carries
// easily; but to the server a reset is an error, which many write to a log at every check.
func TCP(ctx context.Context, target netip.AddrPort, source netip.Addr, timeout time.Duration) (ok bool, detail string) {
	// Keep-alive probes make no sense for a connection that lives for microseconds.
	d := net.Dialer{Timeout: timeout, KeepAlive: -1}
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", target.String())
	if err != nil {
		return false, words(ctx, err, source, timeout)
	}
	// The server may have gone between the handshake and now; it has answered all the same.
	_ = conn.Close()
	return true, Connected
}

// words says why a connection attempt failed.
func words(ctx context.Context, err error, source netip.Addr, timeout time.Duration) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		switch no {
		case syscall.ECONNREFUSED:
			return "connection refused"
		case syscall.ECONNRESET:
			return "connection reset"
		case syscall.EHOSTUNREACH:
			return "no route to host"
		case syscall.ENETUNREACH:
			return "network is unreachable"
		case syscall.EADDRNOTAVAIL:
			if source.IsValid() {
				return fmt.Sprintf("source address %s is not on this host", source)
			}
			return "no local port or address is free"
		case syscall.EPERM, syscall.EACCES:
			return "forbidden by a firewall or policy of this host"
		case syscall.EMFILE, syscall.ENFILE:
			return "this host has no file descriptor left for the check"
		case syscall.ETIMEDOUT:
			return "no answer; the kernel gave up before " + timeout.String()
		}
		return no.Error()
	}
	var netErr net.Error
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return "cancelled"
	case ctx.Err() != nil:
		return "no answer before the check's deadline"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "no answer within " + timeout.String()
	}
	return err.Error()
}
