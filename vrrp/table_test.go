package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// carrier is a way in which adverts travel.
type carrier struct {
	name     string
	cfg      Config
	own      netip.Addr
	low, hig netip.Addr // of others: below and above our own
}

// carriers are all that the state table is played on.
func carriers() []carrier {
	a := netip.MustParseAddr
	base := Config{Name: "VI_1", VRID: 51, Priority: 100, AdvertInt: time.Second, GARP: DefaultGARP()}
	four := carrier{own: a("10.0.0.5"), low: a("10.0.0.4"), hig: a("10.0.0.6")}
	six := carrier{own: a("fe80::5"), low: a("fe80::4"), hig: a("fe80::6")}
	with := func(c carrier, name string, change func(*Config)) carrier {
		c.name, c.cfg = name, base
		change(&c.cfg)
		return c
	}
	return []carrier{
		with(four, "v2", func(c *Config) { c.Version, c.Addrs = 2, []netip.Addr{a("10.0.0.100")} }),
		with(four, "v2 PASS", func(c *Config) {
			c.Version, c.Addrs, c.AuthType, c.AuthPass = 2, []netip.Addr{a("10.0.0.100")}, AuthPass, "secret"
		}),
		with(four, "v3", func(c *Config) { c.Version, c.Addrs = 3, []netip.Addr{a("10.0.0.100")} }),
		with(four, "v3 fast", func(c *Config) {
			c.Version, c.Addrs, c.AdvertInt = 3, []netip.Addr{a("10.0.0.100"), a("10.0.0.101")}, 50*time.Millisecond
		}),
		with(six, "v3 IPv6", func(c *Config) { c.Version, c.Addrs = 3, []netip.Addr{a("fe80::100"), a("2001:db8::100")} }),
		with(four, "v3 unicast", func(c *Config) {
			c.Version, c.Addrs, c.Peers = 3, []netip.Addr{a("10.0.0.100")}, []Peer{{Addr: a("10.0.0.4")}, {Addr: a("10.0.0.6")}}
		}),
	}
}

// advert is what a router with the same configuration sends.
func (c carrier) advert(t *testing.T, src netip.Addr, prio uint8) Receive {
	t.Helper()
	ad := Advert{Version: c.cfg.Version, VRID: c.cfg.VRID, Priority: prio, AuthType: c.cfg.AuthType, Interval: c.cfg.AdvertInt, Addrs: c.cfg.Addrs}
	if ad.AuthType == AuthPass {
		ad.AuthData = Password(c.cfg.AuthPass)
	}
	dst := Group(src.Is6())
	if len(c.cfg.Peers) > 0 {
		dst = c.own
	}
	b, err := ad.Append(nil, src, dst, false)
	if err != nil {
		t.Fatal(err)
	}
	return Receive{Packet{Src: src, Dst: dst, TTL: TTL, Payload: b}}
}

// said is what the machine does, in words; an advert to several peers is one.
func said(t *testing.T, i *Instance) string {
	t.Helper()
	var out []string
	for _, a := range i.Ready() {
		word := ""
		switch a := a.(type) {
		case Send:
			var ad Advert
			if err := ad.Decode(a.Packet.Payload, a.Packet.Src, a.Packet.Dst); err != nil {
				t.Fatal(err)
			}
			word = fmt.Sprintf("advert %d", ad.Priority)
		case Acquire:
			word = "acquire"
		case Release:
			word = "release"
		case Announce:
			word = fmt.Sprintf("announce %d", a.Repeat)
		case Transition:
			word = a.To.String()
		default:
			continue // notes are for people
		}
		if n := len(out); n == 0 || out[n-1] != word {
			out = append(out, word)
		}
	}
	return strings.Join(out, ", ")
}

// TestStateTable is RFC 9568 6.4 with keepalived 2.2.7's answers where it goes beyond, row by row, on every carrier: from a state, with an
// event, what is done and in which order, the state after it, and when the machine acts again if nothing happens.
func TestStateTable(t *testing.T) {
	const at = 10 * time.Second // of the event
	rows := []struct {
		from   State
		row    string
		config func(*Config)
		event  func(*testing.T, carrier) Event
		does   string
		to     State
		next   string // adv: advert interval; mdi: master-down interval; skew: skew time; same: as before; none
	}{
		{Init, "startup with priority 255", func(c *Config) { c.Priority = 255 }, startup, "advert 255, acquire, announce 5, MASTER", Master, "adv"},
		{Init, "startup", nil, startup, "release, BACKUP", Backup, "mdi"},
		{Init, "startup after a crash", nil, func(*testing.T, carrier) Event { return Startup{Adopt: true} }, "advert 100, acquire, announce 5, MASTER", Master, "adv"},
		{Init, "startup with a delay", nil, func(*testing.T, carrier) Event { return Startup{Delay: time.Minute} }, "", Init, "1m0s"},
		{Init, "shutdown", nil, shutdown, "", Init, "none"},

		{Backup, "master-down timer", nil, nil, "advert 100, acquire, announce 5, MASTER", Master, "adv"},
		{Backup, "priority 0", nil, hears(low, 0), "", Backup, "skew"},
		{Backup, "higher priority", nil, hears(low, 150), "", Backup, "mdi"},
		{Backup, "equal priority, lower address", nil, hears(low, 100), "", Backup, "mdi"},
		{Backup, "equal priority, higher address", nil, hears(high, 100), "", Backup, "mdi"},
		{Backup, "lower priority", nil, hears(high, 50), "", Backup, "same"},
		{Backup, "lower priority with nopreempt", func(c *Config) { c.NoPreempt = true }, hears(high, 50), "", Backup, "mdi"},
		{Backup, "lower priority with preempt_delay", func(c *Config) { c.PreemptDelay = time.Minute }, hears(high, 50), "", Backup, "mdi"},
		{Backup, "an address owner", nil, hears(low, 255), "", Backup, "mdi"},
		{Backup, "a rejected packet", nil, forged, "", Backup, "same"},
		{Backup, "fault", nil, fault, "FAULT", Fault, "none"},
		{Backup, "shutdown", nil, shutdown, "INIT", Init, "none"},

		{Master, "advert timer", nil, nil, "advert 100", Master, "adv"},
		{Master, "priority 0", nil, hears(high, 0), "advert 100", Master, "adv"},
		{Master, "higher priority", nil, hears(low, 150), "release, BACKUP", Backup, "mdi"},
		{Master, "higher priority with higher_prio_send_advert", func(c *Config) { c.HigherPrioSendAdvert = true }, hears(low, 150), "advert 100, release, BACKUP", Backup, "mdi"},
		{Master, "an address owner", nil, hears(low, 255), "release, BACKUP", Backup, "mdi"},
		{Master, "equal priority, higher address", nil, hears(high, 100), "release, BACKUP", Backup, "mdi"},
		{Master, "equal priority, lower address", nil, hears(low, 100), "advert 100, announce 5", Master, "adv"},
		{Master, "lower priority", nil, hears(high, 50), "advert 100, announce 5", Master, "adv"},
		{Master, "lower priority with lower_prio_no_advert", func(c *Config) { c.LowerPrioNoAdvert = true }, hears(high, 50), "", Master, "same"},
		{Master, "a rejected packet", nil, forged, "", Master, "same"},
		{Master, "owner hears a lower owner", func(c *Config) { c.Priority = 255 }, hears(low, 255), "advert 255, announce 5", Master, "adv"},
		{Master, "owner hears a better router", func(c *Config) { c.Priority = 255 }, hears(high, 254), "advert 255, announce 5", Master, "adv"},
		{Master, "fault", nil, fault, "advert 0, release, FAULT", Fault, "none"},
		{Master, "shutdown", nil, shutdown, "advert 0, release, INIT", Init, "none"},

		{Fault, "cleared", nil, cleared, "BACKUP", Backup, "mdi"},
		{Fault, "higher priority", nil, hears(low, 150), "", Fault, "none"},
		{Fault, "priority 0", nil, hears(low, 0), "", Fault, "none"},
		{Fault, "shutdown", nil, shutdown, "INIT", Init, "none"},
	}
	for _, c := range carriers() {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range rows {
				c := c
				if r.config != nil {
					r.config(&c.cfg)
				}
				if err := Validate(c.cfg); err != nil {
					t.Fatal(err)
				}
				i := New(c.cfg)
				i.Step(0, SetSource{c.own})
				now := c.into(t, i, r.from, at)
				due, armed := i.Deadline()
				switch {
				case r.event != nil:
					i.Step(now, r.event(t, c))
				case !armed:
					t.Errorf("%v, %s: no timer runs", r.from, r.row)
				default:
					now = due
					i.Step(now, Tick{})
				}
				if got := said(t, i); got != r.does || i.State() != r.to {
					t.Errorf("%v, %s: %q, then %v; want %q, then %v", r.from, r.row, got, i.State(), r.does, r.to)
				}
				after, ok := i.Deadline()
				want := map[string]time.Duration{"adv": now + c.cfg.AdvertInt, "mdi": now + i.MasterDownInterval(), "skew": now + i.SkewTime(), "same": due, "1m0s": now + time.Minute}[r.next]
				if ok != (r.next != "none") || ok && after != want {
					t.Errorf("%v, %s: acts again at %v (%t), want %s, %v", r.from, r.row, after, ok, r.next, want)
				}
			}
		})
	}
}

// into brings the machine into a state, and a while on; it returns the time. What it did for that is taken away.
func (c carrier) into(t *testing.T, i *Instance, s State, at time.Duration) time.Duration {
	t.Helper()
	if s == Init {
		return at
	}
	i.Step(at, Startup{Adopt: s == Master})
	if s == Fault {
		i.Step(at, fault(t, c))
	}
	i.Ready()
	now := at + c.cfg.AdvertInt/2
	i.Step(now, Tick{})
	i.Ready()
	if i.State() != s && c.cfg.Priority != PriorityOwner {
		t.Fatalf("%v instead of %v", i.State(), s)
	}
	return now
}

const (
	low  = false
	high = true
)

func hears(from bool, prio uint8) func(*testing.T, carrier) Event {
	return func(t *testing.T, c carrier) Event {
		src := c.low
		if from == high {
			src = c.hig
		}
		return c.advert(t, src, prio)
	}
}

// forged has a better priority, and something wrong with it.
func forged(t *testing.T, c carrier) Event {
	r := c.advert(t, c.hig, 200)
	r.Packet.Payload[6] ^= 0xff // the checksum
	return r
}

func startup(*testing.T, carrier) Event  { return Startup{} }
func shutdown(*testing.T, carrier) Event { return Shutdown{} }
func cleared(*testing.T, carrier) Event  { return SetFaults{} }
func fault(*testing.T, carrier) Event {
	return SetFaults{Faults: []FaultCause{{ReasonInterfaceDown, "eth0 is down"}}}
}
