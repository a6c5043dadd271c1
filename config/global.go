package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// keepalived keeps most times in 32 bits of microseconds (2.2.7, measured).
const (
	garpMax  = 4294 * time.Second
	microMax = (1<<32 - 1) * time.Microsecond
)

func globalRules() []rule {
	g := func(f func(*Global) *Value[int]) intOf { return func(c *ctx) *Value[int] { return f(&c.cfg.Global) } }
	t := func(f func(*Global) *Value[time.Duration]) timeOf {
		return func(c *ctx) *Value[time.Duration] { return f(&c.cfg.Global) }
	}
	b := func(f func(*Global) *Value[bool]) boolOf {
		return func(c *ctx) *Value[bool] { return f(&c.cfg.Global) }
	}
	s := func(f func(*Global) *Value[string]) textOf {
		return func(c *ctx) *Value[string] { return f(&c.cfg.Global) }
	}
	const G = "global_defs"
	rules := []rule{
		{block: "", keyword: G, open: func(*ctx, *stmt) bool { return true }},
		{block: G, keyword: "nftables", args: 1, set: func(c *ctx, s *stmt) {
			if len(s.words) < 2 {
				put(c, s, &c.cfg.Global.Nftables, "keepalived", s.pos) // keepalived's own name for it
				return
			}
			if w := s.words[1]; len(w.text) > 31 || w.text == "" {
				c.bad(w, "nftables", "write a name of 1 to 31 bytes", fmt.Errorf("%q cannot be the name of a table", shorten(w.text)))
			} else {
				put(c, s, &c.cfg.Global.Nftables, w.text, w.pos)
			}
		}},
		{block: G, keyword: "nftables_priority", args: 1, set: integer(-1<<31, maxInt, g(func(g *Global) *Value[int] { return &g.NftablesPriority }))},
		{block: G, keyword: "disable_local_igmp", set: flag(b(func(g *Global) *Value[bool] { return &g.DisableLocalIGMP }))},
		{block: G, keyword: "nftables_counters", set: flag(b(func(g *Global) *Value[bool] { return &g.NftablesCounters }))},
		{block: "", keyword: "net_namespace", args: 1, set: text("name", s(func(g *Global) *Value[string] { return &g.NetNamespace }))},
		{block: "", keyword: "net_namespace_ipvs", args: 1, set: func(c *ctx, s *stmt) {
			name := ""
			if len(s.words) > 1 {
				name = s.words[1].text
			}
			put(c, s, &c.cfg.Global.NetNamespaceIPVS, name, s.pos)
		}},
		{block: G, keyword: "router_id", args: 1, set: text("name", s(func(g *Global) *Value[string] { return &g.RouterID }))},
		{block: G, keyword: "notification_email", open: func(c *ctx, s *stmt) bool {
			if len(s.children) == 0 {
				c.warnf(s.pos, "missing-value", "notification_email", "write an address per line, or delete the block", "notification_email is empty: nobody gets mail")
			}
			return true
		}, each: wordList(func(c *ctx) *[]Value[string] { return &c.cfg.Global.NotificationEmail })},
		{block: G, keyword: "notification_email_from", args: 1, set: text("mail address", s(func(g *Global) *Value[string] { return &g.NotificationEmailFrom }))},
		{block: G, keyword: "smtp_server", args: 2, set: smtpServer},
		{block: G, keyword: "smtp_connect_timeout", args: 1, set: smtpTimeout},
		{block: G, keyword: "smtp_alert", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.SMTPAlert }))},
		{block: G, keyword: "script_user", args: 2, set: scriptUser},
		{block: G, keyword: "enable_script_security", set: flag(b(func(g *Global) *Value[bool] { return &g.EnableScriptSecurity }))},
		{block: G, keyword: "vrrp_version", args: 1, set: integer(2, 3, g(func(g *Global) *Value[int] { return &g.VRRPVersion }))},
		{block: G, keyword: "vrrp_garp_master_repeat", args: 1, set: atLeastOne(maxInt, g(func(g *Global) *Value[int] { return &g.GARPMasterRepeat }))},
		{block: G, keyword: "vrrp_garp_master_delay", args: 1, set: duration(0, 0, garpMax, t(func(g *Global) *Value[time.Duration] { return &g.GARPMasterDelay }))},
		{block: G, keyword: "vrrp_garp_master_refresh", args: 1, set: duration(0, 0, maxTimer, t(func(g *Global) *Value[time.Duration] { return &g.GARPMasterRefresh }))},
		{block: G, keyword: "vrrp_garp_master_refresh_repeat", args: 1, set: atLeastOne(maxInt, g(func(g *Global) *Value[int] { return &g.GARPMasterRefreshRepeat }))},
		{block: G, keyword: "vrrp_garp_lower_prio_repeat", args: 1, set: integer(0, maxInt, g(func(g *Global) *Value[int] { return &g.GARPLowerPrioRepeat }))},
		{block: G, keyword: "vrrp_garp_lower_prio_delay", args: 1, set: duration(0, 0, garpMax, t(func(g *Global) *Value[time.Duration] { return &g.GARPLowerPrioDelay }))},
		{block: G, keyword: "vrrp_lower_prio_no_advert", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.LowerPrioNoAdvert }))},
		{block: G, keyword: "vrrp_higher_prio_send_advert", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.HigherPrioSendAdvert }))},
		{block: G, keyword: "vrrp_down_timer_adverts", args: 1, set: integer(1, 100, g(func(g *Global) *Value[int] { return &g.DownTimerAdverts }))},
		{block: G, keyword: "smtp_helo_name", args: 1, set: text("name", s(func(g *Global) *Value[string] { return &g.SMTPHelo }))},
		{block: G, keyword: "smtp_auth", args: 2, set: smtpAuth, note: note{Info, "not-in-keepalived", "smtp_auth is understood here, but not by keepalived", "write it as @NODE smtp_auth for the directors that run quorate, if keepalived reads this file too"}},
		{block: G, keyword: "smtp_alert_vrrp", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.SMTPAlertVRRP }))},
		{block: G, keyword: "smtp_alert_checker", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.SMTPAlertChecker }))},
		{block: G, keyword: "no_email_faults", set: flag(b(func(g *Global) *Value[bool] { return &g.NoEmailFaults }))},
		{block: G, keyword: "no_checker_emails", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.NoCheckerEmails }))},
		{block: G, keyword: "vrrp_strict", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.VRRPStrict }))},
		{block: G, keyword: "vrrp_skip_check_adv_addr", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.SkipCheckAdvAddr }))},
		{block: G, keyword: "vrrp_check_unicast_src", set: flag(b(func(g *Global) *Value[bool] { return &g.CheckUnicastSrc }))},
		{block: G, keyword: "v3_checksum_as_v2", args: anyWords, set: flag(b(func(g *Global) *Value[bool] { return &g.V3ChecksumAsV2 }))},
		{block: G, keyword: "vrrp_mcast_group4", args: 1, set: mcast(false, func(c *ctx) *Value[netip.Addr] { return &c.cfg.Global.McastGroup4 })},
		{block: G, keyword: "vrrp_mcast_group6", args: 1, set: mcast(true, func(c *ctx) *Value[netip.Addr] { return &c.cfg.Global.McastGroup6 })},
		{block: G, keyword: "vrrp_garp_interval", args: 1, set: gap(duration(6, minTimer, microMax, t(func(g *Global) *Value[time.Duration] { return &g.GARPInterval })))},
		{block: G, keyword: "vrrp_gna_interval", args: 1, set: gap(duration(6, minTimer, microMax, t(func(g *Global) *Value[time.Duration] { return &g.GNAInterval })))},
		{block: G, keyword: "vrrp_garp_extra_if", args: 2, set: extraIf(t(func(g *Global) *Value[time.Duration] { return &g.GARPExtra }), func(c *ctx) *bool { return &c.cfg.Global.GARPExtraAll })},
		{block: G, keyword: "vrrp_vmac_garp_intvl", args: 2, set: extraIf(t(func(g *Global) *Value[time.Duration] { return &g.GARPExtra }), func(c *ctx) *bool { return &c.cfg.Global.GARPExtraAll })},
		{block: G, keyword: "vrrp_startup_delay", args: 1, set: duration(6, time.Millisecond, microMax, t(func(g *Global) *Value[time.Duration] { return &g.StartupDelay }))},
		{block: G, keyword: "vrrp_delay_after_boot", args: 1, set: duration(6, time.Millisecond, microMax, t(func(g *Global) *Value[time.Duration] { return &g.DelayAfterBoot }))},
		{block: G, keyword: "vrrp_notify_priority_changes", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.NotifyPriority }))},
		{block: G, keyword: "rs_init_notifies", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.RSInitNotifies }))},
		{block: G, keyword: "dynamic_interfaces", args: 1, set: func(c *ctx, s *stmt) {
			if len(s.words) < 2 || c.oneOf(s.words[1], "dynamic_interfaces", "allow_if_changes") {
				put(c, s, &c.cfg.Global.DynamicInterfaces, true, s.pos)
			}
		}},
		{block: "", keyword: "interface_up_down_delays", each: linkDelay},
		{block: G, keyword: "startup_script", args: anyWords, set: command(func(c *ctx) **Command { return &c.cfg.Global.StartupScript })},
		{block: G, keyword: "shutdown_script", args: anyWords, set: command(func(c *ctx) **Command { return &c.cfg.Global.ShutdownScript })},
		{block: G, keyword: "startup_script_timeout", args: 1, set: duration(0, time.Second, 1000*time.Second, func(c *ctx) *Value[time.Duration] { return &c.cfg.Global.StartupTimeout })},
		{block: G, keyword: "shutdown_script_timeout", args: 1, set: duration(0, time.Second, 1000*time.Second, func(c *ctx) *Value[time.Duration] { return &c.cfg.Global.ShutdownTimeout })},
		{block: G, keyword: "log_unknown_vrids", set: flag(b(func(g *Global) *Value[bool] { return &g.LogUnknownVRIDs }))},
		{block: G, keyword: "vmac_prefix", args: 1, set: interfaceName(func(c *ctx) *Value[string] { return &c.cfg.Global.VMACPrefix })},
		{block: G, keyword: "vmac_addr_prefix", args: 1, set: interfaceName(func(c *ctx) *Value[string] { return &c.cfg.Global.VMACAddrPrefix })},
		{block: G, keyword: "default_interface", args: 1, set: interfaceName(func(c *ctx) *Value[string] { return &c.cfg.Global.DefaultInterface })},
		{block: G, keyword: "notify_fifo", args: 3, set: fifo(func(c *ctx) *Fifo { return &c.cfg.Global.NotifyFifo })},
		{block: G, keyword: "vrrp_notify_fifo", args: 3, set: fifo(func(c *ctx) *Fifo { return &c.cfg.Global.VRRPNotifyFifo })},
		{block: G, keyword: "lvs_notify_fifo", args: 3, set: fifo(func(c *ctx) *Fifo { return &c.cfg.Global.LVSNotifyFifo })},
		{block: G, keyword: "notify_fifo_script", args: anyWords, set: command(func(c *ctx) **Command { return &c.cfg.Global.NotifyFifo.Script })},
		{block: G, keyword: "vrrp_notify_fifo_script", args: anyWords, set: command(func(c *ctx) **Command { return &c.cfg.Global.VRRPNotifyFifo.Script })},
		{block: G, keyword: "lvs_notify_fifo_script", args: anyWords, set: command(func(c *ctx) **Command { return &c.cfg.Global.LVSNotifyFifo.Script })},
		{block: G, keyword: "lvs_sync_daemon", args: anyWords, set: syncDaemon},
		{block: G, keyword: "lvs_timeouts", args: anyWords, set: lvsTimeouts},
		{block: G, keyword: "include_check", args: anyWords, set: includeCheck},
	}
	rules = append(rules, schedulingRules("vrrp", func(c *ctx) *Scheduling { return &c.cfg.Global.VRRPSched })...)
	return append(rules, schedulingRules("checker", func(c *ctx) *Scheduling { return &c.cfg.Global.CheckerSched })...)
}

func schedulingRules(worker string, of func(*ctx) *Scheduling) []rule {
	const G = "global_defs"
	return []rule{
		{block: G, keyword: worker + "_priority", args: 1, set: integer(-20, 19, func(c *ctx) *Value[int] { return &of(c).Nice })},
		{block: G, keyword: worker + "_rt_priority", args: 1, set: integer(1, 99, func(c *ctx) *Value[int] { return &of(c).RTPriority })},
		{block: G, keyword: worker + "_rlimit_rttime", args: 1, set: rtTime(of)},
		{block: G, keyword: worker + "_rlimit_rtime", args: 1, set: rtTime(of)},
		{block: G, keyword: worker + "_no_swap", set: flag(func(c *ctx) *Value[bool] { return &of(c).NoSwap })},
		{block: G, keyword: worker + "_cpu_affinity", args: anyWords, set: func(c *ctx, s *stmt) {
			var cpus []int
			if _, ok := c.arg(s, 1, "CPU"); !ok {
				return
			}
			for _, w := range s.words[1:] {
				n, err := number(w.text, 0, maxCPU)
				if err != nil {
					c.bad(w, s.keyword(), "write numbers of CPUs, as /proc/cpuinfo has them", err)
					return
				}
				cpus = append(cpus, int(n))
			}
			put(c, s, &of(c).CPUs, cpus, s.words[1].pos)
		}},
	}
}

// rtTime reads microseconds.
func rtTime(of func(*ctx) *Scheduling) setter {
	return func(c *ctx, s *stmt) {
		var n Value[int]
		if integer(1, maxUint32, func(*ctx) *Value[int] { return &n })(c, s); n.Set {
			put(c, s, &of(c).RTTime, time.Duration(n.V)*time.Microsecond, n.Pos)
		}
	}
}

// maxCPU is the last one that fits the kernel's cpu_set_t.
const maxCPU = 1023

func smtpServer(c *ctx, s *stmt) {
	host, ok := c.arg(s, 1, "host")
	if !ok {
		return
	}
	v := host.text
	if strings.Contains(v, "/") {
		c.bad(host, s.keyword(), "write an address or a name, and behind a blank the port", fmt.Errorf("%q is neither an address nor a name", shorten(v)))
		return
	}
	if len(s.words) > 2 {
		if _, ok := c.port(s.words[2], s.keyword()); !ok {
			return
		}
		v += ":" + s.words[2].text
	}
	put(c, s, &c.cfg.Global.SMTPServer, v, host.pos)
}

// smtpAuth reads USER PASSWORD (RFC 4954).
func smtpAuth(c *ctx, s *stmt) {
	user, ok := c.arg(s, 1, "user name")
	if !ok {
		return
	}
	pass, ok := c.arg(s, 2, "password")
	if !ok {
		return
	}
	c.secretAt(s.pos, s.keyword())
	if strings.Trim(pass.text, "*") == "" {
		c.masked(pass.pos, s.keyword())
	}
	put(c, s, &c.cfg.Global.SMTPUser, user.text, user.pos)
	put(c, s, &c.cfg.Global.SMTPPassword, pass.text, pass.pos)
}

func smtpTimeout(c *ctx, s *stmt) {
	f := &c.cfg.Global.SMTPConnectTimeout
	duration(0, 0, garpMax, func(*ctx) *Value[time.Duration] { return f })(c, s)
	if f.Set && f.V == 0 {
		f.V = time.Second
		c.warnf(f.Pos, "adjusted", s.keyword(), "write 1", "%s 0 means 1 second", s.keyword())
	}
}

func scriptUser(c *ctx, s *stmt) {
	user, ok := c.arg(s, 1, "user")
	if !ok {
		return
	}
	put(c, s, &c.cfg.Global.ScriptUser, user.text, user.pos)
	if group, ok := c.groupName(s, 2); ok {
		put(c, s, &c.cfg.Global.ScriptGroup, group.text, group.pos)
	}
}

// group reads an optional [:]GROUP.
func (c *ctx) groupName(s *stmt, i int) (word, bool) {
	if i >= len(s.words) {
		return word{}, false
	}
	w := s.words[i]
	if strings.HasPrefix(w.text, ":") {
		c.need("supplementary-groups", w.pos, s.keyword(), "write the group without the colon")
		w.text = w.text[1:]
	}
	return w, w.text != ""
}

func interfaceName(field textOf) setter {
	return func(c *ctx, s *stmt) {
		if w, ok := c.arg(s, 1, "name"); ok && c.ifname(w, s.keyword()) {
			put(c, s, field(c), w.text, w.pos)
		}
	}
}

func mcast(six bool, field ipOf) setter {
	name := "mcast4"
	if six {
		name = "mcast6"
	}
	return func(c *ctx, s *stmt) {
		if w, ok := c.arg(s, 1, "multicast address"); ok && c.wordValue(spec{name: name}, s.keyword(), w) {
			put(c, s, field(c), netip.MustParseAddr(w.text), w.pos)
		}
	}
}

// fifo reads PATH [user [group]].
func fifo(field func(*ctx) *Fifo) setter {
	return func(c *ctx, s *stmt) {
		w, ok := c.arg(s, 1, "path")
		if !ok {
			return
		}
		f := field(c)
		put(c, s, &f.Path, w.text, w.pos)
		if len(s.words) > 2 {
			f.User = s.words[2].text
		}
		if len(s.words) > 3 {
			f.Group = s.words[3].text
		}
		for _, g := range []*Fifo{&c.cfg.Global.NotifyFifo, &c.cfg.Global.VRRPNotifyFifo, &c.cfg.Global.LVSNotifyFifo} {
			if g != f && g.Path.Set && g.Path.V == w.text {
				c.errorf(w.pos, "duplicate-name", s.keyword(), "give each pipe a path of its own", "%s is already the path of the pipe at %s", shorten(w.text), g.Path.Pos)
			}
		}
	}
}

// lvsTimeouts reads [tcp S] [tcpfin S] [udp S].
func lvsTimeouts(c *ctx, s *stmt) {
	if len(s.words) == 1 {
		c.arg(s, 1, "timeout")
		return
	}
	if !c.pairs("global_defs.lvs_timeouts", s.keyword(), s.words[1:]) {
		return
	}
	g := &c.cfg.Global
	for i := 1; i+1 < len(s.words); i += 2 {
		n, _ := number(s.words[i+1].text, 0, 2678400)
		v := Value[time.Duration]{V: time.Duration(n) * time.Second, Set: true, Pos: s.words[i+1].pos}
		switch s.words[i].text {
		case "tcp":
			g.LVSTimeoutTCP = v
		case "tcpfin":
			g.LVSTimeoutTCPFin = v
		case "udp":
			g.LVSTimeoutUDP = v
		}
	}
}

// syncDaemon reads IF [[inst] INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group IP]. The
// first definition counts, as in keepalived.
func syncDaemon(c *ctx, s *stmt) {
	w, ok := c.arg(s, 1, "interface")
	if !ok || !c.ifname(w, s.keyword()) {
		return
	}
	const P = "global_defs.lvs_sync_daemon"
	d := &SyncDaemon{Iface: w.text, Pos: s.pos}
	words := s.words[2:]
	if len(words) > 0 && c.schema.option(P, words[0].text) == nil {
		d.Inst = words[0].text // the positional form: INSTANCE [ID]
		words = words[1:]
		if len(words) > 0 && c.schema.option(P, words[0].text) == nil {
			c.warnf(words[0].pos, "obsolete", s.keyword(), "write: id "+words[0].text, "%q: the number of the daemon is written behind id", shorten(words[0].text))
			n, err := number(words[0].text, 0, 255)
			if err != nil {
				c.bad(words[0], s.keyword(), "write a number from 0 to 255", err)
				return
			}
			d.ID = Value[int]{V: int(n), Set: true, Pos: words[0].pos}
			words = words[1:]
		}
	}
	if !c.pairs(P, s.keyword(), words) {
		return
	}
	for i := 0; i+1 < len(words); i += 2 {
		v, at := words[i+1].text, words[i+1].pos
		n, _ := number(v, 0, maxInt)
		switch num := (Value[int]{V: int(n), Set: true, Pos: at}); words[i].text {
		case "inst":
			d.Inst = v
		case "id":
			d.ID = num
		case "maxlen":
			d.MaxLen = num
		case "port":
			d.Port = num
		case "ttl":
			d.TTL = num
		case "group":
			d.Group = Value[netip.Addr]{V: netip.MustParseAddr(v), Set: true, Pos: at}
		}
	}
	if old := c.cfg.Global.LVSSyncDaemon; old != nil {
		c.warnf(s.pos, "duplicate-keyword", s.keyword(), "delete one of the two", "%s is already set at %s, and the first one counts", s.keyword(), old.Pos)
		return
	}
	c.cfg.Global.LVSSyncDaemon = d
}

// gap takes a 0, which the file that many distributions install has: keepalived reports it and goes on without a gap.
func gap(set setter) setter {
	return func(c *ctx, s *stmt) {
		if len(s.words) > 1 && s.words[1].text == "0" {
			c.warnf(s.words[1].pos, "out-of-range", s.keyword(), "delete the line", "%s 0 is what it is without the line; keepalived reports it", s.keyword())
			return
		}
		set(c, s)
	}
}

// linkDelay reads IF DOWN [UP]; without UP it is as long as DOWN.
func linkDelay(c *ctx, item *stmt) {
	const kw = "interface_up_down_delays"
	if !c.linkDelays(kw, item) {
		return
	}
	d := LinkDelay{Iface: item.words[0].text, Pos: item.pos}
	d.Down, _ = seconds(item.words[1].text, 6, 0, 255*time.Second)
	if d.Up = d.Down; len(item.words) > 2 {
		d.Up, _ = seconds(item.words[2].text, 6, 0, 255*time.Second)
	}
	for _, old := range c.cfg.Global.LinkDelays {
		if old.Iface == d.Iface {
			c.warnf(item.pos, "duplicate-name", kw, "delete one of the two", "%s has its delays at %s already; this line is left out", d.Iface, old.Pos)
			return
		}
	}
	c.cfg.Global.LinkDelays = append(c.cfg.Global.LinkDelays, d)
}

// checkLinkDelays finds links that may be down for so long that the others take over before this director gives up.
func (c *ctx) checkLinkDelays() {
	for _, d := range c.cfg.Global.LinkDelays {
		for _, i := range c.cfg.Instances {
			limit := time.Duration(i.DownTimerAdverts.V-1) * i.AdvertInt.V
			if i.Interface.V == d.Iface && d.Down >= limit && limit > 0 {
				c.warnf(d.Pos, "long-delay", "interface_up_down_delays", "write less than "+secs(limit)+" seconds",
					"%s may be down for %v before vrrp_instance %s gives up: another director has taken over by then", d.Iface, d.Down, i.Name)
			}
		}
	}
}
