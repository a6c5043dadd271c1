package sim

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"quorate/sim/wire"
)

func (s *Session) verbShow(args []arg, _ string) (string, error) {
	if len(args) != 1 || args[0].op != "" {
		return "", errors.New("expected what to show")
	}
	var b strings.Builder
	switch args[0].key {
	case "owners":
		s.w.showOwners(&b)
	case "arp":
		s.w.showARP(&b)
	case "state":
		s.w.showState(&b)
	case "switch":
		s.w.showSwitch(&b)
	case "counters":
		s.w.showCounters(&b)
	case "ipvs":
		s.w.showIPVS(&b)
	default:
		return "", fmt.Errorf("cannot show %q", args[0].key)
	}
	return b.String(), nil
}

func (w *World) showOwners(b *strings.Builder) {
	for _, vip := range w.judge.vips {
		since, held := w.judge.since(vip, func(h []string) bool { return slices.Equal(h, w.judge.heldNow(vip)) })
		fmt.Fprintf(b, "%v %s since %s\n", vip, ownersText(held), stamp(since))
	}
}

func (w *World) showARP(b *strings.Builder) {
	for _, h := range w.hosts {
		if h.director || h.server {
			continue
		}
		for _, n := range h.nics {
			entries := slices.SortedFunc(maps.Values(n.neigh), func(a, b *neighbour) int { return a.addr.Compare(b.addr) })
			for _, e := range entries {
				fmt.Fprintf(b, "%s: %v dev %s", h.Name, e.addr, n.name)
				if e.state != neighIncomplete && e.state != neighFailed {
					fmt.Fprintf(b, " lladdr %v (%s)", e.mac, w.byMAC(e.mac))
				}
				fmt.Fprintf(b, " %v\n", e.state)
			}
		}
	}
}

func (w *World) showState(b *strings.Builder) {
	for _, h := range w.hosts {
		if !h.director || !h.on || h.proc == nil {
			fmt.Fprintln(b, h.describe())
			continue
		}
		paused := ""
		if h.proc.paused {
			paused = " (paused)"
		}
		for _, st := range h.proc.m.Status() {
			fmt.Fprintf(b, "%s%s %s %s priority %d since %s reason=%s", h.Name, paused, st.Name, st.State, st.Priority,
				stamp(h.clock.when(st.ChangedAt)), st.Reason)
			if st.Master.IsValid() {
				fmt.Fprintf(b, " master %v", st.Master)
			}
			b.WriteByte('\n')
		}
	}
}

func (w *World) showCounters(b *strings.Builder) {
	for _, h := range w.hosts {
		if h.proc != nil {
			for _, st := range h.proc.m.Status() {
				fmt.Fprintf(b, "%s %s sent %d received %d became_master %d", h.Name, st.Name, st.AdvertsSent, st.AdvertsReceived, st.BecameMaster)
				for _, reason := range slices.Sorted(maps.Keys(st.Rejected)) {
					fmt.Fprintf(b, " rejected/%s %d", reason, st.Rejected[reason])
				}
				b.WriteByte('\n')
			}
		}
		for _, l := range h.loads {
			fmt.Fprintf(b, "%s %v sent %d answered %d without answer for %s in all\n", h.Name, l.vip, l.sent, l.good, seconds(l.total))
		}
		for _, reason := range slices.Sorted(maps.Keys(h.drops)) {
			fmt.Fprintf(b, "%s dropped %d: %s\n", h.Name, h.drops[reason], reason)
		}
	}
	for _, lan := range w.lans {
		var lost uint64
		for i := range lan.Ports() {
			for k := range lan.Ports() {
				lost += lan.Lost(i, k)
			}
		}
		fmt.Fprintf(b, "%s lost %d frames, %d addresses moved\n", lan.Name, lost, lan.Moves())
	}
}

func (s *Session) verbPcap(args []arg, _ string) (string, error) {
	if len(args) != 1 || args[0].op != "" {
		return "", errors.New("expected a file name")
	}
	if s.Create == nil {
		return "", errors.New("this run was given no place to write files")
	}
	if s.recording {
		return "", errors.New("a capture runs already")
	}
	out, err := s.Create(args[0].key)
	if err != nil {
		return "", fmt.Errorf("cannot create %s: %w", args[0].key, err)
	}
	p, err := wire.NewPcap(out, s.w.Cards())
	if err != nil {
		return "", err
	}
	s.w.Capture(p)
	s.recording = true
	return "", nil
}

func (s *Session) verbTrace(args []arg, _ string) (string, error) {
	if len(args) > 0 {
		return "", unexpected(args[0])
	}
	hash, tasks, frames := s.w.Trace()
	return fmt.Sprintf("trace=%016x tasks=%d frames=%d\n", hash, tasks, frames), nil
}

// heldNow is the newest entry of a VIP's history.
func (j *judge) heldNow(vip netip.Addr) []string {
	for i := len(j.history) - 1; i >= 0; i-- {
		if j.history[i].vip == vip {
			return j.history[i].held
		}
	}
	return nil
}
