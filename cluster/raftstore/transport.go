package raftstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	sendQueue        = 512 // messages per peer; raft repeats what does not fit
	recvQueue        = 1024
	handshakeTimeout = 5 * time.Second
	writeTimeout     = 5 * time.Second  // per chunk
	pingEvery        = 10 * time.Second // on an idle connection
	idleTimeout      = 35 * time.Second // without even a ping
	minBackoff       = 50 * time.Millisecond
	maxBackoff       = 2 * time.Second
)

// sending is one message in a peer's queue. Marshalling is done before it is queued: raft may reuse its slices.
type sending struct {
	data []byte
	snap bool // its fate is reported to raft
}

// report tells the loop what became of a peer.
type report struct {
	id      uint64
	snap    bool // about a snapshot
	failure bool
	removed string // set: the peer says that we are no member any more
}

// identity is what the transport says about its own member and what it knows about others.
// It is called from connection goroutines.
type identity interface {
	hello(to uint64) hello
	// admit judges an incoming hello, vet the answer to our own.
	admit(h hello) answer
	vet(to uint64, a answer) error
	authorize(conn net.Conn, h hello) error
	received(m *raftpb.Message) bool // false: stop, the store is closing
	reported(r report)
}

// transport moves messages between members over connections that the owner of the listener and Config.Dial provide.
type transport struct {
	owner identity
	log   *slog.Logger
	dial  func(ctx context.Context, addr string) (net.Conn, error)

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	peers  map[uint64]*peer
	conns  map[net.Conn]uint64 // incoming, from whom; 0 before the hello
	closed bool
}

func newTransport(owner identity, dial func(context.Context, string) (net.Conn, error), log *slog.Logger) *transport {
	t := &transport{owner: owner, log: log, dial: dial, peers: make(map[uint64]*peer), conns: make(map[net.Conn]uint64)}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

// setPeer adds a peer or changes its address.
func (t *transport) setPeer(id uint64, addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || addr == "" {
		return
	}
	if p := t.peers[id]; p != nil {
		p.setAddr(addr)
		return
	}
	p := &peer{id: id, addr: addr, queue: make(chan sending, sendQueue), kick: make(chan struct{}, 1), t: t}
	p.kick <- struct{}{}
	p.ctx, p.stop = context.WithCancel(t.ctx)
	t.peers[id] = p
	t.wg.Go(p.run)
}

// removePeer ends the connections to and from a removed member. When it calls again the answer tells it why.
func (t *transport) removePeer(id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c, from := range t.conns {
		if from == id {
			_ = c.Close()
		}
	}
	if p := t.peers[id]; p != nil {
		p.stop()
		delete(t.peers, id)
	}
}

// reachable reports for a peer whether its connection stands, and if not why.
func (t *transport) reachable(id uint64) (bool, string) {
	t.mu.Lock()
	p := t.peers[id]
	t.mu.Unlock()
	if p == nil {
		return false, "address unknown"
	}
	_, up, why := p.state()
	return up, why
}

// send queues a message and reports whether it did. It never blocks.
func (t *transport) send(to uint64, s sending) bool {
	t.mu.Lock()
	p := t.peers[to]
	t.mu.Unlock()
	if p == nil {
		return false
	}
	select {
	case p.queue <- s:
		return true
	default:
		return false
	}
}

// close ends all connections and waits for their goroutines.
func (t *transport) close() {
	t.mu.Lock()
	t.closed = true
	t.stop()
	for c := range t.conns {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

// handle serves an incoming connection until it ends.
func (t *transport) handle(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.conns[conn] = 0
	t.wg.Add(1)
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.conns, conn)
		t.mu.Unlock()
		t.wg.Done()
	}()
	if err := t.serve(conn); err != nil && t.ctx.Err() == nil && !errors.Is(err, io.EOF) {
		t.log.Info("connection from member ended", "remote", remote(conn), "error", err)
	}
}

func remote(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return "unknown"
}

func (t *transport) serve(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	var h hello
	if err := readJSON(conn, kindHello, &h); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	// First noted, then judged: a removal in between finds the connection.
	t.mu.Lock()
	t.conns[conn] = h.From.ID
	t.mu.Unlock()
	a := t.owner.admit(h)
	if err := t.owner.authorize(conn, h); err != nil {
		a = answer{Reason: err.Error()}
	}
	if err := writeJSON(bufio.NewWriter(conn), kindAnswer, a); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if !a.OK {
		return fmt.Errorf("refused member %d (%s): %s", h.From.ID, h.From.Name, a.Reason)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	// A joiner knows nobody's address but that of who calls, and a member whose address has changed is
	// known under the old one until it has a leader to tell the new one to.
	t.setPeer(h.From.ID, h.From.Address)
	t.mu.Lock()
	p := t.peers[h.From.ID]
	t.mu.Unlock()
	if p != nil {
		p.greeted(h.Start)
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	var parts []byte
	for {
		if err := conn.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
			return err
		}
		kind, b, err := readFrame(r, maxFrame)
		if err != nil {
			return err
		}
		switch kind {
		case kindPing:
			continue
		case kindPart:
			if len(parts)+len(b) > maxMessage {
				return fmt.Errorf("message of more than %d bytes", maxMessage)
			}
			parts = append(parts, b...)
			continue
		case kindMessage:
		default:
			return fmt.Errorf("unexpected %v", kind)
		}
		if parts != nil {
			b, parts = append(parts, b...), nil
		}
		m := new(raftpb.Message)
		if err := proto.Unmarshal(b, m); err != nil {
			return fmt.Errorf("message: %w", err)
		}
		if m.GetFrom() != h.From.ID || m.GetTo() != h.To {
			return fmt.Errorf("message %v from %d to %d on a connection from %d to %d", m.GetType(), m.GetFrom(), m.GetTo(), h.From.ID, h.To)
		}
		if !t.owner.received(m) {
			return nil
		}
	}
}
