package host

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/internal/testenv"
)

// meeting is one of our directors and one of keepalived's on a bridge.
type meeting struct {
	*testing.T
	dir string
}

func newMeeting(t *testing.T) *meeting {
	testenv.Need(t, "keepalived")
	bridge(t)
	return &meeting{t, t.TempDir()}
}

func (m *meeting) file(name, text string) string {
	path := filepath.Join(m.dir, name)
	must(m.T, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// owns waits until yes has all of the addresses and no none.
func (m *meeting) owns(what string, yes, no *director, vips ...string) {
	m.Helper()
	eventually(m.T, 15*time.Second, func() bool {
		for _, v := range vips {
			if !yes.holds(v) || no != nil && no.holds(v) {
				return false
			}
		}
		return true
	}, func() string {
		s := what + "\nwanted:\n" + yes.log.String()
		if no != nil {
			s += "\nnot:\n" + no.log.String()
		}
		return s
	})
}

// TestInteropEqualPriority: two owners of the same priority, which the higher address decides (RFC 9568 6.4.3), once for us and once
// against us. A backup of equal priority leaves the owner alone whatever its address.
func TestInteropEqualPriority(t *testing.T) {
	const vip = "10.9.0.100"
	for _, tt := range []struct {
		name, ours, theirs string
		weWin              bool
	}{{"lower", "10.9.0.1/24", "10.9.0.2/24", false}, {"higher", "10.9.0.3/24", "10.9.0.2/24", true}} {
		t.Run(tt.name, func(t *testing.T) {
			if !inNetns(t) {
				return
			}
			m := newMeeting(t)
			conf := m.file("conf", "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 100\n version 3\n advert_int 0.2\n virtual_ipaddress {\n "+vip+"\n }\n}\n")
			theirs := startKeepalived(m.T, tt.theirs, conf)
			m.owns("they are first", theirs, nil, vip)
			ours := startDirector(t, "o", tt.ours, conf)
			time.Sleep(1500 * time.Millisecond)
			m.owns("whoever is first stays", theirs, ours, vip)
			// keepalived stops for a while and does not know it when it goes on: now there are two.
			worker := childOf(t, theirs.cmd.Process.Pid)
			must(t, syscall.Kill(worker, syscall.SIGSTOP))
			eventually(t, 10*time.Second, func() bool { return ours.holds(vip) }, ours.log.String)
			must(t, syscall.Kill(worker, syscall.SIGCONT))
			if tt.weWin {
				m.owns("our address is the higher one", ours, theirs, vip)
			} else {
				m.owns("their address is the higher one", theirs, ours, vip)
			}
		})
	}
}

// childOf is the VRRP process of a keepalived, or of ours.
func childOf(t *testing.T, parent int) int {
	t.Helper()
	pid := 0
	eventually(t, 5*time.Second, func() bool {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent)) // whichever thread started it
		return slices.ContainsFunc(tasks, func(path string) bool {
			n, _ := fmt.Sscan(readAll(path), &pid)
			return n == 1
		})
	}, func() string { return "no VRRP process" })
	return pid
}

// TestInteropSyncGroup: two virtual routers that belong together, as backup and as owner beside a keepalived with the same group.
func TestInteropSyncGroup(t *testing.T) {
	if !inNetns(t) {
		return
	}
	m := newMeeting(t)
	conf := func(name string, priority int) string {
		var b strings.Builder
		b.WriteString("vrrp_sync_group G {\n group {\n VI_1\n VI_2\n }\n}\n")
		for k := 1; k <= 2; k++ {
			fmt.Fprintf(&b, "vrrp_instance VI_%d {\n interface eth0\n virtual_router_id %d\n priority %d\n version 3\n advert_int 0.2\n virtual_ipaddress {\n 10.9.0.10%d\n }\n}\n", k, 50+k, priority, k)
		}
		return m.file(name, b.String())
	}
	vips := []string{"10.9.0.101", "10.9.0.102"}
	theirs := startKeepalived(m.T, "10.9.0.2/24", conf("theirs", 100))
	m.owns("they are alone", theirs, nil, vips...)
	oursConf := conf("ours", 150)
	ours := startDirector(t, "o", "10.9.0.1/24", oursConf)
	m.owns("we have the higher priority", ours, theirs, vips...)
	must(t, ours.cmd.Process.Signal(syscall.SIGTERM))
	if err := ours.cmd.Wait(); err != nil {
		t.Errorf("stop: %v\n%s", err, ours.log.String())
	}
	m.owns("we stopped", theirs, nil, vips...)
	ours = startDirector(t, "o", "10.9.0.1/24", oursConf)
	m.owns("we came back", ours, theirs, vips...)
	for _, bad := range []string{"vrrp.rejected", "host.error"} {
		if strings.Contains(ours.log.String(), bad) {
			t.Errorf("%s\n%s", bad, ours.log.String())
		}
	}
}

// docs/keepalived.md names no test that is not there, and every one that is.
func TestInteropDocumented(t *testing.T) {
	sources := ""
	files, err := filepath.Glob("interop*_test.go")
	must(t, err)
	for _, f := range files {
		sources += readAll(f)
	}
	doc := readAll("../../docs/keepalived.md")
	named := map[string]bool{}
	for _, r := range regexp.MustCompile("`(Test\\w+)(?:/(\\w+))?`").FindAllStringSubmatch(doc, -1) {
		if !strings.Contains(sources, "func "+r[1]+"(t *testing.T)") {
			continue // of another package
		}
		named[r[1]], named[r[1]+"/"+r[2]] = true, true
		if r[2] != "" && !regexp.MustCompile(`\{(name: )?"`+r[2]+`", `).MatchString(sources) {
			t.Errorf("docs/keepalived.md names %s/%s, which is no test", r[1], r[2])
		}
	}
	for _, f := range regexp.MustCompile(`(?s)\nfunc (Test(?:Interop|Two)\w+)\(.*?\n}\n`).FindAllStringSubmatch(sources, -1) {
		if f[1] == t.Name() {
			continue
		}
		if !named[f[1]] {
			t.Errorf("docs/keepalived.md lacks %s", f[1])
		}
		for _, r := range regexp.MustCompile(`\{(?:name: )?"(\w+)", `).FindAllStringSubmatch(f[0], -1) {
			if !named[f[1]+"/"+r[1]] {
				t.Errorf("docs/keepalived.md lacks %s/%s", f[1], r[1])
			}
		}
	}
	if len(named) < 40 {
		t.Errorf("%d tests in docs/keepalived.md", len(named))
	}
}
