package real

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"quorate/sim"
	"quorate/sim/wire"
	"quorate/vrrp"
)

// paths reads A>B words.
func (s *stage) paths(args []sim.Word) (list []*wire.Path, class wire.Class, rest []sim.Word, err error) {
	dev := -1
	for _, a := range args {
		if a.Key == "dev" && a.Op == "=" {
			c, err := s.hosts[0].card([]sim.Word{{Key: a.Value}})
			if err != nil {
				return nil, 0, nil, err
			}
			dev = c.lan
		}
	}
	for _, a := range args {
		if a.Key == "dev" && a.Op == "=" {
			continue
		}
		if a.Key == "proto" && a.Op == "=" {
			if class, err = wire.ParseClass(a.Value); err != nil {
				return nil, 0, nil, err
			}
			continue
		}
		from, to, ok := strings.Cut(a.Key, ">")
		if !ok {
			rest = append(rest, a)
			continue
		}
		for i, x := range s.hosts {
			for k, y := range s.hosts {
				if i != k && (from == "*" || from == x.name) && (to == "*" || to == y.name) {
					for n, lan := range s.fabric.lans {
						if dev >= 0 && dev != n {
							continue
						}
						list = append(list, lan.Path(i, k))
					}
				}
			}
		}
	}
	return list, class, rest, nil
}

func (s *stage) cut(args []sim.Word, _ string) error {
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	list, class, _, err := s.paths(args)
	for _, p := range list {
		if class == 0 {
			p.Cut = true
		} else {
			p.CutOnly |= class
		}
	}
	return err
}

func chance(set func(*wire.Path, wire.Ratio, wire.Class)) func(*stage, []sim.Word, string) error {
	return func(s *stage, args []sim.Word, _ string) error {
		s.fabric.mu.Lock()
		defer s.fabric.mu.Unlock()
		list, class, rest, err := s.paths(args)
		if err != nil || len(rest) != 1 {
			return errors.Join(err, fmt.Errorf("expected a probability, got %v", rest))
		}
		r, err := wire.ParseRatio(rest[0].Key)
		for _, p := range list {
			set(p, r, class)
		}
		return err
	}
}

func (s *stage) delay(args []sim.Word, _ string) error {
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	list, _, rest, err := s.paths(args)
	if err != nil || len(rest) != 1 {
		return errors.Join(err, fmt.Errorf("expected a delay, got %v", rest))
	}
	r, err := wire.ParseRange(rest[0].Key)
	for _, p := range list {
		p.Delay = r
	}
	return err
}

func (s *stage) split(args []sim.Word, _ string) error {
	var all string
	for _, a := range args {
		all += a.Key
	}
	side := make([]int, len(s.hosts))
	for n, g := range strings.Split(all, "/") {
		for _, name := range strings.FieldsFunc(g, func(r rune) bool { return strings.ContainsRune("{}, ", r) }) {
			h, err := s.host(name)
			if err != nil {
				return err
			}
			side[h.index] = n
		}
	}
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	for _, lan := range s.fabric.lans {
		lan.Split(side)
	}
	return nil
}

func (s *stage) heal([]sim.Word, string) error {
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	for _, lan := range s.fabric.lans {
		lan.Heal()
	}
	return nil
}

func (s *stage) addr(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	cidr := args[2].Key
	if a, err := netip.ParseAddr(cidr); err == nil {
		cidr = netip.PrefixFrom(a, a.BitLen()).String()
	}
	c, err := h.card(args[3:])
	if err != nil {
		return err
	}
	if args[1].Key == "add" {
		return h.AddAddress(c.name, cidr)
	}
	return h.DeleteAddress(c.name, cidr)
}

func (s *stage) garp(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	a, err := netip.ParseAddr(args[1].Key)
	if err != nil {
		return err
	}
	c, err := h.card(args[2:])
	if err != nil {
		return err
	}
	s.fabric.send(c.lan, h.index, s.build.Announcement(c.mac, a))
	return nil
}

// advert sends forged adverts from a host's port.
func (s *stage) advert(args []sim.Word, _ string) error {
	h, err := s.host(args[0].Key)
	if err != nil {
		return err
	}
	a := vrrp.Advert{Version: 2, Interval: time.Second}
	src, ttl, count, every := h.cards[0].base.Addr(), 255, 1, time.Second
	for _, w := range args[1:] {
		var n int
		switch w.Key {
		case "vrid", "prio", "version", "ttl", "count":
			if n, err = strconv.Atoi(w.Value); err != nil {
				return err
			}
		}
		switch w.Key {
		case "vrid":
			a.VRID = uint8(n)
		case "prio":
			a.Priority = uint8(n)
		case "version":
			a.Version = uint8(n)
		case "ttl":
			ttl = n
		case "count":
			count = n
		case "int":
			a.Interval, err = time.ParseDuration(w.Value)
		case "every":
			every, err = time.ParseDuration(w.Value)
		case "auth":
			a.AuthType, a.AuthData = vrrp.AuthPass, vrrp.Password(w.Value)
		case "src":
			src, err = netip.ParseAddr(w.Value)
		case "vips":
			for _, text := range w.List() {
				vip, perr := netip.ParseAddr(text)
				err = errors.Join(err, perr)
				a.Addrs = append(a.Addrs, vip)
			}
		}
		if err != nil {
			return err
		}
	}
	dst := vrrp.Group(len(a.Addrs) > 0 && a.Addrs[0].Is6())
	if dst.Is6() && src == h.cards[0].base.Addr() {
		src = h.cards[0].mac.LinkLocal()
	}
	payload, err := a.Append(nil, src, dst, false)
	if err != nil {
		return err
	}
	frame := s.build.Packet(wire.MulticastMAC(dst), h.cards[0].mac, wire.IP{TOS: vrrp.TOS, TTL: uint8(ttl),
		Protocol: vrrp.ProtocolNumber, Src: src, Dst: dst}, payload)
	var send func(int)
	send = func(left int) {
		if left <= 0 || s.ctx.Err() != nil {
			return
		}
		s.fabric.send(0, h.index, frame)
		time.AfterFunc(every, func() { send(left - 1) })
	}
	send(count)
	return nil
}

// shape makes a verb of what package sim does to paths.
func shape(set func([]*wire.Path, []sim.Word) error) func(*stage, []sim.Word, string) error {
	return func(s *stage, args []sim.Word, _ string) error {
		s.fabric.mu.Lock()
		defer s.fabric.mu.Unlock()
		list, _, rest, err := s.paths(args)
		if err != nil {
			return err
		}
		return set(list, rest)
	}
}

func (s *stage) cam(args []sim.Word, _ string) error {
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	for _, lan := range s.fabric.lans {
		if err := sim.SetCAM(lan, args); err != nil {
			return err
		}
	}
	return nil
}

// igmp says what the switches do with multicast; the reports they look at are the kernels' own.
func (s *stage) igmp(args []sim.Word, _ string) error {
	set, err := sim.ParseIGMP(args)
	if err != nil {
		return err
	}
	s.fabric.mu.Lock()
	defer s.fabric.mu.Unlock()
	s.querier++
	for i, lan := range s.fabric.lans {
		lan.Snoop(set.Age)
		if set.Query > 0 {
			s.query(i, set.Query, s.querier)
		}
	}
	return nil
}

// query asks now and from now on; the fabric's lock is held.
func (s *stage) query(lan int, every time.Duration, gen int) {
	net := s.hosts[0].cards[lan].base.Addr().As4()
	net[3] = 254
	frame, out := s.fabric.lans[lan].Query(s.build, netip.AddrFrom4(net), every)
	s.fabric.put(s.fabric.now(), lan, out, frame)
	time.AfterFunc(every, func() {
		s.fabric.mu.Lock()
		defer s.fabric.mu.Unlock()
		if s.querier == gen && s.ctx.Err() == nil {
			s.query(lan, every, gen)
		}
	})
}
