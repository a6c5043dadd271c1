package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// DefaultGARP returns keepalived's defaults: 5 announcements per address at once and 5 more
// 5 s later, on becoming MASTER and on hearing a lower priority; no refresh.
func DefaultGARP() GARP {
	return GARP{
		MasterRepeat:        5,
		MasterDelay:         5 * time.Second,
		MasterRefreshRepeat: 1,
		LowerPrioRepeat:     5,
		LowerPrioDelay:      5 * time.Second,
	}
}

// Validate says what is wrong with a configuration, in terms of keepalived.conf and with the
// remedy; several faults are joined. New demands a configuration without faults.
func Validate(cfg Config) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if cfg.Version != 2 && cfg.Version != 3 {
		bad("version %d: use 2 or 3", cfg.Version)
	}
	if cfg.VRID == 0 {
		bad("virtual_router_id 0: use 1..255, the same on all members and nowhere else on this network")
	}
	if cfg.Priority == 0 {
		bad("priority 0 means \"I am leaving\" on the wire: use 1..254, or 255 for the owner of the addresses")
	}
	switch {
	case cfg.Version == 2 && (cfg.AdvertInt < time.Second || cfg.AdvertInt > maxIntervalV2 || cfg.AdvertInt%time.Second != 0):
		bad("advert_int %v: version 2 carries whole seconds from 1 to 255; use version 3 for less", cfg.AdvertInt)
	case cfg.Version == 3 && (cfg.AdvertInt < centisecond || cfg.AdvertInt > maxIntervalV3 || cfg.AdvertInt%centisecond != 0):
		bad("advert_int %v: version 3 carries 0.01 to 40.95 seconds in steps of 0.01", cfg.AdvertInt)
	}
	switch {
	case cfg.AuthType > AuthAH:
		bad("auth_type %d: use none, PASS or AH", cfg.AuthType)
	case cfg.AuthType != AuthNone && cfg.Version == 3:
		bad("authentication: version 3 has none; remove the block or use version 2")
	case cfg.AuthType != AuthNone && cfg.AuthPass == "":
		bad("auth_pass is empty: give up to 8 characters, the same on all members")
	}
	if cfg.NoPreempt && cfg.Priority == PriorityOwner {
		bad("nopreempt with priority 255: the owner of the addresses always takes over; remove one of the two")
	}
	if cfg.PreemptDelay < 0 {
		bad("preempt_delay %v: must not be negative", cfg.PreemptDelay)
	}
	if cfg.DownTimerAdverts < 0 || cfg.DownTimerAdverts > 100 {
		bad("down_timer_adverts %d: use 1..100 (3 is the standard)", cfg.DownTimerAdverts)
	}
	g := cfg.GARP
	if g.MasterRepeat < 0 || g.MasterRefreshRepeat < 0 || g.LowerPrioRepeat < 0 {
		bad("garp_*_repeat: must not be negative")
	}
	if g.MasterDelay < 0 || g.MasterRefresh < 0 || g.LowerPrioDelay < 0 {
		bad("garp_*_delay and garp_master_refresh: must not be negative")
	}
	errs = append(errs, validateAddrs("virtual_ipaddress", cfg, cfg.Addrs)...)
	errs = append(errs, validatePeers(cfg)...)
	for i, list := range cfg.AltAddrs {
		errs = append(errs, validateAddrs(fmt.Sprintf("alternate address list %d", i+1), cfg, list)...)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("vrrp_instance %s: %w", cfg.Name, errors.Join(errs...))
}

func validateAddrs(what string, cfg Config, list []netip.Addr) (errs []error) {
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{what}, args...)...))
	}
	if len(list) == 0 && cfg.NoAddrs && what == "virtual_ipaddress" {
		return nil
	}
	if len(list) == 0 {
		bad("an advert needs at least one address")
		return errs
	}
	if len(list) > 255 {
		bad("%d addresses: an advert carries 255; move the rest to virtual_ipaddress_excluded", len(list))
		return errs
	}
	for i, ip := range list {
		switch {
		case !ip.IsValid() || ip.Is4In6() || ip.Zone() != "":
			bad("%v is not a plain IPv4 or IPv6 address", ip)
		case ip.Is6() && cfg.Version == 2:
			bad("%v: version 2 cannot carry IPv6; use version 3", ip)
		case len(cfg.Addrs) > 0 && ip.Is4() != cfg.Addrs[0].Is4():
			bad("%v is not of the same family as %v; use one instance per family", ip, cfg.Addrs[0])
		case slices.Contains(list[:i], ip):
			bad("%v is listed twice", ip)
		}
	}
	return errs
}

func validatePeers(cfg Config) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	ip4 := !cfg.ip6()
	for i, p := range cfg.Peers {
		switch {
		case !p.Addr.IsValid() || p.Addr.Is4In6() || p.Addr.Zone() != "" || p.Addr.IsMulticast() || p.Addr.IsUnspecified():
			bad("unicast_peer: %v is not the address of a host", p.Addr)
		case (len(cfg.Addrs) > 0 || cfg.NoAddrs) && p.Addr.Is4() != ip4:
			bad("unicast_peer: %v is not of the same family as the addresses, %v", p.Addr, cfg.Addrs)
		case slices.ContainsFunc(cfg.Peers[:i], func(o Peer) bool { return o.Addr == p.Addr }):
			bad("unicast_peer: %v is listed twice", p.Addr)
		case p.MaxTTL != 0 && p.MinTTL > p.MaxTTL:
			bad("unicast_peer: %v: min_ttl %d is above max_ttl %d", p.Addr, p.MinTTL, p.MaxTTL)
		}
	}
	if cfg.OldUnicast > OldUnicastNever {
		bad("old_unicast_checksum %d: use nothing or \"never\"", cfg.OldUnicast)
	}
	if g := cfg.McastDst; g.IsValid() && (!g.IsMulticast() || g.Is4() != ip4 || g.Zone() != "") {
		bad("mcast_dst_ip %v: use a multicast address of the family of the virtual addresses", g)
	}
	return errs
}

// Strict changes a configuration to what RFC 3768 and RFC 9568 allow, as vrrp_strict does in keepalived 2.2.7, and says
// what it changed. no_accept, which strict implies, is the host's business.
func Strict(cfg Config) (Config, []string) {
	var said []string
	drop := func(is bool, format string, args ...any) bool {
		if is {
			said = append(said, fmt.Sprintf(format, args...))
		}
		return is
	}
	if drop(cfg.AuthType != AuthNone, "authentication is ignored: RFC 3768 removed it") {
		cfg.AuthType, cfg.AuthPass = AuthNone, ""
	}
	if drop(len(cfg.Peers) > 0, "unicast_peer is ignored: adverts are multicast") {
		cfg.Peers = nil
	}
	if drop(cfg.PreemptDelay > 0, "preempt_delay is ignored") {
		cfg.PreemptDelay = 0
	}
	if drop(cfg.DownTimerAdverts != 0 && cfg.DownTimerAdverts != 3, "down_timer_adverts is ignored: it is 3") {
		cfg.DownTimerAdverts = 0
	}
	if drop(cfg.HigherPrioSendAdvert, "higher_prio_send_advert is ignored") {
		cfg.HigherPrioSendAdvert = false
	}
	cfg.LowerPrioNoAdvert = true
	if g := cfg.GARP; g != DefaultGARP() {
		drop(true, "garp settings are ignored: one announcement per address")
	}
	cfg.GARP = GARP{MasterRepeat: 1}
	return cfg, said
}

// oneLine joins what Validate found for places that show one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// clone gives the configuration slices of its own, so that the caller may go on using his.
func (c Config) clone() Config {
	c.Addrs = slices.Clone(c.Addrs)
	c.AltAddrs = cloneLists(c.AltAddrs)
	c.Peers = slices.Clone(c.Peers)
	return c
}

func cloneLists(lists [][]netip.Addr) [][]netip.Addr {
	if len(lists) == 0 {
		return nil
	}
	out := make([][]netip.Addr, len(lists))
	for i, l := range lists {
		out[i] = slices.Clone(l)
	}
	return out
}

// ip6 says in which family adverts are sent.
func (c *Config) ip6() bool { return len(c.Addrs) > 0 && c.Addrs[0].Is6() }
