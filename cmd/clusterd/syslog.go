package main

import (
	"context"
	"io"
	"log/slog"
	"log/syslog"
)

// severities writes each record with the severity of its level, so that a syslog daemon can sort, forward and alarm by it. syslogd
// stamps the time. Its connection is made again when a write fails: syslogd may be restarted.
type severities struct {
	debug, info, warning, err slog.Handler
}

// writer is a method of a syslog.Writer.
type writer func(string) error

func (w writer) Write(b []byte) (int, error) { return len(b), w(string(b)) }

// openSyslog connects to this host's syslog daemon. facility counts from local0. ident is what filters of log lines look for.
func openSyslog(facility int, ident string, level slog.Level) (slog.Handler, error) {
	w, err := syslog.New(syslog.LOG_LOCAL0+syslog.Priority(facility)<<3|syslog.LOG_INFO, ident)
	if err != nil {
		return nil, err
	}
	text := func(to io.Writer) slog.Handler {
		return slog.NewTextHandler(to, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		}})
	}
	return severities{text(writer(w.Debug)), text(writer(w.Info)), text(writer(w.Warning)), text(writer(w.Err))}, nil
}

func (s severities) of(l slog.Level) slog.Handler {
	switch {
	case l >= slog.LevelError:
		return s.err
	case l >= slog.LevelWarn:
		return s.warning
	case l >= slog.LevelInfo:
		return s.info
	}
	return s.debug
}

func (s severities) Enabled(ctx context.Context, l slog.Level) bool { return s.of(l).Enabled(ctx, l) }

func (s severities) Handle(ctx context.Context, r slog.Record) error {
	return s.of(r.Level).Handle(ctx, r)
}

func (s severities) WithAttrs(list []slog.Attr) slog.Handler {
	return s.each(func(h slog.Handler) slog.Handler { return h.WithAttrs(list) })
}

func (s severities) WithGroup(name string) slog.Handler {
	return s.each(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (s severities) each(f func(slog.Handler) slog.Handler) slog.Handler {
	return severities{f(s.debug), f(s.info), f(s.warning), f(s.err)}
}
