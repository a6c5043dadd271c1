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
type Key struct {
	Protocol Protocol
	Addr     netip.Addr
	Port     uint16
	FWMark   uint32
}

// Service is a virtual service.
type Service struct {
	Key
	Scheduler   string        // rr, wrr, lc, wlc, sh, mh …
	Persistence time.Duration // whole seconds; 0 = off
	Netmask     netip.Addr    // persistence granularity; invalid = /32 or /128
}

// Destination is a real server of a service.
type Destination struct {
	Addr    netip.Addr
	Port    uint16
	Weight  int
	Forward Forward
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
