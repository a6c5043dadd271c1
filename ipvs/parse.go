package ipvs

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Parse reads a table from lines as "ipvsadm -S -n" prints them, with or without the word ipvsadm in front. Empty lines
// and lines that begin with # are skipped. The result is sorted; it is not validated.
func Parse(text string) (Table, error) {
	var t Table
	at := make(map[Key]int)
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if words[0] == "ipvsadm" {
			words = words[1:]
		}
		p := rule{words: words}
		if err := p.parse(); err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", n+1, line, err)
		}
		i, known := at[p.service.Key]
		switch {
		case p.add && known:
			return nil, fmt.Errorf("line %d: service %s is there already", n+1, p.service.Key)
		case p.add:
			at[p.service.Key] = len(t)
			t = append(t, Entry{Service: p.service})
		case !known:
			return nil, fmt.Errorf("line %d: no service %s above this line; add it with -A first", n+1, p.service.Key)
		default:
			t[i].Destinations = append(t[i].Destinations, p.dest)
		}
	}
	t.Sort()
	return t, nil
}

// rule parses one line.
type rule struct {
	words   []string
	add     bool // -A, else -a
	service Service
	dest    Destination
	mask    string
	sched   string
}

func (r *rule) parse() error {
	verb, err := r.next("-A or -a")
	if err != nil {
		return err
	}
	if verb != "-A" && verb != "-a" {
		return fmt.Errorf("begins with %q, not with -A or -a", verb)
	}
	r.add = verb == "-A"
	r.dest.Weight = 1
	r.dest.Forward = Direct
	if r.add {
		r.service.Scheduler = "wlc"
	}
	for len(r.words) > 0 {
		opt, _ := r.next("")
		if err := r.option(opt); err != nil {
			return err
		}
	}
	return r.finish()
}

func (r *rule) next(want string) (string, error) {
	if len(r.words) == 0 {
		return "", fmt.Errorf("ends where %s should follow", want)
	}
	w := r.words[0]
	r.words = r.words[1:]
	return w, nil
}

func (r *rule) option(opt string) error {
	switch opt {
	case "-6":
		if r.service.FWMark != 0 {
			r.service.Addr = netip.IPv6Unspecified()
		}
		return nil
	case "-g", "-m", "-i":
		r.dest.Forward = map[string]Forward{"-g": Direct, "-m": NAT, "-i": Tunnel}[opt]
		return nil
	case "-o":
		r.service.Flags |= OnePacket
		return nil
	}
	v, err := r.next("the value of " + opt)
	if err != nil {
		return err
	}
	switch opt {
	case "-t", "-u", "--sctp-service":
		r.service.Protocol = map[string]Protocol{"-t": TCP, "-u": UDP, "--sctp-service": SCTP}[opt]
		return parseAddrPort(v, &r.service.Addr, &r.service.Port)
	case "-f":
		return parseUint(opt, v, 32, func(n uint64) { r.service.FWMark = uint32(n) })
	case "-s":
		r.service.Scheduler = v
	case "-p":
		return parseUint(opt, v, 31, func(n uint64) { r.service.Persistence = time.Duration(n) * time.Second })
	case "-M":
		r.mask = v
	case "-b":
		r.sched = v
	case "--tun-type":
		if v != "ipip" {
			return fmt.Errorf("tunnels of type %s are not supported, only ipip", v)
		}
	case "-r":
		return parseAddrPort(v, &r.dest.Addr, &r.dest.Port)
	case "-w":
		return parseUint(opt, v, 31, func(n uint64) { r.dest.Weight = int(n) })
	case "-x":
		return parseUint(opt, v, 32, func(n uint64) { r.dest.UpperThreshold = uint32(n) })
	case "-y":
		return parseUint(opt, v, 32, func(n uint64) { r.dest.LowerThreshold = uint32(n) })
	default:
		return fmt.Errorf("unknown option %q", opt)
	}
	return nil
}

// finish checks what only the whole line tells.
func (r *rule) finish() error {
	if !r.service.Addr.IsValid() && r.service.FWMark == 0 {
		return errors.New("no service; name it by -t, -u, --sctp-service or -f")
	}
	if r.add == r.dest.Addr.IsValid() {
		return errors.New("-A takes no -r, -a needs one")
	}
	if r.mask != "" {
		if err := r.parseMask(); err != nil {
			return err
		}
	}
	if r.sched == "" {
		return nil
	}
	for _, name := range strings.Split(r.sched, ",") {
		flag, ok := map[string]Flags{
			"sh-fallback": SchedFallback, "mh-fallback": SchedFallback, "flag-1": SchedFallback,
			"sh-port": SchedPort, "mh-port": SchedPort, "flag-2": SchedPort, "flag-3": Sched3,
		}[name]
		if !ok {
			return fmt.Errorf("unknown scheduler flag %q", name)
		}
		r.service.Flags |= flag
	}
	return nil
}

func (r *rule) parseMask() error {
	if a, err := netip.ParseAddr(r.mask); err == nil {
		r.service.Netmask = a
		return nil
	}
	n, err := strconv.Atoi(r.mask)
	if m := Mask(n, r.service.Is6()); err == nil && m.IsValid() {
		r.service.Netmask = m
		return nil
	}
	return fmt.Errorf("%q is not a netmask", r.mask)
}

func parseAddrPort(s string, addr *netip.Addr, port *uint16) error {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return err
	}
	*addr, *port = ap.Addr().Unmap(), ap.Port()
	return nil
}

func parseUint(opt, s string, bits int, set func(uint64)) error {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return fmt.Errorf("%s %s: not a number from 0 to %d", opt, s, uint64(1)<<bits-1)
	}
	set(n)
	return nil
}
