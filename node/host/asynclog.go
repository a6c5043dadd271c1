package host

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// asyncLog is an slog.Handler that never waits: a full pipe to the journal must not delay an
// advert. Records queue up to a limit; beyond it they are dropped, and their number is logged.
type asyncLog struct {
	slog.Handler
	q *logQueue
}

type logQueue struct {
	records chan queuedRecord
	dropped atomic.Uint64
	idle    chan struct{} // closed when the last record is written after close
}

type queuedRecord struct {
	h slog.Handler
	r slog.Record
}

// newAsyncLog returns a logger that writes through l in the background, and a function that ends it,
// waiting a moment for what is queued. Nothing may be logged after that.
func newAsyncLog(l *slog.Logger) (*slog.Logger, func()) {
	if l == nil {
		l = slog.Default()
	}
	q := &logQueue{records: make(chan queuedRecord, 4096), idle: make(chan struct{})}
	end := make(chan struct{})
	go func() {
		defer close(q.idle)
		for {
			select {
			case rec := <-q.records:
				q.write(rec)
			case <-end:
				for {
					select {
					case rec := <-q.records:
						q.write(rec)
					default:
						return
					}
				}
			}
		}
	}()
	return slog.New(asyncLog{l.Handler(), q}), func() {
		close(end)
		select {
		case <-q.idle:
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (q *logQueue) write(rec queuedRecord) {
	_ = rec.h.Handle(context.Background(), rec.r) // there is no better place to say so
	if n := q.dropped.Swap(0); n > 0 {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped: the log cannot keep up", 0)
		r.AddAttrs(slog.Uint64("dropped", n))
		_ = rec.h.Handle(context.Background(), r)
	}
}

// Handle queues.
func (a asyncLog) Handle(_ context.Context, r slog.Record) error {
	select {
	case a.q.records <- queuedRecord{a.Handler, r.Clone()}:
	default:
		a.q.dropped.Add(1)
	}
	return nil
}

// WithAttrs is part of slog.Handler.
func (a asyncLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return asyncLog{a.Handler.WithAttrs(attrs), a.q}
}

// WithGroup is part of slog.Handler.
func (a asyncLog) WithGroup(name string) slog.Handler {
	return asyncLog{a.Handler.WithGroup(name), a.q}
}
