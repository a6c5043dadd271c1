package vrrp

import (
	"net/netip"
	"time"
)

// Constants of the carrier, the same for every version (RFC 9568 5.1).
const (
	ProtocolNumber = 112  // IP protocol of an advert
	ProtocolAH     = 51   // IP protocol of an advert behind an authentication header (auth_type AH)
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
	ReasonNoSocket              // adverts can be neither heard nor sent, as their socket cannot be opened
	ReasonTrackFailed           // an unweighted track_script fails
	ReasonFaultCleared          // the last fault went away
	ReasonShutdown              // the director stops or the instance was removed
	ReasonStall                 // this process slept longer than its master-down interval
	ReasonBadConfig             // the configuration cannot be run; see Validate
	ReasonGroup                 // another member of its sync group made it
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
	// NoAddrs: Addrs may be empty, and adverts are IPv4 ones without an address (no_virtual_ipaddress; RFC 9568 has none such).
	NoAddrs bool
	// NoPreempt: a higher priority does not take over from a live master of lower priority.
	NoPreempt            bool
	PreemptDelay         time.Duration // 0 = none
	DownTimerAdverts     int           // 0 = 3
	LowerPrioNoAdvert    bool          // do not answer a lower priority advert (keepalived lower_prio_no_advert)
	HigherPrioSendAdvert bool          // one last advert before yielding (keepalived higher_prio_send_advert)
	// AltAddrs are further address lists accepted from others: the one before and the one after a change
	// that is in flight across the group, so that adding a VIP never makes two members refuse each other.
	AltAddrs            [][]netip.Addr
	ChecksumMessageOnly bool // v3 IPv4: send the RFC 9568 5.2.8 checksum without pseudo-header; both are accepted
	GARP                GARP

	// Peers makes it unicast: adverts go to each of them instead of the group, and multicast ones are refused.
	Peers           []Peer
	UnicastTTL      uint8 // of adverts to peers, 0 = 255 (unicast_ttl); a received one is looked at with CheckUnicastSrc only
	CheckUnicastSrc bool  // refuse senders that are no peer or whose TTL is out of the peer's range (check_unicast_src)
	OldUnicast      OldUnicast
	McastDst        netip.Addr // group adverts are sent to (vrrp_mcast_group4, mcast_dst_ip); the zero Addr means Group

	SkipCheckAddrs     bool // as BACKUP, look at the address list only when the sender changes (skip_check_adv_addr)
	OwnerIgnoreAdverts bool // with priority 255, take no notice of others (owner_ignore_adverts)
}

// Peer is a unicast_peer line.
type Peer struct {
	Addr           netip.Addr
	MinTTL, MaxTTL uint8 // with CheckUnicastSrc; 0 = no limit
}

// OldUnicast says what to do about version 3 IPv4 unicast adverts whose checksum covers 224.0.0.18, which
// keepalived sent before 1.3.7 and sends with old_unicast_checksum.
type OldUnicast uint8

// Values of OldUnicast.
const (
	OldUnicastAccept OldUnicast = iota // accept both; answer a peer in the form it uses
	OldUnicastSend                     // old_unicast_checksum
	OldUnicastNever                    // old_unicast_checksum never
)

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
