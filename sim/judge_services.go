package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"quorate/config"
	"quorate/ipvs"
	"quorate/node"
	"quorate/sim/wire"
)

// S5, services: whenever a checker worker rests, its kernel's table is what its configuration and the answers of its probes ask
// for: a virtual server has just those real servers, with their weights, of which no check is down; one that is down is gone, or
// with inhibit_on_failure has weight 0. And once nothing has been done to the world for as long as a check needs, that agrees
// with which real servers really answer.
//
// The verdicts are drawn here a second time, independently of the machines that are judged (keepalived's rules: the first
// attempt decides at once, later ones after retry more).

// oracle is what the answers so far say about each check of one worker.
type oracle struct {
	conf     *config.Config
	opinions map[node.ProbeID]*opinion
	down     []node.ProbeID // left by the worker before this one
	failed   bool           // the kernel has refused an operation
	said     string         // the violation that was written last
}

type opinion struct {
	check    *config.Check
	up       bool
	ran      bool
	probing  bool
	failures int
}

// same reports whether a check goes on in another configuration.
func (o *opinion) same(c *config.Check) bool {
	a, b := *o.check, *c
	return a.Kind == b.Kind && a.ConnectIP.V == b.ConnectIP.V && a.ConnectPort.V == b.ConnectPort.V && a.BindTo.V == b.BindTo.V &&
		a.ConnectTimeout.V == b.ConnectTimeout.V && a.Retry.V == b.Retry.V && a.DelayBeforeRetry.V == b.DelayBeforeRetry.V &&
		a.DelayLoop.V == b.DelayLoop.V && a.Alpha.V == b.Alpha.V
}

// saw takes note of an event before the machine gets it.
func (o *oracle) saw(ev node.Event) {
	switch ev := ev.(type) {
	case node.RecoveredServices:
		o.down = ev.Down
	case node.Configure:
		o.configured(ev.Config)
	case node.ProbeResult:
		if p := o.opinions[ev.ID]; p != nil && p.probing {
			p.probing = false
			p.answered(ev.OK)
		}
	case node.Shutdown:
		o.conf = nil // it takes everything away
	case node.TableFailed:
		o.failed = true
	case node.TableRead:
		o.failed = false
	}
}

// asked: a probe is under way, and its answer will count.
func (o *oracle) asked(id node.ProbeID) {
	if p := o.opinions[id]; p != nil {
		p.probing = true
	}
}

func (p *opinion) answered(ok bool) {
	retries := p.check.Retry.V
	if !p.ran {
		retries = 0
	}
	p.ran = true
	if ok {
		p.up, p.failures = true, 0
		return
	}
	if p.failures++; p.failures > retries {
		p.up, p.failures = false, 0
	}
}

func (o *oracle) configured(c *config.Config) {
	old := o.opinions
	o.conf, o.opinions = c, map[node.ProbeID]*opinion{}
	for _, v := range c.VirtualServers {
		for _, r := range v.RealServers {
			for k, cc := range r.Checks {
				id := node.CheckID(v, r, k)
				if p := old[id]; p != nil && p.same(cc) {
					p.check = cc
					o.opinions[id] = p
					continue
				}
				// An edited check starts anew, but with no better verdict than the one before it.
				up := !cc.Alpha.V && !slices.Contains(o.down, id) && (old[id] == nil || old[id].up)
				o.opinions[id] = &opinion{check: cc, up: up}
			}
		}
	}
	o.down = nil
}

// up is the verdict on a real server.
func (o *oracle) up(v *config.VirtualServer, r *config.RealServer) bool {
	for k := range r.Checks {
		if p := o.opinions[node.CheckID(v, r, k)]; p != nil && !p.up {
			return false
		}
	}
	return true
}

// destPort is the port that a real server is asked at: without NAT packets arrive at the service's.
func destPort(v *config.VirtualServer, r *config.RealServer) uint16 {
	kind := v.LBKind.V
	if r.LBKind.Set {
		kind = r.LBKind.V
	}
	if kind == "NAT" {
		return uint16(r.Port.V)
	}
	return uint16(v.Port.V)
}

// key is the kernel's name of a virtual server.
func serviceKey(v *config.VirtualServer) ipvs.Key {
	p := map[string]ipvs.Protocol{"UDP": ipvs.UDP, "SCTP": ipvs.SCTP}[strings.ToUpper(v.Protocol.V)]
	if p == 0 {
		p = ipvs.TCP
	}
	return ipvs.Key{Protocol: p, Addr: v.Addr.V, Port: uint16(v.Port.V)}
}

// differs says in which way a table is not what a configuration wants when up says who is up; empty if it is.
func differs(c *config.Config, table ipvs.Table, up func(*config.VirtualServer, *config.RealServer) bool) string {
	for _, v := range c.VirtualServers {
		if v.SorryServer != nil {
			continue // whom the table has then depends on the quorum as well
		}
		e, ok := table.Get(serviceKey(v))
		if !ok {
			return fmt.Sprintf("has no service %s", serviceKey(v))
		}
		extra := slices.Clone(e.Destinations)
		for _, r := range v.RealServers {
			at := netip.AddrPortFrom(r.Addr.V, destPort(v, r))
			weight, want := r.Weight.V, up(v, r)
			if !want && r.InhibitOnFailure.V {
				weight, want = 0, true
			}
			d, there := destination(e, at)
			extra = slices.DeleteFunc(extra, func(d ipvs.Destination) bool { return d.AddrPort() == at })
			switch {
			case want && !there:
				return fmt.Sprintf("lacks %v of %s, which is up", at, serviceKey(v))
			case !want && there:
				return fmt.Sprintf("has %v of %s, which is down", at, serviceKey(v))
			case want && d.Weight != weight:
				return fmt.Sprintf("has %v of %s with weight %d instead of %d", at, serviceKey(v), d.Weight, weight)
			}
		}
		if len(extra) > 0 {
			return fmt.Sprintf("has %v of %s, which is not configured", extra[0].AddrPort(), serviceKey(v))
		}
	}
	for _, e := range table {
		if !slices.ContainsFunc(c.VirtualServers, func(v *config.VirtualServer) bool { return serviceKey(v) == e.Service.Key }) {
			return fmt.Sprintf("has the service %s, which is not configured", e.Service.Key)
		}
	}
	return ""
}

// services judges S5 whenever a worker rests.
func (j *judge) services(h *Host, c *worker) {
	o := &c.verdict
	if o.conf == nil || o.failed || h.lvs == nil {
		return
	}
	wrong := differs(o.conf, h.lvs.table, o.up)
	if wrong == o.said {
		return
	}
	if o.said = wrong; wrong != "" {
		j.misserved++
		j.w.note("", EventViolation, fmt.Sprintf("S5 VIOLATED: the table of %s %s", h.Name, wrong))
	}
}

// balanced sums up S5; nothing is said of a world without virtual servers.
func (j *judge) balanced() (lines []string, ok bool) {
	ok = j.misserved == 0
	some := false
	for _, h := range j.w.hosts {
		if h.checks == nil || h.proc == nil || h.proc.paused || h.checks.verdict.conf == nil || h.lvs == nil {
			continue
		}
		some = true
		if wrong := j.untrue(h); wrong != "" {
			ok = false
			lines = append(lines, fmt.Sprintf("S5 VIOLATED: the table of %s %s", h.Name, wrong))
		}
	}
	switch {
	case j.misserved > 0:
		lines = append(lines, fmt.Sprintf("S5 services: VIOLATED %d times", j.misserved))
	case some && ok:
		lines = append(lines, "S5 services: ok")
	}
	return lines, ok
}

// untrue compares a director's table with which real servers really answer it, if both have had the time to agree.
func (j *judge) untrue(h *Host) string {
	c := h.checks.verdict.conf
	for _, v := range c.VirtualServers {
		for _, r := range v.RealServers {
			for _, k := range r.Checks {
				if j.w.now-j.w.disturbed < checkTime(k) {
					return ""
				}
			}
		}
	}
	unknown := false
	wrong := differs(c, h.lvs.table, func(_ *config.VirtualServer, r *config.RealServer) bool {
		for _, k := range r.Checks {
			good, known := h.answers(k)
			unknown = unknown || !known
			if !good {
				return false
			}
		}
		return true
	})
	if unknown {
		return ""
	}
	return wrong
}

// checkTime is the longest that a check needs to find out what is so: a round that has just begun, one that fails, and a second
// for the network.
func checkTime(c *config.Check) time.Duration {
	round := time.Duration(c.Retry.V+1) * (c.ConnectTimeout.V + c.DelayBeforeRetry.V)
	return max(c.DelayLoop.V, c.Warmup.V) + c.DelayLoop.V + 2*round + c.ConnectTimeout.V + time.Second
}

// answers reports whether a check of this director succeeds in the present world, and whether that can be known.
func (h *Host) answers(c *config.Check) (good, known bool) {
	const class = wire.ClassTCP | wire.ClassARP
	to := h.w.serverOf(c.ConnectIP.V)
	switch c.Kind {
	case "TCP_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK":
	default:
		return true, true // see Host.probe
	}
	if to == nil || !to.on {
		return false, to != nil || !slices.ContainsFunc(h.w.hosts, func(x *Host) bool { return x.local(c.ConnectIP.V) })
	}
	for _, n := range h.nics {
		if !n.base.Contains(c.ConnectIP.V) {
			continue
		}
		m := to.nics[n.index()]
		if n.lan.Lossy(n.port, m.port, class) || n.lan.Lossy(m.port, n.port, class) {
			return false, false
		}
		port := uint16(c.ConnectPort.V)
		state := to.serves(port)
		good = n.lan.Reaches(n.port, m.port, class) && n.lan.Reaches(m.port, n.port, class) &&
			(state == serverUp || state == serverHang && c.Kind == "TCP_CHECK")
		return good, to.steady(port)
	}
	return false, true
}
