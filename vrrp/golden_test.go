package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestGolden runs testdata/*.txt. `go test -run TestGolden ./vrrp -rewrite` regenerates; commit only what you can explain.
//
//	new [OPTION...]                      a new instance in INIT; see the switch in config
//	step at=3s startup [adopt]           one event, then the actions and the timers it leaves
//	step at=3s recv from=IP prio=N ...   an advert like our own except for what is said; see packet
//	step at=3s source [IP]               source address, or none
//	step at=3s fault down|noaddr|track   (several), or none to clear
//	step at=3s prio N | tick | shutdown | alt addrs=(...) | reconf OPTION...
//	run until=10s                        a Tick at every deadline up to then, exactly on time
//	times                                skew and master-down interval
//	counters
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		var g golden
		datadriven.RunTest(t, path, g.run)
	})
}

type golden struct {
	i   *Instance
	now time.Duration
}

func (g *golden) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "new":
		cfg := testConfig()
		cfg.AuthType, cfg.AuthPass = AuthNone, ""
		cfg.Addrs = cfg.Addrs[:1]
		config(t, d, &cfg, d.CmdArgs)
		g.i, g.now = New(cfg), 0
		g.i.Step(0, SetSource{own})
		if err := Validate(cfg); err != nil {
			return err.Error()
		}
		return g.i.String()
	case "step":
		g.now = duration(t, d, d.CmdArgs[0].SingleVal(t))
		g.i.Step(g.now, g.event(t, d, d.CmdArgs[1], d.CmdArgs[2:]))
		return g.after()
	case "run":
		until := duration(t, d, d.CmdArgs[0].SingleVal(t))
		var out strings.Builder
		for {
			at, ok := g.i.Deadline()
			if !ok || at > until {
				break
			}
			g.i.Step(at, Tick{})
			for _, a := range g.i.Ready() {
				fmt.Fprintf(&out, "%v %v\n", at, a)
			}
		}
		g.now = until
		return out.String() + g.after()
	case "times":
		return fmt.Sprintf("skew %v, master-down %v", g.i.SkewTime(), g.i.MasterDownInterval())
	case "counters":
		return g.i.Counters().String()
	}
	d.Fatalf(t, "unknown verb %q", d.Cmd)
	return ""
}

// after shows what Ready holds and where the timers stand.
func (g *golden) after() string {
	return Format(g.i.Ready()) + "= " + g.i.String()
}

func duration(t *testing.T, d *datadriven.TestData, s string) time.Duration {
	v, err := time.ParseDuration(s)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	return v
}

func number(t *testing.T, d *datadriven.TestData, s string) int {
	var n int
	if _, err := fmt.Sscanf(s, "%d", &n); err != nil {
		d.Fatalf(t, "%q: %v", s, err)
	}
	return n
}

func addrs(words []string) (list []netip.Addr) {
	for _, w := range words {
		list = append(list, netip.MustParseAddr(w))
	}
	return list
}

func config(t *testing.T, d *datadriven.TestData, cfg *Config, args []datadriven.CmdArg) {
	for _, a := range args {
		dur := func() time.Duration { return duration(t, d, a.SingleVal(t)) }
		num := func() int { return number(t, d, a.SingleVal(t)) }
		switch a.Key {
		case "v":
			cfg.Version = uint8(num())
		case "vrid":
			cfg.VRID = uint8(num())
		case "prio":
			cfg.Priority = uint8(num())
		case "int":
			cfg.AdvertInt = dur()
		case "pass":
			cfg.AuthType, cfg.AuthPass = AuthPass, a.SingleVal(t)
		case "addrs":
			cfg.Addrs = addrs(a.Vals)
		case "alt":
			cfg.AltAddrs = append(cfg.AltAddrs, addrs(a.Vals))
		case "nopreempt":
			cfg.NoPreempt = true
		case "preempt-delay":
			cfg.PreemptDelay = dur()
		case "down-timer-adverts":
			cfg.DownTimerAdverts = num()
		case "lower-prio-no-advert":
			cfg.LowerPrioNoAdvert = true
		case "higher-prio-send-advert":
			cfg.HigherPrioSendAdvert = true
		case "message-only":
			cfg.ChecksumMessageOnly = true
		case "garp": // repeat, delay
			cfg.GARP.MasterRepeat, cfg.GARP.MasterDelay = number(t, d, a.Vals[0]), duration(t, d, a.Vals[1])
		case "garp-lower":
			cfg.GARP.LowerPrioRepeat, cfg.GARP.LowerPrioDelay = number(t, d, a.Vals[0]), duration(t, d, a.Vals[1])
		case "garp-refresh":
			cfg.GARP.MasterRefresh, cfg.GARP.MasterRefreshRepeat = duration(t, d, a.Vals[0]), number(t, d, a.Vals[1])
		default:
			d.Fatalf(t, "unknown option %q", a.Key)
		}
	}
}

func (g *golden) event(t *testing.T, d *datadriven.TestData, verb datadriven.CmdArg, args []datadriven.CmdArg) Event {
	switch verb.Key {
	case "startup":
		return Startup{Adopt: len(args) > 0 && args[0].Key == "adopt"}
	case "shutdown":
		return Shutdown{}
	case "tick":
		return Tick{}
	case "recv":
		return Receive{g.packet(t, d, args)}
	case "source":
		if len(args) == 0 {
			return SetSource{}
		}
		return SetSource{netip.MustParseAddr(args[0].Key)}
	case "fault":
		var ev SetFaults
		for _, a := range args {
			switch a.Key {
			case "down":
				ev.Faults = append(ev.Faults, FaultCause{ReasonInterfaceDown, "eth0 is down"})
			case "noaddr":
				ev.Faults = append(ev.Faults, FaultCause{ReasonNoAddress, "eth0 has no IPv4 address"})
			case "track":
				ev.Faults = append(ev.Faults, FaultCause{ReasonTrackFailed, "chk_nginx: exit 1"})
			default:
				d.Fatalf(t, "unknown fault %q", a.Key)
			}
		}
		return ev
	case "prio":
		return SetPriority{Priority: uint8(number(t, d, args[0].Key)), Detail: "chk_nginx"}
	case "alt":
		var ev SetAlternates
		for _, a := range args {
			ev.Lists = append(ev.Lists, addrs(a.Vals))
		}
		return ev
	case "reconf":
		cfg := g.i.Config().clone()
		config(t, d, &cfg, args)
		return Reconfigure{cfg}
	}
	d.Fatalf(t, "unknown event %q", verb.Key)
	return nil
}

// packet is an advert that our own configuration would send, except for from, prio and what else is said.
func (g *golden) packet(t *testing.T, d *datadriven.TestData, args []datadriven.CmdArg) Packet {
	cfg := g.i.Config()
	a := Advert{Version: cfg.Version, VRID: cfg.VRID, AuthType: cfg.AuthType, AuthData: Password(cfg.AuthPass),
		Interval: cfg.AdvertInt, Addrs: cfg.Addrs}
	p := Packet{Dst: Group(cfg.Addrs[0].Is6()), TTL: TTL}
	messageOnly, cut, flip := false, 0, -1
	for _, arg := range args {
		v := arg.SingleVal
		switch arg.Key {
		case "from":
			p.Src = netip.MustParseAddr(v(t))
		case "ttl":
			p.TTL = uint8(number(t, d, v(t)))
		case "prio":
			a.Priority = uint8(number(t, d, v(t)))
		case "v":
			if a.Version = uint8(number(t, d, v(t))); a.Version == 3 {
				a.AuthType, a.AuthData = 0, [8]byte{}
			}
		case "vrid":
			a.VRID = uint8(number(t, d, v(t)))
		case "type":
			a.Type = uint8(number(t, d, v(t)))
		case "int":
			a.Interval = duration(t, d, v(t))
		case "auth":
			a.AuthType = AuthType(number(t, d, v(t)))
		case "pass":
			a.AuthType, a.AuthData = AuthPass, Password(v(t))
		case "addrs":
			a.Addrs = addrs(arg.Vals)
		case "message-only":
			messageOnly = true
		case "cut": // so many octets at the end
			cut = number(t, d, v(t))
		case "flip": // one bit in the octet with this index, checksum as it was
			flip = number(t, d, v(t))
		default:
			d.Fatalf(t, "unknown packet field %q", arg.Key)
		}
	}
	b, err := a.Append(nil, p.Src, p.Dst, messageOnly)
	if err != nil {
		d.Fatalf(t, "%v", err)
	}
	if flip >= 0 {
		b[flip] ^= 1
	}
	p.Payload = b[:len(b)-cut]
	return p
}
