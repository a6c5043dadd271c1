package replay

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Refusal counts packets of one sender that were refused for one reason and are no conflict: damaged, cut, forged.
type Refusal struct {
	Interface   string
	Proto       Proto
	VRID        uint8
	Src         string // as far as known
	MAC         MAC
	Word, Text  string // of the first
	Packets     int
	First, Last Instant
}

// maxRefusals bounds the list: damaged packets may come from anywhere.
const maxRefusals = 200

// refuse counts a refusal.
func (d *Decoder) refuse(p *packet) {
	d.count.Refused++
	if p.told || p.fault.word == "fragment" {
		return
	}
	src := ""
	if p.ip.src.IsValid() {
		src = p.ip.src.String()
	}
	at := d.clock.instant(d.begin, d.now, p.frame.N)
	for _, f := range d.refusals {
		if f.Interface == p.link.port && f.Proto == p.proto && f.VRID == p.vrid && f.Src == src && f.MAC == p.link.mac && f.Word == p.fault.word {
			f.Packets++
			f.Last = at
			return
		}
	}
	if len(d.refusals) >= maxRefusals {
		d.dropped++
		return
	}
	d.refusals = append(d.refusals, &Refusal{Interface: p.link.port, Proto: p.proto, VRID: p.vrid, Src: src, MAC: p.link.mac,
		Word: p.fault.word, Text: p.fault.text, Packets: 1, First: at, Last: at})
}

// linkNames are link types that people meet and that are not read.
var linkNames = map[LinkType]string{
	9: "PPP", 50: "PPP", 51: "PPPoE", 105: "IEEE 802.11", 119: "IEEE 802.11 Prism", 127: "IEEE 802.11 radiotap", 163: "IEEE 802.11 AVS",
	189: "USB", 192: "PPI", 195: "IEEE 802.15.4", 220: "USB", 239: "NFLOG", 247: "InfiniBand", 249: "USBPcap", 253: "netlink",
}

// notes are the reasons to doubt the summary.
func (d *Decoder) notes() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, t := range slices.Sorted(maps.Keys(d.skipped)) {
		name := linkNames[t]
		if name == "" {
			name = "see https://www.tcpdump.org/linktypes.html"
		}
		say("%s of link type %d (%s), which is not read: capture on an Ethernet interface, or with -i any", count(d.skipped[t], "frame"), t, name)
	}
	cut, unchecked := 0, 0
	for _, f := range d.refusals {
		if f.Word == "truncated" {
			cut += f.Packets
		}
	}
	if d.key == nil {
		unchecked = d.headers
	}
	if cut > 0 {
		say("%s cut by the snap length of the capture before they say what they are about, counted as not heard: capture with tcpdump -s 0", count(cut, "packet"))
	}
	if d.cut > 0 {
		say("%s cut by the snap length of the capture: checksums, passwords and the rest of the addresses were not looked at; capture with tcpdump -s 0", count(d.cut, "advert"))
	}
	if unchecked > 0 {
		say("%s with a check value that was not checked: give the password with --auth-pass", count(unchecked, "authentication header"))
	}
	lost := d.lost
	for _, q := range d.parts {
		lost += len(q.frames)
	}
	if lost > 0 {
		say("%s of adverts whose rest is not in the capture; no host takes those", count(lost, "fragment"))
	}
	if d.count.Steps > 0 {
		say("the clock of the capture was set back %s, or several captures were put together; no time passes there", times(d.count.Steps))
	}
	if d.count.Unstamped > 0 {
		say("%s without a time (simple packet blocks of pcapng): silences and intervals between them cannot be seen", count(d.count.Unstamped, "frame"))
	}
	if d.count.Adverts == 0 {
		say("no VRRP was seen (%s). Adverts go to 224.0.0.18 and ff02::12: a switch with IGMP snooping keeps them from ports whose host has not joined; capture on a director", none(d.count.Frames, "frame"))
	}
	if d.dropped > 0 {
		say("%d more events are not listed", d.dropped)
	}
	if d.forgotten > 0 {
		say("%d adverts were judged by themselves only: more VRIDs, hosts or addresses than are remembered", d.forgotten)
	}
	return out
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// span of the capture in wall clock time.
func (c Counts) span() string {
	if c.First.IsZero() {
		return "no time stamps"
	}
	const day, clockTime = "2006-01-02 15:04:05.000", "15:04:05.000"
	first, last := c.First.UTC(), c.Last.UTC()
	end := last.Format(clockTime)
	if first.Format(time.DateOnly) != last.Format(time.DateOnly) {
		end = last.Format(day)
	}
	return fmt.Sprintf("%s .. %s UTC", first.Format(day), end)
}
