package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"quorate/internal/testenv"
)

// The samples that keepalived's package installs, tested by both programs on a host that has the interfaces they name: the exit
// statuses are the same, but for samples that ask for something that is not carried out yet.
func TestSamplesLikeKeepalived(t *testing.T) {
	testenv.Need(t, "keepalived", "ip")
	if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
		testenv.Missing(t, fmt.Sprintf("needs a network namespace of its own: %v %s", err, out))
	}
	const script = `
for p in 0 2; do
	ip link add eth$p type veth peer name eth$((p+1)) && ip link set eth$p up && ip link set eth$((p+1)) up && ip addr add 192.168.200.1$p/24 dev eth$p || exit 1
done
for f in /usr/share/doc/keepalived/samples/keepalived.conf* /etc/keepalived/keepalived.conf.sample; do
	keepalived -t -f $f >/dev/null 2>&1; k=$?
	out=$(clusterd -t -f $f 2>&1); c=$?
	case "$out" in *not-supported-yet*) todo=yes ;; *) todo=no ;; esac
	echo $f $k $c $todo
done`
	out, err := exec.Command("unshare", "-n", "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	compared := 0
	for line := range strings.Lines(string(out)) {
		var file, todo string
		var theirs, ours int
		if n, _ := fmt.Sscan(line, &file, &theirs, &ours, &todo); n != 4 {
			t.Fatalf("%q", line)
		}
		if todo == "yes" {
			continue
		}
		compared++
		if theirs != ours {
			t.Errorf("%s: keepalived exits with %d, clusterd with %d", file, theirs, ours)
		}
	}
	if compared < 5 {
		t.Errorf("only %d samples compared:\n%s", compared, out)
	}
}
