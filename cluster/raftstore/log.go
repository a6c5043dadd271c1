package raftstore

import (
	"context"
	"fmt"
	"log/slog"
)

// raftLogger passes on what raft says. Its information is about every vote and every probe, which
// an operator does not want; leader changes are logged by the store itself. So levels go down by one.
type raftLogger struct{ log *slog.Logger }

func (l raftLogger) out(level slog.Level, msg string) {
	l.log.Log(context.Background(), level, "raft: "+msg)
}

func (l raftLogger) Debug(v ...any)              {}
func (l raftLogger) Debugf(f string, v ...any)   {}
func (l raftLogger) Info(v ...any)               { l.out(slog.LevelDebug, fmt.Sprint(v...)) }
func (l raftLogger) Infof(f string, v ...any)    { l.out(slog.LevelDebug, fmt.Sprintf(f, v...)) }
func (l raftLogger) Warning(v ...any)            { l.out(slog.LevelInfo, fmt.Sprint(v...)) }
func (l raftLogger) Warningf(f string, v ...any) { l.out(slog.LevelInfo, fmt.Sprintf(f, v...)) }
func (l raftLogger) Error(v ...any)              { l.out(slog.LevelWarn, fmt.Sprint(v...)) }
func (l raftLogger) Errorf(f string, v ...any)   { l.out(slog.LevelWarn, fmt.Sprintf(f, v...)) }

// raftPanic is what raft throws when it finds its own data contradictory. The loop turns it into a failed store.
type raftPanic string

func (l raftLogger) Fatal(v ...any)            { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Fatalf(f string, v ...any) { panic(raftPanic(fmt.Sprintf(f, v...))) }
func (l raftLogger) Panic(v ...any)            { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Panicf(f string, v ...any) { panic(raftPanic(fmt.Sprintf(f, v...))) }
