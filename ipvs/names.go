package ipvs

import (
	"fmt"
	"strings"
)

// String returns "tcp", "udp" or "sctp".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// String returns "nat", "direct" or "tunnel".
func (f Forward) String() string {
	switch f {
	case NAT:
		return "nat"
	case Direct:
		return "direct"
	case Tunnel:
		return "tunnel"
	}
	return fmt.Sprintf("forward(%d)", uint8(f))
}

// String returns for example "add-service".
func (k OpKind) String() string {
	switch k {
	case AddService:
		return "add-service"
	case EditService:
		return "edit-service"
	case DeleteService:
		return "delete-service"
	case AddDestination:
		return "add-destination"
	case EditDestination:
		return "edit-destination"
	case DeleteDestination:
		return "delete-destination"
	}
	return fmt.Sprintf("op(%d)", uint8(k))
}

// String returns the flags as "one-packet,fallback,port,flag-3", and "" for none.
func (f Flags) String() string {
	names := [...]struct {
		flag Flags
		name string
	}{{OnePacket, "one-packet"}, {SchedFallback, "fallback"}, {SchedPort, "port"}, {Sched3, "flag-3"}}
	var s []string
	for _, n := range names {
		if f&n.flag != 0 {
			s = append(s, n.name)
			f &^= n.flag
		}
	}
	if f != 0 {
		s = append(s, fmt.Sprintf("0x%x", uint32(f)))
	}
	return strings.Join(s, ",")
}
