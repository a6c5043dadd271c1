package node

import (
	"slices"
	"strings"

	"quorate/config"
	"quorate/vrrp"
)

func (i *instance) transition(e *Elector, t vrrp.Transition) {
	i.changed, i.reason, i.detail = e.now, t.Reason.String(), t.Detail
	i.cause, i.trigger = t.Cause, e.causes.trigger()
	event := "vrrp." + strings.ToLower(t.To.String())
	if t.Reason == vrrp.ReasonShutdown {
		event = "vrrp.stop"
	}
	e.report(Entry{Instance: i.cfg.Name, Event: event, From: t.From.String(), To: t.To.String(),
		Reason: i.reason, Detail: t.Detail, Warn: t.To == vrrp.Fault})
	switch {
	case t.To == vrrp.Init:
	case i.adopting: // nothing changed for anybody outside
		e.tellAgain(i.notification(t.To.String()))
	default:
		i.notify(e, t.To.String())
	}
}

// tellAgain runs the scripts of a notification that were ended with the worker before this one. What else there is to a notification was
// done then.
func (e *Elector) tellAgain(n Notify) {
	if slices.Contains(e.recovered.Untold, n.Subject()) {
		n.Fifo, n.Mail = false, false
		e.notify(n)
	}
}

// notify tells of a state, or of something else that keepalived has a word for.
func (i *instance) notify(e *Elector, state string) { e.notify(i.notification(state)) }

func (i *instance) notification(state string) Notify {
	c := i.cfg
	specific := map[string]*config.Command{"MASTER": c.NotifyMaster, "BACKUP": c.NotifyBackup, "FAULT": c.NotifyFault, "STOP": c.NotifyStop,
		"DELETED": c.NotifyDeleted, "MASTER_RX_LOWER_PRI": c.NotifyMasterRxLowerPri}[state]
	n := Notify{Kind: "INSTANCE", Name: c.Name, State: state, Priority: i.m.Priority(), Fifo: hasFifo(i.global), Mail: mailed(c.SMTPAlert, i.global, state)}
	generic := c.Notify
	if state == "MASTER_RX_LOWER_PRI" {
		generic = nil
	}
	n.add(specific, generic)
	return n
}

// tell notifies of a note that keepalived has a word for.
func (i *instance) tell(e *Elector, n vrrp.Note) {
	state := i.m.State()
	switch {
	case n.Kind == vrrp.NoteLowerPriority && state == vrrp.Master && !i.cfg.LowerPrioNoAdvert.V &&
		e.now-i.m.Since() >= i.cfg.AdvertInt.V/2: // before that it is the last word of the one we took over from
		i.notify(e, "MASTER_RX_LOWER_PRI")
	case n.Kind == vrrp.NotePriority && i.cfg.NotifyPriority.V && (state == vrrp.Master || state == vrrp.Backup):
		i.notify(e, state.String()+"_PRIORITY")
	}
}

// note reports what is no transition, never more than once a minute for the same sender and reason.
func (i *instance) note(e *Elector, n vrrp.Note) {
	detail := n.Detail
	if n.Kind == vrrp.NoteRejected {
		if r := e.refused(i, n); r != nil && r.known {
			detail += " (sent by " + MAC(r.MAC) + ")"
		}
	}
	i.tell(e, n)
	if n.Kind != vrrp.NotePriority {
		more, ok := i.told.due(e.now, subject{kind: "note", note: n.Kind, why: n.Reject, src: n.Src})
		if !ok {
			return // counted by reason all the same
		}
		detail += more
	}
	en := Entry{Instance: i.cfg.Name, Event: "vrrp." + n.Kind.String(), Detail: detail}
	if n.Kind == vrrp.NoteRejected {
		en.Reason, en.Warn = n.Reject.String(), true
	}
	e.report(en)
}
