package config

import (
	"strings"
	"time"
)

const garpMax = 4294 * time.Second // keepalived keeps these in 32 bits of microseconds

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
	return []rule{
		{block: "", keyword: G, open: func(*ctx, *stmt) bool { return true }},
		{block: G, keyword: "router_id", args: 1, set: text("name", s(func(g *Global) *Value[string] { return &g.RouterID }))},
		{block: G, keyword: "notification_email", each: wordList(func(c *ctx) *[]Value[string] { return &c.cfg.Global.NotificationEmail }), yet: mailYet},
		{block: G, keyword: "notification_email_from", args: 1, set: text("mail address", s(func(g *Global) *Value[string] { return &g.NotificationEmailFrom }))},
		{block: G, keyword: "smtp_server", args: 2, set: smtpServer, yet: mailYet},
		{block: G, keyword: "smtp_connect_timeout", args: 1, set: smtpTimeout},
		{block: G, keyword: "smtp_helo_name", args: 1, yet: mailYet},
		{block: G, keyword: "smtp_alert", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.SMTPAlert })), yet: mailYet},
		{block: G, keyword: "smtp_alert_vrrp", args: 1, yet: mailYet},
		{block: G, keyword: "smtp_alert_checker", args: 1, yet: mailYet},
		{block: G, keyword: "no_email_faults", yet: mailYet},
		{block: G, keyword: "no_checker_emails", args: 1, yet: mailYet},
		{block: G, keyword: "script_user", args: 2, set: scriptUser},
		{block: G, keyword: "enable_script_security", set: flag(b(func(g *Global) *Value[bool] { return &g.EnableScriptSecurity }))},
		{block: G, keyword: "vrrp_version", args: 1, set: integer(2, 3, g(func(g *Global) *Value[int] { return &g.VRRPVersion }))},
		{block: G, keyword: "vrrp_garp_master_repeat", args: 1, set: atLeastOne(maxInt, g(func(g *Global) *Value[int] { return &g.GARPMasterRepeat }))},
		{block: G, keyword: "vrrp_garp_master_delay", args: 1, set: duration(0, 0, garpMax, t(func(g *Global) *Value[time.Duration] { return &g.GARPMasterDelay }))},
		{block: G, keyword: "vrrp_garp_master_refresh", args: 1, set: duration(0, 0, garpMax, t(func(g *Global) *Value[time.Duration] { return &g.GARPMasterRefresh }))},
		{block: G, keyword: "vrrp_garp_master_refresh_repeat", args: 1, set: atLeastOne(maxInt, g(func(g *Global) *Value[int] { return &g.GARPMasterRefreshRepeat }))},
		{block: G, keyword: "vrrp_garp_lower_prio_repeat", args: 1, set: integer(0, maxInt, g(func(g *Global) *Value[int] { return &g.GARPLowerPrioRepeat }))},
		{block: G, keyword: "vrrp_garp_lower_prio_delay", args: 1, set: duration(0, 0, garpMax, t(func(g *Global) *Value[time.Duration] { return &g.GARPLowerPrioDelay }))},
		{block: G, keyword: "vrrp_lower_prio_no_advert", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.LowerPrioNoAdvert }))},
		{block: G, keyword: "vrrp_higher_prio_send_advert", args: 1, set: boolean(b(func(g *Global) *Value[bool] { return &g.HigherPrioSendAdvert }))},
		{block: G, keyword: "vrrp_down_timer_adverts", args: 1, set: integer(1, 100, g(func(g *Global) *Value[int] { return &g.DownTimerAdverts }))},
	}
}

func smtpServer(c *ctx, s *stmt) {
	host, ok := c.arg(s, 1, "host")
	if !ok {
		return
	}
	v := host.text
	if len(s.words) > 2 {
		if _, ok := c.port(s.words[2], s.keyword()); !ok {
			return
		}
		v += ":" + s.words[2].text
	}
	put(c, s, &c.cfg.Global.SMTPServer, v, host.pos)
}

func smtpTimeout(c *ctx, s *stmt) {
	f := &c.cfg.Global.SMTPConnectTimeout
	duration(0, 0, maxInt*time.Second, func(*ctx) *Value[time.Duration] { return f })(c, s)
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
	if group, ok := c.group(s, 2); ok {
		put(c, s, &c.cfg.Global.ScriptGroup, group.text, group.pos)
	}
}

// group reads an optional [:]GROUP.
func (c *ctx) group(s *stmt, i int) (word, bool) {
	if i >= len(s.words) {
		return word{}, false
	}
	w := s.words[i]
	if strings.HasPrefix(w.text, ":") {
		c.warnf(w.pos, "not-supported-yet", s.keyword(), "write the group without the colon", "%s %q: supplementary groups are not supported yet; only the group is set", s.keyword(), shorten(w.text))
		w.text = w.text[1:]
	}
	return w, w.text != ""
}
