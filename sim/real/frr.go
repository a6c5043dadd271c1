package real

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"quorate/config"
)

// frrDir is where Debian has FRR's daemons.
const frrDir = "/usr/lib/frr"

// prepareFRR writes FRR's configuration, makes the macvlans whose addresses it owns and starts zebra, without which vrrpd knows no
// interfaces. What it returns is vrrpd itself.
func (h *host) prepareFRR(log *os.File) (program string, args []string, err error) {
	conf, err := frrConf(h.conf)
	if err != nil {
		return "", nil, err
	}
	file := filepath.Join(h.s.p.Dir, h.name+".vrrpd.conf")
	empty := filepath.Join(h.s.p.Dir, h.name+".zebra.conf")
	if err := errors.Join(os.WriteFile(file, []byte(conf), 0o644), os.WriteFile(empty, nil, 0o644)); err != nil {
		return "", nil, err
	}
	// A backup's macvlan has no carrier, but its addresses are the host's: Linux would answer for them on the card itself.
	for _, c := range h.cards {
		if err := h.Sysctl("net.ipv4.conf."+c.name+".arp_ignore", "1"); err != nil {
			return "", nil, err
		}
	}
	if err := h.Do(func() error { return makeMacvlans(h.conf) }); err != nil {
		return "", nil, fmt.Errorf("%s: %w", h.name, err)
	}
	// The daemons give up root at once, and read and write everything as the user frr.
	owner, err := frrUser()
	if err == nil {
		err = errors.Join(os.Chmod(h.s.p.Dir, 0o755), os.Chown(h.runDir(), owner, -1))
	}
	if err != nil {
		return "", nil, err
	}
	socket := filepath.Join(h.runDir(), "zserv")
	common := func(conf, pid string) []string {
		return []string{"-f", conf, "-z", socket, "-i", filepath.Join(h.runDir(), pid),
			"--vty_socket", h.runDir(), "-P", "0", "--log", "stdout"}
	}
	zebra := h.Command(h.s.ctx, filepath.Join(frrDir, "zebra"), common(empty, "zebra.pid")...)
	zebra.Dir, zebra.Stdout, zebra.Stderr = h.s.p.Dir, log, log
	_ = os.Remove(socket) // of one that was killed
	if err := zebra.Start(); err != nil {
		return "", nil, err
	}
	go func() { _ = zebra.Wait() }()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Now().After(end) {
			return "", nil, fmt.Errorf("%s: zebra has no socket after 10 s", h.name)
		}
	}
	return filepath.Join(frrDir, "vrrpd"), common(file, "vrrpd.pid"), nil
}

// frrUser is the number of the user frr.
func frrUser() (int, error) {
	u, err := user.Lookup("frr")
	if err != nil {
		return 0, fmt.Errorf("FRR is not installed: %w", err)
	}
	return strconv.Atoi(u.Uid)
}

// frrConf says in FRR's words what it can do of a configuration; for the rest the scenario is skipped.
func frrConf(c *config.Config) (string, error) {
	var b strings.Builder
	b.WriteString("debug vrrp protocol\nlog timestamp precision 6\n")
	for _, i := range c.Instances {
		what := ""
		switch {
		case i.AuthType.V != "":
			what = "authentication"
		case len(i.UnicastPeers) > 0:
			what = "unicast_peer"
		case len(i.TrackScripts)+len(i.TrackIfaces)+len(i.WeightedIfaces) > 0:
			what = "tracking"
		case len(c.SyncGroups) > 0:
			what = "vrrp_sync_group"
		case i.PreemptDelay.V > 0:
			what = "preempt_delay"
		case i.AdvertInt.V%(10*time.Millisecond) != 0:
			what = "advert_int that is no multiple of 10 ms"
		case len(i.ExcludedVIPs) > 0:
			what = "virtual_ipaddress_excluded"
		}
		if what != "" {
			return "", skip{"FRR has no " + what}
		}
		v := fmt.Sprintf(" vrrp %d ", i.VRID.V)
		fmt.Fprintf(&b, "interface %s\n%sversion %d\n%spriority %d\n%sadvertisement-interval %d\n", i.Interface.V, v, i.Version.V, v, i.Priority.V, v,
			i.AdvertInt.V.Milliseconds())
		if i.NoPreempt.V {
			fmt.Fprintf(&b, " no%spreempt\n", v)
		}
		for _, a := range i.VIPs {
			fmt.Fprintf(&b, "%sip %v\n", v, a.Prefix.Addr())
		}
		b.WriteString("exit\n")
	}
	return b.String(), nil
}

const macvlanPrefix = "vrrp4-"

// virtualMAC is the Ethernet address of an IPv4 virtual router (RFC 9568 7.3).
func virtualMAC(vrid int) net.HardwareAddr { return net.HardwareAddr{0, 0, 0x5e, 0, 1, byte(vrid)} }

// makeMacvlans makes what FRR's manual tells the operator to make: one macvlan per virtual router, with its Ethernet address and its
// addresses, in bridge mode. It finds them by the Ethernet address.
func makeMacvlans(c *config.Config) error {
	for _, i := range c.Instances {
		parent, err := netlink.LinkByName(i.Interface.V)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = fmt.Sprintf("%s%d", macvlanPrefix, i.VRID.V)
		if _, err := netlink.LinkByName(attrs.Name); err == nil {
			continue // a killed one's
		}
		attrs.ParentIndex, attrs.HardwareAddr = parent.Attrs().Index, virtualMAC(i.VRID.V)
		link := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("ip link add %s link %s type macvlan mode bridge: %w", attrs.Name, i.Interface.V, err)
		}
		for _, a := range i.VIPs {
			addr, err := netlink.ParseAddr(a.Prefix.String())
			if err == nil {
				err = netlink.AddrAdd(link, addr)
			}
			if err != nil {
				return fmt.Errorf("ip addr add %v dev %s: %w", a.Prefix, attrs.Name, err)
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
	}
	return nil
}

func removeMacvlans() error {
	list, err := netlink.LinkList()
	for _, l := range list {
		if strings.HasPrefix(l.Attrs().Name, macvlanPrefix) {
			err = errors.Join(err, netlink.LinkDel(l))
		}
	}
	return err
}

// watchMacvlans follows the carrier of a host's macvlans, which FRR takes away (protodown) while it is backup: the addresses
// are always there, but a device without carrier does not answer.
func (w *watcher) watchMacvlans(s *stage, h *host) error {
	updates := make(chan netlink.LinkUpdate, 64)
	if err := h.Do(func() error { return netlink.LinkSubscribe(updates, w.done) }); err != nil {
		return fmt.Errorf("watch the links of %s: %w", h.name, err)
	}
	go func() {
		for u := range updates {
			a := u.Attrs()
			if !strings.HasPrefix(a.Name, macvlanPrefix) {
				continue
			}
			w.Lock()
			up := u.Header.Type == rtmNewLink && a.OperState == netlink.OperUp
			w.virtual(h, a.HardwareAddr, up)
			w.look(s)
			w.Unlock()
		}
	}()
	return nil
}

const rtmNewLink = 16 // RTM_NEWLINK

// virtual notes whether a host answers for the addresses of a virtual router; the lock is held.
func (w *watcher) virtual(h *host, mac net.HardwareAddr, up bool) {
	if h.conf == nil {
		return
	}
	for _, i := range h.conf.Instances {
		k := slices.IndexFunc(h.cards, func(c *card) bool { return c.name == i.Interface.V })
		if k < 0 || !bytes.Equal(virtualMAC(i.VRID.V), mac) {
			continue
		}
		c := h.cards[k]
		for _, v := range i.VIPs {
			addr := v.Prefix.Addr()
			list := slices.DeleteFunc(slices.Clone(w.has[c]), func(a netip.Addr) bool { return a == addr })
			if up {
				list = append(list, addr)
			}
			w.has[c] = list
		}
	}
}

// transition is what vrrpd logs with "debug vrrp protocol".
var transition = regexp.MustCompile(`^(\d{4}/\d\d/\d\d [\d:.]+) VRRP: .*\[VRID (\d+)\] \[IPv4\] (Initialize|Backup|Master) -> (Initialize|Backup|Master)`)

// frrEvent reads a transition in FRR's log. The instance is called after its VRID.
func frrEvent(line string) (logEntry, bool) {
	m := transition.FindStringSubmatch(line)
	if m == nil {
		return logEntry{}, false
	}
	at, err := time.ParseInLocation("2006/01/02 15:04:05", m[1], time.Local) // the fraction is read too
	if err != nil {
		return logEntry{}, false
	}
	state := map[string]string{"Initialize": "INIT", "Backup": "BACKUP", "Master": "MASTER"}
	return logEntry{Time: at, Event: "vrrp." + strings.ToLower(m[4]), From: state[m[3]], To: state[m[4]], Inst: "VRID " + m[2]}, true
}
