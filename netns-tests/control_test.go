package netnstests

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"quorate/internal/testenv"
	"quorate/netns-tests/scenarios"
	"quorate/sim"
)

// control is a scenario that our directors pass and keepalived's fail, and how they fail.
type control struct {
	name, fails, why string
}

// controls are documented in docs/keepalived.md.
var controls = []control{
	{"stranger-other-vips", `[1-9]\d* events vrrp\.backup since`,
		"a refused advert restarts keepalived's own timer: the owner is silenced, its backup takes over and yields, again and again"},
	{"stalled-owner-nopreempt", `(held by \[d1\]|[1-9]\d* events vrrp\.(backup|master))`,
		"a daemon that was stopped goes on as MASTER where it was, and takes the address from the owner although nopreempt forbids that"},
	{"crash-loop", `held by \[(d2|)\] now, not owner=d1`,
		"a daemon that is started again removes the address it finds and elects; ours goes on as the owner it was"},
	{"vip-deleted-by-hand", `later than within=1ms`,
		"the owner becomes BACKUP and takes the address again after an election"},
	{"heal-owner-first", `c2 was [1-9]\.\d+s without an answer`,
		"the loser of a healed split yields in silence, and clients ask it until their neighbour entries fail"},
	{"arp-poisoned", `c1 was [1-9]\.\d+s without an answer`,
		"nobody listens to ARP, so that nobody contradicts a host that claims the address"},
	{"forged-long-interval", `held by \[\] now, not owner=d2`,
		"one forged version 3 advert of 40.95 s keeps the backup waiting for 163 s; ours waits 36 s at most"},
}

// Where keepalived fails and we do not: the same file with clusterd and with Debian's keepalived on every director, in the same run.
func TestKeepalivedAsControl(t *testing.T) {
	testenv.Need(t, "keepalived")
	var parts []part
	for _, c := range controls {
		b, err := scenarios.FS.ReadFile(c.name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		nodes := regexp.MustCompile(`nodes=\(([^)]*)\)`).FindStringSubmatch(string(b))
		if nodes == nil {
			t.Fatalf("%s: no directors", c.name)
		}
		all := map[string]string{}
		for _, n := range strings.Split(nodes[1], ",") {
			all[n] = sim.Keepalived
		}
		parts = append(parts, part{name: c.name}, part{name: c.name, programs: all, fails: c.fails})
	}
	playReal(t, parts...)
}

// docs/keepalived.md tells all of them, and nothing that is not played.
func TestControlsDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/keepalived.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range controls {
		if line := "| `" + c.name + "` | " + c.why + " |"; !strings.Contains(string(b), line) {
			t.Errorf("docs/keepalived.md lacks the line\n%s", line)
		}
	}
}
