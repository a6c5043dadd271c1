package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"strings"
	"time"
)

// Limits of what is believed of a file.
const (
	maxFrame      = 256 << 10 // the largest snap length tcpdump takes
	maxBlock      = 16 << 20
	maxInterfaces = 4096
	maxName       = 256
)

// Magic numbers of the two formats.
const (
	magicMicro   = 0xa1b2c3d4
	magicNano    = 0xa1b23c4d
	magicSection = 0x0a0d0d0a // pcapng, the same in both byte orders
	magicOrder   = 0x1a2b3c4d
)

// Reader reads a capture: pcap or pcapng, either byte order, gzip-compressed or not. It believes no length the file
// states: at most maxBlock octets are ever kept. (pcapgo, the obvious library, cuts link types to 8 bits, which takes
// SLL2 for something else, and makes buffers as large as the file says.)
type Reader struct {
	r     *bufio.Reader
	order binary.ByteOrder
	buf   []byte
	n     int

	// pcap
	ng   bool
	link LinkType
	unit time.Duration

	// pcapng, of the section
	interfaces []ngInterface
}

type ngInterface struct {
	name  string
	link  LinkType
	snap  int
	perS  uint64 // units per second
	shift int64  // seconds
}

// ErrFormat says that a file is no capture, and in its text what to do about it.
var ErrFormat = errors.New("neither pcap nor pcapng")

// foreign are the beginnings of what people have instead of a capture that is read.
var foreign = []struct{ begin, remedy string }{
	{"\x28\xb5\x2f\xfd", "it is compressed with zstd: unpack it first (zstd -d)"},
	{"\xfd7zXZ\x00", "it is compressed with xz: unpack it first (xz -d)"},
	{"BZh", "it is compressed with bzip2: unpack it first (bzip2 -d)"},
	{"\x04\x22\x4d\x18", "it is compressed with lz4: unpack it first (lz4 -d)"},
	{"PK\x03\x04", "it is a zip archive: unpack it first"},
	{"snoop\x00\x00\x00", "it is a snoop capture: convert it (editcap -F pcapng IN OUT)"},
	{"RTSS", "it is a Network Monitor capture: convert it (editcap -F pcapng IN OUT)"},
	{"GMBU", "it is a Network Monitor capture: convert it (editcap -F pcapng IN OUT)"},
	{"\x34\xcd\xb2\xa1", "it is pcap of a kind with longer frame headers: convert it (editcap -F pcapng IN OUT)"},
	{"\xa1\xb2\xcd\x34", "it is pcap of a kind with longer frame headers: convert it (editcap -F pcapng IN OUT)"},
}

// notCapture says what a file is, as far as its first octets tell.
func notCapture(begin []byte) error {
	if len(begin) == 0 {
		return fmt.Errorf("%w: the file is empty; a tcpdump that is killed before its buffer is written leaves that (tcpdump -U writes each packet)", ErrFormat)
	}
	for _, f := range foreign {
		if strings.HasPrefix(string(begin), f.begin) {
			return fmt.Errorf("%w: %s", ErrFormat, f.remedy)
		}
	}
	if !bytes.ContainsFunc(begin, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f }) {
		return fmt.Errorf("%w: it is text, beginning with %q; record a capture with tcpdump -w FILE", ErrFormat, begin)
	}
	return fmt.Errorf("%w: it begins with % x; record a capture with tcpdump -w FILE, or convert another format with editcap -F pcapng", ErrFormat, begin)
}

// NewReader reads as far as the first frame.
func NewReader(r io.Reader) (*Reader, error) {
	c := &Reader{r: bufio.NewReaderSize(r, 64<<10)}
	magic, err := c.r.Peek(4)
	if len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(c.r)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		c.r = bufio.NewReaderSize(z, 64<<10)
		if magic, err = c.r.Peek(4); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("gzip: %w", err)
		}
	} else if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(magic) < 4 {
		return nil, notCapture(magic)
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic) {
		case magicMicro:
			c.order, c.unit = order, time.Microsecond
		case magicNano:
			c.order, c.unit = order, time.Nanosecond
		case magicSection:
			c.ng = true
			return c, nil
		}
	}
	if c.order == nil {
		begin, _ := c.r.Peek(16) // what there is of them
		return nil, notCapture(begin)
	}
	head, err := c.take(24)
	if err != nil {
		return nil, fmt.Errorf("pcap header: %w", err)
	}
	c.link = LinkType(c.order.Uint32(head[20:]) & 0xffff) // the upper half says how long the FCS is
	return c, nil
}

// take reads n octets into the buffer; the buffer grows only as data arrives.
func (c *Reader) take(n int) ([]byte, error) {
	if n > maxBlock {
		return nil, fmt.Errorf("a block of %d octets, more than %d", n, maxBlock)
	}
	c.buf = c.buf[:0]
	for len(c.buf) < n {
		step := min(n-len(c.buf), 64<<10)
		old := len(c.buf)
		if cap(c.buf) < old+step {
			c.buf = append(make([]byte, 0, max(2*cap(c.buf), old+step)), c.buf...)
		}
		c.buf = c.buf[:old+step]
		k, err := io.ReadFull(c.r, c.buf[old:])
		if err != nil {
			c.buf = c.buf[:old+k]
			if old+k > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return c.buf, err
		}
	}
	return c.buf, nil
}

// Next returns the next frame, whose Data is valid until the next call; io.EOF at the end. Any other error ends
// the file: what follows cannot be found any more.
func (c *Reader) Next() (Frame, error) {
	if c.ng {
		return c.nextNG()
	}
	head, err := c.take(16)
	if err != nil {
		return Frame{}, c.ended("frame header", err)
	}
	sec, sub := c.order.Uint32(head), c.order.Uint32(head[4:])
	have, length := c.order.Uint32(head[8:]), c.order.Uint32(head[12:])
	if have > maxFrame {
		return Frame{}, fmt.Errorf("frame %d: %d octets are more than any capture holds; the file is damaged here", c.n+1, have)
	}
	data, err := c.take(int(have))
	if err != nil {
		return Frame{}, c.ended("frame", err)
	}
	c.n++
	return Frame{
		N: c.n, Time: time.Unix(int64(sec), 0).Add(time.Duration(sub) * c.unit).UTC(),
		Link: c.link, Data: data, Length: max(int(length), len(data)),
	}, nil
}

// ended tells the end of the file from a cut one.
func (c *Reader) ended(what string, err error) error {
	if errors.Is(err, io.EOF) && len(c.buf) == 0 && what != "frame" {
		return io.EOF
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file ends in the middle of frame %d: %w", c.n+1, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%s %d: %w", what, c.n+1, err)
}

// nextNG walks the blocks of pcapng (draft-ietf-opsawg-pcapng) up to one with a frame.
func (c *Reader) nextNG() (Frame, error) {
	for {
		head, err := c.take(8)
		if err != nil {
			return Frame{}, c.ended("block", err)
		}
		kind := binary.LittleEndian.Uint32(head)
		if kind == magicSection {
			raw := [4]byte(head[4:])
			if err := c.section(raw); err != nil {
				return Frame{}, err
			}
			continue
		}
		if c.order == nil {
			return Frame{}, fmt.Errorf("%w: pcapng without a section header", ErrFormat)
		}
		kind = c.order.Uint32(head)
		total := c.order.Uint32(head[4:])
		if total < 12 || total%4 != 0 || total > maxBlock {
			return Frame{}, fmt.Errorf("after frame %d: a block of %d octets; the file is damaged here", c.n, total)
		}
		body, err := c.take(int(total) - 8)
		if err != nil {
			return Frame{}, c.ended("frame", err)
		}
		body = body[:len(body)-4] // total length again
		switch kind {
		case 1:
			err = c.describe(body)
		case 9, 0xbad, 0x40000bad: // journal entries and custom blocks have numbers in Wireshark
			c.n++
		case 2, 3, 6:
			f, ok, perr := c.packet(kind, body)
			if ok {
				return f, nil
			}
			err = perr
		}
		if err != nil {
			return Frame{}, err
		}
	}
}

// section starts anew: byte order and interfaces are the section's own.
func (c *Reader) section(raw [4]byte) error {
	magic, err := c.take(4)
	if err != nil {
		return c.ended("frame", err)
	}
	switch {
	case binary.LittleEndian.Uint32(magic) == magicOrder:
		c.order = binary.LittleEndian
	case binary.BigEndian.Uint32(magic) == magicOrder:
		c.order = binary.BigEndian
	default:
		return fmt.Errorf("%w: section header with byte order % x", ErrFormat, magic)
	}
	total := c.order.Uint32(raw[:])
	if total < 28 || total%4 != 0 || total > maxBlock {
		return fmt.Errorf("%w: section header of %d octets", ErrFormat, total)
	}
	if _, err := c.take(int(total) - 12); err != nil {
		return c.ended("frame", err)
	}
	c.interfaces = c.interfaces[:0]
	return nil
}

// describe reads an interface description block.
func (c *Reader) describe(b []byte) error {
	if len(b) < 8 {
		return fmt.Errorf("after frame %d: interface description of %d octets", c.n, len(b))
	}
	if len(c.interfaces) >= maxInterfaces {
		return fmt.Errorf("more than %d interfaces in one section", maxInterfaces)
	}
	i := ngInterface{link: LinkType(c.order.Uint16(b)), snap: int(min(c.order.Uint32(b[4:]), maxBlock)), perS: 1e6}
	for o := b[8:]; len(o) >= 4; {
		code, size := c.order.Uint16(o), int(c.order.Uint16(o[2:]))
		o = o[4:]
		if code == 0 || size > len(o) {
			break
		}
		switch value := o[:size]; {
		case code == 2: // if_name
			name := strings.ToValidUTF8(string(bytes.TrimRight(value, "\x00")), "?")
			i.name = strings.ReplaceAll(name[:min(len(name), maxName)], ", ", ",") // the summary makes lists of them
		case code == 9 && size >= 1: // if_tsresol: a power of 10, or of 2 with the top bit
			i.perS = resolution(value[0])
		case code == 14 && size >= 8: // if_tsoffset, seconds
			i.shift = int64(c.order.Uint64(value))
		}
		o = o[min((size+3)&^3, len(o)):]
	}
	if i.name == "" {
		i.name = "if" + decimal(uint(len(c.interfaces)))
	}
	c.interfaces = append(c.interfaces, i)
	return nil
}

// resolution is units per second; finer than nanoseconds by far is capped, as no clock here is.
func resolution(v byte) uint64 {
	if v&0x80 != 0 {
		return 1 << min(v&0x7f, 63)
	}
	n := uint64(1)
	for range min(v, 18) {
		n *= 10
	}
	return n
}

// packet reads an enhanced (6), simple (3) or old (2) packet block.
func (c *Reader) packet(kind uint32, b []byte) (Frame, bool, error) {
	fixed := 20
	if kind == 3 {
		fixed = 4
	}
	if len(b) < fixed {
		return Frame{}, false, fmt.Errorf("frame %d: a block of %d octets; the file is damaged here", c.n+1, len(b))
	}
	var index, length, have uint32
	var stamp uint64
	switch kind {
	case 2:
		index = uint32(c.order.Uint16(b))
	case 6:
		index = c.order.Uint32(b)
	}
	if uint64(index) >= uint64(len(c.interfaces)) {
		return Frame{}, false, fmt.Errorf("frame %d: interface %d is not described", c.n+1, index)
	}
	i := &c.interfaces[index]
	if kind == 3 {
		length = c.order.Uint32(b)
		have = min(length, uint32(len(b)-fixed))
		if i.snap > 0 {
			have = min(have, uint32(i.snap))
		}
	} else {
		stamp = uint64(c.order.Uint32(b[4:]))<<32 | uint64(c.order.Uint32(b[8:]))
		have, length = c.order.Uint32(b[12:]), c.order.Uint32(b[16:])
	}
	if uint64(have) > uint64(len(b)-fixed) {
		return Frame{}, false, fmt.Errorf("frame %d: %d octets in a block of %d; the file is damaged here", c.n+1, have, len(b))
	}
	c.n++
	data := b[fixed : fixed+int(have)]
	f := Frame{N: c.n, Interface: i.name, Link: i.link, Data: data, Length: max(int(min(length, 1<<30)), len(data))}
	if kind != 3 { // a simple packet has no time
		f.Time = ngTime(stamp, i.perS, i.shift)
	}
	return f, true, nil
}

// lastSecond is the end of the year 9999, the last one that can be written with four digits.
const lastSecond = 253402300799

func ngTime(stamp, perS uint64, shift int64) time.Time {
	hi, lo := bits.Mul64(stamp%perS, 1e9)
	nano, _ := bits.Div64(hi, lo, perS) // hi < perS, as stamp%perS is
	sec := int64(min(stamp/perS, lastSecond))
	if shift > 0 {
		sec += min(shift, lastSecond-sec)
	} else {
		sec = max(sec+max(shift, -lastSecond), 0)
	}
	return time.Unix(sec, int64(nano)).UTC()
}

// Frames iterates over what is left; the last pair has an error if the file does not end well.
func (c *Reader) Frames() iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		for {
			f, err := c.Next()
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}
