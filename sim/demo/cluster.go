package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	clusterPort = "8377"
	ctlTimeout  = 40 * time.Second // of one clusterctl; a guest is slow
)

// director is the files of one director.
type director struct {
	name, state, run, log string
}

func (d director) socket() string { return filepath.Join(d.run, "ctl.sock") }

// ctl runs clusterctl on a director and returns what it printed. An error has what it complained about.
func (s *stage) ctl(ctx context.Context, host string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, ctlTimeout)
	defer cancel()
	out, err := s.lab.Host(host).Command(ctx, filepath.Join(s.BinDir, "clusterctl"), args...).Output()
	if err != nil {
		return out, fmt.Errorf("on %s: clusterctl %s: %w", host, strings.Join(args, " "), err)
	}
	return out, nil
}

// daemon starts clusterd on a director.
func (s *stage) daemon(ctx context.Context, d director) error {
	log, err := os.Create(d.log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // clusterd has its own descriptor
	cmd := s.lab.Host(d.name).Command(ctx, filepath.Join(s.BinDir, "clusterd"),
		"-n", "--state-dir", d.state, "--run-dir", d.run, "--log-format", "json")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	// The control socket is the last thing it opens. Asking with clusterctl would cost a guest dearly.
	return s.poll(ctx, 30*time.Second, "clusterd on "+d.name+" to listen", func() error {
		conn, err := net.Dial("unix", d.socket())
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// form makes the directors a cluster: init on the first, join on the others.
func (s *stage) form(ctx context.Context) error {
	for _, d := range s.directors {
		if err := errors.Join(os.MkdirAll(d.state, 0o700), os.MkdirAll(d.run, 0o755)); err != nil {
			return err
		}
	}
	first := s.directors[0]
	out, err := s.ctl(ctx, first.name, "--socket", first.socket(), "init", "--name", first.name,
		"--address", s.address(first), "--state-dir", first.state, "-o", "json")
	if err != nil {
		return err
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(out, &made); err != nil || made.Token == "" {
		return fmt.Errorf("clusterctl init printed no token: %q", out)
	}
	if err := s.daemon(ctx, first); err != nil {
		return err
	}
	s.say("cluster", "%s: clusterctl init", first.name)
	for _, d := range s.directors[1:] {
		if _, err := s.ctl(ctx, d.name, "--socket", d.socket(), "join", made.Token, "--name", d.name,
			"--address", s.address(d), "--state-dir", d.state); err != nil {
			return err
		}
		if err := s.daemon(ctx, d); err != nil {
			return err
		}
		s.say("cluster", "%s: clusterctl join", d.name)
	}
	return nil
}

func (s *stage) address(d director) string {
	return s.lab.Host(d.name).Addr().String() + ":" + clusterPort
}

// push makes the example the cluster's configuration.
func (s *stage) push(ctx context.Context, file string) error {
	first := s.directors[0]
	if _, err := s.ctl(ctx, first.name, "--socket", first.socket(), "push", file, "-m", "demo"); err != nil {
		return err
	}
	s.say("push", "clusterctl push %s", filepath.Base(file))
	return nil
}

// status is the part of "clusterctl status -o json" that the demo shows.
type status struct {
	Verdict    string          `json:"verdict"`
	Generation int64           `json:"generation"`
	Quorum     json.RawMessage `json:"quorum"`
	VIPs       []struct {
		VIP   string `json:"vip"`
		Owner string `json:"owner"`
	} `json:"vips"`
}

// owner is who the status says has the address.
func (st status) owner(vip string) string {
	for _, v := range st.VIPs {
		if strings.HasPrefix(v.VIP, vip) {
			return v.Owner
		}
	}
	return ""
}

func (s *stage) status(ctx context.Context, d director) (status, error) {
	var st status
	out, err := s.ctl(ctx, d.name, "--socket", d.socket(), "status", "-o", "json")
	if jsonErr := json.Unmarshal(out, &st); jsonErr != nil {
		return st, errors.Join(err, fmt.Errorf("status of %s: %w", d.name, jsonErr))
	}
	return st, nil // a DEGRADED verdict is an exit status too, and no failure here
}

// entry is a transition that a director has logged.
type entry struct {
	Time     time.Time `json:"time"`
	Node     string    `json:"-"`
	Instance string    `json:"instance"`
	Event    string    `json:"event"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
}

// transitions reads the directors' logs.
func (s *stage) transitions() []entry {
	var out []entry
	for _, d := range s.directors {
		b, err := os.ReadFile(d.log)
		if err != nil {
			continue // no log, no transitions: the kernels' view is in the report anyway
		}
		for _, line := range strings.Split(string(b), "\n") {
			e := entry{Node: d.name}
			if json.Unmarshal([]byte(line), &e) == nil && strings.HasPrefix(e.Event, "vrrp.") && e.To != "" {
				out = append(out, e)
			}
		}
	}
	return out
}
