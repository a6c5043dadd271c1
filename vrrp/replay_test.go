package vrrp

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
)

// captured is an advert of a capture, its instant counted from the first one.
type captured struct {
	at time.Duration
	Packet
}

func readCapture(t *testing.T, name string) (list []captured) {
	t.Helper()
	file, err := os.ReadFile("testdata/captures/" + name + ".pcap")
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var first time.Time
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		v4 := len(data) > 34 && data[12] == 0x08 && data[13] == 0 && (data[23] == ProtocolNumber || data[23] == ProtocolAH)
		v6 := len(data) > 54 && data[12] == 0x86 && data[13] == 0xdd && data[20] == ProtocolNumber
		if !v4 && !v6 {
			continue // ARP, neighbour advertisements
		}
		p, err := ipPacket(data)
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() {
			first = info.Timestamp
		}
		list = append(list, captured{info.Timestamp.Sub(first), p})
	}
}

// TestReplay takes the place of one keepalived 2.2.7 in captures of two of them: from what the other one sent, the machine
// must become and cease to be MASTER when keepalived did, and send the same octets.
func TestReplay(t *testing.T) {
	const slack = 60 * time.Millisecond // keepalived's own lateness when it was captured
	d1, d2 := netip.MustParseAddr("10.99.0.11"), netip.MustParseAddr("10.99.0.12")
	for _, tc := range []struct {
		capture string
		us      netip.Addr
		from    time.Duration // we start then
		reigns  int           // how often we become MASTER
		edit    func(*Config)
	}{
		{"04-v3-ipv4", d2, 0, 1, func(c *Config) { c.Version = 3 }},
		{"08-graceful-stop", d2, 0, 1, nil},
		{"09-kill9-failover", d2, 0, 1, nil},
		{"24-down-timer-adverts-2", d2, 0, 1, func(c *Config) { c.DownTimerAdverts = 2 }},
		{"10-preempt-return", d2, 0, 1, nil},
		// The killed d1 is back before 7.5 s, discards what d2 says, and takes over a master-down interval later.
		{"10-preempt-return", d1, 7678 * time.Millisecond, 1, func(c *Config) { c.Priority = 150 }},
		// AH: the same sequence numbers, identifications and check values.
		{"03-v2-ah", d2, 0, 1, func(c *Config) { c.AuthType, c.AuthPass = AuthAH, "s3cr3tpw" }},
		{"05-v3-ipv6", netip.MustParseAddr("fe80::99:ff:fe00:c"), 0, 1, func(c *Config) {
			c.Version = 3
			c.Addrs = []netip.Addr{netip.MustParseAddr("fe80::99:100"), netip.MustParseAddr("fd00:99::100")}
		}},
		{"06-unicast-v2", d2, 0, 1, func(c *Config) { c.Peers = []Peer{{Addr: d1}} }},
		{"11-nopreempt", d2, 0, 1, func(c *Config) { c.NoPreempt = true }},
		{"11-nopreempt", d1, 2700 * time.Millisecond, 1, func(c *Config) { c.Priority, c.NoPreempt = 150, true }},
	} {
		t.Run(tc.capture+" as "+tc.us.String(), func(t *testing.T) {
			cfg := Config{Name: "VI_1", Version: 2, VRID: 51, Priority: 100, AdvertInt: time.Second,
				Addrs: []netip.Addr{netip.MustParseAddr("10.99.0.100")}}
			if tc.edit != nil {
				tc.edit(&cfg)
			}
			i := New(cfg)
			var ours []captured
			var began []time.Duration
			step := func(now time.Duration, ev Event) {
				i.Step(now, ev)
				for _, a := range i.Ready() {
					switch a := a.(type) {
					case Send:
						a.Packet.Payload = slices.Clone(a.Packet.Payload) // ours until the next Step only
						ours = append(ours, captured{now, a.Packet})
					case Transition:
						if a.To == Master {
							began = append(began, now)
						}
					case Note:
						if a.Kind == NoteRejected {
							t.Errorf("at %v we reject keepalived's advert: %v", now, a)
						}
					}
				}
			}
			runTo := func(now time.Duration) {
				for at, ok := i.Deadline(); ok && at < now; at, ok = i.Deadline() {
					step(at, Tick{})
				}
			}
			step(tc.from, SetSource{tc.us})
			step(tc.from, Startup{})
			var theirs []captured // of the keepalived whose place we take
			for _, p := range readCapture(t, tc.capture) {
				if p.at < tc.from {
					continue
				}
				if p.Src == tc.us {
					theirs = append(theirs, p)
					if p.Proto == 0 && p.Payload[2] == PriorityStop { // the operator stopped it there
						runTo(p.at)
						step(p.at, Shutdown{})
					}
					continue
				}
				runTo(p.at)
				step(p.at, Receive{p.Packet})
			}
			if len(theirs) > 0 {
				runTo(theirs[len(theirs)-1].at + slack)
			}
			if len(began) != tc.reigns || len(theirs) == 0 {
				t.Fatalf("became MASTER at %v, expected %d times; keepalived sent %d", began, tc.reigns, len(theirs))
			}
			if d := (theirs[0].at - began[0]).Abs(); d > slack {
				t.Errorf("became MASTER at %v, keepalived at %v", began[0], theirs[0].at)
			}
			if d := len(ours) - len(theirs); d < -1 || d > 1 {
				t.Errorf("sent %d adverts, keepalived %d", len(ours), len(theirs))
			}
			for n := range min(len(ours), len(theirs)) - 1 { // the last may differ: stopped or one more
				if !slices.Equal(ours[n].Payload, theirs[n].Payload) {
					t.Errorf("advert %d is %x, keepalived sent %x", n, ours[n].Payload, theirs[n].Payload)
				}
			}
		})
	}
}
