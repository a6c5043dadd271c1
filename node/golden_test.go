package node

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"quorate/config"
	"quorate/ipvs"
	"quorate/ipvs/ipvstest"
	"quorate/vrrp"
)

// TestGolden drives the machines of one director by the text files in testdata and compares
// the actions, printed as the shell commands that would have the same effect.
//
//	conf [generation=N] [none] [causes]   input: keepalived.conf; configures both machines for node d1
//	left IP:PORT …                 what a killed checker worker had put into the kernel
//	probation seconds=N               workers crashed one after the other
//	recovered vip=(IP,…) silent_ms=N   what a killed worker held, and how long ago it lived
//	killed silent_ms=N [untold=(KIND/NAME,…)]   the worker died and another one starts, knowing what it held
//	stage                          input: the keepalived.conf that is about to be activated
//	link eth0 up 192.168.2.210/24  (or down, or gone): what the host says of an interface
//	at 3.5s                        time passes, with a tick at every deadline on the way
//	sleep 2s                       the same without a Tick: the process is not scheduled
//	advert from=IP prio=N [vrid=N] [vips=IP,…]   a v2 advert heard on eth0
//	heard from=IP mac=N vrid=N vips=IP,…   what a monitor tells of a v2 advert; MAC 02:00:00:00:00:N
//	claimed IP [mac=N] [virtual] [request]   an ARP reply, or request, with that address as its sender's; virtual: from the virtual MAC of VRID 51
//	looped                         a frame with eth0's Ethernet address came in
//	census                         what clusterctl vrid list shows
//	script NAME exit=N             answers RunScript
//	file NAME N                    the number in a track_file
//	processes NAME N               how many match a vrrp_track_process
//	probe ID ok|DETAIL             answers RunProbe
//	table                          answers ReadTable with the simulated kernel's table; input lines are added to it first
//	missing                        answers ReadTable with "the kernel has no IPVS"
//	status                         what clusterctl status shows
//	shutdown
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		d := &director{e: NewElector(), s: NewServices(), kernel: ipvstest.New(nil)}
		datadriven.RunTest(t, path, d.run)
	})
}

type director struct {
	now    time.Duration
	e      *Elector
	s      *Services
	kernel *ipvstest.Memory
	causes bool
}

func (d *director) run(t *testing.T, td *datadriven.TestData) string {
	var b strings.Builder
	arg := func(key, def string) string {
		for _, a := range td.CmdArgs {
			if a.Key == key && len(a.Vals) > 0 {
				return strings.Join(a.Vals, ",")
			}
		}
		return def
	}
	number := func(key string, def int) int {
		n, err := strconv.Atoi(arg(key, strconv.Itoa(def)))
		if err != nil {
			td.Fatalf(t, "%s: %v", key, err)
		}
		return n
	}
	word := func(k int) string { return td.CmdArgs[k].Key }
	switch td.Cmd {
	case "conf":
		d.causes = d.causes || td.HasArg("causes") // entries are printed with what led to them
		ev := Configure{Config: d.parse(t, td), Generation: int64(number("generation", 1)), None: td.HasArg("none")}
		d.e.Step(d.now, ev)
		d.s.Step(d.now, ev)
	case "left":
		var ev RecoveredServices
		for k := range td.CmdArgs {
			a := netip.MustParseAddrPort(word(k))
			ev.Keys = append(ev.Keys, ipvs.Key{Protocol: ipvs.TCP, Addr: a.Addr(), Port: a.Port()})
		}
		d.s.Step(d.now, ev)
	case "waited":
		return fmt.Sprintf("%t\n", d.e.Waited(d.now+time.Duration(number("in_ms", 0))*time.Millisecond))
	case "probation":
		d.e.Step(d.now, Probation{For: time.Duration(number("seconds", 60)) * time.Second})
	case "recovered":
		ev := Recovered{Alive: d.now - time.Duration(number("silent_ms", 100))*time.Millisecond}
		for _, a := range td.CmdArgs {
			if a.Key == "vip" {
				for _, v := range a.Vals {
					ev.Held = append(ev.Held, Held{Instance: "VI_1", VRID: 51, Interface: "eth0", Address: config.Address{Prefix: netip.MustParsePrefix(v + "/32")}})
				}
			}
		}
		d.e.Step(d.now, ev)
	case "killed": // what it held is on disk, as JSON
		b, err := json.Marshal(d.e.Held())
		ev := Recovered{Alive: d.now - time.Duration(number("silent_ms", 100))*time.Millisecond}
		if err != nil || json.Unmarshal(b, &ev.Held) != nil {
			td.Fatalf(t, "%s: %v", b, err)
		}
		for _, a := range td.CmdArgs {
			if a.Key == "untold" {
				ev.Untold = strings.Split(strings.ReplaceAll(strings.Join(a.Vals, ","), "/", " "), ",")
			}
		}
		d.e = NewElector()
		d.e.Step(d.now, ev)
	case "checker-killed": // what it knew is on disk
		ev := RecoveredServices{Keys: d.s.kept.Keys, Down: d.s.kept.Down}
		d.s = NewServices()
		d.s.Step(d.now, ev)
	case "stage":
		d.e.Step(d.now, Stage{Config: d.parse(t, td)})
	case "link":
		l := Link{Name: word(0), Exists: word(1) != "gone", Up: word(1) == "up", MAC: [6]byte{2, 0, 0, 0, 0, 1}}
		for _, a := range td.CmdArgs[2:] {
			if p := netip.MustParsePrefix(a.Key); p.Addr().Is6() {
				l.Addrs6 = append(l.Addrs6, p)
			} else {
				l.Addrs = append(l.Addrs, p)
			}
		}
		d.e.Step(d.now, l)
	case "deaf":
		s := Socket{Group: netip.MustParseAddr("224.0.0.18")}
		if td.HasArg("ipv6") {
			s = Socket{IPv6: true, Group: netip.MustParseAddr("ff02::12")}
		}
		d.e.Step(d.now, Deaf{Interface: word(0), Socket: s, Why: strings.ReplaceAll(arg("why", ""), "-", " ")})
	case "at":
		to, err := time.ParseDuration(word(0))
		if err != nil {
			td.Fatalf(t, "%v", err)
		}
		for {
			due, ok := d.e.Deadline()
			if s, sok := d.s.Deadline(); sok && (!ok || s < due) {
				due, ok = s, true
			}
			if !ok || due > to {
				break
			}
			d.now = max(due, d.now)
			d.e.Step(d.now, Tick{})
			d.s.Step(d.now, Tick{})
			d.drain(&b)
		}
		d.now = to
	case "sleep":
		to, err := time.ParseDuration(word(0))
		if err != nil {
			td.Fatalf(t, "%v", err)
		}
		d.now = to
	case "advert":
		src, dst := netip.MustParseAddr(arg("from", "")), netip.MustParseAddr("224.0.0.18")
		a := vrrp.Advert{Version: 2, VRID: uint8(number("vrid", 51)), Priority: uint8(number("prio", 100)), Interval: time.Second}
		for _, v := range strings.Split(arg("vips", "192.168.2.240"), ",") {
			a.Addrs = append(a.Addrs, netip.MustParseAddr(v))
		}
		payload, err := a.Append(nil, src, dst, false)
		if err != nil {
			td.Fatalf(t, "%v", err)
		}
		d.e.Step(d.now, Received{Interface: "eth0", Packet: vrrp.Packet{Src: src, Dst: dst, TTL: 255, Payload: payload}})
	case "heard":
		h := Heard{Interface: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, byte(number("mac", 9))}, Src: netip.MustParseAddr(arg("from", "")),
			Dst: netip.MustParseAddr(arg("to", "224.0.0.18")), Auth: map[string]vrrp.AuthType{"none": vrrp.AuthNone, "pass": vrrp.AuthPass, "ah": vrrp.AuthAH}[arg("auth", "none")],
			VRID: uint8(number("vrid", 51)), Version: 2, Priority: uint8(number("prio", 100)), Interval: time.Second, Packets: 1}
		for _, v := range strings.Split(arg("vips", "192.168.2.240"), ",") {
			h.VIPs = append(h.VIPs, netip.MustParseAddr(v))
		}
		d.e.Step(d.now, h)
	case "claimed":
		ev := Claimed{Interface: "eth0", Addr: netip.MustParseAddr(word(0)), MAC: [6]byte{2, 0, 0, 0, 0, byte(number("mac", 9))}, What: "ARP reply"}
		if td.HasArg("virtual") {
			ev.MAC = [6]byte{0, 0, 0x5e, 0, 1, 51}
		}
		if td.HasArg("request") {
			ev.What = "ARP request"
		}
		d.e.Step(d.now, ev)
	case "looped":
		d.e.Step(d.now, Looped{Interface: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}})
	case "census":
		for _, h := range d.e.Census() {
			fmt.Fprintf(&b, "%s %s vrid %d %s %s v%d prio %d %v %s packets %d ours %t rejected %q last %v\n", h.Interface, h.Family, h.VRID, h.Address, h.MAC,
				h.Version, h.Priority, h.VIPs, h.Auth, h.Packets, h.Ours, h.Rejected, h.LastAt)
		}
		return b.String()
	case "script":
		exit := number("exit", 0)
		d.e.Step(d.now, ScriptResult{Script: word(0), ExitCode: exit, Detail: fmt.Sprintf("exit %d", exit)})
	case "file", "processes":
		n, err := strconv.Atoi(word(1))
		if err != nil {
			td.Fatalf(t, "%v", err)
		}
		if td.Cmd == "file" {
			d.e.Step(d.now, FileNumber{File: word(0), Number: n})
		} else {
			d.e.Step(d.now, ProcessCount{Process: word(0), Running: n})
		}
	case "probe":
		detail := strings.TrimSpace(td.Input)
		d.s.Step(d.now, ProbeResult{ID: ProbeID(detail[:strings.IndexByte(detail, '\n')]), OK: strings.HasSuffix(detail, "\nok"),
			Detail: detail[strings.IndexByte(detail, '\n')+1:]})
	case "table":
		if td.Input != "" {
			add, err := ipvs.Parse(td.Input)
			if err != nil {
				td.Fatalf(t, "%v", err)
			}
			have, _ := d.kernel.Table()
			if err := d.kernel.Apply(ipvs.Plan(add, have, nil)); err != nil {
				td.Fatalf(t, "%v", err)
			}
		}
		table, _ := d.kernel.Table()
		d.s.Step(d.now, TableRead{Table: table})
	case "missing":
		d.s.Step(d.now, TableFailed{Err: "the kernel has no IPVS: modprobe ip_vs", Missing: true})
	case "status":
		for _, i := range d.e.Status() {
			fmt.Fprintf(&b, "%s %s priority %d/%d reason %s master %s\n", i.Name, i.State, i.Priority, i.Base, i.Reason, i.Master)
			if len(i.Rejected) > 0 {
				fmt.Fprintf(&b, "%s rejected %v\n", i.Name, i.Rejected)
			}
		}
		for _, s := range d.s.Status() {
			for _, r := range s.Servers {
				fmt.Fprintf(&b, "%s %s up=%t %s\n", s.Service, r.Server, r.Up, r.Detail)
			}
		}
		if m := d.s.Missing(); m != "" {
			fmt.Fprintf(&b, "missing: %s\n", m)
		}
		return b.String()
	case "shutdown":
		d.e.Step(d.now, Shutdown{})
		d.s.Step(d.now, Shutdown{})
	default:
		td.Fatalf(t, "unknown verb %s", td.Cmd)
	}
	d.drain(&b)
	return b.String()
}

func (d *director) parse(t *testing.T, td *datadriven.TestData) *config.Config {
	c, diags := config.Parse("test.conf", config.Files{"test.conf": td.Input}, config.Options{ConfigID: "d1"})
	if diags.HasErrors() {
		td.Fatalf(t, "%v", diags)
	}
	return c
}

// drain carries out what both machines want and prints it.
func (d *director) drain(b *strings.Builder) {
	arps := ""
	count := 0
	flush := func() {
		if count > 0 {
			fmt.Fprintf(b, "%8.3f  %s x%d\n", d.now.Seconds(), arps, count)
		}
		count = 0
	}
	for _, a := range append(d.e.Ready(), d.s.Ready()...) {
		if arp, ok := a.(SendARP); ok {
			line := fmt.Sprintf("arping -U -I %s %s", arp.Interface, arp.Addr)
			if line != arps {
				flush()
			}
			arps = line
			count++
			continue
		}
		flush()
		for _, line := range d.text(a) {
			fmt.Fprintf(b, "%8.3f  %s\n", d.now.Seconds(), line)
		}
	}
	flush()
}

// text is the action as a shell command, or in words; an action it does not know fails the test.
func (d *director) text(a Action) []string {
	switch a := a.(type) {
	case Listen:
		if a.Close {
			return []string{"close " + a.Interface}
		}
		if len(a.Sockets) == 1 && a.Sockets[0] == (Socket{Group: vrrp.Group(false)}) {
			return []string{"listen " + a.Interface}
		}
		return []string{fmt.Sprintf("listen %s %v", a.Interface, a.Sockets)}
	case Watch:
		return []string{"watch " + a.Interface}
	case Remember:
		var held []string
		for _, h := range d.e.Held() {
			switch {
			case h.Route != nil:
				held = append(held, "route "+h.Route.Text)
			case h.Rule != nil:
				held = append(held, "rule "+h.Rule.Text)
			default:
				held = append(held, h.Address.Prefix.Addr().String())
			}
		}
		return []string{fmt.Sprintf("remember %v", held)}
	case RememberServices:
		var keys []string
		for _, k := range a.Keys {
			keys = append(keys, serviceName(k))
		}
		if len(a.Down) > 0 {
			return []string{fmt.Sprintf("remember services %v down %q", keys, a.Down)}
		}
		return []string{fmt.Sprintf("remember services %v", keys)}
	case SendAdvert:
		if p := message(a.Packet); len(p) == 16 && p[0]>>4 == 2 && p[3] == 0 { // nobody else takes one without addresses
			return []string{fmt.Sprintf("advert %s > %s vrid %d prio %d []", a.Packet.Src, a.Packet.Dst, p[1], p[2])}
		}
		var ad vrrp.Advert
		if err := ad.Decode(message(a.Packet), a.Packet.Src, a.Packet.Dst); err != nil {
			return []string{"INVALID ADVERT: " + err.Error()}
		}
		from := ""
		if a.MAC != [6]byte{} {
			from = " from " + MAC(a.MAC)
		}
		return []string{fmt.Sprintf("advert %s > %s vrid %d prio %d %v%s", a.Packet.Src, a.Packet.Dst, ad.VRID, ad.Priority, ad.Addrs, from)}
	case AddAddress:
		return []string{fmt.Sprintf("ip addr add %s dev %s", a.Address.Prefix, a.Interface)}
	case RemoveAddress:
		return []string{fmt.Sprintf("ip addr del %s dev %s", a.Address.Prefix, a.Interface)}
	case VMACs:
		out := []string{}
		for _, v := range a.List {
			out = append(out, fmt.Sprintf("ip link add %s link %s address %s type macvlan mode private (IPv6 %t)", v.Name, v.Parent, MAC(v.MAC), v.IPv6))
		}
		if len(a.List) == 0 {
			out = append(out, "no macvlan")
		}
		return out
	case Refuse:
		return []string{fmt.Sprintf("nft refuse %v", a.Addrs)}
	case AddRoute:
		return []string{"ip route add " + a.Route.Text}
	case RemoveRoute:
		return []string{"ip route del " + a.Route.Text}
	case AddRule:
		return []string{"ip rule add " + a.Rule.Key()}
	case RemoveRule:
		return []string{"ip rule del " + a.Rule.Key()}
	case RunScript:
		return []string{fmt.Sprintf("run %s: timeout %s %s", a.Script, a.Timeout, strings.Join(a.Command.Argv, " "))}
	case WatchTrackers:
		var out []string
		for _, f := range a.Files {
			out = append(out, fmt.Sprintf("follow file %s: %s", f.Name, f.File.V))
		}
		for _, p := range a.Processes {
			out = append(out, fmt.Sprintf("follow process %s: %v", p.Name, p.Process))
		}
		return append(out, fmt.Sprintf("follow %d in all", len(out)))
	case Notify:
		var out []string
		if a.Fifo {
			out = append(out, "fifo "+strings.TrimSpace(a.Line()))
		}
		if a.Mail {
			out = append(out, fmt.Sprintf("mail %s %s %s", a.Kind, a.Name, a.State))
		}
		for _, c := range a.Commands {
			out = append(out, "notify "+strings.Join(append(append([]string{}, c.Command.Argv...), c.Extra...), " "))
		}
		return out
	case RunProbe:
		return []string{fmt.Sprintf("probe %s: %s %s timeout %s", a.ID, a.Kind, a.Target, a.Timeout)}
	case ReadTable:
		return []string{"ipvsadm -Sn"}
	case ApplyOps:
		if err := d.kernel.Apply(a.Ops); err != nil {
			return []string{"IPVS REFUSED: " + err.Error()}
		}
		var out []string
		for _, op := range a.Ops {
			out = append(out, op.String())
		}
		return out
	case Report:
		en := a.Entry
		if d.causes {
			en.Detail += fmt.Sprintf(" [%d %s]", en.Cause, en.Trigger)
		}
		return []string{strings.Join(strings.Fields(fmt.Sprintf("# %s %s %s %s %s", en.Event, en.Instance, arrow(en), en.Reason, en.Detail)), " ")}
	}
	return []string{fmt.Sprintf("UNKNOWN ACTION %T", a)}
}

// message is the advert behind an authentication header.
func message(p vrrp.Packet) []byte {
	if p.Proto == vrrp.ProtocolAH {
		return p.Payload[vrrp.AHLen:]
	}
	return p.Payload
}

func arrow(en Entry) string {
	if en.From == "" {
		return ""
	}
	return en.From + "->" + en.To
}
