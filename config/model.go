package config

import (
	"net/netip"
	"time"
)

// SyncGroup is a vrrp_sync_group block: instances that change state together.
type SyncGroup struct {
	Name            string
	Pos             Pos
	Members         []Value[string] // names of instances
	TrackIfaces     []Track
	TrackScripts    []Track
	TrackFiles      []Track
	TrackProcesses  []Track
	TrackBFDs       []Track
	NotifyMaster    *Command
	NotifyBackup    *Command
	NotifyFault     *Command
	NotifyStop      *Command
	Notify          *Command
	SMTPAlert       Value[bool]
	TrackingWeights Value[bool] // sync_group_tracking_weight, or its old name global_tracking
	NotifyPriority  Value[bool] // notify_priority_changes
}

// TrackGroup is a track_group block: instances that are in fault while the interface of a static address, route or rule with its name is.
type TrackGroup struct {
	Name    string
	Pos     Pos
	Members []Value[string] // names of instances
}

// GARPGroup is a garp_group block: the interval holds for Interface alone, and for all of Interfaces together.
type GARPGroup struct {
	Pos          Pos
	GARPInterval Value[time.Duration] // vrrp_garp_interval
	GNAInterval  Value[time.Duration] // vrrp_gna_interval
	Interface    Value[string]
	Interfaces   []Value[string]
}

// Peer is a line of unicast_peer.
type Peer struct {
	Addr   netip.Addr
	MinTTL Value[int] // 0
	MaxTTL Value[int] // 255
	Pos    Pos
}

// VMAC is use_vmac: adverts and addresses use the virtual MAC address of the VRID. Or it is use_ipvlan: the addresses are on an interface
// of their own, with the MAC address of the one below.
type VMAC struct {
	Name    string // of the interface; empty: vrrp.VRID
	MAC     string // empty: that of the RFC
	Group   string
	Netlink bool // netlink_notify_msg
	// IPVLAN is bridge, private or vepa; empty: use_vmac.
	IPVLAN string
	Addr   netip.Prefix // of the ipvlan: adverts come from it; may be invalid with IPv6
	Pos    Pos
}

// Option is a word of a line with its value, for what has no field of its own.
type Option struct {
	Name, Value string
	Pos         Pos
}

// Route is a line of static_routes or virtual_routes.
type Route struct {
	Type    string       // unicast, blackhole, unreachable, prohibit, throw ...
	Dest    netip.Prefix // 0.0.0.0/0 or ::/0 for default
	Via     netip.Addr   // may be invalid: no gateway
	Src     netip.Addr
	Dev     string
	Table   string // number or name; empty: main
	Metric  int64
	NoTrack bool
	Encap   Encap
	// Nexthops are several gateways, used by weight.
	Nexthops []Nexthop
	Options  []Option // the rest, in written order
	Text     string   // the line, words joined by single blanks
	Pos      Pos
}

// Rule is a line of static_rules or virtual_rules.
type Rule struct {
	From, To   netip.Prefix // invalid: any
	Table      string       // or lookup
	Action     string       // instead of a table: goto N, nop, blackhole ...
	Preference int64        // when none is written, keepalived's: 16384 and down
	Not        bool
	NoTrack    bool
	Options    []Option
	Text       string
	Pos        Pos
}

// Fifo is a pipe that gets a line for each event, and the program that reads it.
type Fifo struct {
	Path        Value[string]
	User, Group string
	Script      *Command
}

// SyncDaemon is lvs_sync_daemon: the kernel's multicast of connections.
type SyncDaemon struct {
	Iface  string
	Inst   string // instance whose state decides the role; empty: both roles
	ID     Value[int]
	MaxLen Value[int]
	Port   Value[int]
	TTL    Value[int]
	Group  Value[netip.Addr]
	Pos    Pos
}

// TrackFile is a track_file block: a file with a number, whose value times the weight is
// added to the priority.
type TrackFile struct {
	Name    string
	Pos     Pos
	File    Value[string]
	Weight  Value[int] // 1
	Reverse bool
	Init    []string // init_file and its words; nil when it was not written
}

// TrackProcess is a vrrp_track_process block.
type TrackProcess struct {
	Name        string
	Pos         Pos
	Process     []string // program and its parameters
	FullCommand Value[bool]
	ParamMatch  Value[string] // "", initial or partial
	Weight      Value[int]
	Reverse     bool
	Quorum      Value[int] // 1
	QuorumMax   Value[int] // unlimited: Set is false
	ForkDelay   Value[time.Duration]
	TermDelay   Value[time.Duration]
}

// BFD is a bfd_instance block (RFC 5880).
type BFD struct {
	Name       string
	Pos        Pos
	Neighbor   Value[netip.Addr]
	Source     Value[netip.Addr]
	MinRX      Value[time.Duration] // 10 ms
	MinTX      Value[time.Duration] // 10 ms
	IdleTX     Value[time.Duration] // 1 s
	Multiplier Value[int]           // 5
	Passive    bool
	TTL        Value[int] // 255, for IPv6 64
	MaxHops    Value[int] // 0
	Multihop   Value[bool]
	Weight     Value[int]
	Reverse    bool
	ForVRRP    bool // vrrp: events go to the elections only
	ForChecker bool // checker: events go to the checks only
}

// ServerGroup is a virtual_server_group block.
type ServerGroup struct {
	Name    string
	Pos     Pos
	Entries []GroupEntry
}

// GroupEntry is a line of a virtual_server_group: an address, a range or a mark.
type GroupEntry struct {
	First, Last netip.Addr // equal for a single address
	Port        int        // 0: every port
	FWMark      int64      // 0 when it is an address
	Family      string     // inet or inet6 for a mark; may be empty
	Pos         Pos
}

// Tunnel is the options of lvs_method TUN.
type Tunnel struct {
	Type string // ipip, gue or gre
	Port int    // of gue
	Csum string // "", nocsum, csum or remcsum
	Pos  Pos
}

// SorryServer answers while the real servers are down.
type SorryServer struct {
	Addr    Value[netip.Addr]
	Port    Value[int]
	Inhibit bool
	LBKind  Value[string]
	Tunnel  *Tunnel
}

// HTTPCheck is what HTTP_GET and SSL_GET have beyond a TCP_CHECK.
type HTTPCheck struct {
	VirtualHost  Value[string]
	Protocol     Value[string] // 1.0, 1.1 or 1.0C
	SNI          Value[bool]
	SNIName      Value[string]
	FastRecovery Value[bool]
	TLSCompliant Value[bool]
	URLs         []*URL
}

// URL is a page that must be served.
type URL struct {
	Pos         Pos
	Path        Value[string]
	Digest      Value[string]
	Codes       [][2]int // ranges of status codes; empty: 200 to 299
	VirtualHost Value[string]
	Regex       Value[string]
	NoMatch     bool
	Options     []string // regex_options
	MinOffset   Value[int]
	MaxOffset   Value[int]
	Stack       []string
}

// SMTPHost is a host block of an SMTP_CHECK: one more target.
type SMTPHost struct {
	Pos      Pos
	IP       Value[netip.Addr]
	Port     Value[int]
	BindTo   Value[netip.Addr]
	BindPort Value[int]
}

// SMTPCheck is what SMTP_CHECK has beyond a TCP_CHECK.
type SMTPCheck struct {
	Helo  Value[string]
	Hosts []*SMTPHost
}

// DNSCheck is what DNS_CHECK has beyond a TCP_CHECK.
type DNSCheck struct {
	Type Value[string] // SOA
	Name Value[string] // the root
}

// MiscCheck is a MISC_CHECK: a command whose exit code counts.
type MiscCheck struct {
	Command Command
	Timeout Value[time.Duration] // the check's delay_loop
	Dynamic bool                 // the exit code sets the weight
}

// UDPCheck is what UDP_CHECK has beyond a TCP_CHECK.
type UDPCheck struct {
	Payload  Value[string] // hexadecimal
	Reply    Value[string] // hexadecimal with x for any digit; Set with "" wants any reply
	MinReply Value[int]
	MaxReply Value[int] // 255
}

// FileCheck is a FILE_CHECK.
type FileCheck struct {
	TrackFile Value[string]
	Weight    Value[int]
	Reverse   bool
}

// Scheduling is what a worker asks of the kernel's scheduler: vrrp_priority, vrrp_rt_priority, vrrp_cpu_affinity, vrrp_no_swap
// and the same with checker_.
type Scheduling struct {
	Nice       Value[int] // -20..19
	RTPriority Value[int] // 1..99, SCHED_RR; 0: not real-time
	// RTTime is how long a real-time thread may run without ever sleeping (vrrp_rlimit_rttime, written in microseconds); not Set: no limit.
	RTTime Value[time.Duration]
	CPUs   Value[[]int] // it runs on these only; empty: on all
	NoSwap Value[bool]  // the vrrp worker's memory is locked in any case
}
