package node

import (
	"fmt"
	"slices"

	"quorate/config"
	"quorate/vrrp"
)

// group is a vrrp_sync_group: instances that are MASTER together or not at all.
type group struct {
	cfg     *config.SyncGroup
	global  *config.Global
	g       *vrrp.SyncGroup
	members []*instance
}

// configureGroups ties instances together as a configuration says. A group whose members did not change goes on; the
// members of another go on in the state they are in.
func (e *Elector) configureGroups(c *config.Config) {
	old := e.groups
	e.groups = nil
	for _, cg := range c.SyncGroups {
		var members []*instance
		for _, name := range cg.Members {
			if at := slices.IndexFunc(e.instances, func(i *instance) bool { return i.cfg.Name == name.V }); at >= 0 {
				members = append(members, e.instances[at])
			}
		}
		if len(members) == 0 {
			continue
		}
		at := slices.IndexFunc(old, func(g *group) bool { return slices.Equal(g.members, members) && g.cfg.Name == cg.Name })
		if at >= 0 {
			old[at].cfg, old[at].global = cg, &c.Global
			e.groups = append(e.groups, old[at])
			old = slices.Delete(slices.Clone(old), at, at+1)
			continue
		}
		e.groups = append(e.groups, &group{cfg: cg, global: &c.Global, members: members})
	}
	for _, g := range old { // first let go, then tie anew
		g.g.Dissolve(e.now, e.last)
		g.carryOut(e)
		for _, i := range g.members {
			i.group = nil
			i.updateDue(e)
		}
	}
	for _, g := range e.groups {
		if g.g != nil {
			continue
		}
		var machines []*vrrp.Instance
		for _, i := range g.members {
			machines = append(machines, i.m)
			i.group = g
		}
		g.g = vrrp.NewSyncGroup(g.cfg.Name, machines)
	}
}

// step gives an event to one member and carries out what follows for all.
func (g *group) step(e *Elector, i *instance, ev vrrp.Event) {
	g.g.Step(e.now, slices.Index(g.members, i), ev, e.last)
	g.carryOut(e)
}

func (g *group) carryOut(e *Elector) {
	for _, a := range slices.Clone(g.g.Ready()) {
		if t, ok := a.Action.(vrrp.GroupTransition); ok {
			g.transition(e, t)
		} else {
			g.members[a.Member].handle(e, a.Action)
		}
	}
	for _, i := range g.members {
		i.updateDue(e)
	}
}

func (g *group) transition(e *Elector, t vrrp.GroupTransition) {
	e.report(Entry{Instance: g.cfg.Name, Event: "vrrp.group", From: t.From.String(), To: t.To.String(), Reason: t.Reason.String(),
		Detail: t.Detail, Warn: t.To == vrrp.Fault})
	switch {
	case t.To == vrrp.Init:
	case t.From == vrrp.Init && slices.ContainsFunc(g.members, func(i *instance) bool { return i.adopting }): // see instance.transition
		e.tellAgain(g.notification(t.To.String()))
	default:
		g.notify(e, t.To.String())
	}
}

func (g *group) notify(e *Elector, state string) { e.notify(g.notification(state)) }

func (g *group) notification(state string) Notify {
	specific := map[string]*config.Command{"MASTER": g.cfg.NotifyMaster, "BACKUP": g.cfg.NotifyBackup, "FAULT": g.cfg.NotifyFault, "STOP": g.cfg.NotifyStop}[state]
	n := Notify{Kind: "GROUP", Name: g.cfg.Name, State: state, Fifo: hasFifo(g.global), Mail: mailed(g.cfg.SMTPAlert, g.global, state)}
	n.add(specific, g.cfg.Notify)
	return n
}

// othersMaster says whether a member that joins finds all the others MASTER.
func (g *group) othersMaster(i *instance) bool {
	return len(g.members) > 1 && !slices.ContainsFunc(g.members, func(o *instance) bool { return o != i && o.m.State() != vrrp.Master })
}

// hasFifo says whether somebody reads of notifications in a named pipe.
func hasFifo(g *config.Global) bool {
	return g.NotifyFifo.Path.V != "" || g.VRRPNotifyFifo.Path.V != ""
}

// mailed says whether a state is worth a mail: smtp_alert of the instance or group, else smtp_alert_vrrp, else smtp_alert.
func mailed(own config.Value[bool], g *config.Global, state string) bool {
	if len(g.NotificationEmail) == 0 || g.SMTPServer.V == "" || state == "FAULT" && g.NoEmailFaults.V ||
		!slices.Contains([]string{"MASTER", "BACKUP", "FAULT"}, state) {
		return false
	}
	for _, v := range []config.Value[bool]{own, g.SMTPAlertVRRP, g.SMTPAlert} {
		if v.Set {
			return v.V
		}
	}
	return own.V
}

// add appends the specific script and the generic one, which is told what happened (keepalived's order).
func (n *Notify) add(specific, generic *config.Command) {
	if specific != nil {
		n.Commands = append(n.Commands, NotifyCommand{Command: *specific})
	}
	if generic != nil {
		n.Commands = append(n.Commands, NotifyCommand{Command: *generic, Extra: []string{n.Kind, n.Name, n.State, fmt.Sprint(n.Priority)}})
	}
}
