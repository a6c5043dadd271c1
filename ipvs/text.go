package ipvs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// String returns the key as ipvsadm options: "-t 192.168.2.240:80", "-u [fd00::1]:53", "--sctp-service 10.0.0.1:36412", "-f 7", "-f 7 -6".
func (k Key) String() string {
	if k.FWMark != 0 {
		s := "-f " + strconv.FormatUint(uint64(k.FWMark), 10)
		if k.Is6() {
			s += " -6"
		}
		return s
	}
	at := netip.AddrPortFrom(k.Addr.Unmap(), k.Port).String()
	switch k.Protocol {
	case TCP:
		return "-t " + at
	case UDP:
		return "-u " + at
	case SCTP:
		return "--sctp-service " + at
	}
	return fmt.Sprintf("--protocol-%d %s", uint8(k.Protocol), at)
}

// String returns the service as ipvsadm options, "-t 192.168.2.240:80 -s wlc -p 60".
func (s Service) String() string {
	s = s.normal()
	var b strings.Builder
	b.WriteString(s.Key.String() + " -s " + s.Scheduler)
	if s.Persistence != 0 {
		fmt.Fprintf(&b, " -p %d", int64(s.Persistence/time.Second))
	}
	if s.Netmask.Is4() {
		b.WriteString(" -M " + s.Netmask.String())
	} else if n, ok := PrefixLen(s.Netmask); ok {
		fmt.Fprintf(&b, " -M %d", n)
	}
	if s.Flags&OnePacket != 0 {
		b.WriteString(" -o")
	}
	var sched []string
	for i, f := range [...]Flags{SchedFallback, SchedPort, Sched3} {
		if s.Flags&f != 0 {
			sched = append(sched, schedFlagName(s.Scheduler, i+1))
		}
	}
	if len(sched) > 0 {
		b.WriteString(" -b " + strings.Join(sched, ","))
	}
	return b.String()
}

// schedFlagName is what ipvsadm calls a scheduler's nth flag.
func schedFlagName(scheduler string, n int) string {
	if (scheduler == "sh" || scheduler == "mh") && n <= 2 {
		return scheduler + [...]string{"-fallback", "-port"}[n-1]
	}
	return "flag-" + strconv.Itoa(n)
}

// String returns the destination as ipvsadm options, "-r 192.168.2.11:80 -g -w 3".
func (d Destination) String() string {
	forward := map[Forward]string{NAT: "-m", Direct: "-g", Tunnel: "-i"}[d.Forward]
	if forward == "" {
		forward = d.Forward.String()
	}
	s := fmt.Sprintf("-r %s %s -w %d", d.AddrPort(), forward, d.Weight)
	if d.UpperThreshold != 0 || d.LowerThreshold != 0 {
		s += fmt.Sprintf(" -x %d -y %d", d.UpperThreshold, d.LowerThreshold)
	}
	return s
}

// String returns the entry as "ipvsadm -S -n" prints it, a line for the service and one for each destination.
func (e Entry) String() string {
	var b strings.Builder
	b.WriteString("-A " + e.Service.String() + "\n")
	for _, d := range e.Destinations {
		b.WriteString("-a " + e.Service.Key.String() + " " + d.String() + "\n")
	}
	return b.String()
}

// String returns the table as "ipvsadm -S -n" prints it, sorted. "ipvsadm -R" and Parse read it.
func (t Table) String() string {
	t = t.Clone()
	t.Sort()
	var b strings.Builder
	for _, e := range t {
		b.WriteString(e.String())
	}
	return b.String()
}

// String returns the ipvsadm command that does the same.
func (o Op) String() string {
	key := o.Service.Key.String()
	switch o.Kind {
	case AddService:
		return "ipvsadm -A " + o.Service.String()
	case EditService:
		return "ipvsadm -E " + o.Service.String()
	case DeleteService:
		return "ipvsadm -D " + key
	case AddDestination:
		return "ipvsadm -a " + key + " " + o.Destination.String()
	case EditDestination:
		return "ipvsadm -e " + key + " " + o.Destination.String()
	case DeleteDestination:
		return "ipvsadm -d " + key + " -r " + o.Destination.AddrPort().String()
	}
	return o.Kind.String() + " " + key
}
