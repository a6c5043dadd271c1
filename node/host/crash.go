package host

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Restart delays: the first death costs nothing, then 0.1 s, doubling. A worker that has run for a minute starts the
// series anew. keepalived waits a second from the second death on, by which time a vrrp worker
// that is killed again could not adopt its addresses any more.
const (
	firstMoments = 5 * time.Second
	backoffMin   = 100 * time.Millisecond
	backoffMax   = 30 * time.Second
	loopAfter    = 3                      // deaths in a row: now it is a loop
	standInFrom  = 300 * time.Millisecond // shorter pauses need nobody to stand in
)

// envProbation tells a worker that was started after a row of crashes how long it is to be careful.
const envProbation = "QUORATE_PROBATION"

// envInherits tells a worker that it takes the place of one that ran.
const envInherits = "QUORATE_INHERITS"

// Inherits says whether this worker is one.
func Inherits() Inheritance { return Inheritance(os.Getenv(envInherits)) }

// permanentExit tells a status that a worker chose from one that Go's runtime ended it with: 2 for a panic, or without memory.
const permanentExit = 100

// PermanentExit is the status with which a worker ends when to start it again is of no use, given the one the parent is to end with.
func PermanentExit(code int) int { return permanentExit + code }

// backoff is the delay before a restart, given the delay before (negative: none yet) and whether the worker had run for long enough.
func backoff(last time.Duration, settled bool) time.Duration {
	switch {
	case last < 0 || settled:
		return 0
	case last == 0:
		return backoffMin
	}
	return min(2*last, backoffMax)
}

// again arranges the next start.
func (w *watchdog) again(c *child, ran time.Duration) time.Duration {
	if ran >= w.Settled {
		c.crashes = 0
	}
	c.crashes++
	c.delay = backoff(c.delay, ran >= w.Settled)
	c.timer = time.AfterFunc(c.delay, func() { deliver(w, w.starts, c) })
	return c.delay
}

// meaning is what it means that a worker cannot live.
var meaning = map[string]string{
	"vrrp":    "no advert is sent; another director takes the addresses over, and then they are removed here",
	"checker": "real servers are not checked; the IPVS tables stay as they are",
	"cluster": "nothing can be pushed and nothing is reported; addresses and services go on as they are",
}

// crashed tells of a death. When it becomes a row that is said once, with what it means; later ones are no news.
func (w *watchdog) crashed(c *child, words ...any) {
	log := w.Logger.Error
	if c.crashes > loopAfter {
		log = w.Logger.Info
	}
	log("worker died", words...)
	if c.crashes == loopAfter {
		w.Logger.Error("worker crashes again and again", "worker", c.Name, "crashes", c.crashes, "meaning", meaning[c.Name],
			"then", fmt.Sprintf("it is started again after growing pauses of at most %v; a reload tries at once", backoffMax), "remedy", "its last words are above")
	}
	if c.StandIn != "" && c.delay >= standInFrom {
		w.standIn(c)
	}
}

// settled ends a row of crashes.
func (w *watchdog) settled(cmd *exec.Cmd) {
	for _, c := range w.children {
		if c.cmd == cmd {
			w.Logger.Info("worker goes on, its crashes are over", "worker", c.Name, "crashes", c.crashes, "runs_for", w.Settled)
			c.crashes, c.delay = 0, -1
		}
	}
}

// hurry starts at once what waits for its next attempt, which is the reload as well.
func (w *watchdog) hurry() {
	for _, c := range w.children {
		if c.cmd != nil {
			continue
		}
		if c.reload = true; c.timer != nil && c.timer.Stop() {
			c.timer.Reset(0)
		}
	}
}

// inheritance is the environment of a worker that had predecessors.
func (w *watchdog) inheritance(c *child) (env []string) {
	switch {
	case c.reload:
		env = append(env, envInherits+"="+string(InheritReload))
	case w.Upgraded || !c.started.IsZero():
		env = append(env, envInherits+"="+string(InheritAll))
	}
	if c.crashes >= loopAfter {
		env = append(env, envProbation+"="+w.Settled.String())
	}
	return env
}

// onProbation returns how long this worker is to be careful, once.
func onProbation() time.Duration {
	d, err := time.ParseDuration(os.Getenv(envProbation))
	_ = os.Unsetenv(envProbation)
	if err != nil {
		return 0
	}
	return d
}

// standIn starts the process that runs in the place of a worker.
func (w *watchdog) standIn(c *child) {
	cmd := exec.Command(w.Executable, append([]string{"--worker=" + c.StandIn}, c.Args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = workerEnv(), os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		w.Logger.Error("worker cannot be started", "worker", c.StandIn, "error", err)
		return
	}
	c.standIn = cmd
}

// dismiss ends it. What it was about to do the next worker does.
func (w *watchdog) dismiss(c *child) {
	if c.standIn != nil {
		_ = c.standIn.Process.Kill()
		_ = c.standIn.Wait()
		c.standIn = nil
	}
}
