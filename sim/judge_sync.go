package sim

import (
	"fmt"
	"slices"
	"time"

	"quorate/config"
	"quorate/node"
	"quorate/vrrp"
)

// S6 has two halves. Together: a kernel holds the VIPs of all members of a vrrp_sync_group or of none, whenever its daemon has
// nothing left to do. In order: what a process says of an instance or a group is a chain, each transition beginning in the
// state where the last one ended and with a reason, and notify scripts are told of each state once, after it was reached.

// told is what a process has said of one instance or group.
type told struct {
	name     string
	state    string // it is in
	notified string // the last state that scripts heard of
}

// settling is how long a kernel may hold some of a group: nothing but what a driver needs for its system calls.
const settling = 10 * time.Millisecond

// tear looks at the sync groups of a host whose daemon has come to rest.
func (j *judge) tear(h *Host) {
	if h.conf == nil || len(h.conf.SyncGroups) == 0 || h.proc == nil {
		return
	}
	for _, g := range h.conf.SyncGroups {
		if torn(h, g) == "" {
			continue
		}
		p := h.proc
		j.w.after(settling, func() {
			// Still the same process, which has a configuration that still has the group, and time to act.
			if what := torn(h, g); what != "" && h.on && h.proc == p && !p.paused && slices.Contains(h.conf.SyncGroups, g) && !p.torn {
				p.torn = true // said once
				j.torn++
				j.w.note("", EventViolation, fmt.Sprintf("S6 VIOLATED: %s %s", h.Name, what))
			}
		})
	}
}

// torn says which members of a group a kernel holds while it does not hold others; empty if there are not both.
func torn(h *Host, g *config.SyncGroup) string {
	var held, not []string
	for _, m := range g.Members {
		i := slices.IndexFunc(h.conf.Instances, func(i *config.Instance) bool { return i.Name == m.V })
		if i < 0 || len(h.conf.Instances[i].VIPs) == 0 {
			continue
		}
		inst := h.conf.Instances[i]
		n := h.nic(inst.Interface.V)
		if n == nil {
			continue
		}
		has := func(a config.Address) bool { return n.has(a.Prefix.Addr()) }
		switch {
		case !slices.ContainsFunc(inst.VIPs, has):
			not = append(not, m.V)
		case !slices.ContainsFunc(inst.VIPs, func(a config.Address) bool { return !has(a) }):
			held = append(held, m.V)
		}
	}
	if len(held) == 0 || len(not) == 0 {
		return ""
	}
	return fmt.Sprintf("holds the VIPs of %v but not those of %v, of one sync group %s", held, not, g.Name)
}

// about finds what a process has said of a name.
func (p *process) about(name string) *told {
	i := slices.IndexFunc(p.told, func(t told) bool { return t.name == name })
	if i < 0 {
		p.told = append(p.told, told{name: name})
		i = len(p.told) - 1
	}
	return &p.told[i]
}

// transition judges a transition that a process reports.
func (j *judge) transition(h *Host, en node.Entry) {
	if h.proc == nil || en.From == "" {
		return
	}
	t := h.proc.about(en.Instance)
	var wrong string
	switch {
	case en.Reason == "":
		wrong = "without a reason"
	case en.From == en.To:
		wrong = "to where it is"
	case t.state != "" && t.state != en.From:
		wrong = "though it was " + t.state
	}
	t.state = en.To
	j.disorder(h, wrong, "says that %s goes from %s to %s %s", en.Instance, en.From, en.To)
}

// notified judges what a notify script is told; words about priorities and packets are no states.
func (j *judge) notified(h *Host, a node.Notify) {
	switch a.State {
	case vrrp.Master.String(), vrrp.Backup.String(), vrrp.Fault.String():
	default:
		return
	}
	t := h.proc.about(a.Name)
	var wrong string
	switch {
	case t.notified == a.State:
		wrong = "twice"
	case t.state != "" && t.state != a.State:
		wrong = "though it is " + t.state
	}
	t.notified = a.State
	j.disorder(h, wrong, "notifies of %s %s %s %s", a.Kind, a.Name, a.State)
}

func (j *judge) disorder(h *Host, wrong, format string, args ...any) {
	if wrong == "" {
		return
	}
	j.torn++
	j.w.note("", EventViolation, "S6 VIOLATED: "+h.Name+" "+fmt.Sprintf(format, append(args, wrong)...))
}

// together sums up S6; there is nothing to say where no sync group is and nothing is wrong.
func (j *judge) together() (line string, ok bool) {
	groups := slices.ContainsFunc(j.w.hosts, func(h *Host) bool { return h.conf != nil && len(h.conf.SyncGroups) > 0 })
	if j.torn == 0 && !groups {
		return "", true
	}
	return tally("S6 sync groups", j.torn)
}
