package raftstore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// peer is the outgoing side to one member.
type peer struct {
	id    uint64
	queue chan sending
	kick  chan struct{} // connect now, do not wait for a message or for the back-off
	t     *transport
	stop  context.CancelFunc
	ctx   context.Context

	mu   sync.Mutex
	addr string
	up   bool
	why  string // the last error, while not up
	told bool   // that it is not up was logged

	conn  net.Conn // while there is one
	start uint64   // the peer's hello.Start at its other end
}

func (p *peer) setAddr(a string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addr = a
}

func (p *peer) state() (addr string, up bool, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr, p.up, p.why
}

// setUp notes that the connection stands and reports whether that is news.
func (p *peer) setUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := !p.up
	p.up, p.why, p.told = true, "", false
	return news
}

// setDown notes why it does not and reports whether that was not logged yet. The reason itself may change with every
// attempt (it holds port numbers), which is no news.
func (p *peer) setDown(why string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := !p.told
	p.up, p.why, p.told = false, why, true
	return news
}

// greeted is called when the peer has connected to us: it lives, so it is tried at once. If it has restarted since we
// connected to it, that connection leads nowhere, and a write to it may hang for long.
func (p *peer) greeted(start uint64) {
	p.mu.Lock()
	if p.conn != nil && p.start != start {
		_ = p.conn.Close()
	}
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *peer) run() {
	var c *outgoing
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	backoff, notBefore := minBackoff, time.Time{}
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var dead <-chan struct{}
		if c != nil {
			dead = c.dead
		}
		var s sending
		control := false // s is empty
		select {
		case <-p.ctx.Done():
			return
		case <-dead:
			c.close()
			c = nil
			p.setDown("connection closed by the peer")
			continue
		case <-p.kick:
			notBefore, control = time.Time{}, true
		case <-ping.C:
			control = true
		case s = <-p.queue:
		}
		if c == nil {
			if time.Now().Before(notBefore) {
				p.lost(s)
				continue
			}
			var err error
			if c, err = p.connect(); err != nil {
				if p.ctx.Err() != nil {
					return
				}
				if p.setDown(err.Error()) {
					addr, _, _ := p.state()
					p.t.log.Warn("member is unreachable", "member", p.id, "address", addr, "error", err)
				}
				notBefore = time.Now().Add(backoff)
				backoff = min(2*backoff, maxBackoff)
				p.lost(s)
				continue
			}
			backoff = minBackoff
			if p.setUp() {
				p.t.log.Info("connected to member", "member", p.id)
			}
		}
		err := c.write(s.data, control, len(p.queue) == 0)
		if err != nil {
			c.close()
			c = nil
			if p.ctx.Err() == nil && p.setDown(err.Error()) {
				p.t.log.Warn("connection to member lost", "member", p.id, "error", err)
			}
			notBefore = time.Now().Add(minBackoff)
			p.lost(s)
			continue
		}
		if s.snap {
			p.t.owner.reported(report{id: p.id, snap: true})
		}
	}
}

// lost tells raft that a message did not arrive.
func (p *peer) lost(s sending) {
	if s.data != nil {
		p.t.owner.reported(report{id: p.id, snap: s.snap, failure: true})
	}
}

// outgoing is a connection that we dialled.
type outgoing struct {
	conn net.Conn
	w    *bufio.Writer
	dead chan struct{} // closed when the peer has closed it
	done chan struct{}
}

func (p *peer) connect() (*outgoing, error) {
	addr, _, _ := p.state()
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	conn, err := p.t.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	// A closing store must not wait for a peer that does not answer.
	unhook := context.AfterFunc(p.ctx, func() { _ = conn.Close() })
	c := &outgoing{conn: conn, w: bufio.NewWriterSize(conn, 64<<10), dead: make(chan struct{}), done: make(chan struct{})}
	a, err := c.shake(p.t.owner.hello(p.id))
	if err == nil {
		err = p.t.owner.vet(p.id, a)
	}
	if err != nil {
		unhook()
		_ = conn.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	p.mu.Lock()
	p.conn, p.start = conn, a.Start
	p.mu.Unlock()
	go func() {
		defer close(c.done)
		defer unhook()
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1)) // the peer has nothing more to say
		close(c.dead)
		_ = conn.Close()
	}()
	return c, nil
}

func (c *outgoing) shake(h hello) (answer, error) {
	var a answer
	if err := c.conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return a, err
	}
	if err := writeJSON(c.w, kindHello, h); err != nil {
		return a, err
	}
	if err := readJSON(c.conn, kindAnswer, &a); err != nil {
		return a, err
	}
	return a, c.conn.SetDeadline(time.Time{})
}

func (c *outgoing) write(b []byte, ping, flush bool) error {
	deadline := func() error { return c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) }
	if err := deadline(); err != nil {
		return err
	}
	if ping {
		if err := writeFrame(c.w, kindPing, nil); err != nil {
			return err
		}
		return c.w.Flush()
	}
	for len(b) > chunkBytes {
		if err := writeFrame(c.w, kindPart, b[:chunkBytes]); err != nil {
			return err
		}
		b = b[chunkBytes:]
		if err := deadline(); err != nil {
			return err
		}
	}
	if err := writeFrame(c.w, kindMessage, b); err != nil {
		return err
	}
	if flush {
		return c.w.Flush()
	}
	return nil
}

func (c *outgoing) close() {
	_ = c.conn.Close()
	<-c.done
}
