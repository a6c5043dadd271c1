package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"quorate/node"
)

// linkNews is a node.Link with the interface index, which sockets need.
type linkNews struct {
	link  node.Link
	index int
	epoch uint64 // of the installer, before the addresses were read
	// gone are addresses that were deleted since the last reading, whoever did that and whether or not they are back.
	gone []netip.Prefix
}

// links watches interfaces by netlink and delivers what changed.
//
// Every notification only marks an interface; what is delivered is read anew. So a
// lost notification (ENOBUFS), a reordered or a half one can make news late, never wrong.
type links struct {
	log  *slog.Logger
	h    *netlink.Handle
	out  func(linkNews)
	kick chan struct{}
	// stamp is read before every reading and travels with it; nil: 0.
	stamp func() uint64

	gone map[int][]netip.Prefix // by index: deleted since the last complete reading of addresses; Run's alone

	mu      sync.Mutex
	watched map[string]bool // value: news is owed even if nothing changed
}

const (
	linkPause = 20 * time.Millisecond  // least time between two readings
	linkRetry = time.Second            // after a failed subscription
	netlinkRx = 4 << 20                // room for the notifications of a burst of addresses
	dumpPause = 100 * time.Millisecond // after a failed reading
)

func newLinks(log *slog.Logger, out func(linkNews)) (*links, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	if err := h.SetSocketTimeout(time.Second); err != nil {
		h.Close()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &links{log: log, h: h, out: out, kick: make(chan struct{}, 1),
		gone: map[int][]netip.Prefix{}, watched: map[string]bool{}}, nil
}

// Watch asks for news of an interface, at once and on every change.
func (l *links) Watch(name string) {
	l.mu.Lock()
	l.watched[name] = true
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Run delivers news until ctx ends.
func (l *links) Run(ctx context.Context) {
	defer l.h.Close()
	last := map[string]linkNews{}
	for ctx.Err() == nil {
		if err := l.session(ctx, last); err != nil && ctx.Err() == nil {
			l.log.Warn("Netlink: subscription lost, reading everything again", "error", err)
			sleep(ctx, linkRetry/10)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// mayForceBuffers says whether a socket may be given more memory than the host's limit. In a user namespace
// (a lab without root) it may not; the limit is enough there.
func mayForceBuffers() bool {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, netlinkRx) == nil
}

// session lives as long as its subscriptions, which end when the kernel dropped notifications.
func (l *links) session(ctx context.Context, last map[string]linkNews) error {
	done := make(chan struct{})
	lch, ach := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64)
	var mu sync.Mutex
	var why error
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		why = errors.Join(why, err)
	}
	force := mayForceBuffers()
	if err := netlink.LinkSubscribeWithOptions(lch, done, netlink.LinkSubscribeOptions{
		ErrorCallback: note, ReceiveBufferSize: netlinkRx, ReceiveBufferForceSize: force}); err != nil {
		close(done)
		sleep(ctx, linkRetry)
		return err
	}
	defer func() { close(done); drain(lch) }()
	if err := netlink.AddrSubscribeWithOptions(ach, done, netlink.AddrSubscribeOptions{
		ErrorCallback: note, ReceiveBufferSize: netlinkRx, ReceiveBufferForceSize: force}); err != nil {
		sleep(ctx, linkRetry)
		return err
	}
	defer func() { go drain(ach) }()

	// Subscribed first, read second: no change falls between.
	addrs, due := true, time.Now() // the addresses are to be read, not before due
	for ctx.Err() == nil {
		full := addrs && !time.Now().Before(due)
		began := time.Now()
		err := l.read(last, full)
		switch {
		case errors.Is(err, netlink.ErrDumpInterrupted):
			l.log.Debug("Netlink: addresses change while they are read, reading again")
		case err != nil:
			l.log.Warn("Netlink: interfaces cannot be read, trying again", "error", err)
			sleep(ctx, dumpPause)
			continue
		}
		if full {
			// News travels at once when all was quiet; thousands of addresses that come and go are read
			// for a fifth of the time.
			due = time.Now().Add(max(linkPause, 4*time.Since(began)))
			addrs = err != nil
		}
		var again <-chan time.Time
		if addrs {
			again = time.After(time.Until(due))
		}
		ok := true
		var u netlink.AddrUpdate
		select {
		case <-ctx.Done():
		case <-again:
		case <-l.kick:
			addrs = true
		case _, ok = <-lch: // links are read at once and alone: what goes down must not wait for addresses
		case u, ok = <-ach:
			addrs = true
			l.deleted(u)
			for ok && len(ach) > 0 {
				u, ok = <-ach
				l.deleted(u)
			}
			if again != nil && ok { // nothing to do before due
				select {
				case <-ctx.Done():
				case <-again:
				case _, ok = <-lch:
				}
			}
		}
		for ok && len(lch) > 0 {
			_, ok = <-lch
		}
		if !ok {
			mu.Lock()
			defer mu.Unlock()
			return why
		}
	}
	return nil
}

// deleted remembers an address that went: one that came and went between two readings is to be missed all the same.
func (l *links) deleted(u netlink.AddrUpdate) {
	if p, ok := prefix(&u.LinkAddress); ok && !u.NewAddr && len(l.gone[u.LinkIndex]) < goneLimit {
		l.gone[u.LinkIndex] = append(l.gone[u.LinkIndex], p)
	}
}

// goneLimit bounds what is remembered of one interface.
const goneLimit = 1 << 14

// passed is what an interface was before addresses went that no reading saw: it had those in was, in now and those that are gone. ok is
// false if there are none of the last.
func passed(was, now node.Link, gone []netip.Prefix) (between node.Link, ok bool) {
	had := map[netip.Prefix]bool{}
	for _, p := range slices.Concat(was.Addrs, was.Addrs6, now.Addrs, now.Addrs6) {
		had[p] = true
	}
	between = now
	between.Addrs, between.Addrs6 = slices.Clone(now.Addrs), slices.Clone(now.Addrs6)
	for _, p := range gone {
		if had[p] {
			continue
		}
		had[p], ok = true, true
		if p.Addr().Is4() {
			between.Addrs = append(between.Addrs, p)
		} else {
			between.Addrs6 = append(between.Addrs6, p)
		}
	}
	return between, ok
}

func drain[T any](ch <-chan T) {
	for range ch {
	}
}

// read reads every watched interface, with full also the addresses, and delivers those that changed.
func (l *links) read(last map[string]linkNews, full bool) error {
	l.mu.Lock()
	names := sortedKeys(l.watched)
	l.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	var epoch uint64
	if l.stamp != nil {
		epoch = l.stamp()
	}
	var addrs, addrs6 map[int][]netip.Prefix
	var interrupted error
	if full {
		addrs, addrs6, interrupted = l.addresses()
		if interrupted != nil && !errors.Is(interrupted, netlink.ErrDumpInterrupted) {
			return interrupted
		}
	}
	for _, name := range names {
		n, err := l.link(name, addrs, addrs6)
		if err != nil {
			return err
		}
		n.epoch = epoch
		if !full || interrupted != nil {
			// The addresses follow; that an interface went down must not wait for them.
			was, known := last[name]
			if n.link.Exists && (!known || was.index != n.index) {
				select { // nobody may ever tell of an address of it
				case l.kick <- struct{}{}:
				default:
				}
				continue
			}
			if n.link.Exists {
				n.link.Addrs, n.link.Addrs6 = was.link.Addrs, was.link.Addrs6
			}
		}
		l.mu.Lock()
		owed := l.watched[name]
		l.watched[name] = false
		l.mu.Unlock()
		if full && interrupted == nil && n.index != 0 {
			n.gone = l.gone[n.index]
			owed = owed || len(n.gone) > 0
		}
		if was, known := last[name]; known && !owed && sameNews(was, n) {
			continue
		}
		last[name] = n
		l.out(n)
	}
	if full && interrupted == nil {
		clear(l.gone)
	}
	return interrupted
}

func sameNews(a, b linkNews) bool {
	x, y := a.link, b.link
	return a.index == b.index && x.Exists == y.Exists && x.Up == y.Up && x.MAC == y.MAC &&
		slices.Equal(x.Addrs, y.Addrs) && slices.Equal(x.Addrs6, y.Addrs6)
}

// addresses dumps the addresses by interface index, in the kernel's order; no IPv6 address that cannot be used yet.
func (l *links) addresses() (v4, v6 map[int][]netip.Prefix, err error) {
	list, err := l.h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, nil, fmt.Errorf("addresses: %w", err)
	}
	v4, v6 = map[int][]netip.Prefix{}, map[int][]netip.Prefix{}
	for _, a := range list {
		p, ok := prefix(a.IPNet)
		switch {
		case !ok || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0:
		case p.Addr().Is4():
			v4[a.LinkIndex] = append(v4[a.LinkIndex], p)
		default:
			v6[a.LinkIndex] = append(v6[a.LinkIndex], p)
		}
	}
	return v4, v6, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits), ok
}

func (l *links) link(name string, addrs, addrs6 map[int][]netip.Prefix) (linkNews, error) {
	n := linkNews{link: node.Link{Name: name}}
	k, err := l.h.LinkByName(name)
	var gone netlink.LinkNotFoundError
	switch {
	case errors.As(err, &gone), errors.Is(err, unix.ENODEV):
		return n, nil
	case err != nil:
		return n, fmt.Errorf("interface %s: %w", name, err)
	}
	a := k.Attrs()
	const up = unix.IFF_UP | unix.IFF_RUNNING // keepalived judges by the same two
	n.index = a.Index
	n.link.Exists, n.link.Up, n.link.Addrs = true, a.RawFlags&up == up, addrs[a.Index]
	n.link.Addrs6 = addrs6[a.Index]
	if len(a.HardwareAddr) == len(n.link.MAC) {
		n.link.MAC = [6]byte(a.HardwareAddr)
	}
	return n, nil
}

// interfaceExists answers for the check of a new configuration.
func interfaceExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}
