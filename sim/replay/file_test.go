package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// TestSecondOpinion: our reader and gopacket's find the same frames, addresses and message in every capture.
func TestSecondOpinion(t *testing.T) {
	files, _ := filepath.Glob("testdata/captures/*.pcap")
	if len(files) < 40 {
		t.Fatal(len(files))
	}
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(name, err)
		}
		theirs, err := pcapgo.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(name, err)
		}
		for {
			f, err := ours.Next()
			data, ci, terr := theirs.ReadPacketData()
			if !errors.Is(err, terr) {
				t.Fatalf("%s: %v, gopacket %v", name, err, terr)
			}
			if err != nil {
				break
			}
			if !bytes.Equal(f.Data, data) || !f.Time.Equal(ci.Timestamp) || f.Length != ci.Length {
				t.Fatalf("%s frame %d differs", name, f.N)
			}
			p, ok := read(f)
			if !ok || p.proto == ProtoARP {
				continue
			}
			g := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
			flow := g.NetworkLayer().NetworkFlow()
			if flow.Src().String() != p.ip.src.String() || flow.Dst().String() != p.ip.dst.String() {
				t.Errorf("%s frame %d: %v > %v, gopacket %v", name, f.N, p.ip.src, p.ip.dst, flow)
			}
			if !bytes.Equal(g.NetworkLayer().LayerPayload(), p.ip.payload) {
				t.Errorf("%s frame %d: payloads differ", name, f.N)
			}
		}
	}
}

// rewrap puts the frames of a capture behind another link layer.
func rewrap(t testing.TB, name string, wrap func(frame []byte) []byte) [][]byte {
	t.Helper()
	r, err := NewReader(bytes.NewReader(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for f, err := range r.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		if b := wrap(f.Data); b != nil {
			out = append(out, b)
		}
	}
	return out
}

func pcapOf(order binary.AppendByteOrder, magic uint32, link uint32, frames [][]byte) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(b, 0) // some writers say snap length 0
	b = order.AppendUint32(b, link)
	for n, f := range frames {
		b = order.AppendUint32(b, uint32(1000+n))
		b = order.AppendUint32(b, 500)
		b = order.AppendUint32(b, uint32(len(f)))
		b = order.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

func ngOf(t testing.TB, link layers.LinkType, frames [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriterInterface(&b, pcapgo.NgInterface{Name: "eth7", LinkType: link, TimestampResolution: 9},
		pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	for n, f := range frames {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(int64(1000+n), 500000), CaptureLength: len(f), Length: len(f)}, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestContainers: the same frames, however they were captured, give the same verdicts.
func TestContainers(t *testing.T) {
	const name = "25-inject-v2-invalid.pcap"
	plain := rewrap(t, name, slices.Clone[[]byte])
	tagged := rewrap(t, name, func(f []byte) []byte {
		return slices.Concat(f[:12], []byte{0x88, 0xa8, 0, 100, 0x81, 0, 0x60, 7}, f[12:])
	})
	sll := rewrap(t, name, func(f []byte) []byte {
		return slices.Concat([]byte{0, 2, 0, 1, 0, 6}, f[6:12], []byte{0, 0}, f[12:])
	})
	sll2 := rewrap(t, name, func(f []byte) []byte {
		return slices.Concat(f[12:14], []byte{0, 0, 0, 0, 0, 3, 0, 1, 2, 6}, f[6:12], []byte{0, 0}, f[14:])
	})
	padded := rewrap(t, name, func(f []byte) []byte { return append(slices.Clone(f), make([]byte, 7)...) })
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(pcapOf(binary.LittleEndian, magicMicro, 1, plain))
	_ = z.Close()

	want := verdicts(t, pcapOf(binary.LittleEndian, magicMicro, 1, plain))
	if strings.Count(want, "ok") < 60 || strings.Count(want, "reject") != 20 {
		t.Fatal(want)
	}
	priority := rewrap(t, name, func(f []byte) []byte { return slices.Concat(f[:12], []byte{0x81, 0, 0xe0, 0}, f[12:]) })
	old := rewrap(t, name, func(f []byte) []byte { return slices.Concat(f[:12], []byte{0x91, 0, 0, 5, 0x81, 0, 0, 5}, f[12:]) })
	for what, file := range map[string][]byte{
		"big endian nanoseconds":    pcapOf(binary.BigEndian, magicNano, 1, plain),
		"link type with FCS length": pcapOf(binary.LittleEndian, magicMicro, 1|4<<28, plain),
		"pcapng":                    ngOf(t, layers.LinkTypeEthernet, plain),
		"two VLAN tags":             pcapOf(binary.LittleEndian, magicMicro, 1, tagged),
		"two VLAN tags in pcapng":   ngOf(t, layers.LinkTypeEthernet, tagged),
		"priority tag":              pcapOf(binary.LittleEndian, magicMicro, 1, priority),
		"two old VLAN tags":         pcapOf(binary.LittleEndian, magicMicro, 1, old),
		"Linux cooked":              pcapOf(binary.LittleEndian, magicMicro, uint32(LinkSLL), sll),
		"Linux cooked in pcapng":    ngOf(t, layers.LinkTypeLinuxSLL, sll),
		"Linux cooked 2":            pcapOf(binary.LittleEndian, magicMicro, uint32(LinkSLL2), sll2),
		"Ethernet padding":          pcapOf(binary.LittleEndian, magicMicro, 1, padded),
		"gzip":                      zipped.Bytes(),
	} {
		if got := verdicts(t, file); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	lines, _ := decode(t, pcapOf(binary.LittleEndian, magicMicro, 1, tagged), Options{})
	if lines[0].Interface != "vlan100/vlan7" {
		t.Error(lines[0].Interface)
	}
	if lines, _ = decode(t, pcapOf(binary.LittleEndian, magicMicro, 1, priority), Options{}); lines[0].Interface != "" { // is no VLAN
		t.Error(lines[0].Interface)
	}
	lines, _ = decode(t, pcapOf(binary.LittleEndian, magicMicro, uint32(LinkSLL2), sll2), Options{})
	if lines[0].Interface != "if3" || lines[0].MAC.String() != "02:99:00:00:00:0b" {
		t.Error(lines[0].Interface, lines[0].MAC)
	}
	// without any link layer there is no ARP, and no MAC that would tell a forged source
	raw := rewrap(t, name, func(f []byte) []byte {
		if f[12] == 8 && f[13] == 6 {
			return nil
		}
		return slices.Clone(f[14:])
	})
	bsd := make([][]byte, len(raw))
	for n, b := range raw {
		bsd[n] = append([]byte{0, 0, 0, 2}, b...)
	}
	for link, frames := range map[LinkType][][]byte{LinkRaw: raw, linkRawBSD: raw, linkRawOBSD: raw, LinkIPv4: raw, LinkNull: bsd, LinkLoop: bsd} {
		lines, s := decode(t, pcapOf(binary.LittleEndian, magicMicro, uint32(link), frames), Options{})
		if len(lines) != 65 || s.Owners[0].MAC != "" {
			t.Error(link, len(lines))
		}
	}
}

func verdicts(t testing.TB, file []byte) string {
	lines, _ := decode(t, file, Options{})
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.Proto.String() + "=" + l.Verdict() + l.Word + " ")
	}
	return b.String()
}

// TestTwoSections: a new section begins with its own byte order and interfaces.
func TestTwoSections(t *testing.T) {
	plain := rewrap(t, "01-v2-noauth.pcap", slices.Clone[[]byte])
	lines, _ := decode(t, slices.Concat(ngOf(t, layers.LinkTypeEthernet, plain), ngOf(t, layers.LinkTypeEthernet, plain)), Options{})
	if len(lines) != 2*len(plain) || lines[len(lines)-1].N != 2*len(plain) {
		t.Error(len(lines))
	}
}

// TestCut: a file cut anywhere tells what was read before, and says that it is cut unless it ends between two frames.
func TestCut(t *testing.T) {
	for _, file := range [][]byte{readFile(t, "02-v2-pass.pcap"),
		ngOf(t, layers.LinkTypeEthernet, rewrap(t, "02-v2-pass.pcap", slices.Clone[[]byte]))} {
		whole, clean := 0, 0
		for n := range len(file) {
			r, err := NewReader(bytes.NewReader(file[:n]))
			if err != nil {
				continue
			}
			lines := 0
			_, err = Decode(r.Frames(), Options{}, func(Line) error { lines++; return nil })
			if err == nil {
				clean++
			} else if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrFormat) {
				t.Errorf("cut at %d: %v", n, err)
			}
			whole = max(whole, lines)
		}
		if whole < 9 || clean > 14 {
			t.Errorf("%d lines at most, %d clean ends", whole, clean)
		}
	}
}

// TestSnapLength: adverts of which the capture has the header tell the same story; what is cut before is refused as cut, not as wrong.
func TestSnapLength(t *testing.T) {
	file := readFile(t, "01-v2-noauth.pcap")
	b := slices.Clone(file[:24])
	b = append(b, file[24:40]...)
	binary.LittleEndian.PutUint32(b[24+8:], 40) // of 54
	b = append(b, file[40:80]...)
	lines, _ := decode(t, b, Options{})
	if len(lines) != 1 || lines[0].Word != "truncated" || !strings.Contains(lines[0].Text, "26 of 40") {
		t.Errorf("%v", lines)
	}
	story := func(file []byte, snap int) (elections []string, s Summary) {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		d := New(Options{})
		for f, err := range r.Frames() {
			if err != nil {
				t.Fatal(err)
			}
			f.Data = f.Data[:min(snap, len(f.Data))]
			if l, ok := d.Frame(f); ok && l.Text == "" {
				t.Errorf("%+v", l)
			}
		}
		s = d.Summary()
		for _, e := range s.Elections {
			elections = append(elections, fmt.Sprintf("%d %s %s", e.At.N, e.Owner, e.Cause))
		}
		return elections, s
	}
	files, _ := filepath.Glob("testdata/captures/*.pcap")
	parts := 0
	for _, path := range files {
		name := filepath.Base(path)
		if strings.Contains(name, "inject") || strings.Contains(name, "auth-pass") || strings.Contains(name, "pass-ah") {
			continue // wrong checksums and passwords are not seen in a cut advert
		}
		whole, _ := story(readFile(t, name), 1<<16)
		for _, snap := range []int{46, 66} { // behind the first address: of IPv4; before the first one of IPv6, and in AH
			if snap == 46 && (strings.Contains(name, "ipv6") || strings.Contains(name, "ah.")) {
				continue
			}
			got, s := story(readFile(t, name), snap)
			if !slices.Equal(got, whole) {
				t.Errorf("%s cut to %d: elections\n%q, whole\n%q", name, snap, got, whole)
			}
			if strings.Contains(strings.Join(s.Notes, "\n"), "adverts cut by the snap length") {
				parts++
			}
		}
	}
	if len(files) < 40 || parts < 30 {
		t.Errorf("%d captures, %d cut", len(files), parts)
	}
	// Of two clusters with one VRID the addresses that are there tell.
	if _, s := story(readFile(t, "14-vrid-conflict-vips.pcap"), 46); len(s.Conflicts) == 0 || !slices.Contains(s.Conflicts[0].Reasons, "addr_list") {
		t.Errorf("%+v", s.Conflicts)
	}
}

// TestDamaged: what is no capture, or lies about its sizes, gives an error and takes no memory.
func TestDamaged(t *testing.T) {
	huge := pcapOf(binary.LittleEndian, magicMicro, 1, nil)
	huge = append(huge, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	for _, tc := range []struct {
		file []byte
		want string
	}{
		{nil, "the file is empty"},
		{[]byte("virtual_server 10.0.0.1 80 {"), `it is text, beginning with "virtual_server 1"`},
		{[]byte{0x1f, 0x8b, 8, 0}, "gzip"},
		{[]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0}, "unpack it first (zstd -d)"},
		{[]byte("\xfd7zXZ\x00\x00"), "unpack it first (xz -d)"},
		{[]byte("snoop\x00\x00\x00\x00\x00\x00\x02"), "editcap -F pcapng"},
		{[]byte{0x34, 0xcd, 0xb2, 0xa1, 2, 0, 4, 0}, "editcap -F pcapng"},
		{[]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, "it begins with 7f 45 4c 46 02 01 01; record a capture with tcpdump -w FILE"},
		{[]byte("x"), "it is text"},
		{huge, "more than any capture holds"},
		{[]byte{0x0a, 0x0d, 0x0d, 0x0a, 0xff, 0xff, 0xff, 0xff, 0x4d, 0x3c, 0x2b, 0x1a}, "section header of"},
		{[]byte{0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4}, "byte order"},
	} {
		r, err := NewReader(bytes.NewReader(tc.file))
		if err == nil {
			_, err = r.Next()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("% x: %v, want %q", tc.file, err, tc.want)
		}
	}
}

// FuzzFile: any octets end in a summary or an error; nothing panics, nothing is kept without bound, and every line
// has a verdict.
func FuzzFile(f *testing.F) {
	for _, name := range []string{"03-v2-ah.pcap", "05-v3-ipv6.pcap", "14-vrid-conflict-vips.pcap", "25-inject-v2-invalid.pcap"} {
		b := readFile(f, name)
		f.Add(b[:min(len(b), 1500)])
		f.Add(ngOf(f, layers.LinkTypeEthernet, rewrap(f, name, slices.Clone[[]byte])[:8]))
	}
	f.Add(everything(binary.LittleEndian))
	f.Add(everything(binary.BigEndian))
	for _, tc := range packetCases {
		f.Add(pcapOf(binary.LittleEndian, magicNano, 1, slices.Concat([][]byte{adv4}, tc.frames)))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		n := 0
		s, _ := Decode(r.Frames(), Options{AuthPass: "x", CheckAH: true}, func(l Line) error {
			if l.OK != (l.Word == "") || l.Text == "" || l.Proto == 0 {
				t.Fatalf("%+v", l)
			}
			_ = l.Format(Style{In: time.UTC})
			if _, err := json.Marshal(l); err != nil {
				t.Fatal(err)
			}
			n++
			return nil
		})
		if s.Packets != n {
			t.Fatalf("%d lines, %d packets", n, s.Packets)
		}
		if err := s.Write(io.Discard, Style{}); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzFrames: one frame of any content and link type, twice, between adverts of a genuine owner.
func FuzzFrames(f *testing.F) {
	for _, tc := range packetCases {
		f.Add(uint16(1), tc.frames[0])
	}
	for _, name := range []string{"03-v2-ah.pcap", "05-v3-ipv6.pcap", "27-inject-v3-ipv6-invalid.pcap", "25-inject-v2-invalid.pcap"} {
		for _, b := range rewrap(f, name, slices.Clone[[]byte])[:20] {
			f.Add(uint16(1), b)
			f.Add(uint16(101), b[14:])
		}
	}
	for _, tc := range tunnels {
		f.Add(uint16(1), tc.wrap(eth4(1, ip4(addr4, to, 255, 112, m2, nil))))
	}
	genuine := rewrap(f, "01-v2-noauth.pcap", slices.Clone[[]byte])
	f.Fuzz(func(t *testing.T, link uint16, frame []byte) {
		d := New(Options{AuthPass: "s3cr3tpw", CheckAH: true})
		at := time.Unix(1000, 0)
		for n, g := range genuine {
			d.Frame(Frame{N: 2 * n, Time: at, Link: LinkEthernet, Data: g, Length: len(g)})
			if l, ok := d.Frame(Frame{N: 2*n + 1, Time: at, Link: LinkType(link), Data: frame, Length: len(frame) + n%2*100}); ok && l.OK != (l.Word == "") {
				t.Fatalf("%+v", l)
			}
			at = at.Add(500 * time.Millisecond)
		}
		d.Summary()
	})
}
