package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/checker"
	"quorate/config"
	"quorate/ipvs"
)

// How often the kernel's table is compared with what it should be, and how long to wait after a failure.
const (
	driftEvery   = 30 * time.Second
	retryFailed  = 5 * time.Second
	retryMissing = time.Minute
)

// Services is the machine of the checker worker: the virtual servers of one director, the
// checks of their real servers, and the IPVS table that follows from both.
//
// It keeps a model of the kernel's table. A verdict or a new configuration is planned against
// the model, so that one change costs one change; the model is compared with the kernel
// every 30 s, after every failure and at start.
type Services struct {
	causes
	now      time.Duration
	services []*service
	managed  []ipvs.Key       // every service this machine has ever programmed and not yet deleted
	kept     RememberServices // the last one
	downs    []ProbeID        // that the worker before this one left, until the first Configure

	actual  ipvs.Table // the model; valid if known
	known   bool
	reading bool // a ReadTable is not answered yet: plans wait for it
	dirty   bool // desired may differ from the model
	readDue time.Duration
	missing string // what the host lacks, for status; empty if nothing
	failing string // last error reported, so that the same one is reported once
	stopped bool
	none    bool // Configure.None, or there was no Configure yet
	out     []Action
}

// service is one virtual_server.
type service struct {
	cfg     *config.VirtualServer
	want    ipvs.Service
	servers []*server
}

// server is one real_server of a service.
type server struct {
	cfg     *config.RealServer
	dest    ipvs.Destination
	checks  []*check
	changed time.Duration // of the last verdict
	detail  string
}

// check is one health check; id stays the same across generations.
type check struct {
	id   ProbeID
	cfg  *config.Check
	m    *checker.Check
	down bool // it begins DOWN: the check before it, with other parameters or in another process, had failed
}

// NewServices returns a machine that does nothing until its first Configure.
func NewServices() *Services { return &Services{none: true} }

// Step takes one input. now never decreases.
func (s *Services) Step(now time.Duration, ev Event) {
	s.now = max(s.now, now)
	if s.stopped {
		return
	}
	s.begin(s.now, ev)
	switch ev := ev.(type) {
	case RecoveredServices:
		s.managed, s.downs = slices.Clone(ev.Keys), slices.Clone(ev.Down)
		s.kept = RememberServices{Keys: slices.Clone(ev.Keys), Down: slices.Clone(ev.Down)}
	case Configure:
		s.configure(ev)
	case ProbeResult:
		s.probed(ev)
	case TableRead:
		s.read(ev.Table)
	case TableFailed:
		s.tableFailed(ev)
	case Shutdown:
		s.shutdown()
		return
	}
	s.tick()
	s.plan()
}

// Ready returns what to do now, in order, and forgets it.
func (s *Services) Ready() []Action {
	out := s.out
	s.out = nil
	return out
}

// Deadline is the next instant at which Step(now, Tick{}) is wanted.
func (s *Services) Deadline() (time.Duration, bool) {
	if s.stopped {
		return 0, false
	}
	next, found := s.readDue, !s.reading && s.configured()
	for _, c := range s.checks() {
		if t, ok := c.m.Deadline(); ok && (!found || t < next) {
			next, found = t, true
		}
	}
	return next, found
}

// configured: a director without virtual servers leaves IPVS alone, so that none is needed for plain VRRP.
func (s *Services) configured() bool {
	return !s.none && (len(s.services) > 0 || len(s.managed) > 0)
}

func (s *Services) checks() []*check {
	var all []*check
	for _, v := range s.services {
		for _, r := range v.servers {
			all = append(all, r.checks...)
		}
	}
	return all
}

func (s *Services) emit(a Action) { s.out = append(s.out, a) }

func (s *Services) report(en Entry) {
	s.mark(&en)
	s.emit(Report{Entry: en})
}

// configure keeps the verdict and the timers of every check whose parameters did not change. One that did change begins
// anew, but not with a better verdict: a server that is known to be dead gets no clients because somebody edited its check.
func (s *Services) configure(ev Configure) {
	old := map[ProbeID]*check{}
	oldServer := map[ProbeID]*server{}
	for _, v := range s.services {
		for _, r := range v.servers {
			for _, c := range r.checks {
				old[c.id], oldServer[c.id] = c, r
			}
		}
	}
	s.services, s.none = nil, ev.None
	var fresh []*check
	for _, cv := range ev.Config.VirtualServers {
		v := &service{cfg: cv, want: wantedService(cv)}
		for _, cr := range cv.RealServers {
			r := &server{cfg: cr, dest: wantedDestination(cv, cr), changed: s.now, detail: "not checked yet"}
			if len(cr.Checks) == 0 {
				r.detail = "no check configured"
			}
			for k, cc := range cr.Checks {
				id := CheckID(cv, cr, k)
				c := old[id]
				if c == nil || !sameCheck(c.cfg, cc) {
					down := slices.Contains(s.downs, id) || c != nil && !c.m.Up()
					c = &check{id: id, cfg: cc, down: down}
					fresh = append(fresh, c)
					if down {
						r.detail = "was down and has not been checked again yet"
					}
				} else {
					delete(old, id)
					r.changed, r.detail = oldServer[id].changed, oldServer[id].detail
				}
				c.cfg = cc
				r.checks = append(r.checks, c)
			}
			v.servers = append(v.servers, r)
		}
		s.services = append(s.services, v)
	}
	for _, id := range sortedProbeIDs(old) {
		old[id].m.Step(s.now, checker.Stop{})
	}
	for k, c := range fresh {
		// First probes are spread over the check's own interval, or its warmup, so that a large
		// configuration does not start with a burst.
		spread := c.cfg.DelayLoop.V
		if c.cfg.Warmup.Set {
			spread = c.cfg.Warmup.V
		}
		c.m = checker.New(checker.Config{
			DelayLoop: c.cfg.DelayLoop.V, Retry: c.cfg.Retry.V, DelayBeforeRetry: c.cfg.DelayBeforeRetry.V,
			Alpha: c.cfg.Alpha.V || c.down, Offset: spread * time.Duration(k) / time.Duration(len(fresh)),
		})
		c.m.Step(s.now, checker.Start{})
	}
	if !s.none {
		s.downs = nil
	}
	s.dirty = true
	if !s.known {
		s.readDue = s.now
	}
	s.report(Entry{Event: "config.applied", Detail: fmt.Sprintf("%s: %d virtual servers, %d checks",
		ev, len(s.services), len(s.checks()))})
}

// CheckID is the ID of the probes of a real server's k-th check.
func CheckID(v *config.VirtualServer, r *config.RealServer, k int) ProbeID {
	d := wantedDestination(v, r)
	return ProbeID(fmt.Sprintf("%s > %s #%d", serviceName(wantedService(v).Key), netip.AddrPortFrom(d.Addr, d.Port), k))
}

func sortedProbeIDs(m map[ProbeID]*check) []ProbeID {
	ids := make([]ProbeID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// sameCheck compares what matters to a running check; where it was written does not.
func sameCheck(a, b *config.Check) bool {
	return a.Kind == b.Kind && a.ConnectIP.V == b.ConnectIP.V && a.ConnectPort.V == b.ConnectPort.V && a.BindTo.V == b.BindTo.V &&
		a.ConnectTimeout.V == b.ConnectTimeout.V && a.Retry.V == b.Retry.V && a.DelayBeforeRetry.V == b.DelayBeforeRetry.V &&
		a.DelayLoop.V == b.DelayLoop.V && a.Alpha.V == b.Alpha.V
}

func wantedService(v *config.VirtualServer) ipvs.Service {
	return ipvs.Service{
		Key:         ipvs.Key{Protocol: protocol(v.Protocol.V), Addr: v.Addr.V, Port: uint16(v.Port.V)},
		Scheduler:   v.LBAlgo.V,
		Persistence: time.Duration(v.Persistence.V) * time.Second,
		Netmask:     persistenceMask(v),
	}
}

// persistenceMask is persistence_granularity, of an IPv6 service a prefix length; not valid: the whole address.
func persistenceMask(v *config.VirtualServer) netip.Addr {
	if v.Addr.V.Is6() && v.PersistenceBits > 0 {
		return ipvs.Mask(v.PersistenceBits, true)
	}
	return v.PersistenceGranularity.V
}

func wantedDestination(v *config.VirtualServer, r *config.RealServer) ipvs.Destination {
	kind := v.LBKind.V
	if r.LBKind.Set {
		kind = r.LBKind.V
	}
	d := ipvs.Destination{Addr: r.Addr.V, Port: uint16(r.Port.V), Weight: r.Weight.V, Forward: forward(kind)}
	if d.Forward != ipvs.NAT {
		d.Port = uint16(v.Port.V) // the packet is not rewritten, so it arrives at the service's port (keepalived corrects it too)
	}
	return d
}

func protocol(s string) ipvs.Protocol {
	switch strings.ToUpper(s) {
	case "UDP":
		return ipvs.UDP
	case "SCTP":
		return ipvs.SCTP
	}
	return ipvs.TCP
}

func forward(s string) ipvs.Forward {
	switch s {
	case "DR":
		return ipvs.Direct
	case "TUN":
		return ipvs.Tunnel
	}
	return ipvs.NAT
}

// up: a real server without checks is always up, one with several needs all of them.
func (r *server) up() bool {
	return !slices.ContainsFunc(r.checks, func(c *check) bool { return !c.m.Up() })
}

// probed passes a result to the check that asked, and acts on its verdict.
func (s *Services) probed(ev ProbeResult) {
	for _, v := range s.services {
		for _, r := range v.servers {
			for _, c := range r.checks {
				if c.id != ev.ID {
					continue
				}
				if r.detail == "not checked yet" {
					r.detail = ev.Detail
				}
				c.m.Step(s.now, checker.Result{OK: ev.OK, Detail: ev.Detail})
				s.drain(v, r, c)
				return
			}
		}
	}
}

func (s *Services) tick() {
	for _, v := range s.services {
		for _, r := range v.servers {
			for _, c := range r.checks {
				if t, ok := c.m.Deadline(); ok && t <= s.now {
					c.m.Step(s.now, checker.Tick{})
				}
				s.drain(v, r, c)
			}
		}
	}
	if s.readDue <= s.now && !s.reading && s.configured() {
		s.reading = true
		s.emit(ReadTable{})
	}
}

func (s *Services) drain(v *service, r *server, c *check) {
	for _, a := range c.m.Ready() {
		switch a := a.(type) {
		case checker.Probe:
			s.emit(RunProbe{ID: c.id, Kind: c.cfg.Kind, Target: netip.AddrPortFrom(c.cfg.ConnectIP.V, uint16(c.cfg.ConnectPort.V)),
				Source: c.cfg.BindTo.V, Timeout: c.cfg.ConnectTimeout.V})
		case checker.Verdict:
			r.changed, r.detail = s.now, a.Detail
			s.dirty = true
			en := Entry{Instance: serviceName(v.want.Key), Event: "check.up", To: "up",
				Detail: fmt.Sprintf("%s: %s to %s %s", r.name(), c.cfg.Kind, netip.AddrPortFrom(c.cfg.ConnectIP.V, uint16(c.cfg.ConnectPort.V)), a.Detail)}
			if !a.Up {
				en.Event, en.To, en.Warn = "check.down", "down", true
				en.Detail += fmt.Sprintf(" (%d in a row)", a.Failures)
			}
			s.report(en)
		}
	}
}

func (r *server) name() string { return netip.AddrPortFrom(r.dest.Addr, r.dest.Port).String() }

func serviceName(k ipvs.Key) string {
	p := "tcp"
	switch k.Protocol {
	case ipvs.UDP:
		p = "udp"
	case ipvs.SCTP:
		p = "sctp"
	}
	return p + " " + netip.AddrPortFrom(k.Addr, k.Port).String()
}

// desired is the table the configuration and the verdicts ask for.
func (s *Services) desired() ipvs.Table {
	var t ipvs.Table
	for _, v := range s.services {
		en := ipvs.Entry{Service: v.want}
		for _, r := range v.servers {
			d := r.dest
			if !r.up() {
				if !r.cfg.InhibitOnFailure.V {
					continue
				}
				d.Weight = 0 // inhibit_on_failure: existing connections go on
			}
			en.Destinations = append(en.Destinations, d)
		}
		t = append(t, en)
	}
	return t
}

// plan brings the kernel from the model to what is desired.
func (s *Services) plan() {
	if !s.dirty || !s.known || s.reading || s.none {
		return
	}
	s.dirty = false
	want := s.desired()
	ops := ipvs.Plan(want, s.actual, s.managed)
	s.actual = after(s.actual, want, s.managed)
	old := s.managed
	s.managed = nil
	for _, en := range want {
		s.managed = append(s.managed, en.Service.Key)
	}
	// Before the kernel hears of it, and with what is about to go: a worker that is killed in between leaves a list with
	// everything of its that the kernel may have. The next plan, after the next reading, makes it exact.
	s.remember(slices.Concat(s.managed, old))
	if len(ops) == 0 {
		return
	}
	s.emit(ApplyOps{Ops: ops})
}

// remember keeps the keys, each once, and the checks that have failed, unless just these are kept already.
func (s *Services) remember(keys []ipvs.Key) {
	slices.SortFunc(keys, ipvs.Key.Compare)
	r := RememberServices{Keys: slices.Compact(keys)}
	for _, c := range s.checks() {
		// A check that began DOWN as its file says (alpha) and has not been answered says nothing about its server.
		if len(keys) > 0 && !c.m.Up() && (c.m.Ran() || c.down) {
			r.Down = append(r.Down, c.id)
		}
	}
	if slices.Equal(r.Keys, s.kept.Keys) && slices.Equal(r.Down, s.kept.Down) {
		return
	}
	s.kept = r
	s.emit(r)
}

// after is the table once a plan is carried out: what was wanted, and the services that were never ours.
func after(actual, want ipvs.Table, managed []ipvs.Key) ipvs.Table {
	t := want.Clone()
	for _, en := range actual {
		if _, wanted := want.Get(en.Service.Key); !wanted && !slices.Contains(managed, en.Service.Key) {
			t = append(t, en)
		}
	}
	return t
}

// read takes the kernel's table as the truth.
func (s *Services) read(t ipvs.Table) {
	again := s.known && s.failing == ""
	if s.missing != "" || s.failing != "" {
		s.report(Entry{Event: "ipvs.ok", Detail: "the IPVS table can be read again"})
	}
	s.reading, s.known, s.missing, s.failing = false, true, "", ""
	s.actual, s.dirty = t, true
	s.readDue = s.now + driftEvery
	if again {
		if ops := ipvs.Plan(s.desired(), t, s.managed); len(ops) > 0 {
			s.report(Entry{Event: "ipvs.drift", Warn: true,
				Detail: fmt.Sprintf("the kernel's table was changed by someone else, %d repairs, first: %s", len(ops), ops[0])})
		}
	}
}

// tableFailed: nothing is known of the table any more; it is read again after a while.
func (s *Services) tableFailed(ev TableFailed) {
	s.known, s.reading, s.dirty = false, false, true
	s.readDue = s.now + retryFailed
	event := "ipvs.error"
	if ev.Missing {
		s.readDue = s.now + retryMissing
		event = "ipvs.missing"
	}
	s.missing = ev.Err
	if s.failing != ev.Err {
		s.report(Entry{Event: event, Detail: ev.Err, Warn: true})
	}
	s.failing = ev.Err
}

// shutdown removes what was programmed, and nothing else.
func (s *Services) shutdown() {
	for _, c := range s.checks() {
		c.m.Step(s.now, checker.Stop{})
	}
	if s.known && !s.none {
		if ops := ipvs.Plan(nil, s.actual, s.managed); len(ops) > 0 {
			s.emit(ApplyOps{Ops: ops})
		}
		s.remember(nil)
	}
	s.stopped = true
}

// Missing says what this host lacks to run the services; empty if nothing.
func (s *Services) Missing() string { return s.missing }

// Status returns one row per virtual server, in file order.
func (s *Services) Status() []ServiceStatus {
	rows := make([]ServiceStatus, 0, len(s.services))
	for _, v := range s.services {
		row := ServiceStatus{Service: serviceName(v.want.Key), Scheduler: v.want.Scheduler, Forward: v.cfg.LBKind.V}
		for _, r := range v.servers {
			row.Servers = append(row.Servers, RealServerStatus{Server: r.name(), Weight: r.cfg.Weight.V, Up: r.up(),
				ChangedAt: r.changed, Detail: r.detail})
		}
		rows = append(rows, row)
	}
	return rows
}
