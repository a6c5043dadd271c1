package vrrp

import (
	"net/netip"
	"time"
)

// Packet is a VRRP message with the fields of its IP header that matter. Payload is what follows the IP
// header: it starts at the VRRP version octet, or at the authentication header when Proto is ProtocolAH.
type Packet struct {
	Src, Dst netip.Addr
	TTL      uint8
	// Proto is the IP protocol: 0 or ProtocolNumber, or ProtocolAH.
	Proto uint8
	// Header is the IPv4 header, options included. Only an AH needs it, whose check value covers the header's
	// length and identification. Received: as it came. To be sent: when set, it goes out as it is (IP_HDRINCL;
	// the kernel completes length and checksum), and Header and Payload lie behind each other in one
	// buffer, see Whole; nil leaves the header to the kernel.
	Header  []byte
	Payload []byte
}

// VRID is VRIDOf for a packet with or without an authentication header: which instance it is for.
func (p Packet) VRID() (vrid, version uint8, ok bool) {
	if p.Proto != ProtocolAH {
		return VRIDOf(p.Payload)
	}
	if len(p.Payload) < AHLen {
		return 0, 0, false
	}
	return VRIDOf(p.Payload[AHLen:])
}

// Whole returns header and payload in one piece, without copying, as IP_HDRINCL wants them. It is nil when
// the packet has no header, or one that lies elsewhere.
func (p Packet) Whole() []byte {
	n := len(p.Header)
	if n == 0 || len(p.Payload) == 0 || cap(p.Header) < n+len(p.Payload) {
		return nil
	}
	whole := p.Header[:n+len(p.Payload)]
	if &whole[n] != &p.Payload[0] {
		return nil
	}
	return whole
}

// Event is an input of Instance.Step: Startup, Shutdown, Tick, Receive, SetFaults,
// SetPriority, SetSource, SetAlternates or Reconfigure.
type Event interface{ event() }

// Startup takes the instance out of Init (RFC 9568 6.4.1).
type Startup struct {
	// Adopt: this host still holds the addresses from less than a master-down interval ago
	// (the process was restarted), so carry on as MASTER instead of electing again.
	Adopt bool
	// Delay keeps the instance in Init, deaf and silent, for so long (vrrp_startup_delay). Adopt overrides it.
	Delay time.Duration
}

// Shutdown ends it: a MASTER says priority 0 and releases (RFC 9568 6.4.3).
type Shutdown struct{}

// Tick says only that time has passed; the machine looks at its deadlines.
type Tick struct{}

// Receive is a packet with this instance's VRID. The Payload is not kept.
type Receive struct{ Packet Packet }

// SetFaults replaces the set of reasons why this instance must not be MASTER;
// the first is the one reported. An empty set clears FAULT.
type SetFaults struct{ Faults []FaultCause }

// FaultCause is one reason to be in FAULT.
type FaultCause struct {
	Reason Reason // ReasonInterfaceDown, ReasonNoAddress, ReasonNoSocket or ReasonTrackFailed
	Detail string // "eth0 is down", "chk_nginx: exit 1"
}

// SetPriority sets the effective priority (base plus weights, clamped 1..254 by the caller; 255 stays 255).
type SetPriority struct {
	Priority uint8
	Detail   string // what changed it, for the log
}

// SetSource tells the address adverts are sent from: the interface's primary address.
type SetSource struct{ Addr netip.Addr }

// Reconfigure replaces the configuration and keeps the state: a MASTER stays MASTER
// and sends one advert at once with the new values (keepalived reload), then Acquire so
// that the driver reconciles the addresses, and Announce when the list changed. Only a new
// VRID, version or address family makes the instance leave (priority 0) and elect again,
// because to the others it is a different virtual router. An invalid configuration changes
// nothing and is reported by a NoteConfig.
type Reconfigure struct{ Config Config }

// SetAlternates replaces Config.AltAddrs and changes nothing else: no advert, no timer.
type SetAlternates struct{ Lists [][]netip.Addr }

func (Startup) event()       {}
func (Shutdown) event()      {}
func (Tick) event()          {}
func (Receive) event()       {}
func (SetFaults) event()     {}
func (SetPriority) event()   {}
func (SetSource) event()     {}
func (Reconfigure) event()   {}
func (SetAlternates) event() {}
