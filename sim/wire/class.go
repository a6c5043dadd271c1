package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Class sorts frames for filters, so that a network that loses some traffic and carries the rest can
// be said: adverts filtered, everything else fine. Values are bits and may be added up.
type Class uint8

// Classes. Every frame is of exactly one.
const (
	ClassVRRP  Class = 1 << iota // adverts
	ClassGARP                    // gratuitous ARP and unsolicited neighbour advertisements: announcements
	ClassARP                     // other ARP and neighbour discovery
	ClassICMP                    // the clients' requests and their answers
	ClassTCP                     // connections of clients and health checks
	ClassRaft                    // the store's messages between directors
	ClassOther                   // anything else
	classes    = iota
)

const protoAH = 51

// PortRaft is the TCP port of the directors' store.
const PortRaft = 8470

// Everything is the sum of all classes.
const Everything Class = 1<<classes - 1

func classNames() [classes]string {
	return [...]string{"vrrp", "garp", "arp", "icmp", "tcp", "raft", "other"}
}

// ParseClass reads "vrrp" or "arp+garp".
func ParseClass(s string) (Class, error) {
	var c Class
next:
	for name := range strings.SplitSeq(s, "+") {
		for i, n := range classNames() {
			if n == name {
				c |= 1 << i
				continue next
			}
		}
		names := classNames()
		return 0, fmt.Errorf("proto %q: expected one of %s, or several with + between them", name, strings.Join(names[:], " "))
	}
	return c, nil
}

func (c Class) String() string {
	var names []string
	for i, n := range classNames() {
		if c&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, "+")
}

// ClassOf looks at a frame without checking it.
func ClassOf(frame []byte) Class {
	if len(frame) < EthernetHeader+ipv4Min {
		return ClassOther
	}
	body := frame[EthernetHeader:]
	switch binary.BigEndian.Uint16(frame[12:14]) {
	case EtherARP:
		if len(body) >= arpLen && [4]byte(body[14:18]) == [4]byte(body[24:28]) {
			return ClassGARP
		}
		return ClassARP
	case EtherIPv6:
		return classOf6(body)
	case EtherIPv4:
		switch body[9] {
		case ProtoVRRP, protoAH: // keepalived's auth_type AH is the only AH here
			return ClassVRRP
		case ProtoICMP:
			return ClassICMP
		case ProtoTCP:
			if port := body[ipv4Min:]; len(port) >= 4 && (binary.BigEndian.Uint16(port) == PortRaft || binary.BigEndian.Uint16(port[2:]) == PortRaft) {
				return ClassRaft
			}
			return ClassTCP
		}
	}
	return ClassOther
}
