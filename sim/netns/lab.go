package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// Names of the devices a lab makes.
const (
	bridgeName = "lan"  // the switch, in a namespace of its own
	cableName  = "eth0" // every host's only cable
)

// maxHosts bounds a lab: a bridge has 1024 ports, and each host costs a thread.
const maxHosts = 250

// Options of a Lab; the zero value is a good one.
type Options struct {
	// IPv6 leaves it on in the hosts. By default it is off, because its neighbour discovery is
	// noise in an IPv4 capture.
	IPv6 bool
}

// Lab is a switch and the hosts on it. Its methods may be called from several goroutines.
type Lab struct {
	options Options
	fabric  *Host // the namespace of the switch; it has the bridge and nothing else
	bridge  netlink.Link

	mu     sync.Mutex
	hosts  []*Host // in the order they were added
	cables int     // that were made, see Cable
	closed bool
}

// New opens a lab without hosts. It needs root, or to be inside (see [Enter]).
func New(o Options) (*Lab, error) {
	l := &Lab{options: o}
	var err error
	if l.fabric, err = newHost(l, "switch"); err != nil {
		return nil, err
	}
	if err = l.makeBridge(); err != nil {
		l.fabric.close()
		return nil, fmt.Errorf("lab: make the switch: %w", err)
	}
	return l, nil
}

// makeBridge makes a switch that forwards at once (no spanning tree, so no listening delay) and
// floods multicast as a plain switch does.
func (l *Lab) makeBridge() error {
	snooping := false
	br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
	br.Name = bridgeName
	br.HardwareAddr = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x01}
	nl := l.fabric.nl
	if err := nl.LinkAdd(br); err != nil {
		return err
	}
	link, err := nl.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	l.bridge = link
	return nl.LinkSetUp(link)
}

// AddHost adds a host whose eth0 has the address cidr ("192.168.2.210/24") and plugs it in.
// The name is the host's port on the switch too, so it has at most 15 characters.
func (l *Lab) AddHost(name, cidr string) (*Host, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil || !prefix.Addr().Is4() {
		return nil, fmt.Errorf("lab: host %s: address %q: want IPv4/length, as 192.168.2.210/24", name, cidr)
	}
	if name == "" || len(name) > 15 || name == bridgeName || name == "lo" {
		return nil, fmt.Errorf("lab: host name %q: want 1 to 15 characters, not %q or \"lo\"", name, bridgeName)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.New("lab: closed")
	}
	if len(l.hosts) == maxHosts {
		return nil, fmt.Errorf("lab: host %s: a lab has at most %d hosts", name, maxHosts)
	}
	for _, h := range l.hosts {
		if h.name == name || h.addr.Addr() == prefix.Addr() {
			return nil, fmt.Errorf("lab: host %s %s: %s %s is there already", name, cidr, h.name, h.addr)
		}
	}
	h, err := newHost(l, name)
	if err != nil {
		return nil, err
	}
	h.addr = prefix
	if err := l.plugIn(h); err != nil {
		h.close()
		return nil, fmt.Errorf("lab: host %s: %w", name, err)
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// MAC is the Ethernet address of a host with the given IPv4 address.
func MAC(addr netip.Addr) net.HardwareAddr {
	b := addr.As4()
	return net.HardwareAddr{0x02, 0, b[0], b[1], b[2], b[3]}
}

// plugIn lays the cable: a veth pair with one end on the bridge and eth0 in the host.
func (l *Lab) plugIn(h *Host) error {
	if !l.options.IPv6 {
		for _, key := range []string{"net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6"} {
			// A kernel without IPv6 has no such file and nothing to switch off.
			if err := h.Sysctl(key, "1"); err != nil && !errors.Is(err, errNoSysctl) {
				return err
			}
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = h.name
	attrs.MasterIndex = l.bridge.Attrs().Index
	veth := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         cableName,
		PeerHardwareAddr: MAC(h.addr.Addr()),
		PeerNamespace:    netlink.NsFd(h.ns.Fd()),
	}
	if err := l.fabric.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth: %w", err)
	}
	port, err := l.fabric.nl.LinkByName(h.name)
	if err != nil {
		return err
	}
	h.port = port
	if err := l.fabric.nl.LinkSetUp(port); err != nil {
		return err
	}
	eth, err := h.nl.LinkByName(cableName)
	if err != nil {
		return err
	}
	// A new namespace inherits these from the first one, where distributions differ.
	for _, key := range []string{"all", "default", cableName} {
		if err := h.Sysctl("net.ipv4.conf."+key+".rp_filter", "0"); err != nil {
			return err
		}
	}
	if err := h.Do(func() error { return checksumInSoftware(cableName) }); err != nil {
		return err
	}
	if err := h.nl.LinkSetUp(eth); err != nil {
		return err
	}
	if err := h.AddAddress(cableName, h.addr.String()); err != nil {
		return err
	}
	if err := waitUp(h.nl, cableName); err != nil {
		return err
	}
	return waitUp(l.fabric.nl, h.name)
}

// carrierTimeout is generous: the kernel tells of a carrier from a work queue, late on a busy machine.
const carrierTimeout = 10 * time.Second

// waitUp waits until the kernel has noticed the carrier of a device; before that a bridge port drops everything.
func waitUp(nl *netlink.Handle, device string) error {
	for end := time.Now().Add(carrierTimeout); ; time.Sleep(200 * time.Microsecond) {
		link, err := nl.LinkByName(device)
		if err != nil {
			return err
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: no carrier after %v, state %s", device, carrierTimeout, link.Attrs().OperState)
		}
	}
}

// Hosts returns the hosts in the order they were added.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Host(nil), l.hosts...)
}

// Host returns a host by name, nil if there is none.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts() {
		if h.name == name {
			return h
		}
	}
	return nil
}

// Close kills every process of every host and drops the namespaces. It may be called twice.
func (l *Lab) Close() error {
	l.mu.Lock()
	hosts := l.hosts
	l.hosts, l.closed = nil, true
	l.mu.Unlock()
	var errs []error
	for _, h := range hosts {
		if err := h.Kill(killSignal); err != nil {
			errs = append(errs, err)
		}
	}
	for _, h := range hosts {
		h.close()
	}
	l.fabric.close()
	return errors.Join(errs...)
}
