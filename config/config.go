package config

import (
	"net/netip"
	"time"
)

// Pos is where a word stands: file as named by the reader, line and column from 1.
// Column counts bytes of the physical line.
type Pos struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// Value is a setting that knows where it was written. Set is false for a default.
type Value[T any] struct {
	V   T
	Set bool
	Pos Pos
}

// Config is what one director runs: the tree after conditionals, variables and
// includes were resolved for its config-id. The zero value is an empty configuration.
type Config struct {
	Global         Global
	Scripts        []*Script        // vrrp_script blocks
	Instances      []*Instance      // vrrp_instance blocks, in file order
	VirtualServers []*VirtualServer // virtual_server blocks, in file order
	// What follows is read and checked; feature.go says what of it is carried out.
	SyncGroups      []*SyncGroup
	TrackFiles      []*TrackFile
	TrackProcesses  []*TrackProcess
	BFDs            []*BFD         // bfd_instance blocks
	ServerGroups    []*ServerGroup // virtual_server_group blocks
	GARPGroups      []*GARPGroup
	TrackGroups     []*TrackGroup
	StaticAddresses []Address
	StaticRoutes    []Route
	StaticRules     []Rule
	Settings        []Setting // every other statement, see Setting

	services programs // what services run: LintTree does not keep them
}

// Global is global_defs.
type Global struct {
	RouterID              Value[string]
	DisableLocalIGMP      Value[bool]   // disable_local_igmp
	Nftables              Value[string] // nftables: the name of the table that refuses packets (no_accept); quorate
	NftablesPriority      Value[int]    // nftables_priority: of its chains, -1
	NftablesCounters      Value[bool]   // nftables_counters: its rules count
	NetNamespace          Value[string] // net_namespace of the top level: the workers live in it
	NetNamespaceIPVS      Value[string] // net_namespace_ipvs: Set and empty is the one clusterd was started in
	NotificationEmail     []Value[string]
	NotificationEmailFrom Value[string]
	SMTPServer            Value[string] // host, or host:port
	SMTPConnectTimeout    Value[time.Duration]
	VRRPVersion           Value[int] // default version of instances, 2
	ScriptUser            Value[string]
	ScriptGroup           Value[string]
	EnableScriptSecurity  Value[bool]
	// garp defaults that instances inherit when unset: vrrp_garp_master_* …
	GARPMasterRepeat        Value[int]
	GARPMasterDelay         Value[time.Duration]
	GARPMasterRefresh       Value[time.Duration]
	GARPMasterRefreshRepeat Value[int]
	GARPLowerPrioRepeat     Value[int]
	GARPLowerPrioDelay      Value[time.Duration]
	LowerPrioNoAdvert       Value[bool]
	HigherPrioSendAdvert    Value[bool]
	DownTimerAdverts        Value[int]
	SMTPAlert               Value[bool] // default of instances
	SMTPHelo                Value[string]
	VRRPSched               Scheduling    // of the vrrp worker
	CheckerSched            Scheduling    // of the checker worker
	SMTPUser                Value[string] // smtp_auth USER PASSWORD, of ours
	SMTPPassword            Value[string]
	SMTPAlertVRRP           Value[bool]
	SMTPAlertChecker        Value[bool]
	NoEmailFaults           Value[bool]
	NoCheckerEmails         Value[bool]
	VRRPStrict              Value[bool]
	SkipCheckAdvAddr        Value[bool]
	CheckUnicastSrc         Value[bool]
	V3ChecksumAsV2          Value[bool]
	McastGroup4             Value[netip.Addr] // 224.0.0.18
	McastGroup6             Value[netip.Addr] // ff02::12
	GARPInterval            Value[time.Duration]
	GNAInterval             Value[time.Duration]
	GARPExtra               Value[time.Duration] // vrrp_garp_extra_if
	GARPExtraAll            bool                 // with all
	StartupDelay            Value[time.Duration]
	DelayAfterBoot          Value[time.Duration]
	NotifyPriority          Value[bool] // vrrp_notify_priority_changes
	NotifyFifo              Fifo
	VRRPNotifyFifo          Fifo
	LVSNotifyFifo           Fifo
	LVSSyncDaemon           *SyncDaemon
	LVSTimeoutTCP           Value[time.Duration]
	LVSTimeoutTCPFin        Value[time.Duration]
	LVSTimeoutUDP           Value[time.Duration]
	DefaultInterface        Value[string]
	VMACPrefix              Value[string] // of the names of virtual interfaces: vrrp
	VMACAddrPrefix          Value[string] // of those for addresses on other interfaces: VMACPrefix
	RSInitNotifies          Value[bool]
	LogUnknownVRIDs         Value[bool]
	DynamicInterfaces       Value[bool]
	StartupScript           *Command // once before anything else, and
	ShutdownScript          *Command // once after everything else
	StartupTimeout          Value[time.Duration]
	ShutdownTimeout         Value[time.Duration]
	LinkDelays              []LinkDelay // interface_up_down_delays
}

// LinkDelay is a line of interface_up_down_delays: how long a change of a link must last before it counts.
type LinkDelay struct {
	Iface    string
	Down, Up time.Duration
	Pos      Pos
}

// Command is a script with its arguments, split as keepalived does (grammar: quoting).
type Command struct {
	Argv  []string
	User  string // empty: script_user, else keepalived_script, else root
	Group string
	Pos   Pos
}

// Script is a vrrp_script block.
type Script struct {
	Name     string
	Pos      Pos
	Command  Command
	Interval Value[time.Duration] // 1 s
	Timeout  Value[time.Duration] // = interval when unset
	Weight   Value[int]           // 0: fault; -253..253
	Reverse  bool
	Rise     Value[int] // 1
	Fall     Value[int] // 1
	InitFail bool
}

// Track is one line of a track_script block.
type Track struct {
	Name    string
	Weight  Value[int] // overrides the script's
	Reverse bool
	// NoReverse takes back the reverse of the tracker itself; a line with neither word leaves it.
	NoReverse bool
	Pos       Pos
}

// Instance is a vrrp_instance block.
type Instance struct {
	Name                    string
	Pos                     Pos
	State                   Value[string] // MASTER or BACKUP; a hint only
	Interface               Value[string]
	VRID                    Value[int]
	Priority                Value[int] // 100
	Version                 Value[int] // 2
	AdvertInt               Value[time.Duration]
	NoPreempt               Value[bool]
	PreemptDelay            Value[time.Duration]
	AuthType                Value[string] // "", PASS or AH
	AuthPass                Value[string]
	VIPs                    []Address // virtual_ipaddress
	ExcludedVIPs            []Address // virtual_ipaddress_excluded
	TrackScripts            []Track
	TrackIfaces             []Value[string] // track_interface, weight 0 only here
	NotifyMaster            *Command
	NotifyBackup            *Command
	NotifyFault             *Command
	NotifyStop              *Command
	Notify                  *Command
	SMTPAlert               Value[bool]
	GARPMasterRepeat        Value[int]           // 5
	GARPMasterDelay         Value[time.Duration] // 5 s
	GARPMasterRefresh       Value[time.Duration] // 0
	GARPMasterRefreshRepeat Value[int]           // 1
	GARPLowerPrioRepeat     Value[int]           // 5
	GARPLowerPrioDelay      Value[time.Duration] // 5 s
	GARPExtra               Value[time.Duration] // garp_extra_if: 0, none
	GARPExtraAll            bool                 // with all: also on interfaces that are not virtual
	LowerPrioNoAdvert       Value[bool]
	HigherPrioSendAdvert    Value[bool]
	DownTimerAdverts        Value[int] // 3
	// What follows is read and checked; feature.go says what of it is carried out.
	Family                 Value[int] // 4 or 6: of the first address; adverts are sent in it. Never Set
	WeightedIfaces         []Track    // lines of track_interface with a weight
	TrackFiles             []Track
	TrackProcesses         []Track
	TrackBFDs              []Track
	UnicastPeers           []Peer // not empty: unicast
	UnicastSrcIP           Value[netip.Addr]
	UnicastTTL             Value[int]
	UnicastFaultNoPeer     Value[bool]
	CheckUnicastSrc        Value[bool]
	McastSrcIP             Value[netip.Addr]
	McastDstIP             Value[netip.Addr]
	TrackSrcIP             Value[bool]
	UseVMAC                *VMAC
	VMACXmitBase           Value[bool]
	VMACAddr               Value[bool]   // use_vmac_addr
	Accept                 Value[bool]   // true unless no_accept
	SkipCheckAdvAddr       Value[bool]   // skip_check_adv_addr
	Strict                 Value[bool]   // strict_mode or vrrp_strict
	V3ChecksumAsV2         Value[bool]   //
	DontTrackPrimary       Value[bool]   //
	PromoteSecondaries     Value[bool]   //
	OwnerIgnoreAdverts     Value[bool]   //
	NotifyPriority         Value[bool]   // notify_priority_changes
	VirtualRoutes          []Route       //
	VirtualRules           []Rule        //
	NotifyDeleted          *Command      //
	NotifyMasterRxLowerPri *Command      //
	LVSSyncInterface       Value[string] // lvs_sync_daemon_interface, obsolete
	TimerExpiredBackup     Value[int]    // 254 when written without a value
	NoVirtualIPAddress     Value[bool]   // no_virtual_ipaddress
	OldUnicastChecksum     Value[string] // "", on or never
}

// Address is a line of virtual_ipaddress: ADDR[/LEN] [brd B] [dev IF] [scope S] [label L].
type Address struct {
	Prefix    netip.Prefix // /32 when no length is written
	Dev       string       // empty: the instance's interface
	Label     string
	Scope     string // "", global, link, host, site, or a number
	Broadcast string // "", "+", "-" or an address
	NoTrack   bool
	UseVMAC   bool
	Options   string // peer, home, -nodad, noprefixroute, preferred_lft ... as written, one blank between words
	Pos       Pos
}

// VirtualServer is a virtual_server block with an address and port.
type VirtualServer struct {
	Pos                    Pos
	Addr                   Value[netip.Addr]
	Port                   Value[int]
	Protocol               Value[string]        // TCP, UDP or SCTP; keepalived defaults to UDP, the file should say
	LBAlgo                 Value[string]        // lb_algo or lvs_sched: wlc
	LBKind                 Value[string]        // lb_kind or lvs_method: NAT, DR or TUN
	DelayLoop              Value[time.Duration] // 60 s
	Persistence            Value[int]           // persistence_timeout, seconds; 0 = off, 360 when written without value
	PersistenceGranularity Value[netip.Addr]
	Alpha                  Value[bool]
	Quorum                 Value[int] // 1
	// defaults for the checkers of every real server
	ConnectTimeout   Value[time.Duration]
	Retry            Value[int]
	DelayBeforeRetry Value[time.Duration]
	Warmup           Value[time.Duration]
	Weight           Value[int]  // default of the real servers, 1
	InhibitOnFailure Value[bool] // default of the real servers
	RealServers      []*RealServer
	// What follows is read and checked; feature.go says what of it is carried out.
	FWMark            Value[int]    // virtual_server fwmark N: instead of an address
	Group             Value[string] // virtual_server group NAME: instead of an address
	IPFamily          Value[string] // inet or inet6
	OPS               bool
	SchedFlags        []string // flag-1 ... mh-fallback, as written
	Tunnel            *Tunnel
	PersistenceBits   int // persistence_granularity as a prefix length; 0: the whole address
	PersistenceEngine Value[string]
	HASuspend         bool
	Omega             bool
	Hysteresis        Value[int]
	QuorumUp          *Command
	QuorumDown        *Command
	SorryServer       *SorryServer
	VirtualHost       Value[string]
	SMTPAlert         Value[bool]
}

// RealServer is a real_server block.
type RealServer struct {
	Pos              Pos
	Addr             Value[netip.Addr]
	Port             Value[int]
	Weight           Value[int] // 1
	LBKind           Value[string]
	InhibitOnFailure Value[bool]
	// defaults for its checkers; when unset the virtual server's
	Alpha            Value[bool]
	ConnectTimeout   Value[time.Duration]
	Retry            Value[int]
	DelayBeforeRetry Value[time.Duration]
	DelayLoop        Value[time.Duration]
	Warmup           Value[time.Duration]
	Checks           []*Check
	// What follows is read and checked; feature.go says what of it is carried out.
	UThreshold  Value[int]
	LThreshold  Value[int]
	Tunnel      *Tunnel
	NotifyUp    *Command
	NotifyDown  *Command
	VirtualHost Value[string]
	SMTPAlert   Value[bool]
}

// Check is a health-check block of a real server, defaults and inheritance already applied.
type Check struct {
	Kind             string // TCP_CHECK, HTTP_GET, SSL_GET, SMTP_CHECK, DNS_CHECK, MISC_CHECK, PING_CHECK, UDP_CHECK, FILE_CHECK, BFD_CHECK
	Pos              Pos
	ConnectIP        Value[netip.Addr] // the real server's
	ConnectPort      Value[int]        // the real server's
	BindTo           Value[netip.Addr]
	ConnectTimeout   Value[time.Duration] // 5 s
	Retry            Value[int]           // 1; nb_get_retry is the obsolete name
	DelayBeforeRetry Value[time.Duration] // 1 s
	DelayLoop        Value[time.Duration] // the virtual server's
	Warmup           Value[time.Duration]
	Alpha            Value[bool]
	// What a kind has beyond that; nil for the others.
	HTTP *HTTPCheck // HTTP_GET and SSL_GET
	SMTP *SMTPCheck
	DNS  *DNSCheck
	Misc *MiscCheck
	UDP  *UDPCheck
	File *FileCheck
	BFD  Value[string]
	Bind *CheckBind // bind_port, bind_if, fwmark; nil when none is written
}

// CheckBind is how the packets of a check leave the host.
type CheckBind struct {
	Port   Value[int]
	Iface  Value[string]
	FWMark Value[int]
}

// Severity orders diagnostics.
type Severity uint8

// Severities. A file with an Error is refused by push and -t; a Warning is reported.
const (
	_ Severity = iota
	Info
	Warning
	Error
)

// Diagnostic is one finding in a file.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"` // stable, kebab-case: "unknown-keyword", "out-of-range"
	Pos
	Keyword string `json:"keyword"`
	Message string `json:"message"` // lower case, names the value
	Hint    string `json:"hint"`    // what to do about it; may be empty
	// Nodes lists the config-ids for which it holds when rendering for several; empty = all.
	Nodes []string `json:"nodes,omitempty"`
}

// Source hands file contents to the reader; paths are as written after joining
// relative ones to the including file's directory.
type Source interface {
	// ReadFile returns bytes that the caller may keep and nobody changes afterwards.
	ReadFile(path string) ([]byte, error)
	// Glob returns the sorted paths that match an include pattern, whose braces are expanded already.
	Glob(pattern string) ([]string, error)
}

// Options says for whom a file is read.
type Options struct {
	ConfigID string // what @ID and ${_INSTANCE} compare with: the node's name
}
