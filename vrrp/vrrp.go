package vrrp

import (
	"net/netip"
	"time"
)

// Constants of the carrier, the same for every version (RFC 9568 5.1).
const (
	ProtocolNumber = 112  // IP protocol of an advert
	TTL            = 255  // sent and required; anything less came through a router
	TOS            = 0xc0 // internetwork control
	PriorityOwner  = 255  // the address owner: its own interface address is the VIP
	PriorityStop   = 0    // the owner releases its VIPs
)

// State is the state of one instance on one director. RFC 9568 calls Master
// "Active"; the word operators grep for is MASTER.
type State uint8

// The zero State is invalid.
const (
	_ State = iota
	Init
	Backup
	Master
	Fault
)

// Reason says why a transition happened. The same word stands in the log, the
// API, the journal and the golden files.
type Reason uint8

// The zero Reason is invalid.
const (
	_                    Reason = iota
	ReasonStartup               // the instance starts
	ReasonOwner                 // priority 255: owner of the addresses, no election (RFC 9568 6.4.1)
	ReasonMasterDown            // no advert for a master-down interval
	ReasonPriorityZero          // the owner said priority 0, skew time has passed
	ReasonPreempt               // only adverts of lower priority were heard for a master-down interval
	ReasonHigherPriority        // an advert with a higher priority arrived
	ReasonHigherAddress         // equal priority, the sender's address is higher (RFC 9568 6.4.3)
	ReasonInterfaceDown         // the interface or one it tracks went down
	ReasonNoAddress             // the interface has no primary IPv4 address to send from
	ReasonTrackFailed           // an unweighted track_script fails
	ReasonFaultCleared          // the last fault went away
	ReasonShutdown              // the director stops or the instance was removed
	ReasonStall                 // this process slept longer than its master-down interval
)

// AuthType is the v2 authentication type octet. AuthNone is the zero value on the wire too.
type AuthType uint8

// Values of RFC 2338 5.3.6; RFC 3768 made 1 and 2 reserved, keepalived and its users go on with them.
const (
	AuthNone AuthType = 0
	AuthPass AuthType = 1
	AuthAH   AuthType = 2
)

// Config is what an instance must know; see the keepalived.conf keyword of the same name.
type Config struct {
	Name     string // vrrp_instance NAME, used in texts only
	Version  uint8  // 2 or 3
	VRID     uint8  // 1..255
	Priority uint8  // 1..255, base priority
	// AdvertInt is the configured interval: whole seconds 1..255 for v2, 10 ms .. 40.95 s in 10 ms steps for v3.
	AdvertInt time.Duration
	AuthType  AuthType
	AuthPass  string       // at most 8 octets are sent
	Addrs     []netip.Addr // the advert's address list, configured order (without virtual_ipaddress_excluded)
	// NoPreempt: a higher priority does not take over from a live master of lower priority.
	NoPreempt            bool
	PreemptDelay         time.Duration // 0 = none
	DownTimerAdverts     int           // 0 = 3
	LowerPrioNoAdvert    bool          // do not answer a lower priority advert (keepalived lower_prio_no_advert)
	HigherPrioSendAdvert bool          // one last advert before yielding (keepalived higher_prio_send_advert)
	ChecksumMessageOnly  bool          // v3 IPv4: send the RFC 9568 5.2.8 checksum without pseudo-header; both are accepted
	GARP                 GARP
}

// GARP holds keepalived's garp_master_* and garp_lower_prio_* knobs. Zero means none, not the default;
// DefaultGARP returns keepalived's defaults.
type GARP struct {
	MasterRepeat        int           // gratuitous ARPs per VIP on becoming MASTER (5)
	MasterDelay         time.Duration // second block this much later (5 s); 0 = no second block
	MasterRefresh       time.Duration // 0 = never again
	MasterRefreshRepeat int           // (1)
	LowerPrioRepeat     int           // on hearing a lower priority while MASTER (5)
	LowerPrioDelay      time.Duration // and again this much later (5 s)
}

// Packet is a VRRP message with the fields of its IP header that matter. Payload
// starts at the VRRP version octet.
type Packet struct {
	Src, Dst netip.Addr
	TTL      uint8
	Payload  []byte
}

// Event is an input of Instance.Step: Startup, Shutdown, Tick, Receive, SetFaults,
// SetPriority, SetSource or Reconfigure.
type Event interface{ event() }

// Startup takes the instance out of Init (RFC 9568 6.4.1).
type Startup struct{}

// Shutdown ends it: a MASTER says priority 0 and releases (RFC 9568 6.4.3 (650)).
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
	Reason Reason // ReasonInterfaceDown, ReasonNoAddress or ReasonTrackFailed
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
// and sends one advert at once with the new values (keepalived reload).
type Reconfigure struct{ Config Config }

func (Startup) event()     {}
func (Shutdown) event()    {}
func (Tick) event()        {}
func (Receive) event()     {}
func (SetFaults) event()   {}
func (SetPriority) event() {}
func (SetSource) event()   {}
func (Reconfigure) event() {}

// Action is an output of Instance.Ready, to be carried out in order.
type Action interface{ action() }

// Send transmits an advert. Src is the source set by SetSource, Dst 224.0.0.18.
// Payload is owned by the machine and valid until its next Step.
type Send struct{ Packet Packet }

// Acquire adds the virtual addresses to the host.
type Acquire struct{}

// Release removes them. It is also emitted on entering Backup from Init, so that
// what a killed predecessor left behind goes away.
type Release struct{}

// Announce sends Repeat gratuitous ARPs for every virtual address, round robin.
type Announce struct{ Repeat int }

// Transition reports a change of state, exactly once each.
type Transition struct {
	From, To State
	Reason   Reason
	Detail   string     // in words: "no advert from 10.0.0.2 for 3.609s"
	Priority uint8      // effective priority at that instant
	Master   netip.Addr // the owner now known, invalid if none
}

// Note reports something an operator may want to read that is no transition:
// a rejected packet, a discarded lower priority, a second owner.
type Note struct {
	Kind   NoteKind
	Src    netip.Addr
	Reject RejectReason // for NoteRejected
	Detail string
}

// NoteKind says what a Note is about.
type NoteKind uint8

// The zero NoteKind is invalid.
const (
	_                 NoteKind = iota
	NoteRejected               // a packet failed a receive check
	NoteLowerPriority          // BACKUP discards, MASTER answers a lower priority advert
	NotePriorityZero           // priority 0 heard
	NotePriority               // own effective priority changed
	NoteTwoOwners              // both ends have priority 255
	NoteInterval               // v3: the owner's interval differs from ours
)

// RejectReason says which receive check a packet failed; the words are metric labels too.
type RejectReason uint8

// The zero RejectReason means accepted.
const (
	_               RejectReason = iota
	RejectShort                  // length
	RejectTTL                    // ttl
	RejectVersion                // version
	RejectType                   // type
	RejectChecksum               // checksum
	RejectVRID                   // vrid
	RejectAuthType               // auth_type
	RejectAuth                   // auth
	RejectInterval               // interval
	RejectAddrList               // addr_list
	RejectOwnSource              // own_source: our own source address, from another host or looped back
)

func (Send) action()       {}
func (Acquire) action()    {}
func (Release) action()    {}
func (Announce) action()   {}
func (Transition) action() {}
func (Note) action()       {}
