package vrrp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// Layout, network byte order (RFC 3768 5.1, RFC 9568 5.1):
//
//	octet 0    version (high nibble), type (low nibble, 1 = advertisement)
//	octet 1    VRID
//	octet 2    priority
//	octet 3    number of addresses
//	v2: 4      authentication type          v3: 4-5  4 bits reserved, 12 bits interval in centiseconds
//	v2: 5      interval in seconds
//	octet 6-7  checksum
//	octet 8..  addresses, 4 octets each (16 for IPv6, v3 only)
//	v2: then always 8 octets of authentication data
const (
	headerLen = 8
	authLen   = 8

	// TypeAdvert is the only message type there is.
	TypeAdvert = 1

	maxIntervalV2 = 255 * time.Second
	maxIntervalV3 = 4095 * centisecond
	centisecond   = 10 * time.Millisecond
)

// ChecksumForm says what the checksum of an advert covered. v2 sums the message, v3 over
// IPv6 always the pseudo-header too; v3 over IPv4 is found in both forms: RFC 5798 5.2.8 was
// read as "with the IPv4 pseudo-header" (keepalived, FRR), RFC 9568 5.2.8 says "without".
type ChecksumForm uint8

// A third form is keepalived's before 1.3.7 (old_unicast_checksum): version 3 IPv4 unicast whose
// pseudo-header names 224.0.0.18 although the packet goes elsewhere.
//
// The zero ChecksumForm means not known: nothing was decoded yet.
const (
	_ ChecksumForm = iota
	ChecksumMessage
	ChecksumPseudo
	ChecksumOldUnicast
)

// Advert is one VRRP advertisement, either version.
type Advert struct {
	Version  uint8 // 2 or 3
	Type     uint8 // 0 is sent as TypeAdvert
	Reserved uint8 // v3: the four bits before the interval; sent 0, ignored on receipt (RFC 9568 5.2.6)
	VRID     uint8
	Priority uint8
	AuthType AuthType      // v2
	AuthData [8]byte       // v2; the password, zero padded, for AuthPass
	Interval time.Duration // v2: whole seconds up to 255 s; v3: whole centiseconds up to 40.95 s
	Addrs    []netip.Addr
	Checksum ChecksumForm // set by Decode
	Empty    bool         // an advert without addresses is meant: Config.NoAddrs
}

// RejectError says which receive check a packet failed and how.
type RejectError struct {
	Reason RejectReason
	Detail string
}

// Error returns "reason: detail".
func (e *RejectError) Error() string { return e.Reason.String() + ": " + e.Detail }

func reject(r RejectReason, format string, args ...any) error {
	return &RejectError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// VRIDOf reads just enough of a message to find the instance it is for. It is not ok when the
// message is shorter than the fixed header; nothing else is checked.
func VRIDOf(payload []byte) (vrid, version uint8, ok bool) {
	if len(payload) < headerLen {
		return 0, 0, false
	}
	return payload[1], payload[0] >> 4, true
}

// Password returns the authentication data for a simple password: its first 8 octets,
// zero padded (RFC 2338 5.3.10).
func Password(s string) (data [8]byte) {
	copy(data[:], s)
	return data
}

// Append encodes the advert behind dst. src and dstIP are the addresses of the IP header, of
// which v3 sums a pseudo-header; messageOnly leaves that out for IPv4 (RFC 9568 5.2.8).
// The error names the field that cannot be expressed on the wire.
func (a *Advert) Append(dst []byte, src, dstIP netip.Addr, messageOnly bool) ([]byte, error) {
	form := ChecksumPseudo
	if messageOnly {
		form = ChecksumMessage
	}
	return a.AppendForm(dst, src, dstIP, form)
}

// AppendForm is Append with any form of checksum. The form matters for version 3 over IPv4 only: version 2
// sums the message, IPv6 the pseudo-header, whatever is asked.
func (a *Advert) AppendForm(dst []byte, src, dstIP netip.Addr, form ChecksumForm) ([]byte, error) {
	size, err := a.addrSize()
	if err != nil {
		return dst, err
	}
	start := len(dst)
	typ := a.Type
	if typ == 0 {
		typ = TypeAdvert
	}
	if typ > 0xf {
		return dst, fmt.Errorf("message type %d does not fit into 4 bits", typ)
	}
	dst = append(dst, a.Version<<4|typ, a.VRID, a.Priority, uint8(len(a.Addrs)))
	switch a.Version {
	case 2:
		if a.Interval < time.Second || a.Interval > maxIntervalV2 || a.Interval%time.Second != 0 {
			return dst[:start], fmt.Errorf("version 2 carries an interval of 1 to 255 whole seconds, not %v", a.Interval)
		}
		dst = append(dst, uint8(a.AuthType), uint8(a.Interval/time.Second), 0, 0)
	case 3:
		if a.Interval < centisecond || a.Interval > maxIntervalV3 || a.Interval%centisecond != 0 {
			return dst[:start], fmt.Errorf("version 3 carries an interval of 10ms to 40.95s in steps of 10ms, not %v", a.Interval)
		}
		if a.Reserved > 0xf {
			return dst[:start], fmt.Errorf("reserved bits %#x do not fit into 4 bits", a.Reserved)
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(a.Reserved)<<12|uint16(a.Interval/centisecond))
		dst = append(dst, 0, 0)
	}
	for _, ip := range a.Addrs {
		if size == 4 {
			b := ip.As4()
			dst = append(dst, b[:]...)
		} else {
			b := ip.As16()
			dst = append(dst, b[:]...)
		}
	}
	if a.Version == 2 {
		dst = append(dst, a.AuthData[:]...)
	}
	msg := dst[start:]
	sum := onesSum(0, msg)
	if a.Version == 3 && (size == 16 || form != ChecksumMessage) {
		if form == ChecksumOldUnicast && size == 4 {
			dstIP = group4
		}
		if !sameFamily(src, size) || !sameFamily(dstIP, size) {
			return dst[:start], fmt.Errorf("a version 3 checksum needs source and destination of the addresses' family, not %v and %v", src, dstIP)
		}
		sum = pseudoSum(sum, src, dstIP, len(msg))
	}
	binary.BigEndian.PutUint16(msg[6:], ^fold(sum))
	return dst, nil
}

// addrSize checks what does not depend on the layout and returns the octets per address.
func (a *Advert) addrSize() (int, error) {
	if a.Version != 2 && a.Version != 3 {
		return 0, fmt.Errorf("VRRP version %d is neither 2 nor 3", a.Version)
	}
	if a.VRID == 0 {
		return 0, fmt.Errorf("VRID 0 is not in 1..255")
	}
	if len(a.Addrs) == 0 && !a.Empty || len(a.Addrs) > 255 {
		return 0, fmt.Errorf("an advert carries 1 to 255 addresses, not %d", len(a.Addrs))
	}
	size := 4
	if len(a.Addrs) == 0 {
		return size, nil
	}
	if a.Addrs[0].Is6() {
		size = 16
		if a.Version == 2 {
			return 0, fmt.Errorf("version 2 cannot carry the IPv6 address %v: use version 3", a.Addrs[0])
		}
	}
	for _, ip := range a.Addrs {
		if !sameFamily(ip, size) {
			return 0, fmt.Errorf("address %v is not of the same family as %v", ip, a.Addrs[0])
		}
	}
	return size, nil
}

// sameFamily reports whether ip takes size octets on the wire. IPv4-mapped IPv6 belongs to neither family.
func sameFamily(ip netip.Addr, size int) bool {
	if size == 4 {
		return ip.Is4()
	}
	return ip.Is6() && !ip.Is4In6()
}

// Decode reads a message that came from src to dst, and applies every check that needs no
// configuration: length, version, checksum, type, VRID, count, interval. The error is a
// *RejectError. The length must match exactly, as in keepalived 2.2.7 (measured): whoever hands
// in a payload cuts it to the IP total length, as short Ethernet frames are padded. Addrs is
// reused, so one Advert decodes for ever without allocation. After an error the fields are
// not to be relied on. The authentication data of v2 is read, not judged.
func (a *Advert) Decode(payload []byte, src, dst netip.Addr) error {
	return a.decode(payload, src, dst, false)
}

// DecodePart reads as much as there is of a message from src that was captured in part. The header must be there; addresses and
// authentication data that are not are left out, and the checksum is not judged. It returns how many addresses the whole
// message has. The error is a *RejectError.
func (a *Advert) DecodePart(payload []byte, src netip.Addr) (count int, err error) {
	size, _, count, err := a.header(payload, src)
	if err == nil {
		err = a.valid(count, false)
	}
	if err == nil {
		a.addresses(payload, min(count, (len(payload)-headerLen)/size), size)
	}
	return count, err
}

// decode is Decode; an advert without addresses may be what is expected.
func (a *Advert) decode(payload []byte, src, dst netip.Addr, empty bool) error {
	size, want, count, err := a.header(payload, src)
	if err != nil {
		return err
	}
	if len(payload) != want {
		return reject(RejectShort, "%d octets, version %d with %d addresses has %d", len(payload), a.Version, count, want)
	}
	if err := a.verify(payload, src, dst, size); err != nil {
		return err
	}
	if err := a.valid(count, empty); err != nil {
		return err
	}
	a.addresses(payload, count, size)
	if a.Version == 2 {
		copy(a.AuthData[:], payload[len(payload)-authLen:])
	}
	return nil
}

// header reads what every message begins with, and says how long an address and the whole message are.
func (a *Advert) header(payload []byte, src netip.Addr) (size, want, count int, err error) {
	addrs := a.Addrs[:0]
	*a = Advert{Addrs: addrs}
	if len(payload) < headerLen {
		return 0, 0, 0, reject(RejectShort, "%d octets, a message has at least %d", len(payload), headerLen)
	}
	size = 16
	if src.Is4() {
		size = 4
	}
	a.Version, a.Type = payload[0]>>4, payload[0]&0xf
	a.VRID, a.Priority = payload[1], payload[2]
	count = int(payload[3])
	want = headerLen + count*size
	switch {
	case a.Version == 2 && size == 4:
		want += authLen
		a.AuthType = AuthType(payload[4])
		a.Interval = time.Duration(payload[5]) * time.Second
	case a.Version == 3:
		// The upper four bits are reserved and ignored on receipt (RFC 9568 5.2.6).
		a.Interval = time.Duration(binary.BigEndian.Uint16(payload[4:])&0x0fff) * centisecond
		a.Reserved = payload[4] >> 4
	case a.Version == 2:
		err = reject(RejectVersion, "version 2 is not defined for IPv6")
	default:
		err = reject(RejectVersion, "version %d is neither 2 nor 3", a.Version)
	}
	return size, want, count, err
}

// valid checks the fields of the header.
func (a *Advert) valid(count int, empty bool) error {
	if a.Type != TypeAdvert {
		return reject(RejectType, "message type %d, expected %d", a.Type, TypeAdvert)
	}
	if a.VRID == 0 {
		return reject(RejectVRID, "VRID 0 is not in 1..255")
	}
	if a.Empty = count == 0; a.Empty && !empty { // RFC 9568 erratum 8299
		return reject(RejectAddrList, "no address in the advert")
	}
	if a.Interval == 0 { // RFC 9568 erratum 8301: the receiver would time out at once
		return reject(RejectInterval, "interval 0")
	}
	return nil
}

func (a *Advert) addresses(payload []byte, count, size int) {
	for i := range count {
		b := payload[headerLen+i*size:]
		if size == 4 {
			a.Addrs = append(a.Addrs, netip.AddrFrom4([4]byte(b[:4])))
		} else {
			a.Addrs = append(a.Addrs, netip.AddrFrom16([16]byte(b[:16])))
		}
	}
}

// verify checks the checksum in every form its version and family allow.
func (a *Advert) verify(payload []byte, src, dst netip.Addr, size int) error {
	sum := onesSum(0, payload)
	if a.Version == 3 {
		if !sameFamily(src, size) || !sameFamily(dst, size) {
			return reject(RejectChecksum, "source %v and destination %v give no pseudo-header", src, dst)
		}
		if fold(pseudoSum(sum, src, dst, len(payload))) == 0xffff {
			a.Checksum = ChecksumPseudo
			return nil
		}
	}
	if (a.Version == 2 || size == 4) && fold(sum) == 0xffff {
		a.Checksum = ChecksumMessage
		return nil
	}
	if a.Version == 3 && size == 4 && !dst.IsMulticast() && fold(pseudoSum(sum, src, group4, len(payload))) == 0xffff {
		a.Checksum = ChecksumOldUnicast
		return nil
	}
	return reject(RejectChecksum, "checksum %#04x is wrong for version %d", binary.BigEndian.Uint16(payload[6:]), a.Version)
}

// onesSum adds the 16-bit words of b, an odd last octet padded with zero (RFC 1071). The sum of
// a whole IP packet cannot overflow 32 bits.
func onesSum(sum uint32, b []byte) uint32 {
	for len(b) >= 2 {
		sum += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// pseudoSum adds source, destination, protocol and length: the IPv4 pseudo-header of RFC 793 3.1
// or the IPv6 one of RFC 8200 8.1, whose words differ only in the addresses as the upper
// half of the 32-bit length is zero.
func pseudoSum(sum uint32, src, dst netip.Addr, length int) uint32 {
	for _, ip := range [2]netip.Addr{src, dst} {
		if ip.Is4() {
			b := ip.As4()
			sum = onesSum(sum, b[:])
		} else {
			b := ip.As16()
			sum = onesSum(sum, b[:])
		}
	}
	return sum + ProtocolNumber + uint32(length)
}

// fold brings the carries back in until 16 bits are left.
func fold(sum uint32) uint16 {
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
