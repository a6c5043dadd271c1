package wire

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// Pcap writes frames as pcapng, one interface per network card. Time 0 of the file is the
// start of the simulated world.
type Pcap struct {
	w   *pcapgo.NgWriter
	err error
	n   uint64
}

// NewPcap starts a file with the given interfaces ("d1 eth0"), which Write numbers from 0.
func NewPcap(w io.Writer, cards []string) (*Pcap, error) {
	if len(cards) == 0 {
		return nil, errors.New("pcap: no interfaces")
	}
	opt := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "quorate simulator"}}
	p := &Pcap{}
	for i, name := range cards {
		intf := pcapgo.NgInterface{Name: name, LinkType: layers.LinkTypeEthernet, TimestampResolution: 9}
		var err error
		if i == 0 {
			p.w, err = pcapgo.NewNgWriterInterface(w, intf, opt)
		} else {
			_, err = p.w.AddInterface(intf)
		}
		if err != nil {
			return nil, fmt.Errorf("pcap: interface %s: %w", name, err)
		}
	}
	return p, nil
}

// Write records a frame that left or reached a card. The first error is kept and returned
// by Flush; a full disk must not end a run.
func (p *Pcap) Write(now time.Duration, card int, frame []byte) {
	if p.err != nil {
		return
	}
	ci := gopacket.CaptureInfo{
		Timestamp: time.Unix(0, int64(now)).UTC(), CaptureLength: len(frame), Length: len(frame), InterfaceIndex: card,
	}
	if p.err = p.w.WritePacket(ci, frame); p.err == nil {
		p.n++
	}
}

// Frames is the number of records written.
func (p *Pcap) Frames() uint64 { return p.n }

// Flush empties the buffer into the writer.
func (p *Pcap) Flush() error {
	if p.err == nil {
		p.err = p.w.Flush()
	}
	return p.err
}
