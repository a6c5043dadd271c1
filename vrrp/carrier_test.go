package vrrp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func ahConfig() Config {
	cfg := testConfig()
	cfg.AuthType, cfg.AuthPass = AuthAH, "s3cr3tpw"
	return cfg
}

// sends collects the packets in Ready.
func sends(i *Instance) (out []Packet) {
	for _, a := range i.Ready() {
		if s, ok := a.(Send); ok {
			s.Packet.Header, s.Packet.Payload = slices.Clone(s.Packet.Header), slices.Clone(s.Packet.Payload)
			out = append(out, s.Packet)
		}
	}
	return out
}

// masterOf is an instance that has just taken over, and what it sent.
func masterOf(t *testing.T, cfg Config, src netip.Addr) (*Instance, []Packet) {
	t.Helper()
	if err := Validate(cfg); err != nil {
		t.Fatal(err)
	}
	i := New(cfg)
	i.Step(0, SetSource{src})
	i.Step(0, Startup{Adopt: true})
	return i, sends(i)
}

// rejected steps one packet and returns why it was refused, 0 if it was not.
func rejected(t *testing.T, i *Instance, now time.Duration, p Packet) RejectReason {
	t.Helper()
	i.Step(now, Receive{p})
	for _, a := range i.Ready() {
		if n, ok := a.(Note); ok && n.Kind == NoteRejected {
			return n.Reject
		}
	}
	return 0
}

// TestAHReceive: what an AH must have, and that a refused one changes neither timer nor sequence number.
func TestAHReceive(t *testing.T) {
	cfg := ahConfig()
	better := cfg
	better.Priority = 150
	m, first := masterOf(t, better, peer)
	at, _ := m.Deadline()
	m.Step(at, Tick{})
	second := sends(m)
	if len(first) != 1 || len(second) != 1 || first[0].Proto != ProtocolAH || len(first[0].Header) != 20 {
		t.Fatalf("%+v %+v", first, second)
	}
	i := startedBackup(cfg)
	before, _ := i.Deadline()
	alter := func(p Packet, edit func(*Packet)) Packet {
		p.Header, p.Payload = slices.Clone(p.Header), slices.Clone(p.Payload)
		edit(&p)
		return p
	}
	for what, tc := range map[string]struct {
		p    Packet
		want RejectReason
	}{
		"password":         {func() Packet { c := better; c.AuthPass = "other"; _, s := masterOf(t, c, peer); return s[0] }(), RejectAuth},
		"identification":   {alter(first[0], func(p *Packet) { p.Header[5]++ }), RejectAuth},
		"TTL in the sum":   {alter(first[0], func(p *Packet) { p.Header[8]-- }), RejectAuth},
		"sequence altered": {alter(first[0], func(p *Packet) { p.Payload[11]++ }), RejectAuth},
		"SPI":              {alter(first[0], func(p *Packet) { p.Payload[7]++ }), RejectAuth},
		"no header":        {alter(first[0], func(p *Packet) { p.Header = nil }), RejectAuth},
		"next header":      {alter(first[0], func(p *Packet) { p.Payload[0] = 17 }), RejectAuthType},
		"cut":              {alter(first[0], func(p *Packet) { p.Payload = p.Payload[:23] }), RejectShort},
		"without AH":       {alter(first[0], func(p *Packet) { p.Proto, p.Payload = 0, p.Payload[24:] }), RejectAuthType},
		"TTL":              {alter(first[0], func(p *Packet) { p.TTL = 254 }), RejectTTL},
	} {
		if got := rejected(t, i, 0, tc.p); got != tc.want {
			t.Errorf("%s: %v, want %v", what, got, tc.want)
		}
	}
	if after, _ := i.Deadline(); after != before {
		t.Errorf("refused packets moved the timer from %v to %v", before, after)
	}
	if got := rejected(t, i, time.Second, second[0]); got != 0 {
		t.Errorf("genuine: %v", got)
	}
	for what, p := range map[string]Packet{"replay": second[0], "older": first[0]} {
		if got := rejected(t, i, time.Second, p); got != RejectSequence {
			t.Errorf("%s: %v", what, got)
		}
	}
	// an instance without AH refuses it, too
	if got := rejected(t, startedBackup(testConfig()), 0, first[0]); got != RejectAuthType {
		t.Errorf("no AH configured: %v", got)
	}
}

// TestAHSequenceGoesOn: who takes over counts on from what the owner before said, and one that answers a
// lower priority goes on above it.
func TestAHSequenceGoesOn(t *testing.T) {
	seq := func(p Packet) uint32 {
		var h AH
		if _, err := h.Decode(p.Payload); err != nil {
			t.Fatal(err)
		}
		return h.Sequence
	}
	cfg := ahConfig()
	better := cfg
	better.Priority = 150
	m, out := masterOf(t, better, peer)
	for range 5 {
		at, _ := m.Deadline()
		m.Step(at, Tick{})
		out = append(out, sends(m)...)
	}
	i := startedBackup(cfg)
	for n, p := range out {
		if seq(p) != uint32(n+1) {
			t.Errorf("packet %d has sequence number %d", n, seq(p))
		}
		if r := rejected(t, i, time.Duration(n)*time.Second, p); r != 0 {
			t.Fatal(r)
		}
	}
	at, _ := i.Deadline()
	i.Step(at, Tick{})
	ours := sends(i)
	if i.State() != Master || len(ours) != 1 || seq(ours[0]) != 7 {
		t.Errorf("%v sent %d, sequence number %d", i, len(ours), seq(ours[0]))
	}
	// m comes back with an empty memory and is answered
	m.Step(0, Receive{ours[0]})
	if got := sends(m); len(got) != 1 || seq(got[0]) != 9 {
		t.Errorf("the answer to 7 has %d", seq(got[0]))
	}
}

// TestUnicast: one advert per peer, none to the group; what is multicast or, if asked for, comes from strangers is refused.
func TestUnicast(t *testing.T) {
	third := netip.MustParseAddr("10.0.0.3")
	cfg := testConfig()
	cfg.Peers = []Peer{{Addr: peer}, {Addr: third, MinTTL: 254}}
	i, out := masterOf(t, cfg, own)
	if len(out) != 2 || out[0].Dst != peer || out[1].Dst != third || out[0].TTL != 255 || i.Counters().AdvertsSent != 1 {
		t.Errorf("%+v, sent %d", out, i.Counters().AdvertsSent)
	}
	cfg.UnicastTTL = 5
	if _, out := masterOf(t, cfg, own); out[0].TTL != 5 {
		t.Error(out[0].TTL)
	}
	from := func(src netip.Addr, dst netip.Addr, ttl uint8) Packet {
		p := packetOf(t, cfg, src, 200)
		p.Dst, p.TTL = dst, ttl
		return p
	}
	stranger := netip.MustParseAddr("10.0.0.4")
	for _, tc := range []struct {
		p     Packet
		check bool
		want  RejectReason
	}{
		{from(peer, own, 1), false, 0},
		{from(stranger, own, 1), false, 0},
		{from(peer, Group(false), 255), false, RejectDestination},
		{from(stranger, own, 255), true, RejectPeer},
		{from(peer, own, 1), true, 0},
		{from(third, own, 253), true, RejectPeer},
		{from(third, own, 254), true, 0},
	} {
		cfg.CheckUnicastSrc = tc.check
		if got := rejected(t, startedBackup(cfg), 0, tc.p); got != tc.want {
			t.Errorf("%v > %v TTL %d, check %v: %v, want %v", tc.p.Src, tc.p.Dst, tc.p.TTL, tc.check, got, tc.want)
		}
	}
	if got := rejected(t, startedBackup(testConfig()), 0, from(peer, own, 255)); got != RejectDestination {
		t.Errorf("unicast to a multicast instance: %v", got)
	}
}

// TestOldUnicastChecksum: the captured adverts of a keepalived 2.2.7 with old_unicast_checksum are accepted and counted, and
// answered in the same form, octet for octet what that keepalived sends; "never" refuses them.
func TestOldUnicastChecksum(t *testing.T) {
	capture := readCapture(t, "06c-unicast-v3-old-checksum")
	d1, d2 := netip.MustParseAddr("10.99.0.11"), netip.MustParseAddr("10.99.0.12")
	cfg := Config{Name: "VI_1", Version: 3, VRID: 51, Priority: 100, AdvertInt: time.Second,
		Addrs: []netip.Addr{netip.MustParseAddr("10.99.0.100")}, Peers: []Peer{{Addr: d1}, {Addr: netip.MustParseAddr("10.99.0.13")}}}
	i := New(cfg)
	i.Step(0, SetSource{d2})
	i.Step(0, Startup{})
	if got := rejected(t, i, time.Second, capture[0].Packet); got != 0 || i.Counters().ChecksumOldUnicast != 1 {
		t.Fatal(got, i.Counters())
	}
	at, _ := i.Deadline()
	i.Step(at, Tick{})
	form := func(p Packet) ChecksumForm {
		var a Advert
		if err := a.Decode(p.Payload, p.Src, p.Dst); err != nil {
			t.Fatal(err)
		}
		return a.Checksum
	}
	if out := sends(i); len(out) != 2 || form(out[0]) != ChecksumOldUnicast || form(out[1]) != ChecksumPseudo {
		t.Errorf("%+v", out)
	}
	cfg.OldUnicast, cfg.Priority, cfg.Peers = OldUnicastSend, 150, []Peer{{Addr: d2}}
	if _, out := masterOf(t, cfg, d1); !slices.Equal(out[0].Payload, capture[0].Payload) {
		t.Errorf("%x, keepalived sends %x", out[0].Payload, capture[0].Payload)
	}
	cfg.OldUnicast = OldUnicastNever
	i = New(cfg)
	i.Step(0, SetSource{d2})
	i.Step(0, Startup{})
	if got := rejected(t, i, 0, capture[0].Packet); got != RejectChecksum {
		t.Error(got)
	}
}

// TestCarriersAllocateNothing: unicast and AH in steady state.
func TestCarriersAllocateNothing(t *testing.T) {
	for what, cfg := range map[string]Config{"ah": ahConfig(), "unicast": func() Config {
		c := testConfig()
		c.Peers = []Peer{{Addr: peer}, {Addr: netip.MustParseAddr("10.0.0.3")}}
		return c
	}()} {
		better := cfg
		better.Priority = 150
		if len(cfg.Peers) > 0 {
			better.Peers = []Peer{{Addr: own}}
		}
		m := New(better)
		m.Step(0, SetSource{peer})
		m.Step(0, Startup{Adopt: true})
		b := startedBackup(cfg)
		run := func() {
			at, _ := m.Deadline()
			m.Step(at, Tick{})
			for _, a := range m.Ready() {
				if s, ok := a.(Send); ok {
					b.Step(at, Receive(s))
					b.Ready()
				}
			}
		}
		for range 10 {
			run()
		}
		before := b.Counters().AdvertsReceived
		if n := testing.AllocsPerRun(100, run); n > 1 { // the Receive itself, which the test puts into an interface
			t.Errorf("%s: %v allocations per advert sent and received", what, n)
		}
		if b.Counters().AdvertsReceived-before < 100 || b.State() != Backup {
			t.Errorf("%s: %v %v", what, b, b.Counters())
		}
	}
}

// TestWhole: header and payload of an AH go to the kernel in one piece.
func TestWhole(t *testing.T) {
	i := New(ahConfig())
	i.Step(0, SetSource{own})
	i.Step(0, Startup{Adopt: true})
	s := i.Ready()[0].(Send)
	if w := s.Packet.Whole(); len(w) != 20+len(s.Packet.Payload) || !slices.Equal(w[20:], s.Packet.Payload) || w[9] != ProtocolAH || onesSumOf(w[:20]) != 0xffff {
		t.Errorf("%x", w)
	}
	p := packetOf(t, testConfig(), peer, 1)
	if p.Whole() != nil {
		t.Error("a packet without header")
	}
	p.Header = make([]byte, 20, 100)
	if p.Whole() != nil {
		t.Error("a header that lies elsewhere")
	}
}

func onesSumOf(b []byte) uint16 { return fold(onesSum(0, b)) }

// TestStartupDelay: deaf and silent until it is over.
func TestStartupDelay(t *testing.T) {
	i := New(testConfig())
	i.Step(0, SetSource{own})
	i.Step(0, Startup{Delay: 10 * time.Second})
	if at, ok := i.Deadline(); !ok || at != 10*time.Second || i.State() != Init || len(i.Ready()) != 0 {
		t.Fatal(at, ok, i)
	}
	i.Step(5*time.Second, Receive{packetOf(t, testConfig(), peer, 200)})
	i.Step(6*time.Second, Startup{Delay: 10 * time.Second}) // again, changes nothing
	if i.Counters().AdvertsReceived != 0 {
		t.Error("it is not deaf")
	}
	i.Step(10*time.Second, Tick{})
	if at, _ := i.Deadline(); i.State() != Backup || at != 10*time.Second+i.MasterDownInterval() {
		t.Error(i)
	}
	j := New(testConfig())
	j.Step(0, SetSource{own})
	j.Step(0, Startup{Delay: time.Second})
	j.Step(0, Shutdown{})
	if _, ok := j.Deadline(); ok {
		t.Error("shut down, and still to start")
	}
	j.Step(0, Startup{Delay: time.Hour, Adopt: true})
	if j.State() != Master {
		t.Error("adopting waits for nothing")
	}
}

func TestSkipCheckAddrs(t *testing.T) {
	cfg := testConfig()
	cfg.SkipCheckAddrs = true
	other := cfg
	other.Addrs = []netip.Addr{netip.MustParseAddr("10.0.0.222")}
	i := startedBackup(cfg)
	if got := rejected(t, i, 0, packetOf(t, other, peer, 150)); got != RejectAddrList {
		t.Error("first of a sender:", got)
	}
	if got := rejected(t, i, 0, packetOf(t, cfg, peer, 150)); got != 0 {
		t.Error(got)
	}
	if got := rejected(t, i, 0, packetOf(t, other, peer, 150)); got != 0 {
		t.Error("same sender again:", got)
	}
	if got := rejected(t, i, 0, packetOf(t, other, netip.MustParseAddr("10.0.0.3"), 150)); got != RejectAddrList {
		t.Error("another sender:", got)
	}
}

func TestOwnerIgnoresAdverts(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		cfg := testConfig()
		cfg.Priority, cfg.OwnerIgnoreAdverts = PriorityOwner, ignore
		i := startedBackup(cfg)
		i.Step(0, Receive{packetOf(t, cfg, peer, PriorityOwner)}) // its address is above ours
		if want := map[bool]State{true: Master, false: Backup}[ignore]; i.State() != want {
			t.Errorf("ignore %v: %v", ignore, i)
		}
	}
}

func TestStrict(t *testing.T) {
	cfg := testConfig()
	cfg.PreemptDelay, cfg.DownTimerAdverts, cfg.Peers = time.Second, 2, []Peer{{Addr: peer}}
	cfg.GARP.LowerPrioRepeat = 1
	got, said := Strict(cfg)
	if len(said) != 5 || got.AuthType != AuthNone || len(got.Peers) != 0 || got.PreemptDelay != 0 || got.DownTimerAdverts != 0 || !got.LowerPrioNoAdvert {
		t.Errorf("%q %+v", said, got)
	}
	if err := Validate(got); err != nil {
		t.Error(err)
	}
	plain := testConfig()
	plain.AuthType, plain.AuthPass = AuthNone, ""
	if _, said := Strict(plain); len(said) != 0 {
		t.Errorf("%q", said)
	}
}

func TestCause(t *testing.T) {
	i := New(testConfig())
	causes := func() (out []uint64) {
		for _, a := range i.Ready() {
			if tr, ok := a.(Transition); ok {
				out = append(out, tr.Cause)
			}
		}
		return out
	}
	i.StepCause(0, SetSource{own}, 7)
	i.StepCause(0, Startup{}, 42)
	if got := causes(); !slices.Equal(got, []uint64{42}) {
		t.Error(got)
	}
	i.Step(4*time.Second, Tick{})
	i.Step(4*time.Second, Shutdown{})
	if got := causes(); !slices.Equal(got, []uint64{1, 2}) {
		t.Error(got)
	}
}
