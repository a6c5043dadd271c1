package host

import (
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

func (e *elector) add(a node.AddAddress) {
	e.want(&wish{dev: a.Interface, addr: a.Address}, false)
}

func (e *elector) remove(a node.RemoveAddress) {
	e.want(&wish{remove: true, dev: a.Interface, addr: a.Address}, false)
}

// want queues what is to become of an address.
func (e *elector) want(w *wish, again bool) {
	key := keyOf(w.dev, w.addr)
	e.wishSeq++
	w.seq = e.wishSeq
	e.wishes[key] = w
	index := e.index(w.dev)
	switch {
	case index != 0:
		e.install.Change(addressOp{w.remove, index, w.dev, w.addr}, w.seq, again)
	case w.remove:
		e.settled(key, nil) // gone with its interface
	default:
		e.settled(key, fmt.Errorf("add %s to %s: %w", key.prefix, key.dev, errNoInterface))
	}
}

// settled takes the outcome of the latest operation on an address.
func (e *elector) settled(key addressKey, err error) {
	e.Trouble("address "+key.prefix+" on "+key.dev, err)
	w := e.wishes[key]
	w.failed = err != nil
	if err == nil && w.remove {
		delete(e.wishes, key)
	}
}

func (e *elector) announce(a node.SendARP) {
	i := e.iface(a.Interface)
	if i.news.index == 0 || i.news.link.MAC == [6]byte{} {
		return // lo, a tunnel: nobody there asks
	}
	e.install.Announce(a.Interface, i.news.index, i.news.link.MAC, a.Addr)
}

// retry tries again what failed.
func (e *elector) retry() {
	if e.memory != nil {
		e.remember()
	}
	for _, name := range sortedKeys(e.ifaces) {
		e.open(e.ifaces[name])
	}
	for key, w := range e.wishes {
		if !w.failed {
			continue
		}
		e.want(w, true)
		if w = e.wishes[key]; w != nil && !w.remove {
			e.announce(node.SendARP{Interface: w.dev, Addr: w.addr.Prefix.Addr()})
		}
	}
}
