package replay

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// ngFile writes pcapng by hand, as gopacket's writer has one byte order and one kind of packet block.
type ngFile struct {
	order binary.AppendByteOrder
	b     []byte
}

func (f *ngFile) block(kind uint32, body []byte) {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(len(body) + 12)
	f.b = f.order.AppendUint32(f.order.AppendUint32(f.b, kind), n)
	f.b = f.order.AppendUint32(append(f.b, body...), n)
}

func (f *ngFile) section() {
	body := f.order.AppendUint32(nil, magicOrder)
	body = f.order.AppendUint16(f.order.AppendUint16(body, 1), 0)
	f.block(magicSection, f.order.AppendUint64(body, math.MaxUint64))
}

func (f *ngFile) option(body []byte, code uint16, value []byte) []byte {
	body = f.order.AppendUint16(f.order.AppendUint16(body, code), uint16(len(value)))
	body = append(body, value...)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	return body
}

// card describes an interface; resol 0 and shift 0 mean no such option.
func (f *ngFile) card(link LinkType, name string, resol byte, shift int64) {
	body := f.order.AppendUint16(f.order.AppendUint16(nil, uint16(link)), 0)
	body = f.order.AppendUint32(body, 0)
	if name != "" {
		body = f.option(body, 2, []byte(name))
	}
	if resol != 0 {
		body = f.option(body, 9, []byte{resol})
	}
	if shift != 0 {
		body = f.option(body, 14, f.order.AppendUint64(nil, uint64(shift)))
	}
	f.block(1, f.option(body, 0, nil))
}

// packet is an enhanced packet block (6) or the old one (2); cut octets are missing.
func (f *ngFile) packet(kind, card uint32, stamp uint64, data []byte, cut int) {
	var body []byte
	if kind == 2 {
		body = f.order.AppendUint16(f.order.AppendUint16(nil, uint16(card)), 0xffff)
	} else {
		body = f.order.AppendUint32(nil, card)
	}
	body = f.order.AppendUint32(f.order.AppendUint32(body, uint32(stamp>>32)), uint32(stamp))
	body = f.order.AppendUint32(f.order.AppendUint32(body, uint32(len(data)-cut)), uint32(len(data)))
	f.block(kind, append(body, data[:len(data)-cut]...))
}

func (f *ngFile) simple(data []byte) {
	f.block(3, append(f.order.AppendUint32(nil, uint32(len(data))), data...))
}

// everything is a file with what pcapng has to offer.
func everything(order binary.AppendByteOrder) []byte {
	f := &ngFile{order: order}
	ip := ip4(addr4, to, 255, 112, m2, nil)
	five := make([]byte, 4)
	binary.NativeEndian.PutUint32(five, 2)
	f.section()
	f.card(LinkEthernet, "eth0", 0, 0)
	f.card(LinkSLL, "any0", 9, 0)
	f.card(LinkRaw, "tun0", 0x80|20, 0)
	f.card(LinkNull, "lo0", 6, 1_000_000_000)
	f.card(LinkSLL2, "any2", 3, -500)
	f.card(LinkType(127), "wlan0", 9, 0)
	f.card(LinkIPv6, "", 10, 0)
	f.block(4, []byte{0, 0, 0, 0}) // name resolution
	f.packet(6, 0, 1_700_000_000_123456, eth4(1, ip), 0)
	f.packet(6, 1, 1_700_000_000_223456789, slices.Concat([]byte{0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0}, ip), 0)
	f.packet(6, 2, 1_700_000_000<<20|1<<19+1, ip, 0)
	f.packet(6, 3, 700_000_000_500000, slices.Concat(five, ip), 0)
	f.packet(6, 4, 1_700_000_500_600, slices.Concat([]byte{8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, ip), 0)
	f.packet(6, 5, 1_700_000_000_700000000, make([]byte, 60), 0)
	f.packet(6, 6, 17_000_000_008_000000123, ip6(addr6, t6, 255, 112, m6), 0)
	f.packet(2, 0, 1_700_000_001_000000, eth4(1, ip), 0)
	f.simple(eth4(1, ip))
	f.packet(6, 0, 1_700_000_002_000000, append(eth4(1, ip), make([]byte, 6)...), 5)
	f.packet(6, 0, 1_700_000_003_000000, eth4(1, ip), 9)
	f.block(5, make([]byte, 12))     // statistics
	f.block(0xbad, []byte("custom")) // this one and the next two have numbers in Wireshark
	f.block(0x40000bad, []byte("no copy"))
	f.block(9, []byte("__REALTIME_TIMESTAMP=1700000004000000\n"))
	f.block(0x80001234, []byte("of somebody"))
	f.section() // begins anew
	f.card(LinkEthernet, "eth1", 0, 0)
	f.packet(6, 0, 1_700_000_004_000000, eth4(1, ip), 0)
	return f.b
}

// TestEverything: every kind of block, clock and link type, in both byte orders, is read as tshark reads it.
func TestEverything(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		file := everything(order)
		rows := fields(t, file, "frame.time_epoch", "frame.interface_name", "frame.len", "frame.cap_len", "vrrp.virt_rtr_id")
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		var notes []string
		d := New(Options{})
		n := 0
		for f, err := range r.Frames() {
			if err != nil {
				t.Fatal(err)
			}
			row := rows[f.N-1]
			n++
			at := ""
			if !f.Time.IsZero() {
				at = fmt.Sprintf("%d.%09d", f.Time.Unix(), f.Time.Nanosecond())
			}
			if row[0] == "0.000000000" { // how some versions show a packet without a time
				row[0] = ""
			}
			name := f.Interface
			if name == "if6" || name == "eth1" {
				name = row[1] // tshark 4.0 calls one without a name "unknown", and looks in the first section for those of the second
			}
			l, ok := d.Frame(f)
			id := ""
			if ok {
				id = fmt.Sprint(l.VRID)
			}
			if strings.Contains(l.Text, "cut (") { // tshark does not say what is not there, not even what is
				id = row[4]
			}
			ours := []string{at, name, fmt.Sprint(f.Length), fmt.Sprint(len(f.Data)), id}
			if !slices.Equal(ours, row) {
				t.Errorf("%v frame %d: %q, tshark %q", order, n, ours, row)
			}
			notes = append(notes, l.Verdict()+l.Word)
		}
		if n != 12 || len(rows) != 15 {
			t.Errorf("%d frames, tshark %d", n, len(rows))
		}
		if got, want := strings.Join(notes, " "), "ok ok ok ok ok reject ok ok ok ok ok ok"; got != want {
			t.Errorf("verdicts %s, want %s", got, want)
		}
		all := strings.Join(d.Summary().Notes, "\n")
		for _, want := range []string{"1 frame of link type 127 (IEEE 802.11 radiotap)", "1 advert cut by the snap length", "1 frame without a time"} {
			if !strings.Contains(all, want) {
				t.Errorf("no note %q in\n%s", want, all)
			}
		}
	}
}

// TestAbsurdTimes: whatever a file says of time, there are lines, a summary, and JSON.
func TestAbsurdTimes(t *testing.T) {
	for _, shift := range []int64{0, math.MaxInt64, math.MinInt64, 1 << 40, -1 << 40} {
		for _, resol := range []byte{0, 1, 9, 18, 19, 127, 0x80, 0x81, 0xff} {
			f := &ngFile{order: binary.LittleEndian}
			f.section()
			f.card(LinkEthernet, "eth0", resol, shift)
			for _, stamp := range []uint64{0, 1, math.MaxUint64, 1 << 63, 1_700_000_000_000000} {
				f.packet(6, 0, stamp, adv4, 0)
			}
			f.simple(adv4)
			lines, s := decode(t, f.b, Options{})
			if len(lines) != 6 {
				t.Fatal(len(lines))
			}
			for _, l := range lines {
				if _, err := json.Marshal(l); err != nil {
					t.Fatalf("resolution %#x offset %d: %v", resol, shift, err)
				}
				_ = l.Format(Style{In: time.UTC})
			}
			if _, err := json.Marshal(s); err != nil {
				t.Fatalf("resolution %#x offset %d: %v", resol, shift, err)
			}
		}
	}
}

// TestClockSetBack: a capture whose clock is set back an hour, or two captures one behind the other, still have silences and
// elections of the right length.
func TestClockSetBack(t *testing.T) {
	f := &ngFile{order: binary.LittleEndian}
	f.section()
	f.card(LinkEthernet, "eth0", 0, 0)
	at := uint64(1_700_000_000_000000)
	for range 5 {
		f.packet(6, 0, at, adv4, 0)
		at += 1_000_000
	}
	at -= 3600_000_000
	for range 3 {
		f.packet(6, 0, at, adv4, 0)
		at += 1_000_000
	}
	other := eth4(2, ip4(addr4.Next(), to, 255, 112, message(2, 90, vip4), nil))
	f.packet(6, 0, at-1_000_000+3_648437, other, 0)
	_, s := decode(t, f.b, Options{})
	if len(s.Elections) != 2 || s.Elections[1].Cause != "master-down" || s.Elections[1].Gap != 3.648437 || len(s.Owners) != 2 || s.Owners[0].Adverts != 8 {
		t.Errorf("%+v\n%+v", s.Elections, s.Owners)
	}
	if want := time.Unix(1_700_000_000, 0).Add(-3593 * time.Second).Add(3_648437 * time.Microsecond); !s.Elections[1].At.Time.Equal(want) {
		t.Errorf("at %v, the frame says %v", s.Elections[1].At.Time, want)
	}
	if len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "set back once") {
		t.Errorf("%q", s.Notes)
	}
}

// TestTwoSides: a file of two ports, each of which sees another owner, tells of two owners, and of their common time once.
func TestTwoSides(t *testing.T) {
	f := &ngFile{order: binary.LittleEndian}
	f.section()
	f.card(LinkEthernet, "left", 0, 0)
	f.card(LinkEthernet, "right", 0, 0)
	advert := func(card uint32, ms uint64, host byte, prio uint8, id byte) {
		src := netip.AddrFrom4([4]byte{10, 0, 0, host})
		m := message(2, prio, vip4)
		f.packet(6, card, 1_700_000_000_000000+ms*1000, eth4(host, ip4(src, to, 255, 112, m, func(h []byte) []byte { h[4] = id; return h })), 0)
	}
	for s := range uint64(20) {
		advert(0, s*1000, 1, 150, byte(s))
		if s < 5 || s >= 15 { // the line between the sides is cut for ten seconds
			advert(1, s*1000+1, 1, 150, byte(s))
		}
		if s >= 8 && s <= 14 {
			advert(1, s*1000+10, 2, 100, byte(s))
		}
		if s == 9 {
			f.packet(6, 0, 1_700_000_009_020000, arpOf(1, mac2, vip4, vip4), 0)
		}
	}
	lines, s := decode(t, f.b, Options{})
	if len(lines) != 38 || s.Refused != 1 || len(s.Conflicts) != 0 { // what reaches the left side is of the other owner, and no stranger's
		t.Errorf("%d lines, %+v", len(lines), s.Conflicts)
	}
	if len(s.Owners) != 2 || s.Owners[0].Src != "10.0.0.1" || s.Owners[0].Adverts != 20 || s.Owners[0].Interface != "left, right" || s.Owners[0].Ended != "end" ||
		s.Owners[1].Src != "10.0.0.2" || s.Owners[1].Interface != "right" || s.Owners[1].Ended != "outranked" {
		t.Errorf("%+v", s.Owners)
	}
	var causes []string
	for _, e := range s.Elections {
		causes = append(causes, e.Owner+" "+e.Cause)
	}
	if got := strings.Join(causes, ", "); got != "10.0.0.1 first-heard, 10.0.0.2 master-down, 10.0.0.1 preempt" {
		t.Error(got)
	}
	if len(s.TwoOwners) != 1 || math.Abs(s.TwoOwners[0].Seconds-6.991) > 1e-9 || s.TwoOwners[0].Interface != "left, right" {
		t.Errorf("%+v", s.TwoOwners)
	}
}

// TestVLANsApart: the same VRID in two VLANs of one trunk, and in both families, is four routers.
func TestVLANsApart(t *testing.T) {
	d := New(Options{})
	n := 0
	see := func(vlan byte, host byte, six bool, at time.Duration) {
		frame := eth4(host, ip4(netip.AddrFrom4([4]byte{10, vlan, 0, host}), to, 255, 112, message(2, 100, netip.AddrFrom4([4]byte{10, vlan, 0, 100})), nil))
		if six {
			frame = eth6(host, ip6(addr6, t6, 255, 112, m6))
		}
		frame = slices.Concat(frame[:12], []byte{0x81, 0, 0xe0, vlan}, frame[12:])
		n++
		if l, ok := d.Frame(Frame{N: n, Time: time.Unix(1000, 0).Add(at), Link: LinkEthernet, Data: frame, Length: len(frame)}); !ok || !l.OK || l.Interface != fmt.Sprintf("vlan%d", vlan) {
			t.Errorf("%v", l)
		}
	}
	for k := range 5 {
		at := time.Duration(k) * time.Second
		see(10, 1, false, at)
		see(20, 2, false, at+100*time.Millisecond)
		see(10, 1, true, at+200*time.Millisecond)
		see(20, 1, true, at+200*time.Millisecond)
	}
	s := d.Summary()
	if len(s.Owners) != 4 || len(s.Elections) != 4 || len(s.Conflicts)+len(s.TwoOwners)+s.Refused != 0 {
		t.Errorf("%+v", s)
	}
}

// TestOneStranger: a host that announces all addresses of a router is one conflict.
func TestOneStranger(t *testing.T) {
	d := New(Options{})
	vips := []netip.Addr{vip4, vip4.Next(), vip4.Next().Next()}
	frames := [][]byte{eth4(1, ip4(addr4, to, 255, 112, message(2, 100, vips...), nil))}
	for _, v := range vips {
		frames = append(frames, arpOf(1, mac2, v, v), arpOf(2, mac2, v, v))
	}
	for n, b := range frames {
		d.Frame(Frame{N: n + 1, Time: time.Unix(1000, int64(n)*1000), Link: LinkEthernet, Data: b, Length: len(b)})
	}
	s := d.Summary()
	if len(s.Conflicts) != 1 || s.Conflicts[0].Packets != 6 || !slices.Equal(s.Conflicts[0].Foreign.VIPs, texts(vips)) || s.Conflicts[0].Foreign.MAC != mac2.String() {
		t.Errorf("%+v", s.Conflicts)
	}
}

// TestLoop: a network that brings back what was sent is a conflict; a datagram doubled once is not, and neither is a
// "cooked" capture, which shows each bridge and bond below it.
func TestLoop(t *testing.T) {
	for _, link := range []LinkType{LinkEthernet, LinkSLL} {
		for _, v := range []uint8{4, 6} {
			for _, loops := range []int{1, 5} {
				d := New(Options{})
				n := 0
				for k := range 6 {
					frame := eth4(1, ip4(addr4, to, 255, 112, m2, func(h []byte) []byte { h[4] = byte(k); return h }))
					if v == 6 {
						frame = adv6
					}
					if link == LinkSLL {
						frame = slices.Concat([]byte{0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, frame[12:])
					}
					copies := 1
					if k < loops {
						copies = min(1+loops, 3)
					}
					for c := range copies {
						n++
						l, ok := d.Frame(Frame{N: n, Time: time.Unix(int64(1000+k), int64(c)*1000), Link: link, Data: frame, Length: len(frame)})
						if !ok || !l.OK || strings.Contains(l.Text, "the same datagram as packet") != (c > 0) {
							t.Errorf("IPv%d: %v", v, l)
						}
					}
				}
				want := link == LinkEthernet && loops > 1
				s := d.Summary()
				if got := len(s.Conflicts) == 1 && slices.Equal(s.Conflicts[0].Reasons, []string{"loop"}); got != want || len(s.TwoOwners) != 0 || len(s.Owners) != 1 {
					t.Errorf("link %d IPv%d %d loops: %+v", link, v, loops, s.Conflicts)
				}
			}
		}
	}
}
