package replica

import "fmt"

func (r *Replica) report(level Level, text string, args ...any) {
	r.push(Report{level, text, args})
}

// raftLogger turns what raft says into reports. Its information is about every vote and every probe, which
// an operator does not want; leader changes are reported by the replica itself. So levels go down by one.
type raftLogger struct{ r *Replica }

func (l raftLogger) out(level Level, msg string) { l.r.report(level, "raft: "+msg) }

func (l raftLogger) Debug(...any)          {}
func (l raftLogger) Debugf(string, ...any) {}
func (l raftLogger) Info(v ...any) {
	if l.r.cfg.Verbose {
		l.out(LevelDebug, fmt.Sprint(v...))
	}
}

func (l raftLogger) Infof(f string, v ...any) {
	if l.r.cfg.Verbose {
		l.out(LevelDebug, fmt.Sprintf(f, v...))
	}
}
func (l raftLogger) Warning(v ...any)            { l.out(LevelInfo, fmt.Sprint(v...)) }
func (l raftLogger) Warningf(f string, v ...any) { l.out(LevelInfo, fmt.Sprintf(f, v...)) }
func (l raftLogger) Error(v ...any)              { l.out(LevelWarn, fmt.Sprint(v...)) }
func (l raftLogger) Errorf(f string, v ...any)   { l.out(LevelWarn, fmt.Sprintf(f, v...)) }

// raftPanic is what raft throws when it finds its own data contradictory. It becomes a Stop.
type raftPanic string

func (l raftLogger) Fatal(v ...any)            { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Fatalf(f string, v ...any) { panic(raftPanic(fmt.Sprintf(f, v...))) }
func (l raftLogger) Panic(v ...any)            { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Panicf(f string, v ...any) { panic(raftPanic(fmt.Sprintf(f, v...))) }

// recovered turns a panic of raft into an error: its data contradict themselves or those of other members.
func recovered(err *error) {
	if p := recover(); p != nil {
		rp, ok := p.(raftPanic)
		if !ok {
			panic(p)
		}
		*err = fmt.Errorf("raft: %s: %s", string(rp), Remedy)
	}
}
