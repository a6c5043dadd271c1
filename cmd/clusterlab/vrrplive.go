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
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"quorate/api"
	"quorate/sim/replay"
)

// anyInterface listens to all Ethernet interfaces, as with tcpdump and tshark.
const anyInterface = "any"

// live is a packet socket on one interface or all. (pcapgo has one too, but closing it does not end a read.)
type live struct {
	name   string
	index  int // 0: all
	f      *os.File
	rc     syscall.RawConn
	cooked bool           // no link-layer header: a tunnel
	names  map[int]string // of interfaces, by index
	say    func(string)   // what happens to the interface
	buf    []byte
	oob    []byte
}

// openLive listens to what may be of interest on an interface: promiscuously, or at least to multicast of groups nobody
// joined. say is told what happens to the interface meanwhile.
func openLive(name string, promiscuous bool, say func(string)) (*live, error) {
	l := &live{name: name, names: map[int]string{}, say: say, buf: make([]byte, 1<<16), oob: make([]byte, 256)}
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var names []string
	var listen []net.Interface
	for _, ifi := range all {
		names = append(names, ifi.Name)
		l.names[ifi.Index] = ifi.Name
		if name == anyInterface || ifi.Name == name {
			listen = append(listen, ifi)
		}
	}
	if len(listen) == 0 {
		return nil, &api.Error{Code: api.CodeUsage, Message: fmt.Sprintf("there is no interface %s in this network namespace", name),
			Hint: fmt.Sprintf("-i takes one of: %s, or any", strings.Join(names, ", "))}
	}
	kind := unix.SOCK_RAW
	if name != anyInterface {
		ifi := listen[0]
		if l.index = ifi.Index; ifi.Flags&net.FlagUp == 0 {
			say(name + " is down; nothing comes until somebody sets it up (ip link set " + name + " up)")
		}
		if len(ifi.HardwareAddr) != 6 && ifi.Flags&net.FlagLoopback == 0 {
			kind, l.cooked = unix.SOCK_DGRAM, true
		}
	}
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // silent until bound
	if err == nil {
		if err = l.prepare(fd, listen, promiscuous); err != nil {
			_ = unix.Close(fd)
		}
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, &api.Error{Code: api.CodeDenied, Message: fmt.Sprintf("listen on %s: %v", name, err),
			Hint: "listening needs root or CAP_NET_RAW: sudo clusterctl vrrp decode -i " + name}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	l.f = os.NewFile(uintptr(fd), "capture-"+name)
	if l.rc, err = l.f.SyscallConn(); err != nil {
		_ = l.f.Close()
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	return l, nil
}

func (l *live) prepare(fd int, listen []net.Interface, promiscuous bool) error {
	raw, err := bpf.Assemble(liveFilter(l.cooked))
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
	how := uint16(unix.PACKET_MR_ALLMULTI)
	if promiscuous {
		how = unix.PACKET_MR_PROMISC
	}
	for _, ifi := range listen {
		err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(ifi.Index), Type: how})
		if err != nil && l.index != 0 {
			return fmt.Errorf("receive all: %w", err)
		}
	}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: l.index}), // ETH_P_ALL, network order
	)
}

// liveFilter lets through ARP, IPv4 protocols 112 and 51, IPv6 that is or may be an advert or a neighbour advertisement, behind
// two VLAN tags at most (the kernel takes off the outer one, so that three are seen through). cooked frames begin with
// the IP header.
func liveFilter(cooked bool) []bpf.Instruction {
	accept, reject := bpf.RetConstant{Val: 1 << 18}, bpf.RetConstant{}
	load := func(off uint32, size int) []bpf.Instruction {
		return []bpf.Instruction{bpf.LoadAbsolute{Off: off, Size: size}}
	}
	among := func(values ...uint32) (out []bpf.Instruction) { // accept these, go on with others
		for _, v := range values {
			out = append(out, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1}, accept)
		}
		return out
	}
	when := func(v uint32, then []bpf.Instruction) []bpf.Instruction {
		return append([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: uint8(len(then))}}, then...)
	}
	end := []bpf.Instruction{reject}
	ip4 := func(off uint32) []bpf.Instruction { return slices.Concat(load(off+9, 1), among(51, 112), end) }
	ip6 := func(off uint32) []bpf.Instruction { // extension headers are for the reader
		return slices.Concat(load(off+6, 1), among(112, 0, 43, 44, 51, 60),
			when(58, slices.Concat(load(off+40, 1), among(136), end)), end)
	}
	if cooked {
		version := slices.Concat(load(0, 1), []bpf.Instruction{bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0}})
		return slices.Concat(version, when(0x40, ip4(0)), when(0x60, ip6(0)), end)
	}
	var ether func(off uint32, tags int) []bpf.Instruction
	ether = func(off uint32, tags int) []bpf.Instruction {
		out := slices.Concat(load(off, 2), among(0x0806), when(0x0800, ip4(off+2)), when(0x86dd, ip6(off+2)))
		if tags == 0 {
			return append(out, reject)
		}
		return slices.Concat(out, []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x8100, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x88a8, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x9100, SkipTrue: 1},
			reject,
		}, ether(off+4, tags-1))
	}
	return ether(12, 2)
}

// Close ends frames.
func (l *live) Close() { _ = l.f.Close() }

// dropped is how many frames came faster than they were read since the last call.
func (l *live) dropped() (n uint32) {
	_ = l.rc.Control(func(fd uintptr) {
		if stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			n = stats.Drops
		}
	})
	return n
}

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

// next waits for the next frame. An interface that goes down may come up again, and is waited for.
func (l *live) next() (replay.Frame, error) {
	for {
		f, ok, err := l.receive()
		switch {
		case errors.Is(err, unix.ENETDOWN) && l.index != 0:
			if _, gone := net.InterfaceByIndex(l.index); gone != nil {
				return f, fmt.Errorf("interface %s is gone", l.name)
			}
			l.say(l.name + " went down; listening on")
		case errors.Is(err, unix.ENETDOWN):
		case err != nil:
			return f, fmt.Errorf("receive: %w", err)
		case ok:
			return f, nil
		}
	}
}

// receive reads one frame; it is not ok for one to be left out.
func (l *live) receive() (f replay.Frame, ok bool, err error) {
	var n, oobn int
	var from unix.Sockaddr
	var rerr error
	err = l.rc.Read(func(fd uintptr) bool {
		n, oobn, _, from, rerr = unix.Recvmsg(int(fd), l.buf, l.oob, unix.MSG_TRUNC)
		return !errors.Is(rerr, unix.EAGAIN) && !errors.Is(rerr, unix.EINTR)
	})
	if err == nil {
		err = rerr
	}
	ll, isLL := from.(*unix.SockaddrLinklayer)
	if err != nil || !isLL {
		return f, false, err
	}
	f = replay.Frame{Time: time.Now(), Link: replay.LinkEthernet, Data: l.buf[:min(n, len(l.buf))], Length: n}
	switch {
	case l.cooked:
		f.Link = replay.LinkRaw
	case ll.Hatype == unix.ARPHRD_LOOPBACK:
		if ll.Pkttype == unix.PACKET_OUTGOING { // it comes in again
			return f, false, nil
		}
	case ll.Hatype != unix.ARPHRD_ETHER: // a tunnel among all interfaces
		return f, false, nil
	}
	if l.index == 0 {
		f.Interface = l.interfaceName(ll.Ifindex)
	}
	msgs, _ := unix.ParseSocketControlMessage(l.oob[:oobn]) // without them there is our own clock, and no tag
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16:
			f.Time = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20:
			f = retag(f, m.Data)
		}
	}
	return f, true, nil
}

// retag puts the VLAN tag back that the kernel told beside the frame: status, length, captured length, mac and net offset, VLAN
// tag, VLAN ethertype (struct tpacket_auxdata).
func retag(f replay.Frame, aux []byte) replay.Frame {
	status := binary.NativeEndian.Uint32(aux)
	if status&unix.TP_STATUS_VLAN_VALID == 0 || len(f.Data) < 14 || f.Link != replay.LinkEthernet {
		return f
	}
	kind := uint16(0x8100)
	if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		kind = binary.NativeEndian.Uint16(aux[18:])
	}
	tag := binary.BigEndian.AppendUint16(nil, kind)
	tag = binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(aux[16:]))
	f.Data = slices.Concat(f.Data[:12], tag, f.Data[12:])
	f.Length += 4
	return f
}

// interfaceName may be asked about an interface that was added meanwhile.
func (l *live) interfaceName(index int) string {
	name := l.names[index]
	if name == "" {
		name = fmt.Sprintf("if%d", index)
		if ifi, err := net.InterfaceByIndex(index); err == nil {
			name = ifi.Name
		}
		l.names[index] = name
	}
	return name
}
