package host

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"quorate/node"
)

// reporter logs journal entries in the words operators grep for and passes them on.
type reporter struct {
	log    *slog.Logger
	node   string
	worker string
	conn   *Conn // nil when standalone
	// troubles are the errors of this host that were reported and are not over: key to text.
	troubles map[string]string
}

// Report stamps, logs and sends an entry.
func (r *reporter) Report(e node.Entry) {
	e.Time, e.Node = time.Now().Round(time.Microsecond), r.node
	level := slog.LevelInfo
	if e.Warn {
		level = slog.LevelWarn
	}
	attrs := []any{slog.String("event", e.Event)}
	for _, a := range []struct{ key, value string }{
		{"instance", e.Instance}, {"from", e.From}, {"to", e.To}, {"reason", e.Reason}, {"detail", e.Detail}, {"trigger", e.Trigger},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if e.Cause != 0 {
		attrs = append(attrs, slog.Uint64("cause", e.Cause))
	}
	before, after := details(e)
	for _, line := range before {
		r.log.Debug("(" + e.Instance + ") " + line)
	}
	r.log.Log(context.Background(), level, sentence(e), attrs...)
	for _, line := range after {
		r.log.Debug("(" + e.Instance + ") " + line)
	}
	if r.conn != nil {
		_ = r.conn.Send(Message{Kind: KindEntry, Worker: r.worker, Entry: &e}) // counted by Conn
	}
}

// Trouble reports an error of this host once, until it changes or is over (err nil). The key names what fails.
func (r *reporter) Trouble(key string, err error) {
	was, known := r.troubles[key]
	switch {
	case err == nil && known:
		delete(r.troubles, key)
		r.Report(node.Entry{Event: "host.recovered", Detail: key + " works again"})
	case err != nil && (!known || was != err.Error()):
		if r.troubles == nil {
			r.troubles = map[string]string{}
		}
		r.troubles[key] = err.Error()
		r.Report(node.Entry{Event: "host.error", Detail: err.Error(), Warn: true})
	}
}

// Troubles lists what fails now, for status.
func (r *reporter) Troubles() []string {
	var out []string
	for _, k := range sortedKeys(r.troubles) {
		out = append(out, r.troubles[k])
	}
	return out
}

// details are the lines keepalived adds with -D around a change of state.
func details(e node.Entry) (before, after []string) {
	if e.From == "MASTER" && e.To != "MASTER" {
		after = append(after, "removing VIPs.")
	}
	switch e.Event {
	case "vrrp.master":
		switch e.Reason {
		case "master-down", "preempt", "priority-zero":
			before = append(before, "Receive advertisement timeout")
		}
		after = append(after, "setting VIPs.")
	case "vrrp.backup":
		var theirs, ours int
		var from string
		if n, _ := fmt.Sscanf(e.Detail, "priority %d > %d from %s", &theirs, &ours, &from); n == 3 && e.Reason == "higher-priority" {
			before = append(before, fmt.Sprintf("Master received advert from %s with higher priority %d, ours %d", from, theirs, ours))
		}
	case "vrrp.fault", "vrrp.stop":
		if e.From == "MASTER" {
			before = append(before, "sent 0 priority")
		}
	default:
		return nil, nil
	}
	return before, after
}

// sentence is the log message of an entry. The state lines are keepalived's, for the sake of
// every script and alert that looks for them.
func sentence(e node.Entry) string {
	in := "(" + e.Instance + ") "
	switch e.Event {
	case "vrrp.master", "vrrp.fault":
		return in + "Entering " + e.To + " STATE"
	case "vrrp.backup":
		if e.From == "INIT" {
			return in + "Entering BACKUP STATE (init)"
		}
		return in + "Entering BACKUP STATE"
	case "vrrp.stop":
		return in + "Entering STOP STATE"
	case "vrrp.priority":
		var from, to int
		if n, _ := fmt.Sscanf(e.Detail, "%d -> %d", &from, &to); n == 2 {
			return in + fmt.Sprintf("Changing effective priority from %d to %d", from, to)
		}
	case "vrrp.group":
		return "VRRP_Group(" + e.Instance + ") Syncing instances to " + e.To + " state"
	case "script.up":
		return "VRRP_Script(" + e.Instance + ") succeeded"
	case "script.down":
		return "VRRP_Script(" + e.Instance + ") failed (" + e.Detail + ")"
	case "file.value":
		return "track_file " + e.Instance + ": " + e.Detail
	case "process.up", "process.down":
		return "Process " + e.Instance + ": quorum " + map[bool]string{true: "lost", false: "gained"}[e.Warn] + " (" + e.Detail + ")"
	case "config.applied", "config.failed", "host.error", "host.recovered", "ipvs.missing", "ipvs.error":
		return e.Event + ": " + e.Detail
	}
	if words, ok := keepalivedWords(e); ok {
		return in + words
	}
	text := e.Event
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Instance != "" {
		return in + text
	}
	return text
}
