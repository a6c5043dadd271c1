package replay

import (
	"encoding/json"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/vrrp"
)

// playFrames makes valid packets of arbitrary routers out of octets, five for each: who, on which port, what, how long after, and
// with which priority.
func playFrames(script []byte, see func(Frame)) {
	at := time.Unix(1_700_000_000, 0)
	n := 0
	for ; len(script) >= 5; script = script[5:] {
		who, port, what, wait, prio := script[0], script[1], script[2], script[3], script[4]
		n++
		switch {
		case wait < 200:
			at = at.Add(time.Duration(wait) * time.Duration(wait) * 100 * time.Microsecond)
		case wait < 250:
			at = at.Add(time.Duration(wait-200) * time.Second)
		default:
			at = at.Add(-time.Duration(wait-249) * 10 * time.Minute)
		}
		host := who%4 + 1
		src, dst := netip.AddrFrom4([4]byte{10, 0, 0, host}), vrrp.Group(false)
		vips := []netip.Addr{vip4}
		six := what&0x40 != 0
		if six {
			src, dst, vips = addr6, vrrp.Group(true), []netip.Addr{vip6}
			if host > 1 {
				src = src.Next()
			}
		}
		if what&0x20 != 0 {
			vips = append(vips, vips[0].Next())
		}
		a := vrrp.Advert{Version: 3, VRID: 50 + who/128, Priority: prio, Interval: time.Duration(1+int(what&3)) * 500 * time.Millisecond, Addrs: vips}
		if what&4 != 0 && !six {
			a.Version, a.Interval = 2, time.Duration(1+int(what&1))*time.Second
			if what&8 != 0 {
				a.AuthType, a.AuthData = vrrp.AuthPass, vrrp.Password("secret")
			}
		}
		m, err := a.Append(nil, src, dst, prio%7 == 0)
		if err != nil {
			panic(err)
		}
		var b []byte
		switch {
		case six && what&0x80 != 0:
			b = naOf(vips[0], netip.MustParseAddr("ff02::1"), vips[0], 0x20, MAC{2, 0, 0, 0, 0, host})
		case six:
			b = eth6(host, ip6(src, dst, 255-what&0x10>>4, vrrp.ProtocolNumber, m))
		case what&0x80 != 0 && what&0x10 != 0:
			b = arpOf(1+uint16(what&1), MAC{2, 0, 0, 0, 0, host}, vips[0], vips[0])
		case what&0x90 == 0x80:
			cut := min(int(what&7)*8, len(m))
			b = eth4(host, ip4(src, dst, 255, vrrp.ProtocolNumber, m[:cut], moreAt(who, 0, cut < len(m))))
			if prio%2 == 0 {
				b = eth4(host, ip4(src, dst, 255, vrrp.ProtocolNumber, m[cut:], moreAt(who, cut, false)))
			}
		default:
			b = eth4(host, ip4(src, dst, 255, vrrp.ProtocolNumber, m, func(h []byte) []byte { h[4] = byte(n); return h }))
		}
		f := Frame{N: n, Time: at, Link: LinkEthernet, Data: b, Length: len(b), Interface: []string{"left", "right"}[port%2]}
		if port&0xf0 == 0xf0 {
			f.Time = time.Time{}
		}
		if port&0x0c == 0x0c {
			f.Data = slices.Concat(b[:12], []byte{0x81, 0, 0, port & 3}, b[12:])
			f.Length += 4
		}
		see(f)
		if port&0x02 != 0 { // the other port sees it too
			n++
			f.N, f.Interface = n, []string{"right", "left"}[port%2]
			see(f)
		}
	}
}

// FuzzStory: whatever routers say to whom and when, the summary holds together, and asking for it early changes nothing.
func FuzzStory(f *testing.F) {
	f.Add([]byte("aaaaabbbbbcccccdddddaaaaabbbbb"))
	f.Add([]byte{0, 2, 0, 100, 150, 1, 2, 0, 100, 100, 0, 2, 0, 100, 150, 1, 0, 0, 205, 100, 1, 0, 0, 70, 100, 0, 2, 0, 70, 150, 0, 2, 0, 70, 0, 1, 2, 0, 100, 100})
	f.Add([]byte{0, 0, 4, 100, 150, 1, 0, 12, 100, 150, 2, 0, 36, 100, 150, 0, 0, 0x90, 0, 1, 3, 0, 0x90, 0, 1, 0, 12, 4, 255, 150, 0, 13, 4, 100, 150, 0, 14, 4, 100, 150})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) <= 2000 {
			checkStory(t, script)
		}
	})
}

// TestStories is FuzzStory with scripts at random.
func TestStories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkStory(t, rapid.SliceOfN(rapid.Byte(), 100, 400).Draw(t, "script"))
	})
}

func checkStory(t interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}, script []byte) {
	d, early := New(Options{}), New(Options{})
	lines, steps := 0, false
	var last time.Time
	playFrames(script, func(f Frame) {
		if !f.Time.IsZero() {
			steps = steps || f.Time.Before(last)
			last = f.Time
		}
		l, ok := d.Frame(f)
		if ok {
			lines++
			if l.OK != (l.Word == "") || l.Text == "" || l.Proto == 0 {
				t.Fatalf("%+v", l)
			}
		}
		early.Frame(f)
		early.Summary()
	})
	s, again := d.Summary(), early.Summary()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := json.Marshal(again); err != nil || string(other) != string(text) {
		t.Fatalf("asked early, the summary is another:\n%s\n%s", text, other)
	}
	if err := s.Write(io.Discard, Style{}); err != nil || s.Packets != lines || s.Refused < 0 || s.Refused > lines {
		t.Fatalf("%v %+v", err, s.Counts)
	}
	for _, o := range s.Owners {
		if o.Adverts < 1 || o.Ended == "" || !steps && o.To.Time.Before(o.From.Time) {
			t.Errorf("%+v", o)
		}
	}
	for _, e := range s.Elections {
		if e.Owner == "" || e.Cause == "" || e.Detail == "" || (e.Previous == "") != (e.Cause == "first-heard") || e.Gap < 0 {
			t.Errorf("%+v", e)
		}
	}
	for _, o := range s.TwoOwners {
		if len(o.Owners) != 2 || o.Owners[0] == o.Owners[1] || !steps && (o.Seconds < 0 || o.To.Time.Before(o.From.Time)) {
			t.Errorf("%+v", o)
		}
	}
	for _, c := range s.Conflicts {
		if c.Packets < 1 || len(c.Reasons) == 0 || c.Detail == "" || c.Meaning == "" || c.Remedy == "" {
			t.Errorf("%+v", c)
		}
	}
}
