package netns

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// Wire gives the host a card whose cable leads to a device of this process's own namespace, as the network device of a virtual machine is:
// what the host sends leaves by the device, and what arrives there reaches the host. The device moves to the namespace of the switch; the
// card is down. carrier plugs the cable in or pulls it.
func (h *Host) Wire(card, device string) (carrier func(up bool) error, err error) {
	l, nl := h.lab, h.lab.fabric.nl
	l.mu.Lock()
	l.cables++
	near, hub := fmt.Sprintf("cable%d", l.cables), fmt.Sprintf("hub%d", l.cables)
	l.mu.Unlock()
	fail := func(err error) (func(bool) error, error) {
		return nil, fmt.Errorf("lab: host %s: wire %s to %s: %w", h.name, card, device, err)
	}
	// Neither end of the cable is a host: they say nothing themselves.
	if err := l.fabric.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"); err != nil && !errors.Is(err, errNoSysctl) {
		return fail(err)
	}
	outside, err := netlink.LinkByName(device)
	if err != nil {
		return fail(err)
	}
	if err := netlink.LinkSetNsFd(outside, int(l.fabric.ns.Fd())); err != nil {
		return fail(err)
	}
	// A switch with two ports that knows nothing: what comes in at one goes out at the other.
	snooping := false
	br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
	br.Name, br.HardwareAddr = hub, net.HardwareAddr{0x02, 0, 0, 0, 0, 0x02}
	if err := nl.LinkAdd(br); err != nil {
		return fail(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = near
	if err := nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: card, PeerNamespace: netlink.NsFd(h.ns.Fd())}); err != nil {
		return fail(err)
	}
	if err := h.Do(func() error { return checksumInSoftware(card) }); err != nil {
		return fail(err)
	}
	var cable netlink.Link
	for _, name := range []string{device, near} {
		port, err := nl.LinkByName(name)
		if err == nil {
			err = nl.LinkSetMaster(port, br)
		}
		if err == nil {
			err = nl.LinkSetLearning(port, false)
		}
		if err == nil {
			err = nl.LinkSetUp(port)
		}
		if err != nil {
			return fail(err)
		}
		cable = port
	}
	if err := nl.LinkSetUp(br); err != nil {
		return fail(err)
	}
	return func(up bool) error {
		if up {
			return nl.LinkSetUp(cable)
		}
		return nl.LinkSetDown(cable)
	}, nil
}
