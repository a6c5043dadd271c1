package replay

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/vrrp"
)

// frameOf puts a packet of the machine on the wire.
func frameOf(mac byte, id uint16, p vrrp.Packet) []byte {
	b := []byte{1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, mac, 8, 0}
	if p.Header == nil {
		src, dst := p.Src.As4(), p.Dst.As4()
		h := []byte{0x45, vrrp.TOS, 0, 0, 0, 0, 0, 0, p.TTL, vrrp.ProtocolNumber, 0, 0}
		h = slices.Concat(h, src[:], dst[:])
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(p.Payload)))
		binary.BigEndian.PutUint16(h[4:], id)
		fixIP(h)
		p.Header = h
	}
	return slices.Concat(b, p.Header, p.Payload)
}

// garp is a gratuitous ARP as keepalived sends it.
func garp(mac byte, vip netip.Addr) []byte {
	m, ip := []byte{2, 0, 0, 0, 0, mac}, vip.As4()
	all := []byte{255, 255, 255, 255, 255, 255}
	return slices.Concat(all, m, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, m, ip[:], all, ip[:])
}

func deadline(i *vrrp.Instance, dead bool) (time.Duration, bool) {
	if dead || i == nil {
		return 0, false
	}
	return i.Deadline()
}

// TestStory lets machines of package vrrp elect owners on a lossless segment, through stops, kills, returns and changes of priority,
// and reads their frames back: no packet is refused, no conflict seen, and each transition to MASTER is found as an
// election of the right owner for the right reason.
func TestStory(t *testing.T) {
	vip := netip.MustParseAddr("10.0.0.100")
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.SampledFrom([]uint8{2, 3}).Draw(t, "version")
		auth := vrrp.AuthNone
		if version == 2 {
			auth = rapid.SampledFrom([]vrrp.AuthType{vrrp.AuthNone, vrrp.AuthPass, vrrp.AuthAH}).Draw(t, "auth")
		}
		type member struct {
			*vrrp.Instance
			cfg  vrrp.Config
			ip   netip.Addr
			mac  byte
			dead bool
			id   uint16
		}
		type won struct {
			at     time.Duration
			who    string
			reason vrrp.Reason
		}
		most := 4
		if auth == vrrp.AuthAH { // a restarted one is refused by those that remember higher sequence numbers
			most = 1
		}
		var members []*member
		for k := range rapid.IntRange(1, most).Draw(t, "members") {
			m := &member{ip: netip.AddrFrom4([4]byte{10, 0, 0, byte(k + 1)}), mac: byte(k + 1)}
			m.cfg = vrrp.Config{Name: fmt.Sprint(k), Version: version, VRID: 7, AdvertInt: time.Second, Addrs: []netip.Addr{vip},
				Priority: uint8(rapid.IntRange(1, 254).Draw(t, "priority")), AuthType: auth, AuthPass: "s3cr3tpw", GARP: vrrp.DefaultGARP()}
			if auth == vrrp.AuthNone {
				m.cfg.AuthPass = ""
			}
			m.dead = true
			members = append(members, m)
		}
		d := New(Options{AuthPass: "s3cr3tpw", CheckAH: true})
		begin := time.Unix(1_700_000_000, 0).UTC()
		n, now := 0, time.Duration(0)
		var truth []won
		see := func(frame []byte) {
			n++
			if l, ok := d.Frame(Frame{N: n, Time: begin.Add(now), Link: LinkEthernet, Data: frame, Length: len(frame)}); !ok || !l.OK {
				t.Fatalf("%v", l)
			}
		}
		var step func(m *member, ev vrrp.Event)
		step = func(m *member, ev vrrp.Event) {
			m.Step(now, ev)
			for _, a := range slices.Clone(m.Ready()) {
				switch a := a.(type) {
				case vrrp.Send:
					m.id++
					see(frameOf(m.mac, m.id, a.Packet))
					for _, o := range members {
						if o != m && !o.dead {
							step(o, vrrp.Receive(a))
						}
					}
				case vrrp.Announce:
					if m.State() == vrrp.Master {
						see(garp(m.mac, vip))
					}
				case vrrp.Transition:
					if a.To == vrrp.Master {
						truth = append(truth, won{now, m.ip.String(), a.Reason})
					}
				}
			}
		}
		runTo := func(until time.Duration) {
			for {
				var next *member
				at := until
				for _, m := range members {
					if dl, ok := deadline(m.Instance, m.dead); ok && dl < at {
						next, at = m, dl
					}
				}
				if now = at; next == nil {
					return
				}
				step(next, vrrp.Tick{})
			}
		}
		see(garp(99, netip.MustParseAddr("10.0.0.99"))) // the capture begins
		for range rapid.IntRange(1, 25).Draw(t, "events") {
			runTo(now + time.Duration(rapid.IntRange(1, 8000).Draw(t, "ms"))*time.Millisecond)
			m := members[rapid.IntRange(0, len(members)-1).Draw(t, "member")]
			switch what := rapid.IntRange(0, 3).Draw(t, "event"); {
			case m.dead:
				m.Instance, m.dead = vrrp.New(m.cfg), false
				step(m, vrrp.SetSource{Addr: m.ip})
				step(m, vrrp.Startup{})
			case what == 0:
				step(m, vrrp.Shutdown{})
				m.dead = true
			case what == 1:
				m.dead = true // killed
			default:
				step(m, vrrp.SetPriority{Priority: uint8(rapid.IntRange(1, 254).Draw(t, "new"))})
			}
		}
		runTo(now + 10*time.Second)
		s := d.Summary()
		if s.Refused != 0 || len(s.Conflicts) != 0 {
			t.Fatalf("refused %d, %+v", s.Refused, s.Conflicts)
		}
		if len(s.Elections) != len(truth) {
			t.Fatalf("%d elections, %d times MASTER\n%v\n%+v", len(s.Elections), len(truth), truth, s.Elections)
		}
		slices.SortStableFunc(truth, func(a, b won) int { return cmp.Compare(a.at, b.at) })
		causes := map[vrrp.Reason][]string{
			vrrp.ReasonMasterDown: {"master-down", "return"},
			// A backup whose priority changes while it waits may do either; on the wire that looks alike.
			vrrp.ReasonPriorityZero: {"priority-zero", "preempt"},
			vrrp.ReasonPreempt:      {"preempt", "priority-zero", "master-down", "return"},
		}
		for k, e := range s.Elections {
			w := truth[k]
			if e.Owner != w.who || !e.At.Time.Equal(begin.Add(w.at)) {
				t.Errorf("election %d: %+v, in truth %v", k, e, w)
			}
			// Whoever starts after a priority 0 has not heard it, which the wire does not tell.
			late := w.reason == vrrp.ReasonMasterDown && e.Cause == "priority-zero" && e.Gap > e.Expected+0.5
			if k > 0 && !late && !slices.Contains(causes[w.reason], e.Cause) {
				t.Errorf("election %d: cause %s (%s), in truth %v", k, e.Cause, e.Detail, w.reason)
			}
			if (k == 0) != (e.Cause == "first-heard") {
				t.Errorf("election %d: cause %s", k, e.Cause)
			}
		}
	})
}
