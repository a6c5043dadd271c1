package config

import (
	"net/netip"
	"strings"
	"time"
)

// checkKinds are the blocks that check a real server.
var checkKinds = []string{"TCP_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "MISC_CHECK", "PING_CHECK", "UDP_CHECK", "FILE_CHECK", "BFD_CHECK"}

// checkRules are the blocks that check a real server. Most of their keywords are the same
// everywhere; the schema says which block has which.
func checkRules() []rule {
	const R = "virtual_server.real_server"
	t := func(f func(*Check) *Value[time.Duration]) timeOf {
		return func(c *ctx) *Value[time.Duration] { return f(c.check) }
	}
	b := func(f func(*HTTPCheck) *Value[bool]) setter {
		return boolean(func(c *ctx) *Value[bool] { return f(c.check.HTTP) })
	}
	retry := integer(0, maxUint32, func(c *ctx) *Value[int] { return &c.check.Retry })
	common := []rule{
		{keyword: "connect_ip", args: 1, set: address(func(c *ctx) *Value[netip.Addr] { return &c.check.ConnectIP })},
		{keyword: "connect_port", args: 1, set: integer(1, 65535, func(c *ctx) *Value[int] { return &c.check.ConnectPort })},
		{keyword: "bindto", args: 1, set: address(func(c *ctx) *Value[netip.Addr] { return &c.check.BindTo })},
		{keyword: "bind_port", args: 1, set: integer(1, 65535, func(c *ctx) *Value[int] { return &c.bind().Port })},
		{keyword: "bind_if", args: 1, set: interfaceName(func(c *ctx) *Value[string] { return &c.bind().Iface })},
		{keyword: "fwmark", args: 1, set: integer(0, maxUint32, func(c *ctx) *Value[int] { return &c.bind().FWMark })},
		{keyword: "connect_timeout", args: 1, set: duration(6, minTimer, microMax, t(func(k *Check) *Value[time.Duration] { return &k.ConnectTimeout }))},
		{keyword: "retry", args: 1, set: retry},
		{keyword: "delay_before_retry", args: 1, set: duration(6, 0, maxTimer, t(func(k *Check) *Value[time.Duration] { return &k.DelayBeforeRetry }))},
		{keyword: "delay_loop", args: 1, set: duration(6, minTimer, maxTimer, t(func(k *Check) *Value[time.Duration] { return &k.DelayLoop }))},
		{keyword: "warmup", args: 1, set: duration(6, 0, maxTimer, t(func(k *Check) *Value[time.Duration] { return &k.Warmup }))},
		{keyword: "alpha", args: 1, set: boolean(func(c *ctx) *Value[bool] { return &c.check.Alpha })},
	}
	own := map[string][]rule{
		"HTTP_GET": {
			{keyword: "nb_get_retry", args: 1, set: retry},
			{keyword: "virtualhost", args: 1, set: text("name", func(c *ctx) *Value[string] { return &c.check.HTTP.VirtualHost })},
			{keyword: "http_protocol", args: 1, set: choice(func(c *ctx) *Value[string] { return &c.check.HTTP.Protocol }, "1.0", "1.1", "1.0C")},
			{keyword: "enable_sni", args: 1, set: b(func(h *HTTPCheck) *Value[bool] { return &h.SNI })},
			{keyword: "sni_name", args: 1, set: func(c *ctx, s *stmt) {
				v := ""
				if len(s.words) > 1 {
					v = s.words[1].text
				}
				put(c, s, &c.check.HTTP.SNIName, v, s.pos)
			}},
			{keyword: "fast_recovery", args: 1, set: b(func(h *HTTPCheck) *Value[bool] { return &h.FastRecovery })},
			{keyword: "url", open: openURL, close: closeURL},
		},
		"SMTP_CHECK": {
			{keyword: "helo_name", args: 1, set: text("name", func(c *ctx) *Value[string] { return &c.check.SMTP.Helo })},
			{keyword: "host", open: func(c *ctx, s *stmt) bool {
				c.host = &SMTPHost{Pos: s.pos}
				c.check.SMTP.Hosts = append(c.check.SMTP.Hosts, c.host)
				return true
			}},
		},
		"SMTP_CHECK.host": {
			{keyword: "connect_ip", args: 1, set: address(func(c *ctx) *Value[netip.Addr] { return &c.host.IP })},
			{keyword: "connect_port", args: 1, set: integer(1, 65535, func(c *ctx) *Value[int] { return &c.host.Port })},
			{keyword: "bindto", args: 1, set: address(func(c *ctx) *Value[netip.Addr] { return &c.host.BindTo })},
			{keyword: "bind_port", args: 1, set: integer(1, 65535, func(c *ctx) *Value[int] { return &c.host.BindPort })},
		},
		"DNS_CHECK": {
			{keyword: "type", args: 1, set: func(c *ctx, s *stmt) {
				if w, ok := c.arg(s, 1, "record type"); ok {
					w.text = strings.ToUpper(w.text)
					if c.oneOf(w, "type", "A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY") {
						put(c, s, &c.check.DNS.Type, w.text, w.pos)
					}
				}
			}},
			{keyword: "name", args: 1, set: func(c *ctx, s *stmt) {
				if w, ok := c.arg(s, 1, "name"); ok && c.wordValue(spec{name: "domain"}, "name", w) {
					put(c, s, &c.check.DNS.Name, w.text, w.pos)
				}
			}},
		},
		"MISC_CHECK": {
			{keyword: "misc_path", args: anyWords, set: func(c *ctx, s *stmt) {
				if cmd, ok := c.commandOf(s); ok {
					if m := c.check.Misc; cmd.User == "" {
						cmd.User, cmd.Group = m.Command.User, m.Command.Group // a user line above
					}
					c.check.Misc.Command = cmd
				}
			}},
			{keyword: "misc_timeout", args: 1, set: duration(0, 0, garpMax, func(c *ctx) *Value[time.Duration] { return &c.check.Misc.Timeout })},
			{keyword: "misc_dynamic", set: func(c *ctx, _ *stmt) { c.check.Misc.Dynamic = true }},
			{keyword: "user", args: 2, set: func(c *ctx, s *stmt) {
				if w, ok := c.arg(s, 1, "user"); ok {
					c.check.Misc.Command.User = w.text
					if g, ok := c.groupName(s, 2); ok {
						c.check.Misc.Command.Group = g.text
					}
				}
			}},
		},
		"UDP_CHECK": {
			{keyword: "payload", args: anyWords, set: hexWords("hex", func(c *ctx) *Value[string] { return &c.check.UDP.Payload })},
			{keyword: "require_reply", args: anyWords, set: hexWords("hexx", func(c *ctx) *Value[string] { return &c.check.UDP.Reply })},
			{keyword: "min_reply_length", args: 1, set: integer(0, 65535, func(c *ctx) *Value[int] { return &c.check.UDP.MinReply })},
			{keyword: "max_reply_length", args: 1, set: integer(0, 65535, func(c *ctx) *Value[int] { return &c.check.UDP.MaxReply })},
		},
		"FILE_CHECK": {
			{keyword: "track_file", args: 1, set: text("name", func(c *ctx) *Value[string] { return &c.check.File.TrackFile })},
			{keyword: "weight", args: 2, set: func(c *ctx, s *stmt) {
				c.weightOf(s, -maxInt, maxInt, &c.check.File.Weight, &c.check.File.Reverse)
			}},
		},
		"BFD_CHECK": {
			{keyword: "name", args: 1, set: text("name", func(c *ctx) *Value[string] { return &c.check.BFD })},
		},
	}
	own["SSL_GET"] = append(own["HTTP_GET"], rule{keyword: "tls_compliant", args: 1, set: b(func(h *HTTPCheck) *Value[bool] { return &h.TLSCompliant })})
	own["HTTP_GET.url"], own["SSL_GET.url"] = urlRules(), urlRules()

	var out []rule
	for _, kind := range checkKinds {
		out = append(out, rule{block: R, keyword: kind, open: openCheck, close: closeCheck})
		for _, r := range common {
			r.block, r.maybe = R+"."+kind, true // not every kind has every keyword
			out = append(out, r)
		}
	}
	for _, block := range []string{"HTTP_GET", "SSL_GET", "HTTP_GET.url", "SSL_GET.url", "SMTP_CHECK", "SMTP_CHECK.host", "DNS_CHECK", "MISC_CHECK", "UDP_CHECK", "FILE_CHECK", "BFD_CHECK"} {
		for _, r := range own[block] {
			r.block = R + "." + block
			out = append(out, r)
		}
	}
	return out
}

func urlRules() []rule {
	t := func(what string, f func(*URL) *Value[string]) setter {
		return text(what, func(c *ctx) *Value[string] { return f(c.url) })
	}
	return []rule{
		{keyword: "path", args: 1, set: t("path", func(u *URL) *Value[string] { return &u.Path })},
		{keyword: "digest", args: 1, set: func(c *ctx, s *stmt) {
			if w, ok := c.arg(s, 1, "digest"); ok && c.wordValue(spec{name: "md5"}, "digest", w) {
				put(c, s, &c.url.Digest, w.text, w.pos)
			}
		}},
		{keyword: "status_code", args: anyWords, set: func(c *ctx, s *stmt) {
			if _, ok := c.arg(s, 1, "status code"); !ok {
				return
			}
			for _, w := range s.words[1:] {
				if lo, hi, ok := c.statusRange(w, "status_code"); ok {
					c.url.Codes = append(c.url.Codes, [2]int{lo, hi})
				}
			}
		}},
		{keyword: "virtualhost", args: 1, set: t("name", func(u *URL) *Value[string] { return &u.VirtualHost })},
		{keyword: "regex", args: anyWords, set: regex},
		{keyword: "regex_no_match", set: func(c *ctx, _ *stmt) { c.url.NoMatch = true }},
		{keyword: "regex_options", args: anyWords, set: func(c *ctx, s *stmt) {
			if _, ok := c.arg(s, 1, "option"); ok {
				c.url.Options = append(c.url.Options, texts(s.words[1:])...)
			}
		}},
		{keyword: "regex_min_offset", args: 1, set: integer(0, maxUint32, func(c *ctx) *Value[int] { return &c.url.MinOffset })},
		{keyword: "regex_max_offset", args: 1, set: integer(0, maxUint32, func(c *ctx) *Value[int] { return &c.url.MaxOffset })},
		{keyword: "regex_stack", args: 2, set: func(c *ctx, s *stmt) {
			if _, ok := c.arg(s, 2, "second number"); !ok {
				return
			}
			for _, w := range s.words[1:] {
				if !c.wordValue(spec{name: "int", params: []string{"1", "2147483647"}}, "regex_stack", w) {
					return
				}
			}
			c.url.Stack = texts(s.words[1:])
		}},
	}
}

func hexWords(kind string, field textOf) setter {
	return func(c *ctx, s *stmt) {
		if len(s.words) == 1 {
			if kind == "hex" {
				c.arg(s, 1, "hexadecimal payload")
				return
			}
			put(c, s, field(c), "", s.pos)
			return
		}
		for _, w := range s.words[1:] {
			if !c.wordValue(spec{name: kind}, s.keyword(), w) {
				return
			}
		}
		put(c, s, field(c), strings.Join(texts(s.words[1:]), ""), s.words[1].pos)
	}
}

func (c *ctx) bind() *CheckBind {
	if c.check.Bind == nil {
		c.check.Bind = &CheckBind{}
	}
	return c.check.Bind
}

func openCheck(c *ctx, s *stmt) bool {
	k := c.newCheck()
	k.Kind, k.Pos = s.keyword(), s.pos
	switch k.Kind {
	case "HTTP_GET", "SSL_GET":
		k.HTTP = &HTTPCheck{}
	case "SMTP_CHECK":
		k.SMTP = &SMTPCheck{}
	case "DNS_CHECK":
		k.DNS = &DNSCheck{}
	case "MISC_CHECK":
		k.Misc = &MiscCheck{}
	case "UDP_CHECK":
		k.UDP = &UDPCheck{}
	case "FILE_CHECK":
		k.File = &FileCheck{}
	}
	c.check = k
	c.rs.Checks = append(c.rs.Checks, k)
	return true
}

// newCheck makes the object of a check, or takes one that Lint needs no more.
func (c *ctx) newCheck() *Check {
	if list := c.rs.Checks; c.light && len(list) < cap(list) {
		if old := list[:len(list)+1][len(list)]; old != nil {
			*old = Check{}
			return old
		}
	}
	return &Check{}
}

func closeCheck(c *ctx, s *stmt) {
	k := c.check
	need := func(ok bool, kw, hint string) {
		for _, child := range s.children {
			if child.keyword() == kw {
				return // reported there
			}
		}
		if !ok {
			c.errorf(s.pos, "missing-keyword", kw, hint, "%s of real_server %s has no %s", k.Kind, c.rs, kw)
		}
	}
	switch k.Kind {
	case "HTTP_GET", "SSL_GET":
		need(len(k.HTTP.URLs) > 0, "url", "add: url { path / }")
	case "MISC_CHECK":
		need(len(k.Misc.Command.Argv) > 0, "misc_path", `add: misc_path "/path/of/program arguments"`)
	case "FILE_CHECK":
		need(k.File.TrackFile.Set, "track_file", "add: track_file NAME")
	case "BFD_CHECK":
		need(k.BFD.Set, "name", "add: name NAME")
	}
}

func openURL(c *ctx, s *stmt) bool {
	c.url = &URL{Pos: s.pos}
	c.check.HTTP.URLs = append(c.check.HTTP.URLs, c.url)
	return true
}

func closeURL(c *ctx, s *stmt) {
	if !c.url.Path.Set {
		for _, child := range s.children {
			if child.keyword() == "path" {
				return
			}
		}
		c.errorf(s.pos, "missing-keyword", "path", "add: path /", "the url has no path")
	}
	if !c.url.Regex.Set && (c.url.NoMatch || len(c.url.Options) > 0 || c.url.MinOffset.Set || c.url.MaxOffset.Set) {
		c.warnf(s.pos, "ignored", "regex", "add: regex PATTERN", "the url has options for a regex, but no regex")
	}
}

// regex reads a pattern in quotes; only what can be judged without PCRE is.
func regex(c *ctx, s *stmt) {
	parts, open := quotedWords(s.rest.text, true)
	if open {
		if strings.Count(s.rest.text, `"`)%2 == 0 {
			c.errorf(s.pos, "unmatched-quote", "regex", "close the quotation on the same line", "the quotation is never closed")
		}
		return
	}
	if len(parts) == 0 {
		c.arg(s, len(s.words), "pattern")
		return
	}
	at := s.rest.posAt(parts[0].at)
	if p := parts[0].text; unbalanced(p) {
		c.errorf(at, "bad-value", "regex", `close it, or write \\( for the character`, "regex %q: a parenthesis or bracket is never closed", shorten(plain(p)))
		return
	}
	put(c, s, &c.url.Regex, plain(parts[0].text), at)
}

// unbalanced reports a group or a class of a regular expression that is never closed.
func unbalanced(p string) bool {
	depth, class := 0, false
	for i := 0; i < len(p); i++ {
		switch ch := p[i]; {
		case ch == '\\':
			i++
		case class:
			class = ch != ']' || p[i-1] == '['
		case ch == '[':
			class = true
		case ch == '(':
			depth++
		case ch == ')':
			if depth--; depth < 0 {
				return true
			}
		}
	}
	return depth != 0 || class
}

// finishCheck judges a check after everything it inherits is known.
func (c *ctx) finishCheck(v *VirtualServer, r *RealServer, k *Check) {
	if k.BindTo.Set && k.BindTo.V.Is4() != k.ConnectIP.V.Is4() {
		c.errorf(k.BindTo.Pos, "mixed-families", "bindto", "write an address of the same family", "bindto %s and %s, which is checked, are of different families", k.BindTo.V, k.ConnectIP.V)
	}
	if k.HTTP != nil {
		inherit(&k.HTTP.VirtualHost, "", r.VirtualHost, v.VirtualHost)
		def(&k.HTTP.Protocol, "1.0")
		for _, u := range k.HTTP.URLs {
			inherit(&u.VirtualHost, k.HTTP.VirtualHost.V)
		}
	}
	if k.DNS != nil {
		def(&k.DNS.Type, "SOA")
	}
	if k.UDP != nil {
		def(&k.UDP.MaxReply, 255)
	}
	if k.Misc != nil {
		if k.Misc.Timeout.V == 0 {
			k.Misc.Timeout.V = k.DelayLoop.V
		}
		if k.Misc.Timeout.V > k.DelayLoop.V {
			c.warnf(k.Misc.Timeout.Pos, "check-too-slow", "misc_timeout", "write a time below delay_loop",
				"one run may take %s s, but the next is due after %s s (delay_loop)", secs(k.Misc.Timeout.V), secs(k.DelayLoop.V))
		}
		return
	}
	switch {
	case k.Kind == "FILE_CHECK":
		if k.File.TrackFile.Set {
			c.facts.fileChecks = append(c.facts.fileChecks, Track{Name: k.File.TrackFile.V, Pos: k.File.TrackFile.Pos})
		}
		return
	case k.Kind == "BFD_CHECK":
		if k.BFD.Set {
			c.facts.bfdChecks = append(c.facts.bfdChecks, Track{Name: k.BFD.V, Pos: k.BFD.Pos})
		}
		return
	}
	// Without retries every attempt may take connect_timeout; each further one comes after
	// delay_before_retry.
	worst := k.ConnectTimeout.V
	if n := time.Duration(k.Retry.V); n > 0 && n < 1000 {
		worst += n * (k.ConnectTimeout.V + k.DelayBeforeRetry.V)
	}
	if !c.facts.slow && k.ConnectTimeout.V > k.DelayLoop.V {
		c.facts.slow = true // once per service: its servers are checked alike
		at := k.ConnectTimeout.Pos
		if !k.ConnectTimeout.Set {
			at = k.Pos
		}
		c.infof(at, "check-too-slow", "connect_timeout", "write a connect_timeout below delay_loop",
			"one attempt may take %s s, longer than the delay_loop of %s s; a dead server is taken out after up to %s s", secs(k.ConnectTimeout.V), secs(k.DelayLoop.V), secs(k.DelayLoop.V+worst))
	}
}
