package config

// feature is something that a keyword, a value or a block asks the daemon to do.
type feature struct {
	name  string
	done  bool     // the daemon carries it out: this is the switch
	level Severity // of the finding as long as it does not; Error when running the file without would mislead
	why   string   // what happens instead, completes "X is not supported yet: ..."
	once  bool     // said once per file, however often it is asked for
	never bool     // it will not be carried out: quorate is built differently, why says how
}

// features is the one table of what the daemon carries out. A release that learns one of
// them sets done, and every finding about it, the status in docs/keywords.md and the
// tests follow. The names are those of the last column of values.tsv.
var features = []feature{
	{name: "yes", done: true},

	// Elections.
	{name: "sync-group", done: true, level: Error, why: "its members would change state one by one"},
	{name: "unicast", done: true, level: Error, why: "adverts would be sent by multicast"},
	{name: "source-address", done: true, level: Error, why: "adverts would come from the first address of the interface"},
	{name: "mcast-group", done: true, level: Error, why: "adverts would be sent to 224.0.0.18 or ff02::12"},
	{name: "ipv6", done: true, level: Error, why: "the address would be left out"},
	{name: "ipvlan", done: true, level: Error, why: "the addresses would be put on the interface itself"},
	{name: "vmac", done: true, level: Error, why: "the address would be answered for with the MAC address of the interface"},
	{name: "auth-ah", done: true, level: Error, why: "adverts would be sent without it, and other routers would discard them"},
	{name: "auth-hmac", level: Error, why: "adverts would be sent without it, and other routers would discard them"},
	{name: "strict", done: true, level: Error, why: "the rules of the RFC would not be enforced"},
	{name: "checksum-v2", done: true, level: Error, why: "routers that use this checksum would discard the adverts"},
	{name: "startup-delay", done: true, level: Error, why: "the election would begin at once"},
	{name: "dont-track-primary", done: true, level: Error, why: "the instance would be in fault while its interface is down"},
	{name: "weighted-links", done: true, level: Error, why: "the priority would not follow the interface"},
	{name: "track-file", done: true, level: Error, why: "nothing would follow the file"},
	{name: "track-process", done: true, level: Error, why: "nothing would follow the process"},
	{name: "bfd", level: Error, why: "no BFD session would be run"},
	{name: "readable-script", done: true, level: Error, why: "whether the file can be read would not be tested"},
	{name: "no-vip", done: true, level: Error, why: "an instance needs an address"},
	{name: "no-accept", done: true, level: Error, why: "the owner of the address would accept packets for it"},
	{name: "promote", done: true, level: Error, why: "the kernel might take addresses of the same subnet along"},
	{name: "owner-ignore", done: true, level: Warning, why: "an owner answers adverts of others"},
	{name: "timer-expired", level: Warning, never: true, why: "a director that was stopped for longer than the others wait becomes BACKUP in any case"},
	{name: "skip-check", done: true, level: Warning, why: "the address list of every advert is compared"},
	{name: "log-vrids", done: true, level: Warning, why: "adverts with another virtual_router_id are not logged"},
	{name: "link-delays", done: true, level: Warning, why: "a link counts as down as soon as the kernel says so"},
	{name: "link-polling", level: Warning, never: true, why: "the kernel tells of links that go up and down"},
	{name: "dynamic-interfaces", done: true, level: Warning, why: "an interface must exist when the configuration is used"},

	// Addresses, routes and what is announced about them.
	{name: "routes", done: true, level: Error, why: "the routes would not follow the address"},
	{name: "rules", done: true, level: Error, why: "the rules would not follow the address"},
	{name: "static", done: true, level: Error, why: "it would not be configured"},
	{name: "route-encap", done: true, level: Error, why: "packets would be sent without the encapsulation"},
	{name: "track-group", done: true, level: Error, why: "no instance would go to fault when it is lost"},
	{name: "address-options", done: true, level: Warning, why: "the address is added without it"},
	{name: "garp-interval", done: true, level: Warning, why: "announcements are sent one right after the other"},
	{name: "garp-extra", done: true, level: Warning, why: "addresses on other interfaces are not announced again and again"},
	{name: "firewall", done: true, level: Warning, why: "the table is called quorate"},
	{name: "iptables", level: Warning, never: true, why: "what no_accept needs is made with nftables, in a table of its own"},
	{name: "nft-ifindex", level: Warning, never: true, why: "the firewall rules name addresses only, and no interface"},
	{name: "nft-ipvs", level: Warning, never: true, why: "no firewall mark is set for a virtual_server_group"},

	// Telling others.
	{name: "mail", done: true, level: Warning, once: true, why: "mail is not sent yet"},
	{name: "mail-services", level: Warning, once: true, why: "mail is sent about VRRP only"},
	{name: "lvs-fifo", level: Error, why: "a program that reads the pipe would wait for ever"},
	{name: "notify-fifo", done: true, level: Error, why: "a program that reads the pipe would wait for ever"},
	{name: "priority-notes", done: true, level: Warning, why: "changes of the priority are not reported"},
	{name: "notify-more", done: true, level: Error, why: "the command would never run"},
	{name: "daemon-scripts", done: true, level: Error, why: "the command would never run"},
	{name: "snmp", level: Warning, why: "there is no SNMP agent; use the metrics and the API of clusterd"},
	{name: "dbus", level: Warning, never: true, why: "there is no D-Bus interface; use the API of clusterd"},

	// Services.
	{name: "vs-fwmark", level: Error, why: "packets with the mark would not be balanced"},
	{name: "vs-group", level: Error, why: "nobody would answer for the addresses of the group"},
	{name: "vs-anyport", level: Error, why: "a service on every port would answer on none"},
	{name: "vs-ops", level: Error, why: "every packet would not be scheduled on its own"},
	{name: "sched-flags", level: Error, why: "the scheduler would run without it"},
	{name: "persistence-engine", level: Error, why: "clients would be told apart by address only"},
	{name: "tunnel", level: Error, why: "packets would be sent as plain IP in IP"},
	{name: "thresholds", level: Error, why: "the number of connections would not be limited"},
	{name: "sorry-server", level: Error, why: "nobody would answer when all real servers are down"},
	{name: "quorum", level: Warning, why: "without sorry_server and quorum_up/quorum_down a quorum changes no traffic"},
	{name: "quorum-scripts", level: Error, why: "the command would never run"},
	{name: "omega", level: Warning, why: "no commands run when the daemon stops"},
	{name: "rs-notify", level: Error, why: "the command would never run"},
	{name: "ha-suspend", level: Error, why: "the real servers would be checked on every director"},
	{name: "lvs-timeouts", level: Error, why: "the kernel's own timeouts would be used"},
	{name: "lvs-flush", level: Warning, never: true, why: "the table of the kernel is brought in line with the file whenever one is used"},
	{name: "lvs-sync", level: Error, why: "connections would not be handed over by the kernel's multicast"},

	// Health checks.
	{name: "check-http", level: Error, why: "the server would be in service without being checked"},
	{name: "check-ssl", level: Error, why: "the server would be in service without being checked"},
	{name: "check-smtp", level: Error, why: "the server would be in service without being checked"},
	{name: "check-dns", level: Error, why: "the server would be in service without being checked"},
	{name: "check-misc", level: Error, why: "the server would be in service without being checked"},
	{name: "check-udp", level: Error, why: "the server would be in service without being checked"},
	{name: "check-ping", level: Error, why: "the server would be in service without being checked"},
	{name: "check-file", level: Error, why: "the server would be in service without being checked"},
	{name: "check-bfd", level: Error, why: "the server would be in service without being checked"},
	{name: "check-bind", level: Error, why: "the check would go out as the kernel chooses"},
	{name: "log-failures", level: Warning, why: "only changes of state are logged"},

	// The machinery around it.
	{name: "net-namespace", done: true, level: Error, why: "the host's own network would be changed"},
	{name: "supplementary-groups", level: Warning, why: "only the group is set"},
	{name: "scheduling", level: Warning, never: true, why: "no process of its own runs BFD"},
	{name: "auto-priority", level: Warning, never: true, why: "a worker keeps the priority it was given (vrrp_rt_priority); how late it was is measured, logged and shown by status"},
	{name: "igmp", done: true, level: Warning, why: "reports of multicast membership are sent"},
	{name: "process-names", level: Warning, never: true, why: "the processes are called clusterd, and clusterd: vrrp, clusterd: checker, clusterd: cluster"},
	{name: "run-dir", level: Warning, never: true, why: "a second clusterd on one host gets a directory of its own with --run-dir, and all its files lie there"},
	{name: "stop-time", level: Warning, never: true, why: "workers have 5 seconds to stop"},
	{name: "symlink-paths", level: Warning, never: true, why: "the path is run as it is written, and judged where it leads"},
	{name: "dump-files", level: Warning, never: true, why: "the files of SIGUSR1, SIGUSR2 and SIGRTMIN+2 have the names and the form of keepalived 2.2.7, in TMPDIR"},
	{name: "umask", level: Warning, never: true, why: "every file is made with the permissions it needs"},
	{name: "checked-first", level: Warning, never: true, why: "a configuration with errors is refused at every reload and push, and the old one goes on"},
	{name: "no-copies", level: Warning, never: true, why: "no copy of the file is made to read it; clusterctl history keeps what was pushed"},
	{name: "iproute-dirs", level: Warning, never: true, why: "names are looked up in /etc/iproute2, /usr/share/iproute2 and /usr/lib/iproute2"},
	{name: "debug", level: Warning, never: true, why: "keepalived does nothing with it either; clusterd -D logs more"},
	{name: "buffers", level: Warning, never: true, why: "clusterd sizes its own buffers"},
	{name: "reload-time", level: Warning, never: true, why: "a configuration is used when it is pushed"},
	{name: "other-design", level: Warning, never: true, why: "clusterd is built differently and has nothing it could apply to"},
}

func featureNamed(name string) *feature {
	for i := range features {
		if features[i].name == name {
			return &features[i]
		}
	}
	return nil
}

// need reports that kw asks for a feature which is not carried out.
func (c *ctx) need(name string, at Pos, kw, hint string) {
	c.lacking(featureNamed(name), at, kw, hint)
}

func (c *ctx) lacking(f *feature, at Pos, kw, hint string) {
	if f != nil && f.once {
		if c.facts.told == nil {
			c.facts.told = map[*feature]bool{}
		}
		if c.facts.told[f] {
			return
		}
		c.facts.told[f] = true
	}
	switch {
	case f == nil || f.done:
	case f.never:
		c.add(Diagnostic{Severity: f.level, Code: "no-effect", Pos: at, Keyword: kw, Message: kw + " has no effect here: " + f.why, Hint: hint})
	case f.level == Error:
		c.add(Diagnostic{Severity: Error, Code: "not-supported-yet", Pos: at, Keyword: kw, Message: kw + " is not supported yet: " + f.why, Hint: hint})
	default:
		c.add(Diagnostic{Severity: f.level, Code: "no-effect-yet", Pos: at, Keyword: kw, Message: kw + " is read, but has no effect yet: " + f.why, Hint: hint})
	}
}
