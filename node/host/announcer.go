package host

import (
	"net/netip"
	"slices"
	"time"

	"quorate/config"
)

// announcer tells a segment where addresses are, as the installer's part: its fields are guarded by the installer's lock,
// but for the sockets, which its goroutine has to itself.
type announcer struct {
	ring   []*announcement
	byAddr map[hostAddress]*announcement
	asks   []*ask // in the order of at
	asking map[hostAddress]*ask
	asked  map[hostAddress]time.Duration // the last time
	paces  map[string]*pace              // by segment; those of a garp_group share one
	pace   pace                          // of all other segments

	socket   *arpSocket // nil until it is needed
	troubled map[string]bool
}

// announcement is an address that others are to be told of, some more times.
type announcement struct {
	location
	left int
}

// location is an address where it is, to the Ethernet.
type location struct {
	key     hostAddress
	segment string // the interface that frames leave by
	index   int
	mac     [6]byte
}

// ask is a question who has an address that was announced. Only another host can answer it.
type ask struct {
	location
	at   time.Duration
	dead bool
}

// pace spaces what is sent on a segment: vrrp_garp_interval, vrrp_gna_interval, garp_group.
type pace struct {
	arp, na         time.Duration // 0: as fast as it gets
	nextARP, nextNA time.Duration
}

// next is when an announcement may be sent.
func (p *pace) next(a netip.Addr) (at *time.Duration, interval time.Duration) {
	if a.Is4() {
		return &p.nextARP, p.arp
	}
	return &p.nextNA, p.na
}

// announceResult tells of a change between working and not.
type announceResult struct {
	dev string
	err error
}

const (
	announceBatch = 32               // frames sent in a row: a transmit ring has room for that
	announcePause = time.Millisecond // then the device gets time; adverts go in between
	maxAnnounce   = 100              // outstanding announcements of one address
	// askDelay is from an announcement to the question whether somebody else has the address: an owner that has
	// just lost it is to have given it up.
	askDelay = time.Second
	askEvery = 10 * time.Second // at most: who answers is announced to, and that is followed by a question
)

func newAnnouncer() announcer {
	return announcer{byAddr: map[hostAddress]*announcement{}, asking: map[hostAddress]*ask{}, asked: map[hostAddress]time.Duration{},
		paces: map[string]*pace{}, troubled: map[string]bool{}}
}

func (n *announcer) forget(key hostAddress) {
	if a := n.byAddr[key]; a != nil {
		a.left = 0 // the ring drops it when its turn comes
		delete(n.byAddr, key)
	}
	if a := n.asking[key]; a != nil {
		a.dead = true
		delete(n.asking, key)
	}
	delete(n.asked, key)
}

func (n *announcer) forgetAll() {
	n.ring, n.byAddr = nil, map[hostAddress]*announcement{}
	n.asks, n.asking, n.asked = nil, map[hostAddress]*ask{}, map[hostAddress]time.Duration{}
}

func (n *announcer) close() {
	if n.socket != nil {
		_ = n.socket.Close()
	}
}

// paceOf is that of a segment.
func (n *announcer) paceOf(segment string) *pace {
	p := n.paces[segment]
	if p == nil {
		p = &pace{arp: n.pace.arp, na: n.pace.na}
		n.paces[segment] = p
	}
	return p
}

// Pace sets how fast announcements are sent: on the segments in the map, which may share one, and on all others.
func (q *installer) Pace(paces map[string]*pace, others pace) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.announcer.paces, q.announcer.pace = paces, others
	q.kick()
}

// Announce queues one gratuitous ARP or unsolicited neighbour advertisement.
func (q *installer) Announce(p location) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	n := &q.announcer
	a := n.byAddr[p.key]
	if a == nil {
		a = &announcement{}
		n.byAddr[p.key] = a
		n.ring = append(n.ring, a)
	}
	a.location = p
	a.left = min(a.left+1, maxAnnounce)
	q.kick()
}

// announce sends the next few, and says whether there were any; if not, when the next one is due, 0 for never.
func (q *installer) announce() (sent bool, due time.Duration) {
	now := instant()
	q.mu.Lock()
	list, due := q.announcer.next(now, func(key hostAddress) bool { return q.slots[key] == nil })
	asks, askDue := q.announcer.nextAsks(now)
	q.mu.Unlock()
	if due == 0 || askDue != 0 && askDue < due {
		due = askDue
	}
	for _, p := range list {
		q.send(p, (*arpSocket).Announce)
	}
	for _, p := range asks {
		q.send(p, (*arpSocket).Ask)
	}
	return len(list)+len(asks) > 0, due
}

// next takes announcements whose address has nothing to wait for and whose segment may have one.
func (n *announcer) next(now time.Duration, free func(hostAddress) bool) (out []location, due time.Duration) {
	var waiting, again []*announcement
	k := 0
	for ; k < len(n.ring) && len(out) < announceBatch; k++ {
		a := n.ring[k]
		if a.left == 0 {
			continue // given up meanwhile
		}
		at, interval := n.paceOf(a.segment).next(a.key.addr)
		if !free(a.key) {
			waiting = append(waiting, a)
			continue
		}
		if now < *at {
			waiting = append(waiting, a)
			if due == 0 || *at < due {
				due = *at
			}
			continue
		}
		*at = now + interval
		out = append(out, a.location)
		if a.left--; a.left > 0 {
			again = append(again, a)
			continue
		}
		delete(n.byAddr, a.key)
		n.askLater(a.location, now)
	}
	// Those that wait keep their place: every address has one turn before any has a second.
	n.ring = slices.Concat(waiting, n.ring[k:], again)
	return out, due
}

func (n *announcer) askLater(p location, now time.Duration) {
	if n.asking[p.key] != nil {
		return
	}
	a := &ask{location: p, at: now + askDelay}
	if last, ok := n.asked[p.key]; ok {
		a.at = max(a.at, last+askEvery)
	}
	n.asking[p.key] = a
	at, _ := slices.BinarySearchFunc(n.asks, a.at, func(b *ask, t time.Duration) int {
		if b.at > t {
			return 1
		}
		return -1 // behind those of the same instant
	})
	n.asks = slices.Insert(n.asks, at, a)
}

func (n *announcer) nextAsks(now time.Duration) (out []location, due time.Duration) {
	for len(n.asks) > 0 && len(out) < announceBatch {
		a := n.asks[0]
		if !a.dead && a.at > now {
			return out, a.at
		}
		n.asks = n.asks[1:]
		if !a.dead {
			delete(n.asking, a.key)
			n.asked[a.key] = now
			out = append(out, a.location)
		}
	}
	return out, 0
}

// send sends one frame; the loop is told when it begins to fail and when that is over.
func (q *installer) send(p location, frame func(*arpSocket, location) error) {
	n := &q.announcer
	var err error
	if n.socket == nil {
		n.socket, err = openARP()
	}
	if err == nil {
		err = frame(n.socket, p)
	}
	if n.troubled[p.key.dev] != (err != nil) {
		n.troubled[p.key.dev] = err != nil
		q.out(announceResult{p.key.dev, err})
	}
}

// sleep waits for work, or until an instant; 0: none.
func (q *installer) sleep(until time.Duration) {
	if until == 0 {
		<-q.wake
		return
	}
	t := time.NewTimer(until - instant())
	defer t.Stop()
	select {
	case <-q.wake:
	case <-t.C:
	}
}

// pacesOf are vrrp_garp_interval and vrrp_gna_interval, and what garp_groups have instead.
func pacesOf(c *config.Config) (paces map[string]*pace, others pace) {
	others = pace{arp: c.Global.GARPInterval.V, na: c.Global.GNAInterval.V}
	paces = map[string]*pace{}
	for _, g := range c.GARPGroups {
		p := others
		if g.GARPInterval.Set {
			p.arp = g.GARPInterval.V
		}
		if g.GNAInterval.Set {
			p.na = g.GNAInterval.V
		}
		if g.Interface.Set {
			alone := p
			paces[g.Interface.V] = &alone
		}
		for _, i := range g.Interfaces {
			paces[i.V] = &p
		}
	}
	return paces, others
}
