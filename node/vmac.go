package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"quorate/config"
)

// VMAC is a virtual interface: a macvlan that has the virtual addresses of an instance and its virtual Ethernet address.
type VMAC struct {
	Name     string
	Parent   string // the interface it is made on
	MAC      [6]byte
	IPv6     bool   // it carries IPv6 addresses; one for IPv4 must not even have a link-local one
	Group    string // link group, empty: none
	Instance string
	IPVLAN   string       // mode of an ipvlan, which has the Ethernet address of its parent; empty: a macvlan
	Addr     netip.Prefix // an address that it has all the time, not valid: none
}

// VMACs says which virtual interfaces the host is to have from now on, in a fixed order. One that is there already, and as
// it should be, is kept; those of ours that are not in the list go, after everything that was to be done before.
type VMACs struct{ List []VMAC }

func (VMACs) action() {}

// vmacNames are the virtual interfaces of one instance.
type vmacNames struct {
	own string // of use_vmac, empty: none
	// on has those of addresses with use_vmac, or all with use_vmac_addr: by the interface they are made on, with
	// a 6 in front for IPv6.
	on map[string]string
}

func (n vmacNames) equal(m vmacNames) bool {
	if n.own != m.own || len(n.on) != len(m.on) {
		return false
	}
	for k, v := range n.on {
		if m.on[k] != v {
			return false
		}
	}
	return true
}

// dev is the interface of an address. Those of the other family and those with a dev of their own stay where they would be
// without use_vmac (keepalived 2.2.7, measured).
func (n vmacNames) dev(c *config.Instance, a config.Address) string {
	base := c.Interface.V
	dev := base
	if a.Dev != "" {
		dev = a.Dev
	}
	if n.own != "" && (dev == base || dev == n.own) && a.Prefix.Addr().Is6() == is6(c) {
		return n.own
	}
	if on := n.on[onKey(dev, a)]; on != "" && ownVMAC(c, a) {
		return on
	}
	return dev
}

// ownVMAC says whether an address has a virtual interface besides that of its instance.
func ownVMAC(c *config.Instance, a config.Address) bool {
	return a.UseVMAC || c.VMACAddr.V && a.Dev != "" && a.Dev != c.Interface.V
}

func onKey(dev string, a config.Address) string {
	if a.Prefix.Addr().Is6() {
		return "6" + dev
	}
	return dev
}

// VirtualInterfaces are those that a configuration asks for.
func VirtualInterfaces(c *config.Config) []VMAC {
	_, list := nameVMACs(c)
	return list
}

// nameVMACs names the virtual interfaces of a configuration as keepalived does: PREFIX.VRID, with a 6 behind the prefix if
// that is taken by the one for IPv4; after that the prefix is numbered (2.2.7, measured).
func nameVMACs(c *config.Config) (names map[*config.Instance]vmacNames, list []VMAC) {
	names = map[*config.Instance]vmacNames{}
	taken := map[string]bool{}
	for _, i := range c.Instances {
		if i.UseVMAC != nil && i.UseVMAC.Name != "" {
			taken[i.UseVMAC.Name] = true
		}
	}
	free := func(prefix string, vrid int, six bool) string {
		name := fmt.Sprintf("%s.%d", prefix, vrid)
		if taken[name] && six {
			prefix += "6"
			name = fmt.Sprintf("%s.%d", prefix, vrid)
		}
		for k := 1; taken[name]; k++ {
			name = fmt.Sprintf("%s%d.%d", prefix, k, vrid)
		}
		taken[name] = true
		return name
	}
	prefix := "vrrp"
	if c.Global.VMACPrefix.V != "" {
		prefix = c.Global.VMACPrefix.V
	}
	addrPrefix := prefix
	if c.Global.VMACAddrPrefix.V != "" {
		addrPrefix = c.Global.VMACAddrPrefix.V
	}
	for _, i := range c.Instances {
		n := vmacNames{on: map[string]string{}}
		if v := i.UseVMAC; v != nil {
			if n.own = v.Name; n.own == "" {
				n.own = free(prefix, i.VRID.V, is6(i))
			}
			own := VMAC{Name: n.own, Parent: i.Interface.V, MAC: virtualMAC(i, is6(i)), IPv6: is6(i), Group: v.Group, Instance: i.Name}
			if v.IPVLAN != "" {
				own.MAC, own.IPVLAN, own.Addr = [6]byte{}, v.IPVLAN, v.Addr
			}
			list = append(list, own)
		}
		for _, a := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
			dev := n.dev(i, a)
			if !ownVMAC(i, a) || dev == n.own || n.on[onKey(dev, a)] != "" || slices.ContainsFunc(list, func(v VMAC) bool { return v.Name == dev }) {
				continue
			}
			six := a.Prefix.Addr().Is6()
			name := free(addrPrefix, i.VRID.V, six)
			n.on[onKey(dev, a)] = name
			list = append(list, VMAC{Name: name, Parent: dev, MAC: virtualMAC(i, six), IPv6: six, Instance: i.Name})
		}
		names[i] = n
	}
	return names, list
}

// virtualMAC is the address RFC 9568 7.3 gives the owner, or the one that is configured: with five octets the
// VRID is the sixth (keepalived 2.2.7, measured).
func virtualMAC(c *config.Instance, six bool) [6]byte {
	mac := [6]byte{0, 0, 0x5e, 0, 1, uint8(c.VRID.V)}
	if six {
		mac[4] = 2
	}
	if c.UseVMAC == nil || c.UseVMAC.MAC == "" {
		return mac
	}
	for k, s := range strings.SplitN(c.UseVMAC.MAC, ":", 6) {
		b, _ := strconv.ParseUint(s, 16, 8) // the reader has looked at it
		mac[k] = byte(b)
	}
	return mac
}

// onVMAC says whether an address is on a virtual interface.
func (i *instance) onVMAC(a config.Address) bool {
	dev := i.dev(a)
	return dev != i.cfg.Interface.V && dev != a.Dev
}

// transmitMAC is the Ethernet address of adverts; zero: that of the interface.
func (i *instance) transmitMAC() [6]byte {
	if i.names.own == "" || i.cfg.VMACXmitBase.V || i.cfg.UseVMAC.IPVLAN != "" {
		return [6]byte{}
	}
	return i.virtualMAC()
}

// configureVMACs tells the driver what has changed.
func (e *Elector) configureVMACs(list []VMAC) {
	if !slices.Equal(list, e.vmacs) {
		e.vmacs = list
		e.emit(VMACs{List: list})
	}
}

// parent is the interface on whose segment a virtual interface is; every other one is its own.
func (e *Elector) parent(dev string) string {
	for _, v := range e.vmacs {
		if v.Name == dev {
			return v.Parent
		}
	}
	return dev
}
