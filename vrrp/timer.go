package vrrp

import "time"

// timer is one deadline. Nothing has to be stopped or can leak: the caller asks for the earliest.
type timer struct {
	at time.Duration
	on bool
}

func (t *timer) set(at time.Duration)       { t.at, t.on = at, true }
func (t *timer) clear()                     { *t = timer{} }
func (t *timer) due(now time.Duration) bool { return t.on && t.at <= now }

// next moves a periodic timer on by one period. The period counts from when it was due, so that a
// driver which is always a little late does not drift; one that is more than a period late starts anew.
func (t *timer) next(now, period time.Duration) {
	t.at += period
	if t.at <= now {
		t.at = now + period
	}
}

// learnFloor and learnFactor bound the v3 interval we accept from another: at most ten times our
// own, but 10 s are always possible. One forged advert with 40.95 s would otherwise keep a backup
// from taking over for up to 163 s; so it is about 31 s at 1 s, and only until the next genuine advert
// corrects it. The floor is what lets members whose intervals differ during a change (0.1 s and 1 s, say)
// hear each other. An owner slower than 30 s needs backups that are configured alike.
const (
	learnFloor  = 10 * time.Second
	learnFactor = 10
)

func boundInterval(heard, own time.Duration) time.Duration {
	return min(heard, max(learnFactor*own, learnFloor))
}

// Skew is Skew_Time: the higher the priority, the sooner a backup takes over.
// v2 counts in seconds whatever the interval (RFC 3768 6.1), v3 in intervals (RFC 9568 6.1).
func Skew(version, prio uint8, interval time.Duration) time.Duration {
	if version == 2 {
		interval = time.Second
	}
	return time.Duration(256-int(prio)) * interval / 256
}

// MasterDown is Active_Down_Interval (Master_Down_Interval of RFC 3768 and 5798): so many missing
// adverts (0 = 3) and the skew time.
func MasterDown(version, prio uint8, interval time.Duration, adverts int) time.Duration {
	if adverts == 0 {
		adverts = 3
	}
	return time.Duration(adverts)*interval + Skew(version, prio, interval)
}

func (i *Instance) skew(interval time.Duration) time.Duration {
	return Skew(i.cfg.Version, i.prio, interval)
}

func (i *Instance) masterDown(interval time.Duration) time.Duration {
	return MasterDown(i.cfg.Version, i.prio, interval, i.cfg.DownTimerAdverts)
}

// SkewTime returns Skew_Time for the interval in force (the learned one in v3).
func (i *Instance) SkewTime() time.Duration { return i.skew(i.masterInt) }

// MasterDownInterval returns how long a BACKUP waits for an advert before it takes over.
func (i *Instance) MasterDownInterval() time.Duration { return i.masterDown(i.masterInt) }

// Deadline returns the instant at which Step wants a Tick; false while nothing is awaited.
// After any Step it lies in the future.
func (i *Instance) Deadline() (time.Duration, bool) {
	var first timer
	for _, t := range [...]*timer{&i.downAt, &i.advertAt, &i.secondAt, &i.lowerAt, &i.refreshAt, &i.startAt} {
		if t.on && (!first.on || t.at < first.at) {
			first = *t
		}
	}
	return first.at, first.on
}
