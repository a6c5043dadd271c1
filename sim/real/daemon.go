package real

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"quorate/config"
	"quorate/sim"
)

// condition notes what was done to a host, "" for nothing any more.
func (h *host) condition(what string) {
	h.s.watch.Lock()
	defer h.s.watch.Unlock()
	now := h.s.fabric.now()
	if n := len(h.life); n > 0 && h.life[n-1].To < 0 {
		h.life[n-1].To = now
	}
	if what != "" {
		h.life = append(h.life, sim.Span{From: now, To: -1, What: what})
	}
}

func (h *host) runDir() string { return filepath.Join(h.s.p.Dir, h.name+".run") }

func (h *host) logPath() string { return filepath.Join(h.s.p.Dir, h.name+".log") }

// openLog opens the file of what the host's programs print.
func (h *host) openLog() error {
	if h.log != nil {
		return nil
	}
	f, err := os.OpenFile(h.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		h.log = &hostLog{file: f, now: h.s.fabric.now, start: h.s.fabric.start}
	}
	return err
}

// startDaemon starts the program that the director runs.
func (h *host) startDaemon() error {
	if h.conf == nil && !h.member {
		return fmt.Errorf("%s has no configuration", h.name)
	}
	if err := errors.Join(h.MkdirAll(h.runDir(), 0o755), h.openLog()); err != nil {
		return err
	}
	var program string
	var args []string
	var err error
	switch h.program {
	case sim.Keepalived:
		if program, err = exec.LookPath("keepalived"); err != nil {
			program = "/usr/sbin/keepalived"
		}
		pid := func(what string) string { return filepath.Join(h.runDir(), what+".pid") }
		args = []string{"-n", "-l", "-D", "-f", h.confPath(), "-i", h.name, "-p", pid("parent"), "-r", pid("vrrp"), "-c", pid("checkers")}
		if len(h.conf.VirtualServers) == 0 || !h.s.ipvs {
			args = append(args, "-P")
		}
	case sim.FRR:
		if program, args, err = h.prepareFRR(); err != nil {
			return err
		}
	default:
		program = filepath.Join(h.s.p.BinDir, "clusterd")
		args = []string{"-n", "-f", h.confPath(), "-i", h.name, "--run-dir", h.runDir(), "--log-format", "json"}
		if h.member {
			args = []string{"-n", "--state-dir", h.stateDir(), "--run-dir", h.runDir(), "--log-format", "json"}
		} else if len(h.conf.VirtualServers) == 0 {
			args = append(args, "-P")
		}
	}
	daemon, err := h.Start(h.s.ctx, append([]string{program}, args...), h.log, h.log)
	if err != nil {
		return err
	}
	h.s.set(func() { h.daemon, h.gone, h.ran, h.paused = daemon, make(chan struct{}), true, false })
	if st, err := os.Stat(h.logPath()); err == nil {
		h.logged = st.Size()
	}
	h.condition("")
	gone := h.gone
	go func() { _, _ = daemon.Wait(); close(gone) }() // how it ended is in its log
	return nil
}

// ready waits until a daemon that was started takes part, and returns when; what a process needs to start is not the scenario's time.
// One that never says so is left to the expectations.
func (h *host) ready() time.Duration {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(h.logPath())
		if err == nil && int64(len(b)) > h.logged && (bytes.Contains(b[h.logged:], []byte(" STATE")) || bytes.Contains(b[h.logged:], []byte("-> Backup"))) {
			break
		}
		select {
		case <-h.gone:
			return h.s.fabric.now()
		default:
		}
	}
	return h.s.fabric.now()
}

func (h *host) reload() error {
	if h.program == sim.FRR {
		return skip{"conf " + h.name + ": a running FRR is changed by vtysh, not by a file"}
	}
	return h.daemon.Signal(unix.SIGHUP)
}

// ended waits for the daemon's end.
func (h *host) ended() error {
	select {
	case <-h.gone:
	case <-time.After(10 * time.Second):
		return fmt.Errorf("the daemon of %s is still there after 10 s", h.name)
	}
	h.s.set(func() { h.daemon = nil })
	return nil
}

func (h *host) stop() error {
	if h.daemon == nil {
		return fmt.Errorf("no daemon runs on %s", h.name)
	}
	if err := h.daemon.Signal(unix.SIGTERM); err != nil {
		return err
	}
	if err := h.ended(); err != nil {
		return err
	}
	h.condition("stopped")
	if h.program == sim.FRR {
		return h.Kill(unix.SIGTERM) // zebra
	}
	return nil
}

func (h *host) kill() error {
	if h.daemon == nil {
		return fmt.Errorf("no daemon runs on %s", h.name)
	}
	if err := h.Kill(unix.SIGKILL); err != nil {
		return err
	}
	if err := h.ended(); err != nil {
		return err
	}
	h.killed = time.Now()
	h.condition("killed")
	return nil
}

// crash takes the power away: nothing of the host is heard any more, and nothing but its files is left when it boots.
func (h *host) crash() error {
	for _, c := range h.cards {
		if err := h.carrier(c, false); err != nil {
			return err
		}
	}
	if err := h.Kill(unix.SIGKILL); err != nil {
		return err
	}
	if h.daemon != nil {
		if err := h.ended(); err != nil {
			return err
		}
	}
	h.s.set(func() { h.on = false })
	h.condition("crashed")
	if h.program == sim.FRR {
		if err := h.removeMacvlans(); err != nil {
			return err
		}
	}
	for _, c := range h.cards {
		list, err := h.Addresses(c.name)
		for _, p := range list {
			if p != c.base && p != c.six && p.Addr() != c.mac.LinkLocal() {
				err = errors.Join(err, h.DeleteAddress(c.name, p.String()))
			}
		}
		if err != nil {
			return err
		}
	}
	if h.director && h.s.ipvs {
		if err := h.ClearIPVS(); err != nil {
			return err
		}
		h.tables = append(h.tables, weights{at: h.s.fabric.now()})
	}
	if h.torn {
		h.torn = false
		if err := h.Tear(h.stateDir()); err != nil {
			return err
		}
	}
	return h.RemoveAll(h.runDir())
}

func (h *host) start() error {
	if !h.on {
		h.s.set(func() { h.on = true })
		h.condition("")
		for _, c := range h.cards {
			if c.up {
				if err := h.carrier(c, true); err != nil {
					return err
				}
			}
		}
	}
	if !h.director {
		return nil
	}
	return h.startDaemon()
}

// started waits for every daemon that a verb has started, and counts time from when the first of them took part.
func (s *stage) started() {
	first, last, began := time.Duration(-1), time.Duration(0), time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, h := range s.hosts {
		if h.daemon == nil || h.logged < 0 {
			continue
		}
		wg.Go(func() {
			at := h.ready()
			mu.Lock()
			defer mu.Unlock()
			if first < 0 || at < first {
				first = at
			}
			last = max(last, at)
			h.logged = -1
			s.tooSlow(h, began)
		})
	}
	wg.Wait()
	if first < 0 {
		return
	}
	for _, h := range s.hosts {
		h.blockLonger(time.Since(began))
		s.tooFarApart(h, last-first)
	}
	s.set(func() { s.mark = first })
	s.from = first
}

// tooSlow notes that a killed daemon was started in time to be back before anybody missed it, and that a guest needed so long for that
// that it was missed. What the scenario claims about a restart is not decided there then.
func (s *stage) tooSlow(h *host, began time.Time) {
	killed := h.killed
	h.killed = time.Time{}
	if killed.IsZero() || h.conf == nil || s.p.Backend != "uml" {
		return
	}
	missed := 3 * time.Hour
	for _, i := range h.conf.Instances {
		missed = min(missed, 3*i.AdvertInt.V)
	}
	if away := time.Since(killed); began.Sub(killed) < missed && away > missed*2/3 {
		s.slow = fmt.Sprintf("the guest took %v to start the daemon of %s again, and it is missed after %v",
			time.Since(began).Round(time.Millisecond), h.name, missed)
	}
}

// sameTime is how far apart daemons may start that in virtual time do so at once: what a backup waits longer for each 25 of priority
// that it has less (RFC 9568 6.1, Skew_Time).
const sameTime = 100 * time.Millisecond

// tooFarApart notes that guests needed so differently long to start their daemons that another one than the best speaks first: what
// follows is not judged then, and with nopreempt, where the first one stays, nothing after it.
func (s *stage) tooFarApart(h *host, apart time.Duration) {
	if s.p.Backend != "uml" || apart <= sameTime || h.conf == nil {
		return
	}
	s.apart = fmt.Sprintf("the guests started daemons %v apart, which in virtual time start at once", apart.Round(time.Millisecond))
	if slices.ContainsFunc(h.conf.Instances, func(i *config.Instance) bool { return i.NoPreempt.V }) {
		s.slow = s.apart
	}
}

// set changes what the watcher reads as well.
func (s *stage) set(f func()) {
	s.watch.Lock()
	defer s.watch.Unlock()
	f()
}
