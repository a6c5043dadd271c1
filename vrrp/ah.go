package vrrp

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"hash"
)

// AHLen is the size of the authentication header.
const AHLen = 24

const (
	icvLen   = 12
	ahLength = AHLen/4 - 2 // in 32-bit words, less two (RFC 2402 2.2)
)

// AH is the IPsec authentication header keepalived puts between IP header and message with auth_type AH
// (RFC 2402, RFC 2338 5.3.6.3), network byte order:
//
//	octet 0     next header, 112    1  length, 4    2-3  reserved, 0
//	octet 4-7   security parameter index: the IPv4 source address (keepalived 2.2.7, measured)
//	octet 8-11  sequence number     12-23  check value, HMAC-MD5-96
type AH struct {
	SPI, Sequence uint32
	ICV           [icvLen]byte
}

// Decode reads the header at the start of an IP payload and returns the VRRP message behind it.
// The error is a *RejectError.
func (h *AH) Decode(payload []byte) (message []byte, err error) {
	if len(payload) < AHLen {
		return nil, reject(RejectShort, "%d octets, an authentication header has %d", len(payload), AHLen)
	}
	if payload[0] != ProtocolNumber {
		return nil, reject(RejectAuthType, "the authentication header carries protocol %d, expected %d", payload[0], ProtocolNumber)
	}
	if payload[1] != ahLength {
		return nil, reject(RejectShort, "authentication header of length %d, HMAC-MD5-96 has %d", payload[1], ahLength)
	}
	h.SPI = binary.BigEndian.Uint32(payload[4:])
	h.Sequence = binary.BigEndian.Uint32(payload[8:])
	h.ICV = [icvLen]byte(payload[12:])
	return payload[AHLen:], nil
}

// Append encodes the header behind dst.
func (h *AH) Append(dst []byte) []byte {
	dst = append(dst, ProtocolNumber, ahLength, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, h.SPI)
	dst = binary.BigEndian.AppendUint32(dst, h.Sequence)
	return append(dst, h.ICV[:]...)
}

// AHKey computes check values with one password. It is not safe for concurrent use.
type AHKey struct {
	mac  hash.Hash
	head []byte
	ah   [AHLen]byte
	sum  []byte
}

// NewAHKey takes the password, of which 8 octets count.
func NewAHKey(password string) *AHKey {
	key := Password(password)
	return &AHKey{mac: hmac.New(md5.New, key[:]), head: make([]byte, 0, 60), sum: make([]byte, 0, md5.Size)}
}

// ICV computes the check value of a packet: header is its IPv4 header, payload the authentication header
// (whose own value counts as zero) and the message. What routers change counts as zero: type of service, fragment
// field and checksum. The TTL ought to (RFC 2402 3.3.3.1), but keepalived 2.2.7 sums it as sent, 255, unless the
// packet goes to a unicast address (measured). The caller guarantees 20 octets of header and AHLen of payload.
func (k *AHKey) ICV(header, payload []byte) (icv [icvLen]byte) {
	k.head = append(k.head[:0], header...)
	k.head[1] = 0
	k.head[6], k.head[7] = 0, 0
	k.head[10], k.head[11] = 0, 0
	if k.head[16]>>4 != 0xe { // not 224.0.0.0/4
		k.head[8] = 0
	}
	copy(k.ah[:], payload)
	clear(k.ah[AHLen-icvLen:])
	k.mac.Reset()
	k.mac.Write(k.head)
	k.mac.Write(k.ah[:])
	k.mac.Write(payload[AHLen:])
	k.sum = k.mac.Sum(k.sum[:0])
	return [icvLen]byte(k.sum)
}

// Verify checks a received packet: parameter index, then check value. The sequence number is for the caller,
// who knows which ones were seen. The error is a *RejectError.
func (k *AHKey) Verify(h *AH, header, payload []byte) error {
	if len(header) < 20 || len(payload) < AHLen {
		return reject(RejectAuth, "the IP header is not at hand, the check value cannot be computed")
	}
	if src := binary.BigEndian.Uint32(header[12:]); h.SPI != src {
		return reject(RejectAuth, "parameter index %08x, expected the source address %08x", h.SPI, src)
	}
	if want := k.ICV(header, payload); !hmac.Equal(want[:], h.ICV[:]) {
		return reject(RejectAuth, "check value of the authentication header is wrong: another password, or altered on the way")
	}
	return nil
}
