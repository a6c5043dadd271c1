package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/config"
)

// serverState is what a real server's program does with connections.
type serverState uint8

const (
	serverUp     serverState = iota
	serverDown               // no answer: a packet filter, or a queue that is full
	serverHang               // the kernel accepts connections, the program never says anything: a TCP_CHECK finds nothing wrong
	serverRefuse             // the program has ended
)

func serverStates() []string { return []string{"up", "down", "hang", "refuse"} }

func (s serverState) String() string { return serverStates()[s] }

// ParseServerState reads up, down, hang or refuse.
func parseServerState(text string) (serverState, error) {
	i := slices.Index(serverStates(), text)
	if i < 0 {
		return 0, fmt.Errorf("server state %q: expected one of %s", text, strings.Join(serverStates(), ", "))
	}
	return serverState(i), nil
}

// serving is what a port does: state, or with flap that and up in turn.
type serving struct {
	state serverState
	flap  time.Duration
	since time.Duration
}

// serves is what a port of a real server does now; port 0 stands for those that are not named.
func (h *Host) serves(port uint16) serverState {
	s, ok := h.ports[port]
	if !ok {
		s = h.ports[0]
	}
	if s.flap > 0 && (h.w.now-s.since)/s.flap%2 == 1 {
		return serverUp
	}
	return s.state
}

// steady reports whether a port does not flap.
func (h *Host) steady(port uint16) bool {
	s, ok := h.ports[port]
	if !ok {
		s = h.ports[0]
	}
	return s.flap == 0
}

// verbServer: server rs1 refuse [port=80] [flap=2s].
func (s *Session) verbServer(args []arg, _ string) (string, error) {
	if len(args) < 2 || args[0].op != "" || args[1].op != "" {
		return "", errors.New("expected a real server and up, down, hang or refuse")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	if !h.server {
		return "", fmt.Errorf("%s is no real server: expected one of world's real=", h.Name)
	}
	sv := serving{since: s.w.now}
	if sv.state, err = parseServerState(args[1].key); err != nil {
		return "", err
	}
	var port uint64
	for _, a := range args[2:] {
		switch {
		case a.key == "port" && a.op == "=":
			port, err = number("port", a.val, 65535)
		case a.key == "flap" && a.op == "=":
			sv.flap, err = duration("flap", a.val)
		default:
			err = unexpected(a)
		}
		if err != nil {
			return "", err
		}
	}
	if port == 0 {
		h.ports = nil
	}
	if h.ports == nil {
		h.ports = map[uint16]serving{}
	}
	h.ports[uint16(port)] = sv
	h.serverLife()
	return "", nil
}

// realServer is a host of the option Real: NAME or NAME@ADDRESS.
func realServer(word string) (name string, addr netip.Addr, err error) {
	name, text, given := strings.Cut(word, "@")
	if !given {
		return name, addr, nil
	}
	if addr, err = address(text); err != nil {
		return "", addr, fmt.Errorf("real server %s: %w", name, err)
	}
	return name, addr, nil
}

// serverOf is the host that a real_server block means, nil if the world has none with its address.
func (w *World) serverOf(addr netip.Addr) *Host {
	for _, h := range w.hosts {
		if h.server && slices.ContainsFunc(h.nics, func(n *nic) bool { return n.base.Addr() == addr }) {
			return h
		}
	}
	return nil
}

// readyServers does on real servers what their administrator has done before a service can work with direct routing: its
// address is on lo, and nobody is told by ARP (arp_ignore 1, arp_announce 2).
func (w *World) readyServers(c *config.Config) {
	for _, v := range c.VirtualServers {
		if !v.Addr.V.Is4() {
			continue
		}
		for _, r := range v.RealServers {
			if h := w.serverOf(r.Addr.V); h != nil && !slices.Contains(h.loopback, v.Addr.V) {
				h.loopback = append(h.loopback, v.Addr.V)
			}
		}
	}
}
