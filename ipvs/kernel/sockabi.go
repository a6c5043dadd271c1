package kernel

import (
	"bytes"
	"net/netip"
	"time"
	"unsafe"

	"quorate/ipvs"
)

// The structures of IP_VS_SO_*, with the padding that C adds (linux/ip_vs.h). Addresses and ports are in network order,
// hence bytes; all else is in the host's.

type soService struct {
	protocol uint16
	_        [2]byte
	addr     [4]byte
	port     [2]byte
	_        [2]byte
	fwmark   uint32
	sched    [16]byte
	flags    uint32
	timeout  uint32
	netmask  [4]byte
}

type soDest struct {
	addr      [4]byte
	port      [2]byte
	_         [2]byte
	connFlags uint32
	weight    int32
	upper     uint32
	lower     uint32
}

type soServiceDest struct {
	service soService
	dest    soDest
}

type soStats struct {
	_ [3]uint32 // connections, packets in and out
	_ [2]uint64 // bytes in and out
	_ [5]uint32 // the rates of the same
}

type soServiceEntry struct {
	soService
	dests uint32
	stats soStats
}

type soDestEntry struct {
	soDest
	active, inactive uint32
	_                uint32 // persistent connections
	stats            soStats
}

type soInfo struct {
	_        [2]uint32 // version, size of the connection table
	services uint32
}

// soGetServices and soGetDests are followed by entries, which are aligned to 8 bytes because of the 64-bit counters.
type soGetServices struct {
	_     [0]soServiceEntry // for the alignment; last, it would take room
	count uint32
}

type soGetDests struct {
	_        [0]soDestEntry
	protocol uint16
	_        [2]byte
	addr     [4]byte
	port     [2]byte
	_        [2]byte
	fwmark   uint32
	count    uint32
}

// raw returns the memory of a structure.
func raw[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

func toSoService(s ipvs.Service) soService {
	o := soService{
		protocol: uint16(s.Protocol),
		port:     [2]byte{byte(s.Port >> 8), byte(s.Port)},
		fwmark:   s.FWMark,
		flags:    uint32(s.Flags & ipvs.AllFlags),
		netmask:  [4]byte{255, 255, 255, 255},
	}
	if s.FWMark != 0 {
		// This interface wants a protocol that it knows, and ignores it.
		o.protocol, o.port = uint16(ipvs.TCP), [2]byte{}
	} else {
		o.addr = s.Addr.Unmap().As4()
	}
	copy(o.sched[:len(o.sched)-1], s.Scheduler)
	if s.Persistence > 0 {
		o.flags |= flagPersistent
		o.timeout = uint32(s.Persistence / time.Second)
	}
	if mask := s.Netmask.Unmap(); mask.Is4() {
		o.netmask = mask.As4()
	}
	return o
}

func fromSoService(o *soServiceEntry) ipvs.Service {
	s := ipvs.Service{
		Key:       ipvs.Key{FWMark: o.fwmark},
		Scheduler: cstring(o.sched[:]),
		Flags:     ipvs.Flags(o.flags) & ipvs.AllFlags,
	}
	if o.fwmark == 0 {
		s.Key = ipvs.Key{Protocol: ipvs.Protocol(o.protocol), Addr: netip.AddrFrom4(o.addr), Port: port(o.port)}
	}
	if o.flags&flagPersistent != 0 {
		s.Persistence = time.Duration(o.timeout) * time.Second
		if o.netmask != [4]byte{255, 255, 255, 255} {
			s.Netmask = netip.AddrFrom4(o.netmask)
		}
	}
	return s
}

func toSoDest(d ipvs.Destination) soDest {
	return soDest{
		addr:      d.Addr.Unmap().As4(),
		port:      [2]byte{byte(d.Port >> 8), byte(d.Port)},
		connFlags: toForward(d.Forward),
		weight:    int32(d.Weight),
		upper:     d.UpperThreshold,
		lower:     d.LowerThreshold,
	}
}

func fromSoDest(o *soDestEntry) ipvs.Destination {
	return ipvs.Destination{
		Addr:           netip.AddrFrom4(o.addr),
		Port:           port(o.port),
		Weight:         int(o.weight),
		Forward:        fromForward(o.connFlags),
		UpperThreshold: o.upper,
		LowerThreshold: o.lower,
		ActiveConns:    o.active,
		InactiveConns:  o.inactive,
	}
}

func port(b [2]byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func cstring(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
