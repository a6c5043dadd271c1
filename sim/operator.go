package sim

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"quorate/config"
)

// Case is a scenario made for an operator's own configuration.
type Case struct {
	Name string
	Text string
}

// atName finds the names of "@NAME line" and "@^NAME line".
var atName = regexp.MustCompile(`(?m)^[ \t]*@\^?([A-Za-z0-9_.-]+)[ \t]`)

// nodeNames lists the config-ids a file and what it includes speak of.
func nodeNames(text string) (names []string) {
	for _, m := range atName.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

// ForConfig writes the scenarios that an operator wants to see before a configuration goes live: for each
// thing that can happen to the owner of the first VIP, who takes over and how long a client goes without. nodes are the
// directors; without any they are the config-ids that the file names, or d1 and d2. Addresses are made up to go with the VIPs.
// name is for messages; includes are the files it may include.
func ForConfig(name, text string, includes config.Source, nodes []string) ([]Case, error) {
	if len(nodes) == 0 {
		nodes = nodeNames(text)
	}
	switch len(nodes) {
	case 0:
		nodes = []string{"d1", "d2"}
	case 1:
		nodes = append(nodes, nodes[0]+"-peer")
	}
	s := &Session{Includes: includes}
	o := &operator{text: strings.TrimSpace(text)}
	for _, n := range nodes {
		c, err := s.readConf(n, o.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		o.nodes = append(o.nodes, member{n, c})
	}
	if err := o.layOut(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return o.cases(), nil
}

// operator writes scenarios for one configuration.
type operator struct {
	text   string
	nodes  []member
	vip    netip.Addr // the first
	inst   string
	world  string
	real   servers
	client string // its name, whose digits keep its address clear of others
}

type member struct {
	name string
	conf *config.Config
}

func (m member) instance(name string) *config.Instance {
	for _, i := range m.conf.Instances {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// layOut invents a network that the configuration fits into: a segment per interface, numbered like its VIPs.
func (o *operator) layOut() error {
	var ifaces []string
	nets, nets6, ipv6 := map[string]netip.Prefix{}, map[string]netip.Prefix{}, false
	taken := map[netip.Addr]bool{}
	note := func(name string) {
		if !slices.Contains(ifaces, name) {
			ifaces = append(ifaces, name)
		}
	}
	for _, m := range o.nodes {
		for _, i := range m.conf.Instances {
			note(i.Interface.V)
			for _, t := range i.TrackIfaces {
				note(t.V)
			}
			for _, a := range addresses(i) {
				dev := cmp.Or(a.Dev, i.Interface.V)
				note(dev)
				ip, of, bits := a.Prefix.Addr(), nets, 24
				if ip.Is6() {
					of, bits, ipv6 = nets6, 64, true
				}
				net := netip.PrefixFrom(ip, bits).Masked()
				if _, ok := of[dev]; !ok && !usedNet(of, net) && !ip.IsLinkLocalUnicast() {
					of[dev] = net
				}
				taken[ip] = true
			}
		}
	}
	o.findServers(&ifaces, nets, taken)
	if len(ifaces) > maxLANs {
		return fmt.Errorf("%d interfaces: the simulator has at most %d segments", len(ifaces), maxLANs)
	}
	first := o.nodes[0].conf.Instances[0]
	o.inst = first.Name
	for _, a := range addresses(first) {
		dev := cmp.Or(a.Dev, first.Interface.V)
		if nets[dev].Contains(a.Prefix.Addr()) || nets6[dev].Contains(a.Prefix.Addr()) {
			o.vip = a.Prefix.Addr()
			break
		}
	}
	if !o.vip.IsValid() {
		return fmt.Errorf("vrrp_instance %s has no address that a client could ask", first.Name)
	}
	o.nameClient(nets, taken)
	o.chooseService(o.nodes[0].conf)
	var list, list6 []string
	for k, name := range ifaces {
		if _, ok := nets[name]; !ok {
			nets[name] = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(k), 0}), 24) // RFC 2544's, for links without VIPs
		}
		if _, ok := nets6[name]; !ok {
			nets6[name] = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0, 2, 7: byte(k)}), 64) // RFC 5180's
		}
		list, list6 = append(list, nets[name].String()), append(list6, nets6[name].String())
	}
	base := -1
	for b := 0; b+len(o.nodes) <= maxNodes && base < 0; b++ {
		base = b
		for k := range o.nodes {
			for _, net := range nets { // any of them rules b out: the order is of no consequence
				a := net.Addr().As4()
				a[3] = byte(b + k + 1)
				if taken[netip.AddrFrom4(a)] {
					base = -1
				}
			}
			for _, net := range nets6 {
				a := net.Addr().As16()
				a[15] = byte(b + k + 1)
				if taken[netip.AddrFrom16(a)] {
					base = -1
				}
			}
		}
	}
	if base < 0 {
		return fmt.Errorf("the VIPs leave no room for %d directors below .200", len(o.nodes))
	}
	// The directors' numbers are taken from their names' last digits only if all have some; first shifts them.
	o.world = fmt.Sprintf("world nodes=(%s) client=%s seed=1 ifaces=(%s) nets=(%s) first=%d",
		strings.Join(o.names(), ","), o.client, strings.Join(ifaces, ","), strings.Join(list, ","), base)
	if len(o.real.words) > 0 {
		o.world += " real=(" + strings.Join(o.real.words, ",") + ")"
	}
	if ipv6 {
		o.world += fmt.Sprintf(" nets6=(%s)", strings.Join(list6, ","))
	}
	return nil
}

func usedNet(nets map[string]netip.Prefix, net netip.Prefix) bool {
	for _, n := range nets { // order is of no consequence
		if n == net {
			return true
		}
	}
	return false
}

func (o *operator) names() (names []string) {
	for _, m := range o.nodes {
		names = append(names, m.name)
	}
	return names
}

// cases writes one scenario per fault. Names of owner and backup come from the priorities, as the election
// would have it; where a file makes the answer depend on more than that the scenario tells instead of claiming.
func (o *operator) cases() []Case {
	order := slices.Clone(o.nodes)
	slices.SortStableFunc(order, func(a, b member) int { return cmp.Compare(o.priority(b), o.priority(a)) })
	owner := order[0]
	inst := owner.instance(o.inst)
	settle := time.Minute
	var wait time.Duration
	if inst != nil {
		wait = masterDown(inst)
	}
	bound := (wait + 10*time.Second).Round(time.Second)
	iface := "eth0"
	if inst != nil {
		iface = inst.Interface.V
	}
	var rest []string
	for _, m := range order[1:] {
		rest = append(rest, m.name)
	}
	bound = max(bound, o.real.longest.Round(time.Second))
	type step struct{ name, proves, text string }
	steps := []step{
		{"owner-crash", "the power of the owner fails", "crash " + owner.name},
		{"owner-stop", "the owner's daemon is stopped for maintenance", "stop " + owner.name},
		{"owner-hang", "the owner's daemon hangs for 20 s", "pause " + owner.name + " 20s"},
		{"owner-link", "the owner's cable is pulled", "nic " + owner.name + " down " + iface},
		{"partition", "the owner is cut off from the other directors, the client from the owner", fmt.Sprintf("split {%s}/{%s %s}", owner.name, strings.Join(slices.Concat(rest, o.real.names), " "), o.client)},
		{"deaf-backup", "the others do not hear the owner's adverts", "cut " + owner.name + ">* proto=vrrp"},
	}
	for _, m := range o.nodes {
		for _, sc := range m.conf.Scripts {
			if m.name == owner.name {
				steps = append(steps, step{"script-" + path.Base(sc.Name), "the script " + sc.Name + " fails on the owner", fmt.Sprintf("script %s %s exit=1", m.name, sc.Name)})
			}
		}
	}
	if o.real.service != "" {
		steps = append(steps,
			step{"server-refuses", "the program of a real server ends", "server " + o.real.victim + " refuse"},
			step{"server-hangs", "the program of a real server hangs: it accepts connections and says nothing", "server " + o.real.victim + " hang"},
			step{"servers-gone", "the power of all real servers fails", "crash " + strings.Join(o.real.names, " ")})
	}
	steps = append(steps, step{"reboot-storm", "all directors lose their power and come back at once",
		fmt.Sprintf("crash %s\n----\n\nrun 5s\n----\n\nstart %s", strings.Join(o.names(), " "), strings.Join(o.names(), " "))})
	var list []Case
	for _, st := range steps {
		var b strings.Builder
		fmt.Fprintf(&b, "# Made for your configuration: %s.\n%s\n%s\n\n", st.proves, o.world, rule)
		fmt.Fprintf(&b, "conf %s\n%s\n%s\n\n", strings.Join(o.names(), " "), o.text, rule)
		for _, line := range []string{
			"run " + settle.String(), "load " + o.client + " " + o.vip.String(), o.connect(), "run 2s", st.text, "run " + bound.String(),
			"recover", "run " + (bound + settle).String(), "show state",
			fmt.Sprintf("expect vip=%v owners=1", o.vip), "check live",
		} {
			if line != "" {
				fmt.Fprintf(&b, "%s\n%s\n\n", line, rule)
			}
		}
		list = append(list, Case{st.name, b.String()})
	}
	return list
}

// connect lets the client open connections too, if there is something to connect to.
func (o *operator) connect() string {
	if o.real.service == "" {
		return ""
	}
	return "load " + o.client + " " + o.real.service + " every=100ms"
}

func (o *operator) priority(m member) int {
	if i := m.instance(o.inst); i != nil {
		return i.Priority.V
	}
	return -1
}
