package vrrp

import "net/netip"

// Action is an output of Instance.Ready, to be carried out in order.
type Action interface{ action() }

// Send transmits an advert. Src is the source set by SetSource, Dst 224.0.0.18 (ff02::12 for IPv6) or a unicast peer.
// With auth_type AH, Proto is ProtocolAH and Header is set: see Packet.
// Payload is owned by the machine, must not be changed, and is valid until its next Step.
type Send struct{ Packet Packet }

// Acquire adds the virtual addresses to the host.
type Acquire struct{}

// Release removes them. It is also emitted on entering Backup from Init, so that
// what a killed predecessor left behind goes away.
type Release struct{}

// Announce sends Repeat gratuitous ARPs for every virtual address, round robin.
type Announce struct{ Repeat int }

// Transition reports a change of state, exactly once each.
type Transition struct {
	From, To State
	Reason   Reason
	Detail   string     // in words: "no advert from 10.0.0.2 for 3.609s"
	Priority uint8      // effective priority at that instant
	Master   netip.Addr // the owner now known, invalid if none
	Cause    uint64     // the id of StepCause, or a count of this instance's own
}

// Note reports something an operator may want to read that is no transition:
// a rejected packet, a discarded lower priority, a second owner.
type Note struct {
	Kind   NoteKind
	Src    netip.Addr
	Reject RejectReason // for NoteRejected
	Detail string
}

// NoteKind says what a Note is about.
type NoteKind uint8

// The zero NoteKind is invalid.
const (
	_                 NoteKind = iota
	NoteRejected               // a packet failed a receive check
	NoteLowerPriority          // BACKUP discards, MASTER answers a lower priority advert
	NotePriorityZero           // priority 0 heard
	NotePriority               // own effective priority changed
	NoteTwoOwners              // both ends have priority 255
	NoteInterval               // v3: the owner's interval differs from ours
	NoteConfig                 // a Reconfigure was refused
)

// RejectReason says which receive check a packet failed; the words are metric labels too.
type RejectReason uint8

// The zero RejectReason means accepted.
const (
	_                 RejectReason = iota
	RejectShort                    // length
	RejectTTL                      // ttl
	RejectVersion                  // version
	RejectType                     // type
	RejectChecksum                 // checksum
	RejectVRID                     // vrid
	RejectAuthType                 // auth_type
	RejectAuth                     // auth
	RejectInterval                 // interval
	RejectAddrList                 // addr_list
	RejectOwnSource                // own_source: our own source address, from another host or looped back
	RejectSequence                 // sequence: the sequence number of an AH was seen before, a replay
	RejectDestination              // destination: unicast where multicast is expected, or the reverse
	RejectPeer                     // peer: a unicast sender that is not in the list of peers, or its TTL is out of range

	numRejectReasons = int(RejectPeer) + 1
)

func (Send) action()       {}
func (Acquire) action()    {}
func (Release) action()    {}
func (Announce) action()   {}
func (Transition) action() {}
func (Note) action()       {}
