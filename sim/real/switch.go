package real

import (
	"container/heap"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"quorate/sim"
	"quorate/sim/netns"
	"quorate/sim/wire"
)

// port is a host's end of one wire: a TAP device in its namespace, or a veth pair where this user may not make one.
type port struct {
	name    string // "d1 eth0"
	mac     wire.MAC
	link    int // index of the device
	tap     *os.File
	carrier func(up bool) error
	drops   bool // a frame that cannot be written at once is lost
}

// fabric switches frames between ports in real time.
type fabric struct {
	mu    sync.Mutex
	lans  []*wire.LAN
	ports [][]*port // of each segment, in the order of hosts
	start time.Time
	queue deliveries
	wake  chan struct{}
	done  chan struct{}
	wg    sync.WaitGroup
	sight func(now time.Duration, lan, port int, sent bool, frame []byte) // called with mu held
	pcap  *wire.Pcap
}

// delivery is a frame on its way.
type delivery struct {
	at    time.Duration
	seq   uint64
	lan   int
	port  int
	frame []byte
}

type deliveries struct {
	list []delivery
	seq  uint64
}

func (d *deliveries) Len() int { return len(d.list) }
func (d *deliveries) Less(i, k int) bool {
	a, b := &d.list[i], &d.list[k]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
func (d *deliveries) Swap(i, k int) { d.list[i], d.list[k] = d.list[k], d.list[i] }
func (d *deliveries) Push(x any)    { d.list = append(d.list, x.(delivery)) }
func (d *deliveries) Pop() any {
	last := d.list[len(d.list)-1]
	d.list = d.list[:len(d.list)-1]
	return last
}

func newFabric(lans []*wire.LAN) *fabric {
	return &fabric{lans: lans, ports: make([][]*port, len(lans)), start: time.Now(), wake: make(chan struct{}, 1), done: make(chan struct{})}
}

func (f *fabric) now() time.Duration { return time.Since(f.start) }

// ifreq is struct ifreq of linux/if.h as TUNSETIFF reads it.
type ifreq struct {
	name  [unix.IFNAMSIZ]byte
	flags uint16
	_     [22]byte
}

// open makes the device.
func (p *port) open(h *netns.Host, card string) error {
	err := h.Do(func() (err error) { p.tap, err = openTAP(card); return err })
	if err == nil {
		p.carrier = p.tapCarrier
		return nil
	}
	if !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Some hosts keep /dev/net/tun for root, and containers often have none.
	c, err := h.Cable(card)
	if err != nil {
		return err
	}
	p.tap, p.carrier = c.File, c.Carrier
	return nil
}

func openTAP(card string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	req := ifreq{flags: unix.IFF_TAP | unix.IFF_NO_PI}
	copy(req.name[:unix.IFNAMSIZ-1], card)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return nil, errors.Join(fmt.Errorf("make a TAP device: %w", errno), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), card), nil
}

// plug gives a host a card on a segment, in the place of the lab's own cable or beside it.
func (f *fabric) plug(h *netns.Host, lan int, card sim.CardInfo) (*port, error) {
	p := &port{name: h.Name() + " " + card.Name, mac: wire.MAC(netns.MAC(card.Addr.Addr()))}
	var err error
	if lan == 0 {
		err = unplug(h)
	}
	if err == nil {
		err = p.open(h, card.Name)
	}
	if err == nil {
		p.link, err = setUp(h, card)
	}
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", p.name, err)
	}
	// A new interface takes its settings from "default", which the lab has set for the namespace.
	f.add(h.Name(), lan, p)
	return p, nil
}

// plugGuest gives the network device of a guest a port.
func (f *fabric) plugGuest(g *guest, lan int, card sim.CardInfo, link int) *port {
	p := &port{name: g.name + " " + card.Name, mac: wire.MAC(netns.MAC(card.Addr.Addr())), link: link, tap: g.frames[lan], drops: true}
	p.carrier = func(up bool) error { return g.carrier(card.Name, up) }
	f.add(g.name, lan, p)
	return p
}

func (f *fabric) add(host string, lan int, p *port) {
	f.lans[lan].AddPort(host, p.mac)
	f.ports[lan] = append(f.ports[lan], p)
}

// run switches until close.
func (f *fabric) run() {
	f.start = time.Now()
	for lan, ports := range f.ports {
		for i, p := range ports {
			f.wg.Go(func() { f.read(lan, i, p) })
		}
	}
	f.wg.Go(f.deliver)
}

func (f *fabric) read(lan, i int, p *port) {
	buf := make([]byte, 1<<16)
	for {
		n, err := p.tap.Read(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue // a pulled cable, told once
		}
		if err != nil {
			return // closed
		}
		f.send(lan, i, append([]byte(nil), buf[:n]...))
	}
}

// send takes a frame that left a port.
func (f *fabric) send(lan, from int, frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	f.seen(now, lan, from, true, frame)
	f.put(now, lan, f.lans[lan].Send(now, from, frame), frame)
}

// put queues what a switch wants delivered; the lock is held.
func (f *fabric) put(now time.Duration, lan int, out []wire.Delivery, frame []byte) {
	for _, d := range out {
		content := frame
		if d.Flip > 0 {
			content = append([]byte(nil), frame...)
			content[(d.Flip-1)/8] ^= 0x80 >> ((d.Flip - 1) % 8)
		}
		f.queue.seq++
		heap.Push(&f.queue, delivery{at: now + d.After, seq: f.queue.seq, lan: lan, port: d.Port, frame: content})
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *fabric) seen(now time.Duration, lan, port int, sent bool, frame []byte) {
	if f.pcap != nil {
		f.pcap.Write(now, port*len(f.lans)+lan, frame)
	}
	if f.sight != nil {
		f.sight(now, lan, port, sent, frame)
	}
}

// deliver writes frames to their ports when their time has come.
func (f *fabric) deliver() {
	for {
		f.mu.Lock()
		now := f.now()
		var due []delivery
		for f.queue.Len() > 0 && f.queue.list[0].at <= now {
			d := heap.Pop(&f.queue).(delivery)
			if f.lans[d.lan].Port(d.port).Up {
				f.seen(now, d.lan, d.port, false, d.frame)
				due = append(due, d)
			}
		}
		wait := time.Hour
		if f.queue.Len() > 0 {
			wait = f.queue.list[0].at - now
		}
		f.mu.Unlock()
		for _, d := range due {
			f.ports[d.lan][d.port].write(d.frame)
		}
		select {
		case <-f.done:
			return
		case <-f.wake:
		case <-time.After(wait):
		}
	}
}

// write hands a frame to the card. One that is down takes nothing, as a real one; nor does that of a guest that is not quick enough.
func (p *port) write(frame []byte) {
	if !p.drops {
		_, _ = p.tap.Write(frame)
		return
	}
	if rc, err := p.tap.SyscallConn(); err == nil {
		_ = rc.Write(func(fd uintptr) bool { _, _ = unix.Write(int(fd), frame); return true })
	}
}

// carrier plugs the cable of a port in or pulls it.
func (f *fabric) carrier(lan, i int, up bool) error {
	f.mu.Lock()
	f.lans[lan].SetUp(i, up)
	f.mu.Unlock()
	return f.ports[lan][i].carrier(up)
}

func (p *port) tapCarrier(up bool) error {
	on := int32(0)
	if up {
		on = 1
	}
	rc, err := p.tap.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	err = rc.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, unix.TUNSETCARRIER, uintptr(unsafe.Pointer(&on)))
	})
	if err == nil && errno != 0 {
		err = fmt.Errorf("carrier of %s: %w", p.name, errno)
	}
	return err
}

func (f *fabric) close() {
	close(f.done)
	for _, ports := range f.ports {
		for _, p := range ports {
			_ = p.tap.Close()
		}
	}
	f.wg.Wait()
}
