package real

import (
	"bytes"
	"os"
	"sync"
	"time"
)

// hostLog is what the programs of a host have printed. A guest has a clock of its own, so of its lines it is known when they came, and what
// the guest's clock showed then.
type hostLog struct {
	mu    sync.Mutex
	file  *os.File
	now   func() time.Duration
	seen  []sighting // by line; empty for a host that shares this kernel's clock
	start time.Time
}

type sighting struct {
	at   time.Duration
	wall time.Time
}

// add is text from a guest.
func (l *hostLog) add(text []byte, wall time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range bytes.Count(text, []byte("\n")) {
		l.seen = append(l.seen, sighting{l.now(), wall})
	}
	_, _ = l.file.Write(text) // a full disk shows in what is missed
}

// Write is what a program in a namespace prints, which has the file itself.
func (l *hostLog) Write(b []byte) (int, error) { return l.file.Write(b) }

// when is the time at which a line says it was written. The clock of a guest may have jumped since: then it was now.
func (l *hostLog) when(line int, said time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) == 0 {
		return said.Sub(l.start)
	}
	s := l.seen[min(line, len(l.seen)-1)]
	const usual = 5 * time.Second // more than a line is on its way
	if ago := s.wall.Sub(said); ago > 0 && ago < usual {
		return s.at - ago
	}
	return s.at
}
