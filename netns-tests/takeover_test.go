package netnstests

import (
	"slices"
	"testing"
	"time"
)

// Of examples/lvs-dr.conf: advert_int 1 and the priorities.
const advertInt = time.Second

var priorities = map[string]int{"d1": 150, "d2": 100, "d3": 50}

// masterDown is how long a backup waits after the last advert (RFC 3768 6.1, VRRPv2).
func masterDown(host string) time.Duration {
	skew := time.Duration(256-priorities[host]) * time.Second / 256
	return 3*advertInt + skew
}

// slack is what a loaded machine may add.
const slack = 200 * time.Millisecond

// takesOver waits until next is the owner after the owner dead was killed, and asserts from the capture that it
// announced itself one master-down interval after the last advert heard: not before, not much later.
func (w *world) takesOver(dead, next string, others ...string) (announced time.Time) {
	w.Helper()
	w.owned(15*time.Second, next, vip, append(others, next)...)
	last := w.lastAdvert(dead)
	w.eventually(2*time.Second, next+" announces "+vip.String(), func() string {
		if got := w.announced(next, vip, last.at); len(got) > 0 {
			announced = got[0]
			return ""
		}
		return "no gratuitous ARP in the capture"
	})
	took := announced.Sub(last.at)
	w.Logf("%s announced itself %v after the last advert of %s", next, took.Round(time.Millisecond), dead)
	if low, high := masterDown(next)-50*time.Millisecond, masterDown(next)+slack; took < low || took > high {
		w.Errorf("%s announced itself %v after the last advert of %s, want %v to %v", next, took, dead, low, high)
	}
	return announced
}

// Three directors from the example: one owner; when every process of it is killed at once the next one owns within the
// protocol's time; the killed one's kernel keeps the address, and the client goes to the new owner all the same, even if
// it missed the first announcements.
func TestThreeDirectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3", "client")
	directors := []string{"d1", "d2", "d3"}
	for _, d := range directors {
		w.web(d)
	}
	w.form(directors...)
	w.ctl("d1", "push", w.example("lvs-dr.conf"), "-m", "first")
	w.runs(1, directors...)
	w.owned(15*time.Second, "d1", vip, directors...)
	w.steady(2*time.Second, "d1", vip, directors...)
	for _, d := range directors {
		w.says(d, "d1")
	}
	client := w.lab.Host("client")
	asks := func(want string) {
		t.Helper()
		if got, err := w.ask(client.Addr(), vip); err != nil || got != want {
			t.Errorf("client is answered by %q, %v; want %s", got, err, want)
		}
	}
	asks("d1")

	w.kill("d1")
	taken := w.takesOver("d1", "d2", "d3")
	if got := w.owners(vip, "d1"); len(got) != 1 {
		t.Error("the killed director's kernel lost the address: this test would prove nothing")
	}
	// A client that missed the first block of announcements still sends to d1 …
	time.Sleep(time.Until(taken.Add(2 * time.Second)))
	asks("d2")
	if err := client.SetNeighbour(vip, w.lab.Host("d1").MAC()); err != nil {
		t.Fatal(err)
	}
	asks("d1")
	// … until the second, garp_master_delay (5 s) later.
	time.Sleep(time.Until(taken.Add(6 * time.Second)))
	for range 20 {
		asks("d2")
		if mac, err := client.Neighbour(vip); err != nil || mac.String() != w.mac("d2") {
			t.Errorf("client believes %s at %s (%s), %v; want d2", vip, mac, w.hostOf(mac), err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	var first, second, answers int
	for _, at := range w.announced("d2", vip, taken.Add(-time.Second)) {
		switch since := at.Sub(taken); {
		case since < time.Second:
			first++
		case since > 4500*time.Millisecond && since < 6*time.Second:
			second++
		case since > time.Second && since < 3*time.Second: // d2 has asked, and d1's kernel has answered that it has the address
			answers++
		default:
			t.Errorf("an announcement %v after the takeover", since)
		}
	}
	if first != 5 || second != 5 {
		t.Errorf("%d announcements at once and %d after 5 s, want 5 and 5 (garp_master_repeat)", first, second)
	}
	if answers != 1 {
		t.Errorf("%d announcements because the killed director still answers for the address, want 1", answers)
	}
	w.steady(time.Second, "d2", vip, "d2", "d3")
	w.decodes("02:00:c0:a8:02:d2 192.168.2.210 224.0.0.18 255 0xc0 2 51 150 1 1 1111 192.168.2.240",
		"02:00:c0:a8:02:d3 192.168.2.211 224.0.0.18 255 0xc0 2 51 100 1 1 1111 192.168.2.240")
}

// decodes ends the capture and asserts that an independent decoder sees these adverts and nothing malformed.
func (w *world) decodes(adverts ...string) {
	w.Helper()
	if err := w.stop(); err != nil {
		w.Error(err)
	}
	lines := w.tshark("vrrp", "eth.src", "ip.src", "ip.dst", "ip.ttl", "ip.dsfield", "vrrp.version", "vrrp.virt_rtr_id",
		"vrrp.prio", "vrrp.checksum.status", "vrrp.adver_int", "vrrp.auth_string", "vrrp.ip_addr")
	for _, want := range adverts {
		if !slices.Contains(lines, want) {
			w.Errorf("no advert %q in the capture; first of %d: %q", want, len(lines), lines[0])
		}
	}
	for _, line := range lines {
		if !slices.Contains(adverts, line) {
			w.Errorf("advert %q in the capture, want only %q", line, adverts)
			break
		}
	}
	// Of VRRP and ARP only: a decoder that goes by port numbers takes a piece of somebody's TLS for a protocol it is not.
	if bad := w.tshark("vrrp.checksum.status != 1 || ((vrrp || arp) && _ws.malformed)", "frame.number"); bad[0] != "" {
		w.Errorf("tshark rejects frames %v", bad)
	}
}

// Debian's keepalived as second director of our group takes over from our owner, and yields to it again.
func TestKeepalivedTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	conf := w.example("lvs-dr.conf")
	w.form("d1", "d3")
	w.ctl("d1", "push", conf, "-m", "first")
	w.owned(15*time.Second, "d1", vip, "d1", "d3")
	w.keepalived("d2", conf)
	w.steady(5*time.Second, "d1", vip, directors...) // longer than keepalived would wait for an owner

	w.kill("d1")
	w.takesOver("d1", "d2", "d3")
	w.steady(2*time.Second, "d2", vip, "d2", "d3")
	w.clusterd("d1")
	w.owned(15*time.Second, "d1", vip, directors...)
	w.steady(2*time.Second, "d1", vip, directors...)
	w.decodes("02:00:c0:a8:02:d2 192.168.2.210 224.0.0.18 255 0xc0 2 51 150 1 1 1111 192.168.2.240",
		"02:00:c0:a8:02:d3 192.168.2.211 224.0.0.18 255 0xc0 2 51 100 1 1 1111 192.168.2.240")
}

// Debian's keepalived takes the address from our lower priority owner, and ours takes over when it is killed.
func TestKeepalivedIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	conf := w.example("lvs-dr.conf")
	w.form("d2", "d3")
	w.ctl("d2", "push", conf, "-m", "first")
	w.owned(15*time.Second, "d2", vip, "d2", "d3")
	w.keepalived("d1", conf)
	w.owned(15*time.Second, "d1", vip, directors...)
	w.steady(2*time.Second, "d1", vip, directors...)

	w.kill("d1")
	w.takesOver("d1", "d2", "d3")
	w.steady(2*time.Second, "d2", vip, "d2", "d3")
}

// A director that boots alone, without quorum, runs the generation it ran last and owns the address.
func TestAloneWithoutQuorum(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "d1", "d2", "d3")
	directors := []string{"d1", "d2", "d3"}
	w.form(directors...)
	conf := w.example("lvs-dr.conf")
	w.ctl("d1", "push", conf, "-m", "first")
	w.runs(1, directors...)
	w.owned(15*time.Second, "d1", vip, directors...)
	for _, d := range directors {
		w.kill(d)
		// A reboot: the kernel's addresses are gone too.
		if err := w.lab.Host(d).DeleteAddress("eth0", vip.String()+"/32"); err != nil && d == "d1" {
			t.Fatal(err)
		}
	}
	began := time.Now()
	w.startClusterd("d3")
	w.owned(15*time.Second, "d3", vip, directors...)
	t.Logf("d3, alone, owns %s %v after its start", vip, time.Since(began).Round(time.Millisecond))
	w.says("d3", "d3")
	if st := w.status("d3"); st.Quorum || st.Generation != 1 {
		t.Errorf("status of d3: %+v, want its own view: no quorum, generation 1", st)
	}
	if r := w.tryCtl("d3", "push", conf, "-m", "second"); r.code != 6 {
		t.Errorf("push without quorum: %v, want exit status 6", r)
	}
	w.steady(time.Second, "d3", vip, directors...)
	// A second one makes quorum again, with the same generation.
	w.clusterd("d1")
	w.owned(15*time.Second, "d1", vip, directors...)
	w.ready("d1", "d1", "d3")
	w.runs(1, "d1", "d3")
}
