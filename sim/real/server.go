package real

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/sim"
)

// program is what listens on a port of a real server, in this process.
type program struct {
	state string // up, down, hang, refuse
	gen   int    // of its flapping
	end   func()
}

// readyServer is what the administrator of a real server does for direct routing, and starts its programs: the service's address
// on lo, which ARP does not tell of.
func (s *stage) readyServers(c *config.Config) error {
	for _, v := range c.VirtualServers {
		for _, r := range v.RealServers {
			h := s.serverOf(r.Addr.V)
			if h == nil {
				continue
			}
			port := v.Port.V
			if kind := r.LBKind.V; kind == "NAT" || !r.LBKind.Set && v.LBKind.V == "NAT" {
				port = r.Port.V
			}
			if err := h.AddAddress("lo", v.Addr.V.String()+"/32"); err != nil && !errors.Is(err, unix.EEXIST) {
				return err
			}
			if h.ports[port] != nil {
				continue
			}
			h.ports[port] = &program{}
			if err := h.serve(port, "up"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stage) serverOf(a netip.Addr) *host {
	for _, h := range s.hosts {
		for _, c := range h.cards {
			if h.server && c.base.Addr() == a {
				return h
			}
		}
	}
	return nil
}

// server is the verb: server rs1 refuse [port=80] [flap=2s].
func (s *stage) serverVerb(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	only, flap := 0, time.Duration(0)
	for _, a := range args[2:] {
		switch a.Key {
		case "port":
			only, err = strconv.Atoi(a.Value)
		case "flap":
			flap, err = time.ParseDuration(a.Value)
		}
		if err != nil {
			return err
		}
	}
	h.condition(map[string]string{"down": "no answer", "hang": "hangs", "refuse": "refuses"}[args[1].Key])
	for port, p := range h.ports {
		if only != 0 && port != only {
			continue
		}
		p.gen++
		if err := h.serve(port, args[1].Key); err != nil {
			return err
		}
		if flap > 0 {
			h.flap(port, args[1].Key, flap, p.gen)
		}
	}
	return nil
}

// flap lets a port work and not work in turn.
func (h *host) flap(port int, state string, every time.Duration, gen int) {
	bad := true
	var turn func()
	turn = func() {
		h.s.serving.Lock()
		defer h.s.serving.Unlock()
		if h.ports[port].gen != gen || h.s.ctx.Err() != nil {
			return
		}
		next := state
		if bad {
			next = "up"
		}
		bad = !bad
		_ = h.change(port, next) // shows in the next expectation
		time.AfterFunc(every, turn)
	}
	time.AfterFunc(every, turn)
}

// serve makes a port do something else from now on.
func (h *host) serve(port int, state string) error {
	h.s.serving.Lock()
	defer h.s.serving.Unlock()
	return h.change(port, state)
}

func (h *host) change(port int, state string) (err error) {
	p := h.ports[port]
	if p.end != nil {
		p.end()
	}
	p.end, p.state = nil, state
	switch state {
	case "refuse":
		return nil
	case "down":
		p.end, err = h.full(port)
		return err
	}
	ln, err := h.ns.Listen("tcp4", ":"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(h.s.ctx)
	p.end = func() { cancel(); _ = ln.Close() }
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go answer(ctx, conn, state, h.name)
		}
	}()
	return nil
}

// answer is one connection: a name for a question, or, by a program that hangs, nothing.
func answer(ctx context.Context, conn net.Conn, state, name string) {
	defer func() { _ = conn.Close() }()
	if state == "hang" {
		<-ctx.Done()
		return
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		_, _ = io.WriteString(conn, name)
	}
}

// full makes a listener whose queue is full, so that the kernel drops every further SYN.
func (h *host) full(port int) (end func(), err error) {
	fd := -1
	err = h.ns.Do(func() error {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.Bind(fd, &unix.SockaddrInet4{Port: port}), unix.Listen(fd, 0))
	})
	if err != nil {
		return nil, fmt.Errorf("%s: port %d: %w", h.name, port, err)
	}
	var held []net.Conn
	end = func() {
		_ = unix.Close(fd)
		for _, c := range held {
			_ = c.Close()
		}
	}
	for range 8 {
		ctx, cancel := context.WithTimeout(h.s.ctx, 200*time.Millisecond)
		c, err := h.ns.DialContext(ctx, "tcp4", "127.0.0.1:"+strconv.Itoa(port))
		cancel()
		if err != nil {
			return end, nil // full
		}
		held = append(held, c)
	}
	end()
	return nil, fmt.Errorf("%s: port %d: the queue of a listener does not fill", h.name, port)
}

// ask is one question of a client, as package sim's clients put it.
func (h *host) ask(ctx context.Context, at netip.AddrPort) (server string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := h.ns.DialContext(ctx, "tcp4", at.String())
	if err != nil {
		var no syscall.Errno
		if errors.As(err, &no) {
			return "", no
		}
		return "", errors.New("no answer")
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "?"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(conn, 64))
	if name := strings.TrimSpace(string(b)); name != "" {
		return name, nil
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		err = nil
	}
	return "", errors.Join(errors.New("no answer"), err)
}
