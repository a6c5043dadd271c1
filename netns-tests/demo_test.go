package netnstests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/sim/uml"
)

// The main job, as make demo runs it, at the best level of this machine, and at the one that works on every Linux with a
// fault that costs requests: exit status 0, a report, and the capture it names.
func TestDemo(t *testing.T) {
	needLab(t)
	for name, args := range map[string][]string{
		"best": {"demo"},
		"vip":  {"demo", "--level", "vip", "--fault", "cable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keep := t.TempDir()
			out, err := exec.CommandContext(t.Context(), program(t, "clusterctl"), append(args, "--keep", keep)...).CombinedOutput()
			t.Logf("clusterctl %v\n%s", args, out)
			if err != nil {
				t.Fatal(err)
			}
			pcap := filepath.Join(keep, "lan.pcapng")
			for _, want := range []string{"result     ok", "owner      d1 -> d2   (status on d2: d2, ", "capture    " + pcap, "d2: kernel has 192.168.2.240"} {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in the report", want)
				}
			}
			if info, err := os.Stat(pcap); err != nil || info.Size() < 10000 {
				t.Errorf("capture: %v, %v", info, err)
			}
			if name == "vip" && !strings.Contains(string(out), "client: first lost request sent") {
				t.Error("the cable of the owner was pulled and the report knows of no lost request")
			}
		})
	}
}

// A demo that is interrupted takes everything down at once: no process, no file.
func TestDemoInterrupted(t *testing.T) {
	needLab(t)
	levels := []string{"vip"}
	if uml.Available() == nil {
		levels = append(levels, "uml")
	}
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			// Every process of the demo has one of these directories in its command line.
			tmp, bin := t.TempDir(), t.TempDir()
			for _, name := range []string{"clusterd", "clusterctl", "clusterlab"} {
				if err := os.WriteFile(filepath.Join(bin, name), readFile(t, program(t, name)), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			cmd := exec.Command(filepath.Join(bin, "clusterctl"), "demo", "--level", level)
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Second) // in the midst of it: the cluster is being formed, or VRRP elects
			if len(running(t, tmp, bin)) == 0 {
				t.Errorf("nothing runs after 4 s:\n%s", out.String())
			}
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 || time.Since(began) > 10*time.Second {
				t.Errorf("exit status %d after %v, want 130 within seconds:\n%s", code, time.Since(began), out.String())
			}
			if left := running(t, tmp, bin); len(left) > 0 {
				t.Errorf("still running: %q", left)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// running returns the command lines of live processes that mention one of the words.
func running(t *testing.T, words ...string) (out []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, _ := os.ReadFile(f) // it may have ended
		line := strings.ReplaceAll(string(b), "\x00", " ")
		for _, w := range words {
			if strings.Contains(line, w) {
				out = append(out, line)
				break
			}
		}
	}
	return out
}
