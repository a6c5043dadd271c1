package raftstore

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"quorate/cluster"
)

// What members say to each other on one connection. The side that dialled sends messages, the other only the answer
// to the hello, so two members have two connections.
//
//	length   4 bytes big endian, of what follows
//	kind     1 byte
//	payload
//
// A message larger than a chunk travels as several kindPart frames and one kindMessage frame with the rest, so that no
// frame is large and a pause in the middle of a snapshot is noticed by the write deadline of a chunk.
type frameKind byte

const (
	_           frameKind = iota
	kindHello             // hello as JSON, first frame of the dialling side
	kindAnswer            // answer as JSON, the only frame of the other side
	kindMessage           // end of a marshalled raftpb.Message
	kindPart              // a part of one, more follows
	kindPing              // nothing; keeps an idle connection alive
)

func (k frameKind) String() string {
	switch k {
	case kindHello:
		return "hello"
	case kindAnswer:
		return "answer"
	case kindMessage:
		return "message"
	case kindPart:
		return "part"
	case kindPing:
		return "ping"
	}
	return fmt.Sprintf("frame kind %d", byte(k))
}

const (
	protocolVersion = 1
	chunkBytes      = 1 << 20
	maxFrame        = 1 + chunkBytes
	maxMessage      = 512 << 20 // a snapshot
)

// hello opens a connection.
type hello struct {
	Protocol int            `json:"protocol"`
	Cluster  uint64         `json:"cluster,string"` // 0: a joiner that has not learned it yet
	From     cluster.Member `json:"from"`
	To       uint64         `json:"to,string"`
	Start    uint64         `json:"start,string"` // differs after each restart
	Fresh    bool           `json:"fresh"`        // has no log: must not be taken for a voter that lost it
}

// answer accepts a connection, or says why not.
type answer struct {
	OK      bool           `json:"ok"`
	Removed bool           `json:"removed,omitempty"` // the dialling side is no member any more
	Reason  string         `json:"reason,omitempty"`
	Cluster uint64         `json:"cluster,string"`
	From    cluster.Member `json:"from"`
	Start   uint64         `json:"start,string"`
	Fresh   bool           `json:"fresh"`
}

func writeFrame(w *bufio.Writer, kind frameKind, payload []byte) error {
	if len(payload) > chunkBytes {
		return fmt.Errorf("%v frame of %d bytes", kind, len(payload))
	}
	var head [5]byte
	binary.BigEndian.PutUint32(head[:], uint32(1+len(payload)))
	head[4] = byte(kind)
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

func writeJSON(w *bufio.Writer, kind frameKind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := writeFrame(w, kind, b); err != nil {
		return err
	}
	return w.Flush()
}

// readFrame reads one frame of at most limit bytes.
func readFrame(r io.Reader, limit int) (frameKind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > uint32(limit) {
		return 0, nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", n, limit)
	}
	b := make([]byte, n-1)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, nil, fmt.Errorf("%v frame: %w", frameKind(head[4]), io.ErrUnexpectedEOF)
	}
	return frameKind(head[4]), b, nil
}

// readJSON reads a frame of the given kind into v.
func readJSON(r io.Reader, kind frameKind, v any) error {
	got, b, err := readFrame(r, 64<<10)
	if err != nil {
		return err
	}
	if got != kind {
		return fmt.Errorf("%v instead of %v", got, kind)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%v: %w", kind, err)
	}
	return nil
}
