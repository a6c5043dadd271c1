package host

import "time"

// lateness is how late deadlines were served in the last minute: what this host's load costs the elections.
type lateness struct {
	at    time.Duration    // when the present tenth began
	worst [7]time.Duration // of the present ten seconds, then of those before
}

const lateTenth = 10 * time.Second

func (l *lateness) note(now, late time.Duration) {
	l.turn(now)
	l.worst[0] = max(l.worst[0], late)
}

// max is the worst of the last sixty to seventy seconds.
func (l *lateness) max(now time.Duration) time.Duration {
	l.turn(now)
	var m time.Duration
	for _, d := range l.worst {
		m = max(m, d)
	}
	return m
}

func (l *lateness) turn(now time.Duration) {
	steps := int(min((now-l.at)/lateTenth, time.Duration(len(l.worst))))
	if steps <= 0 {
		return
	}
	copy(l.worst[steps:], l.worst[:len(l.worst)-steps])
	clear(l.worst[:steps])
	l.at += (now - l.at) / lateTenth * lateTenth
}
