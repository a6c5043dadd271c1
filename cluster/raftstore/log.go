package raftstore

import (
	"context"
	"log/slog"

	"quorate/cluster/replica"
)

// logged passes on what the replica reports.
func (s *Store) logged(r replica.Report) {
	level := slog.LevelDebug
	switch r.Level {
	case replica.LevelInfo:
		level = slog.LevelInfo
	case replica.LevelWarn:
		level = slog.LevelWarn
	case replica.LevelError:
		level = slog.LevelError
	}
	s.log.Log(context.Background(), level, r.Text, r.Args...)
}
