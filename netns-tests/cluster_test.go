package netnstests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ctlLimit bounds one clusterctl; in a guest everything is slow.
const ctlLimit = time.Minute

func (w *world) stateDir(host string) string { return filepath.Join(w.dir, host, "state") }
func (w *world) runDir(host string) string   { return filepath.Join(w.dir, host, "run") }
func (w *world) socket(host string) string   { return filepath.Join(w.runDir(host), "ctl.sock") }
func (w *world) address(host string) string  { return addresses[host] + ":" + clusterPort }

// result is what an operator sees of a command.
type result struct {
	code     int
	out, err string
}

// String is for messages of failed tests.
func (r result) String() string { return fmt.Sprintf("exit %d\n%s%s", r.code, r.out, r.err) }

// tryCtl runs clusterctl on a host.
func (w *world) tryCtl(host string, args ...string) result {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, ctlLimit)
	defer cancel()
	cmd := w.lab.Host(host).Command(ctx, program(w, "clusterctl"), append([]string{"--socket", w.socket(host)}, args...)...)
	cmd.Dir = w.dir
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Fatalf("clusterctl %v on %s: %v", args, host, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// ctl runs clusterctl, which must succeed, and returns its output.
func (w *world) ctl(host string, args ...string) string {
	w.Helper()
	r := w.tryCtl(host, args...)
	if r.code != 0 {
		w.Fatalf("clusterctl %v on %s: %v", args, host, r)
	}
	return r.out
}

// clusterd starts the daemon of a host and waits until it answers.
func (w *world) clusterd(host string) {
	w.Helper()
	w.startClusterd(host)
	w.eventually(20*time.Second, "clusterd on "+host+" answers", func() string {
		if _, r := w.tryStatus(host); r.code != 0 && r.out == "" {
			return r.err
		}
		return ""
	})
}

// startClusterd starts the daemon and does not wait.
func (w *world) startClusterd(host string) {
	w.Helper()
	for _, dir := range []string{w.stateDir(host), w.runDir(host)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			w.Fatal(err)
		}
	}
	w.start(host, program(w, "clusterd"), "-n", "--state-dir", w.stateDir(host), "--run-dir", w.runDir(host))
}

// form makes the hosts a cluster with init and join, and returns the token.
func (w *world) form(hosts ...string) (token string) {
	w.Helper()
	first := hosts[0]
	out := w.ctl(first, "init", "--name", first, "--address", w.address(first), "--state-dir", w.stateDir(first), "-o", "json")
	var made struct{ Token string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Token == "" {
		w.Fatalf("clusterctl init -o json: no token in %q (%v)", out, err)
	}
	w.clusterd(first)
	for _, h := range hosts[1:] {
		w.ctl(h, "join", made.Token, "--name", h, "--address", w.address(h), "--state-dir", w.stateDir(h))
		w.clusterd(h)
	}
	w.ready(first, hosts...)
	return made.Token
}

// clusterStatus is what "clusterctl status -o json" says, as far as tests look.
type clusterStatus struct {
	Verdict    string
	Quorum     bool
	Leader     string
	Generation int64
	Nodes      []struct {
		Name, State, Role string
		Generation        int64
	}
	VIPs []struct {
		VIP, Instance, Owner string
		Owners               []string
	}
}

func (w *world) tryStatus(host string) (clusterStatus, result) {
	w.Helper()
	r := w.tryCtl(host, "status", "-o", "json")
	var st clusterStatus
	if r.out != "" {
		if err := json.Unmarshal([]byte(r.out), &st); err != nil {
			w.Fatalf("status -o json on %s: %v: %v", host, err, r)
		}
	}
	return st, r
}

// status must be answered, whatever the verdict.
func (w *world) status(host string) clusterStatus {
	w.Helper()
	st, r := w.tryStatus(host)
	if r.out == "" {
		w.Fatalf("status on %s: %v", host, r)
	}
	return st
}

// ready waits until the host's status has quorum and shows the others as voting members that are up.
func (w *world) ready(host string, members ...string) {
	w.Helper()
	w.eventually(30*time.Second, fmt.Sprintf("%v are members with quorum", members), func() string {
		st := w.status(host)
		up := map[string]bool{}
		for _, n := range st.Nodes {
			up[n.Name] = n.State != "unreachable" && n.Role != "learner"
		}
		for _, m := range members {
			if !up[m] || !st.Quorum {
				return fmt.Sprintf("%+v", st)
			}
		}
		return ""
	})
}

// runs waits until every host runs a generation.
func (w *world) runs(generation int64, hosts ...string) {
	w.Helper()
	w.eventually(20*time.Second, fmt.Sprintf("%v run generation %d", hosts, generation), func() string {
		st := w.status(hosts[0])
		got := map[string]int64{}
		for _, n := range st.Nodes {
			got[n.Name] = n.Generation
		}
		for _, h := range hosts {
			if got[h] != generation {
				return fmt.Sprintf("%+v", st)
			}
		}
		return ""
	})
}

// says waits until a host's status names the owner of the address; workers report every other second.
func (w *world) says(host, owner string) {
	w.Helper()
	w.eventually(5*time.Second, "status on "+host, func() string {
		if st := w.status(host); len(st.VIPs) != 1 || st.VIPs[0].Owner != owner {
			return fmt.Sprintf("%+v, want owner %s", st.VIPs, owner)
		}
		return ""
	})
}

// example copies one of the example files into the world and returns its path.
func (w *world) example(name string) string {
	w.Helper()
	b, err := os.ReadFile(filepath.Join("..", "examples", name))
	if err != nil {
		w.Fatal(err)
	}
	return w.write(name, string(b))
}
