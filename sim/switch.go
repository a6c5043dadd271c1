package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"quorate/sim/wire"
)

// query lets the querier of a segment ask now and from now on.
func (w *World) query(lan int, every time.Duration) {
	gen := w.querier
	net := w.hosts[0].nics[lan].base.Addr().As4()
	net[3] = 254
	frame, out := w.lans[lan].Query(w.build, netip.AddrFrom4(net), every)
	for _, d := range out {
		w.queue.push(task{at: w.now + d.After, kind: taskFrame, host: w.hosts[d.Port], nic: lan, frame: frame})
	}
	w.after(every, func() {
		if w.querier == gen {
			w.query(lan, every)
		}
	})
}

// snooped looks at the holders again when a report has changed who hears whom.
func (w *World) snooped(lan *wire.LAN, members int) {
	if lan.Members() != members {
		w.judge.look()
	}
}

// verbIGMP says what switches do with multicast.
func (s *Session) verbIGMP(args []arg, _ string) (string, error) {
	set, err := ParseIGMP(publicWords(args))
	if err != nil {
		return "", err
	}
	s.w.querier++
	for i, lan := range s.w.lans {
		lan.Snoop(set.Age)
		if set.Query > 0 {
			s.w.query(i, set.Query)
		}
	}
	s.w.judge.look()
	return "", nil
}

// IGMP is what the verb igmp sets: how long a report counts (0: the switches do not look), and how often a querier asks (0: there
// is none).
type IGMP struct{ Age, Query time.Duration }

// ParseIGMP reads the arguments of the verb igmp, for every backend.
func ParseIGMP(args []Word) (set IGMP, err error) {
	if len(args) == 0 || args[0].Op != "" || args[0].Key != "on" && args[0].Key != "off" {
		return set, errors.New("expected on or off")
	}
	if args[0].Key == "off" {
		if len(args) > 1 {
			return set, fmt.Errorf("unexpected argument %s: a switch that does not look at IGMP needs none", args[1].Key)
		}
		return set, nil
	}
	set.Age = wire.GroupAge
	for _, a := range args[1:] {
		d, err := duration(a.Key, a.Value)
		switch {
		case a.Op != "=":
			return set, fmt.Errorf("unexpected argument %s%s%s", a.Key, a.Op, a.Value)
		case err != nil:
			return set, err
		case d < time.Second:
			return set, fmt.Errorf("%s=%s: at least 1s", a.Key, a.Value)
		}
		switch a.Key {
		case "age":
			set.Age = d
		case "querier":
			set.Query = d
		default:
			return set, fmt.Errorf("unexpected argument %s=%s", a.Key, a.Value)
		}
	}
	return set, nil
}

func publicWords(args []arg) (list []Word) {
	for _, a := range args {
		list = append(list, Word{a.key, a.op, a.val})
	}
	return list
}

// verbCAM changes what the switches know of addresses.
func (s *Session) verbCAM(args []arg, _ string) (string, error) {
	for _, lan := range s.w.lans {
		if err := SetCAM(lan, publicWords(args)); err != nil {
			return "", err
		}
	}
	return "", nil
}

// SetCAM carries out the verb cam on a switch, for every backend.
func SetCAM(lan *wire.LAN, args []Word) error {
	if len(args) == 1 && args[0].Key == "flush" && args[0].Op == "" {
		lan.Flush()
		return nil
	}
	if len(args) == 0 {
		return errors.New("expected flush, size= or age=")
	}
	var size uint64
	var age time.Duration
	for _, a := range args {
		var err error
		switch {
		case a.Op != "=":
			err = fmt.Errorf("unexpected argument %s%s%s", a.Key, a.Op, a.Value)
		case a.Key == "size":
			size, err = number("size", a.Value, 1<<20)
		case a.Key == "age":
			age, err = duration("age", a.Value)
		default:
			err = fmt.Errorf("unexpected argument %s=%s", a.Key, a.Value)
		}
		if err != nil {
			return err
		}
	}
	lan.SetCAM(int(size), age)
	return nil
}

func (s *Session) verbRate(args []arg, _ string) (string, error) {
	return s.shape(args, SetRate)
}

func (s *Session) verbMTU(args []arg, _ string) (string, error) {
	return s.shape(args, SetMTU)
}

func (s *Session) shape(args []arg, set func([]*wire.Path, []Word) error) (string, error) {
	paths, rest, err := s.paths(args)
	if err == nil {
		err = set(paths, publicWords(rest))
	}
	s.w.judge.look()
	return "", err
}

// SetRate carries out the verb rate on paths, for every backend.
func SetRate(paths []*wire.Path, rest []Word) error {
	if len(rest) == 0 || rest[0].Op != "" {
		return errors.New("expected a rate, as 64kbit, or off")
	}
	rate, err := wire.ParseRate(rest[0].Key)
	if err != nil {
		return err
	}
	var queue time.Duration
	for _, a := range rest[1:] {
		if a.Key != "queue" || a.Op != "=" {
			return fmt.Errorf("unexpected argument %s%s%s", a.Key, a.Op, a.Value)
		}
		if queue, err = duration("queue", a.Value); err != nil {
			return err
		}
	}
	for _, p := range paths {
		p.Rate, p.Queue = rate, queue
	}
	return nil
}

// SetMTU carries out the verb mtu on paths, for every backend.
func SetMTU(paths []*wire.Path, rest []Word) error {
	if len(rest) != 1 || rest[0].Op != "" {
		return errors.New("expected a number of octets, as 1400, or off")
	}
	mtu, err := wire.ParseMTU(rest[0].Key)
	for _, p := range paths {
		if err == nil {
			p.MTU = mtu
		}
	}
	return err
}

// halves are what a half-open port does, by the verb nic.
func halves(word string) (deaf, mute, ok bool) {
	return word == "deaf", word == "mute", word == "deaf" || word == "mute"
}

// setHalf makes a card's port half open, or whole.
func (h *Host) setHalf(n *nic, deaf, mute bool) {
	n.lan.SetHalf(n.port, deaf, mute)
	h.w.judge.look()
}

// showSwitch prints what the switches have learned.
func (w *World) showSwitch(b *strings.Builder) {
	for _, lan := range w.lans {
		for _, e := range lan.Table() {
			fmt.Fprintf(b, "%s: %v at the port of %s, seen %s\n", lan.Name, e.MAC, lan.Port(e.Port).Host, stamp(e.Seen))
		}
		if !lan.Snooping() {
			continue
		}
		var names []string
		for i := range lan.Ports() {
			if lan.Wants(i) {
				names = append(names, lan.Port(i).Host)
			}
		}
		fmt.Fprintf(b, "%s: 224.0.0.18 goes to %s\n", lan.Name, ownersText(names))
	}
}
