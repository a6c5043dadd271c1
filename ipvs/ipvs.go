package ipvs

import (
	"net/netip"
	"time"
)

// Protocol is the transport protocol of a virtual service, its IP protocol number.
type Protocol uint8

// Protocols IPVS balances.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// Forward is how packets reach a destination.
type Forward uint8

// Forwarding methods; the zero value is invalid.
const (
	_      Forward = iota
	NAT            // masquerading, ipvsadm -m
	Direct         // direct routing, ipvsadm -g
	Tunnel         // IPIP, ipvsadm -i
)

// Key names a virtual service in the kernel's table: protocol, address and port, or a firewall mark.
// A firewall mark of IPv6 traffic is told from one of IPv4 traffic by Addr: the unspecified IPv6 address "::", or none.
type Key struct {
	Protocol Protocol
	Addr     netip.Addr
	Port     uint16 // 0 = every port, which needs persistence
	FWMark   uint32 // not 0: Protocol and Port mean nothing
}

// Flags are a service's switches, numbered as in the kernel's uapi ip_vs.h.
type Flags uint32

// Flags that an operator sets. The scheduler flags mean what the scheduler makes of them; the names are those of sh and mh.
const (
	OnePacket     Flags = 0x4  // UDP: schedule each packet by itself, ipvsadm -o
	SchedFallback Flags = 0x8  // flag-1, sh-fallback, mh-fallback: pass over a server of weight 0
	SchedPort     Flags = 0x10 // flag-2, sh-port, mh-port: hash the source port too
	Sched3        Flags = 0x20 // flag-3
	// AllFlags are the flags this package plans; all others belong to the kernel.
	AllFlags = OnePacket | SchedFallback | SchedPort | Sched3
)

// Service is a virtual service.
type Service struct {
	Key
	Scheduler   string        // rr, wrr, lc, wlc, sh, mh …
	Persistence time.Duration // whole seconds; 0 = off
	Netmask     netip.Addr    // persistence granularity; a mask in address form; invalid = /32 or /128
	Flags       Flags
}

// Destination is a real server of a service.
type Destination struct {
	Addr    netip.Addr
	Port    uint16
	Weight  int // 0 to MaxWeight; 0 = existing connections only
	Forward Forward
	// UpperThreshold: no new connections above so many; LowerThreshold: again below so many. 0 = none.
	UpperThreshold, LowerThreshold uint32
	// ActiveConns, InactiveConns are read from the kernel and ignored by Plan.
	ActiveConns, InactiveConns uint32
}

// Entry is a service with its destinations.
type Entry struct {
	Service      Service
	Destinations []Destination
}

// Table is the state of IPVS, wanted or actual. Order is not significant to the kernel;
// functions of this package return it sorted by key.
type Table []Entry

// OpKind is what an Op does.
type OpKind uint8

// The zero OpKind is invalid.
const (
	_ OpKind = iota
	AddService
	EditService
	DeleteService
	AddDestination
	EditDestination
	DeleteDestination
)

// Op is one change to the kernel's table.
type Op struct {
	Kind        OpKind
	Service     Service     // Key always; the rest for AddService and EditService
	Destination Destination // for *Destination; Addr and Port alone for DeleteDestination
}

// Backend is a kernel's IPVS table. Implementations: kernel.Netlink (root), kernel.Sockopt (rootless lab), ipvstest.Memory.
type Backend interface {
	// Table reads the whole table.
	Table() (Table, error)
	// Apply carries out ops in order and stops at the first that fails with an *OpError.
	// An op whose effect is already there succeeds.
	Apply(ops []Op) error
	// Name says which interface it is: "netlink", "sockopt" or "memory".
	Name() string
	Close() error
}

// OpError is a failed Op.
type OpError struct {
	Op  Op
	Err error
}

// Error says which command failed and why.
func (e *OpError) Error() string { return e.Op.String() + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }
