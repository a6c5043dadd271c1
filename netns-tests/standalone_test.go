package netnstests

import (
	"testing"
	"time"
)

// standalone starts clusterd with a file and no cluster, as keepalived is started.
func (w *world) standalone(host, conf string) {
	w.Helper()
	w.start(host, program(w, "clusterd"), "-n", "-l", "-D", "-P", "-f", conf, "-i", host, "--run-dir", w.runDir(host))
}

// Without a cluster clusterd is a keepalived: the same file, the same election with a real keepalived in the middle, and
// a clean stop hands the address over after the skew time (RFC 3768 6.4.3, priority 0), not after three adverts.
func TestStandalone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	conf := w.example("lvs-dr.conf")
	w.standalone("d1", conf)
	w.keepalived("d2", conf)
	w.standalone("d3", conf)
	w.owned(15*time.Second, "d1", vip, directors...)
	w.steady(2*time.Second, "d1", vip, directors...)
	w.kill("d1")
	w.takesOver("d1", "d2", "d3")

	if err := w.lab.Host("d2").Kill(termSignal); err != nil {
		t.Fatal(err)
	}
	w.owned(15*time.Second, "d3", vip, "d2", "d3")
	stop := w.lastAdvert("d2")
	if stop.priority != 0 {
		t.Errorf("last advert of d2 has priority %d, want 0", stop.priority)
	}
	var start []time.Time
	w.eventually(2*time.Second, "d3 announces "+vip.String(), func() string {
		if start = w.announced("d3", vip, stop.at); len(start) == 0 {
			return "no gratuitous ARP in the capture"
		}
		return ""
	})
	if took := start[0].Sub(stop.at); took < 700*time.Millisecond || took > time.Second+slack {
		t.Errorf("d3 announced itself %v after priority 0, want its skew time, 0.8 s", took)
	}

	if err := w.lab.Host("d3").Kill(termSignal); err != nil {
		t.Fatal(err)
	}
	w.eventually(10*time.Second, "clusterd ends after SIGTERM", func() string {
		list, err := w.lab.Host("d3").Processes()
		if err != nil || len(list) > 0 {
			return "still there"
		}
		return ""
	})
	if left := w.owners(vip, "d3"); len(left) > 0 {
		t.Error("d3 stopped cleanly and left the address on eth0")
	}
	if last := w.lastAdvert("d3"); last.priority != 0 {
		t.Errorf("last advert of d3 has priority %d, want 0", last.priority)
	}
}
