package sim

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/pcapgo"

	"quorate/sim/wire"
)

// library is where the built-in scenarios are.
const library = "../netns-tests/scenarios"

// newSession returns a session that writes captures to memory.
func newSession() (*Session, map[string]*bytes.Buffer) {
	files := map[string]*bytes.Buffer{}
	return &Session{Create: func(name string) (io.Writer, error) {
		files[name] = &bytes.Buffer{}
		return files[name], nil
	}}, files
}

// TestScenarios plays every file of the library. An expectation that does not hold fails the test
// even under -rewrite: it is a claim, not an observation.
func TestScenarios(t *testing.T) {
	for name := range scenarios(t) {
		t.Run(strings.TrimSuffix(name, ".txt"), func(t *testing.T) { golden(t, filepath.Join(library, name)) })
	}
}

func golden(t *testing.T, path string) {
	s, _ := newSession()
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		line := d.Cmd
		for _, a := range d.CmdArgs {
			line += " " + a.String()
		}
		out, err := s.Exec(line, d.Input)
		if errors.Is(err, ErrExpect) {
			t.Fatalf("%s: %v\nnot shown yet:\n%s", d.Pos, err, s.fresh())
		}
		if err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		return out
	})
}

// scenarios returns the text of every file of the library by name.
func scenarios(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(library + "/*.txt")
	if err != nil || len(paths) < 3 {
		t.Fatalf("found %d scenarios, %v", len(paths), err)
	}
	texts := map[string]string{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(p)] = string(b)
	}
	return texts
}

// play runs a scenario through this package's own reader.
func play(t *testing.T, name, text string) (*Session, map[string]*bytes.Buffer) {
	t.Helper()
	sc, err := ParseScenario(name, text)
	if err != nil {
		t.Fatal(err)
	}
	s, files := newSession()
	wrong, err := sc.Play(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range wrong {
		t.Errorf("%s:%d: %s\n%s", name, m.Directive.Line, m.Directive.Text, cmp.Diff(m.Directive.Expected, m.Got))
	}
	return s, files
}

// Every file twice, through the reader that operators use: equal fingerprints, equal captures,
// and the same output that datadriven's reader compares.
func TestRunsAreReproducible(t *testing.T) {
	hashes := map[uint64]string{}
	for name, text := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			a, filesA := play(t, name, text)
			b, filesB := play(t, name, text)
			hashA, tasksA, framesA := a.World().Trace()
			hashB, tasksB, framesB := b.World().Trace()
			if hashA != hashB || tasksA != tasksB || framesA != framesB {
				t.Errorf("trace %016x %d %d, then %016x %d %d", hashA, tasksA, framesA, hashB, tasksB, framesB)
			}
			if other, taken := hashes[hashA]; taken {
				t.Errorf("the same trace as %s: the fingerprint sees nothing", other)
			}
			hashes[hashA] = name
			for f, content := range filesA {
				if !bytes.Equal(content.Bytes(), filesB[f].Bytes()) {
					t.Errorf("%s differs between two runs", f)
				}
			}
		})
	}
}

// Another seed is another run, and so is another order of simultaneous tasks; both keep what
// the scenario claims, only its golden output differs.
func TestSeedsAndShuffleKeepTheClaims(t *testing.T) {
	text := scenarios(t)["owner-crash.txt"]
	seen := map[uint64]string{}
	for _, with := range []string{"seed=1", "seed=2", "seed=3", "seed=1 shuffle", "seed=2 shuffle"} {
		sc, err := ParseScenario("owner-crash.txt", strings.Replace(text, "seed=1", with, 1))
		if err != nil {
			t.Fatal(err)
		}
		s, _ := newSession()
		if _, err := sc.Play(s, nil); err != nil {
			t.Errorf("%s: %v", with, err)
		}
		hash, _, _ := s.World().Trace()
		if other, taken := seen[hash]; taken {
			t.Errorf("%s has the trace of %s", with, other)
		}
		seen[hash] = with
	}
}

// The capture of a run holds each frame as it left and as it arrived, on the card's interface.
func TestCapture(t *testing.T) {
	_, files := play(t, "owner-crash.txt", scenarios(t)["owner-crash.txt"])
	file := files["owner-crash.pcapng"]
	if file == nil {
		t.Fatal("no capture was written")
	}
	r, err := pcapgo.NewNgReader(file, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	adverts := map[string]int{} // by interface
	var last time.Time
	for {
		b, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if ci.Timestamp.Before(last) {
			t.Fatalf("time runs backwards at %v", ci.Timestamp)
		}
		last = ci.Timestamp
		f, err := wire.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if f.EtherType == wire.EtherIPv4 && f.IP.Protocol == wire.ProtoVRRP {
			intf, err := r.Interface(ci.InterfaceIndex)
			if err != nil {
				t.Fatal(err)
			}
			adverts[intf.Name]++
			if f.IP.TTL != 255 || f.IP.TOS != 0xc0 || f.Dst != (wire.MAC{1, 0, 0x5e, 0, 0, 0x12}) {
				t.Errorf("advert with TTL %d, TOS %#x, to %v", f.IP.TTL, f.IP.TOS, f.Dst)
			}
		}
	}
	// d3 never owns the VIP: it hears every advert of the run that had time to arrive.
	if adverts["d3 eth0"] < 20 || adverts["d1 eth0"] == 0 || adverts["c1 eth0"] == 0 {
		t.Errorf("adverts by interface: %v", adverts)
	}
}

// BenchmarkIdle is three directors with nothing to do but adverts, BenchmarkClient the same
// with a client asking every 20 ms. The figure to watch is simulated seconds per second.
func BenchmarkIdle(b *testing.B)   { benchmark(b, "") }
func BenchmarkClient(b *testing.B) { benchmark(b, "load c1 10.0.0.100") }

func benchmark(b *testing.B, more string) {
	s, _ := newSession()
	conf := "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n @d1 priority 150\n @d2 priority 100\n @d3 priority 90\n virtual_ipaddress {\n 10.0.0.100\n }\n}"
	for _, d := range [][2]string{{"world nodes=(d1,d2,d3) client=c1 seed=1"}, {"conf d1 d2 d3", conf}, {"run 10s"}, {more}} {
		if d[0] == "" {
			continue
		}
		if _, err := s.Exec(d[0], d[1]); err != nil {
			b.Fatal(err)
		}
	}
	w := s.World()
	start := w.Now()
	b.ReportAllocs()
	for b.Loop() {
		w.Run(w.Now() + time.Minute)
	}
	b.ReportMetric((w.Now()-start).Seconds()/b.Elapsed().Seconds(), "sim-s/s")
	if len(w.judge.holders(w.judge.vips[0])) != 1 {
		b.Fatal("not one owner")
	}
}
