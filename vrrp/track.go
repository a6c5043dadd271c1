package vrrp

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// TrackKind is what a tracker watches.
type TrackKind uint8

// The zero TrackKind is invalid.
const (
	_              TrackKind = iota
	TrackInterface           // up or down
	TrackScript              // exit status of a vrrp_script; a timeout is a failure
	TrackProcess             // number of processes, vrrp_track_process
	TrackFile                // the number in a vrrp_track_file; a missing file counts as 0
)

// Health is what a tracker thinks of what it watches.
type Health uint8

// Values of Health. The zero value means no result yet.
const (
	HealthUnknown Health = iota
	HealthGood
	HealthBad
)

// TrackerConfig describes what is watched, once for all instances that track it.
type TrackerConfig struct {
	Kind TrackKind
	Name string
	// Rise and Fall are how many results in a row turn a script good or bad; less than 1 counts as 1.
	Rise, Fall int
	// InitFail makes a script bad until it has succeeded Rise times. Otherwise its first result decides at once.
	InitFail bool
	// MinCount is how many processes there must be (quorum), and with Limited at most MaxCount (quorum_max).
	MinCount, MaxCount int
	Limited            bool
	// UpDelay and DownDelay are how long a change must last before it counts (fork_delay and terminate_delay of a process,
	// interface_up_down_delays). The first result counts at once.
	UpDelay, DownDelay time.Duration
}

// Tracker turns results into a verdict. It starts nothing and waits for nothing: whoever runs the script, or watches
// the interface, hands in what came of it.
type Tracker struct {
	cfg    TrackerConfig
	health Health
	value  int // of a file
	streak int
	detail string // of the result that decided

	pending       Health // what the last result said while a delay runs
	pendingDetail string
	due           timer
}

// NewTracker returns a tracker without a result, or a bad one with InitFail.
func NewTracker(cfg TrackerConfig) *Tracker {
	t := &Tracker{cfg: cfg}
	if cfg.Kind == TrackScript && cfg.InitFail {
		t.health, t.detail = HealthBad, "init_fail: no success yet"
	}
	return t
}

// Reconfigure changes limits and delays; what is known stays.
func (t *Tracker) Reconfigure(cfg TrackerConfig) { t.cfg = cfg }

// Config returns the configuration.
func (t *Tracker) Config() TrackerConfig { return t.cfg }

// Health returns the verdict. A file is good when its number is 0.
func (t *Tracker) Health() Health { return t.health }

// Detail says what decided it.
func (t *Tracker) Detail() string { return t.detail }

// Value is the number of a file.
func (t *Tracker) Value() int { return t.value }

// Result takes the outcome of a script, or the state of an interface. It reports whether the verdict changed.
func (t *Tracker) Result(now time.Duration, good bool, detail string) bool {
	got := HealthBad
	if good {
		got = HealthGood
	}
	if t.cfg.Kind != TrackScript {
		return t.after(now, got, detail)
	}
	if got == t.health {
		t.streak = 0
		return false
	}
	need := t.cfg.Fall
	if good {
		need = t.cfg.Rise
	}
	if t.streak++; t.health != HealthUnknown && t.streak < need {
		return false
	}
	t.streak = 0
	t.health, t.detail = got, detail
	return true
}

// Count takes the number of processes.
func (t *Tracker) Count(now time.Duration, n int) bool {
	got := HealthGood
	if n < t.cfg.MinCount || t.cfg.Limited && n > t.cfg.MaxCount {
		got = HealthBad
	}
	return t.after(now, got, fmt.Sprintf("%d running", n))
}

// Number takes the content of a file.
func (t *Tracker) Number(n int) bool {
	changed := n != t.value || t.health == HealthUnknown
	t.value, t.health, t.detail = n, HealthGood, fmt.Sprint(n)
	if n != 0 {
		t.health = HealthBad
	}
	return changed
}

// after lets a change count when it has lasted for its delay.
func (t *Tracker) after(now time.Duration, got Health, detail string) bool {
	delay := t.cfg.UpDelay
	if got == HealthBad {
		delay = t.cfg.DownDelay
	}
	switch {
	case got == t.health:
		t.due.clear()
		return false
	case t.health == HealthUnknown || delay <= 0:
		t.due.clear()
		t.health, t.detail = got, detail
		return true
	case !t.due.on || t.pending != got:
		t.due.set(now + delay)
	}
	t.pending, t.pendingDetail = got, detail
	return t.Tick(now)
}

// Tick ends a delay that is over and reports whether the verdict changed.
func (t *Tracker) Tick(now time.Duration) bool {
	if !t.due.due(now) {
		return false
	}
	t.due.clear()
	t.health, t.detail = t.pending, t.pendingDetail
	return true
}

// Deadline is when Tick is wanted.
func (t *Tracker) Deadline() (time.Duration, bool) { return t.due.at, t.due.on }

// Tracked is one line of an instance's track_script, track_interface, track_process or track_file block.
type Tracked struct {
	*Tracker
	// Weight 0 votes for FAULT. Otherwise a positive one is added while good, a negative one while bad; of a
	// file, the number times the weight is added. -253..253.
	Weight  int
	Reverse bool // turns a vote or the sign of a weight round
}

// Evaluation is what all that an instance tracks amounts to.
type Evaluation struct {
	Priority uint8        // for SetPriority: within 1..254, or 255 for the owner of the addresses
	Faults   []FaultCause // for SetFaults
	Detail   string       // which weights count: "chk_nginx good +20, load -30"
	// Waiting: an unweighted tracker has no result yet, so the instance might have to start in FAULT. Give it Startup when
	// this is over.
	Waiting bool
}

// Limits of what one file may add (keepalived 2.2.7): at the lower one it is a fault.
const (
	fileMost  = 253
	fileLeast = -254
)

// Evaluate adds up what an instance tracks. base is its priority without weights; 255 never changes.
func Evaluate(base uint8, lines []Tracked) Evaluation {
	e := Evaluation{Priority: base}
	sum := int(base)
	var why []string
	for _, l := range lines {
		add, fault := l.effect()
		if fault {
			e.Faults = append(e.Faults, FaultCause{l.reason(), l.cause()})
		}
		e.Waiting = e.Waiting || l.Weight == 0 && l.health == HealthUnknown
		if add != 0 && base != PriorityOwner {
			sum += add
			why = append(why, fmt.Sprintf("%s %s %+d", l.cfg.Name, l.word(), add))
		}
	}
	if base != PriorityOwner {
		e.Priority = uint8(min(max(sum, 1), PriorityOwner-1))
	}
	e.Detail = strings.Join(why, ", ")
	return e
}

// effect is what one line does: add to the priority, or vote for FAULT.
func (l Tracked) effect() (add int, fault bool) {
	if l.Weight == 0 {
		bad := HealthBad
		if l.Reverse {
			bad = HealthGood
		}
		return 0, l.health == bad
	}
	w := l.Weight
	if l.Reverse {
		w = -w
	}
	switch {
	case l.cfg.Kind == TrackFile:
		n := min(max(min(max(l.value, -1<<20), 1<<20)*w, fileLeast), fileMost)
		return n, n == fileLeast
	case l.Weight > 0 && l.health == HealthGood, l.Weight < 0 && l.health == HealthBad:
		return w, false
	}
	return 0, false
}

func (l Tracked) reason() Reason {
	if l.cfg.Kind == TrackInterface {
		return ReasonInterfaceDown
	}
	return ReasonTrackFailed
}

// cause says why it votes for FAULT.
func (l Tracked) cause() string {
	if l.cfg.Kind == TrackInterface {
		return l.cfg.Name + " " + l.detail
	}
	return l.cfg.Name + ": " + l.detail
}

func (l Tracked) word() string {
	switch {
	case l.cfg.Kind == TrackFile:
		return l.detail
	case l.cfg.Kind == TrackInterface && l.health == HealthGood:
		return "up"
	case l.cfg.Kind == TrackInterface:
		return "down"
	}
	return l.health.String()
}

// InGroup is what remains of an instance's lines when it is in a sync group without sync_group_tracking_weight (keepalived 2.2.7):
// members with different priorities would pull apart what has to stay together. Weighted interfaces vote for FAULT instead,
// other weighted lines are left out; what was changed is said.
func InGroup(lines []Tracked) (kept []Tracked, said []string) {
	for _, l := range lines {
		switch {
		case l.Weight == 0:
		case l.cfg.Kind == TrackInterface:
			said = append(said, fmt.Sprintf("%s: weight %d counts as 0 in a sync group", l.cfg.Name, l.Weight))
			l.Weight = 0
		default:
			said = append(said, fmt.Sprintf("%s: ignored in a sync group, as it has weight %d; set sync_group_tracking_weight to keep it", l.cfg.Name, l.Weight))
			continue
		}
		kept = append(kept, l)
	}
	return slices.Clip(kept), said
}
