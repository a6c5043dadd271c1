package netnstests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/internal/testenv"
)

// An ordinary user plays a scenario on real kernels, in namespaces and with guests: no root, no /dev/net/tun; a cable that is pulled is
// noticed and one that is plugged in again too.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	needLab(t)
	const scenario = `# The owner's cable is pulled and plugged in again. Proves: cables work without TAP devices.
world nodes=(d1,d2) client=c1
----

conf d1 d2
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.3
    @d1 priority 150
    virtual_ipaddress {
        10.0.0.100
    }
}
----

run 2s
----

load c1 10.0.0.100
----

run 500ms
----

expect client=c1 served=d1
----

nic d1 down
----

run 3s
----

expect owner=d2 within=1.1s
----

expect event=vrrp.fault node=d1
----

nic d1 up
----

run 3s
----

expect owner=d1
----

check
----
`
	dir := t.TempDir()
	file := filepath.Join(dir, "cable.txt")
	if err := os.WriteFile(file, []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	// The lab of an ordinary user is a namespace that knows this one user, as root.
	known, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	ordinary := regexp.MustCompile(`^\s*0\s+[1-9]\d*\s+1\s*$`).Match(known)
	for _, c := range []struct {
		name, backend string
		before        []string
	}{
		{"namespaces", "netns", nil},
		{"guests", "uml", nil},
		// Where no network namespace may be made, all of it is played in one guest.
		{"one guest", "uml", []string{"unshare", "-Ur", "sh", "-c", `echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"`, "sh"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.backend == "uml" {
				testenv.NeedUML(t)
			}
			argv := append(c.before, program(t, "clusterctl"), "sim", "run", "-q", "--backend", c.backend, "--slack", "1s", file)
			for try := range 2 { // real time on a machine that does other things
				cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "HOME=/", "TMPDIR=/tmp")
				if !ordinary {
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
				}
				cmd.WaitDelay = 10 * time.Second
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				switch {
				case err == nil && strings.Contains(string(out), "PASS cable"):
					return
				case try == 1 || !errors.As(err, &exit) || exit.ExitCode() != 1:
					t.Fatalf("%v\n%s", err, out)
				}
			}
		})
	}
}
