package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/sim/wire"
	"quorate/vrrp"
)

// takeProto removes proto=… from the arguments; without one it is every class.
func takeProto(args []arg) (wire.Class, []arg, error) {
	i := slices.IndexFunc(args, func(a arg) bool { return a.key == "proto" && a.op == "=" })
	if i < 0 {
		return wire.Everything, args, nil
	}
	c, err := wire.ParseClass(args[i].val)
	return c, slices.Delete(slices.Clone(args), i, i+1), err
}

func (s *Session) verbCut(args []arg, _ string) (string, error) {
	class, args, err := takeProto(args)
	if err != nil {
		return "", err
	}
	paths, rest, err := s.paths(args)
	if err != nil {
		return "", err
	}
	if len(rest) > 0 {
		return "", unexpected(rest[0])
	}
	for _, p := range paths {
		if class == wire.Everything {
			p.Cut = true
		} else {
			p.CutOnly |= class
		}
	}
	s.w.judge.look()
	return "", nil
}

func (s *Session) verbLoss(args []arg, _ string) (string, error) {
	class, args, err := takeProto(args)
	if err != nil {
		return "", err
	}
	return s.chance(args, func(p *wire.Path, r wire.Ratio) {
		p.Loss, p.LossOnly = r, class
		if class == wire.Everything {
			p.LossOnly = 0
		}
	})
}

func (s *Session) verbCorrupt(args []arg, _ string) (string, error) {
	return s.chance(args, func(p *wire.Path, r wire.Ratio) { p.Corrupt = r })
}

// verbSTP sets what spanning tree costs: ports are blocked that long after their link came up.
func (s *Session) verbSTP(args []arg, _ string) (string, error) {
	if len(args) != 1 || args[0].op != "" {
		return "", errors.New("expected how long")
	}
	d, err := duration("time", args[0].key)
	s.w.stp = d
	return "", err
}

// plugged blocks the port of a card that just got its carrier, if the switches do that.
func (h *Host) plugged(n *nic) {
	n.block++
	n.lan.SetBlocked(n.port, h.w.stp > 0)
	if h.w.stp == 0 {
		return
	}
	gen := n.block
	h.w.after(h.w.stp, func() {
		if n.block == gen {
			n.lan.SetBlocked(n.port, false)
			h.w.disturbed = h.w.now
			h.w.judge.look()
		}
	})
}

// card is the interface that an optional last word names, eth0 without one.
func (s *Session) card(h *Host, words []arg) (*nic, error) {
	name := "eth0"
	switch {
	case len(words) > 1 || len(words) == 1 && words[0].op != "":
		return nil, unexpected(words[len(words)-1])
	case len(words) == 1:
		name = words[0].key
	}
	if n := h.nic(name); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("%s has no interface %q", h.Name, name)
}

// verbAddr does what an operator does with ip addr, or a second machine with the same address.
func (s *Session) verbAddr(args []arg, _ string) (string, error) {
	if len(args) < 3 || args[1].key != "add" && args[1].key != "del" {
		return "", errors.New("expected a host, add or del, and an address")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	p, err := netip.ParsePrefix(args[2].key)
	if err != nil {
		a, err := address(args[2].key)
		if err != nil {
			return "", err
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	n, err := s.card(h, args[3:])
	switch {
	case err != nil:
		return "", err
	case !h.on:
		return "", fmt.Errorf("%s has crashed: start it first", h.Name)
	case args[1].key == "add" && !n.add(p):
		return "", fmt.Errorf("%s has %v already", h.Name, p)
	case args[1].key == "del" && !n.remove(p):
		return "", fmt.Errorf("%s has no address %v on %s", h.Name, p, n.name)
	}
	s.w.note(h.Name, EventKernel, fmt.Sprintf("ip addr %s %v dev %s", args[1].key, p, n.name))
	h.addressChanged(n)
	return "", nil
}

// verbGARP announces an address from a host, whether or not it has it.
func (s *Session) verbGARP(args []arg, _ string) (string, error) {
	if len(args) < 2 {
		return "", errors.New("expected a host and an address")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	a, err := address(args[1].key)
	if err != nil {
		return "", err
	}
	n, err := s.card(h, args[2:])
	if err != nil {
		return "", err
	}
	s.w.transmit(h, n, s.w.build.Announcement(n.mac, a))
	return "", nil
}

// verbAdvert sends forged or merely foreign adverts, with nothing of a protocol machine behind them.
func (s *Session) verbAdvert(args []arg, _ string) (string, error) {
	if len(args) == 0 {
		return "", errors.New("expected a host")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	n := h.nics[0]
	a := vrrp.Advert{Version: 2, Interval: time.Second}
	src, ttl, count, every := n.base.Addr(), uint8(vrrp.TTL), uint64(1), time.Second
	for _, w := range args[1:] {
		var num uint64
		if w.op != "=" {
			return "", unexpected(w)
		}
		switch w.key {
		case "vrid":
			num, err = number("vrid", w.val, 255)
			a.VRID = uint8(num)
		case "prio":
			num, err = number("prio", w.val, 255)
			a.Priority = uint8(num)
		case "version":
			num, err = number("version", w.val, 3)
			a.Version = uint8(num)
		case "int":
			a.Interval, err = duration("int", w.val)
		case "auth":
			a.AuthType, a.AuthData = vrrp.AuthPass, vrrp.Password(w.val)
		case "ttl":
			num, err = number("ttl", w.val, 255)
			ttl = uint8(num)
		case "src":
			src, err = address(w.val)
		case "count":
			count, err = number("count", w.val, 1_000_000)
		case "every":
			every, err = duration("every", w.val)
		case "vips":
			for _, text := range w.list() {
				vip, err := address(text)
				if err != nil {
					return "", err
				}
				a.Addrs = append(a.Addrs, vip)
			}
		default:
			err = unexpected(w)
		}
		if err != nil {
			return "", err
		}
	}
	dst := vrrp.Group(len(a.Addrs) > 0 && a.Addrs[0].Is6())
	if dst.Is6() && src == n.base.Addr() {
		src = n.mac.LinkLocal()
	}
	payload, err := a.Append(nil, src, dst, false)
	if err != nil {
		return "", fmt.Errorf("this advert cannot be built: %w", err)
	}
	var send func(left uint64)
	send = func(left uint64) {
		h.ipID++
		s.w.transmit(h, n, s.w.build.Packet(wire.MulticastMAC(dst), n.mac, wire.IP{
			TOS: vrrp.TOS, TTL: ttl, Protocol: vrrp.ProtocolNumber, ID: h.ipID, Src: src, Dst: dst,
		}, payload))
		if left > 1 {
			s.w.after(every, func() { send(left - 1) })
		}
	}
	if count > 0 {
		send(count)
	}
	return "", nil
}

// scriptState is what a vrrp_script returns: exit, or with flap exit and 0 in turn, each for that long.
type scriptState struct {
	exit  int
	flap  time.Duration
	since time.Duration
}

func (st scriptState) now(t time.Duration) int {
	if st.flap > 0 && (t-st.since)/st.flap%2 == 1 {
		return 0
	}
	return st.exit
}

func (s *Session) verbScript(args []arg, _ string) (string, error) {
	if len(args) < 3 || args[2].key != "exit" || args[2].op != "=" {
		return "", errors.New("expected a node, the name of a vrrp_script and exit=")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	name := args[1].key
	if !h.hasScript(name) {
		return "", fmt.Errorf("%s has no vrrp_script %q in its configuration", h.Name, name)
	}
	code, err := number("exit", args[2].val, 255)
	if err != nil {
		return "", err
	}
	st := scriptState{exit: int(code), since: s.w.now}
	for _, a := range args[3:] {
		if a.key != "flap" || a.op != "=" {
			return "", unexpected(a)
		}
		if st.flap, err = duration("flap", a.val); err != nil {
			return "", err
		}
	}
	if h.scripts == nil {
		h.scripts = map[string]scriptState{}
	}
	h.scripts[name] = st
	return "", nil
}

// verbClock lets a clock run fast or slow, or sets the wall clock. Adverts must not care for the
// latter, which is what a scenario that steps it shows.
func (s *Session) verbClock(args []arg, _ string) (string, error) {
	if len(args) == 0 || args[0].op != "" {
		return "", errors.New("expected a host and a drift or step=")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	var words []Word
	for _, a := range args {
		words = append(words, Word{a.key, a.op, a.val})
	}
	step, ppm, err := ParseClock(words)
	switch {
	case err != nil:
		return "", err
	case step != 0:
		h.wall += step
	default:
		h.setDrift(ppm)
	}
	return "", nil
}

// ParseClock reads what the verb clock says of a host: a jump of its wall clock, or how fast its clocks run from now on, in parts
// per million.
func ParseClock(args []Word) (step time.Duration, ppm int64, err error) {
	if len(args) != 2 {
		return 0, 0, errors.New("expected a host and a drift or step=")
	}
	if a := args[1]; a.Key == "step" && a.Op == "=" {
		if step, err = time.ParseDuration(a.Value); err != nil || step == 0 {
			return 0, 0, fmt.Errorf("step %q is no duration: expected one such as 1h or -30s", a.Value)
		}
		return step, 0, nil
	}
	ppm, err = partsPerMillion(arg{args[1].Key, args[1].Op, args[1].Value})
	return 0, ppm, err
}
