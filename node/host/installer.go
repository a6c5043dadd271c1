package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/node"
)

// installer carries out, beside the event loop, everything about addresses, routes and rules that may take long:
// adding and removing them, announcing addresses, and noting what is held. The event loop only queues; with thousands of
// addresses the kernel needs seconds, and no advert may wait for that.
//
// What holds:
//   - what is wanted of one address last is what the kernel ends up with;
//   - a route or a rule is changed after everything that was queued before;
//   - an address is announced after it was added, never after it is to be removed;
//   - packets for an address that is not to be accepted are refused before it is added, and until it was removed;
//   - announcements go round: every address once before any a second time;
//   - a note of held addresses is written before the kernel is changed further.
type installer struct {
	out         func(any)               // changeResult and announceResult
	save        func([]node.Held) error // may be nil
	addrs       *addresses
	announcer   announcer
	wake        chan struct{}
	saveFailed  bool          // last time
	idle        chan struct{} // closed when everything is done after Close
	wall        firewall
	wallFailed  bool // last time
	virtual     vmacs
	vmacsFailed bool

	epoch atomic.Uint64 // counts operations queued and batches done

	mu        sync.Mutex
	busy      bool // operations are under way
	slots     map[hostAddress]*slot
	order     []*slot // those with something to do, first come first served
	held      []node.Held
	unsaved   bool
	refused   []netip.Addr // nil until it is known
	style     tableStyle
	leftTable string // what a killed worker may have left under another name
	wallDue   bool   // to be brought in line, or looked at
	wantVMACs []node.VMAC
	vmacsDue  bool
	closed    bool
	failures  []error // of removals after Close
}

// hostAddress is an address on an interface, whatever its prefix length; or a route or rule, then line is all it has.
type hostAddress struct {
	dev  string
	addr netip.Addr
	line string
}

// slot is what is to be done to one address.
type slot struct {
	key hostAddress
	ops []queuedOp
}

type queuedOp struct {
	change
	seq  uint64
	tell bool // of success too
}

// changeResult tells the event loop that an operation failed, or what became of one it repeats.
type changeResult struct {
	what string
	seq  uint64
	err  error // errAsWanted if it was so already
}

// closeLimit is for what is queued at the end; a watchdog waits five seconds.
const closeLimit = 4 * time.Second

func newInstaller(out func(any), save func([]node.Held) error) (*installer, error) {
	addrs, err := newAddresses()
	if err != nil {
		return nil, err
	}
	q := &installer{
		out: out, save: save, addrs: addrs, announcer: newAnnouncer(),
		wake: make(chan struct{}, 1), idle: make(chan struct{}),
		wall:  firewall{replace: replaceTable},
		slots: map[hostAddress]*slot{},
		style: tableStyleOf(config.Global{}),
	}
	go q.run()
	return q, nil
}

// Change queues an operation. What was queued for the same thing and does not matter any more is dropped.
func (q *installer) Change(op change, seq uint64, tell bool) {
	key := op.slot()
	q.epoch.Add(1)
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.slots[key]
	if s != nil && key.line != "" { // its turn comes after what it needs
		q.order = slices.DeleteFunc(q.order, func(o *slot) bool { return o == s })
		s = nil
	}
	if s == nil {
		s = &slot{key: key}
		q.slots[key] = s
		q.order = append(q.order, s)
	}
	s.ops = slices.DeleteFunc(s.ops, func(o queuedOp) bool {
		return o.what() == op.what() && (op.removes() || !o.removes())
	})
	s.ops = append(s.ops, queuedOp{op, seq, tell})
	if op.removes() {
		q.announcer.forget(key)
	}
	q.kick()
}

// Settled says whether nothing was changed, or is about to be, since the epoch was read: only then does a
// list of the kernel's addresses that was read in between say what somebody else did.
func (q *installer) Settled(epoch uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.busy && len(q.order) == 0 && q.epoch.Load() == epoch
}

// Remember queues a note of what is held; only the latest is written.
func (q *installer) Remember(held []node.Held) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held, q.unsaved = held, true
	q.kick()
}

// Refuse says for which addresses, sorted, packets are to be refused.
func (q *installer) Refuse(addrs []netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refused, q.wallDue = append([]netip.Addr{}, addrs...), true
	q.kick()
}

// Style says what the firewall table is to be like, and which one a worker before this one had; empty: none.
func (q *installer) Style(s tableStyle, left string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if left != "" && left != s.name {
		q.leftTable = left
	}
	if q.style != s {
		q.style, q.wallDue = s, q.wallDue || q.refused != nil
		q.kick()
	}
}

// CheckFirewall looks whether what is refused still is, and tries again what failed.
func (q *installer) CheckFirewall() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.refused) > 0 {
		q.wallDue = true
		q.kick()
	}
}

// guard brings the firewall in line: what is new before the next operations, what is over when there are none.
func (q *installer) guard() {
	q.mu.Lock()
	want, due, quiet, style := q.refused, q.wallDue, len(q.order) == 0, q.style
	if q.leftTable != "" {
		q.wall.how, q.leftTable = tableStyle{name: q.leftTable}, ""
	}
	q.wallDue = due && !quiet
	q.mu.Unlock()
	if !due {
		return
	}
	gone := q.wall.Gone()
	if !quiet {
		want = append(slices.Clone(want), q.wall.installed...)
		slices.SortFunc(want, netip.Addr.Compare)
		want = slices.Compact(want)
	}
	err := q.wall.Set(style, want)
	if (err != nil) != q.wallFailed || gone && err == nil {
		q.wallFailed = err != nil
		q.out(firewallResult{err, gone, style.name})
	}
}

// firewallResult tells of a change between working and not, and that the table was gone and is back.
type firewallResult struct {
	err   error
	gone  bool
	table string
}

// Busy says whether a note waits to be written.
func (q *installer) Busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.unsaved
}

func (q *installer) kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Close carries out what is queued, except announcements, and returns what could not be done.
func (q *installer) Close() []error {
	q.mu.Lock()
	q.closed = true
	q.announcer.forgetAll()
	q.kick()
	q.mu.Unlock()
	t := time.NewTimer(closeLimit)
	defer t.Stop()
	select {
	case <-q.idle:
	case <-t.C:
		q.mu.Lock()
		defer q.mu.Unlock()
		return append(q.failures, fmt.Errorf("%d changes were not made within %v", len(q.order), closeLimit))
	}
	return q.failures
}

func (q *installer) run() {
	defer close(q.idle)
	defer func() {
		q.addrs.Close()
		q.announcer.close()
	}()
	for {
		q.remember()
		q.makeVMACs()
		q.guard()
		ops := q.nextOps()
		q.apply(ops)
		sent, due := q.announce()
		switch {
		case len(ops) > 0:
		case sent:
			time.Sleep(announcePause)
		default:
			q.mu.Lock()
			done := q.closed && len(q.order) == 0 && !q.unsaved && !q.wallDue && !q.vmacsDue
			again := q.wallDue || q.vmacsDue
			q.mu.Unlock()
			if done {
				return
			}
			if !again {
				q.sleep(due)
			}
		}
	}
}

func (q *installer) remember() {
	q.mu.Lock()
	held, due := q.held, q.unsaved
	q.held, q.unsaved = nil, false
	q.mu.Unlock()
	if due && q.save != nil {
		err := q.save(held)
		if (err != nil) != q.saveFailed {
			q.saveFailed = err != nil
			q.out(memoryResult{err})
		}
	}
}

// memoryResult tells whether the note of held addresses could be written.
type memoryResult struct{ err error }

// nextOps takes what fits into one packet.
func (q *installer) nextOps() []queuedOp {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ops []queuedOp
	n := 0
	for n < len(q.order) && (n == 0 || len(ops)+len(q.order[n].ops) <= addressBatch) {
		ops = append(ops, q.order[n].ops...)
		delete(q.slots, q.order[n].key)
		n++
	}
	q.order = q.order[n:]
	q.busy = len(ops) > 0
	if len(q.order) == 0 {
		q.order = nil // let the array go
	}
	return ops
}

func (q *installer) apply(ops []queuedOp) {
	if len(ops) == 0 {
		return
	}
	plain := make([]change, len(ops))
	for k, op := range ops {
		plain[k] = op.change
	}
	for k, err := range q.addrs.Apply(plain) {
		op := ops[k]
		failed := err != nil && !errors.Is(err, errAsWanted)
		if !failed && !op.tell {
			continue
		}
		q.mu.Lock()
		if failed && !op.removes() {
			q.announcer.forget(op.slot())
		}
		closed := q.closed
		if failed && closed {
			q.failures = append(q.failures, err)
		}
		q.mu.Unlock()
		if !closed {
			q.out(changeResult{op.what(), op.seq, err})
		}
	}
	q.epoch.Add(1)
	q.mu.Lock()
	q.busy = false
	q.mu.Unlock()
}

// errNoInterface is what the kernel would say, were it asked.
var errNoInterface = fmt.Errorf("no such interface: %w", unix.ENODEV)
