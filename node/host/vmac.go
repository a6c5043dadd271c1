package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"quorate/node"
)

// vmacs makes virtual interfaces and removes them. It keeps no list: an alias says which are ours, so that a worker that
// was killed leaves none behind.
type vmacs struct {
	known bool // what is on the host was looked at
	made  []node.VMAC
}

// vmacAlias begins the alias (ip-link(8)) of what was made here.
const vmacAlias = "quorate: vrrp_instance "

// vmacPatience is how long a new interface may take to be up, if its parent is.
const vmacPatience = 500 * time.Millisecond

// vmacResult tells the event loop that a virtual interface is there, or why not.
type vmacResult struct {
	name string
	err  error
}

// Make makes those that are missing.
func (v *vmacs) Make(want []node.VMAC, out func(vmacResult)) {
	for _, w := range want {
		err := makeVMAC(w)
		if errors.Is(err, unix.EADDRINUSE) && removeRivals(want, w) == nil {
			err = makeVMAC(w)
		}
		if err == nil && !slices.Contains(v.made, w) {
			v.made = append(v.made, w)
		}
		out(vmacResult{w.Name, err})
	}
}

// removeRivals removes what an earlier configuration has on the same parent with the same Ethernet address: the kernel lets
// only one of them be.
func removeRivals(want []node.VMAC, w node.VMAC) error {
	list, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return err
	}
	return removeLinks(list, func(a *netlink.LinkAttrs) bool {
		return a.HardwareAddr.String() == node.MAC(w.MAC) && !slices.ContainsFunc(want, func(v node.VMAC) bool { return v.Name == a.Name })
	})
}

// removeLinks removes those of ours that are doomed, at once: one by one each takes the kernel 10 ms and more, and a stop has no
// time for hundreds.
func removeLinks(list []netlink.Link, doomed func(*netlink.LinkAttrs) bool) error {
	groups := map[uint32]bool{}
	var gone []netlink.Link
	for _, l := range list {
		a := l.Attrs()
		groups[a.Group] = true
		if strings.HasPrefix(a.Alias, vmacAlias) && doomed(a) {
			gone = append(gone, l)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	group := uint32(vmacGroup)
	for groups[group] {
		group++ // somebody else's
	}
	var errs []error
	for _, l := range gone {
		if err := netlink.LinkSetGroup(l, int(group)); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("remove virtual interface %s: %w", l.Attrs().Name, err))
		}
	}
	req := nl.NewNetlinkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(group)))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ESRCH) {
		errs = append(errs, fmt.Errorf("remove virtual interfaces: %w", err))
	}
	return errors.Join(errs...)
}

// vmacGroup is a link group that nobody has, to begin with.
const vmacGroup = 0x71750000

// Keep removes all of ours but those.
func (v *vmacs) Keep(want []node.VMAC) error {
	if v.known && !slices.ContainsFunc(v.made, func(m node.VMAC) bool { return !slices.Contains(want, m) }) {
		return nil
	}
	names := map[string]bool{}
	for _, w := range want {
		names[w.Name] = true
	}
	list, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("virtual interfaces: %w", err)
	}
	v.known = err == nil
	err = removeLinks(list, func(a *netlink.LinkAttrs) bool { return !names[a.Name] })
	v.made = slices.DeleteFunc(v.made, func(m node.VMAC) bool { return !slices.Contains(want, m) })
	return err
}

// makeVMAC makes an interface, or brings one that is there already to what it is to be.
func makeVMAC(v node.VMAC) error {
	fail := func(err error) error {
		return fmt.Errorf("virtual interface %s on %s: %w", v.Name, v.Parent, err)
	}
	parent, err := netlink.LinkByName(v.Parent)
	if err != nil {
		return fail(err)
	}
	is, err := netlink.LinkByName(v.Name)
	if err == nil {
		same := sameVMAC(is, v, parent.Attrs().Index)
		switch ours := strings.HasPrefix(is.Attrs().Alias, vmacAlias); {
		case same && is.Attrs().RawFlags&unix.IFF_UP != 0 && ours:
			return nil
		case same: // made by hand, or by a worker that was killed at that instant
		case !ours:
			what := "none with Ethernet address " + node.MAC(v.MAC)
			if v.IPVLAN != "" {
				what = "no ipvlan in mode " + v.IPVLAN
			}
			return fail(fmt.Errorf("there is an interface of that name already, which is %s on %s: give it another name in the configuration, or delete it", what, v.Parent))
		default: // by an earlier configuration
			if err := netlink.LinkDel(is); err != nil {
				return fail(err)
			}
			is = nil
		}
	} else {
		is = nil
	}
	if is == nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = v.Name, parent.Attrs().Index
		if v.Group != "" {
			if attrs.Group, err = iprouteNumber("group", v.Group); err != nil {
				return fail(fmt.Errorf("group %w", err))
			}
		}
		if err := addVMAC(v, attrs); err != nil {
			return fail(err)
		}
		if is, err = netlink.LinkByName(v.Name); err != nil {
			return fail(err)
		}
	}
	err = errors.Join(netlink.LinkSetAlias(is, vmacAlias+v.Instance), vmacSysctls(v), netlink.LinkSetUp(is))
	if v.Addr.IsValid() {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: v.Addr.Addr().AsSlice(), Mask: net.CIDRMask(v.Addr.Bits(), v.Addr.Addr().BitLen())}}
		if v.IPv6 {
			a.Flags = unix.IFA_F_NODAD
		}
		err = errors.Join(err, netlink.AddrReplace(is, a))
	}
	if err != nil {
		return fail(err)
	}
	waitUp(v.Name, parent)
	return nil
}

var ipvlanModes = map[string]netlink.IPVlanFlag{"bridge": netlink.IPVLAN_FLAG_BRIDGE, "private": netlink.IPVLAN_FLAG_PRIVATE, "vepa": netlink.IPVLAN_FLAG_VEPA}

// sameVMAC says whether an interface is what is wanted, whoever made it.
func sameVMAC(is netlink.Link, v node.VMAC, parent int) bool {
	if is.Attrs().ParentIndex != parent {
		return false
	}
	if l, ok := is.(*netlink.IPVlan); ok {
		return v.IPVLAN != "" && l.Mode == netlink.IPVLAN_MODE_L2 && l.Flag == ipvlanModes[v.IPVLAN]
	}
	m, ok := is.(*netlink.Macvlan)
	return ok && v.IPVLAN == "" && m.HardwareAddr.String() == node.MAC(v.MAC)
}

func addVMAC(v node.VMAC, attrs netlink.LinkAttrs) error {
	kind := "macvlan"
	var l netlink.Link
	if v.IPVLAN != "" {
		kind = "ipvlan"
		l = &netlink.IPVlan{LinkAttrs: attrs, Mode: netlink.IPVLAN_MODE_L2, Flag: ipvlanModes[v.IPVLAN]}
	} else {
		attrs.HardwareAddr = net.HardwareAddr(v.MAC[:])
		// Private: two of them on one host are no neighbours of each other.
		l = &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_PRIVATE}
	}
	err := netlink.LinkAdd(l)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: this kernel has no %s (modprobe %s), or %s is of a kind that cannot have one", err, kind, kind, v.Parent)
	}
	return err
}

// waitUp gives a new interface time to be up; that it is not, others tell.
func waitUp(name string, parent netlink.Link) {
	const up = unix.IFF_UP | unix.IFF_RUNNING
	for end := time.Now().Add(vmacPatience); parent.Attrs().RawFlags&up == up && time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if l, err := netlink.LinkByName(name); err != nil || l.Attrs().RawFlags&up == up {
			return
		}
	}
}

// vmacSysctls has only the virtual interface answer for the virtual addresses, and only for them (keepalived 2.2.7,
// measured). It takes packets of clients that are routed back through its parent.
func vmacSysctls(v node.VMAC) error {
	type setting struct{ path, value string }
	own := func(family, name string) string { return filepath.Join("/proc/sys/net", family, "conf", v.Name, name) }
	list := []setting{
		{own("ipv4", "arp_ignore"), "1"}, {own("ipv4", "arp_filter"), "0"}, {own("ipv4", "accept_local"), "1"},
		{own("ipv4", "promote_secondaries"), "1"}, {own("ipv4", "rp_filter"), "0"},
	}
	if v.IPVLAN == "" { // an ipvlan answers with the Ethernet address of its parent anyhow
		list = append(list, setting{filepath.Join("/proc/sys/net/ipv4/conf", v.Parent, "arp_ignore"), "1"},
			setting{filepath.Join("/proc/sys/net/ipv4/conf", v.Parent, "arp_filter"), "1"})
	}
	if all, _ := os.ReadFile("/proc/sys/net/ipv4/conf/all/rp_filter"); strings.TrimSpace(string(all)) == "1" {
		list[4].value = "2" // the greater of the two holds: loose rather than strict
	}
	if v.IPv6 { // no address of its own, no router's advice
		list = append(list, setting{own("ipv6", "addr_gen_mode"), "1"}, setting{own("ipv6", "accept_ra"), "0"}, setting{own("ipv6", "disable_ipv6"), "0"})
	} else {
		list = append(list, setting{own("ipv6", "disable_ipv6"), "1"})
	}
	var errs []error
	for _, s := range list {
		err := os.WriteFile(s.path, []byte(s.value), 0)
		if err != nil && !(errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.path, "/proc/sys/net/ipv6/")) { // a kernel without IPv6
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// VMACs says which virtual interfaces there are to be.
func (q *installer) VMACs(list []node.VMAC) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wantVMACs, q.vmacsDue = append([]node.VMAC{}, list...), true
	q.kick()
}

// makeVMACs makes what is missing before the next operations, and removes what is over when there are none.
func (q *installer) makeVMACs() {
	q.mu.Lock()
	want, due, quiet := q.wantVMACs, q.vmacsDue, len(q.order) == 0
	q.vmacsDue = due && !quiet
	q.mu.Unlock()
	if !due {
		return
	}
	if !quiet || len(want) > 0 {
		q.virtual.Make(want, func(r vmacResult) { q.out(r) })
	}
	if quiet {
		if err := q.virtual.Keep(want); err != nil || q.vmacsFailed {
			q.vmacsFailed = err != nil
			q.out(vmacResult{"", err})
		}
	}
}

// virtual takes the list that the machine wants.
func (e *elector) virtual(list []node.VMAC) {
	e.vmacs, e.vmacDone, e.vmacBad = append([]node.VMAC{}, list...), map[string]bool{}, map[string]bool{}
	e.install.VMACs(list)
}

// madeVMAC follows an attempt: now there is news of the interface.
func (e *elector) madeVMAC(r vmacResult) {
	if r.name == "" {
		e.Trouble("virtual interfaces", r.err)
		return
	}
	e.Trouble("virtual interface "+r.name, r.err)
	delete(e.vmacBad, r.name)
	if r.err != nil {
		e.vmacBad[r.name] = true // housekeeping tries again
	}
	if slices.ContainsFunc(e.vmacs, func(v node.VMAC) bool { return v.Name == r.name }) && !e.vmacDone[r.name] {
		e.vmacDone[r.name] = true
		e.links.Watch(r.name)
	}
}

// missesVMAC looks for virtual interfaces that are not there. One that is being made is no news; one that went is, and is
// made again.
func (e *elector) missesVMAC(n linkNews) bool {
	if n.link.Exists || !slices.ContainsFunc(e.vmacs, func(v node.VMAC) bool { return v.Name == n.link.Name }) {
		return false
	}
	if !e.vmacDone[n.link.Name] {
		return true
	}
	e.install.VMACs(e.vmacs)
	return false
}

// segment is the interface that frames of a virtual one leave by; every other one is its own.
func (e *elector) segment(dev string) string {
	for _, v := range e.vmacs {
		if v.Name == dev {
			return v.Parent
		}
	}
	return dev
}
