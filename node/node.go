package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"quorate/config"
	"quorate/ipvs"
	"quorate/vrrp"
)

// Instants are durations since an arbitrary, monotonic origin handed in by the driver.

// Event is an input of Elector.Step or Services.Step.
type Event interface{ event() }

// Configure starts with, or changes to, a configuration. The machine keeps whatever did not change.
type Configure struct {
	Config     *config.Config
	Generation int64 // 0 when standalone
	None       bool  // no configuration can be had yet: what a worker before this one left in the kernel stays
}

// String names the configuration in reports.
func (c Configure) String() string {
	if c.Generation == 0 {
		return "configuration"
	}
	return fmt.Sprintf("generation %d", c.Generation)
}

// RecoveredServices tells, before the first Configure, what the checker worker before this one knew: the services it may
// have left in the kernel, of which those that the configuration does not have are removed, and the checks that had
// failed, whose real servers stay away until they answer.
type RecoveredServices struct {
	Keys []ipvs.Key
	Down []ProbeID
}

// Stage announces a configuration that the cluster is about to activate. Adverts with its address
// lists are accepted from now on: some members will switch before this one does.
type Stage struct{ Config *config.Config }

// Link tells what the host knows of one interface, now and on every change. An interface
// that is configured but does not exist is reported with Exists false.
type Link struct {
	Name   string
	Exists bool
	Up     bool // administratively up and with carrier
	MAC    [6]byte
	Addrs  []netip.Prefix // IPv4 addresses in the kernel's order, primary first
	Addrs6 []netip.Prefix // IPv6 addresses that can be used, in the kernel's order; none that is still tentative
}

// all addresses of both families.
func (l Link) all() []netip.Prefix { return slices.Concat(l.Addrs, l.Addrs6) }

// Deaf says that a socket which Listen wanted cannot be opened, and why; empty: it is open now. Tap does not matter.
type Deaf struct {
	Interface string
	Socket    Socket
	Why       string
}

// Received is a VRRP packet (IP protocol 112) heard on an interface.
type Received struct {
	Interface string
	Packet    vrrp.Packet
}

// ScriptResult answers RunScript.
type ScriptResult struct {
	Script   string
	ExitCode int    // 0 good; -1 with Detail when it was killed or could not run
	Detail   string // "exit 1", "timed out after 2s", "fork/exec /x: no such file or directory"
}

func (r ScriptResult) outcome() string {
	if r.Detail == "" {
		return fmt.Sprintf("exit %d", r.ExitCode)
	}
	return r.Detail
}

// FileNumber tells the number in a track_file, at once and on every change; a file that is missing or holds no number is 0.
type FileNumber struct {
	File   string // the name of the track_file
	Number int
}

// ProcessCount tells how many processes match a vrrp_track_process, at once and on every change.
type ProcessCount struct {
	Process string // its name
	Running int
}

// ProbeResult answers RunProbe.
type ProbeResult struct {
	ID     ProbeID
	OK     bool
	Detail string
}

// TableRead answers ReadTable; it and TableFailed are the only news of the kernel's IPVS table.
type TableRead struct{ Table ipvs.Table }

// TableFailed says that reading or changing the IPVS table failed. Missing means the kernel has no IPVS at all.
type TableFailed struct {
	Err     string
	Missing bool
}

// Shutdown ends the machine: VIPs are released with priority 0, services removed.
type Shutdown struct{}

// Tick says only that time has passed.
type Tick struct{}

func (Configure) event()         {}
func (Stage) event()             {}
func (Recovered) event()         {}
func (RecoveredServices) event() {}
func (Link) event()              {}
func (Deaf) event()              {}
func (Received) event()          {}
func (ScriptResult) event()      {}
func (FileNumber) event()        {}
func (ProcessCount) event()      {}
func (ProbeResult) event()       {}
func (TableRead) event()         {}
func (TableFailed) event()       {}
func (Shutdown) event()          {}
func (Tick) event()              {}

// Action is an output of Ready, to be carried out in order.
type Action interface{ action() }

// Listen says which VRRP sockets an interface is to have from now on; with Close, none.
type Listen struct {
	Interface string
	Close     bool
	Sockets   []Socket
}

// Socket is one kind of VRRP packets to hear and to send.
type Socket struct {
	IPv6  bool
	AH    bool       // protocol 51 rather than 112
	Group netip.Addr // the multicast group that is joined; not valid: unicast
	// Tap is for interfaces with virtual ones on them: adverts from one of their Ethernet addresses are to be
	// heard too, which the kernel takes for what the virtual interface itself has sent.
	Tap bool
}

// plain is the kind without Tap, which depends on other interfaces.
func (s Socket) plain() Socket {
	s.Tap = false
	return s
}

// String names what differs from the ordinary one.
func (s Socket) String() string {
	text := "unicast"
	if s.Group.IsValid() {
		text = s.Group.String()
	} else if s.IPv6 {
		text = "unicast6"
	}
	if s.AH {
		text += " ah"
	}
	if s.Tap {
		text += " tap"
	}
	return text
}

// SocketOf is the socket that sends a packet; it may have Tap as well.
func SocketOf(p vrrp.Packet) Socket {
	s := Socket{IPv6: p.Dst.Is6(), AH: p.Proto == vrrp.ProtocolAH}
	if p.Dst.IsMulticast() {
		s.Group = p.Dst
	}
	return s
}

// Watch asks for Link events about an interface, now and on every change.
type Watch struct{ Interface string }

// SendAdvert transmits a VRRP message with the packet's TTL (0: 255) and TOS 0xc0. Header and Payload are valid until the next Step.
type SendAdvert struct {
	Interface string
	Packet    vrrp.Packet
	MAC       [6]byte // the source in the Ethernet header, a virtual one; zero: that of the interface
}

// AddAddress adds a virtual address; it succeeds if the address is there already.
type AddAddress struct {
	Interface string
	Address   config.Address
}

// RemoveAddress removes it; it succeeds if the address is not there.
type RemoveAddress struct {
	Interface string
	Address   config.Address
}

// SendARP broadcasts one gratuitous ARP request for Addr.
type SendARP struct {
	Interface string
	Addr      netip.Addr
}

// Remember asks to keep Elector.Held where a worker that is started after a crash finds it. Only the
// last one of a batch matters.
type Remember struct{}

// RememberServices asks to keep the keys and the failed checks where a checker worker that is started after a crash finds
// them, before the next ApplyOps is carried out.
type RememberServices struct {
	Keys []ipvs.Key
	Down []ProbeID
}

// RunScript starts a vrrp_script once; a ScriptResult must follow. After Timeout it is ended (TERM, 2 s, KILL).
type RunScript struct {
	Script  string
	Command config.Command
	Timeout time.Duration
}

// WatchTrackers says which files and processes are tracked from now on, all of them. Each is to be told of at once and again
// on every change, see FileNumber and ProcessCount.
type WatchTrackers struct {
	Files     []*config.TrackFile
	Processes []*config.TrackProcess
}

// Notify tells the outside what happened, once each: notify commands in order (specific then generic), a line in
// the named pipes, a mail. The driver runs the batches of one instance one after the other and never two at once.
type Notify struct {
	Kind     string // INSTANCE or GROUP
	Name     string
	State    string // MASTER BACKUP FAULT STOP DELETED MASTER_RX_LOWER_PRI MASTER_PRIORITY BACKUP_PRIORITY
	Priority uint8  // 0 of a group
	Commands []NotifyCommand
	Fifo     bool // write Line to notify_fifo and vrrp_notify_fifo
	Mail     bool
}

// Subject is whom it is about: INSTANCE NAME or GROUP NAME.
func (n Notify) Subject() string { return n.Kind + " " + n.Name }

// Line is what keepalived writes to a notify_fifo.
func (n Notify) Line() string {
	return fmt.Sprintf("%s \"%s\" %s %d\n", n.Kind, n.Name, n.State, n.Priority)
}

// NotifyCommand is one script of a Notify.
type NotifyCommand struct {
	Command config.Command
	// Extra words appended to a generic notify script: INSTANCE NAME STATE PRIORITY.
	Extra []string
}

// ProbeID names one check: index words that stay the same across generations.
type ProbeID string

// RunProbe asks for one health-check attempt.
type RunProbe struct {
	ID      ProbeID
	Kind    string // TCP_CHECK
	Target  netip.AddrPort
	Source  netip.Addr // bindto; may be invalid
	Timeout time.Duration
}

// ReadTable asks for a TableRead.
type ReadTable struct{}

// ApplyOps changes the IPVS table; on failure a TableFailed must follow.
type ApplyOps struct{ Ops []ipvs.Op }

// Report hands an entry of the journal to the driver: log it, pass it on.
type Report struct{ Entry Entry }

func (Listen) action()           {}
func (Watch) action()            {}
func (SendAdvert) action()       {}
func (AddAddress) action()       {}
func (RemoveAddress) action()    {}
func (SendARP) action()          {}
func (Remember) action()         {}
func (RememberServices) action() {}
func (RunScript) action()        {}
func (WatchTrackers) action()    {}
func (Notify) action()           {}
func (RunProbe) action()         {}
func (ReadTable) action()        {}
func (ApplyOps) action()         {}
func (Report) action()           {}

// Entry is one event of a director's journal. Event uses dotted lower-case words:
// vrrp.master, vrrp.backup, vrrp.fault, vrrp.stop, vrrp.reject, vrrp.priority, vrrp.other-daemon, vrrp.filtered, script.up, script.down, process.up, process.down, file.value, link.delayed, link.up, link.down, link.mac,
// check.up, check.down, ipvs.missing, ipvs.error, config.applied, config.failed.
type Entry struct {
	Time     time.Time `json:"time"` // wall time, stamped by the driver
	Node     string    `json:"node,omitempty"`
	Instance string    `json:"instance,omitempty"` // or service
	Event    string    `json:"event"`
	From     string    `json:"from,omitempty"`
	To       string    `json:"to,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Warn     bool      `json:"warn,omitempty"`
	// Cause is the number of the event that led to this: entries of one worker with the same one are one story.
	// 0 when it came from the driver and not from a machine.
	Cause   uint64 `json:"cause,omitempty"`
	Trigger string `json:"trigger,omitempty"` // the event in words: "link eth0 is down", "packet 873 from 10.0.0.2 on eth0", "timer"
}

// InstanceStatus is what status shows of a vrrp_instance.
type InstanceStatus struct {
	Name      string        `json:"name"`
	Interface string        `json:"interface"`
	VRID      int           `json:"vrid"`
	State     string        `json:"state"` // INIT BACKUP MASTER FAULT
	Since     time.Time     `json:"since"` // of this state; stamped by the driver from ChangedAt
	ChangedAt time.Duration `json:"-"`     // instant of the last transition
	Base      int           `json:"base_priority"`
	Priority  int           `json:"priority"` // effective
	Master    netip.Addr    `json:"master"`   // the owner's address as heard; own when MASTER
	VIPs      []string      `json:"vips"`
	Reason    string        `json:"reason"`
	Detail    string        `json:"detail"`
	Cause     uint64        `json:"cause,omitempty"` // of the last transition, see Entry
	Trigger   string        `json:"trigger,omitempty"`
	Preempt   bool          `json:"preempt"`
	// counters
	AdvertsSent     uint64            `json:"adverts_sent"`
	AdvertsReceived uint64            `json:"adverts_received"`
	Rejected        map[string]uint64 `json:"rejected,omitempty"` // by reason
	BecameMaster    uint64            `json:"became_master"`
}

// ServiceStatus is what status shows of a virtual_server.
type ServiceStatus struct {
	Service   string             `json:"service"` // "tcp 192.168.2.240:80"
	Scheduler string             `json:"scheduler"`
	Forward   string             `json:"forward"`
	Servers   []RealServerStatus `json:"servers"`
}

// RealServerStatus is one real server of a service.
type RealServerStatus struct {
	Server    string        `json:"server"` // 192.168.2.221:80
	Weight    int           `json:"weight"`
	Up        bool          `json:"up"`
	Since     time.Time     `json:"since"` // of Up; stamped by the driver from ChangedAt
	ChangedAt time.Duration `json:"-"`
	Detail    string        `json:"detail"`
}
