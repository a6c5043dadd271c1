package node

import (
	"fmt"
	"net/netip"
	"slices"

	"quorate/config"
	"quorate/vrrp"
)

// link is what the machine knows of an interface.
type link struct {
	Link
	known   bool // a Link event was seen
	tracker *vrrp.Tracker
	sockets []Socket          // as last told to the driver
	deaf    map[Socket]string // what of them cannot be opened, plain, and why
}

// up is the link as it counts: interface_up_down_delays keep a change back for a while.
func (l *link) up() bool { return l.Exists && l.tracker.Health() == vrrp.HealthGood }

// delays sets how long changes are kept back; Elector.delayed are the links where they are.
func (e *Elector) delays(l *link, list []config.LinkDelay) {
	c := vrrp.TrackerConfig{Kind: vrrp.TrackInterface, Name: l.Name}
	for _, d := range list {
		if d.Iface == l.Name {
			c.UpDelay, c.DownDelay = d.Up, d.Down
		}
	}
	if l.tracker.Reconfigure(c); c.UpDelay+c.DownDelay > 0 {
		e.delayed = append(e.delayed, l)
		return
	}
	if l.known { // one that was being kept back counts now
		l.tracker.Result(e.now, l.Exists && l.Up, linkWord(l.Link))
	}
}

// link takes news of an interface.
func (e *Elector) link(ev Link) {
	l := e.links[ev.Name]
	if l == nil {
		return // an answer to a Watch of a configuration that is gone
	}
	was := l.Link
	l.Link, l.known = ev, true
	l.Addrs, l.Addrs6 = slices.Clone(ev.Addrs), slices.Clone(ev.Addrs6)
	if !ev.Exists { // that counts at once
		l.tracker = vrrp.NewTracker(l.tracker.Config())
	}
	l.tracker.Result(e.now, ev.Exists && ev.Up, linkWord(ev))
	if due, pending := l.tracker.Deadline(); pending && was.Up != ev.Up {
		e.report(Entry{Instance: l.Name, Event: "link.delayed", Detail: fmt.Sprintf("%s, which counts in %s unless it changes back", linkWord(ev), due-e.now)})
	}
	e.listen(l)
	e.evaluate()
	if was.Exists && ev.Exists && ev.Up && was.MAC != ev.MAC {
		e.announceFrom(ev)
	}
	had, has := addressSet(was.all()), addressSet(ev.all())
	for _, i := range e.instances {
		i.repair(e, ev, had, has)
	}
	e.repairStatic(was, ev, had, has)
}

// deaf takes news of a socket. Who hears nobody would be a second owner.
func (e *Elector) deaf(ev Deaf) {
	l := e.links[ev.Interface]
	if l == nil {
		return
	}
	if l.deaf == nil {
		l.deaf = map[Socket]string{}
	}
	l.deaf[ev.Socket.plain()] = ev.Why
	e.evaluate()
}

// announceFrom announces what is on an interface whose Ethernet address has changed: neighbours send to the old one still.
func (e *Elector) announceFrom(l Link) {
	n := 0
	for _, i := range e.instances {
		if i.m.State() != vrrp.Master {
			continue
		}
		for range i.cfg.GARPMasterRepeat.V {
			for _, v := range i.all { // also those that are the host's own
				if i.dev(v) == l.Name {
					e.emit(SendARP{Interface: l.Name, Addr: v.Prefix.Addr()})
					n++
				}
			}
		}
	}
	if n > 0 {
		e.report(Entry{Instance: l.Name, Event: "link.mac", Detail: fmt.Sprintf("the Ethernet address is %s now, the virtual addresses are announced with it", MAC(l.MAC))})
	}
}

// linkWord says how an interface is.
func linkWord(l Link) string {
	switch {
	case !l.Exists:
		return "does not exist"
	case !l.Up:
		return "is down"
	}
	return "is up"
}

func addressSet(list []netip.Prefix) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(list))
	for _, p := range list {
		set[p.Addr()] = true
	}
	return set
}

// linkSettled reports that a change has lasted for its delay.
func (e *Elector) linkSettled(l *link) {
	en := Entry{Instance: l.Name, Event: "link.down", Detail: l.tracker.Detail() + " and has been for its delay", Warn: true}
	if l.up() {
		en.Event, en.Warn = "link.up", false
	}
	e.report(en)
}
