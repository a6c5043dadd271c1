package host

import (
	"errors"
	"fmt"
	"net"

	"quorate/node"
)

// index of an interface; 0 if there is none.
func (e *elector) index(name string) int {
	if n := e.iface(name).news; n.index != 0 {
		return n.index
	}
	if i, err := net.InterfaceByName(name); err == nil {
		return i.Index
	}
	return 0
}

// lastIndex is that of the interface which had the name last, if it is still there under another one; else 0.
func (e *elector) lastIndex(name string) int {
	was := e.iface(name).lastIndex
	if was == 0 {
		return 0
	}
	if i, err := net.InterfaceByIndex(was); err != nil || i.Name == name {
		return 0
	}
	return was
}

// want queues what is to become of something.
func (e *elector) want(op change) {
	_, address := op.(addressOp)
	if !address {
		e.watchPaths()
	}
	w := &wish{op: op}
	e.wishes[op.what()] = w
	e.try(w, !address)
}

// try queues a wish; again asks for an answer even if all is well.
func (e *elector) try(w *wish, again bool) {
	e.wishSeq++
	w.seq = e.wishSeq
	if op, ok := w.op.(addressOp); ok {
		if op.index = e.index(op.dev); op.index == 0 && op.remove {
			op.index = e.lastIndex(op.dev) // renamed: the address is still there, and answered for
		}
		if op.index == 0 {
			if op.remove {
				e.settled(w, nil) // gone with its interface
			} else {
				e.settled(w, failedOp(op, errNoInterface))
			}
			return
		}
		w.op = op
	}
	e.install.Change(w.op, w.seq, again)
}

// settled takes the outcome of the latest operation of a wish.
func (e *elector) settled(w *wish, err error) {
	what := w.op.what()
	wasThere := errors.Is(err, errAsWanted)
	if wasThere {
		err = nil
	}
	e.Trouble(what, err)
	if w.looking && err == nil && !wasThere {
		e.Report(node.Entry{Event: "vrrp.repair", Warn: true, Detail: fmt.Sprintf("%s was gone, added again", what)})
	}
	w.failed, w.looking, w.done = err != nil, false, true
	if err == nil && w.op.removes() {
		delete(e.wishes, what)
	}
}

// recheck adds every route and rule again that is to be there: the kernel knows best whether it is. Its answer tells.
func (e *elector) recheck() {
	if e.paths == nil {
		return
	}
	for _, what := range sortedKeys(e.wishes) {
		w := e.wishes[what]
		if guarded(w.op) && !w.op.removes() && w.done && !w.failed {
			w.looking = true
			e.try(w, true)
		}
	}
}

// guarded says whether a route or rule that somebody took away is put back: not with no_track (keepalived.conf(5); 2.2.7, measured, keeps to it with addresses and rules, not with routes). Addresses
// are up to the machine.
func guarded(op change) bool {
	switch op := op.(type) {
	case routeOp:
		return !op.route.NoTrack
	case ruleOp:
		return !op.rule.NoTrack
	}
	return false
}

// watchPaths begins to listen for routes and rules that disappear, when there are any to care for.
func (e *elector) watchPaths() {
	if e.paths != nil {
		return
	}
	e.paths = newPathWatch(e.post)
	go e.paths.run(e.bg)
}

func (e *elector) announce(a node.SendARP) {
	i := e.iface(a.Interface)
	if i.news.index == 0 || i.news.link.MAC == [6]byte{} {
		return // lo, a tunnel: nobody there asks
	}
	e.install.Announce(location{hostAddress{dev: a.Interface, addr: a.Addr}, e.segment(a.Interface), i.news.index, i.news.link.MAC})
}

// retry tries again what failed.
func (e *elector) retry() {
	e.install.CheckFirewall()
	if len(e.vmacBad) > 0 {
		e.install.VMACs(e.vmacs)
	}
	for _, name := range sortedKeys(e.ifaces) {
		e.open(e.ifaces[name])
	}
	e.afterStep()
	for _, what := range sortedKeys(e.wishes) {
		w := e.wishes[what]
		if !w.failed {
			continue
		}
		e.try(w, true)
		if op, ok := w.op.(addressOp); ok && !op.remove {
			e.announce(node.SendARP{Interface: op.dev, Addr: op.addr.Prefix.Addr()})
		}
	}
}
