package netns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

const (
	snapLength    = 1 << 16
	captureBuffer = 8 << 20 // of the kernel, for when this process does not get the CPU
)

// CaptureFile writes everything that crosses the switch to a pcapng file; see Capture.
func (l *Lab) CaptureFile(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("lab: capture: %w", err)
	}
	end, err := l.Capture(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { return errors.Join(end(), f.Close()) }, nil
}

// Capture writes every frame that crosses the switch, once, to w as pcapng, with the kernel's
// time stamps. Each packet reaches w before the next is read, so the file is complete whenever
// somebody looks. stop writes what is still queued and reports frames that the kernel dropped and
// the first error of w; it may be called twice.
func (l *Lab) Capture(w io.Writer) (stop func() error, err error) {
	// The bridge device sees forwarded frames too when it is promiscuous.
	var fd int
	err = l.fabric.Do(func() error {
		fd, err = packetSocket(l.bridge.Attrs().Index)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lab: capture: %w", err)
	}
	file := os.NewFile(uintptr(fd), "capture")
	ng, err := pcapgo.NewNgWriterInterface(w, pcapgo.NgInterface{
		Name:                bridgeName,
		LinkType:            layers.LinkTypeEthernet,
		SnapLength:          0, // unlimited
		TimestampResolution: 9,
	}, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "quorate lab"}})
	if err == nil {
		err = ng.Flush()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lab: capture: %w", err), file.Close())
	}
	rc, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	c := &capture{ng: ng, file: file, buf: make([]byte, snapLength), oob: make([]byte, 256), done: make(chan struct{})}
	go c.run(rc)
	return c.stop, nil
}

// packetSocket opens a non-blocking AF_PACKET socket that sees every frame of a device.
func packetSocket(ifindex int) (int, error) {
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Protocol 0 until bound: otherwise frames of every device are queued before the bind.
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all & 0xffff, Ifindex: ifindex}),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(ifindex), Type: unix.PACKET_MR_PROMISC}),
	)
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	// The forced size needs CAP_NET_ADMIN of the first namespace; in a user namespace take what is allowed.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, captureBuffer)
	}
	return fd, nil
}

// capture is a running Capture; only its goroutine touches ng, buf, oob and err until done is closed.
type capture struct {
	ng       *pcapgo.NgWriter
	file     *os.File
	buf, oob []byte
	err      error
	done     chan struct{}
	once     sync.Once
}

func (c *capture) run(rc syscall.RawConn) {
	defer close(c.done)
	// Ends when stop sets a deadline in the past; then take what is still queued.
	_ = rc.Read(func(fd uintptr) bool { return c.drain(int(fd)) })
	_ = rc.Control(func(fd uintptr) {
		c.drain(int(fd))
		stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err == nil && stats.Drops > 0 && c.err == nil {
			c.err = fmt.Errorf("lab: capture: the kernel dropped %d of %d frames", stats.Drops, stats.Packets)
		}
	})
}

// drain writes the queued frames and says whether to give up.
func (c *capture) drain(fd int) bool {
	for c.err == nil {
		n, oobn, _, _, err := unix.Recvmsg(fd, c.buf, c.oob, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
			continue
		case err != nil:
			c.err = fmt.Errorf("lab: capture: %w", err)
			return true
		}
		ci := gopacket.CaptureInfo{Timestamp: kernelTime(c.oob[:oobn]), CaptureLength: min(n, len(c.buf)), Length: n}
		if err = c.ng.WritePacket(ci, c.buf[:ci.CaptureLength]); err == nil {
			err = c.ng.Flush()
		}
		if err != nil {
			c.err = fmt.Errorf("lab: capture: %w", err)
		}
	}
	return true
}

// kernelTime is when the kernel saw the frame, now if it did not say.
func kernelTime(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			ts := *(*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(ts.Unix())
		}
	}
	return time.Now()
}

func (c *capture) stop() error {
	c.once.Do(func() {
		err := c.file.SetReadDeadline(time.Unix(1, 0)) // wakes run, which then drains
		<-c.done
		c.err = errors.Join(c.err, err, c.file.Close())
	})
	return c.err
}
