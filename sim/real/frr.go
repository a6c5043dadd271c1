package real

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"quorate/config"
)

// frrDir is where Debian has FRR's daemons.
const frrDir = "/usr/lib/frr"

// prepareFRR writes FRR's configuration, makes the macvlans whose addresses it owns and starts zebra, without which vrrpd knows no
// interfaces. What it returns is vrrpd itself.
func (h *host) prepareFRR() (program string, args []string, err error) {
	conf, err := frrConf(h.conf)
	if err != nil {
		return "", nil, err
	}
	file := filepath.Join(h.s.p.Dir, h.name+".vrrpd.conf")
	empty := filepath.Join(h.s.p.Dir, h.name+".zebra.conf")
	if err := errors.Join(h.Write(file, []byte(conf), 0o644), h.Write(empty, nil, 0o644)); err != nil {
		return "", nil, err
	}
	// A backup's macvlan has no carrier, but its addresses are the host's: Linux would answer for them on the card itself.
	for _, c := range h.cards {
		if err := h.Sysctl("net.ipv4.conf."+c.name+".arp_ignore", "1"); err != nil {
			return "", nil, err
		}
	}
	if err := h.makeMacvlans(); err != nil {
		return "", nil, err
	}
	// The daemons give up root at once, and read and write everything as the user frr.
	for _, argv := range [][]string{{"chmod", "755", h.s.p.Dir}, {"chown", "frr", h.runDir()}} {
		if _, err := run(h.s.ctx, h, nil, argv...); err != nil {
			return "", nil, fmt.Errorf("%s: %w; is FRR installed?", h.name, err)
		}
	}
	socket := filepath.Join(h.runDir(), "zserv")
	common := func(conf, pid string) []string {
		return []string{"-f", conf, "-z", socket, "-i", filepath.Join(h.runDir(), pid),
			"--vty_socket", h.runDir(), "-P", "0", "--log", "stdout"}
	}
	// The socket may be that of one that was killed.
	if err := h.RemoveAll(socket); err != nil {
		return "", nil, err
	}
	if _, err := h.Start(h.s.ctx, append([]string{filepath.Join(frrDir, "zebra")}, common(empty, "zebra.pid")...), h.log, h.log); err != nil {
		return "", nil, err
	}
	if err := h.s.until("zebra of "+h.name+" listens", func() bool { return h.Listens(socket) }); err != nil {
		return "", nil, err
	}
	return filepath.Join(frrDir, "vrrpd"), common(file, "vrrpd.pid"), nil
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
func (h *host) makeMacvlans() error {
	for _, i := range h.conf.Instances {
		name := fmt.Sprintf("%s%d", macvlanPrefix, i.VRID.V)
		if slices.Contains(h.macvlans, name) {
			continue // a killed one's
		}
		todo := [][]string{{"link", "add", "link", i.Interface.V, "name", name, "address", virtualMAC(i.VRID.V).String(), "type", "macvlan", "mode", "bridge"}}
		for _, a := range i.VIPs {
			todo = append(todo, []string{"address", "add", a.Prefix.String(), "dev", name})
		}
		for _, args := range append(todo, []string{"link", "set", name, "up"}) {
			if _, err := run(h.s.ctx, h, nil, append([]string{"ip"}, args...)...); err != nil {
				return fmt.Errorf("%s: ip %s: %w", h.name, strings.Join(args, " "), err)
			}
		}
		h.macvlans = append(h.macvlans, name)
	}
	return nil
}

func (h *host) removeMacvlans() error {
	for _, name := range h.macvlans {
		if _, err := run(h.s.ctx, h, nil, "ip", "link", "delete", name); err != nil {
			return fmt.Errorf("%s: ip link delete %s: %w", h.name, name, err)
		}
	}
	h.macvlans = nil
	return nil
}

// virtual notes whether a host answers for the addresses of a virtual router: FRR takes the carrier of its macvlan away (protodown)
// while it is backup. The addresses are always there, but a device without carrier does not answer. The lock is held.
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
