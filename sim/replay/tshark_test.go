package replay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quorate/internal/testenv"
)

// fields asks tshark for one value per field and packet, in the order of the packets.
func fields(t *testing.T, file []byte, names ...string) [][]string {
	t.Helper()
	testenv.Need(t, "tshark")
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "occurrence=l", "-E", "separator=|"}
	for _, n := range names {
		args = append(args, "-e", n)
	}
	cmd := exec.Command("tshark", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, &errs)
	}
	var rows [][]string
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		rows = append(rows, strings.Split(line, "|"))
	}
	return rows
}

// TestTshark: for every frame of the captures and of the made-up packets, tshark sees the same kind of packet, VRID and version, and
// agrees about checksums. (It calls the checksum of RFC 9568 over IPv4 bad, and does not look at anything else that we judge.)
func TestTshark(t *testing.T) {
	files, err := filepath.Glob("testdata/captures/*.pcap")
	if err != nil || len(files) < 40 {
		t.Fatal(len(files), err)
	}
	var frames [][]byte
	for _, name := range files {
		frames = append(frames, rewrap(t, filepath.Base(name), slices.Clone[[]byte])...)
	}
	for _, tc := range packetCases {
		frames = append(frames, tc.frames...)
	}
	file := pcapOf(binary.LittleEndian, magicMicro, 1, frames)
	rows := fields(t, file, "frame.number", "vrrp.virt_rtr_id", "vrrp.version", "vrrp.checksum.status", "ip.checksum.status",
		"arp.isgratuitous", "arp.isprobe", "icmpv6.type", "icmpv6.checksum.status", "ah.sequence", "vrrp.prio")
	if len(rows) != len(frames) {
		t.Fatalf("tshark sees %d packets, there are %d", len(rows), len(frames))
	}
	d := New(Options{})
	compared := 0
	for n, b := range frames {
		p, ok := read(Frame{N: n + 1, Link: LinkEthernet, Data: b, Length: len(b)})
		if ok && p.ip.frag != nil && p.fault == nil {
			d.join(&p)
			if p.ip.frag != nil {
				continue // tshark shows it where the last one is
			}
			p.fault = nil
			p.transport()
		}
		row := rows[n]
		theirs := ""
		switch {
		case row[9] != "" && row[1] != "":
			theirs = "ah"
		case row[1] != "":
			theirs = "vrrp"
		case row[5] == "1" || row[5] == "True" || row[6] == "1" || row[6] == "True":
			theirs = "arp"
		case row[7] == "136":
			theirs = "nd"
		}
		ours := ""
		if ok && (p.proto != ProtoARP || p.arp.gratuitous) {
			ours = p.proto.String()
		}
		if ours != theirs {
			t.Errorf("frame %d %x: %q, tshark %q (%q)", n+1, b, ours, theirs, row)
			continue
		}
		if ours != "vrrp" && ours != "ah" && ours != "nd" {
			continue
		}
		compared++
		word := ""
		if p.fault != nil {
			word = p.fault.word
		}
		if bad := word == "ip_checksum"; bad != (row[4] == "0") {
			t.Errorf("frame %d: %q, tshark says of the IP checksum %q", n+1, word, row[4])
		}
		if ours == "nd" {
			if bad := word == "checksum"; bad != (row[8] == "0") {
				t.Errorf("frame %d: %q, tshark says of the checksum %q", n+1, word, row[8])
			}
			continue
		}
		if p.ver == 2 || p.ver == 3 { // others have no VRID that could be relied on
			if id, ver := strconv.Itoa(int(p.vrid)), strconv.Itoa(int(p.ver)); row[1] != id || row[2] != ver {
				t.Errorf("frame %d: VRID %s version %s, tshark %q", n+1, id, ver, row)
			}
		}
		if word == "" && row[10] != strconv.Itoa(int(p.advert.Priority)) {
			t.Errorf("frame %d: priority %d, tshark %q", n+1, p.advert.Priority, row)
		}
		switch {
		case word == "checksum" && row[3] != "0":
			t.Errorf("frame %d: wrong checksum, tshark %q", n+1, row[3])
		case word == "" && row[3] != "1":
			if form := p.advert.Checksum; p.ver != 3 || p.advertIs6() || sumOf(form) == sumOf(0) {
				t.Errorf("frame %d %x: right checksum, tshark %q", n+1, b, row[3])
			}
		}
	}
	if compared < 700 {
		t.Error(fmt.Sprint(compared, " compared"))
	}
}
