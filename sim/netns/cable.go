package netns

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Cable is the far end of a card that [Host.Cable] has made: frames that the host sends are read from it, and what is written to it
// arrives there, one frame each.
type Cable struct {
	*os.File
	far    netlink.Link // in the switch's namespace
	fabric *Host
}

// Cable gives the host a card whose far end is not on the switch but in this process: a veth pair with a packet socket. It is for where
// TAP devices are not allowed. The card is down, with an Ethernet address of chance. A read fails with ENETDOWN once each time the card or
// the cable goes down.
func (h *Host) Cable(card string) (*Cable, error) {
	l := h.lab
	l.mu.Lock()
	l.cables++
	name := fmt.Sprintf("cable%d", l.cables)
	l.mu.Unlock()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := l.fabric.nl.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: card, PeerNamespace: netlink.NsFd(h.ns.Fd())}); err != nil {
		return nil, fmt.Errorf("lab: host %s: veth %s: %w", h.name, card, err)
	}
	c := &Cable{fabric: l.fabric}
	fd := -1
	err := h.Do(func() error { return checksumInSoftware(card) })
	if err == nil {
		c.far, err = l.fabric.nl.LinkByName(name)
	}
	if err == nil {
		// The far end is no host: it says nothing itself.
		if err = l.fabric.Sysctl("net.ipv6.conf."+name+".disable_ipv6", "1"); errors.Is(err, errNoSysctl) {
			err = nil
		}
	}
	if err == nil {
		err = l.fabric.nl.LinkSetUp(c.far)
	}
	if err == nil {
		err = l.fabric.Do(func() (err error) { fd, err = packetSocket(c.far.Attrs().Index); return err })
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}
	if err != nil {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
		return nil, fmt.Errorf("lab: host %s: cable of %s: %w", h.name, card, err)
	}
	c.File = os.NewFile(uintptr(fd), h.name+" "+card)
	return c, nil
}

// Carrier plugs the cable in or pulls it.
func (c *Cable) Carrier(up bool) error {
	if up {
		return c.fabric.nl.LinkSetUp(c.far)
	}
	return c.fabric.nl.LinkSetDown(c.far)
}
