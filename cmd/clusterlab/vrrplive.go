package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"quorate/sim/replay"
)

// live is a packet socket on one interface. (pcapgo has one too, but closing it does not end a read.)
type live struct {
	f    *os.File
	rc   syscall.RawConn
	link replay.LinkType
	buf  []byte
	oob  []byte
}

// openLive listens to what may be of interest on an interface, multicast to groups nobody joined included.
func openLive(name string) (*live, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // silent until bound
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w (it needs root or CAP_NET_RAW)", name, err)
	}
	if err := prepareLive(fd, ifi.Index); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	l := &live{f: os.NewFile(uintptr(fd), "capture-"+name), link: replay.LinkEthernet, buf: make([]byte, 1<<16), oob: make([]byte, 256)}
	if len(ifi.HardwareAddr) != 6 && ifi.Flags&net.FlagLoopback == 0 {
		l.link = replay.LinkRaw // a tunnel
	}
	if l.rc, err = l.f.SyscallConn(); err != nil {
		_ = l.f.Close()
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	return l, nil
}

func prepareLive(fd, index int) error {
	raw, err := bpf.Assemble(liveFilter)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	all := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_ALLMULTI}
	return errors.Join(
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &all),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: index}), // ETH_P_ALL, network order
	)
}

// liveFilter lets through ARP, IPv4 protocols 112 and 51, IPv6 that may be an advert or a neighbour advertisement,
// and whatever has a tag of its own.
var liveFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0806, SkipTrue: 12},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x8100, SkipTrue: 11},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x88a8, SkipTrue: 10},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x86dd, SkipTrue: 4},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x0800, SkipTrue: 9},
	bpf.LoadAbsolute{Off: 23, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 51, SkipTrue: 6},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 112, SkipTrue: 5, SkipFalse: 6},
	bpf.LoadAbsolute{Off: 20, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 112, SkipTrue: 3},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 58, SkipTrue: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
	bpf.Jump{Skip: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}

// Close ends frames.
func (l *live) Close() { _ = l.f.Close() }

// frames yields what arrives until the context ends, which is no error.
func (l *live) frames(ctx context.Context) iter.Seq2[replay.Frame, error] {
	return func(yield func(replay.Frame, error) bool) {
		stop := context.AfterFunc(ctx, func() { _ = l.f.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		for n := 1; ; n++ {
			f, err := l.next()
			if ctx.Err() != nil {
				return
			}
			f.N = n
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

func (l *live) next() (replay.Frame, error) {
	var n, oobn int
	var rerr error
	err := l.rc.Read(func(fd uintptr) bool {
		n, oobn, _, _, rerr = unix.Recvmsg(int(fd), l.buf, l.oob, unix.MSG_TRUNC)
		return !errors.Is(rerr, unix.EAGAIN) && !errors.Is(rerr, unix.EINTR)
	})
	if err == nil {
		err = rerr
	}
	if err != nil {
		return replay.Frame{}, fmt.Errorf("receive: %w", err)
	}
	f := replay.Frame{Time: time.Now(), Link: l.link, Data: l.buf[:min(n, len(l.buf))], Length: n}
	msgs, _ := unix.ParseSocketControlMessage(l.oob[:oobn]) // without them there is our own clock, and no tag
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16:
			f.Time = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20:
			// status, length, captured length, mac and net offset, VLAN tag, VLAN ethertype (struct tpacket_auxdata)
			if status := binary.NativeEndian.Uint32(m.Data); status&unix.TP_STATUS_VLAN_VALID != 0 && len(f.Data) >= 14 {
				tag := binary.BigEndian.AppendUint16(nil, 0x8100)
				tag = binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(m.Data[16:]))
				f.Data = slices.Concat(f.Data[:12], tag, f.Data[12:])
				f.Length += 4
			}
		}
	}
	return f, nil
}
