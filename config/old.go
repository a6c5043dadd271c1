package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// obsoleteWord is a word of old files and tutorials that keepalived has dropped, renamed
// or never had. modern is the line to write instead; empty when there is none.
type obsoleteWord struct {
	blocks string // places where it was written, separated by blanks; "*" anywhere
	word   string
	modern string
	why    string
	// as is the keyword that carries its meaning in the same block; empty: it has no effect.
	as string
	// read stores it in the tree, where one keyword does not do.
	read func(c *ctx, s *stmt)
}

var obsoleteWords = []obsoleteWord{
	{blocks: "global_defs", word: "lvs_id", modern: "router_id NAME", why: "was renamed to router_id in keepalived 1.1", as: "router_id"},
	{blocks: "virtual_server", word: "nat_mask", why: "did something for LVS in Linux 2.2 only and has been removed; NAT needs no mask"},
	{blocks: "vrrp_instance vrrp_sync_group", word: "lvs_sync_daemon_inteface", modern: "lvs_sync_daemon INTERFACE INSTANCE, in global_defs", why: "is a much-copied misspelling of lvs_sync_daemon_interface, which is itself obsolete", as: "lvs_sync_daemon_interface"},
	{blocks: "global_defs", word: "lvs_sync_daemon_interface", modern: "lvs_sync_daemon INTERFACE INSTANCE", why: "belonged into a vrrp_instance and is obsolete there, too"},
	{blocks: "vrrp_sync_group", word: "lvs_sync_daemon_interface", modern: "lvs_sync_daemon INTERFACE INSTANCE, in global_defs", why: "belonged into a vrrp_instance and is obsolete there, too"},
	{blocks: "global_defs", word: "state_file_location", modern: "state_dump_file PATH", why: "stands in the manual only; the program calls it state_dump_file", as: "state_dump_file"},
	{blocks: "global_defs", word: "stats_file_location", modern: "stats_dump_file PATH", why: "stands in the manual only; the program calls it stats_dump_file", as: "stats_dump_file"},
	{blocks: "global_defs", word: "json_file_location", modern: "json_dump_file PATH", why: "stands in the manual only; the program calls it json_dump_file", as: "json_dump_file"},
	{blocks: "vrrp_sync_group", word: "notify_deleted", why: "stands in the manual for groups, but keepalived does not know it there"},
	{blocks: "vrrp_instance", word: "vrrp_unicast_bind", modern: "unicast_src_ip ADDRESS", why: "is the notation of a patch for keepalived 1.1.20", as: "unicast_src_ip"},
	{blocks: "vrrp_instance", word: "vrrp_unicast_peer", modern: "unicast_peer { ADDRESS of each other director }", why: "is the notation of the same patch", as: "unicast_peer", read: oldPeers},
	{blocks: "vrrp_instance", word: "smtp_notify", modern: "smtp_alert", why: "was never a keyword of keepalived", as: "smtp_alert"},
	{blocks: "virtual_server.real_server.FILE_CHECK", word: "dynamic", why: "stands in the manual only; the weight always follows the file"},
	{blocks: "virtual_server.real_server.TCP_CHECK virtual_server.real_server.SMTP_CHECK virtual_server.real_server.DNS_CHECK virtual_server.real_server.MISC_CHECK virtual_server.real_server.PING_CHECK virtual_server.real_server.UDP_CHECK", word: "nb_get_retry", modern: "retry NUMBER", why: "is known to keepalived in HTTP_GET and SSL_GET only", as: "retry"},
}

// obsolete recognises a word of old files and says what to write. It reports whether s was one.
func (c *ctx) obsolete(s *stmt) bool {
	path := s.path()
	for i := range obsoleteWords {
		o := &obsoleteWords[i]
		if o.word != s.keyword() || !isField(o.blocks, path) {
			continue
		}
		hint := "delete it"
		if o.modern != "" {
			hint = "write: " + o.modern
		}
		effect := "it has no effect"
		k := s.in.lookup(o.as)
		if k != nil {
			effect = "it is read as " + o.as
		}
		c.warnf(s.pos, "obsolete", o.word, hint, "%s %s; %s", o.word, o.why, effect)
		switch {
		case o.read != nil:
			o.read(c, s)
			return true
		case k == nil:
			return true
		}
		s.words[0].text, s.kw = o.as, k
		c.renamed = true // said above, whatever age the other word has
		c.statement(s)
		c.renamed = false
		return true
	}
	// Before 1.0 the members of a sync group stood directly in its block.
	if path == "vrrp_sync_group" && !s.block && len(s.words) == 1 && c.group != nil {
		if _, ok := c.schema.nearest(path, s.keyword()); ok {
			return false // a slip of the pen
		}
		c.warnf(s.pos, "obsolete", s.keyword(), "write: group { "+s.keyword()+" }", "%q is a member of the group in the notation of keepalived 0.x; keepalived does not know it any more", shorten(s.keyword()))
		c.group.Members = append(c.group.Members, Value[string]{V: s.keyword(), Set: true, Pos: s.pos})
		return true
	}
	return false
}

// oldPeers reads addresses that stand on the line itself. Left out, the instance would use multicast.
func oldPeers(c *ctx, s *stmt) {
	for _, w := range s.words[1:] {
		a, err := netip.ParseAddr(w.text)
		if err != nil {
			c.bad(w, s.keyword(), "write an IP address", fmt.Errorf("%q is no IP address", shorten(w.text)))
			continue
		}
		c.inst.UnicastPeers = append(c.inst.UnicastPeers, Peer{Addr: a, MaxTTL: Value[int]{V: 255}, Pos: w.pos})
	}
}

func isField(list, name string) bool {
	for f := range strings.FieldsSeq(list) {
		if f == name {
			return true
		}
	}
	return false
}

// modern is what to write in place of keywords that keepalived itself reports as deprecated.
func modern(k *keyword) string {
	switch k.name {
	case "lvs_process_name":
		return "checker_process_name NAME"
	case "lvs_flush_onstop":
		return "lvs_flush_on_stop"
	case "vrrp_vmac_garp_intvl":
		return "vrrp_garp_extra_if SECONDS"
	case "vmac_garp_intvl":
		return "garp_extra_if SECONDS"
	case "vrrp_rlimit_rtime", "checker_rlimit_rtime", "bfd_rlimit_rtime":
		return strings.Replace(k.name, "rtime", "rttime", 1) + " MICROSECONDS"
	case "enable_snmp_keepalived":
		return "enable_snmp_vrrp"
	case "vrrp_track_file":
		return "track_file NAME { ... }"
	case "global_tracking":
		return "sync_group_tracking_weight"
	case "lvs_sync_daemon_interface":
		return "lvs_sync_daemon INTERFACE INSTANCE, in global_defs"
	case "nb_get_retry":
		return "retry NUMBER"
	case "linkbeat_use_polling":
		return "linkbeat_interfaces { INTERFACE }, at the top level"
	case "host":
		return "one SMTP_CHECK with connect_ip for each host"
	}
	return ""
}

// reports227 are the deprecated keywords that keepalived 2.2.7 reports; it takes the others in silence (measured).
var reports227 = map[string]bool{"global_tracking": true, "linkbeat_use_polling": true, "lvs_sync_daemon_interface": true,
	"nb_get_retry": true, "vmac_garp_intvl": true, "vrrp_vmac_garp_intvl": true}

// age says that a keyword is deprecated, or newer than the keepalived of Debian 12.
func (c *ctx) age(k *keyword, at Pos) {
	if c.renamed {
		return
	}
	switch k.in227 {
	case "deprecated":
		hint := "see keepalived.conf(5)"
		if m := modern(k); m != "" {
			hint = "write: " + m
		}
		if !reports227[k.name] {
			c.infof(at, "deprecated", k.name, hint, "%s is deprecated", k.name)
			return
		}
		c.warnf(at, "deprecated", k.name, hint, "%s is deprecated; keepalived reports it as well", k.name)
	case "no":
		c.infof(at, "newer-keyword", k.name, "", "keepalived 2.2.7 does not know %s; 2.4 does", k.name)
	}
}
