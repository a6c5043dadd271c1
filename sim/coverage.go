package sim

import (
	"maps"
	"slices"
	"strings"
)

// Coverage counts what happened in the run that a search wants to see sometimes: every reason for a transition, every ground for
// rejecting an advert, and the situations that plain VRRP is bad at. A search in which one of [Sometimes] never
// happened proves less than it seems to.
func (s *Session) Coverage() map[string]int {
	n := map[string]int{}
	if s.w == nil {
		return n
	}
	for _, e := range s.w.journal {
		switch e.Kind {
		case EventReport:
			switch {
			case e.Entry.From != "":
				n["transition "+e.Entry.Reason]++
				if e.Entry.From == "INIT" && e.Entry.To == "MASTER" && e.Entry.Reason == "startup" {
					n["a restarted daemon adopts its addresses"]++
				}
			case e.Entry.Event == "vrrp.rejected":
				n["rejected for "+e.Entry.Reason]++
			case strings.HasPrefix(e.Entry.Event, "vrrp.") || strings.HasPrefix(e.Entry.Event, "script.") || strings.HasPrefix(e.Entry.Event, "check."):
				n[e.Entry.Event]++
			}
		case EventOwners:
			if strings.Contains(e.Text, "outside S1") {
				n["two owners that do not hear each other"]++
			}
		case EventViolation:
			if strings.HasPrefix(e.Text, "S1") {
				n["two owners for longer than VRRP needs"]++
			}
		case EventStore:
			if strings.HasPrefix(e.Text, "leads") && !strings.HasSuffix(e.Text, "term 2") {
				n["another director leads the store"]++
			}
			if strings.Contains(e.Text, "disk full") {
				n["a full disk stops a store"]++
			}
		case EventClient:
			if strings.Contains(e.Text, "without a gap") {
				n["the owner changes and a client notices nothing"]++
			}
			if strings.Contains(e.Text, "without an answer") {
				n["a client is without service"]++
			}
			if strings.Contains(e.Text, "has no real server") {
				n["an owner has no real server left"]++
			}
			if strings.Contains(e.Text, "connection refused") {
				n["a client meets a dead real server"]++
			}
		}
	}
	for _, h := range s.w.judge.history {
		if h.vip.Is6() && h.at > 0 && len(h.held) == 1 {
			n["an IPv6 VIP has an owner again"]++
		}
	}
	for _, lan := range s.w.lans {
		if lan.Dropped() > 0 {
			n["a slow line drops frames"]++
		}
		if lan.Withheld() > 0 {
			n["a switch withholds adverts from who has not asked"]++
		}
	}
	for _, h := range s.w.hosts {
		n["a killed daemon's successor knows which servers were down"] += h.knew
		if h.generation > 1 {
			n["a push reaches a member"]++
		}
	}
	n["a push finds its own earlier attempt"] += s.w.found
	n["a member is brought up to date by a snapshot"] += s.w.installed
	n["a director is asked for what another one acknowledged"] += s.w.reads
	for _, h := range s.w.members {
		n["a torn log is read again"] += h.disk.torn
	}
	if s.w.refused > 0 {
		n["a push is refused without a majority"] += s.w.refused
	}
	return n
}

// Sometimes are the counts of Coverage that must not be zero after a large search.
func Sometimes() []string {
	return []string{
		"transition startup", "transition master-down", "transition priority-zero", "transition preempt", "transition higher-priority",
		"transition higher-address", "transition interface-down", "transition track-failed", "transition fault-cleared",
		"transition shutdown", "transition stall", "transition owner", "transition sync-group",
		"rejected for ttl", "rejected for auth", "rejected for addr_list", "rejected for checksum", "rejected for interval", "rejected for version",
		"vrrp.priority-zero", "vrrp.lower-priority", "vrrp.interval", "script.up", "script.down", "vrrp.priority",
		"a restarted daemon adopts its addresses", "two owners that do not hear each other", "two owners for longer than VRRP needs",
		"the owner changes and a client notices nothing", "a client is without service", "a push reaches a member", "a push is refused without a majority",
		"another director leads the store", "a full disk stops a store", "a torn log is read again", "a member is brought up to date by a snapshot",
		"a push finds its own earlier attempt", "a director is asked for what another one acknowledged", "an IPv6 VIP has an owner again",
		"a slow line drops frames", "a switch withholds adverts from who has not asked",
		"check.up", "check.down", "an owner has no real server left", "a client meets a dead real server", "a killed daemon's successor knows which servers were down",
	}
}

// Never lists which of Sometimes a search has not seen.
func Never(total map[string]int) []string {
	return slices.DeleteFunc(Sometimes(), func(what string) bool { return total[what] > 0 })
}

// AddCoverage adds up counts.
func AddCoverage(total, more map[string]int) {
	for _, k := range slices.Sorted(maps.Keys(more)) {
		total[k] += more[k]
	}
}
