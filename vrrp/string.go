package vrrp

import "strconv"

// unknown names a value outside its enumeration.
func unknown(kind string, n uint8) string { return kind + "(" + strconv.Itoa(int(n)) + ")" }

// String returns the word operators know from keepalived: INIT, BACKUP, MASTER or FAULT.
func (s State) String() string {
	switch s {
	case Init:
		return "INIT"
	case Backup:
		return "BACKUP"
	case Master:
		return "MASTER"
	case Fault:
		return "FAULT"
	}
	return unknown("State", uint8(s))
}

// String returns a stable word, the same in logs, API, metrics and golden files.
func (r Reason) String() string {
	switch r {
	case ReasonStartup:
		return "startup"
	case ReasonOwner:
		return "owner"
	case ReasonMasterDown:
		return "master-down"
	case ReasonPriorityZero:
		return "priority-zero"
	case ReasonPreempt:
		return "preempt"
	case ReasonHigherPriority:
		return "higher-priority"
	case ReasonHigherAddress:
		return "higher-address"
	case ReasonInterfaceDown:
		return "interface-down"
	case ReasonNoAddress:
		return "no-address"
	case ReasonNoSocket:
		return "no-socket"
	case ReasonTrackFailed:
		return "track-failed"
	case ReasonFaultCleared:
		return "fault-cleared"
	case ReasonShutdown:
		return "shutdown"
	case ReasonStall:
		return "stall"
	case ReasonBadConfig:
		return "bad-config"
	case ReasonGroup:
		return "sync-group"
	}
	return unknown("Reason", uint8(r))
}

// String returns none, pass or ah.
func (t AuthType) String() string {
	switch t {
	case AuthNone:
		return "none"
	case AuthPass:
		return "pass"
	case AuthAH:
		return "ah"
	}
	return unknown("AuthType", uint8(t))
}

// String returns a stable word.
func (k NoteKind) String() string {
	switch k {
	case NoteRejected:
		return "rejected"
	case NoteLowerPriority:
		return "lower-priority"
	case NotePriorityZero:
		return "priority-zero"
	case NotePriority:
		return "priority"
	case NoteTwoOwners:
		return "two-owners"
	case NoteInterval:
		return "interval"
	case NoteConfig:
		return "config"
	}
	return unknown("NoteKind", uint8(k))
}

// String returns the metric label; "accepted" for the zero value.
func (r RejectReason) String() string {
	switch r {
	case 0:
		return "accepted"
	case RejectShort:
		return "length"
	case RejectTTL:
		return "ttl"
	case RejectVersion:
		return "version"
	case RejectType:
		return "type"
	case RejectChecksum:
		return "checksum"
	case RejectVRID:
		return "vrid"
	case RejectAuthType:
		return "auth_type"
	case RejectAuth:
		return "auth"
	case RejectInterval:
		return "interval"
	case RejectAddrList:
		return "addr_list"
	case RejectOwnSource:
		return "own_source"
	case RejectSequence:
		return "sequence"
	case RejectDestination:
		return "destination"
	case RejectPeer:
		return "peer"
	}
	return unknown("RejectReason", uint8(r))
}

// RejectReasons returns every reason, in order, for whoever exports one counter each.
func RejectReasons() []RejectReason {
	all := make([]RejectReason, 0, numRejectReasons-1)
	for r := RejectShort; int(r) < numRejectReasons; r++ {
		all = append(all, r)
	}
	return all
}

// String tells which sum an advert carried.
func (f ChecksumForm) String() string {
	switch f {
	case ChecksumMessage:
		return "message"
	case ChecksumPseudo:
		return "pseudo-header"
	case ChecksumOldUnicast:
		return "old-unicast"
	}
	return unknown("ChecksumForm", uint8(f))
}

// String returns interface, script, process or file.
func (k TrackKind) String() string {
	switch k {
	case TrackInterface:
		return "interface"
	case TrackScript:
		return "script"
	case TrackProcess:
		return "process"
	case TrackFile:
		return "file"
	}
	return unknown("TrackKind", uint8(k))
}

// String returns unknown, good or bad.
func (h Health) String() string {
	switch h {
	case HealthUnknown:
		return "unknown"
	case HealthGood:
		return "good"
	case HealthBad:
		return "bad"
	}
	return unknown("Health", uint8(h))
}
