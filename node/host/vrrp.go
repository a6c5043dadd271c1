package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/vrrp"
)

// VRRPConfig says what RunVRRP drives.
type VRRPConfig struct {
	Node string // this director's name, the config-id
	// Load gives the configuration to start with and, after Reload, to change to, with its generation
	// (0 when standalone). With a configuration and an error the error is reported and the
	// configuration runs: Generations.Active and its *FallbackError.
	Load        func() (*config.Config, int64, error)
	Conn        *Conn        // to the cluster worker; nil when standalone
	Generations *Generations // where applied generations are; nil when standalone
	// RunDir is where the worker notes which addresses it holds, so that the next one can adopt them
	// after a crash. Empty: nothing is noted.
	RunDir string
	Logger *slog.Logger
	Reload <-chan struct{}
	Dump   <-chan Dump // asks for one of keepalived's files in TMPDIR
	Show   bool        // log what runs once it does (-d)
	// Forced says that the network namespace was given on the command line: net_namespace does not count.
	Forced bool
}

// RunVRRP is the vrrp worker: it drives a node.Elector on this host until ctx ends, then releases
// what it holds. It returns an error only if it cannot start.
func RunVRRP(ctx context.Context, cfg VRRPConfig) error {
	m := node.NewElector()
	return runVRRP(ctx, cfg, m, views{m.Status, m.Held, m.Census, m.Details, m.Waited})
}

// views are what the driver asks of the machine; only its own goroutine may.
type views struct {
	status  func() []node.InstanceStatus
	held    func() []node.Held
	census  func() []node.HeardRouter
	details func() []node.Detail
	waited  func(time.Duration) bool
}

// elector is the host side of the vrrp worker.
type elector struct {
	*worker
	links    *links
	install  *installer
	scripts  *scripts
	unfollow context.CancelFunc // ends what follows files and processes; nil: nothing does
	fifos    *fifos
	mailer   *mailer
	ifaces   map[string]*iface
	memory   *memory
	held     func() []node.Held
	details  func() []node.Detail
	heldCost time.Duration // of listing them, the last time
	heldAt   time.Duration
	holding  bool             // the last list had something in it
	wishes   map[string]*wish // by what they are about
	wishSeq  uint64
	followed map[string]bool // paths of track_file blocks
	adopted  bool            // a worker before this one was killed
	waited   func(time.Duration) bool
	gather   atomic.Int64 // nanoseconds, see gatherFor
	arrivals *arrivals
	buf      []byte
	deafs    []node.Deaf // what the machine is to hear next
	vmacs    []node.VMAC
	vmacBad  map[string]bool
	vmacDone map[string]bool                     // made, or failed; there is no other news of it before
	paths    *pathWatch                          // nil until there is a route or rule
	vips     atomic.Pointer[map[netip.Addr]bool] // all of the configuration, for the monitors
}

// wish is what the machine wants of an address, a route or a rule. One that failed is tried again every second.
type wish struct {
	op      change
	seq     uint64 // of its latest operation: results of earlier ones say nothing
	failed  bool
	done    bool // carried out once
	looking bool // whether somebody took it away, see recheck
}

// iface is what the driver has open on an interface.
type iface struct {
	name string
	news linkNews
	// lastIndex is the latest that was not 0: an interface that is gone may have been renamed.
	lastIndex int
	gone      []netip.Prefix // addresses that were deleted while readings did not count
	listen    []node.Socket  // what the machine wants
	vrrp      map[node.Socket]*vrrpSocket
	deaf      map[node.Socket]string // why one cannot be opened
	ears      *monitor
}

// showAll asks for a log of all that runs.
type showAll struct{}

// mailResult tells whether mail gets out.
type mailResult struct{ err error }

// mailGrace is what is left for mail at the end.
const mailGrace = 500 * time.Millisecond

func runVRRP(ctx context.Context, cfg VRRPConfig, m machine, v views) error {
	sealInherited()
	nameProcess("clusterd: vrrp")
	log, flush := newAsyncLog(cfg.Logger)
	defer flush()
	e := &elector{buf: make([]byte, 64<<10), ifaces: map[string]*iface{}, wishes: map[string]*wish{}, followed: map[string]bool{}}
	e.vips.Store(&map[netip.Addr]bool{})
	e.worker = &worker{
		census:   v.census,
		forced:   cfg.Forced,
		reporter: reporter{log: log, node: cfg.Node, worker: "vrrp", conn: cfg.Conn},
		m:        m, load: cfg.Load, reload: cfg.Reload, gens: cfg.Generations, parse: parseAs(cfg.Node),
		inbox: make(chan any, inboxSize),
		setUp: e.setUp, do: e.act, news: e.take, every: e.retry, fetch: e.fetch, stopped: e.tearDown,
		adopt:  e.adopt,
		refuse: refuseInterfaces,
		status: func() ([]node.InstanceStatus, []node.ServiceStatus, []string) { return v.status(), nil, nil },
	}
	if cfg.RunDir != "" {
		mem, err := openMemory(cfg.RunDir)
		if err != nil {
			return err
		}
		defer mem.close()
		found, err := mem.recover()
		if err != nil {
			log.Warn("what the worker before this one held is not known", "error", err)
		}
		if len(found.Held) > 0 {
			log.Info("a worker before this one held addresses", "addresses", len(found.Held), "silent", instant()-found.Alive)
			e.adopted = true
			found.Untold = recoverUntold(cfg.RunDir)
			m.Step(instant(), found)
		}
		if d := onProbation(); d > 0 {
			m.Step(instant(), node.Probation{For: d})
		}
		e.memory, e.held = mem, v.held
	}
	e.after = e.afterStep
	lockMemory(log)
	e.details, e.waited = v.details, v.waited
	if cfg.Show {
		e.inbox <- showAll{}
	}
	if cfg.Dump != nil {
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case k := <-cfg.Dump:
					select {
					case e.inbox <- k:
					case <-ctx.Done():
					}
				}
			}
		}()
	}
	return e.run(ctx)
}

// adopt comes before the machine sees a configuration.
func (e *elector) adopt(c *config.Config) {
	e.schedule(hurried(c), e.scripts.spawn.tid)
	e.scripts.SetIdentity(identityOf(c.Global))
	e.fifos.Configure(c.Global)
	e.mailer.Configure(c.Global)
	e.gather.Store(int64(gatherFor(c)))
	e.lateAfter = shortestInterval(c, lateAfter)
	e.vips.Store(virtualAddresses(c))
	e.install.Pace(pacesOf(c))
	style, left := tableStyleOf(c.Global), ""
	if e.memory != nil {
		left, e.memory.left = e.memory.left, ""
		e.memory.table.Store(&style.name)
	}
	e.install.Style(style, left)
	if !slices.ContainsFunc(c.Instances, func(i *config.Instance) bool { return !i.Accept.V && i.Priority.V != vrrp.PriorityOwner }) {
		e.install.Refuse(nil) // what a killed worker may have left
	}
	if e.vmacs == nil && len(node.VirtualInterfaces(c)) == 0 {
		e.install.VMACs(nil) // the same
	}
	if c.Global.DisableLocalIGMP.V { // no reports for 224.0.0.0/24, which switches forward anyhow (RFC 4541 2.1.2)
		e.Trouble("disable_local_igmp", os.WriteFile("/proc/sys/net/ipv4/igmp_link_local_mcast_reports", []byte("0"), 0))
	}
	for _, i := range c.Instances {
		if i.PromoteSecondaries.V { // or the kernel drops all addresses of a subnet with the first
			path := "/proc/sys/net/ipv4/conf/" + i.Interface.V + "/promote_secondaries"
			e.Trouble("promote_secondaries on "+i.Interface.V, os.WriteFile(path, []byte("1"), 0))
		}
	}
	for _, i := range e.ifaces {
		if i.ears != nil {
			e.Trouble("monitor on "+i.name, i.ears.Refilter())
		}
	}
}

// remember follows every step of the machine: a sign of life, and the list if it changed. Listing thousands of
// addresses takes its time, so that is done for at most a tenth of ours.
func (e *elector) remember() {
	if !e.holding && !e.memory.dirty {
		return // a sign of life is for addresses to adopt
	}
	now := instant()
	e.memory.beat(now)
	if !e.memory.dirty || now-e.heldAt < 10*e.heldCost {
		return
	}
	e.memory.dirty = false
	list := e.held()
	e.holding = len(list) > 0
	e.install.Remember(list)
	e.heldAt, e.heldCost = now, instant()-now
}

// nameProcess sets what ps shows without arguments; 15 bytes of it count.
func nameProcess(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

func (e *elector) setUp(bg context.Context, wg *sync.WaitGroup) (err error) {
	var save func([]node.Held) error
	if e.memory != nil {
		save = e.memory.save
	}
	if e.install, err = newInstaller(e.post, save); err != nil {
		return err
	}
	if e.links, err = newLinks(e.log, func(n linkNews) { e.post(n) }); err != nil {
		e.install.Close()
		return err
	}
	if e.arrivals, err = newArrivals(); err != nil {
		e.install.Close()
		return err
	}
	e.links.stamp = e.install.epoch.Load
	e.scripts = newScripts(e.log, func(r node.ScriptResult) { e.post(r) })
	e.scripts.told = func(n notified) { e.post(n) }
	if e.memory != nil {
		e.scripts.NoteIn(bg, untoldPath(e.memory.dir), func(err error) { e.post(troubled{"memory of notify scripts", err}) })
	}
	e.fifos = &fifos{trouble: e.Trouble, start: e.scripts.Start}
	e.mailer = newMailer(e.log, func(err error) { e.post(mailResult{err}) })
	wg.Go(func() { e.links.Run(bg) })
	wg.Go(func() { watchOthers(bg, e.post) })
	go e.await()
	return nil
}

func (e *elector) tearDown() {
	if e.memory != nil && e.memory.dirty {
		e.install.Remember(e.held())
	}
	left := make(chan []error, 1)
	go func() { left <- e.install.Close() }()
	e.scripts.Close()
	e.fifos.Close()
	e.mailer.Close(mailGrace)
	for _, err := range <-left {
		e.Trouble(err.Error(), err)
	}
	for _, i := range e.ifaces {
		e.closeSockets(i)
	}
	e.arrivals.Close()
}

func (e *elector) iface(name string) *iface {
	i := e.ifaces[name]
	if i == nil {
		i = &iface{name: name, vrrp: map[node.Socket]*vrrpSocket{}}
		e.ifaces[name] = i
	}
	return i
}

// act carries out one action.
func (e *elector) act(a node.Action) {
	switch a := a.(type) {
	case node.Listen:
		i := e.iface(a.Interface)
		i.listen = a.Sockets
		e.open(i)
	case node.Watch:
		e.links.Watch(a.Interface)
	case node.SendAdvert:
		e.send(a)
	case node.AddAddress:
		e.want(addressOp{dev: a.Interface, addr: a.Address})
	case node.RemoveAddress:
		e.want(addressOp{remove: true, dev: a.Interface, addr: a.Address})
	case node.AddRoute:
		e.want(routeOp{route: a.Route})
	case node.RemoveRoute:
		e.want(routeOp{remove: true, route: a.Route})
	case node.AddRule:
		e.want(ruleOp{rule: a.Rule})
	case node.RemoveRule:
		e.want(ruleOp{remove: true, rule: a.Rule})
	case node.VMACs:
		e.virtual(a.List)
	case node.Refuse:
		e.install.Refuse(a.Addrs)
	case node.SendARP:
		e.announce(a)
	case node.Remember:
		if e.memory != nil {
			e.memory.dirty = true
		}
	case node.RunScript:
		e.scripts.Track(a)
	case node.WatchTrackers:
		e.follow(a)
	case node.Notify:
		if a.Fifo {
			e.fifos.Write(a)
		}
		if a.Mail {
			e.mailer.Tell(a)
		}
		e.scripts.Notify(a)
	default:
		e.Trouble(fmt.Sprintf("action %T", a), fmt.Errorf("the vrrp worker cannot carry out %T", a))
	}
}

// take handles the host's own news.
func (e *elector) take(v any) {
	switch v := v.(type) {
	case vmacResult:
		e.madeVMAC(v)
	case linkNews:
		if e.missesVMAC(v) {
			return
		}
		i := e.iface(v.link.Name)
		if i.news.index != v.index {
			e.closeSockets(i) // bound to an interface that is gone
		}
		was := i.news.link
		if i.news.index == v.index && v.index != 0 && !e.install.Settled(v.epoch) {
			// Read while addresses were being added and removed: it cannot tell what others did. The rest is news.
			v.link.Addrs, v.link.Addrs6 = was.Addrs, was.Addrs6
			i.gone = append(i.gone, v.gone...)[:min(len(i.gone)+len(v.gone), goneLimit)]
			e.links.Watch(i.name)
		} else if between, ok := passed(was, v.link, append(i.gone, v.gone...)); ok && i.news.index == v.index {
			i.gone = nil
			e.step(between) // somebody may have deleted what was added a moment before
		} else {
			i.gone = nil
		}
		i.news = v
		if v.index != 0 {
			i.lastIndex = v.index
		}
		if was.Exists && was.Up != v.link.Up {
			e.log.Info("Netlink reports " + i.name + map[bool]string{true: " up", false: " down"}[v.link.Up])
		}
		e.open(i)
		e.step(v.link)
		e.recheck() // the kernel drops routes with their interface or source address and says nothing
	case pathsChanged:
		e.recheck()
	case others:
		e.Report(v.entry())
	case changeResult:
		if w := e.wishes[v.what]; w != nil && w.seq == v.seq {
			e.settled(w, v.err)
		}
	case firewallResult:
		e.Trouble("firewall", v.err)
		if v.gone {
			e.Report(node.Entry{Event: "vrrp.repair", Warn: true, Detail: "the firewall table " + v.table + " was removed by someone else, made again"})
		}
	case announceResult:
		if v.err == nil || e.iface(v.dev).news.link.Up { // of a link that is down others tell
			e.Trouble("announcements on "+v.dev, v.err)
		}
	case arrived:
		e.hear(v.fds)
	case showAll:
		text, _ := DumpData.render(e.details(), nil)
		for line := range strings.Lines(string(text)) {
			e.log.Info(strings.TrimRight(line, "\n"))
		}
	case Dump:
		e.dump(v)
	case notified:
		entry := node.Entry{Instance: v.instance, Event: "notify.done", To: v.state, Detail: fmt.Sprintf("%s: %s in %v", v.script, v.detail, v.took)}
		if v.failed {
			entry.Event, entry.Warn = "notify.failed", true
		}
		e.Report(entry)
	case troubled:
		e.Trouble(v.key, v.err)
	case mailResult:
		e.Trouble("mail", v.err)
	case memoryResult:
		e.Trouble("memory of held addresses", v.err)
	}
}

// dump writes one of keepalived's files, beside the loop.
func (e *elector) dump(k Dump) {
	list, heard, log := e.details(), e.census(), e.log
	go func() {
		path, err := k.write(os.TempDir(), list, heard)
		if err != nil {
			log.Warn("cannot write "+k.String(), "error", err)
			return
		}
		log.Info(fmt.Sprintf("Printing VRRP %s for process(%d) on signal", map[Dump]string{DumpData: "data", DumpStats: "stats", DumpJSON: "as json"}[k], os.Getpid()), "file", path)
	}()
}

// open brings the sockets of an interface to what is wanted.
func (e *elector) open(i *iface) {
	for kind, s := range i.vrrp {
		if !slices.Contains(i.listen, kind) {
			e.forget(i, s)
		}
	}
	if i.ears != nil && (len(i.listen) == 0 || i.ears.mac != i.news.link.MAC) {
		_ = i.ears.Close()
		i.ears = nil
	}
	if len(i.listen) == 0 || i.news.index == 0 {
		return
	}
	if i.ears == nil && i.news.link.MAC != [6]byte{} {
		ears, err := openMonitor(i.name, i.news.index, i.news.link.MAC, &e.vips, e.post)
		e.Trouble("monitor on "+i.name, err)
		if err == nil {
			i.ears = ears
		}
	}
	for _, kind := range i.listen {
		if i.vrrp[kind] != nil {
			continue
		}
		s, err := openVRRP(i.name, i.news.index, kind)
		if err == nil {
			i.vrrp[kind] = s
			if err = e.arrivals.Add(s); err != nil {
				e.forget(i, s)
			}
		}
		if errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("%w: run clusterd as root, or with CAP_NET_RAW and CAP_NET_ADMIN", err)
		}
		e.Trouble(fmt.Sprintf("VRRP socket (%v) on %s", kind, i.name), err)
		e.tell(i, kind, err)
	}
}

// tell notes for the machine whether a socket could be opened.
func (e *elector) tell(i *iface, kind node.Socket, err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	if kind.Tap = false; i.deaf[kind] == why {
		return
	}
	if i.deaf == nil {
		i.deaf = map[node.Socket]string{}
	}
	i.deaf[kind] = why
	e.deafs = append(e.deafs, node.Deaf{Interface: i.name, Socket: kind, Why: why})
}

// afterStep comes when all is done that the machine wanted.
func (e *elector) afterStep() {
	if e.memory != nil {
		e.remember()
	}
	for len(e.deafs) > 0 {
		ev := e.deafs[0]
		e.deafs = e.deafs[1:]
		e.step(ev)
	}
}

func (e *elector) send(a node.SendAdvert) {
	i := e.iface(a.Interface)
	kind := node.SocketOf(a.Packet)
	s := i.vrrp[kind]
	if s == nil {
		kind.Tap = true
		s = i.vrrp[kind]
	}
	if s == nil {
		return // that it cannot be opened was reported
	}
	var err error
	if a.MAC == ([6]byte{}) {
		err = s.Send(a.Packet)
	} else {
		err = s.SendFrom(a.MAC, a.Packet)
	}
	if err != nil && !i.news.link.Up {
		return // the machine is about to hear why
	}
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w: a packet filter of this host keeps adverts in, so that others will be owner too: let IP protocol %d out", err, map[bool]int{true: vrrp.ProtocolAH, false: vrrp.ProtocolNumber}[kind.AH])
	}
	e.Trouble("adverts on "+a.Interface, err)
}

func (e *elector) closeSockets(i *iface) {
	if i.ears != nil {
		_ = i.ears.Close()
		i.ears = nil
	}
	for _, s := range i.vrrp {
		e.forget(i, s)
	}
}
