package netnstests

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// web answers on a host's port 80 with the host's name and closes. stop closes the port.
func (w *world) web(host string) (stop func()) {
	w.Helper()
	ln, err := w.lab.Host(host).Listen("tcp4", ":80")
	if err != nil {
		w.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = io.WriteString(conn, host)
				_ = conn.Close()
			}
		}
	})
	stop = func() { _ = ln.Close(); served.Wait() }
	w.Cleanup(stop)
	return stop
}

// ask connects from the client, by one of its addresses, to port 80 of addr and returns who answered.
func (w *world) ask(src, addr netip.Addr) (name string, err error) {
	ctx, cancel := context.WithTimeout(w.ctx, time.Second)
	defer cancel()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0))}
	var conn net.Conn
	err = w.lab.Host("client").Do(func() error {
		conn, err = dialer.DialContext(ctx, "tcp4", netip.AddrPortFrom(addr, 80).String())
		return err
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}
