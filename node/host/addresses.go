package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"quorate/config"
)

// addresses of one host: what adds and removes addresses, routes and rules. Not safe for concurrent use.
type addresses struct {
	fd  int
	seq uint32
	buf []byte
}

// change is one thing to add to the kernel's network configuration, or to remove: an addressOp, routeOp or ruleOp.
type change interface {
	removes() bool
	// what names it in reports, and tells it from others.
	what() string
	// slot is what must not be changed twice at a time.
	slot() hostAddress
	// message appends the netlink message.
	message(b []byte, seq uint32) ([]byte, error)
	// harmless: the kernel already is as it should be.
	harmless(err error) bool
}

// failedOp says what could not be done.
func failedOp(op change, err error) error {
	if op.removes() {
		return fmt.Errorf("remove %s: %w", op.what(), err)
	}
	return fmt.Errorf("add %s: %w", op.what(), err)
}

// addressOp adds or removes one address of an interface.
type addressOp struct {
	remove bool
	index  int
	dev    string
	addr   config.Address
}

const (
	// addressBatch is how many changes travel in one packet. The kernel carries them out while the sender
	// waits, so this also bounds how long a later one waits for an earlier one.
	addressBatch = 64
	addressRx    = 1 << 20 // room for that many refusals
)

func newAddresses() (*addresses, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	a := &addresses{fd: fd, buf: make([]byte, 64<<10)}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, addressRx)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1) // refusals without a copy of the request
	// A kernel that does not answer must not keep a stopping director for ever.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		a.Close()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return a, nil
}

func (a *addresses) Close() { _ = unix.Close(a.fd) }

// Add puts a virtual address on an interface; one that is there already is fine.
func (a *addresses) Add(index int, dev string, c config.Address) error {
	return a.one(addressOp{index: index, dev: dev, addr: c})
}

// Remove takes it away; one that is not there, on an interface that may be gone, is fine.
func (a *addresses) Remove(index int, dev string, c config.Address) error {
	return a.one(addressOp{remove: true, index: index, dev: dev, addr: c})
}

// RemoveAll carries out any number of removals.
func (a *addresses) RemoveAll(ops []change) error {
	var errs []error
	for part := range slices.Chunk(ops, addressBatch) {
		for _, err := range a.Apply(part) {
			if !errors.Is(err, errAsWanted) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (a *addresses) one(op change) error {
	if err := a.Apply([]change{op})[0]; !errors.Is(err, errAsWanted) {
		return err
	}
	return nil
}

// Apply carries out up to addressBatch operations in order, each whatever became of the others, in one
// packet of which only the last message asks for an answer: the kernel answers a refused one anyhow. What was there
// already, or was not, is no error, but errAsWanted.
func (a *addresses) Apply(ops []change) []error {
	errs := make([]error, len(ops))
	bySeq := map[uint32]int{}
	out := a.buf[:0]
	last := -1 // where the last message begins
	for k, op := range ops {
		a.seq++
		msg, err := op.message(out, a.seq)
		if err != nil {
			errs[k] = outcome(op, err)
			continue
		}
		bySeq[a.seq], last, out = k, len(out), msg
	}
	if last < 0 {
		return errs
	}
	final := binary.NativeEndian.Uint32(out[last+8:])
	flags := binary.NativeEndian.Uint16(out[last+6:])
	binary.NativeEndian.PutUint16(out[last+6:], flags|unix.NLM_F_ACK)
	err := unix.Sendto(a.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for done := false; !done && err == nil; {
		done, err = a.answers(final, func(seq uint32, refused error) {
			if k, ok := bySeq[seq]; ok {
				errs[k] = outcome(ops[k], refused)
			}
		})
	}
	if err != nil {
		for _, k := range bySeq { // what became of them is not known; all of them may be repeated
			if errs[k] == nil {
				errs[k] = failedOp(ops[k], fmt.Errorf("netlink: %w", err))
			}
		}
	}
	return errs
}

// answers reads one packet of answers and says whether the final message's was among them.
func (a *addresses) answers(final uint32, refused func(seq uint32, err error)) (bool, error) {
	var buf [32 << 10]byte
	n, _, err := unix.Recvfrom(a.fd, buf[:], 0)
	if errors.Is(err, unix.EINTR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	done := false
	for b := buf[:n]; len(b) >= 20; {
		size := int(binary.NativeEndian.Uint32(b))
		if size < 20 || size > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
			seq := binary.NativeEndian.Uint32(b[8:])
			if code := int32(binary.NativeEndian.Uint32(b[16:])); code != 0 {
				refused(seq, unix.Errno(-code))
			}
			done = done || seq == final
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return done, nil
}

// errAsWanted says that nothing was to be done.
var errAsWanted = errors.New("the kernel is as it should be")

func outcome(op change, err error) error {
	if op.harmless(err) {
		return errAsWanted
	}
	return failedOp(op, err)
}

func (op addressOp) removes() bool     { return op.remove }
func (op addressOp) what() string      { return "address " + op.addr.Prefix.String() + " on " + op.dev }
func (op addressOp) slot() hostAddress { return hostAddress{dev: op.dev, addr: op.addr.Prefix.Addr()} }

func (op addressOp) harmless(err error) bool {
	if op.remove {
		return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
	}
	return errors.Is(err, unix.EEXIST)
}

// message appends the netlink message (rtnetlink(7), RTM_NEWADDR and RTM_DELADDR).
func (op addressOp) message(b []byte, seq uint32) ([]byte, error) {
	c := op.addr
	scope, err := scopeNumber(c.Scope)
	if err != nil {
		return nil, err
	}
	ip, end, bits := c.Prefix.Addr(), c.Prefix.Addr(), c.Prefix.Bits()
	if p := c.Peer(); p.IsValid() {
		end, bits = p.Addr(), p.Bits()
	}
	start := len(b)
	kind, flags, family := uint16(unix.RTM_NEWADDR), uint16(unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL), byte(unix.AF_INET)
	if op.remove {
		kind, flags, scope = unix.RTM_DELADDR, unix.NLM_F_REQUEST, 0
	}
	if ip.Is6() {
		family = unix.AF_INET6
	}
	ne := binary.NativeEndian
	b = ne.AppendUint32(b, 0)
	b = ne.AppendUint16(b, kind)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 0)
	b = append(b, family, byte(bits), 0, byte(scope))
	b = ne.AppendUint32(b, uint32(op.index))
	b = attribute(b, unix.IFA_LOCAL, ip.AsSlice())
	b = attribute(b, unix.IFA_ADDRESS, end.AsSlice())
	if !op.remove { // whatever its label is: it is to go
		if flags := addressFlags(c); flags != 0 {
			b = attribute(b, unix.IFA_FLAGS, ne.AppendUint32(nil, flags))
		}
		switch {
		case ip.Is6():
			// struct ifa_cacheinfo: preferred, valid, two times that the kernel sets itself.
			b = attribute(b, unix.IFA_CACHEINFO, ne.AppendUint64(ne.AppendUint32(ne.AppendUint32(nil, preferred(c)), forever), 0))
		default:
			brd, err := broadcast(c)
			if err != nil {
				return nil, err
			}
			if brd != nil {
				b = attribute(b, unix.IFA_BROADCAST, brd)
			}
			if c.Label != "" {
				b = attribute(b, unix.IFA_LABEL, append([]byte(c.Label), 0))
			}
		}
	}
	ne.PutUint32(b[start:], uint32(len(b)-start))
	return b, nil
}

const forever = ^uint32(0)

// addressFlags are those of linux/if_addr.h. Detection of duplicates would keep a taken-over address silent for a second; -nodad
// asks for it all the same.
func addressFlags(c config.Address) (flags uint32) {
	list := []struct {
		word string
		flag uint32
	}{{"noprefixroute", unix.IFA_F_NOPREFIXROUTE}, {"autojoin", unix.IFA_F_MCAUTOJOIN}}
	if c.Prefix.Addr().Is6() {
		flags = unix.IFA_F_NODAD
		list = append(list, []struct {
			word string
			flag uint32
		}{{"home", unix.IFA_F_HOMEADDRESS}, {"mngtmpaddr", unix.IFA_F_MANAGETEMPADDR}, {"-nodad", unix.IFA_F_NODAD}}...)
	}
	for _, f := range list {
		if _, ok := c.Option(f.word); ok {
			flags ^= f.flag
		}
	}
	return flags
}

// preferred is for how many seconds the host may choose an IPv6 address as the source of connections of its own. One without
// a prefix is for clients only, and never chosen, if preferred_lft does not say otherwise (keepalived 2.2.7, measured).
func preferred(c config.Address) uint32 {
	if v, ok := c.Option("preferred_lft"); ok {
		if n, err := strconv.ParseUint(v, 10, 32); err == nil {
			return uint32(n)
		}
		return forever
	}
	if c.Prefix.IsSingleIP() {
		return 0
	}
	return forever
}

func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// broadcast translates ip-address(8)'s brd; nil is none.
func broadcast(c config.Address) (net.IP, error) {
	switch c.Broadcast {
	case "":
		return nil, nil
	case "+", "-":
		if c.Prefix.Bits() > 30 {
			return nil, nil // no host part to set
		}
		v4 := c.Prefix.Addr().As4()
		b := make(net.IP, 4)
		host := uint32(uint64(^uint32(0)) >> c.Prefix.Bits())
		for i := range b {
			m := byte(host >> (24 - 8*i))
			if c.Broadcast == "+" {
				b[i] = v4[i] | m
			} else {
				b[i] = v4[i] &^ m
			}
		}
		return b, nil
	}
	b, err := netip.ParseAddr(c.Broadcast)
	if err != nil || !b.Is4() {
		return nil, fmt.Errorf("broadcast %q is no IPv4 address", c.Broadcast)
	}
	return b.AsSlice(), nil
}
