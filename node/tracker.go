package node

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"quorate/config"
	"quorate/vrrp"
)

// tracker is a vrrp_script, track_file or vrrp_track_process that somebody tracks: what counts its results, and
// of a script when it runs.
type tracker struct {
	*vrrp.Tracker
	weight  int // of a line that has none of its own
	reverse bool
	same    any // equal after a change of configuration: the verdict is kept (keepalived reload)

	script  *config.Script // nil: a file or a process
	running bool
	due     time.Duration // next start
}

// named is what a configuration has by the name that track_script and the like use.
type named struct {
	kind vrrp.TrackKind
	name string
}

// configureTrackers keeps what an unchanged tracker knows. Those that nobody tracks are left out.
func (e *Elector) configureTrackers(c *config.Config) {
	used := map[named]bool{}
	use := func(kind vrrp.TrackKind, list []config.Track) {
		for _, t := range list {
			used[named{kind, t.Name}] = true
		}
	}
	for _, i := range c.Instances {
		use(vrrp.TrackScript, i.TrackScripts)
		use(vrrp.TrackFile, i.TrackFiles)
		use(vrrp.TrackProcess, i.TrackProcesses)
	}
	for _, g := range c.SyncGroups {
		use(vrrp.TrackScript, g.TrackScripts)
		use(vrrp.TrackFile, g.TrackFiles)
		use(vrrp.TrackProcess, g.TrackProcesses)
	}
	old := e.trackers
	e.trackers = nil
	add := func(cfg vrrp.TrackerConfig, t *tracker) {
		if !used[named{cfg.Kind, cfg.Name}] {
			return
		}
		at := slices.IndexFunc(old, func(o *tracker) bool {
			return o.Config().Kind == cfg.Kind && o.Config().Name == cfg.Name && reflect.DeepEqual(o.same, t.same)
		})
		if at >= 0 {
			t.Tracker, t.running, t.due = old[at].Tracker, old[at].running, old[at].due
			t.Reconfigure(cfg)
		} else {
			t.Tracker, t.due = vrrp.NewTracker(cfg), e.now
		}
		e.trackers = append(e.trackers, t)
	}
	for _, s := range c.Scripts {
		add(vrrp.TrackerConfig{Kind: vrrp.TrackScript, Name: s.Name, Rise: s.Rise.V, Fall: s.Fall.V, InitFail: s.InitFail},
			&tracker{weight: s.Weight.V, reverse: s.Reverse, same: s.Command.Argv, script: s})
	}
	var watch WatchTrackers
	for _, f := range c.TrackFiles {
		add(vrrp.TrackerConfig{Kind: vrrp.TrackFile, Name: f.Name}, &tracker{weight: f.Weight.V, reverse: f.Reverse, same: f.File.V})
		if used[named{vrrp.TrackFile, f.Name}] {
			watch.Files = append(watch.Files, f)
		}
	}
	for _, p := range c.TrackProcesses {
		cfg := vrrp.TrackerConfig{Kind: vrrp.TrackProcess, Name: p.Name, MinCount: p.Quorum.V, UpDelay: p.ForkDelay.V, DownDelay: p.TermDelay.V}
		if p.QuorumMax.Set {
			cfg.Limited, cfg.MaxCount = true, p.QuorumMax.V
			if cfg.MinCount > cfg.MaxCount && !p.Quorum.Set {
				cfg.MinCount = cfg.MaxCount // quorum_max 0: it must not run
			}
		}
		add(cfg, &tracker{weight: p.Weight.V, reverse: p.Reverse, same: []any{p.Process, p.FullCommand.V, p.ParamMatch}})
		if used[named{vrrp.TrackProcess, p.Name}] {
			watch.Processes = append(watch.Processes, p)
		}
	}
	if len(watch.Files)+len(watch.Processes) > 0 || e.watching {
		e.watching = len(watch.Files)+len(watch.Processes) > 0
		e.emit(watch)
	}
}

func (e *Elector) tracker(kind vrrp.TrackKind, name string) *tracker {
	for _, t := range e.trackers {
		if c := t.Config(); c.Kind == kind && c.Name == name {
			return t
		}
	}
	return nil
}

// deadline is when the next run or the end of a delay is due.
func (t *tracker) deadline() (time.Duration, bool) {
	if t.script != nil {
		return t.due, !t.running
	}
	return t.Deadline()
}

func (t *tracker) tick(e *Elector) {
	if t.script == nil {
		if t.Tick(e.now) {
			e.timer(e.now)
			t.changed(e)
		}
		return
	}
	if t.running || t.due > e.now {
		return
	}
	interval := t.script.Interval.V
	if interval <= 0 {
		interval = time.Second
	}
	timeout := t.script.Timeout.V
	if timeout <= 0 {
		timeout = interval
	}
	t.running = true
	t.due = e.now + interval // from start to start; a run still going at that instant delays the next
	e.emit(RunScript{Script: t.script.Name, Command: t.script.Command, Timeout: timeout})
}

// tracked takes news of a script, file or process.
func (e *Elector) tracked(kind vrrp.TrackKind, name string, take func(*tracker) bool) {
	if t := e.tracker(kind, name); t != nil && take(t) {
		t.changed(e)
	}
}

func (e *Elector) scriptResult(ev ScriptResult) {
	e.tracked(vrrp.TrackScript, ev.Script, func(t *tracker) bool {
		t.running = false
		return t.Result(e.now, ev.ExitCode == 0, ev.outcome())
	})
}

// changed reports a new verdict and lets it count.
func (t *tracker) changed(e *Elector) {
	c := t.Config()
	en := Entry{Instance: c.Name, Detail: t.Detail(), To: t.Health().String(), Warn: t.Health() == vrrp.HealthBad}
	switch {
	case c.Kind == vrrp.TrackFile: // whether a number is good or bad is up to the weight
		en.Event, en.To, en.Warn = "file.value", "", false
	case en.Warn:
		en.Event = c.Kind.String() + ".down"
	default:
		en.Event = c.Kind.String() + ".up"
	}
	e.report(en)
	e.evaluate()
}

// line is one line of a track block of an instance or its group.
func (t *tracker) line(l config.Track) vrrp.Tracked {
	w := t.weight
	if l.Weight.Set {
		w = l.Weight.V
	}
	// A line's word replaces the tracker's (keepalived 2.2.7, measured).
	return vrrp.Tracked{Tracker: t.Tracker, Weight: w, Reverse: l.Reverse || t.reverse && !l.NoReverse}
}

// tracks are the lines that count for an instance: in a group also the group's, and of those with a weight only what
// vrrp.InGroup leaves.
func (i *instance) tracks(e *Elector) []vrrp.Tracked {
	var lines []vrrp.Tracked
	add := func(kind vrrp.TrackKind, list []config.Track) {
		for _, l := range list {
			if t := e.tracker(kind, l.Name); t != nil { // else the configuration reader has refused it
				lines = append(lines, t.line(l))
			}
		}
	}
	links := func(list []config.Track) {
		for _, l := range list {
			if k := e.links[l.Name]; k != nil {
				lines = append(lines, vrrp.Tracked{Tracker: k.tracker, Weight: l.Weight.V, Reverse: l.Reverse})
			}
		}
	}
	add(vrrp.TrackScript, i.cfg.TrackScripts)
	add(vrrp.TrackFile, i.cfg.TrackFiles)
	add(vrrp.TrackProcess, i.cfg.TrackProcesses)
	links(i.cfg.WeightedIfaces)
	if i.group == nil {
		return lines
	}
	g := i.group.cfg
	add(vrrp.TrackScript, g.TrackScripts)
	add(vrrp.TrackFile, g.TrackFiles)
	add(vrrp.TrackProcess, g.TrackProcesses)
	links(slices.DeleteFunc(slices.Clone(g.TrackIfaces), func(t config.Track) bool { return t.Name == i.cfg.Interface.V }))
	if !g.TrackingWeights.V {
		lines, _ = vrrp.InGroup(lines) // the configuration reader says what that changes
	}
	return lines
}

// trackersText counts what is tracked.
func (e *Elector) trackersText() string {
	n := map[vrrp.TrackKind]int{}
	for _, t := range e.trackers {
		n[t.Config().Kind]++
	}
	text := fmt.Sprintf("%d tracked scripts", n[vrrp.TrackScript])
	if k := n[vrrp.TrackFile]; k > 0 {
		text += fmt.Sprintf(", %d files", k)
	}
	if k := n[vrrp.TrackProcess]; k > 0 {
		text += fmt.Sprintf(", %d processes", k)
	}
	return text
}
