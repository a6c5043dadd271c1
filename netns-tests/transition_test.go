package netnstests

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"quorate/internal/testenv"
)

// The same scenario with keepalived in one place and with ours there: the owner, a keepalived, is killed, and it stops in order. From its last
// advert to the first of its successor the medians of both agree within 20 ms.
func TestTransitionTimes(t *testing.T) {
	testenv.Need(t, "keepalived")
	const rounds = 5
	got := map[string][2]time.Duration{} // killed, stopped
	t.Run("measure", func(t *testing.T) {
		results := make(chan func(), 2)
		for _, successor := range []string{"clusterd", "keepalived"} {
			t.Run(successor, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, "d1", "d2")
				conf := w.write("keepalived.conf", keepalivedConf)
				if successor == "keepalived" {
					w.keepalived("d2", conf)
				} else {
					w.start("d2", program(t, "clusterd"), "-n", "-P", "-f", conf, "-i", "d2", "--run-dir", filepath.Join(w.dir, "d2.run"))
				}
				var took [2]time.Duration
				for k, end := range []func() error{
					func() error { return w.lab.Host("d1").Kill(killSignal) },
					func() error { return w.lab.Host("d1").Kill(termSignal) },
				} {
					var all []time.Duration
					for range rounds {
						w.eventually(5*time.Second, "d1 has ended", func() string { // keepalived takes a second to stop
							if list, err := w.lab.Host("d1").Processes(); err != nil || len(list) > 0 {
								return "still there"
							}
							return ""
						})
						w.keepalived("d1", conf)
						w.owned(10*time.Second, "d1", vip, "d1", "d2")
						time.Sleep(500 * time.Millisecond)
						if err := end(); err != nil {
							t.Fatal(err)
						}
						_ = w.lab.Host("d1").DeleteAddress("eth0", vip.String()+"/24") // its kernel keeps it when it is killed
						w.owned(10*time.Second, "d2", vip, "d1", "d2")
						all = append(all, w.succeeds("d1", "d2"))
					}
					slices.Sort(all)
					t.Logf("%s: %v", [2]string{"killed", "stopped"}[k], all)
					took[k] = all[rounds/2]
				}
				results <- func() { got[successor] = took }
			})
		}
		t.Cleanup(func() {
			close(results)
			for f := range results {
				f()
			}
		})
	})
	for k, what := range []string{"killed", "stopped"} {
		o, p := got["clusterd"][k], got["keepalived"][k]
		if d := (o - p).Abs(); o == 0 || p == 0 || d > 20*time.Millisecond {
			t.Errorf("owner %s: clusterd takes over after %v, keepalived after %v", what, o, p)
		}
	}
}

// succeeds is the time from the last advert of one host to the first after it of another, from the capture's kernel timestamps.
func (w *world) succeeds(from, to string) (took time.Duration) {
	w.Helper()
	last := w.lastAdvert(from).at
	w.eventually(2*time.Second, to+" advertises", func() string {
		adverts, _ := w.traffic()
		for _, a := range adverts {
			if a.mac == w.mac(to) && a.at.After(last) {
				took = a.at.Sub(last)
				return ""
			}
		}
		return "no advert in the capture"
	})
	return took
}
