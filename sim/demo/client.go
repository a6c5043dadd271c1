package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"quorate/sim/netns"
)

const (
	rate           = 50 // requests per second
	requestTimeout = time.Second
	maxAnswer      = 256 // bytes read of an answer: a host's name
)

// request is one GET. The instants are since the show began.
type request struct {
	sent, done time.Duration
	server     string // who answered; empty: lost
	err        error
}

// client sends requests at a fixed rate, each on a connection of its own, whatever became of those before.
type client struct {
	host    *netns.Host
	url     string
	sources []netip.Addr // taken in turn: IPVS keeps one address on one real server (persistence)
	clock   func() time.Duration

	mu       sync.Mutex
	requests []request // finished ones
}

// run sends until ctx ends, then waits for what is under way.
func (c *client) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	var users []*http.Client
	for _, src := range c.sources {
		users = append(users, &http.Client{Timeout: requestTimeout, Transport: c.transport(src)})
	}
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			wg.Add(1)
			go func() {
				defer wg.Done()
				c.one(users[i%len(users)])
			}()
		}
	}
}

// transport opens each connection in the client's namespace from the given source address.
func (c *client) transport(src netip.Addr) *http.Transport {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0))}
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = c.host.Do(func() error {
				conn, err = dialer.DialContext(ctx, network, address)
				return err
			})
			return conn, err
		},
	}
}

func (c *client) one(user *http.Client) {
	r := request{sent: c.clock()}
	r.server, r.err = fetch(user, c.url)
	r.done = c.clock()
	c.mu.Lock()
	c.requests = append(c.requests, r)
	c.mu.Unlock()
}

// fetch returns the name the answering server gave.
func fetch(user *http.Client, url string) (string, error) {
	resp, err := user.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", err
	}
	name := strings.TrimSpace(string(b))
	if resp.StatusCode != http.StatusOK || name == "" {
		return "", fmt.Errorf("answer %s %q", resp.Status, name)
	}
	return name, nil
}

// finished returns the requests that were sent at or after an instant and have ended.
func (c *client) finished(since time.Duration) []request {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []request
	for _, r := range c.requests {
		if r.sent >= since {
			out = append(out, r)
		}
	}
	return out
}

// lostSince counts failures among the requests sent at or after an instant.
func (c *client) lostSince(since time.Duration) (sent, lost int) {
	for _, r := range c.finished(since) {
		sent++
		if r.err != nil {
			lost++
		}
	}
	return sent, lost
}

// measure is what the client saw.
type measure struct {
	Sent, Lost int
	// FirstLost and LastLost are when such requests were sent; FirstGood is when the first request
	// sent after LastLost was answered. All are -1 when there is none.
	FirstLost, LastLost, FirstGood time.Duration
	// Gap is the longest time without an answer, from GapFrom.
	Gap, GapFrom time.Duration
	Served       []served // by name
	LastError    error
}

type served struct {
	Server string
	Count  int
}

// measured sums requests up. The order of requests does not matter.
func measured(requests []request) measure {
	m := measure{Sent: len(requests), FirstLost: -1, LastLost: -1, FirstGood: -1}
	bySent := slices.Clone(requests)
	slices.SortFunc(bySent, func(a, b request) int { return int(a.sent - b.sent) })
	var answers []time.Duration
	for _, r := range bySent {
		if r.err == nil {
			answers = append(answers, r.done)
			i, found := slices.BinarySearchFunc(m.Served, r.server, func(s served, name string) int { return strings.Compare(s.Server, name) })
			if !found {
				m.Served = slices.Insert(m.Served, i, served{Server: r.server})
			}
			m.Served[i].Count++
			continue
		}
		m.Lost++
		m.LastLost, m.LastError = r.sent, r.err
		if m.FirstLost < 0 {
			m.FirstLost = r.sent
		}
	}
	slices.Sort(answers)
	for i, at := range answers {
		if i > 0 && at-answers[i-1] > m.Gap {
			m.Gap, m.GapFrom = at-answers[i-1], answers[i-1]
		}
	}
	for _, r := range bySent {
		if m.Lost > 0 && r.err == nil && r.sent > m.LastLost && (m.FirstGood < 0 || r.done < m.FirstGood) {
			m.FirstGood = r.done
		}
	}
	return m
}
