package host

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"quorate/config"
)

// Attributes of linux/lwtunnel.h, linux/mpls_iptunnel.h and linux/ila.h.
const (
	lwtID, lwtDst, lwtSrc, lwtTTL, lwtTOS, lwtFlags = 1, 2, 3, 4, 5, 6 // of ip, and of ip6 with hop limit and traffic class
	mplsLabels, mplsTTL                             = 1, 2
	ilaLocator                                      = 1
)

// encapsulation appends RTA_ENCAP_TYPE and RTA_ENCAP.
func encapsulation(b []byte, e config.Encap) []byte {
	var kind uint16
	var in []byte
	switch e.Type {
	case "":
		return b
	case "mpls":
		kind = nl.LWTUNNEL_ENCAP_MPLS
		var stack []byte
		for k, n := range e.Labels {
			entry := n << 12
			if k == len(e.Labels)-1 {
				entry |= 1 << 8 // the bottom of the stack (RFC 3032 2.1)
			}
			stack = binary.BigEndian.AppendUint32(stack, entry)
		}
		if in = attribute(in, mplsLabels, stack); e.TTL != 0 {
			in = attribute(in, mplsTTL, []byte{e.TTL})
		}
	case "ila":
		kind = nl.LWTUNNEL_ENCAP_ILA
		in = attribute(in, ilaLocator, binary.BigEndian.AppendUint64(nil, e.Locator))
	default:
		kind = nl.LWTUNNEL_ENCAP_IP
		if e.Type == "ip6" {
			kind = nl.LWTUNNEL_ENCAP_IP6
		}
		if e.ID != 0 {
			in = attribute(in, lwtID, binary.BigEndian.AppendUint64(nil, e.ID))
		}
		if e.Dst.IsValid() {
			in = attribute(in, lwtDst, e.Dst.AsSlice())
		}
		if e.Src.IsValid() {
			in = attribute(in, lwtSrc, e.Src.AsSlice())
		}
		if e.TTL != 0 {
			in = attribute(in, lwtTTL, []byte{e.TTL})
		}
		if e.TOS != 0 {
			in = attribute(in, lwtTOS, []byte{e.TOS})
		}
		if e.Flags != 0 {
			in = attribute(in, lwtFlags, binary.BigEndian.AppendUint16(nil, e.Flags))
		}
	}
	b = attribute(b, unix.RTA_ENCAP_TYPE, binary.NativeEndian.AppendUint16(nil, kind))
	return attribute(b, unix.RTA_ENCAP|unix.NLA_F_NESTED, in)
}
