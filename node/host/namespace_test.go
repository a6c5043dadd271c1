package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"quorate/internal/testenv"
)

// TestNamespace: what is opened in another network namespace is of that one, and this process stays where it is.
func TestNamespace(t *testing.T) {
	testenv.NeedRoot(t)
	other := exec.Command("unshare", "-n", "sh", "-c", "ip link add q4711 type veth peer name q4712; echo ready; exec sleep 60")
	out, err := other.StdoutPipe()
	must(t, err)
	must(t, other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	_, err = out.Read(make([]byte, 8))
	must(t, err)
	path := t.TempDir() + "/none"
	if err := InNamespace(path, func() error { t.Error("ran"); return nil }); err == nil {
		t.Error("a namespace that is not there was entered")
	}
	if err := setNamespace("no-such-namespace"); err == nil || !strings.Contains(err.Error(), `"ip netns add no-such-namespace"`) {
		t.Errorf("%v", err)
	}
	there, err := NetworksIn("/proc/" + fmt.Sprint(other.Process.Pid) + "/ns/net")
	must(t, err)
	here, err := NetworksIn("")
	must(t, err)
	if _, ok := there["q4711"]; !ok {
		t.Errorf("there %v", there)
	}
	if _, ok := here["q4711"]; ok {
		t.Errorf("here %v", here)
	}
	failure := errors.New("failed there")
	if err := InNamespace("/proc/"+fmt.Sprint(os.Getpid())+"/ns/net", func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
}
