package netnstests

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/internal/testenv"
	"quorate/netns-tests/scenarios"
	"quorate/sim"
	"quorate/sim/netns"
	"quorate/sim/real"
)

// played are the scenarios that CI plays with real daemons; "clusterctl sim run --backend netns all" plays every one.
var played = []string{
	"push-leader-dies", "push-adds-vip", // the longest first
	"owner-crash", "graceful-stop", "stalled-owner", "killed-daemon", "partition-and-heal", "one-way-cut", "deaf-backup",
	"vrid-conflict-same-vip", "vrid-conflict-interval", "stranger-other-vips", "duplicate-vip", "arp-poisoned",
	"vip-deleted-by-hand", "nopreempt-fault", "crash-loop", "two-segments", "sync-group", "half-open-port", "address-table-full",
	"advert-larger-than-mtu", "unicast-peers", "ah-authentication", "link-and-script", "igmp-snooping-no-querier",
	"sync-group-split", "owner-crash-ipv6", "dual-stack",
}

// atOnce is how many labs run at the same time: they wait most of the time.
const atOnce = 7

// part is a scenario to play, with the directors that run keepalived.
type part struct {
	name     string
	programs map[string]string
	fails    string // what must go wrong, a regular expression; empty: nothing
	guests   bool   // each director is a guest with a kernel of its own
}

// judge takes what was wrong with a run and returns what is wrong with that.
func (p part) judge(wrong string) string {
	if p.fails == "" {
		return wrong
	}
	first, _, _ := strings.Cut(wrong, "\n")
	if regexp.MustCompile(p.fails).MatchString(first) {
		return ""
	}
	return fmt.Sprintf("this should have failed with %q; it did with %q", p.fails, wrong)
}

func (p part) String() string {
	name := p.name
	for _, node := range slices.Sorted(maps.Keys(p.programs)) {
		name += "-" + node + "-" + p.programs[node]
	}
	return name
}

// playReal plays scenarios in labs of their own, several at once, and judges them one after the other.
func playReal(t *testing.T, parts ...part) {
	t.Helper()
	needLab(t)
	results := make([]chan string, len(parts))
	most, slack := atOnce, 250*time.Millisecond
	if parts[0].guests { // their system calls are slow
		testenv.NeedUML(t)
		most, slack = 2, time.Second
	}
	free := make(chan struct{}, most)
	bin := filepath.Dir(program(t, "clusterd"))
	for i, p := range parts {
		results[i] = make(chan string, 1)
		go func() {
			free <- struct{}{}
			defer func() { <-free }()
			results[i] <- playPart(t.Context(), bin, slack, p)
		}()
	}
	for i, p := range parts {
		t.Run(p.String(), func(t *testing.T) {
			wrong := p.judge(<-results[i])
			if wrong == "" {
				return
			}
			// Real time on a machine that does other things: once more, alone, before it counts.
			t.Logf("played again, because:\n%s", wrong)
			for _, r := range results[i+1:] {
				r <- <-r // let the others end first
			}
			if wrong = p.judge(playPart(t.Context(), bin, slack, p)); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// shortDir makes a directory for sockets, whose names must be short, which daemons that are not root can reach.
func shortDir() (string, error) {
	base := netns.Scratch
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	return os.MkdirTemp(base, "s")
}

// playPart returns what was wrong.
func playPart(ctx context.Context, bin string, slack time.Duration, p part) string {
	b, err := scenarios.FS.ReadFile(p.name + ".txt")
	if err != nil {
		return err.Error()
	}
	sc, err := sim.ParseScenario(p.name+".txt", string(b))
	if err != nil {
		return err.Error()
	}
	dir, err := shortDir()
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	player := real.Player{Dir: dir, BinDir: bin, Programs: p.programs, Slack: slack}
	if p.guests {
		player.Backend, player.Agent = "uml", []string{filepath.Join(bin, "clusterlab")}
	}
	out := player.Play(ctx, sc)
	switch {
	case out.Err != nil:
		return out.Err.Error()
	case out.Skipped != "":
		return "this scenario is one of those that real kernels must play: " + out.Skipped
	case out.Failed == nil:
		return ""
	}
	said := out.Failed.Error()
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, l := range logs {
		text, _ := os.ReadFile(l)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		said += fmt.Sprintf("\n---- %s\n%s", filepath.Base(l), strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return said
}

// The same files that the simulator plays, with clusterd on real network stacks: failover, split brain and VRID conflict in many forms.
func TestScenarios(t *testing.T) {
	var parts []part
	for _, name := range played {
		parts = append(parts, part{name: name})
	}
	playReal(t, parts...)
}

// And with Debian's keepalived as one of the directors: it takes over from ours, and ours from it.
func TestScenariosWithKeepalived(t *testing.T) {
	testenv.Need(t, "keepalived")
	with := func(scenario, node string) part {
		return part{name: scenario, programs: map[string]string{node: sim.Keepalived}}
	}
	playReal(t, with("owner-crash", "d2"), with("owner-crash", "d1"), with("partition-and-heal", "d1"), with("one-way-cut", "d2"),
		with("owner-crash-ipv6", "d1"), with("dual-stack", "d2"))
}

// And with FRR's vrrpd, which knows nothing of us: it takes over and yields, as owner and as backup, crashed and killed.
func TestScenariosWithFRR(t *testing.T) {
	testenv.Need(t, "vrrpd", "zebra")
	with := func(scenario, node string) part {
		return part{name: scenario, programs: map[string]string{node: sim.FRR}}
	}
	playReal(t, with("owner-crash", "d1"), with("owner-crash", "d2"), with("killed-daemon", "d2"), part{name: "frr-other-addresses"})
}

// A guest that dies in the middle, of which no verb knows, is the end of the scenario, at once: it is said whose it was, and nothing is left behind.
func TestGuestDies(t *testing.T) {
	testenv.NeedUML(t)
	sc, err := sim.ParseScenario("dies", "world nodes=(d1,d2)\n----\n\nconf d1 d2\nvrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n @d1 priority 150\n @d2 priority 100\n"+
		" virtual_ipaddress {\n 10.0.0.100\n }\n}\n----\n\nrun 10s\n----\n\nexpect owner=d1\n----\n\nrun 30s\n----\n\nstop d1\n----\n\nrun 5s\n----\n")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := shortDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	bin := filepath.Dir(program(t, "clusterd"))
	time.AfterFunc(15*time.Second, func() {
		if n := killGuests(t, 1); n != 2 {
			t.Errorf("%d guests", n)
		}
	})
	began := time.Now()
	player := real.Player{Dir: dir, BinDir: bin, Backend: "uml", Agent: []string{filepath.Join(bin, "clusterlab")}, Slack: time.Second}
	out := player.Play(t.Context(), sc)
	if text := fmt.Sprint(out.Err, out.Failed); !strings.Contains(text, "the guest of d") || out.Skipped != "" {
		t.Errorf("%s %s", text, out.Skipped)
	}
	if took := time.Since(began); took > 40*time.Second { // it plays for 45 s
		t.Errorf("told after %v", took)
	}
	if n := killGuests(t, 0); n != 0 {
		t.Errorf("%d guests are left", n)
	}
}

// killGuests kills so many of the guests that this process started, and returns how many there are.
func killGuests(t *testing.T, most int) int {
	parent, leaders := map[int]int{}, []int(nil)
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, _ := os.ReadFile(f) // PID (NAME) STATE PARENT GROUP SESSION … (proc(5))
		head, rest, _ := strings.Cut(string(b), ") ")
		var pid, up, group, session int
		var name, state string
		if _, err := fmt.Sscanf(head+" "+rest, "%d (%s %s %d %d %d", &pid, &name, &state, &up, &group, &session); err != nil {
			continue // ended meanwhile, or has a space in its name
		}
		if parent[pid] = up; name == "linux.uml" && session == pid {
			leaders = append(leaders, pid)
		}
	}
	ours := slices.DeleteFunc(leaders, func(pid int) bool { return parent[parent[pid]] != os.Getpid() }) // between them is its guard
	for _, pid := range ours[:min(most, len(ours))] {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	return len(ours)
}

// The simulator's clock is the real one: between the last word of a dying owner and the first of the next, keepalived and FRR on a
// real kernel need what the simulator says of directors that behave as they do, within 5 % and 50 ms.
func TestOracle(t *testing.T) {
	needLab(t)
	testenv.Need(t, "keepalived", "vrrpd", "zebra")
	for _, program := range []string{sim.Keepalived, sim.FRR} {
		for _, name := range []string{"owner-crash", "graceful-stop"} {
			t.Run(program+"/"+name, func(t *testing.T) {
				t.Parallel()
				oracle(t, program, name)
			})
		}
	}
}

func oracle(t *testing.T, program, name string) {
	b, err := scenarios.FS.ReadFile(name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	// As far as the first takeover; what comes then is judged elsewhere.
	text, _, _ := strings.Cut(string(b), "\nexpect ")
	sc, err := sim.ParseScenario(name, text)
	if err != nil {
		t.Fatal(err)
	}
	_, args, err := sim.Words(sc.Directives[0].Text)
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{}
	for _, node := range args[0].List() { // world nodes=(…)
		programs[node] = program
	}
	s := &sim.Session{Create: func(string) (io.Writer, error) { return io.Discard, nil }, Programs: programs}
	s.RecordFrames()
	if _, err := sc.Play(s, nil); err != nil {
		t.Fatal(err)
	}
	want, ok := silence(s.Timeline())
	if !ok {
		t.Fatal("no takeover in the simulator")
	}
	wrong := ""
	for range 2 { // real time on a machine that does other things
		dir, err := shortDir()
		if err != nil {
			t.Fatal(err)
		}
		p := real.Player{Dir: dir, Programs: programs}
		out := p.Play(t.Context(), sc)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		if out.Err != nil || out.Skipped != "" || out.Failed != nil {
			t.Fatal(out.Err, out.Skipped, out.Failed)
		}
		got, ok := silence(out.Timeline)
		switch d := (got - want).Abs(); {
		case !ok:
			wrong = "no takeover"
		case d > want/20+50*time.Millisecond:
			wrong = fmt.Sprintf("takes over after %v, the simulator says %v", got, want)
		default:
			t.Logf("%v, simulator %v", got.Round(time.Millisecond), want.Round(time.Millisecond))
			return
		}
	}
	t.Error(wrong)
}

// silence is the time between the last advert of the first owner and the first of the second.
func silence(tl sim.Timeline) (time.Duration, bool) {
	var owner string
	var last time.Duration
	for _, f := range tl.Frames {
		switch {
		case f.Kind != "advert":
		case owner == "":
			owner, last = f.Host, f.At
		case f.Host == owner:
			last = f.At
		default:
			return f.At - last, true
		}
	}
	return 0, false
}

// The same files with a kernel of its own for every director, ours or keepalived's: it has IPVS, so that real servers fail behind real
// tables, and clocks, which jump and drift alone.
func TestScenariosInGuests(t *testing.T) {
	testenv.Need(t, "keepalived")
	keepalived := func(node string) map[string]string { return map[string]string{node: sim.Keepalived} }
	parts := []part{{name: "real-server-fails"}, {name: "real-server-fails", programs: keepalived("d2")}, {name: "owner-cut-from-server"},
		{name: "push-adds-vip"}, {name: "clock-step"}, {name: "clock-drift"}, {name: "owner-crash"}, {name: "owner-crash", programs: keepalived("d2")},
		{name: "partition-and-heal"}, {name: "partition-and-heal", programs: keepalived("d1")}, {name: "one-way-cut"}, {name: "vrid-conflict-same-vip"}}
	for i := range parts {
		parts[i].guests = true
	}
	playReal(t, parts...)
}

// A kernel without IPVS plays what it can: owners, reports of checks of real TCP servers; tables and connections are not judged, and the
// outcome says so. One that has IPVS judges all of it.
func TestServersWithoutIPVS(t *testing.T) {
	needLab(t)
	wrong := playPart(t.Context(), filepath.Dir(program(t, "clusterd")), 250*time.Millisecond, part{name: "owner-cut-from-server"})
	if _, err := os.Stat("/proc/net/ip_vs"); err == nil {
		if wrong != "" {
			t.Error(wrong)
		}
		return
	}
	if !strings.Contains(wrong, "no IPVS: ") || !strings.Contains(wrong, "everything else held") {
		t.Error(wrong)
	}
}

// Every scenario that a real kernel cannot play is left out for a reason that is known; the set must not grow by accident.
func TestWhatRealKernelsCannotPlay(t *testing.T) {
	needLab(t)
	names, err := filepath.Glob("scenarios/*.txt")
	if err != nil || len(names) < 60 {
		t.Fatalf("%d scenarios, %v", len(names), err)
	}
	var skipped []string
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		sc, err := sim.ParseScenario(n, string(b))
		if err != nil {
			t.Fatal(err)
		}
		if why := real.Refuse(sc, false); why != "" {
			skipped = append(skipped, strings.TrimSuffix(filepath.Base(n), ".txt"))
			t.Logf("%s: %s", n, why)
		}
	}
	for _, name := range played {
		if slices.Contains(skipped, name) {
			t.Errorf("%s is skipped", name)
		}
	}
	if len(skipped) > 10 {
		t.Errorf("%d scenarios are skipped: %v", len(skipped), skipped)
	}
}
